"""What a usage costs, as lines that each say which rate was charged on how many units."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import Rate

AMOUNT_DIGITS: Final = 40
"""Significant digits of an amount that has no exact decimal form.

That happens with rates that are not per one unit: 5 seconds at 0.04 USD per 3600 seconds.
Such an amount is rounded half to even. All other amounts, and all sums, are exact.
"""

_ROUNDING: Final = Context(prec=AMOUNT_DIGITS, rounding=ROUND_HALF_EVEN)


class NotPriced(ValueError):
    """The card states no price to charge at that instant. The message is one line."""


@dataclass(frozen=True, slots=True)
class CostLine:
    """`quantity` units charged at `rate`: `amount` is in USD, quantity * rate.price / rate.per.

    `rate.meter` differs from `meter` where a meter has no rate of its own and is charged
    as what it is part of. Where meters overlap, a line has the units that no more specific
    line has.
    """

    meter: Meter
    quantity: Decimal
    rate: Rate
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Cost:
    """What a usage costs in USD: `total` is the exact sum of the amounts of `lines`.

    Lines and `unpriced` are in the order of meters. `unpriced` are quantities that no rate
    of the card covers. The total does not include them, so a total of zero beside them does
    not mean "free". `unused_context` are sorted (key, value) pairs that chose no rate.
    """

    total: Decimal
    lines: tuple[CostLine, ...] = ()
    unpriced: tuple[tuple[Meter, Decimal], ...] = ()
    unused_context: tuple[tuple[str, str], ...] = ()


def amount_of(rate: Rate, quantity: int | Decimal) -> Decimal:
    """USD for a quantity at a rate, whatever its conditions.

    To be called in a decimal context that traps Inexact.
    """
    amount = rate.price * quantity
    if rate.per == 1:
        return amount
    try:
        return amount / rate.per
    except Inexact:
        return _ROUNDING.divide(amount, Decimal(rate.per))
