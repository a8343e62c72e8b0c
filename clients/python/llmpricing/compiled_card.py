"""A rate card prepared for computing costs: compiled once, evaluated often.

What a cost depends on besides the quantities is worked out once and remembered: which
rates are in effect between two changes by date, day or time of day, which of them the context
of a request chooses, and how each set of stated meters is charged.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from types import MappingProxyType
from typing import Final, TypeVar

from llmpricing.charge import Charge, Rates
from llmpricing.cost import Cost, CostLine, NotPriced, amount_of
from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState, Rate, RateCard, Threshold
from llmpricing.schedule import rates_in_effect
from llmpricing.units import EXACT
from llmpricing.usage import InputConvention, Usage, total, zero_meters

Context = Mapping[str, str]
"""What a request asked for, as the seller names it, such as service_tier: priority."""

STANDARD: Final[Context] = MappingProxyType({})

REMEMBERED: Final = 256
"""Entries of each of a card's caches, which are emptied when they are full."""

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class CompiledCard:
    """What any usage costs at a card, at any instant. Safe to share between threads."""

    __slots__ = ("_dates", "_has_days", "_minutes", "_periods", "card")

    def __init__(self, card: RateCard) -> None:
        self.card: Final = card
        conditions = [rate.conditions for rate in card.rates]
        ends = {end for each in conditions for end in (each.effective_from, each.effective_until)}
        self._dates = sorted(end for end in ends if end is not None)
        windows = [each.utc_window for each in conditions if each.utc_window is not None]
        self._minutes = sorted({end for each in windows for end in (each.start, each.end)})
        self._has_days = any(each.days for each in windows)
        self._periods: dict[tuple[int, int, int], _Period] = {}

    def evaluate(
        self,
        usage: Usage,
        *,
        at: datetime,
        context: Context = STANDARD,
        convention: InputConvention = InputConvention.INCLUSIVE,
    ) -> Cost:
        """The cost of a usage at an instant, which has a time zone.

        Each unit is charged once, at the rate of the most specific meter that has one. The
        rate of a meter is the first one of the card whose conditions hold: it is in effect
        at the instant, the request asked for all of its context, and all units of the
        threshold's meter together reach its threshold. If the card has a rate for requests
        and the usage does not state their number, one request is charged.

        Quantities that no rate covers are in `Cost.unpriced`. So are those that are part
        of two meters with rates of their own while their overlap has none: either rate
        would be a guess. Raises UsageError, NotPriced, and ValueError for an instant
        without time zone.
        """
        period = self._period(at)
        zeros = zero_meters(usage)
        offer, unused_context = period.offer(context)
        lines, unpriced = [], []
        sum_of_lines = Decimal(0)
        with localcontext(EXACT):
            for meter, rate, quantity in offer.charge(usage, zeros, convention).shares(usage):
                if not quantity:
                    continue
                if rate is None:
                    unpriced.append((meter, Decimal(quantity)))
                    continue
                amount = amount_of(rate, quantity)
                sum_of_lines += amount
                lines.append(CostLine(meter, Decimal(quantity), rate, amount))
        return Cost(sum_of_lines, tuple(lines), tuple(unpriced), unused_context)

    def _period(self, at: datetime) -> _Period:
        if at.utcoffset() is None:
            raise ValueError("the instant of a cost carries a time zone")
        day = minute = 0
        if self._minutes:
            utc = at.astimezone(UTC)
            minute = bisect_right(self._minutes, utc.hour * 60 + utc.minute)
            day = utc.isoweekday() if self._has_days else 0
        key = (bisect_right(self._dates, at), day, minute)
        period = self._periods.get(key)
        if period is None:
            period = _remember(self._periods, key, _Period(self.card, at))
        return period


class _Period:
    """The rates in effect between two changes by date, day or time of day."""

    __slots__ = ("_known", "_offers", "_rates")

    def __init__(self, card: RateCard, at: datetime) -> None:
        if card.state in (PriceState.DYNAMIC, PriceState.UNPRICED):
            raise NotPriced(f"the price of the model is {card.state}")
        self._rates = rates_in_effect(card, at)
        if not self._rates:
            raise NotPriced(f"no rate of the model is in effect at {at.isoformat()}")
        self._known = frozenset(pair for rate in self._rates for pair in rate.conditions.context)
        self._offers: dict[tuple[tuple[str, str], ...], _Offer] = {}

    def offer(self, context: Context) -> tuple[_Offer, tuple[tuple[str, str], ...]]:
        """What applies to requests with this context, and the sorted pairs that choose no rate."""
        known = tuple([pair for pair in context.items() if pair in self._known])
        offer = self._offers.get(known)
        if offer is None:
            offer = _remember(self._offers, known, _Offer(self._rates, frozenset(known)))
        if len(context) == len(offer.context):
            return offer, ()
        return offer, tuple(sorted(pair for pair in context.items() if pair not in offer.context))


class _Offer:
    """The rates that apply to requests with one context, whatever their size.

    `context` is the part of it that rates have as a condition.
    """

    __slots__ = ("_charges", "_counted", "_rates", "_thresholds", "context")

    def __init__(self, rates: tuple[Rate, ...], context: frozenset[tuple[str, str]]) -> None:
        self._rates = [rate for rate in rates if context.issuperset(rate.conditions.context)]
        self.context: Final = frozenset(
            pair for rate in self._rates for pair in rate.conditions.context
        )
        thresholds = (rate.threshold_of_all for rate in self._rates)
        self._thresholds = tuple({each: None for each in thresholds if each is not None})
        self._counted = frozenset(each.meter for each in self._thresholds)
        self._charges: dict[Hashable, Charge] = {}

    def charge(self, usage: Usage, zeros: tuple[Meter, ...], convention: InputConvention) -> Charge:
        """How the usage is charged. To be called in a decimal context that does not round."""
        reached = tuple(
            [
                threshold.reached_by(total(usage, threshold.meter, convention))
                for threshold in self._thresholds
            ]
        )
        # Part of the key is which meters are zero: an overlap of zero is stated, too.
        key = (convention, reached, zeros, *usage)
        charge = self._charges.get(key)
        if charge is None:
            held = {one for one, holds in zip(self._thresholds, reached, strict=True) if holds}
            charge = Charge.of(usage, convention, self._holding(held), self._counted)
            _remember(self._charges, key, charge)
        return charge

    def _holding(self, reached: set[Threshold]) -> Rates:
        """The first rate that holds for each meter, after graduated rates that come before it."""
        found: dict[Meter, tuple[Rate, ...]] = {}
        for rate in self._rates:
            before = found.get(rate.meter, ())
            if before and not before[-1].charged_after:
                continue
            if rate.threshold_of_all is None or rate.threshold_of_all in reached:
                found[rate.meter] = (*before, rate)
        return found


def _remember(cache: dict[_Key, _Value], key: _Key, value: _Value) -> _Value:
    if len(cache) >= REMEMBERED:
        cache.clear()
    cache[key] = value
    return value
