"""The price table as look-ups see it: cached, and remembered through outages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from pricing_server.domain.errors import DatabaseUnavailable, RevisionNotReached
from pricing_server.domain.head import Head
from pricing_server.domain.price import Key, Layer, Name, Price, When
from pricing_server.lookup.evaluated_price import EvaluatedPrice, evaluate
from pricing_server.lookup.last_good import LastGood
from pricing_server.lookup.layers.cross_reference import REFERENCE_PROVIDER, cross_reference
from pricing_server.lookup.name_index import NameIndex
from pricing_server.lookup.past import PastPrices
from pricing_server.lookup.price_cache import PriceCache
from pricing_server.lookup.price_query import PriceQuery
from pricing_server.lookup.price_reader import PriceReader
from pricing_server.lookup.snapshot import TableRead, TableSnapshot
from pricing_server.runtime.breaker import Breaker
from pricing_server.runtime.single_flight import NewestValue


@dataclass(frozen=True, slots=True)
class UnknownName:
    """What is kept of a name that no layer knows."""

    is_known_provider: bool
    near_models: Sequence[tuple[str, str]]
    near_providers: Sequence[str]


@dataclass(frozen=True, slots=True)
class NotListed:
    """What is kept of a name that the price table does not list; other layers may."""


class PriceTable:
    """Prices from the price table, each with the state of the table that it was read at."""

    def __init__(
        self,
        reader: PriceReader,
        breaker: Breaker,
        last_good: LastGood,
        *,
        cache_size: int,
        cache_ttl_seconds: float,
        clock: Callable[[], datetime],
    ) -> None:
        """`breaker` is the one that the reader asks the database through."""
        self._reader = reader
        self._breaker = breaker
        self._last_good = last_good
        self._clock = clock
        self._cache: PriceCache[Key, EvaluatedPrice, UnknownName | NotListed] = PriceCache(
            size=cache_size,
            unknown_size=max(64, cache_size // 10),
            ttl_seconds=cache_ttl_seconds,
            ends_at=lambda price: price.ends_at,
            clock=clock,
        )
        self._names: NewestValue[NameIndex] = NewestValue()
        self.past: Final = PastPrices(reader)

    @property
    def is_down(self) -> bool:
        """Whether the database is known to be down."""
        return self._breaker.is_down

    def clear(self, head: Head) -> None:
        """Forget everything that was read before: the table is at `head` now."""
        self._cache.clear(head)

    def head_read(self, head: Head, notified: bool) -> None:
        """The head was read; forget what was read before if it moved or a sync announced itself."""
        if notified:
            self._cache.clear(head)
        else:
            self._cache.see(head)

    async def read(self, query: PriceQuery, snapshot: TableSnapshot | None = None) -> TableRead:
        """The model at the seller, or at the one that answers for the id.

        While the database is down, the last price that was read, at its revision.
        Raises RevisionNotReached, DatabaseUnavailable.
        """
        when = query.when
        if when is not None and when.known_at is not None:
            return await self.past.known(query.name, when, snapshot)
        now = await self._read_now(query, snapshot)
        return now if when is None else await self.past.at(now, when, snapshot)

    async def read_reference(
        self, query: PriceQuery, listed: EvaluatedPrice, snapshot: TableSnapshot | None = None
    ) -> TableRead:
        """A listed model that has no price, with the price of the same model elsewhere; None
        if there is none. Raises as `read`."""
        key = _reference_key(listed)
        if snapshot is not None:
            read = _read_of(snapshot, key, query.least_revision)
        else:
            read = await self._read_cached(key, self._load_reference, query.least_revision)
        price = read.price
        if price is None or price.price.layer is not Layer.CROSS_REFERENCE or not price.has_price:
            return replace(read, price=None)
        read = replace(read, price=replace(price, rule=listed.rule))
        return read if query.when is None else await self.past.at(read, query.when)

    async def snapshot(
        self, names: Sequence[Name], past: Iterable[tuple[Name, When]], min_revision: int
    ) -> TableSnapshot:
        """What `read` and `read_reference` say of names, now and at times of the past, all at
        one state of the table. Raises DatabaseUnavailable.
        """
        snapshot = self._cached_snapshot(names, min_revision)
        if snapshot is None:
            snapshot = await self._load_snapshot(names)
        return await self.past.extend(snapshot, past)

    def unknown(self, name: Name) -> UnknownName | None:
        """What was kept of a name that no layer knows."""
        kept = self._cache.unknown(_key(name))
        return kept if isinstance(kept, UnknownName) else None

    def remember_unknown(self, name: Name, unknown: UnknownName, missed_at: Head) -> None:
        """Keep that a name was unknown when the table was asked for it at a state."""
        self._cache.remember_unknown(_key(name), unknown, missed_at)

    async def names(self) -> NameIndex:
        """All names at the state of the cache; loaded once for all who ask."""
        return await self._names.get(self._cache.head, make=self._load_names)

    async def _read_now(self, query: PriceQuery, snapshot: TableSnapshot | None) -> TableRead:
        key = _key(query.name)
        if snapshot is not None:
            return _read_of(snapshot, key, query.least_revision)
        if self._cache.unknown(key) is not None:
            head = self._cache.head
            if head is not None and head.revision >= query.least_revision:
                return TableRead(head, None)
        read = await self._read_cached(key, self._load, query.least_revision)
        if read.price is None and not read.is_last_good:
            self._cache.remember_unknown(key, NotListed(), read.head)
        return read

    async def _read_cached(
        self,
        key: Key,
        load: Callable[[Key], Coroutine[Any, Any, tuple[Head, EvaluatedPrice | None]]],
        min_revision: int,
    ) -> TableRead:
        head, price = self._cache.head, self._cache.get(key)
        if head is not None and price is not None and head.revision >= min_revision:
            return TableRead(head, price)
        try:
            head, price = await self._cache.load(key, lambda: load(key))
            if head.revision < min_revision:
                # Perhaps this load had begun for somebody else, before that revision.
                head, price = await self._cache.load(key, lambda: load(key))
        except DatabaseUnavailable:
            return await self._recall(key, min_revision)
        if head.revision < min_revision:
            raise RevisionNotReached(head.revision, min_revision)
        return TableRead(head, price)

    async def _recall(self, key: Key, min_revision: int) -> TableRead:
        """What the table said before the database went down. Raises DatabaseUnavailable."""
        kept = await self._last_good.recall(key)
        if kept is None or kept.head.revision < min_revision:
            raise DatabaseUnavailable
        price = self._evaluated([kept.price], key[1]) if kept.price is not None else None
        return TableRead(kept.head, price, is_last_good=True)

    async def _load(self, key: Key) -> tuple[Head, EvaluatedPrice | None]:
        _, seller, model_id = key
        head, prices = await self._reader.find(model_id, seller)
        return head, self._listed(key, prices, head)

    async def _load_reference(self, key: Key) -> tuple[Head, EvaluatedPrice | None]:
        _, provider, model_id = key
        assert provider is not None, "a listed model has a seller"
        head, asked, candidates = await self._reader.find_references(
            model_id, provider, REFERENCE_PROVIDER
        )
        if asked is None:
            return head, None
        return head, self._reference(key, asked, candidates, head)

    async def _load_snapshot(self, names: Sequence[Name]) -> TableSnapshot:
        head, found, candidates = await self._reader.find_many(
            names, REFERENCE_PROVIDER, self._without_price
        )
        prices: dict[Key, EvaluatedPrice | None] = {}
        for name, stated in zip(names, found, strict=True):
            key = _key(name)
            listed = prices[key] = self._listed(key, stated, head)
            if listed is None:
                self._cache.remember_unknown(key, NotListed(), head)
            elif _needs_reference(listed):
                key = _reference_key(listed)
                others = candidates.get(key[1:], ())
                prices[key] = self._reference(key, listed.price, others, head)
        for key, price in prices.items():
            if price is not None:
                self._cache.put(key, price, head)
        return TableSnapshot(head, prices)

    def _cached_snapshot(self, names: Sequence[Name], min_revision: int) -> TableSnapshot | None:
        """A snapshot of what is cached, None if that is not all of it."""
        head = self._cache.head
        if head is None or head.revision < min_revision:
            return None
        prices: dict[Key, EvaluatedPrice | None] = {}
        for name in names:
            key = _key(name)
            listed = prices[key] = self._cache.get(key)
            if listed is None and self._cache.unknown(key) is None:
                return None
            if listed is not None and _needs_reference(listed):
                key = _reference_key(listed)
                prices[key] = self._cache.get(key)
                if prices[key] is None:
                    return None
        return TableSnapshot(head, prices)

    def _listed(self, key: Key, prices: Sequence[Price], head: Head) -> EvaluatedPrice | None:
        """The one that answers of the prices that were read for a name, None if none was read."""
        if not prices:
            return None
        listed = self._evaluated(prices, key[1])
        self._last_good.remember(key, listed.price, head)
        return listed

    def _reference(
        self, key: Key, asked: Price, candidates: Sequence[Price], head: Head
    ) -> EvaluatedPrice:
        """Another seller's price, or, kept so that nobody looks for one at every call, that of
        the model itself where there is none."""
        now = self._clock()
        own = evaluate([asked.at(now)], key[1], now)
        reference = cross_reference(asked, candidates, now)
        if reference is None:
            self._last_good.remember_none(key, asked.provider, head)
            return own
        self._last_good.remember(key, reference, head)
        price = evaluate([reference], key[1], now)
        ends = [end for end in (own.valid_until, price.valid_until) if end is not None]
        return replace(price, valid_until=min(ends, default=None))

    def _without_price(self, prices: Sequence[Price]) -> Price | None:
        """The price that answers for a name, if another seller's price may stand in for it."""
        listed = self._evaluated(prices, None) if prices else None
        return listed.price if listed is not None and _needs_reference(listed) else None

    def _evaluated(self, prices: Sequence[Price], seller: str | None) -> EvaluatedPrice:
        now = self._clock()
        return evaluate([price.at(now) for price in prices], seller, now)

    async def _load_names(self) -> NameIndex:
        return await asyncio.to_thread(NameIndex, await self._reader.names())


def _key(name: Name) -> Key:
    return (Layer.DATABASE, *name)


def _reference_key(listed: EvaluatedPrice) -> Key:
    return Layer.CROSS_REFERENCE, listed.price.provider, listed.price.model_id


def _needs_reference(listed: EvaluatedPrice) -> bool:
    """Whether another seller's price may answer for it, with or without overrides."""
    return not listed.has_price or (listed.stated is not None and not listed.stated.has_price)


def _read_of(snapshot: TableSnapshot, key: Key, min_revision: int) -> TableRead:
    if snapshot.head.revision < min_revision:
        raise RevisionNotReached(snapshot.head.revision, min_revision)
    return TableRead(snapshot.head, snapshot.prices.get(key))
