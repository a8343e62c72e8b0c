"""What of a rate card is in effect at an instant, as far as lists filter and order by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from typing import Final, Self

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState, Rate, RateCard
from llmpricing.schedule import headline, rates_in_effect, standard_rates

_QUOTIENT: Final = Context(prec=160)
"""Prices have 40 digits and are per at most 2^63, so two that differ do so within 130 digits."""


@dataclass(frozen=True, slots=True)
class InEffect:
    """What of a card is in effect at an instant."""

    state: PriceState
    meters: frozenset[Meter]
    """Meters with a rate, whatever its other conditions."""
    standard: Mapping[Meter, Decimal]
    """USD per one of each meter with a standard price: without context, in the lowest band."""

    @classmethod
    def of(cls, card: RateCard, at: datetime) -> Self:
        """What is in effect of a card at an instant."""
        return cls(
            headline(card, at).state,
            frozenset(rate.meter for rate in rates_in_effect(card, at)),
            {meter: usd_per_one(rate) for meter, rate in standard_rates(card, at).items()},
        )


def usd_per_one(rate: Rate) -> Decimal:
    """A rate's price of one of its meter: to compare with others, since thirds are rounded."""
    return rate.price if rate.per == 1 else _QUOTIENT.divide(rate.price, Decimal(rate.per))


def is_timed(card: RateCard) -> bool:
    """Whether a date or a time of day changes what is in effect."""
    return any(
        rate.conditions.utc_window is not None
        or rate.conditions.effective_from is not None
        or rate.conditions.effective_until is not None
        for rate in card.rates
    )
