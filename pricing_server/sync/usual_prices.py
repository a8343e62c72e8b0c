"""What models cost, as far as it says whether the price of a new one is plausible.

Of each meter the prices of all listed models say which are usual: all but the lowest and the
highest OUTER_SHARE. A price is implausible if it is farther beyond them than they are apart from
each other, and over ROW_RATIO times. So what a token or an image costs is nowhere written down.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final

from llmpricing.matching.area import REGIONAL, without_area
from llmpricing.matching.spelling import fold
from llmpricing.meters import Meter
from llmpricing.rate_card import ALWAYS, PriceState, Rate, RateCard
from llmpricing.units import EXACT

OUTER_SHARE: Final = Decimal("0.05")
"""Of the prices of a meter that may be wrong, or of another kind, at either end."""

MIN_MODELS: Final = 30
"""Fewer prices do not say what is usual."""

_SHOWN: Final = Context(prec=6)
_FIRST_REVISIONS: Final = ("-v1:0", "-v1")
_GLOBAL: Final = "global."


@dataclass(frozen=True, slots=True)
class UsualPrices:
    """Between which prices, in USD per one of a meter, most of its models are; above zero."""

    low: Decimal
    high: Decimal
    models: int
    """How many have a price of this meter."""

    def excludes(self, rate: Rate, least_ratio: Decimal) -> bool:
        """Whether a rate is farther off than they are apart, and over `least_ratio` times."""
        # Both sides times `per` and a price, so that nothing is rounded.
        per = Decimal(rate.per)
        above = EXACT.multiply(self.high, per)
        below = EXACT.multiply(self.low, per)
        return (
            EXACT.multiply(rate.price, self.low) > EXACT.multiply(above, self.high)
            and rate.price > EXACT.multiply(above, least_ratio)
        ) or (
            EXACT.multiply(rate.price, self.high) < EXACT.multiply(below, self.low)
            and EXACT.multiply(rate.price, least_ratio) < below
        )

    def bounds(self, least_ratio: Decimal) -> tuple[Decimal, Decimal]:
        """The lowest and highest plausible price, to show: rounded to 6 digits."""
        apart = max(_SHOWN.divide(self.high, self.low), least_ratio)
        return _SHOWN.divide(self.low, apart), _SHOWN.multiply(self.high, apart)


def usual_prices(cards: Iterable[RateCard]) -> dict[Meter, UsualPrices]:
    """What models with these cards cost by their unconditional rates, of meters that enough of
    them have."""
    found: dict[Meter, list[Decimal]] = {}
    for card in cards:
        if card.state is not PriceState.PRICED:
            continue
        for rate in card.rates:
            if rate.conditions == ALWAYS and rate.per == 1 and rate.price:
                found.setdefault(rate.meter, []).append(rate.price)
    return {
        meter: UsualPrices(
            _quantile(prices, OUTER_SHARE), _quantile(prices, 1 - OUTER_SHARE), len(prices)
        )
        for meter, prices in found.items()
        if len(prices) >= MIN_MODELS
    }


def _quantile(prices: Sequence[Decimal], share: Decimal) -> Decimal:
    """The lowest price that at least this share of prices does not exceed."""
    return sorted(prices)[math.ceil(share * len(prices)) - 1]


@dataclass(frozen=True, slots=True)
class Area:
    """Where a model is sold, as far as its id says so: "au." or nothing."""

    name: str
    family: str
    """What the ids of a seller have in common that are one model, sold in several areas."""


def area_of(model_id: str) -> Area:
    """The area of an id, and its family.

    "au.anthropic.claude-opus-4-6-v1" and "global.anthropic.claude-opus-4-6-v1:0" are one family.
    """
    folded = fold(model_id)
    name = without_area(folded.removeprefix(REGIONAL).removeprefix(_GLOBAL))
    area = folded.removesuffix(name)
    for suffix in _FIRST_REVISIONS:
        if name.endswith(suffix):
            return Area(area, name.removesuffix(suffix))
    return Area(area, name)
