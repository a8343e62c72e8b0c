"""The price table as look-ups see it: cached, guarded, and remembered through outages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pricing_server.errors import DatabaseUnavailable, RevisionNotReached
from pricing_server.lookup.cache import PriceCache
from pricing_server.lookup.cross_reference import REFERENCE_PROVIDER, cross_reference, referring
from pricing_server.lookup.guard import GuardedReader
from pricing_server.lookup.last_good import LastGood
from pricing_server.lookup.names import NameIndex
from pricing_server.lookup.price import Head, Key, Layer, Name, Price, When
from pricing_server.lookup.quote import Quote, evaluate
from pricing_server.lookup.snapshot import TableSnapshot
from pricing_server.made_once import MadeOnce


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
        self._names: MadeOnce[NameIndex] = MadeOnce()

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

    async def snapshot(self, names: Sequence[Name], min_revision: int) -> TableSnapshot:
        """What `find` and `find_reference` say of these names, all at one state of the table.

        Raises DatabaseUnavailable.
        """
        kept = self._kept(names, min_revision)
        if kept is not None:
            return kept
        head, found, candidates = await self._reader.find_many(
            names, REFERENCE_PROVIDER, self._without_price
        )
        quotes: dict[Key, Quote | None] = {}
        for (seller, model_id), prices in zip(names, found, strict=True):
            key = (Layer.DATABASE, seller, model_id)
            quote = quotes[key] = self._listed(key, prices, head)
            if quote is None:
                self._cache.remember_unknown(key, Missed(), head)
            elif _needs_reference(quote):
                key = _reference_key(quote)
                quotes[key] = self._reference(key, quote.price, candidates.get(key[1:], ()), head)
        for key, quote in quotes.items():
            if quote is not None:
                self._cache.put(key, quote, head)
        return TableSnapshot(head, quotes)

    async def find(
        self,
        model_id: str,
        seller: str | None,
        min_revision: int,
        snapshot: TableSnapshot | None = None,
    ) -> Found:
        """The model at the seller, or at the one that answers for the id; None if not listed.

        While the database is down, the last price that was read, at its revision.
        Raises RevisionNotReached, DatabaseUnavailable.
        """
        key = (Layer.DATABASE, seller, model_id)
        if snapshot is not None:
            return _found(snapshot, key, min_revision)
        if self._cache.unknown(key) is not None:
            head = self._cache.head
            if head is not None and head.revision >= min_revision:
                return Found(head, None)
        found = await self._find(key, lambda: self._read(key), min_revision)
        if found.quote is None and not found.is_last_good:
            self._cache.remember_unknown(key, Missed(), found.head)
        return found

    async def find_at(
        self,
        model_id: str,
        seller: str | None,
        when: When,
        min_revision: int,
        snapshot: TableSnapshot | None = None,
    ) -> Found:
        """As `find`, of another time. What was known at another time is not cached."""
        if when.known_at is not None:
            head, prices = await self._find_at((seller, model_id), when, None, snapshot)
            return Found(head, evaluate(prices, seller, when.as_of) if prices else None)
        found = await self.find(model_id, seller, min_revision, snapshot)
        return await self.at(found, when, snapshot)

    async def at(self, found: Found, when: When, snapshot: TableSnapshot | None = None) -> Found:
        """What was found to be in effect now as it was, or will be, at `when.as_of`."""
        if found.quote is None:
            return found
        price, head = found.quote.price, found.head
        prices: Sequence[Price] = [price.at(when.as_of)]
        name = _name_in_history(found.quote, when)
        if name is not None:
            head, prices = await self._find_at(name, when, head.revision, snapshot)
            if price.referred is not None:
                prices = [referring(price, reference) for reference in prices]
        quote = evaluate(prices, price.provider, when.as_of) if prices else None
        if quote is not None:
            quote = replace(quote, rule=found.quote.rule)
        return replace(found, head=head, quote=quote)

    async def with_past(
        self, snapshot: TableSnapshot, asked: Sequence[tuple[Name, When]]
    ) -> TableSnapshot:
        """The snapshot with what `find_at` needs of other times. Raises DatabaseUnavailable."""
        wanted: dict[tuple[Name, When], None] = {}
        for (seller, model_id), when in asked:
            name: Name | None = (seller, model_id)
            if when.known_at is None:
                quote = snapshot.quotes[Layer.DATABASE, seller, model_id]
                name = _name_in_history(quote, when) if quote is not None else None
            if name is not None:
                wanted[name, when] = None
        if not wanted:
            return snapshot
        found = await self._reader.find_at(list(wanted), snapshot.head.revision)
        return replace(snapshot, past=dict(zip(wanted, found, strict=True)))

    async def _find_at(
        self, name: Name, when: When, revision: int | None, snapshot: TableSnapshot | None
    ) -> tuple[Head, Sequence[Price]]:
        if snapshot is not None and (name, when) in snapshot.past:
            return snapshot.past[name, when]
        [found] = await self._reader.find_at([(name, when)], revision)
        return found

    async def in_history(
        self, provider: str, model_id: str, at: datetime, revision: int
    ) -> tuple[Head, Price | None]:
        """See `Lookup.in_history`."""
        asked = [((provider, model_id), When(at))]
        [(head, prices)] = await self._reader.find_at(asked, revision)
        return head, prices[0] if prices else None

    async def find_reference(
        self, listed: Quote, min_revision: int, snapshot: TableSnapshot | None = None
    ) -> Found:
        """A listed model that has no price, with the price of the same model elsewhere; None
        if there is none. Raises as `find`."""
        key = _reference_key(listed)
        if snapshot is not None:
            found = _found(snapshot, key, min_revision)
        else:
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
        return await self._names.of(self._cache.head, make=self._load_names)

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
            return Found(kept.head, self._evaluated([kept.price], key[1]), is_last_good=True)
        if head.revision < min_revision:
            raise RevisionNotReached(head.revision, min_revision)
        return Found(head, quote)

    async def _read(self, key: Key) -> tuple[Head, Quote | None]:
        _, seller, model_id = key
        head, prices = await self._reader.find(model_id, seller)
        return head, self._listed(key, prices, head)

    async def _read_reference(self, key: Key) -> tuple[Head, Quote | None]:
        _, provider, model_id = key
        assert provider is not None, "a listed model has a seller"
        head, asked, candidates = await self._reader.find_references(
            model_id, provider, REFERENCE_PROVIDER
        )
        if asked is None:
            return head, None
        return head, self._reference(key, asked, candidates, head)

    def _listed(self, key: Key, prices: Sequence[Price], head: Head) -> Quote | None:
        """The quote of the prices that were read of a name, None if there are none."""
        if not prices:
            return None
        quote = self._evaluated(prices, key[1])
        self._last_good.remember(key, quote.price, head)
        return quote

    def _reference(self, key: Key, asked: Price, candidates: Sequence[Price], head: Head) -> Quote:
        """The quote of another seller's price, or, kept so that nobody looks for one at every
        call, of the model itself where there is none."""
        now = self._clock()
        own = evaluate([asked.at(now)], key[1], now)
        reference = cross_reference(asked, candidates, now)
        if reference is None:
            self._last_good.remember_none(key, asked.provider, head)
            return own
        self._last_good.remember(key, reference, head)
        quote = evaluate([reference], key[1], now)
        ends = [end for end in (own.valid_until, quote.valid_until) if end is not None]
        return replace(quote, valid_until=min(ends, default=None))

    def _without_price(self, prices: Sequence[Price]) -> Price | None:
        """Of the prices of a name the one that answers, if another seller's may stand in."""
        quote = self._evaluated(prices, None) if prices else None
        return quote.price if quote is not None and _needs_reference(quote) else None

    def _kept(self, names: Sequence[Name], min_revision: int) -> TableSnapshot | None:
        """A snapshot of what is cached, None if that is not all of it."""
        head = self._cache.head
        if head is None or head.revision < min_revision:
            return None
        quotes: dict[Key, Quote | None] = {}
        for seller, model_id in names:
            key = (Layer.DATABASE, seller, model_id)
            quote = quotes[key] = self._cache.get(key)
            if quote is None and self._cache.unknown(key) is None:
                return None
            if quote is not None and _needs_reference(quote):
                key = _reference_key(quote)
                quotes[key] = self._cache.get(key)
                if quotes[key] is None:
                    return None
        return TableSnapshot(head, quotes)

    def _evaluated(self, prices: Sequence[Price], seller: str | None) -> Quote:
        now = self._clock()
        return evaluate([price.at(now) for price in prices], seller, now)

    async def _load_names(self) -> NameIndex:
        return await asyncio.to_thread(NameIndex, await self._reader.names())


def _needs_reference(quote: Quote) -> bool:
    """Whether another seller's price may answer for it, with or without overrides."""
    return not quote.has_price or (quote.stated is not None and not quote.stated.has_price)


def _reference_key(listed: Quote) -> Key:
    return Layer.CROSS_REFERENCE, listed.price.provider, listed.price.model_id


def _name_in_history(quote: Quote, when: When) -> Name | None:
    """Whose history tells the price at an instant; None if the quote's own price does."""
    price = quote.price
    if price.effective_time <= when.as_of:
        return None
    return price.referred or (price.provider, price.model_id)


def _found(snapshot: TableSnapshot, key: Key, min_revision: int) -> Found:
    if snapshot.head.revision < min_revision:
        raise RevisionNotReached(snapshot.head.revision, min_revision)
    return Found(snapshot.head, snapshot.quotes.get(key))
