"""What catalogues of many sellers have in common: models named twice, and implied prices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from llmpricing.meters import Meter
from llmpricing.rate_card import Rate, RateCard
from pricing_server.domain.source_listing import ListedModel
from pricing_server.providers.listing_builder import ListingBuilder, RowError

Value = TypeVar("Value")

Read = Callable[[str], ListedModel]
"""Makes a row's model, given its checked id. Raises ValueError."""

StatedRow = tuple[str, str, Read, object]
"""Seller, model id, what makes the model, and all that the payload says of it."""


def add_rows(listing: ListingBuilder, rows: Iterable[StatedRow]) -> None:
    """Add rows, of which several may name one model.

    A catalogue lists a seller under several names, so rows that agree are one model.
    Where two prices differ, neither can be trusted more: the model is a fault.
    """
    reads: dict[tuple[str, str], list[Read]] = {}
    stated: dict[tuple[str, str], list[object]] = {}
    for seller, model_id, read, row in rows:
        reads.setdefault((seller, model_id), []).append(read)
        stated.setdefault((seller, model_id), []).append(row)
    for key, of_model in reads.items():
        listing.read_row(*key, partial(_agreed, of_model, listing), stated[key])


def settled_reasoning(rates: Sequence[Rate]) -> Sequence[Rate]:
    """The rates without a price of reasoning tokens that is only that of output tokens.

    Reasoning tokens are output tokens. Kept, such a price would hold on under conditions
    for which the catalogue states the output price alone. Raises RowError where that
    happens to a price of their own.
    """
    output = {rate.conditions: rate for rate in rates if rate.meter is Meter.OUTPUT_TOKENS}
    own = {rate.conditions: rate for rate in rates if rate.meter is Meter.OUTPUT_REASONING_TOKENS}
    if all(each in output and output[each].same_price_as(own[each]) for each in own):
        return [rate for rate in rates if rate.meter is not Meter.OUTPUT_REASONING_TOKENS]
    if output.keys() - own.keys():
        raise RowError("reasoning has a price of its own, but not wherever output has one")
    return rates


def fullest(cards: Sequence[RateCard]) -> int:
    """The position of the card with the most rates, of cards that agree wherever they overlap.

    One without a price says nothing against another. Raises RowError where two prices differ.
    """
    position = max(range(len(cards)), key=lambda at: len(cards[at].rates))
    known = {rate.key: rate for rate in cards[position].rates}
    for card in cards:
        for rate in card.rates:
            same = known.get(rate.key)
            if same is not None and not same.same_price_as(rate):
                raise RowError("the payload lists this model more than once, at different prices")
    return position


def _agreed(reads: Sequence[Read], listing: ListingBuilder, model_id: str) -> ListedModel:
    stated = [read(model_id) for read in reads]
    if len(stated) > 1:
        listing.notice("repeated_row", "the payload lists this model again", model_id)
    found = stated[fullest([model.card for model in stated])]
    return replace(
        found,
        context_length=_agreed_on(model.context_length for model in stated),
        retirement_time=_agreed_on(model.retirement_time for model in stated),
        successor=_agreed_on(model.successor for model in stated),
    )


def _agreed_on(stated: Iterable[Value | None]) -> Value | None:
    """What all state that state anything; None where they differ."""
    values = {value for value in stated if value is not None}
    return values.pop() if len(values) == 1 else None
