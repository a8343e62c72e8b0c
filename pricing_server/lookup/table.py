"""The price table as look-ups see it: cached, guarded, and remembered through outages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pricing_server.errors import DatabaseUnavailable, RevisionNotReached
from pricing_server.lookup.cache import PriceCache
from pricing_server.lookup.cross_reference import REFERENCE_PROVIDER, cross_reference
from pricing_server.lookup.guard import GuardedReader
from pricing_server.lookup.last_good import LastGood
from pricing_server.lookup.names import NameIndex
from pricing_server.lookup.price import Head, Key, Layer, Price
from pricing_server.lookup.quote import Quote, evaluate


@dataclass(frozen=True, slots=True)
class Unknown:
    """What is kept of a name that no layer knows."""

    is_known_provider: bool
    near_models: Sequence[tuple[str, str]]
    near_providers: Sequence[str]


@dataclass(frozen=True, slots=True)
class Missed:
    """What is kept of a name that the price table does not list; other layers may."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the price table said, and the state that it said it at."""

    head: Head
    quote: Quote | None
    is_last_good: bool = False
    """Whether it said so before the database went down."""


class PriceTable:
    """Quotes from the price table, each with the state of the table that it was read at."""

    def __init__(
        self,
        reader: GuardedReader,
        last_good: LastGood,
        *,
        cache_size: int,
        cache_ttl_seconds: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._reader = reader
        self._last_good = last_good
        self._clock = clock
        self._cache: PriceCache[Key, Quote, Unknown | Missed] = PriceCache(
            size=cache_size,
            unknown_size=max(64, cache_size // 10),
            ttl_seconds=cache_ttl_seconds,
            ends_at=lambda quote: quote.ends_at,
            clock=clock,
        )
        self._names: tuple[Head | None, asyncio.Task[NameIndex]] | None = None

    @property
    def is_down(self) -> bool:
        """Whether the database is known to be down."""
        return self._reader.is_down

    def clear(self, head: Head) -> None:
        """Forget everything that was read before: the table is at `head` now."""
        self._cache.clear(head)

    def head_read(self, head: Head, notified: bool) -> None:
        """The head was read; forget what was read before if it moved or a sync announced itself."""
        if notified:
            self._cache.clear(head)
        else:
            self._cache.see(head)

    async def find(self, model_id: str, seller: str | None, min_revision: int) -> Found:
        """The model at the seller, or at the one that answers for the id; None if not listed.

        While the database is down, the last price that was read, at its revision.
        Raises RevisionNotReached, DatabaseUnavailable.
        """
        key = (Layer.DATABASE, seller, model_id)
        if self._cache.unknown(key) is not None:
            head = self._cache.head
            if head is not None and head.revision >= min_revision:
                return Found(head, None)
        found = await self._find(key, lambda: self._read(key), min_revision)
        if found.quote is None and not found.is_last_good:
            self._cache.remember_unknown(key, Missed(), found.head)
        return found

    async def find_reference(self, listed: Quote, min_revision: int) -> Found:
        """A listed model that has no price, with the price of the same model elsewhere; None
        if there is none. Raises as `find`."""
        price = listed.price
        key = (Layer.CROSS_REFERENCE, price.provider, price.model_id)
        found = await self._find(key, lambda: self._read_reference(key), min_revision)
        quote = found.quote
        if quote is None or quote.price.layer is not Layer.CROSS_REFERENCE or not quote.has_price:
            return replace(found, quote=None)
        return replace(found, quote=replace(quote, rule=listed.rule))

    def unknown(self, model_id: str, seller: str | None) -> Unknown | None:
        """What was kept of a name that no layer knows."""
        kept = self._cache.unknown((Layer.DATABASE, seller, model_id))
        return kept if isinstance(kept, Unknown) else None

    def remember_unknown(
        self, model_id: str, seller: str | None, unknown: Unknown, missed_at: Head
    ) -> None:
        """Keep that a name was unknown when the table was asked for it at a state."""
        self._cache.remember_unknown((Layer.DATABASE, seller, model_id), unknown, missed_at)

    async def names(self) -> NameIndex:
        """All names at the state of the cache; loaded once for all who ask."""
        head = self._cache.head
        if self._names is None or self._names[0] != head or _has_failed(self._names[1]):
            self._names = (head, asyncio.create_task(self._load_names()))
        return await asyncio.shield(self._names[1])

    async def _find(
        self,
        key: Key,
        read: Callable[[], Awaitable[tuple[Head, Quote | None]]],
        min_revision: int,
    ) -> Found:
        head, quote = self._cache.head, self._cache.get(key)
        if head is not None and quote is not None and head.revision >= min_revision:
            return Found(head, quote)
        try:
            head, quote = await self._cache.load(key, read)
            if head.revision < min_revision:
                # Perhaps this load had begun for somebody else, before that revision.
                head, quote = await self._cache.load(key, read)
        except DatabaseUnavailable:
            kept = await self._last_good.find(key)
            if kept is None or kept.head.revision < min_revision:
                raise
            if kept.price is None:
                return Found(kept.head, None, is_last_good=True)
            return Found(kept.head, self._evaluated([kept.price], key), is_last_good=True)
        if head.revision < min_revision:
            raise RevisionNotReached(head.revision, min_revision)
        return Found(head, quote)

    async def _read(self, key: Key) -> tuple[Head, Quote | None]:
        _, seller, model_id = key
        head, prices = await self._reader.find(model_id, seller)
        if not prices:
            return head, None
        quote = self._evaluated(prices, key)
        self._last_good.remember(key, quote.price, head)
        return head, quote

    async def _read_reference(self, key: Key) -> tuple[Head, Quote | None]:
        _, provider, model_id = key
        assert provider is not None, "a listed model has a seller"
        head, asked, candidates = await self._reader.find_references(
            model_id, provider, REFERENCE_PROVIDER
        )
        if asked is None:
            return head, None
        now = self._clock()
        own = evaluate([asked.at(now)], provider, now)
        reference = cross_reference(asked, candidates, now)
        if reference is None:
            self._last_good.remember_none(key, provider, head)
            return head, own  # kept, so that it is not looked for at every call
        self._last_good.remember(key, reference, head)
        quote = evaluate([reference], provider, now)
        ends = [end for end in (own.valid_until, quote.valid_until) if end is not None]
        return head, replace(quote, valid_until=min(ends, default=None))

    def _evaluated(self, prices: Sequence[Price], key: Key) -> Quote:
        now = self._clock()
        return evaluate([price.at(now) for price in prices], key[1], now)

    async def _load_names(self) -> NameIndex:
        return await asyncio.to_thread(NameIndex, await self._reader.names())


def _has_failed(task: asyncio.Task[NameIndex]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
