"""What is corrected of the bundled catalogue, and the rows that the corrections rest on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Final

import pytest
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    TimeOfDateConstraint,
)

from llmpricing.compiled_card import CompiledCard
from llmpricing.meters import Meter
from llmpricing.rate_card import DayOfWeek, RateCard
from pricing_server.domain.source_listing import Listing
from pricing_server.providers.genai_prices import SOURCE, read
from pricing_server.providers.genai_prices_corrections import DAYS_OF_HOURS, LEAST_BILLED, Key
from tests._genai_edges import NOW, OFF_ON_WEEKENDS, asked_at, constraints

MILLION_EACH: Final = {Meter.INPUT_TOKENS: 10**6, Meter.OUTPUT_TOKENS: 10**6}


def _hours(start: str, end: str) -> dict[str, str]:
    return {"start_time": f"{start}:00+00:00", "end_time": f"{end}:00+00:00"}


def _tokens(fresh: str, cached: str, output: str) -> dict[str, str]:
    return {"input_mtok": fresh, "cache_read_mtok": cached, "output_mtok": output}


def _peak(fresh: str, cached: str, output: str) -> list[dict[str, object]]:
    prices = _tokens(fresh, cached, output)
    return [
        {"constraint": _hours("01:00", "04:00"), "prices": prices},
        {"constraint": _hours("06:00", "10:00"), "prices": prices},
    ]


def _whisper(name: str, hour: str, batch: str) -> dict[str, object]:
    return {
        "id": name,
        "prices": {"audio_hours": hour, "input_audio_hours": hour},
        "price_variants": [
            {
                "when": {"processing": "batch"},
                "prices": {"audio_hours": batch, "input_audio_hours": batch},
                "constraint": {"start_date": "2026-10-14"},
            }
        ],
    }


ROWS: Final[Mapping[Key, object]] = {
    ("deepseek", "deepseek-flash"): {
        "id": "deepseek-flash",
        "prices": [
            {"prices": _tokens("0.15", "0.003", "0.6")},
            *_peak("0.3", "0.006", "1.2"),
        ],
    },
    ("deepseek", "deepseek-v4-flash"): {
        "id": "deepseek-v4-flash",
        "prices": [
            {"prices": _tokens("0.14", "0.0028", "0.28")},
            {
                "constraint": {"start_date": "2026-08-17"},
                "prices": _tokens("0.22", "0.007", "0.66"),
            },
            {
                "constraint": {"start_date": "2026-09-10"},
                "prices": _tokens("0.15", "0.003", "0.6"),
            },
            *_peak("0.3", "0.006", "1.2"),
        ],
    },
    ("deepseek", "deepseek-v4-pro"): {
        "id": "deepseek-v4-pro",
        "prices": [
            {"prices": _tokens("0.435", "0.003625", "0.87")},
            {
                "constraint": {"start_date": "2026-08-17"},
                "prices": _tokens("0.66", "0.022", "1.98"),
            },
            *_peak("1.32", "0.044", "3.96"),
        ],
    },
    ("groq", "whisper-large-v3"): _whisper("whisper-large-v3", "0.111", "0.0555"),
    ("groq", "whisper-large-v3-turbo"): _whisper("whisper-large-v3-turbo", "0.04", "0.02"),
}
"""The catalogue's rows as they were when their corrections were made. Where one changes, read
the source of the correction again before it is written here."""


@pytest.fixture(scope="module")
def catalogue() -> list[Provider]:
    assert SOURCE.release is not None
    providers = SOURCE.release.load()
    assert isinstance(providers, list)
    return providers


@pytest.fixture(scope="module")
def listing(catalogue: list[Provider]) -> Listing:
    return read(catalogue, NOW)


@pytest.fixture(scope="module")
def cards(listing: Listing) -> dict[Key, RateCard]:
    return {model.key: model.card for model in listing.models}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def read_one(seller: str, model: ModelInfo) -> Listing:
    sound = ModelInfo(id="m", match=ClauseEquals("m"), prices=ModelPrice(input_mtok=Decimal(1)))
    return read([Provider(id=seller, name="Seller", api_pattern="x", models=[model, sound])], NOW)


def test_the_rows_that_are_corrected_are_those_that_the_corrections_were_made_for(
    listing: Listing,
) -> None:
    corrected = LEAST_BILLED | DAYS_OF_HOURS.keys()
    stated = {
        model.key: json.loads(model.fragment) for model in listing.models if model.key in corrected
    }
    assert stated == ROWS


def test_hours_of_the_catalogue_have_no_days() -> None:
    # Once they have, no correction is needed.
    fields = {field.name for field in dataclasses.fields(TimeOfDateConstraint)}
    assert fields == {"start_time", "end_time"}


def test_all_other_hours_of_the_catalogue_are_the_discount_of_2025(
    catalogue: list[Provider],
) -> None:
    stated = {
        (provider.id, model.id): [each for each in constraints(model) if each is not None]
        for provider in catalogue
        for model in provider.models
        if any(isinstance(each, TimeOfDateConstraint) for each in constraints(model))
        and (provider.id, model.id) not in DAYS_OF_HOURS
    }
    standard = [TimeOfDateConstraint(time(0, 30, tzinfo=UTC), time(16, 30, tzinfo=UTC))]
    old = (("deepseek", "deepseek-chat"), ("deepseek", "deepseek-reasoner"))
    assert stated == dict.fromkeys(old, standard)


# DeepSeek's days.


@pytest.mark.parametrize(
    ("when", "cost"),
    [
        ("2026-11-27 02:00", "1.5"),  # A Friday.
        ("2026-11-27 05:00", "0.75"),
        ("2026-11-28 02:00", "0.75"),
        ("2026-11-29 09:59", "0.75"),
        ("2026-11-30 00:59", "0.75"),
        ("2026-11-30 01:00", "1.5"),
    ],
)
def test_deepseek_has_no_peak_at_a_weekend(
    cards: dict[Key, RateCard], when: str, cost: str
) -> None:
    card = CompiledCard(cards["deepseek", "deepseek-v4-flash"])
    assert card.evaluate(MILLION_EACH, at=at(when)).total == Decimal(cost)


def test_the_peak_is_on_the_card_once_with_its_days(cards: dict[Key, RateCard]) -> None:
    workdays = ["monday", "tuesday", "wednesday", "thursday", "friday"]
    for key in DAYS_OF_HOURS:
        rates = cards[key].to_document()["rates"]
        timed = [rate for rate in rates if "utc_window" in rate]
        assert {rate["meter"] for rate in timed} == {rate["meter"] for rate in rates}
        assert [rate["utc_days"] for rate in timed] == [workdays] * 6


def test_costs_differ_from_the_package_s_at_deepseek_s_weekends_and_nowhere_else(
    catalogue: list[Provider], cards: dict[Key, RateCard]
) -> None:
    """The rule by which tests ask the package at another instant is all that is corrected."""
    quarters = [NOW + timedelta(minutes=15 * step) for step in range(7 * 24 * 4)]
    timed = [
        (provider, model)
        for provider in catalogue
        for model in provider.models
        if any(isinstance(each, TimeOfDateConstraint) for each in constraints(model))
    ]
    for provider, model in timed:
        card = CompiledCard(cards[provider.id, model.id])
        different = {
            when
            for when in quarters
            if card.evaluate(MILLION_EACH, at=when).total != package_cost(model, when)
        }
        assert different == {when for when in quarters if asked_at(model, when) != when}
        assert bool(different) == ((provider.id, model.id) in DAYS_OF_HOURS)
        assert all(when.isoweekday() in tuple(DayOfWeek)[5:] for when in different)
        assert len(different) in (0, 2 * 7 * 4)
    assert {key for key in DAYS_OF_HOURS} == {("deepseek", name) for name in OFF_ON_WEEKENDS}


def package_cost(model: ModelInfo, when: datetime) -> Decimal:
    prices = model.get_prices(when)
    assert isinstance(prices.input_mtok, Decimal)
    assert isinstance(prices.output_mtok, Decimal)
    return prices.input_mtok + prices.output_mtok


@pytest.mark.parametrize(
    ("hours", "peak", "message"),
    [
        (
            [(time(1), time(5)), (time(6), time(10))],
            ModelPrice(input_mtok=Decimal(2)),
            "the hours are not those of which the days are known",
        ),
        (
            [(time(1), time(4))],
            ModelPrice(input_mtok=Decimal(2)),
            "the hours are not those of which the days are known",
        ),
        (
            [(time(1), time(4)), (time(6), time(10))],
            ModelPrice(input_mtok=Decimal(2), requests_kcount=Decimal(1)),
            "requests have no price on days without these hours",
        ),
    ],
)
def test_a_row_of_other_hours_is_a_fault(
    hours: list[tuple[time, time]], peak: ModelPrice, message: str
) -> None:
    seller, name = min(DAYS_OF_HOURS)
    prices = [
        ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(1))),
        *(ConditionalPrice(TimeOfDateConstraint(*each), prices=peak) for each in hours),
    ]
    listing = read_one(seller, ModelInfo(id=name, match=ClauseEquals(name), prices=prices))
    assert [fault.message for fault in listing.faults] == [message]


# The least that is billed.


def test_whisper_at_groq_is_charged_for_ten_seconds_at_least(
    cards: dict[Key, RateCard],
) -> None:
    minimums = {
        key: {(rate.meter, rate.minimum) for rate in card.rates}
        for key, card in cards.items()
        if any(rate.minimum for rate in card.rates)
    }
    assert minimums == {key: {(Meter.AUDIO_SECONDS, 10)} for key in LEAST_BILLED}


def test_a_minimum_beside_a_price_of_input_of_its_own_is_a_fault() -> None:
    seller, name = min(LEAST_BILLED)
    prices = ModelPrice(audio_hours=Decimal(1), input_audio_hours=Decimal(2))
    model = ModelInfo(id=name, match=ClauseEquals(name), prices=prices)
    (fault,) = read_one(seller, model).faults
    assert fault.message == "seconds of input have a price of their own beside a minimum for all"
