"""Together: USD per 1M tokens, and zeros that are free only where the id says so."""

from __future__ import annotations

import pytest

from llmpricing.rate_card import PriceState
from pricing_server.domain.source import KeyUse
from pricing_server.domain.source_listing import SourceError
from pricing_server.providers.together import SOURCE
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


def test_prices_are_usd_per_1m_for_what_is_sold_by_the_token() -> None:
    listing = read_fixture("together")
    assert listing.faults == ()
    assert per_million(listing) == {
        "acme/plain-70b": prices("0.88", "0.88"),
        "acme/split": prices("0.18000000000000002", "0.5900000000000001"),
        "acme/base": prices("0.9", "0.9"),
        "acme/embed": prices("0.008", "0.008"),
        "acme/rank": prices("0.1", "0.1"),
        "acme/guard": prices("0.2", "0.2"),
        "acme/small-Free": prices("0", "0"),
        "acme/distill-free": prices("0", "0"),
        "acme/pictures": PriceState.UNPRICED,
        "acme/voice": PriceState.UNPRICED,
        "acme/zero": PriceState.UNPRICED,
        "acme/transcript": PriceState.UNPRICED,
    }
    assert notices(listing) == {
        "unit_in_doubt:audio": (1, "acme/voice"),
        "unit_in_doubt:transcribe": (1, "acme/transcript"),
        "unknown_key:pricing.base": (12, "acme/plain-70b"),
        "unknown_key:pricing.finetune": (12, "acme/plain-70b"),
        "unknown_key:pricing.hourly": (12, "acme/plain-70b"),
        "zero:pricing.input": (2, "acme/pictures"),
        "zero:pricing.output": (3, "acme/pictures"),
    }


def test_free_is_what_is_called_free() -> None:
    states = {model.model_id: model.card.state for model in read_fixture("together").models}
    free = {model_id for model_id, state in states.items() if state is PriceState.FREE}
    assert free == {"acme/small-Free", "acme/distill-free"}


def test_a_price_is_a_price_whatever_the_id_says() -> None:
    row = {"id": "m-Free", "type": "chat", "pricing": {"input": 1, "output": 0}}
    card = by_id(SOURCE.read([row], NOW))["m-Free"].card
    assert card.state is PriceState.PRICED


@pytest.mark.parametrize("kind", [None, 5, [], {}, "video", "Chat"])
def test_a_price_of_an_unknown_type_has_no_unit(kind: object) -> None:
    row = {"id": "m", "type": kind, "pricing": {"input": 1, "output": 2}}
    assert per_million(SOURCE.read([row], NOW)) == {"m": PriceState.UNPRICED}


@pytest.mark.parametrize("document", [None, {}, {"data": [{"id": "m"}]}, [], "models", [5]])
def test_a_payload_that_is_no_list_of_models_is_refused(document: object) -> None:
    with pytest.raises(SourceError):
        SOURCE.read(document, NOW)


def test_a_key_is_needed() -> None:
    assert SOURCE.key_use is KeyUse.REQUIRED
    assert SOURCE.key_variable == "PRICING_TOGETHER_API_KEY"


@pytest.mark.recorded
def test_the_recorded_payload_has_71_prices_all_as_stated_and_3_free_models() -> None:
    listing = read_recorded("together")
    found = per_million(listing)
    free = {model.model_id for model in listing.models if model.card.state is PriceState.FREE}
    assert free == {
        "black-forest-labs/FLUX.1-schnell-Free",
        "deepseek-ai/DeepSeek-R1-Distill-Llama-70B-free",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo-Free",
    }
    priced = 0
    for row in raw_rows("together"):
        stated = [row["pricing"]["input"], row["pricing"]["output"]]
        if stated != ["0", "0"] and row["type"] not in ("audio", "transcribe"):
            assert found[row["id"]] == prices(*stated), row["id"]
            priced += 1
        elif row["id"] not in free:
            assert found[row["id"]] == PriceState.UNPRICED, row["id"]
    assert (len(found), priced, listing.faults) == (90, 71, ())


@pytest.mark.recorded
def test_ten_recorded_prices_checked_by_hand() -> None:
    found = per_million(read_recorded("together"))
    assert found["Alibaba-NLP/gte-modernbert-base"] == prices("0.08", "0.08")
    assert found["Qwen/Qwen2.5-VL-72B-Instruct"] == prices("1.95", "8")
    assert found["Qwen/Qwen3-235B-A22B-Thinking-2507"] == prices("0.65", "3")
    assert found["cartesia/sonic"] == PriceState.UNPRICED
    assert found["deepseek-ai/DeepSeek-R1"] == prices("3", "7")
    assert found["deepseek-ai/DeepSeek-V3.1"] == prices("0.6", "1.7")
    assert found["lgai/exaone-deep-32b"] == PriceState.UNPRICED
    assert found["openai/gpt-oss-120b"] == prices("0.15", "0.6")
    assert found["openai/whisper-large-v3"] == PriceState.UNPRICED
    assert found["zai-org/GLM-4.5-Air-FP8"] == prices("0.2", "1.1")
