"""In which period what was compared of two cards holds, and rates within it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from llmpricing.meters import Meter
from llmpricing.rate_card import Conditions, Rate
from pricing_server.sync.stated_prices import StatedPrices


@dataclass(frozen=True, slots=True)
class ComparedPeriod:
    """From when until when compared prices hold; None is without end."""

    since: datetime | None
    until: datetime | None

    def of(self, rate: Rate) -> Rate | None:
        """The rate, only within the period; None where it never holds in it."""
        conditions = rate.conditions
        since = _latest(self.since, conditions.effective_from)
        until = _earliest(self.until, conditions.effective_until)
        if since is not None and until is not None and since >= until:
            return None
        held = replace(conditions, effective_from=since, effective_until=until)
        return replace(rate, conditions=held)


class ComparedDates:
    """The dates at which what was compared of two cards begins or ends."""

    def __init__(self, winner: StatedPrices, other: StatedPrices) -> None:
        self._at = winner.at
        self._base = winner.base.keys()
        self._dates = [
            (meter, date)
            for prices in (winner, other)
            for meter, rates in prices.standard.items()
            for rate in rates
            if rate.conditions.is_lowest_band
            for date in (rate.conditions.effective_from, rate.conditions.effective_until)
            if date is not None
        ]
        # A meter that only the other one states is compared with nothing.
        self._compared = {rate.meter for rate in winner.card.rates} if self._dates else set()

    def period(self, meter: Meter) -> ComparedPeriod:
        """Around the instant, in which no base price and no standard price of a meter changes."""
        if not self._dates:
            return ComparedPeriod(None, None)
        meters = {*self._base, meter} if meter in self._compared else self._base
        dates = [date for each, date in self._dates if each in meters]
        return ComparedPeriod(
            max((date for date in dates if date <= self._at), default=None),
            min((date for date in dates if date > self._at), default=None),
        )


def is_within(one: Conditions, other: Conditions) -> bool:
    """Whether the conditions differ in their dates at most, and those of the one lie within those
    of the other."""
    since, until = other.effective_from, other.effective_until
    return replace(one, effective_from=since, effective_until=until) == other and (
        one.effective_from == _latest(one.effective_from, since)
        and one.effective_until == _earliest(one.effective_until, until)
    )


def _latest(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(one, other) if one is not None and other is not None else one or other


def _earliest(one: datetime | None, other: datetime | None) -> datetime | None:
    return min(one, other) if one is not None and other is not None else one or other
