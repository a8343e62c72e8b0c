"""DeepInfra: USD per 1M tokens in one list, US cents per token in the other."""

from __future__ import annotations

from typing import Any

import pytest

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState
from pricing_server.domain.source_listing import SourceError
from pricing_server.providers.deepinfra import SOURCE
from tests.unit._sources import (
    NOW,
    notices,
    per_million,
    prices,
    raw_rows,
    read_fixture,
    read_recorded,
)


def test_prices_are_usd_per_1m_with_the_noise_that_they_have() -> None:
    listing = read_fixture("deepinfra")
    assert listing.faults == ()
    assert per_million(listing) == {
        "acme/plain-70b": prices("0.35", "0.4"),
        "acme/cached": prices("3.3000000000000003", "16.5", "0.33000000000000007"),
        "acme/tiny": prices("0.02", "0.038000000000000006"),
        "acme/embed": PriceState.UNPRICED,
        "acme/pictures": PriceState.UNPRICED,
        "acme/zero": PriceState.UNPRICED,
    }
    assert notices(listing) == {
        "unknown_key:metadata.pricing.per_image": (1, "acme/pictures"),
        "zero:metadata.pricing.input_tokens": (1, "acme/zero"),
        "zero:metadata.pricing.output_tokens": (1, "acme/zero"),
    }


def test_the_detailed_list_is_us_cents_per_token() -> None:
    listing = read_fixture("deepinfra", "deepinfra_list")
    assert listing.faults == ()
    assert per_million(listing) == {
        "acme/plain-70b": prices("0.35", "0.4"),
        "acme/cached": prices("3.3", "16.5", "0.33"),
        "acme/embed": {Meter.INPUT_TOKENS: "0.01"},
        "acme/pictures": PriceState.UNPRICED,
        "acme/on-sale": PriceState.UNPRICED,
        "acme/tiered": PriceState.UNPRICED,
        "acme/none": PriceState.UNPRICED,
    }
    assert notices(listing) == {
        "not_read:pricing.discount": (1, "acme/on-sale"),
        "not_read:pricing.full": (1, "acme/tiered"),
        "unknown_key:pricing.cents_per_image_unit": (1, "acme/pictures"),
        "unknown_key:pricing.default_width": (1, "acme/pictures"),
        "unknown_key:pricing.rate_per_input_token_cache_write": (1, "acme/cached"),
    }


@pytest.mark.parametrize("name", ["deepinfra", "deepinfra_list"])
def test_a_row_of_one_list_has_no_price_in_the_other(name: str) -> None:
    rows: Any = [
        {"id": "m", "model_name": "m", "pricing": {"cents_per_input_token": 1}},
        {"id": "n", "model_name": "n", "metadata": {"pricing": {"input_tokens": 1}}},
    ]
    document = rows if name == "deepinfra_list" else {"data": rows}
    found = per_million(SOURCE.read(document, NOW))
    assert sorted(map(str, found.values())) == sorted(
        ["unpriced", str({Meter.INPUT_TOKENS: "1" if name == "deepinfra" else "10000"})]
    )


def test_a_fault_says_where_and_what_is_wrong() -> None:
    rows = [{"id": "m", "metadata": {"pricing": {"input_tokens": -1}}}, {"id": "sound"}]
    (fault,) = SOURCE.read({"data": rows}, NOW).faults
    assert (fault.key, fault.message) == (
        ("deepinfra", "m"),
        "metadata.pricing.input_tokens is negative: -1",
    )


@pytest.mark.parametrize("share", [-1, "a tenth", True, []])
def test_a_share_that_is_none_is_a_fault_of_its_model(share: object) -> None:
    pricing = {"cents_per_input_token": 1, "rate_per_input_token_cached": share}
    rows = [{"model_name": "m", "pricing": pricing}, {"model_name": "sound"}]
    listing = SOURCE.read(rows, NOW)
    assert [fault.key for fault in listing.faults] == [("deepinfra", "m")]


@pytest.mark.parametrize("document", [None, {}, {"data": {}}, [], {"data": []}, "models"])
def test_a_payload_without_models_is_refused(document: object) -> None:
    with pytest.raises(SourceError):
        SOURCE.read(document, NOW)


@pytest.mark.recorded
def test_the_recorded_payload_has_111_prices_all_as_stated() -> None:
    listing = read_recorded("deepinfra")
    found = per_million(listing)
    meters = {
        "input_tokens": Meter.INPUT_TOKENS,
        "output_tokens": Meter.OUTPUT_TOKENS,
        "cache_read_tokens": Meter.CACHE_READ_TOKENS,
    }
    for row in raw_rows("deepinfra"):
        stated = (row["metadata"] or {"pricing": {}})["pricing"]
        expected = {
            meters[key]: text.removesuffix(".0") for key, text in stated.items()
        } or PriceState.UNPRICED
        assert found[row["id"]] == expected, row["id"]
    assert (len(found), sum(isinstance(each, dict) for each in found.values())) == (151, 111)
    assert (listing.faults, listing.notices) == ((), ())


@pytest.mark.recorded
def test_ten_recorded_prices_checked_by_hand() -> None:
    found = per_million(read_recorded("deepinfra"))
    assert found["Austism/chronos-hermes-13b-v2"] == prices("0.13", "0.13")
    assert found["BAAI/bge-m3"] == PriceState.UNPRICED
    assert found["Qwen/Qwen2.5-72B-Instruct"] == prices(
        "0.12000000000000001", "0.38999999999999996"
    )
    assert found["Qwen/Qwen3-235B-A22B"] == prices("0.13", "0.6")
    assert found["Qwen/Qwen3-Coder-480B-A35B-Instruct-Turbo"] == prices("0.3", "1.2", "0.24")
    assert found["anthropic/claude-4-opus"] == prices("16.5", "82.5")
    assert found["anthropic/claude-3-7-sonnet-latest"] == prices(
        "3.3000000000000003", "16.5", "0.33000000000000007"
    )
    assert found["deepseek-ai/DeepSeek-R1-0528"] == prices("0.5", "2.15", "0.4")
    assert found["deepseek-ai/DeepSeek-V3.1"] == prices("0.27", "1", "0.21600000000000003")
    assert found["black-forest-labs/FLUX-1-dev"] == PriceState.UNPRICED
