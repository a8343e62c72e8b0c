"""An override as a patch on the card beneath it: which rates it replaces, and which stay.

The rules:

- A meter that the patch does not name keeps its rates.
- For a meter that it names, it speaks of the contexts that it names: without one, of the standard
  price. A rate without any further condition replaces all that the card has for that meter in that
  context: its tiers, windows and dates, too. So a new input price is the input price at every size
  of a prompt, and a batch price stays what the sources state.
- A rate with further conditions (a tier, a window, dates) replaces the one with the same ones, and
  comes before the others of that meter and context, which stay.
- Where a card is free, or its price is not known, there is nothing to patch: the patch is the card.
  One that declares the model free is so, too.
- A percent is taken of every rate, under whatever conditions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from llmpricing.rate_card import Conditions, PriceState, Rate, RateCard
from llmpricing.units import EXACT, canonical


def patched(beneath: RateCard, patch: RateCard) -> RateCard:
    """The card beneath with the rates of a patch in the place of those that it replaces."""
    if beneath.state is not PriceState.PRICED or patch.state is not PriceState.PRICED:
        return patch
    meters = dict.fromkeys(rate.meter for rate in (*patch.rates, *beneath.rates))
    rates: list[Rate] = []
    for meter in meters:
        new = [rate for rate in patch.rates if rate.meter is meter]
        old = [rate for rate in beneath.rates if rate.meter is meter]
        rates += _placed(new, [rate for rate in old if not _is_replaced(rate, new)])
    return RateCard.of(PriceState.PRICED, rates)


def scaled(beneath: RateCard, percent: Decimal) -> RateCard:
    """A percent of every rate of a card; of one that is not priced it is the card itself."""
    share = percent.scaleb(-2, context=EXACT)
    rates = [
        replace(rate, price=canonical(EXACT.multiply(rate.price, share))) for rate in beneath.rates
    ]
    return RateCard.of(beneath.state, rates)


def _is_replaced(rate: Rate, patch: Sequence[Rate]) -> bool:
    whole = Conditions(context=rate.conditions.context)
    return any(new.conditions in (whole, rate.conditions) for new in patch)


def _placed(patch: Sequence[Rate], kept: Sequence[Rate]) -> list[Rate]:
    """The rates of one meter in order of precedence.

    A rate of a more specific context stands before the patch's of a less specific one, which would
    hide it, and behind all others of the patch.
    """
    behind: list[list[Rate]] = [[] for _ in range(len(patch) + 1)]
    for rate in kept:
        behind[_place(rate, patch)].append(rate)
    found = behind[0]
    for new, following in zip(patch, behind[1:], strict=True):
        found += [new, *following]
    return found


def _place(rate: Rate, patch: Sequence[Rate]) -> int:
    """Behind how many rates of the patch one that stays comes."""
    context = set(rate.conditions.context)
    contexts = [set(new.conditions.context) for new in patch]
    places = range(len(patch))
    first_less = next((place for place in places if contexts[place] < context), len(patch))
    last_as_much = max((place for place in places if contexts[place] >= context), default=-1)
    return max(first_less, last_as_much + 1)
