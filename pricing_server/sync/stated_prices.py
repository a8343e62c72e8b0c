"""A rate card as it is compared with another one: at a date, by context, and by its base prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias

from llmpricing.meters import Meter
from llmpricing.rate_card import Rate, RateCard
from pricing_server.sync.agreement import agree

Context: TypeAlias = tuple[tuple[str, str], ...]
STANDARD: Final[Context] = ()

BASE: Final = (Meter.INPUT_TOKENS, Meter.OUTPUT_TOKENS)


class StatedPrices:
    """The prices of a card at a date."""

    def __init__(self, card: RateCard, at: datetime) -> None:
        self.card: Final = card
        self.at: Final = at
        by_context: dict[Context, dict[Meter, list[Rate]]] = {}
        for rate in card.rates:
            meters = by_context.setdefault(rate.conditions.context, {})
            meters.setdefault(rate.meter, []).append(rate)
        self.by_context: Final[Mapping[Context, Mapping[Meter, Sequence[Rate]]]] = by_context
        self.base: Final = _base(self.standard, at)
        """Of input and output tokens, or for a model without tokens of every meter."""

    @property
    def standard(self) -> Mapping[Meter, Sequence[Rate]]:
        """The rates without context."""
        return self.by_context.get(STANDARD, {})

    @property
    def is_windowed(self) -> bool:
        """Whether a base price depends on the time of day."""
        return any(is_of_time(rate) for meter in self.base for rate in self.standard[meter])

    def has_base_of(self, other: StatedPrices) -> bool:
        """Whether it states the same base prices as another one. Of a model without tokens it may
        state more."""
        if not other.base.keys() <= self.base.keys() or (
            other.base.keys() & set(BASE) and other.base.keys() != self.base.keys()
        ):
            return False
        return all(agree(other.base[meter], self.base[meter]) for meter in other.base)


def standard_rate(rates: Iterable[Rate], at: datetime) -> Rate | None:
    """Of rates of one meter and context the one in the lowest band at a date, outside of all
    windows if there is one."""
    at_date = [
        rate
        for rate in rates
        if rate.conditions.is_lowest_band and rate.conditions.holds_by_date(at)
    ]
    flat = (rate for rate in at_date if not is_of_time(rate))
    return next(flat, at_date[0] if at_date else None)


def is_same_price(mine: Sequence[Rate], theirs: Sequence[Rate], at: datetime) -> bool:
    """Whether rates of one meter and context agree on its price."""
    one, other = standard_rate(mine, at), standard_rate(theirs, at)
    return one is not None and other is not None and agree(one, other)


def is_of_time(rate: Rate) -> bool:
    """Whether a rate holds in a window of time alone."""
    return rate.conditions.utc_window is not None


def is_special(rate: Rate) -> bool:
    """Whether a rate holds in a tier or a window alone."""
    return not rate.conditions.is_lowest_band or is_of_time(rate)


def _base(standard: Mapping[Meter, Sequence[Rate]], at: datetime) -> Mapping[Meter, Rate]:
    rates = {
        meter: rate
        for meter, found in standard.items()
        if (rate := standard_rate(found, at)) is not None
    }
    tokens: Mapping[Meter, Rate] = {
        meter: rate for meter, rate in rates.items() if meter in BASE and rate.price
    }
    return tokens or rates
