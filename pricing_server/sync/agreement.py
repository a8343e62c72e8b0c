"""Whether two rate cards of one model state the same standard prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState, Rate, RateCard

TOLERANCE: Final = Decimal("1.01")
"""Prices up to 1 % apart are the same: sources round."""

_PRICED: Final = frozenset({PriceState.PRICED, PriceState.FREE})
QUOTIENT: Final = Context(prec=40)
"""Of prices, of which none is compared beyond it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A meter whose standard price differs between two cards, in USD per one of it."""

    meter: Meter
    price: Decimal
    other_price: Decimal


def differences(one: RateCard, other: RateCard, at: datetime) -> tuple[Difference, ...] | None:
    """The meters that both cards price and on which they differ; None if they share none.

    Compared are standard prices at the date of `at`: without context, in the lowest band. A
    price that depends on the time of day agrees with any of its values, since the other source
    may state only one of them.
    """
    if not _PRICED.issuperset((one.state, other.state)):
        return None
    prices, others = _standard(one, at), _standard(other, at)
    shared = [meter for meter in prices if meter in others]
    if not shared:
        return None
    return tuple(
        Difference(meter, _per_one(prices[meter][0]), _per_one(others[meter][0]))
        for meter in sorted(shared)
        if not any(agree(mine, yours) for mine in prices[meter] for yours in others[meter])
    )


def _standard(card: RateCard, at: datetime) -> Mapping[Meter, list[Rate]]:
    """By meter the rates without context in the lowest band, at any time of that day."""
    found: dict[Meter, list[Rate]] = {}
    ended: set[Meter] = set()
    for rate in card.rates:
        conditions = rate.conditions
        if (
            rate.meter in ended
            or conditions.context
            or not conditions.is_lowest_band
            or not conditions.holds_by_date(at)
        ):
            continue
        found.setdefault(rate.meter, []).append(rate)
        if conditions.utc_window is None:
            ended.add(rate.meter)  # It hides all that follow.
    return found


def agree(one: Rate, other: Rate) -> bool:
    """Whether two rates are the same price within the tolerance."""
    # Crosswise, so that a price per hour is compared without rounding.
    mine, yours = one.price * other.per, other.price * one.per
    return max(mine, yours) <= min(mine, yours) * TOLERANCE


def _per_one(rate: Rate) -> Decimal:
    return rate.price if rate.per == 1 else QUOTIENT.divide(rate.price, Decimal(rate.per))
