"""How the numbers of a statement became rates, from the units that are declared."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from llmpricing.meters import Meter
from llmpricing.rate_card import UNPRICED
from llmpricing.units import same_price
from pricing_server.domain.source_listing import ListedModel
from pricing_server.history.conversions import Conversion, conversions_of
from pricing_server.providers import SOURCES
from tests._coverage import listings
from tests.unit._sources import by_id, read_fixture


def explained(slug: str, model: ListedModel) -> dict[str, Conversion]:
    """By path."""
    found = conversions_of(slug, SOURCES[slug], model.fragment, model.card)
    return {conversion.path: conversion for conversion in found}


@pytest.mark.recorded
def test_every_rate_of_every_recorded_row_is_explained_by_a_number_of_its_statement() -> None:
    rates = 0
    for slug, listing in listings():
        for model in listing.models:
            found = explained(slug, model).values()
            for rate in model.card.rates:
                rates += 1
                assert any(
                    one.meter is rate.meter
                    and one.price is not None
                    and same_price(one.price, rate.price)
                    for one in found
                ), (slug, model.model_id, rate)
    assert rates > 10_000


def test_a_number_is_shown_as_it_stands_with_its_unit_and_what_it_became() -> None:
    (model,) = [model for model in read_fixture("cerebras").models if model.card is not UNPRICED][
        :1
    ]
    stated = json.loads(model.fragment)["pricing"]
    shown = explained("cerebras", model)["pricing.prompt"]
    assert (shown.stated, shown.unit) == (stated["prompt"], "USD per token")
    assert shown.meter is Meter.INPUT_TOKENS
    assert shown.price == Decimal(stated["prompt"])


def test_a_multiplied_price_is_shown_with_its_multipliers() -> None:
    row = {
        "litellm_provider": "anthropic",
        "input_cost_per_token": Decimal("5E-6"),
        "provider_specific_entry": {"us": Decimal("1.1"), "fast": Decimal(2)},
    }
    (model,) = SOURCES["litellm"].read({"m": row}, datetime(2026, 11, 20, tzinfo=UTC)).models
    entry = "m.provider_specific_entry"
    shown = explained("litellm", model)
    assert {path: (one.stated, one.price) for path, one in shown.items()} == {
        "m.input_cost_per_token": ("0.000005", Decimal("0.000005")),
        f"m.input_cost_per_token * {entry}.us": ("0.000005 * 1.1", Decimal("0.0000055")),
        f"m.input_cost_per_token * {entry}.fast": ("0.000005 * 2", Decimal("0.00001")),
        f"m.input_cost_per_token * {entry}.us * {entry}.fast": (
            "0.000005 * 1.1 * 2",
            Decimal("0.000011"),
        ),
    }


def test_prices_under_conditions_are_listed_with_the_unit_of_their_field() -> None:
    listed = by_id(read_fixture("openrouter"))
    paths = {
        path: conversion.unit
        for model in listed.values()
        for path, conversion in explained("openrouter", model).items()
    }
    assert paths["pricing.overrides[0].prompt"] == "USD per token"
    assert not any("min_prompt_tokens" in path or "utc" in path for path in paths)


def test_a_number_that_became_no_rate_has_no_price() -> None:
    fragment = '{"id":"m","pricing":{"prompt":"0","completion":"-1","image":"0.5"}}'
    found = conversions_of("openrouter", SOURCES["openrouter"], fragment, UNPRICED)
    assert [(one.path, one.stated, one.price) for one in found] == [
        ("pricing.prompt", "0", None),
        ("pricing.completion", "-1", None),
        ("pricing.image", "0.5", None),
    ]


def test_after_a_revert_the_statement_that_was_read_is_explained() -> None:
    fragment = '{"reverted_sync_run_id":"7","stated":{"pricing":{"prompt":"0.5"}}}'
    (one,) = conversions_of("openrouter", SOURCES["openrouter"], fragment, UNPRICED)
    assert (one.path, one.price) == ("pricing.prompt", None)


def test_a_number_in_two_parts_is_one() -> None:
    for model in read_fixture("near-ai", "near_ai").models:
        found = explained("near-ai", model)
        for rate in model.card.rates:
            assert any(
                one.meter is rate.meter and one.price == rate.price for one in found.values()
            )


@pytest.mark.parametrize("fragment", ["{}", "[]", "1", "null", '"text"', '{"a":[{"b":null}]}'])
def test_a_statement_without_declared_fields_is_explained_by_nothing(fragment: str) -> None:
    assert not conversions_of("openrouter", SOURCES["openrouter"], fragment, UNPRICED)
    assert not conversions_of("gone", None, fragment, UNPRICED)
