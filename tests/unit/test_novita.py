"""Novita: integers of 1e-4 USD per 1M tokens, tiers, and a newer object of prices."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    ALWAYS,
    Comparison,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    Threshold,
)
from pricing_server.domain.source_listing import Listing
from pricing_server.providers.novita import SOURCE
from tests.unit._sources import (
    NOW,
    by_id,
    notices,
    per_million,
    prices,
    raw_rows,
    read_fixture,
    read_recorded,
)


def read_row(**row: object) -> Listing:
    return SOURCE.read({"data": [{"id": "m"} | row, {"id": "sound"}]}, NOW)


def tier(start: object, prompt: object, **more: object) -> dict[str, Any]:
    priced = {"prompt": {"price_per_m": prompt}, "completion": {"price_per_m": 1}}
    return {"min_tokens": start, "pricing": priced | more}


def test_integers_are_1e_4_usd_per_1m() -> None:
    listing = read_fixture("novita")
    assert listing.faults == ()
    assert per_million(listing) == {
        "acme/plain-70b": prices("0.13", "0.39"),
        "acme/odd": prices("0.119", "0.2"),
        "acme/zero": PriceState.UNPRICED,
        "acme/minus-one": PriceState.UNPRICED,
        "acme/newer": prices("0.269", "0.34", "0.13455") | {Meter.CACHE_WRITE_TOKENS: "0.33625"},
        "acme/tiered": prices("0.4", "2.4"),
        "acme/cache-key": prices("0.06", "0.09"),
    }
    assert notices(listing) == {
        "not_stated:input_token_price_per_m": (1, "acme/minus-one"),
        "not_stated:output_token_price_per_m": (1, "acme/minus-one"),
        "unknown_key:cache_read_input_token_price_per_m": (1, "acme/cache-key"),
        "zero:input_token_price_per_m": (2, "acme/zero"),
        "zero:output_token_price_per_m": (2, "acme/zero"),
    }


def test_a_tier_holds_from_its_first_token_on_for_all_tokens() -> None:
    conditions = Conditions(threshold=Threshold(Meter.INPUT_TOKENS, Comparison.AT_LEAST, 256_000))
    assert by_id(read_fixture("novita"))["acme/tiered"].card == RateCard.of(
        PriceState.PRICED,
        [
            Rate(Meter.INPUT_TOKENS, Decimal("5E-7"), conditions),
            Rate(Meter.INPUT_TOKENS, Decimal("4E-7"), ALWAYS),
            Rate(Meter.OUTPUT_TOKENS, Decimal("3E-6"), conditions),
            Rate(Meter.OUTPUT_TOKENS, Decimal("2.4E-6"), ALWAYS),
        ],
    )


def test_tiers_that_begin_higher_stand_on_the_flat_price() -> None:
    listing = read_row(
        input_token_price_per_m=100,
        output_token_price_per_m=1,
        tiered_billing_configs=[tier(1000, 300), tier(500, 200)],
    )
    assert [
        (rate.conditions.threshold and rate.conditions.threshold.quantity, f"{rate.price:f}")
        for rate in by_id(listing)["m"].card.rates
        if rate.meter is Meter.INPUT_TOKENS
    ] == [(1000, "0.00000003"), (500, "0.00000002"), (None, "0.00000001")]


@pytest.mark.parametrize(
    "row",
    [
        {"is_tiered_billing": True, "input_token_price_per_m": 100},
        {"tiered_billing_configs": {"min_tokens": 1}},
        {"tiered_billing_configs": [5]},
        {"tiered_billing_configs": [tier("1", 1)]},
        {"tiered_billing_configs": [tier(True, 1)]},
        {"tiered_billing_configs": [tier(2**70, 1)]},
        {"tiered_billing_configs": [{"min_tokens": 1}]},
        {"tiered_billing_configs": [tier(1, 1), tier(1, 2)]},
        # Left out of the higher tier, the price would be that of the lower one.
        {"tiered_billing_configs": [tier(1, 1), tier(9, 0)]},
        {"tiered_billing_configs": [tier(1, 1), tier(9, 2, input_cache_read={"price_per_m": 1})]},
        {"tiered_billing_configs": [tier(1, 5)], "input_token_price_per_m": 6},
        {"pricing": {"prompt": {"price_per_m": 5}}, "input_token_price_per_m": 6},
        {"pricing": {"prompt": {"price_per_m": 2690, "price_per_m_decimal": "2.69"}}},
        {"pricing": {"prompt": 5}},
        {"pricing": []},
        {"input_token_price_per_m": -2},
        {"input_token_price_per_m": "cheap"},
    ],
)
def test_what_contradicts_itself_is_a_fault_of_its_model(row: dict[str, object]) -> None:
    listing = read_row(**row)
    assert [fault.key for fault in listing.faults] == [("novita", "m")]
    assert [model.model_id for model in listing.models] == ["sound"]


def test_an_integer_may_be_rounded() -> None:
    pricing = {"prompt": {"price_per_m": 5, "price_per_m_decimal": "0.00055"}}
    listing = read_row(pricing=pricing, input_token_price_per_m=6)
    assert per_million(listing)["m"] == {Meter.INPUT_TOKENS: "0.00055"}


def test_keys_of_the_newer_object_that_nobody_declared_are_named() -> None:
    pricing = {"prompt": {"price_per_m": 5, "origin_price_per_m": 9}, "video": {"price_per_m": 1}}
    listing = read_row(pricing=pricing)
    assert per_million(listing)["m"] == {Meter.INPUT_TOKENS: "0.0005"}
    assert sorted(notices(listing)) == [
        "unknown_key:pricing.prompt.origin_price_per_m",
        "unknown_key:pricing.video",
    ]


@pytest.mark.recorded
def test_the_recorded_payload_has_55_prices_all_as_stated() -> None:
    listing = read_recorded("novita")
    found = per_million(listing)
    for row in raw_rows("novita"):
        stated = [
            f"{Decimal(row[key]) / 10_000:f}"
            for key in ("input_token_price_per_m", "output_token_price_per_m")
        ]
        expected = PriceState.UNPRICED if stated == ["0", "0"] else prices(*stated)
        assert found[row["id"]] == expected, row["id"]
    assert (len(found), sum(isinstance(each, dict) for each in found.values())) == (59, 55)
    assert listing.faults == ()


@pytest.mark.recorded
def test_ten_recorded_prices_checked_by_hand() -> None:
    found = per_million(read_recorded("novita"))
    assert found["Sao10K/L3-8B-Stheno-v3.2"] == prices("0.05", "0.05")
    assert found["deepseek/deepseek-r1-0528"] == prices("0.7", "2.5")
    assert found["deepseek/deepseek-v3.1"] == prices("0.27", "1")
    assert found["google/gemma-3-27b-it"] == prices("0.119", "0.2")
    assert found["google/gemma-3-1b-it"] == PriceState.UNPRICED
    assert found["meta-llama/llama-3.1-8b-instruct"] == prices("0.02", "0.05")
    assert found["mistralai/mistral-7b-instruct"] == prices("0.029", "0.059")
    assert found["moonshotai/kimi-k2-0905"] == prices("0.6", "2.5")
    assert found["openai/gpt-oss-120b"] == prices("0.1", "0.5")
    assert found["qwen/qwen3-8b-fp8"] == prices("0.035", "0.138")
