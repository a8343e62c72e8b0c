"""Bodies of real shape are read to the right meters, and cost what was worked out by hand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

import pytest
from genai_prices.data_units import unit_data

from llmpricing.meters import Meter
from llmpricing.rate_card import RateCard
from llmpricing.raw_usage import ApiFlavour, read_usage
from llmpricing.units import EXACT
from tests._raw_usage import UsageCase, usage_cases, usd

CASES = usage_cases()
each_case = pytest.mark.parametrize("case", CASES, ids=str)

DIMENSIONS = {
    Meter(unit): frozenset(entry["dimensions"].items())
    for unit, entry in unit_data.items()
    if unit in {meter.value for meter in Meter}
}


def test_there_are_enough_cases_of_every_flavour() -> None:
    by_flavour = Counter(case.flavour for case in CASES)
    assert len(CASES) >= 60
    assert all(by_flavour[flavour] >= 4 for flavour in ApiFlavour)
    assert len({str(case) for case in CASES}) == len(CASES)


@each_case
def test_a_body_is_read_to_meters_model_and_context(case: UsageCase) -> None:
    read = read_usage(case.body, case.flavour)
    assert read.usage == case.usage
    assert read.model == case.model
    assert read.context == case.context
    assert sorted(read.unknown) == sorted(case.unknown)


@each_case
def test_a_body_costs_what_was_worked_out_by_hand(case: UsageCase) -> None:
    assert usd(case.why) == case.cost
    read = read_usage(case.body, case.flavour)
    assert _cost(case.card, read.usage, read.context) == case.cost


@each_case
def test_json_text_is_read_as_what_it_says(case: UsageCase) -> None:
    text = json.dumps(case.body, ensure_ascii=False)
    expected = read_usage(case.body, case.flavour)
    assert read_usage(text, case.flavour) == expected
    assert read_usage(text.encode(), case.flavour) == expected


@each_case
def test_a_part_never_comes_without_the_whole_of_which_it_is(case: UsageCase) -> None:
    usage = read_usage(case.body, case.flavour).usage
    for part in usage:
        for whole, dimensions in DIMENSIONS.items():
            if dimensions < DIMENSIONS[part]:
                assert usage.get(whole, Decimal(0)) >= usage[part], (part, whole)


def _cost(card: RateCard, usage: Mapping[Meter, Decimal], context: Mapping[str, str]) -> Decimal:
    """USD: each unit once, at the most specific meter that has a rate."""
    total = Decimal(0)
    own: dict[Meter, Decimal] = {}
    for meter in sorted(usage, key=lambda meter: -len(DIMENSIONS[meter])):
        rates = [rate for rate in card.rates if rate.meter is meter]
        holding = [
            rate for rate in rates if dict(rate.conditions.context).items() <= context.items()
        ]
        inside = sum(
            (own[other] for other in own if DIMENSIONS[meter] < DIMENSIONS[other]), Decimal(0)
        )
        if holding:
            own[meter] = usage[meter] - inside
            total = EXACT.add(total, EXACT.multiply(own[meter], holding[0].price))
        elif not any(DIMENSIONS[other] < DIMENSIONS[meter] for other in usage):
            assert usage[meter] == inside, f"{meter} has no rate"
    return total
