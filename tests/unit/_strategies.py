"""What property tests draw from: prices, conditions and rate cards, valid by construction."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Context, Decimal
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    DYNAMIC,
    MINUTES_PER_DAY,
    UNPRICED,
    Comparison,
    Conditions,
    DayOfWeek,
    PriceState,
    Rate,
    RateCard,
    Threshold,
    ThresholdScope,
    UtcWindow,
)

few: Final = settings(derandomize=True, deadline=None, max_examples=40)
"""For laws with a slow reference. Derandomised, so that a run never fails by chance."""

many: Final = settings(derandomize=True, deadline=None, max_examples=100)
"""For laws of cheap functions."""

_UNROUNDED: Final = Context(prec=200)

EPOCH: Final = datetime(2026, 3, 27, tzinfo=UTC)
"""Friday before the night in which European clocks go forward."""


@st.composite
def prices(draw: st.DrawFn, *, zero: bool = False) -> Decimal:
    """Any accepted price: up to 40 digits, between 1E-40 and 1E10."""
    if zero and draw(st.integers(0, 9)) == 0:
        return Decimal(0)
    digits = draw(st.integers(1, 99) | st.integers(1, 10**40 - 1))
    magnitude = draw(st.integers(-12, -3) | st.integers(-40, 9))
    return Decimal(digits).scaleb(magnitude + 1 - len(str(digits)), context=_UNROUNDED)


meters = st.sampled_from(Meter)
minutes = st.integers(0, MINUTES_PER_DAY - 1)
days_of_week = st.sets(st.sampled_from(DayOfWeek), max_size=7).map(tuple)
utc_windows = (
    st.tuples(minutes, minutes, st.just(()) | days_of_week)
    .filter(lambda at: at[0] != at[1] or 0 < len(at[2]) < 7)
    .map(lambda at: UtcWindow(*at))
)
thresholds = st.builds(
    Threshold,
    meters,
    st.sampled_from(Comparison),
    st.integers(0, 2**63 - 1) | st.sampled_from([0, 1, 128_000]),
    st.sampled_from(ThresholdScope),
)
contexts = st.dictionaries(
    st.sampled_from(["processing", "service_tier", "länge"]),
    st.text("aé-0", max_size=4),
    max_size=2,
).map(lambda context: tuple(sorted(context.items())))
zones = st.sampled_from([UTC, timezone(timedelta(hours=-7)), timezone(timedelta(hours=5.5))])
dates = st.builds(
    lambda micros, zone: (EPOCH + timedelta(microseconds=micros)).astimezone(zone),
    st.integers(0, 10**13),
    zones,
)


@st.composite
def conditions(draw: st.DrawFn) -> Conditions:
    """Any conditions, most of them with little set."""
    begin, end = draw(st.none() | dates), draw(st.none() | dates)
    if begin is not None and end is not None and begin >= end:
        begin = None
    return Conditions(
        threshold=draw(st.none() | thresholds),
        context=draw(st.just(()) | contexts),
        utc_window=draw(st.none() | utc_windows),
        effective_from=begin,
        effective_until=end,
    )


@st.composite
def rate_of(draw: st.DrawFn, price: Decimal, per: int = 1) -> Rate:
    """A rate of any meter and conditions; what lies beyond a threshold is of its own meter."""
    meter, when = draw(meters), draw(conditions())
    threshold = when.threshold
    if threshold is not None and threshold.scope is ThresholdScope.EXCESS:
        return Rate(meter, price, replace(when, threshold=replace(threshold, meter=meter)), per)
    return Rate(meter, price, when, per, minimum=draw(st.just(0) | st.integers(0, 60)))


rates = st.tuples(prices(zero=True), st.just(1) | st.integers(1, 10**6)).flatmap(
    lambda stated: rate_of(*stated)
)


def unique_rates(rate: st.SearchStrategy[Rate], max_size: int = 4) -> st.SearchStrategy[list[Rate]]:
    """Rates of one card: no meter twice under the same conditions."""
    return st.lists(rate, min_size=1, max_size=max_size, unique_by=lambda one: one.key)


def priced_cards(rates: st.SearchStrategy[list[Rate]]) -> st.SearchStrategy[RateCard]:
    """Cards with a price above zero."""
    return rates.filter(lambda some: any(rate.price for rate in some)).map(
        lambda some: RateCard.of(PriceState.PRICED, some)
    )


free_cards = unique_rates(rate_of(Decimal(0))).map(lambda some: RateCard.of(PriceState.FREE, some))
cards = st.one_of(
    priced_cards(unique_rates(rates)), free_cards, st.just(DYNAMIC), st.just(UNPRICED)
)
