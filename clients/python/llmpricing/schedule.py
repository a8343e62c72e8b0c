"""A rate card in time: what is in effect at an instant, since when, and until when.

Dates and times of day on a card are the only things that change an answer without
a sync; "changed" here always means that a caller would read different rates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from llmpricing.meters import Meter
from llmpricing.rate_card import ALWAYS, Conditions, PriceState, Rate, RateCard

_DAY = timedelta(days=1)
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
    for instant in sorted(_boundaries(card, at, at + _DAY)):
        if instant > at and _in_effect(card, instant) != now:
            return instant
    return None


def last_change(card: RateCard, at: datetime) -> datetime | None:
    """The latest instant, not after `at`, at which the rates in effect changed; None if never."""
    at = at.astimezone(UTC)
    now = _in_effect(card, at)
    for instant in sorted(_boundaries(card, at - _DAY, at), reverse=True):
        if instant <= at and _in_effect(card, instant - _TICK) != now:
            return instant
    return None


def _is_standard(conditions: Conditions) -> bool:
    return not conditions.context and (
        conditions.threshold is None or conditions.threshold.reached_by(0)
    )


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


def _boundaries(card: RateCard, since: datetime, until: datetime) -> Iterator[datetime]:
    """Every instant at which a rate may begin or end to apply.

    Times of day repeat daily. So one day of them is enough, in `since`..`until` and on
    either side of each date at which the card changes.
    """
    minutes: set[int] = set()
    dates: set[datetime] = set()
    for rate in card.rates:
        conditions = rate.conditions
        if conditions.utc_window is not None:
            minutes |= {conditions.utc_window.start, conditions.utc_window.end}
        dates |= {conditions.effective_from, conditions.effective_until} - {None}  # type: ignore[arg-type]
    yield from dates
    for first, last in [(since, until), *((date - _DAY, date + _DAY) for date in dates)]:
        midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
        while minutes and midnight <= last:
            for minute in minutes:
                yield midnight + timedelta(minutes=minute)
            midnight += _DAY
