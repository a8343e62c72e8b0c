"""models.dev's catalogue as rate cards: a hand-written fixture, single rules, and the recording."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    UNPRICED,
    Comparison,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    Threshold,
)
from llmpricing.schedule import headline
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.sellers import canonical
from pricing_server.domain.source_listing import ListedModel, Listing, SourceError
from pricing_server.providers.models_dev import read
from tests._recorded import recorded

FIXTURE = Path(__file__).parents[1] / "fixtures" / "models_dev.json"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MILLION = 1_000_000


def above(quantity: int) -> Conditions:
    return Conditions(Threshold(Meter.INPUT_TOKENS, Comparison.ABOVE, quantity))


def catalogue(**models: object) -> dict[str, object]:
    sound = {"id": "sound", "cost": {"input": 1, "output": 2}}
    return {"acme": {"name": "Acme", "models": {**models, "sound": sound}}}


def read_cost(cost: object, model_id: str = "m") -> Listing:
    return read(catalogue(**{model_id: {"id": model_id, "cost": cost}}), NOW)


def card_of(listing: Listing, model_id: str = "m") -> RateCard:
    (found,) = [model.card for model in listing.models if model.model_id == model_id]
    return found


def fault_of(listing: Listing) -> str:
    (fault,) = listing.faults
    assert [model.model_id for model in listing.models] == ["sound"]
    return fault.message


def codes(listing: Listing) -> dict[str, int]:
    return {notice.code: notice.models for notice in listing.notices}


@pytest.fixture(scope="module")
def listing() -> Listing:
    return read(decode_json(FIXTURE.read_bytes()), NOW)


@pytest.fixture(scope="module")
def models(listing: Listing) -> Mapping[tuple[str, str], ListedModel]:
    return {model.key: model for model in listing.models}


def test_every_model_of_the_fixture_is_read_under_its_seller(
    listing: Listing, models: Mapping[tuple[str, str], ListedModel]
) -> None:
    assert listing.faults == ()
    assert len(models) == 13
    assert {seller for seller, _ in models} == {"acme", "azure", "x-ai", "zai-coding-plan"}
    assert listing.provider_names["x-ai"] == "xAI"
    assert listing.provider_names["azure"] == "Azure"


def test_prices_are_usd_per_million(models: Mapping[tuple[str, str], ListedModel]) -> None:
    assert models["acme", "plain-70b"].card.rates == (
        Rate(Meter.INPUT_TOKENS, Decimal("9E-7")),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.0000025")),
        Rate(Meter.CACHE_READ_TOKENS, Decimal("9E-8")),
    )
    assert models["acme", "audio-1"].card.rates[2:] == (
        Rate(Meter.INPUT_AUDIO_TOKENS, Decimal("0.00001")),
        Rate(Meter.OUTPUT_AUDIO_TOKENS, Decimal("0.00002")),
    )
    assert models["acme", "thinker"].card.rates == (
        Rate(Meter.INPUT_TOKENS, Decimal("0.000001")),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.000004")),
        Rate(Meter.CACHE_WRITE_TOKENS, Decimal("0.00000125")),
        Rate(Meter.OUTPUT_REASONING_TOKENS, Decimal("0.000006")),
    )


def test_the_size_of_a_tier_is_that_of_the_tier_and_not_200_000(
    models: Mapping[tuple[str, str], ListedModel],
) -> None:
    assert models["acme", "long-pro"].card.rates == (
        Rate(Meter.INPUT_TOKENS, Decimal("0.0000025"), above(272_000)),
        Rate(Meter.INPUT_TOKENS, Decimal("0.00000125")),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.000015"), above(272_000)),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.00001")),
        Rate(Meter.CACHE_READ_TOKENS, Decimal("2.5E-7"), above(272_000)),
        Rate(Meter.CACHE_READ_TOKENS, Decimal("1.25E-7")),
    )


def test_the_highest_tier_that_is_reached_applies(
    models: Mapping[tuple[str, str], ListedModel],
) -> None:
    rates = models["acme", "two-tiers"].card.rates
    assert [str(rate.price * MILLION) for rate in rates if rate.meter is Meter.INPUT_TOKENS] == [
        "3.000000",
        "2.000000",
        "1.000000",
    ]


def test_a_mode_costs_what_it_states_for_requests_that_ask_for_it(
    models: Mapping[tuple[str, str], ListedModel],
) -> None:
    priority = Conditions(context=(("service_tier", "priority"),))
    assert models["x-ai", "rock-4"].card.rates == (
        Rate(Meter.INPUT_TOKENS, Decimal("0.000006"), priority),
        Rate(Meter.INPUT_TOKENS, Decimal("0.000003")),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.00003"), priority),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.000015")),
    )


def read_mode(cost: object, provider: object, **base: object) -> Listing:
    modes = {"fast": {"cost": cost, "provider": provider}}
    row = {"id": "m", "cost": {"input": 1, "output": 2, **base}, "experimental": {"modes": modes}}
    return read(catalogue(m=row), NOW)


@pytest.mark.parametrize(
    ("cost", "provider"),
    [
        ({"input": 6}, None),
        ({"input": 6}, {"headers": {"x-fast": "yes"}}),
        ({"input": 6}, {"body": {"made_up": "yes"}}),
        ({"input": 6}, {"body": {"speed": 2}}),
        ({"input": 6, "made_up": 1}, {"body": {"speed": "fast"}}),
        ("much", {"body": {"speed": "fast"}}),
    ],
)
def test_a_mode_that_is_not_understood_is_named_and_no_rate(cost: object, provider: object) -> None:
    listing = read_mode(cost, provider)
    assert codes(listing) == {"not_read:experimental.modes": 1}
    assert {rate.conditions.context for rate in card_of(listing).rates} == {()}


def test_a_mode_without_the_price_of_reasoning_is_named_where_that_has_its_own() -> None:
    listing = read_mode({"input": 6, "output": 12}, {"body": {"speed": "fast"}}, reasoning=3)
    assert codes(listing) == {"not_read:experimental.modes": 1}


def test_a_zero_in_a_mode_of_what_has_a_standard_price_is_a_fault() -> None:
    assert "mode is zero" in fault_of(read_mode({"input": 0}, {"body": {"speed": "fast"}}))


def test_zero_is_free_only_where_the_id_says_so(
    listing: Listing, models: Mapping[tuple[str, str], ListedModel]
) -> None:
    assert models["acme", "small:free"].card.state is PriceState.FREE
    assert models["acme", "subscribed"].card == UNPRICED
    assert models["zai-coding-plan", "glm-5.1"].card == UNPRICED
    assert models["acme", "unstated"].card == UNPRICED
    assert {rate.meter for rate in models["acme", "embed-1"].card.rates} == {Meter.INPUT_TOKENS}
    assert codes(listing)["zero:cost.input"] == 2
    assert codes(listing)["zero:cost.output"] == 3


def test_a_price_is_not_free_for_being_called_so() -> None:
    listing = read_cost({"input": 1, "output": 0}, "m:free")
    assert card_of(listing, "m:free").rates == (Rate(Meter.INPUT_TOKENS, Decimal("0.000001")),)


def test_a_misspelled_key_is_named_and_not_guessed(
    listing: Listing, models: Mapping[tuple[str, str], ListedModel]
) -> None:
    assert len(models["acme", "misspelled"].card.rates) == 2
    assert codes(listing)["unknown_key:cache_input"] == 1


def test_two_names_of_a_seller_that_agree_are_one_model(
    listing: Listing, models: Mapping[tuple[str, str], ListedModel]
) -> None:
    assert codes(listing)["repeated_row"] == 1
    assert len(models["azure", "gpt-4o"].card.rates) == 3


def test_two_names_of_a_seller_that_disagree_are_a_fault() -> None:
    document = decode_json(FIXTURE.read_bytes())
    assert isinstance(document, dict)
    document["azure-cognitive-services"]["models"]["gpt-4o"]["cost"]["output"] = 11
    listing = read(document, NOW)
    assert [fault.key for fault in listing.faults] == [("azure", "gpt-4o")]


@pytest.mark.parametrize(
    "tiers",
    [
        "none",
        [1],
        [{"input": 1}],
        [{"input": 1, "tier": {"size": 0}}],
        [{"input": 1, "tier": {"size": "200000"}}],
        [{"input": 1, "tier": {"size": True}}],
        [{"input": 1, "tier": {"size": 10, "type": "users"}}],
        [{"input": 1, "tier": {"size": 10}}, {"input": 2, "tier": {"size": 10}}],
        [{"input": 0, "tier": {"size": 10}}],
        [{"input": -1, "tier": {"size": 10}}],
        [{"inptu": 1, "tier": {"size": 10}}],
    ],
)
def test_tiers_that_are_not_understood_are_a_fault(tiers: object) -> None:
    assert fault_of(read_cost({"input": 1, "output": 2, "tiers": tiers}))


def test_a_threshold_that_is_not_exact_is_a_fault() -> None:
    cost = {"input": 1, "output": 2, "context_over_200k": {"input": 2}}
    assert "exact threshold" in fault_of(read_cost(cost))


@pytest.mark.parametrize("cost", [[], "x", {"input": "x"}, {"input": -1}, {"input": True}])
def test_what_is_no_price_is_a_fault_of_its_row(cost: object) -> None:
    assert fault_of(read_cost(cost))


@pytest.mark.parametrize("row", [None, 1, {}, {"id": "other"}])
def test_a_row_under_another_id_is_a_fault(row: object) -> None:
    assert "another id" in fault_of(read(catalogue(m=row), NOW))


@pytest.mark.parametrize("seller", [None, 1, {}, {"models": []}])
def test_a_seller_without_models_is_a_fault(seller: object) -> None:
    assert "no object of models" in fault_of(read({"broken": seller, **catalogue()}, NOW))


@pytest.mark.parametrize("document", [None, [], {}, {"acme": {}}, "x"])
def test_a_payload_without_models_is_refused(document: object) -> None:
    with pytest.raises(SourceError):
        read(document, NOW)


# The recording.


@pytest.fixture(scope="module")
def raw() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(
        recorded("models_dev_api.json").read_bytes(), parse_float=Decimal
    )
    return found


@pytest.mark.recorded
def test_every_price_of_the_recording_is_told_exactly(raw: Mapping[str, Any]) -> None:
    full = read(raw, NOW)
    assert full.faults == ()
    assert Counter(model.card.state for model in full.models) == {
        PriceState.PRICED: 4_033,
        PriceState.UNPRICED: 630,
        PriceState.FREE: 32,
    }
    shown = {model.key: headline(model.card, NOW) for model in full.models}
    compared = 0
    for provider, stated in raw.items():
        for model_id, row in stated["models"].items():
            told, cost = shown[canonical(provider), model_id], row.get("cost") or {}
            if told.state is not PriceState.FREE:
                for key, price in (("input", told.prompt), ("output", told.completion)):
                    expected = Decimal(cost.get(key, 0)) / MILLION or None
                    assert price == expected, (provider, model_id)
                    compared += price is not None
    assert compared > 8_000


@pytest.mark.recorded
def test_the_modes_of_the_recording_are_read_exactly(raw: Mapping[str, Any]) -> None:
    full = read(raw, NOW)
    assert "not_read:experimental.modes" not in codes(full)
    modes = {
        model.key: {
            (*rate.conditions.context[0], rate.meter.value): rate.price * MILLION
            for rate in model.card.rates
            if rate.conditions.context
        }
        for model in full.models
    }
    assert sum(map(bool, modes.values())) == 22
    assert modes["anthropic", "claude-opus-4-6"] == {
        ("speed", "fast", "input_tokens"): 30,
        ("speed", "fast", "output_tokens"): 150,
        ("speed", "fast", "cache_read_tokens"): 3,
        ("speed", "fast", "cache_write_tokens"): Decimal("37.5"),
    }
    assert modes["openai", "gpt-5.4-mini"] == {
        ("service_tier", "priority", "input_tokens"): Decimal("1.5"),
        ("service_tier", "priority", "output_tokens"): 9,
        ("service_tier", "priority", "cache_read_tokens"): Decimal("0.15"),
    }


@pytest.mark.recorded
def test_the_older_form_of_a_tier_says_nothing_that_the_tiers_do_not(
    raw: Mapping[str, Any],
) -> None:
    for stated in raw.values():
        for row in stated["models"].values():
            cost = row.get("cost") or {}
            if older := cost.get("context_over_200k"):
                tiers = [tier for tier in cost["tiers"] if tier["tier"]["size"] >= 200_000]
                lowest = dict(min(tiers, key=lambda tier: tier["tier"]["size"]))
                del lowest["tier"]
                assert older == lowest
