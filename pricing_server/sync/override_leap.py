"""Whether the price of an override is so far off that an admin is asked once more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from llmpricing.rate_card import RateCard
from llmpricing.schedule import headline
from llmpricing.units import PricingFormat, format_price

FAR_OFF: Final = 10
"""A headline price that is more than this many times higher or lower needs to be confirmed."""

_UNITS: Final = {
    "prompt": PricingFormat.PER_1M_TOKENS,
    "completion": PricingFormat.PER_1M_TOKENS,
    "request": PricingFormat.PER_TOKEN,
    "image": PricingFormat.PER_TOKEN,
}
"""Of each headline price the unit in which it is shown; of what is no token that is one."""


@dataclass(frozen=True, slots=True)
class Leap:
    """A headline price far off the one that is in force without the override."""

    price: str
    """Which one, as a field of `llmpricing.schedule.Headline`."""
    override_price: str
    """As people write it: USD per 1M tokens, or per one request or image."""
    stated_price: str


def first_leap(card: RateCard, stated: RateCard, at: datetime) -> Leap | None:
    """The first headline price in effect that is far off, None if none is.

    A price that one of the cards does not have is not compared. From or to zero is far.
    """
    new, old = headline(card, at), headline(stated, at)
    for name, unit in _UNITS.items():
        price: Decimal | None = getattr(new, name)
        other: Decimal | None = getattr(old, name)
        if price is None or other is None:
            continue
        if max(price, other) > min(price, other) * FAR_OFF:
            return Leap(name, format_price(price, unit), format_price(other, unit))
    return None
