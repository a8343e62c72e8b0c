"""Hugging Face's router: a price for each sub-provider, and none for the router's choice."""

from __future__ import annotations

import pytest

from llmpricing.rate_card import PriceState
from pricing_server.domain.source_listing import Listing
from pricing_server.providers.huggingface import SOURCE
from tests.unit._sources import (
    NOW,
    notices,
    per_million,
    prices,
    raw_rows,
    read_fixture,
    read_recorded,
)


def read_entries(*entries: object) -> Listing:
    return SOURCE.read({"data": [{"id": "A/m", "providers": list(entries)}]}, NOW)


def test_a_sub_provider_has_its_own_price_and_the_plain_id_what_all_agree_on() -> None:
    listing = read_fixture("huggingface")
    assert listing.faults == ()
    assert per_million(listing) == {
        "Acme/Plain-70B": PriceState.DYNAMIC,
        "Acme/Plain-70B:groq": prices("0.15", "0.75"),
        "Acme/Plain-70B:together": prices("0.15", "0.6"),
        "Acme/Plain-70B:nscale": PriceState.UNPRICED,
        "Acme/Lonely": prices("0.05", "0.06"),
        "Acme/Lonely:novita": prices("0.05", "0.06"),
        "Acme/Agreed": prices("1", "3"),
        "Acme/Agreed:nebius": prices("1", "3"),
        "Acme/Agreed:fireworks-ai": prices("1", "3"),
        "Acme/Unpriced": PriceState.UNPRICED,
        "Acme/Unpriced:cohere": PriceState.UNPRICED,
        "Acme/Unpriced:featherless-ai": PriceState.UNPRICED,
        "Acme/Staged": prices("0.13", "0.4"),
        "Acme/Staged:nebius": prices("0.13", "0.4"),
        "Acme/Gift": prices("0", "0"),
        "Acme/Gift:publicai": prices("0", "0"),
        "Acme/Zero": PriceState.UNPRICED,
        "Acme/Zero:hf-inference": PriceState.UNPRICED,
    }
    assert notices(listing) == {
        "not_live:staging": (1, "Acme/Staged"),
        "zero:providers[].pricing.input": (1, "Acme/Zero:hf-inference"),
        "zero:providers[].pricing.output": (1, "Acme/Zero:hf-inference"),
    }


def test_free_is_what_is_flagged_free() -> None:
    states = {model.model_id: model.card.state for model in read_fixture("huggingface").models}
    assert states["Acme/Gift:publicai"] is states["Acme/Gift"] is PriceState.FREE
    for flag in (None, False, "true", 1):
        entry = {"provider": "p", "pricing": {"input": 0, "output": 0}, "is_free": flag}
        assert per_million(read_entries(entry))["A/m"] == PriceState.UNPRICED


def test_the_seller_is_the_router_and_the_repository_is_the_plain_id() -> None:
    for model in read_fixture("huggingface").models:
        assert model.provider == SOURCE.provider == "huggingface"
        assert model.hugging_face_id == model.model_id.partition(":")[0]


@pytest.mark.parametrize(
    "entry",
    [5, {}, {"provider": None}, {"provider": "p", "pricing": []}, {"provider": "\x00"}],
)
def test_a_broken_sub_provider_costs_neither_the_others_nor_a_wrong_plain_price(
    entry: object,
) -> None:
    listing = read_entries({"provider": "sound", "pricing": {"input": 1, "output": 2}}, entry)
    found = per_million(listing)
    assert found.pop("A/m:sound") == prices("1", "2")
    assert found in ({}, {"A/m": PriceState.DYNAMIC})
    assert listing.faults


@pytest.mark.recorded
def test_the_recorded_payload_has_80_live_prices_all_as_stated() -> None:
    listing = read_recorded("huggingface")
    found = per_million(listing)
    pairs = priced = 0
    for row in raw_rows("huggingface"):
        for entry in row["providers"]:
            address = f"{row['id']}:{entry['provider']}"
            if entry["status"] != "live":
                assert address not in found
                continue
            stated = entry.get("pricing")
            expected = prices(stated["input"], stated["output"]) if stated else PriceState.UNPRICED
            assert found[address] == expected, address
            pairs, priced = pairs + 1, priced + bool(stated)
    assert (len(found), pairs, priced, listing.faults) == (352, 247, 81, ())
    assert notices(listing) == {"not_live:staging": (2, "meta-llama/Llama-3.1-70B-Instruct")}


@pytest.mark.recorded
def test_ten_recorded_prices_checked_by_hand() -> None:
    found = per_million(read_recorded("huggingface"))
    assert found["openai/gpt-oss-120b"] == PriceState.DYNAMIC
    assert found["openai/gpt-oss-120b:groq"] == prices("0.15", "0.75")
    assert found["openai/gpt-oss-120b:cerebras"] == prices("0.25", "0.69")
    assert found["openai/gpt-oss-20b:novita"] == prices("0.05", "0.2")
    assert found["Qwen/Qwen2.5-72B-Instruct:novita"] == prices("0.38", "0.4")
    assert found["CohereLabs/aya-expanse-8b"] == PriceState.UNPRICED
    assert found["deepseek-ai/DeepSeek-V3-0324:sambanova"] == prices("3", "4.5")
    assert found["meta-llama/Llama-3.3-70B-Instruct:cerebras"] == prices("0.85", "1.2")
    assert found["NousResearch/Hermes-4-405B"] == prices("1", "3")
    assert found["NousResearch/Hermes-4-405B:nebius"] == prices("1", "3")
