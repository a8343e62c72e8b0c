"""Prices listed: filtered and in order, page by page, all of one revision and one instant."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeAlias

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState
from pricing_server.domain.errors import RevisionNotReached
from pricing_server.domain.head import Head
from pricing_server.domain.names import ModelName
from pricing_server.domain.price import Price
from pricing_server.domain.source import Source
from pricing_server.listing.price_list import PriceList, PriceLists
from pricing_server.lookup.answer import Answer, answer_of
from pricing_server.lookup.evaluated_price import evaluate
from pricing_server.runtime.clock import utc_now
from pricing_server.runtime.sorted_runs import sorted_in_runs

KEPT_SELECTIONS: Final = 8
"""Kept for the next pages, so that not every page filters and sorts everything again."""
_OrderKey: TypeAlias = tuple[bool, Decimal, str, str]


class UnknownPosition(Exception):
    """The list has no such model after which it could continue."""


@dataclass(frozen=True, slots=True)
class PriceFilter:
    """What to list and in which order. An empty or None field does not filter."""

    providers: frozenset[str] = frozenset()
    """Slugs."""
    states: frozenset[PriceState] = frozenset()
    meters: frozenset[Meter] = frozenset()
    """For each of these, a rate is in effect."""
    text: str = ""
    """Part of the model's id, seller or Hugging Face id, in any case."""
    price_meter: Meter | None = None
    """The meter whose standard price filters and orders."""
    min_price: Decimal | None = None
    """In USD per one of `price_meter`."""
    max_price: Decimal | None = None
    min_context_length: int | None = None
    max_context_length: int | None = None
    is_descending: bool = False
    include_delisted: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins: after a model, in the list of a revision, at an instant."""

    head: Head
    at: datetime
    behind: ModelName


@dataclass(frozen=True, slots=True)
class ListedPage:
    """Answers in order, and the revision and instant that they hold for."""

    answers: Sequence[Answer]
    head: Head
    at: datetime
    is_last: bool


class PriceLister:
    """Lists the price table for one process."""

    def __init__(
        self,
        lists: PriceLists,
        sources: Mapping[str, Source],
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._lists = lists
        self._sources = sources
        self._clock = clock
        self._selections: OrderedDict[Hashable, Sequence[Price]] = OrderedDict()

    async def page(
        self,
        criteria: PriceFilter,
        begin: Position | None,
        limit: int,
        *,
        min_revision: int | None = None,
    ) -> ListedPage:
        """The next prices that pass, at most `limit`; the first ones without a position.

        Raises UnknownPosition, RevisionNotReached for a list of before `min_revision`, and what
        `PriceLists.at` does.
        """
        price_list = await self._lists.at(begin.head if begin else None)
        if min_revision is not None and price_list.head.revision < min_revision:
            raise RevisionNotReached(price_list.head.revision, min_revision)
        at = begin.at if begin else self._clock()
        key = (price_list.head, at, criteria)
        selected = self._selections.get(key)
        if selected is None:
            selected = await asyncio.to_thread(select, price_list, criteria, at)
        self._keep(key, selected)
        start = _place(price_list, selected, criteria, begin) if begin else 0
        shown = selected[start : start + limit]
        answers = await asyncio.to_thread(self._answers, shown, price_list.head, at)
        return ListedPage(answers, price_list.head, at, len(selected) <= start + limit)

    def _answers(self, prices: Sequence[Price], head: Head, at: datetime) -> Sequence[Answer]:
        return [
            answer_of(evaluate([price], price.provider, at), head, self._sources, at)
            for price in prices
        ]

    def _keep(self, key: Hashable, selected: Sequence[Price]) -> None:
        self._selections[key] = selected
        self._selections.move_to_end(key)
        while len(self._selections) > KEPT_SELECTIONS:
            self._selections.popitem(last=False)


def select(price_list: PriceList, criteria: PriceFilter, at: datetime) -> Sequence[Price]:
    """The prices of a list that pass, in order, as of an instant."""
    found = [price for price in _at(price_list, at) if _passes(price_list, price, criteria, at)]
    if criteria.price_meter is None:
        return found
    return sorted_in_runs(found, lambda price: _order(price_list, price, criteria, at))


def _at(price_list: PriceList, at: datetime) -> Iterator[Price]:
    return (price.at(at) for price in price_list.prices)


def _passes(price_list: PriceList, price: Price, criteria: PriceFilter, at: datetime) -> bool:
    if price.delisted_at is not None and not criteria.include_delisted:
        return False
    if criteria.providers and price.provider not in criteria.providers:
        return False
    if not _is_in_context_range(price.context_length, criteria):
        return False
    if criteria.text and not _has_text(price, criteria.text.casefold()):
        return False
    if criteria.states and price_list.in_effect(price.card, at).state not in criteria.states:
        return False
    if criteria.meters and not criteria.meters <= price_list.in_effect(price.card, at).meters:
        return False
    if criteria.min_price is None and criteria.max_price is None:
        return True
    standard = _standard_price(price_list, price, criteria, at)
    return (
        standard is not None
        and (criteria.min_price is None or criteria.min_price <= standard)
        and (criteria.max_price is None or standard <= criteria.max_price)
    )


def _is_in_context_range(tokens: int | None, criteria: PriceFilter) -> bool:
    if criteria.min_context_length is None and criteria.max_context_length is None:
        return True
    return (
        tokens is not None
        and (criteria.min_context_length is None or criteria.min_context_length <= tokens)
        and (criteria.max_context_length is None or tokens <= criteria.max_context_length)
    )


def _has_text(price: Price, text: str) -> bool:
    return (
        text in price.model_id.casefold()
        or text in price.provider.casefold()
        or (price.hugging_face_id is not None and text in price.hugging_face_id.casefold())
    )


def _standard_price(
    price_list: PriceList, price: Price, criteria: PriceFilter, at: datetime
) -> Decimal | None:
    if criteria.price_meter is None:
        return None
    return price_list.in_effect(price.card, at).standard.get(criteria.price_meter)


def _order(price_list: PriceList, price: Price, criteria: PriceFilter, at: datetime) -> _OrderKey:
    """By price, with unknown prices last; then by seller and id, in either direction."""
    standard = _standard_price(price_list, price, criteria, at)
    if standard is None:
        return True, Decimal(0), price.provider, price.model_id
    # A copy, since a minus sign would round.
    ordered = standard.copy_negate() if criteria.is_descending else standard
    return False, ordered, price.provider, price.model_id


def _place(
    price_list: PriceList, selected: Sequence[Price], criteria: PriceFilter, begin: Position
) -> int:
    """How many selected prices come before a position, whose own model may not be selected."""
    behind = begin.behind
    found = bisect_left(price_list.prices, behind, key=_name)
    if found == len(price_list.prices) or _name(price_list.prices[found]) != behind:
        raise UnknownPosition
    last = price_list.prices[found].at(begin.at)
    if criteria.price_meter is None:
        return bisect_right(selected, behind, key=_name)

    def order(price: Price) -> _OrderKey:
        return _order(price_list, price, criteria, begin.at)

    return bisect_right(selected, order(last), key=order)


def _name(price: Price) -> ModelName:
    return price.provider, price.model_id
