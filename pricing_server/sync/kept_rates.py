"""Rates of a quote that a newer row of the same source mentions without a believable price.

Such a rate is neither dropped nor taken for zero: the last one that the source stated is
kept. What the row does state wins over it, rate by rate.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmpricing.meters import Meter
from llmpricing.rate_card import ALWAYS, PriceState, Rate, RateCard
from pricing_server.domain.source_listing import PartialPrice


def with_kept_rates(partial: PartialPrice, before: RateCard) -> RateCard | None:
    """The rates that a row states, and those of the quote before that it leaves in doubt.

    None if the quote before has nothing to keep.
    """
    kept = [rate for meter in partial.in_doubt for rate in _kept(meter, partial.card, before)]
    return RateCard.of(PriceState.PRICED, [*partial.card.rates, *kept]) if kept else None


def _kept(meter: Meter, stated: RateCard, before: RateCard) -> Iterator[Rate]:
    """What is kept of one meter.

    A base price of zero is not: it was declared once, and the row does not declare it. Where
    the row states conditional rates of the meter, the base price is kept if these have every
    condition that it had exceptions for; else it would now apply where it never did.
    """
    rates = [rate for rate in before.rates if rate.meter is meter]
    if not any(rate.conditions == ALWAYS and rate.price for rate in rates):
        return
    new = {rate.conditions for rate in stated.rates if rate.meter is meter}
    if new and not {rate.conditions for rate in rates} - {ALWAYS} <= new:
        return
    yield from (rate for rate in rates if rate.conditions not in new)
