"""By how much a card is dearer at a place, and a completed card with all of its rates there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from llmpricing.place import GEOGRAPHY, REGION
from llmpricing.rate_card import Rate
from pricing_server.domain.uplift import MAX_MULTIPLIER_DIGITS, uplifted
from pricing_server.sync.agreement import QUOTIENT
from pricing_server.sync.stated_prices import Context, StatedPrices, standard_rate

_KEYS: Final = (GEOGRAPHY, REGION)


@dataclass(frozen=True, slots=True)
class PlaceUplift:
    """By how much a source says that requests served at a place are dearer."""

    multiplier: Decimal
    source: str


def place_of(context: Context) -> Context:
    """The part of a context that says where a request is served; empty if none does."""
    return tuple(pair for pair in context if pair[0] in _KEYS)


def multipliers(prices: StatedPrices) -> Mapping[Context, Decimal]:
    """By place the one number by which all base prices of a card differ from the standard ones."""
    found: dict[Context, Decimal] = {}
    for context, meters in prices.by_context.items():
        if not context or place_of(context) != context:
            continue
        placed = [
            (standard_rate(meters.get(meter, ()), prices.at), one)
            for meter, one in prices.base.items()
        ]
        shares = {
            QUOTIENT.divide(there.price, one.price) if there is not None and one.price else None
            for there, one in placed
        }
        share = shares.pop() if len(shares) == 1 else None
        if share is not None and len(share.as_tuple().digits) <= MAX_MULTIPLIER_DIGITS:
            found[context] = share
    return found


def at_all_places(
    told: Mapping[Rate, str], places: Mapping[Context, PlaceUplift]
) -> Mapping[Rate, str]:
    """Rates in order of precedence, each with who states it, and before them all of them at every
    place. What is stated at a place stays as it is."""
    everywhere = {
        rate: source for rate, source in told.items() if not place_of(rate.conditions.context)
    }
    stated = {rate.key: rate for rate in told if rate not in everywhere}
    placed: dict[Rate, str] = {}
    for context, place in places.items():
        for rate in uplifted(everywhere, place.multiplier, dict(context)):
            one = stated.pop(rate.key, rate)
            placed[one] = told.get(one, place.source)
    return {**{rate: told[rate] for rate in stated.values()}, **placed, **everywhere}
