"""Costs the slow way: every single unit is looked at, and charged by itself.

A unit is named by the most specific meter that counts it; what else counts it follows from
the dimensions. The rules are those of `CompiledCard.evaluate`, in the order of its text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

from llmpricing.cost import AMOUNT_DIGITS
from llmpricing.meter_tree import DIMENSIONS
from llmpricing.meters import Meter
from llmpricing.rate_card import Rate, RateCard, ThresholdScope

Units = Mapping[Meter, int]
"""How many units there are that no more specific meter counts."""


@dataclass(frozen=True)
class Reference:
    """What a usage costs, with the units of each line and those without a rate."""

    total: Decimal
    lines: Mapping[tuple[Meter, Rate], int]
    unpriced: Mapping[Meter, int]


def counts_for(unit: Meter, meter: Meter) -> bool:
    return DIMENSIONS[meter].items() <= DIMENSIONS[unit].items()


def total(units: Units, meter: Meter) -> int:
    return sum(count for unit, count in units.items() if counts_for(unit, meter))


def reference_cost(
    card: RateCard, units: Units, at: datetime, context: Mapping[str, str]
) -> Reference:
    """Raises nothing: units are disjoint, so any number of them can be."""
    offered = [
        rate
        for rate in card.rates
        if rate.conditions.in_effect(at)
        and all(context.get(key) == value for key, value in rate.conditions.context)
        and holds(rate, units)
    ]
    rated = {rate.meter for rate in offered}
    if Meter.REQUESTS in rated and Meter.REQUESTS not in units:
        units = {**units, Meter.REQUESTS: 1}
    lines: Counter[tuple[Meter, Rate]] = Counter()
    unpriced: Counter[Meter] = Counter()
    for meter in [*rated, None]:
        rates = [rate for rate in offered if rate.meter is meter]
        for position, unit in positions(units, rated, meter):
            rate = next((rate for rate in rates if covers(rate, position)), None)
            if rate is None:
                unpriced[unit] += 1
            else:
                lines[unit, rate] += 1
        charged = sum(lines[unit, rate] for unit, rate in lines if rate.meter is meter)
        minimum = next((rate.minimum for rate in rates if covers(rate, 1)), 0)
        if meter is not None and 0 < charged < minimum:
            lines[meter, next(rate for rate in rates if covers(rate, 1))] += minimum - charged
    amounts = [amount(rate, quantity) for (_, rate), quantity in lines.items()]
    return Reference(exact_sum(amounts), lines, unpriced)


def holds(rate: Rate, units: Units) -> bool:
    threshold = rate.conditions.threshold
    if threshold is None or threshold.scope is ThresholdScope.EXCESS:
        return True  # Which units lie beyond is for each unit to tell.
    return threshold.reached_by(total(units, threshold.meter))


def covers(rate: Rate, position: int) -> bool:
    threshold = rate.conditions.threshold
    if threshold is None or threshold.scope is ThresholdScope.ALL:
        return True
    return position > threshold.quantity


def positions(
    units: Units, rated: set[Meter], charged_as: Meter | None
) -> Iterator[tuple[int, Meter]]:
    """The units charged as a meter, with their place from 1 on among all that it counts.

    First come those that are charged as something else, then the more specific ones.
    """
    own = [unit for unit in units if charge_meter(unit, rated) is charged_as]
    others = [unit for unit in units if charged_as and counts_for(unit, charged_as)]
    place = sum(units[unit] for unit in others if unit not in own)
    own.sort(key=lambda unit: (len(DIMENSIONS[unit]), list(Meter).index(unit)), reverse=True)
    for unit in own:
        for _ in range(units[unit]):
            place += 1
            yield place, unit


def charge_meter(unit: Meter, rated: set[Meter]) -> Meter | None:
    """The one meter with a rate that says most about the unit; None if two say different things."""
    found = [meter for meter in rated if counts_for(unit, meter)]
    return next(
        (meter for meter in found if all(counts_for(meter, other) for other in found)), None
    )


def amount(rate: Rate, quantity: int) -> Decimal:
    exact = Fraction(rate.price) * quantity / rate.per
    wide = Context(prec=400).divide(Decimal(exact.numerator), Decimal(exact.denominator))
    if Fraction(wide) == exact and len(wide.as_tuple().digits) <= 160:
        return wide
    rounding = Context(prec=AMOUNT_DIGITS, rounding=ROUND_HALF_EVEN)
    return rounding.divide(Decimal(exact.numerator), Decimal(exact.denominator))


def exact_sum(amounts: list[Decimal]) -> Decimal:
    wide, found = Context(prec=400), Decimal(0)
    for each in amounts:
        found = wide.add(found, each)
    return found
