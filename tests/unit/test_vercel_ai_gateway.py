"""Vercel's gateway states USD per token as strings, in tiers by the size of the prompt."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from llmpricing.meters import Meter
from llmpricing.rate_card import DYNAMIC, UNPRICED, PriceState, RateCard
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.source_listing import Listing, SourceError
from pricing_server.providers.vercel_ai_gateway import read
from tests._recorded import recorded

FIXTURE = Path(__file__).parents[1] / "fixtures" / "vercel_ai_gateway.json"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def listing_of(pricing: object, model_id: str = "a/b") -> Listing:
    sound = {"id": "a/sound", "pricing": {"input": "0.000001"}}
    return read({"data": [{"id": model_id, "pricing": pricing}, sound]}, NOW)


def card_of(pricing: object, model_id: str = "a/b") -> RateCard:
    listing = listing_of(pricing, model_id)
    assert not listing.faults
    return listing.models[0].card


def price(card: RateCard, meter: Meter, prompt_tokens: int) -> str | None:
    """USD for one of the meter in a request of that size: the first rate that applies."""
    for rate in card.rates:
        threshold = rate.conditions.threshold
        if rate.meter is meter and (threshold is None or threshold.reached_by(prompt_tokens)):
            return f"{rate.price:f}"
    return None


def codes(listing: Listing) -> set[str]:
    return {notice.code for notice in listing.notices}


def test_the_fixture_is_read_as_documented() -> None:
    listing = read(decode_json(FIXTURE.read_bytes()), NOW)
    assert not listing.faults
    cards = {model.model_id: model.card for model in listing.models}
    pro = cards["orchard/apple-pro"]
    assert price(pro, Meter.INPUT_TOKENS, 200_000) == "0.000002"
    assert price(pro, Meter.INPUT_TOKENS, 200_001) == "0.000004"
    assert price(pro, Meter.OUTPUT_TOKENS, 200_000) == "0.000012"
    assert price(pro, Meter.OUTPUT_TOKENS, 200_001) == "0.000018"
    assert price(pro, Meter.CACHE_READ_TOKENS, 10**6) == "0.0000002"
    assert price(pro, Meter.CACHE_WRITE_TOKENS, 0) == "0.000002"
    assert cards["orchard/apple-mini-free"].state is PriceState.FREE
    assert cards["orchard/pear"] == DYNAMIC
    assert price(cards["orchard/brush"], Meter.OUTPUT_IMAGES, 0) == "0.04"
    assert cards["orchard/reel"] == UNPRICED
    assert codes(listing) == {
        "varies_by_provider",
        "unit_in_doubt:web_search",
        "unknown_key:video_duration_pricing",
    }


@pytest.mark.recorded
def test_the_documented_example_has_its_tiers_at_200001_tokens() -> None:
    listing = read(decode_json(recorded("vercel_v1_models.doc-sample.json").read_bytes()), NOW)
    (model,) = listing.models
    steps = [
        (rate.meter, rate.conditions.threshold.quantity if rate.conditions.threshold else 0)
        for rate in model.card.rates
    ]
    meters = (
        Meter.INPUT_TOKENS,
        Meter.OUTPUT_TOKENS,
        Meter.CACHE_READ_TOKENS,
        Meter.CACHE_WRITE_TOKENS,
    )
    assert steps == [(meter, start) for meter in meters for start in (200_001, 0)]
    assert price(model.card, Meter.CACHE_READ_TOKENS, 200_001) == "0.0000004"


def test_tiers_may_begin_late_and_be_stated_without_a_base() -> None:
    late = card_of({"input": "1", "input_tiers": [{"cost": "2", "min": 128_001}]})
    assert [price(late, Meter.INPUT_TOKENS, size) for size in (128_000, 128_001)] == ["1", "2"]
    alone = card_of({"input_tiers": [{"cost": "1", "max": 9}, {"cost": "2", "min": 9}]})
    assert [price(alone, Meter.INPUT_TOKENS, size) for size in (0, 8, 9)] == ["1", "1", "2"]


@pytest.mark.parametrize(
    "tiers",
    [
        {},
        "x",
        [7],
        [{"cost": "1"}, {"cost": "2", "min": 10}],
        [{"cost": "1", "min": 0, "max": 10}],
        [{"cost": "1", "min": 0, "max": 10}, {"cost": "2", "min": 11}],
        [{"cost": "1", "min": 0, "max": 10}, {"cost": "2", "min": 9}],
        [{"cost": "1", "min": 0, "max": 0}, {"cost": "2", "min": 0}],
        [{"cost": "1", "min": "0"}],
        [{"cost": "1", "min": True}],
        [{"cost": "1", "min": -1}],
        [{"cost": "2", "min": 0}],
        [{"cost": "1", "min": 0, "max": 9}, {"cost": "0", "min": 9}],
        [{"min": 0}],
        [{"cost": "-1", "min": 0}],
    ],
)
def test_tiers_that_leave_a_doubt_are_a_fault_of_their_model(tiers: object) -> None:
    listing = listing_of({"input": "1", "input_tiers": tiers})
    assert bool(listing.faults) == bool(tiers)
    assert "a/sound" in {model.model_id for model in listing.models}


def test_tiers_without_a_price_for_small_requests_are_a_fault() -> None:
    assert listing_of({"input_tiers": [{"cost": "2", "min": 9}]}).faults


@pytest.mark.parametrize("value", ["abc", "NaN", "-1", True, [], {}, Decimal("Infinity"), ""])
def test_what_is_no_price_is_a_fault_of_its_model(value: object) -> None:
    assert [fault.model_id for fault in listing_of({"input": value}).faults] == ["a/b"]


def test_zero_is_free_only_where_the_id_says_so() -> None:
    zeros = {"input": "0", "output": "0"}
    assert card_of(zeros, "a/b-free").state is PriceState.FREE
    listing = listing_of(zeros)
    assert listing.models[0].card == UNPRICED
    assert codes(listing) == {"zero:input", "zero:output"}


def test_a_free_id_with_a_price_costs_that_price() -> None:
    assert card_of({"input": "0", "output": "0.1"}, "a/b-free").state is PriceState.PRICED


def test_a_zero_beside_a_price_is_no_rate() -> None:
    listing = listing_of({"input": "0.1", "output": "0"})
    assert [rate.meter for rate in listing.models[0].card.rates] == [Meter.INPUT_TOKENS]
    assert codes(listing) == {"zero:output"}


@pytest.mark.parametrize("pricing", [None, {}])
def test_a_model_without_pricing_is_unpriced(pricing: object) -> None:
    assert card_of(pricing) == UNPRICED


@pytest.mark.parametrize("pricing", ["free", 7, []])
def test_pricing_of_another_shape_is_a_fault(pricing: object) -> None:
    assert listing_of(pricing).faults


@pytest.mark.parametrize("varies", ["yes", 1])
def test_a_strange_word_on_varying_prices_is_a_fault(varies: object) -> None:
    assert listing_of({"input": "1", "varies_by_provider": varies}).faults


def test_a_price_that_does_not_vary_is_one() -> None:
    assert card_of({"input": "1", "varies_by_provider": False}).state is PriceState.PRICED


@pytest.mark.parametrize("document", [None, [], {}, {"data": {}}, {"data": []}, {"data": [1]}])
def test_a_payload_without_models_is_refused(document: object) -> None:
    with pytest.raises(SourceError):
        read(document, NOW)
