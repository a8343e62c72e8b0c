"""Laws of costs, on cards and usages that no source has but that their rules allow."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import ROUND_UP, Context, Decimal, localcontext
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from llmpricing.compiled_card import CompiledCard
from llmpricing.cost import Cost
from llmpricing.meter_tree import ANCESTORS
from llmpricing.meters import Meter
from llmpricing.rate_card import (
    Comparison,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    Threshold,
    ThresholdScope,
    UtcWindow,
)
from llmpricing.usage import InputConvention, UsageError
from tests.unit._cost_reference import Units, exact_sum, reference_cost, total
from tests.unit._strategies import EPOCH, days_of_week

INCLUSIVE, EXCLUSIVE = InputConvention

often: Final = settings(derandomize=True, deadline=None, max_examples=80)

METERS: Final = (
    Meter.INPUT_TOKENS,
    Meter.OUTPUT_TOKENS,
    Meter.CACHE_READ_TOKENS,
    Meter.CACHE_WRITE_TOKENS,
    Meter.CACHE_WRITE_5M_TOKENS,
    Meter.INPUT_AUDIO_TOKENS,
    Meter.CACHE_AUDIO_READ_TOKENS,
    Meter.CACHE_AUDIO_WRITE_TOKENS,
    Meter.CACHE_AUDIO_WRITE_5M_TOKENS,
    Meter.OUTPUT_AUDIO_TOKENS,
    Meter.OUTPUT_REASONING_TOKENS,
    Meter.OUTPUT_AUDIO_REASONING_TOKENS,
    Meter.AUDIO_SECONDS,
    Meter.INPUT_AUDIO_SECONDS,
    Meter.REQUESTS,
)
"""Closed under overlaps: a usage that states them all leaves nothing open."""

meters = st.sampled_from(METERS)
amounts = st.integers(0, 10**4).map(lambda number: Decimal(number).scaleb(-6))
contexts = st.dictionaries(st.sampled_from("kl"), st.sampled_from("vw"), max_size=2)
instants = st.integers(0, 48).map(lambda hours: EPOCH + timedelta(hours=hours))
hours_of_weeks = st.integers(0, 8 * 24).map(lambda hours: EPOCH + timedelta(hours=hours))
units = st.dictionaries(meters, st.integers(0, 12), max_size=8)
thresholds = st.builds(
    Threshold,
    st.sampled_from((Meter.INPUT_TOKENS, Meter.CACHE_READ_TOKENS, Meter.OUTPUT_TOKENS)),
    st.sampled_from(Comparison),
    st.integers(0, 20),
)


@st.composite
def rates(draw: st.DrawFn, *, thresholds: st.SearchStrategy[Threshold | None]) -> Rate:
    """Most of them without conditions, some with all."""
    meter = draw(meters)
    threshold = draw(st.none() | thresholds)
    if threshold is not None and draw(st.booleans()):
        threshold = replace(threshold, meter=meter, scope=ThresholdScope.EXCESS)
    window = st.builds(
        lambda hour, days: UtcWindow(hour * 60, (hour * 60 + 300) % 1440, days),
        st.integers(0, 23),
        st.just(()) | days_of_week,
    )
    is_graduated = threshold is not None and threshold.scope is ThresholdScope.EXCESS
    return Rate(
        meter,
        draw(amounts),
        Conditions(
            threshold,
            context=tuple(sorted(draw(st.just({}) | contexts).items())),
            utc_window=draw(st.none() | st.none() | window),
            effective_from=draw(st.none() | st.none() | instants),
        ),
        per=draw(st.sampled_from((1, 1, 1, 7, 3600))),
        minimum=0 if is_graduated else draw(st.sampled_from((0, 0, 0, 10))),
    )


@st.composite
def cards(
    draw: st.DrawFn, thresholds: st.SearchStrategy[Threshold | None] = thresholds
) -> RateCard:
    stated = draw(
        st.lists(rates(thresholds=thresholds), max_size=14, unique_by=lambda rate: rate.key)
    )
    base = Rate(draw(meters), Decimal("0.000002"))
    kept = [rate for rate in stated if rate.key != base.key]
    return RateCard.of(PriceState.PRICED, draw(st.permutations([*kept, base])))


def inclusive(units: Units) -> dict[Meter, int]:
    """The same units by every meter that counts any of them, and zero by the others."""
    usage = {meter: total(units, meter) for meter in METERS}
    if Meter.REQUESTS not in units:
        del usage[Meter.REQUESTS]
    return usage


def evaluate(
    card: RateCard,
    usage: Mapping[Meter, int | Decimal],
    at: datetime = EPOCH,
    context: Mapping[str, str] | None = None,
    convention: InputConvention = EXCLUSIVE,
) -> Cost:
    return CompiledCard(card).evaluate(usage, at=at, context=context or {}, convention=convention)


def line_quantities(cost: Cost) -> dict[tuple[Meter, Rate], Decimal]:
    found = {(line.meter, line.rate): line.quantity for line in cost.lines}
    assert len(found) == len(cost.lines)
    return found


@given(cards(), units, instants, contexts)
@often
def test_every_unit_is_charged_once_at_the_first_rate_that_holds(
    card: RateCard, units: Units, at: datetime, context: Mapping[str, str]
) -> None:
    expected = reference_cost(card, units, at, context)
    cost = evaluate(card, units, at, context)
    assert cost.total == expected.total
    assert line_quantities(cost) == {key: count for key, count in expected.lines.items() if count}
    assert dict(cost.unpriced) == {meter: count for meter, count in expected.unpriced.items()}


@given(cards(), units, st.lists(hours_of_weeks, min_size=2, max_size=24), contexts)
@often
def test_a_card_remembers_no_cost_of_another_hour_or_day(
    card: RateCard, units: Units, hours: list[datetime], context: Mapping[str, str]
) -> None:
    compiled = CompiledCard(card)
    for at in hours:
        cost = compiled.evaluate(units, at=at, context=context, convention=EXCLUSIVE)
        assert cost.total == reference_cost(card, units, at, context).total


@given(cards(), units, instants, contexts)
@often
def test_both_conventions_of_the_same_facts_agree(
    card: RateCard, units: Units, at: datetime, context: Mapping[str, str]
) -> None:
    disjoint = evaluate(card, units, at, context, EXCLUSIVE)
    assert evaluate(card, inclusive(units), at, context, INCLUSIVE) == disjoint


@given(cards(), units, instants, contexts, st.sets(meters))
@often
def test_a_usage_without_its_details_costs_the_same_or_is_refused(
    card: RateCard, units: Units, at: datetime, context: Mapping[str, str], details: set[Meter]
) -> None:
    rated = {rate.meter for rate in card.rates}
    thresholds = [rate.conditions.threshold for rate in card.rates]
    counted = {threshold.meter for threshold in thresholds if threshold is not None}
    usage = {
        meter: count
        for meter, count in inclusive(units).items()
        if meter not in details or meter in rated | counted or not ANCESTORS[meter]
    }
    card = per_one(card)  # A line is rounded by itself, and details make lines.
    whole = evaluate(card, inclusive(units), at, context, INCLUSIVE)
    try:
        cost = evaluate(card, usage, at, context, INCLUSIVE)
    except UsageError as error:
        if "may overlap" not in str(error):
            raise
    else:
        assert cost.total == whole.total
        assert sum(count for _, count in cost.unpriced) == sum(count for _, count in whole.unpriced)


@given(cards(), units, instants, contexts)
@often
def test_lines_add_up_and_nothing_is_lost_or_negative(
    card: RateCard, units: Units, at: datetime, context: Mapping[str, str]
) -> None:
    card = without_minimums(card)
    cost = evaluate(card, units, at, context)
    assert cost.total == exact_sum([line.amount for line in cost.lines])
    assert all(line.amount >= 0 and line.quantity > 0 for line in cost.lines)
    assert all(quantity > 0 for _, quantity in cost.unpriced)
    found = [(line.meter, line.quantity) for line in cost.lines] + list(cost.unpriced)
    implied = Meter.REQUESTS not in units and any(meter is Meter.REQUESTS for meter, _ in found)
    stated = {**units, Meter.REQUESTS: 1} if implied else units
    assert {
        meter: sum(quantity for each, quantity in found if each is meter) for meter in stated
    } == stated
    assert {meter for meter, _ in found} <= stated.keys()


@given(cards(thresholds=st.none()), units, meters, st.integers(1, 9), instants, contexts)
@often
def test_more_units_never_cost_less_within_a_band(
    card: RateCard,
    units: Units,
    meter: Meter,
    more: int,
    at: datetime,
    context: Mapping[str, str],
) -> None:
    units = {Meter.REQUESTS: 1, **units}
    larger = {**units, meter: units.get(meter, 0) + more}
    assert evaluate(card, larger, at, context).total >= evaluate(card, units, at, context).total


@given(cards(), st.data(), units, instants, contexts)
@often
def test_raising_a_rate_never_lowers_a_cost(
    card: RateCard, data: st.DataObject, units: Units, at: datetime, context: Mapping[str, str]
) -> None:
    raised = data.draw(st.sampled_from(card.rates))
    more = data.draw(amounts)
    dearer = RateCard(
        card.state,
        tuple(
            replace(rate, price=rate.price + more) if rate is raised else rate
            for rate in card.rates
        ),
    )
    assert evaluate(dearer, units, at, context).total >= evaluate(card, units, at, context).total


@given(cards(), st.sampled_from((2, 10, 1_000_000, 7)), units, instants, contexts)
@often
def test_a_cost_does_not_depend_on_the_unit_that_a_price_was_stated_in(
    card: RateCard, times: int, units: Units, at: datetime, context: Mapping[str, str]
) -> None:
    restated = RateCard(
        card.state,
        tuple(replace(rate, price=rate.price * times, per=rate.per * times) for rate in card.rates),
    )
    cost, again = (evaluate(each, units, at, context) for each in (card, restated))
    assert [line.amount for line in again.lines] == [line.amount for line in cost.lines]
    assert (again.total, again.unpriced) == (cost.total, cost.unpriced)


@given(cards(), units, instants, contexts, st.randoms(use_true_random=False))
@often
def test_a_cost_does_not_depend_on_the_order_of_anything_but_the_rates_of_a_meter(
    card: RateCard, units: Units, at: datetime, context: Mapping[str, str], rng: random.Random
) -> None:
    of_meters = {meter: [r for r in card.rates if r.meter is meter] for meter in METERS}
    shuffled = rng.sample(METERS, len(METERS))
    other = RateCard(card.state, tuple(rate for meter in shuffled for rate in of_meters[meter]))
    turned = dict(rng.sample(list(units.items()), len(units)))
    asked = dict(rng.sample(list(context.items()), len(context)))
    for convention in InputConvention:
        usages = (units, turned)
        if convention is INCLUSIVE:
            usages = (inclusive(units), inclusive(turned))
        cost = evaluate(card, usages[0], at, context, convention)
        assert evaluate(other, usages[1], at, asked, convention) == cost


@given(cards(), units, instants, contexts)
@often
def test_a_caller_s_decimal_context_changes_nothing(
    card: RateCard, units: Units, at: datetime, context: Mapping[str, str]
) -> None:
    usage = {meter: Decimal(count).scaleb(-18) for meter, count in units.items()}
    exact = evaluate(card, usage, at, context)
    with localcontext(Context(prec=3, rounding=ROUND_UP, traps=[])):
        assert evaluate(card, usage, at, context) == exact


@given(cards(), st.lists(st.tuples(units, instants, contexts), max_size=12))
@often
def test_a_compiled_card_remembers_nothing_of_a_usage_for_the_next(
    card: RateCard, asked: list[tuple[Units, datetime, Mapping[str, str]]]
) -> None:
    compiled = CompiledCard(card)
    for units, at, context in asked:
        for convention in InputConvention:
            usage = units if convention is EXCLUSIVE else inclusive(units)
            again = compiled.evaluate(usage, at=at, context=context, convention=convention)
            assert again == evaluate(card, usage, at, context, convention)


@given(cards(), units, instants, contexts)
@often
def test_what_context_is_unused_changes_nothing(
    card: RateCard, units: Units, at: datetime, context: Mapping[str, str]
) -> None:
    cost = evaluate(card, units, at, context)
    used = dict(context.items() - set(cost.unused_context))
    assert evaluate(card, units, at, used) == replace(cost, unused_context=())


def without_minimums(card: RateCard) -> RateCard:
    return RateCard(card.state, tuple(replace(rate, minimum=0) for rate in card.rates))


def per_one(card: RateCard) -> RateCard:
    return RateCard(card.state, tuple(replace(rate, per=1) for rate in card.rates))
