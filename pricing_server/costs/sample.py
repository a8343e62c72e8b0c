"""What a sample of usage costs at cards that are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from llmpricing.compiled_card import CompiledCard
from llmpricing.cost import Cost, NotPriced
from llmpricing.meter_tree import ANCESTORS
from llmpricing.meters import METER_ORDER, Meter
from llmpricing.rate_card import RateCard
from llmpricing.usage import InputConvention

_TOKENS: Final = {
    Meter.INPUT_TOKENS: Decimal(2_000),
    Meter.OUTPUT_TOKENS: Decimal(500),
    Meter.CACHE_READ_TOKENS: Decimal(1_000),
}
"""Half of the input is read from a cache, so that a lost rate for that shows."""


def sample_usage(cards: Sequence[RateCard]) -> Mapping[Meter, Decimal]:
    """Some tokens if one of the cards prices tokens, and one of each other thing that one prices
    and that is no part of another."""
    priced = {rate.meter for card in cards for rate in card.rates}
    others = {meter for meter in priced if not meter.endswith("_tokens")}
    sample = dict(_TOKENS) if priced - others else {}
    roots = (meter for meter in others if not ANCESTORS[meter] & others)
    return sample | {meter: Decimal(1) for meter in sorted(roots, key=METER_ORDER.__getitem__)}


def sample_cost(card: RateCard, usage: Mapping[Meter, Decimal], at: datetime) -> Cost | None:
    """What a sample costs at a card, without a context; None if it states no price then."""
    try:
        return CompiledCard(card).evaluate(
            usage, at=at, context={}, convention=InputConvention.INCLUSIVE
        )
    except NotPriced:
        return None
