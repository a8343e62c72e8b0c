"""A rate card in time: what is in effect at an instant, since when, and until when.

Dates and times of day on a card are the only things that change an answer without
a sync; "changed" here always means that a caller would read different rates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    ALWAYS,
    Conditions,
    DayOfWeek,
    PriceState,
    Rate,
    RateCard,
    RateDifference,
    UtcWindow,
)

_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Headline:
    """The standard price in effect: standard context, lowest token band.

    `prompt` and `completion` are USD per token, `request` and `image` USD per one;
    None where not known. A free card has zeros; dynamic and unpriced ones have nothing.
    """

    state: PriceState
    prompt: Decimal | None = None
    completion: Decimal | None = None
    request: Decimal | None = None
    image: Decimal | None = None


def rates_in_effect(card: RateCard, at: datetime) -> tuple[Rate, ...]:
    """The rates whose date and time of day hold at the instant, in order of precedence."""
    at = at.astimezone(UTC)
    return tuple(rate for rate in card.rates if rate.conditions.in_effect(at))


def standard_rates(card: RateCard, at: datetime) -> dict[Meter, Rate]:
    """What each meter costs at the instant in the standard context and the lowest band."""
    standard: dict[Meter, Rate] = {}
    for rate in card.rates:
        conditions = rate.conditions
        if conditions == ALWAYS or (_is_standard(conditions) and conditions.in_effect(at)):
            standard.setdefault(rate.meter, rate)
    return standard


def headline(card: RateCard, at: datetime) -> Headline:
    """The headline of a card at an instant.

    A priced card is unpriced while none of its rates is in effect.
    """
    if card.state in (PriceState.DYNAMIC, PriceState.UNPRICED):
        return Headline(card.state)
    standard: dict[Meter, Decimal] = {}
    for rate in rates_in_effect(card, at):
        if rate.per == 1 and _is_standard(rate.conditions):
            standard.setdefault(rate.meter, rate.price)
    if not standard and not rates_in_effect(card, at):
        return Headline(PriceState.UNPRICED)
    return Headline(
        state=card.state,
        prompt=standard.get(Meter.INPUT_TOKENS),
        completion=standard.get(Meter.OUTPUT_TOKENS),
        request=standard.get(Meter.REQUESTS),
        image=standard.get(Meter.INPUT_IMAGES),
    )


def next_change(card: RateCard, at: datetime) -> datetime | None:
    """The first instant after `at` at which the rates in effect change; None if there is none."""
    at = at.astimezone(UTC)
    now = _in_effect(card, at)
    for instant in sorted(_boundaries(card, at, at + _cycle(card))):
        if instant > at and _in_effect(card, instant) != now:
            return instant
    return None


def dated_changes(
    card: RateCard, since: datetime, until: datetime
) -> Iterator[tuple[datetime, tuple[RateDifference, ...]]]:
    """The rates that change by their date after `since` and up to `until`, by instant.

    Hours and days of the week are conditions of these rates and no change.
    """
    for instant in sorted(_dates(card)):
        if since < instant <= until:
            changed = rate_differences(by_date(card, instant - _TICK), by_date(card, instant))
            if changed:
                yield instant, changed


def by_date(card: RateCard, at: datetime) -> Mapping[object, Rate]:
    """The first rate of each meter and conditions but the date whose date holds."""
    found: dict[object, Rate] = {}
    for rate in card.rates:
        if rate.conditions.holds_by_date(at):
            undated = replace(rate.conditions, effective_from=None, effective_until=None)
            found.setdefault((rate.meter, undated), rate)
    return found


def rate_differences(
    old: Mapping[object, Rate], new: Mapping[object, Rate]
) -> tuple[RateDifference, ...]:
    """The rates in which two states differ, as `by_date` tells them."""
    keys = [*new, *(key for key in old if key not in new)]
    found = ((old.get(key), new.get(key)) for key in keys)
    return tuple(
        RateDifference(one, two)
        for one, two in found
        if one is None or two is None or not one.same_price_as(two)
    )


def last_change(card: RateCard, at: datetime) -> datetime | None:
    """The latest instant, not after `at`, at which the rates in effect changed; None if never."""
    at = at.astimezone(UTC)
    now = _in_effect(card, at)
    for instant in sorted(_boundaries(card, at - _cycle(card), at), reverse=True):
        if instant <= at and _in_effect(card, instant - _TICK) != now:
            return instant
    return None


def _is_standard(conditions: Conditions) -> bool:
    return not conditions.context and conditions.is_lowest_band


def _in_effect(card: RateCard, at: datetime) -> dict[object, tuple[Decimal, int, int]]:
    """What a caller can be charged at the instant, without what precedence hides."""
    effect: dict[object, tuple[Decimal, int, int]] = {}
    for rate in rates_in_effect(card, at):
        conditions = rate.conditions
        effect.setdefault(
            (rate.meter, conditions.threshold, conditions.context),
            (rate.price, rate.per, rate.minimum),
        )
    return effect


def _cycle(card: RateCard) -> timedelta:
    """After how long the windows of a card repeat: a day, or a week if any is of certain days."""
    return _WEEK if any(window.days for window in _windows(card)) else _DAY


def _windows(card: RateCard) -> set[UtcWindow]:
    windows = {rate.conditions.utc_window for rate in card.rates}
    return {window for window in windows if window is not None}


def _boundaries(card: RateCard, since: datetime, until: datetime) -> Iterator[datetime]:
    """Every instant at which a rate may begin or end to apply.

    Windows repeat, so one cycle of them is enough, in `since`..`until` and in the cycle on
    either side of each date at which the card changes.
    """
    dates = _dates(card)
    yield from dates
    minutes = _edges(_windows(card))
    if not minutes:
        return
    cycle = _cycle(card)
    for first, last in [(since, until), *((date - cycle, date + cycle) for date in dates)]:
        midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
        while midnight <= last:
            for minute in minutes.get(midnight.isoweekday(), ()):
                yield midnight + timedelta(minutes=minute)
            midnight += _DAY


def _dates(card: RateCard) -> set[datetime]:
    dates: set[datetime] = set()
    for rate in card.rates:
        conditions = rate.conditions
        dates |= {conditions.effective_from, conditions.effective_until} - {None}  # type: ignore[arg-type]
    return dates


def _edges(windows: set[UtcWindow]) -> dict[int, set[int]]:
    """By ISO number of a day, the minutes of it at which a window starts or ends."""
    edges: dict[int, set[int]] = {}
    for window in windows:
        for day in window.days or DayOfWeek:
            ends_on = day if window.start < window.end else day % len(DayOfWeek) + 1
            edges.setdefault(day, set()).add(window.start)
            edges.setdefault(ends_on, set()).add(window.end)
    return edges
