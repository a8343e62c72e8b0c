"""All prices of the price table at one state of it, in memory: for lists and comparisons."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, Protocol
from weakref import WeakValueDictionary

from llmpricing.rate_card import RateCard
from pricing_server.domain.errors import DatabaseUnavailable, EpochChanged, RevisionNotReached
from pricing_server.domain.head import Head
from pricing_server.domain.price import Price, PricePage
from pricing_server.listing.in_effect import InEffect, is_timed
from pricing_server.runtime.breaker import Breaker
from pricing_server.runtime.single_flight import SingleFlight
from pricing_server.runtime.sorted_runs import sorted_in_runs

PAGE_ROWS: Final = 500
READ_SECONDS: Final = 3.0
"""How long a page may take to be read."""

KEPT_OLDER: Final = 2
"""Lists of earlier revisions, for callers that are in the middle of one."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """All prices as they were at one state of the price table, by seller and model id.

    What confirmed a price is that of the instant at which it was read, as is the context
    length: neither has revisions.
    """

    head: Head
    prices: Sequence[Price]
    _untimed: dict[int, InEffect] = field(default_factory=dict, repr=False, compare=False)
    """By identity of the card, which the prices keep alive."""

    def in_effect(self, card: RateCard, at: datetime) -> InEffect:
        """What of one of its prices' cards is in effect at an instant; worked out once for a
        card that has neither dates nor times of day. For any thread."""
        known = self._untimed.get(id(card))
        if known is None:
            known = InEffect.of(card, at)
            if not is_timed(card):
                self._untimed[id(card)] = known
        return known


class PriceListReader(Protocol):
    """Reads of bounded work. Each raises DatabaseUnavailable."""

    async def head(self) -> Head:
        """The state of the price table now."""

    async def prices_at(
        self,
        revision: int,
        after_model: int,
        limit: int,
        *,
        cards: MutableMapping[str, RateCard] | None = None,
    ) -> PricePage:
        """The prices as they were at a revision, of the next `limit` models.

        `cards` are those that are there already, by id; others are added.
        """


@dataclass(frozen=True, slots=True)
class _Kept:
    """A list, and what was heard when it began to be loaded."""

    price_list: PriceList
    generation: int
    loaded_at: float


class PriceLists:
    """The list of the newest revision, and those of a few before it. For one event loop.

    A list is loaded once for all who ask for it at the same time. Rate cards are shared by
    all lists.
    """

    def __init__(
        self,
        reader: PriceListReader,
        breaker: Breaker,
        *,
        ttl_seconds: float,
        page_rows: int = PAGE_ROWS,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """After `ttl_seconds` the newest list is loaded again, whatever was heard meanwhile."""
        self._reader = reader
        self._breaker = breaker
        self._ttl_seconds = ttl_seconds
        self._page_rows = page_rows
        self._timer = timer
        self._cards: WeakValueDictionary[str, RateCard] = WeakValueDictionary()
        self._newest: _Kept | None = None
        self._older: OrderedDict[Head, PriceList] = OrderedDict()
        self._generation = 0
        self._loads: SingleFlight[tuple[Head, int], PriceList] = SingleFlight()
        # One load at a time each: whoever asks for old revisions, the newest does not wait.
        self._newest_turn = asyncio.Lock()
        self._older_turn = asyncio.Lock()

    def clear(self) -> None:
        """A sync or an admin wrote: the newest list is loaded again when it is asked for."""
        self._generation += 1

    async def at(self, head: Head | None = None) -> PriceList:
        """The list of a state of the price table, of the newest if none is given.

        Raises DatabaseUnavailable, at once in a known outage; EpochChanged for a state of
        another history, and RevisionNotReached for one that cannot be seen here yet.
        """
        now = await self._breaker.ask(self._reader.head)
        if head is None or head == now:
            kept = self._newest
            is_kept = kept is not None and kept.price_list.head == now
            if kept is not None and is_kept and (head is not None or self._is_current(kept)):
                return kept.price_list
            key = (now, self._generation)
            return await self._loads.get(key, partial(self._load_newest, *key))
        if head.epoch != now.epoch:
            raise EpochChanged(now)
        if head.revision > now.revision:
            raise RevisionNotReached(now.revision, head.revision)
        return self._kept(head) or await self._loads.get((head, 0), partial(self._load_older, head))

    async def aclose(self) -> None:
        """Load no more."""
        await self._loads.aclose()

    def _is_current(self, kept: _Kept) -> bool:
        age = self._timer() - kept.loaded_at
        return kept.generation == self._generation and age < self._ttl_seconds

    def _kept(self, head: Head) -> PriceList | None:
        if self._newest is not None and self._newest.price_list.head == head:
            return self._newest.price_list
        if head in self._older:
            self._older.move_to_end(head)
        return self._older.get(head)

    async def _load_newest(self, head: Head, generation: int) -> PriceList:
        async with self._newest_turn:
            loaded_at = self._timer()
            loaded = await self._load(head)
            before = self._newest
            if before is not None and not _is_as_new(head, before.price_list.head):
                self._keep_older(loaded)  # It was overtaken.
                return loaded
            self._newest = _Kept(loaded, generation, loaded_at)
            if before is not None and before.price_list.head.epoch != head.epoch:
                self._older.clear()
            elif before is not None and before.price_list.head != head:
                self._keep_older(before.price_list)
            return loaded

    async def _load_older(self, head: Head) -> PriceList:
        async with self._older_turn:
            loaded = self._kept(head)
            if loaded is None:
                loaded = await self._load(head)
                self._keep_older(loaded)
            return loaded

    def _keep_older(self, price_list: PriceList) -> None:
        self._older[price_list.head] = price_list
        self._older.move_to_end(price_list.head)
        while len(self._older) > KEPT_OLDER:
            self._older.popitem(last=False)

    async def _load(self, head: Head) -> PriceList:
        prices: list[Price] = []
        after_model: int | None = 0
        while after_model is not None:
            read = partial(
                self._reader.prices_at,
                head.revision,
                after_model,
                self._page_rows,
                cards=self._cards,
            )
            page = await self._breaker.ask_slow(read, READ_SECONDS)
            if page.head.epoch != head.epoch:
                raise EpochChanged(page.head)
            if page.head.revision < head.revision:
                raise DatabaseUnavailable  # It went back: a new epoch will follow.
            prices += (price for price in page.prices if not price.is_left)
            after_model = page.next
        return PriceList(head, await asyncio.to_thread(_in_order, prices))


def _in_order(prices: list[Price]) -> Sequence[Price]:
    return sorted_in_runs(prices, lambda price: (price.provider, price.model_id))


def _is_as_new(head: Head, other: Head) -> bool:
    return head.epoch != other.epoch or head.revision >= other.revision
