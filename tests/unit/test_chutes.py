"""Chutes: USD per 1M tokens, stated twice."""

from __future__ import annotations

import pytest

from llmpricing.rate_card import PriceState
from pricing_server.providers.chutes import SOURCE
from tests.unit._sources import (
    NOW,
    notices,
    per_million,
    prices,
    raw_rows,
    read_fixture,
    read_recorded,
)


def test_prices_are_usd_per_1m_and_a_zero_is_none() -> None:
    listing = read_fixture("chutes")
    assert listing.faults == ()
    assert per_million(listing) == {
        "acme/plain-70b": prices("0.01", "0.040003199999999996"),
        "acme/cached-TEE": prices("0.2", "0.8", "0.1"),
        "acme/zero": PriceState.UNPRICED,
        "acme/hot": prices("0.10366159999999999", "0.41484799999999994"),
    }
    assert notices(listing) == {
        "unknown_key:chutes_pricing": (1, "acme/hot"),
        "unknown_key:price.*.tao": (4, "acme/plain-70b"),
        "zero:pricing.prompt": (1, "acme/zero"),
        "zero:pricing.completion": (1, "acme/zero"),
    }


@pytest.mark.parametrize(
    "price",
    [
        {"input": {"usd": 2}},
        {"output": {"usd": "NaN"}},
        {"input": {"usd": 0.000001}},
        {"input": 1},
        [],
    ],
)
def test_two_statements_that_differ_are_a_fault_of_their_model(price: object) -> None:
    rows = [{"id": "m", "pricing": {"prompt": 1, "completion": 2}, "price": price}, {"id": "sound"}]
    listing = SOURCE.read({"data": rows}, NOW)
    assert [fault.key for fault in listing.faults] == [("chutes", "m")]


def test_a_price_in_dollars_of_a_meter_that_the_first_statement_lacks_is_named() -> None:
    row = {"id": "m", "pricing": {"prompt": 1}, "price": {"video": {"usd": 3}, "input": {"usd": 1}}}
    listing = SOURCE.read({"data": [row]}, NOW)
    assert notices(listing) == {"unknown_key:price.*.usd": (1, "m")}


@pytest.mark.recorded
def test_the_recorded_payload_has_57_prices_all_as_stated() -> None:
    listing = read_recorded("chutes")
    found = per_million(listing)
    for row in raw_rows("chutes"):
        stated = [row["pricing"]["prompt"], row["pricing"]["completion"]]
        expected = PriceState.UNPRICED if stated == ["0.0", "0.0"] else prices(*stated)
        assert found[row["id"]] == expected, row["id"]
    assert (len(found), sum(isinstance(each, dict) for each in found.values())) == (66, 57)
    assert listing.faults == ()


@pytest.mark.recorded
def test_ten_recorded_prices_checked_by_hand() -> None:
    found = per_million(read_recorded("chutes"))
    assert found["ArliAI/QwQ-32B-ArliAI-RpR-v1"] == prices("0.01", "0.040003199999999996")
    assert found["NousResearch/Hermes-4-14B"] == PriceState.UNPRICED
    assert found["NousResearch/Hermes-4-405B-FP8"] == prices("0.1999188", "0.800064")
    assert found["Qwen/Qwen2.5-72B-Instruct"] == prices(
        "0.051830799999999996", "0.20742399999999997"
    )
    assert found["Qwen/Qwen3-32B"] == prices("0.017992692", "0.07200575999999999")
    assert found["deepseek-ai/DeepSeek-R1"] == prices("0.1999188", "0.800064")
    assert found["moonshotai/Kimi-K2-Instruct-0905"] == prices("0.296176", "1.18528")
    assert found["openai/gpt-oss-120b"] == prices("0.07256312", "0.2903936")
    assert found["openai/gpt-oss-20b"] == PriceState.UNPRICED
    assert found["zai-org/GLM-4.5-FP8"] == prices("0.32986602", "1.3201056")
