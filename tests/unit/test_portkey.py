"""Portkey's price files as rate cards: a hand-written fixture, single rules, and the recordings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    ALWAYS,
    UNPRICED,
    Comparison,
    Conditions,
    PriceState,
    Rate,
    Threshold,
)
from llmpricing.schedule import headline
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.source_listing import ListedModel, Listing, SourceError
from pricing_server.providers.portkey import PARTS, read
from tests._recorded import recorded

FIXTURE = Path(__file__).parents[1] / "fixtures" / "portkey.json"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MILLION = 1_000_000
BATCH = (("processing", "batch"),)


def above(quantity: int, context: tuple[tuple[str, str], ...] = ()) -> Conditions:
    return Conditions(Threshold(Meter.INPUT_TOKENS, Comparison.ABOVE, quantity), context)


def document() -> dict[str, Any]:
    found = decode_json(FIXTURE.read_bytes())
    assert isinstance(found, dict)
    return found


def codes(listing: Listing) -> dict[str, int]:
    return {notice.code: notice.models for notice in listing.notices}


@pytest.fixture(scope="module")
def listing() -> Listing:
    return read(document(), NOW)


@pytest.fixture(scope="module")
def models(listing: Listing) -> Mapping[tuple[str, str], ListedModel]:
    return {model.key: model for model in listing.models}


def test_prices_are_us_cents_per_token(models: Mapping[tuple[str, str], ListedModel]) -> None:
    assert models["alibaba-cloud", "plain-max"].card.rates == (
        Rate(Meter.INPUT_TOKENS, Decimal("0.0000016")),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.0000064")),
    )
    assert models["alibaba-cloud", "thinking-plus"].card.rates == (
        Rate(Meter.INPUT_TOKENS, Decimal("4E-7")),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.0000012")),
        Rate(Meter.INPUT_AUDIO_TOKENS, Decimal("0.00000444")),
        Rate(Meter.OUTPUT_REASONING_TOKENS, Decimal("0.000004")),
    )
    assert models["alibaba-cloud", "omni"].card.rates == (
        Rate(Meter.INPUT_TOKENS, Decimal("0.000002")),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.000008")),
        Rate(Meter.CACHE_WRITE_TOKENS, Decimal("0.0000025")),
        Rate(Meter.OUTPUT_AUDIO_TOKENS, Decimal("0.000016")),
        Rate(Meter.OUTPUT_IMAGE_TOKENS, Decimal("0.00003")),
        Rate(Meter.OUTPUT_VIDEO_TOKENS, Decimal("0.000012")),
    )
    assert models["google", "painter"].card.rates == (Rate(Meter.OUTPUT_IMAGES, Decimal("0.04")),)


def test_the_default_entry_is_no_model_and_zero_is_no_price(
    listing: Listing, models: Mapping[tuple[str, str], ListedModel]
) -> None:
    assert not any(model_id == "default" for _, model_id in models)
    assert models["alibaba-cloud", "nothing"].card == UNPRICED
    assert codes(listing)["zero:request_token"] == codes(listing)["zero:response_token"] == 1


def test_entries_by_size_that_agree_are_one_model_without_a_size(
    models: Mapping[tuple[str, str], ListedModel],
) -> None:
    assert models["google", "flat-flash"].card.rates == (
        Rate(Meter.INPUT_TOKENS, Decimal("1.5E-7"), Conditions(context=BATCH)),
        Rate(Meter.INPUT_TOKENS, Decimal("3E-7")),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.00000125"), Conditions(context=BATCH)),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.0000025")),
    )


def test_entries_by_size_that_differ_are_a_fault_since_the_size_is_in_doubt(
    listing: Listing,
) -> None:
    assert ("google", "long-pro") in {fault.key for fault in listing.faults}


def test_modes_and_sizes_are_conditions_and_a_mode_goes_before_a_size_without_it(
    models: Mapping[tuple[str, str], ListedModel],
) -> None:
    card = models["google-vertex", "claw-4@20260101"].card
    assert [
        (rate.conditions, str((rate.price * MILLION).normalize()))
        for rate in card.rates
        if rate.meter is Meter.INPUT_TOKENS
    ] == [
        (above(200_000, BATCH), "1.5"),
        (Conditions(context=BATCH), "1.5"),
        (above(200_000), "6"),
        (ALWAYS, "3"),
    ]
    assert [rate for rate in card.rates if rate.meter is Meter.CACHE_WRITE_1H_TOKENS] == [
        Rate(Meter.CACHE_WRITE_1H_TOKENS, Decimal("0.000006"))
    ]


def test_the_region_that_the_entry_itself_has_is_read_and_others_are_named(
    listing: Listing, models: Mapping[tuple[str, str], ListedModel]
) -> None:
    card = models["google-vertex", "global-flash"].card
    assert [(rate.conditions.context, str(rate.price)) for rate in card.rates[:3]] == [
        ((("service_tier", "flex"),), "1.25E-7"),
        ((("service_tier", "priority"),), "4.5E-7"),
        ((), "2.5E-7"),
    ]
    assert codes(listing)["not_read:region:us-east5"] == 1
    assert codes(listing)["not_read:region:default"] == 1


def test_an_entry_with_two_standard_prices_is_a_fault(listing: Listing) -> None:
    faults = {fault.key: fault.message for fault in listing.faults}
    assert faults.keys() == {("google", "long-pro"), ("google-vertex", "two-prices")}
    assert faults["google-vertex", "two-prices"] == "request_token has two standard prices"


def test_a_unit_that_is_not_declared_is_named(listing: Listing) -> None:
    assert codes(listing)["unknown_key:additional_units.web_search"] == 1


def test_another_currency_is_a_fault() -> None:
    changed = document()
    changed["dashscope"]["plain-max"]["pricing_config"]["currency"] = "CNY"
    (message,) = [
        fault.message for fault in read(changed, NOW).faults if fault.model_id == "plain-max"
    ]
    assert message == "the currency is not USD"


def test_a_conditional_zero_of_a_price_is_a_fault() -> None:
    changed = document()
    modes = changed["vertex-ai"]["global-flash"]["custom_pricing"]["regions"]["global"]
    flex = modes["execution_modes"]["flex"]["pricing_config"]["pay_as_you_go"]
    flex["request_token"]["price"] = 0
    faults = {fault.model_id: fault.message for fault in read(changed, NOW).faults}
    assert faults["global-flash"] == "a conditional price is zero"


@pytest.mark.parametrize(
    "price", ["abc", Decimal("NaN"), -1, True, [], {}, None, Decimal("Infinity")]
)
def test_what_is_no_price_is_a_fault_of_its_entry(price: object) -> None:
    changed = document()
    config = changed["dashscope"]["plain-max"]["pricing_config"]
    config["pay_as_you_go"]["request_token"]["price"] = price
    listing = read(changed, NOW)
    assert "plain-max" in {fault.model_id for fault in listing.faults}
    assert ("alibaba-cloud", "thinking-plus") in {model.key for model in listing.models}


@pytest.mark.parametrize("part", [None, [], {}, "x"])
def test_a_part_without_models_is_refused_as_its_models_would_seem_gone(part: object) -> None:
    with pytest.raises(SourceError, match="the file of dashscope"):
        read({**deepcopy(document()), "dashscope": part}, NOW)


@pytest.mark.parametrize("payload", [None, [], {}, "x"])
def test_a_payload_without_files_is_refused(payload: object) -> None:
    with pytest.raises(SourceError):
        read(payload, NOW)


# The recordings.


@pytest.fixture(scope="module")
def raw() -> Mapping[str, Any]:
    return {part: decode_json(recorded(f"portkey_{part}.json").read_bytes()) for part in PARTS}


@pytest.mark.recorded
def test_the_recorded_files_are_read_but_for_entries_that_contradict_themselves(
    raw: Mapping[str, Any],
) -> None:
    full = read(raw, NOW)
    assert Counter(model.card.state for model in full.models) == {
        PriceState.PRICED: 326,
        PriceState.UNPRICED: 26,
    }
    assert Counter(fault.message.partition(" ")[0] for fault in full.faults) == {
        "the": 22,  # "the payload lists this model more than once, at different prices"
        "request_token": 2,
        "cache_read_input_token": 3,
    }


@pytest.mark.parametrize(
    ("key", "prompt", "completion"),
    [
        (("alibaba-cloud", "qwen-max"), "1.6", "6.4"),
        (("alibaba-cloud", "qvq-max"), "1.2", "4.8"),
        (("google", "gemini-pro"), "0.25", "0.5"),
        (("google-vertex", "claude-3-haiku@20240307"), "0.25", "1.25"),
        (("google-vertex", "gemini-2.5-flash"), "0.3", "2.5"),
        (("google-vertex", "grok-4.3"), "1.25", "2.5"),
    ],
)
@pytest.mark.recorded
def test_prices_of_the_recordings_checked_by_hand(
    raw: Mapping[str, Any], key: tuple[str, str], prompt: str, completion: str
) -> None:
    (card,) = [model.card for model in read(raw, NOW).models if model.key == key]
    shown = headline(card, NOW)
    assert shown.prompt is not None
    assert shown.completion is not None
    assert shown.prompt * MILLION == Decimal(prompt)
    assert shown.completion * MILLION == Decimal(completion)
