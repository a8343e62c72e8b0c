"""Look-ups: cache, then price table, then bundled catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from llmpricing.schedule import Headline, headline, last_change, next_change
from pricing_server.errors import DatabaseUnavailable, ModelNotFound, ProviderNotFound
from pricing_server.lookup.cache import PriceCache, utc_now
from pricing_server.lookup.catalog import Catalog
from pricing_server.lookup.names import NameIndex
from pricing_server.lookup.price import Head, Layer, Price, PriceReader
from pricing_server.providers.source import Source
from pricing_server.sellers import MAKERS, answer_order, canonical

ALL_LAYERS = frozenset(Layer)


class MatchRule(StrEnum):
    """The rule by which a request's names led to a model."""

    EXACT = "exact"
    EXACT_AT_MAKER = "exact_at_maker"
    EXACT_AT_SELLER = "exact_at_seller"


class Freshness(StrEnum):
    """How well an answer is confirmed."""

    FRESH = "fresh"
    UNCONFIRMED = "unconfirmed"
    DATABASE_DOWN = "database_down"


@dataclass(frozen=True, slots=True)
class Quote:
    """A price evaluated at an instant; it holds from `effective_time` until `valid_until`."""

    price: Price
    rule: MatchRule
    headline: Headline
    effective_time: datetime
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a look-up found, how good it is, and the state of the table that it reflects."""

    quote: Quote
    freshness: Freshness
    source_detail: str
    head: Head | None
    """None for an answer that does not come from the price table."""


@dataclass(frozen=True, slots=True)
class _Unknown:
    """What is kept of a name that no layer knows."""

    is_known_provider: bool
    near_models: Sequence[tuple[str, str]]
    near_providers: Sequence[str]


_Key = tuple[str | None, str]


class Lookup:
    """Answers prices for one process."""

    def __init__(
        self,
        reader: PriceReader,
        catalog: Catalog,
        sources: Mapping[str, Source],
        *,
        cache_size: int,
        cache_ttl_seconds: float,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._reader = reader
        self._catalog = catalog
        self._sources = sources
        self._clock = clock
        self._cache: PriceCache[_Key, Quote, _Unknown] = PriceCache(
            size=cache_size,
            unknown_size=max(64, cache_size // 10),
            ttl_seconds=cache_ttl_seconds,
            ends_at=lambda quote: quote.valid_until,
            clock=clock,
        )
        self._names: tuple[Head | None, asyncio.Task[NameIndex]] | None = None

    def committed(self, revision: int, epoch: str) -> None:
        """A sync was committed: forget everything that was read before."""
        self._cache.clear(Head(revision, epoch))

    async def get(
        self,
        model_id: str,
        provider: str | None = None,
        accept: Collection[Layer] = ALL_LAYERS,
    ) -> Answer:
        """The price of a model, in effect now.

        Raises ModelNotFound, ProviderNotFound, or DatabaseUnavailable when the database
        cannot be asked and no other accepted layer knows the model.
        """
        seller = canonical(provider) if provider is not None else None
        missed_at: Head | None = None
        database_down: DatabaseUnavailable | None = None
        if Layer.DATABASE in accept:
            try:
                missed_at, quote = await self._from_database(model_id, seller)
                if quote is not None:
                    return self._answer(quote, missed_at)
            except DatabaseUnavailable as error:
                database_down = error
        if Layer.CATALOG in accept:
            prices = await asyncio.to_thread(self._catalog.find, model_id, seller)
            if prices:
                quote = self._evaluated(prices, seller)
                return self._answer(quote, None, database_down=database_down is not None)
        if database_down is not None:
            raise database_down
        raise await self._not_found(model_id, provider, seller, missed_at)

    async def _from_database(self, model_id: str, seller: str | None) -> tuple[Head, Quote | None]:
        key = (seller, model_id)
        quote = self._cache.get(key)
        if quote is not None and self._cache.head is not None:
            return self._cache.head, quote
        if self._cache.unknown(key) is not None and self._cache.head is not None:
            return self._cache.head, None
        return await self._cache.load(key, lambda: self._read(model_id, seller))

    async def _read(self, model_id: str, seller: str | None) -> tuple[Head, Quote | None]:
        head, prices = await self._reader.find(model_id, seller)
        return head, self._evaluated(prices, seller) if prices else None

    def _evaluated(self, prices: Sequence[Price], seller: str | None) -> Quote:
        price = min(
            prices,
            key=lambda price: (price.delisted_at is not None, answer_order(price.provider)),
        )
        if seller is not None:
            rule = MatchRule.EXACT
        elif price.provider in MAKERS:
            rule = MatchRule.EXACT_AT_MAKER
        else:
            rule = MatchRule.EXACT_AT_SELLER
        now = self._clock()
        return Quote(
            price=price,
            rule=rule,
            headline=headline(price.card, now),
            effective_time=last_change(price.card, now) or price.effective_time,
            valid_until=next_change(price.card, now),
        )

    def _answer(self, quote: Quote, head: Head | None, *, database_down: bool = False) -> Answer:
        price = quote.price
        source = self._sources.get(price.source)
        detail = source.display_name if source else price.source
        overdue = source is not None and self._clock() - price.obtained_at > source.fresh_for
        if database_down:
            freshness = Freshness.DATABASE_DOWN
            detail += ": the price database cannot be reached"
        elif price.delisted_at is not None:
            freshness = Freshness.UNCONFIRMED
            detail += ": no longer listed, last known price"
        elif not price.is_listed:
            freshness = Freshness.UNCONFIRMED
            detail += ": not in its latest data, last known price"
        elif overdue:
            freshness = Freshness.UNCONFIRMED
            detail += ": its data is older than expected"
        else:
            freshness = Freshness.FRESH
        return Answer(quote, freshness, detail, head)

    async def _not_found(
        self, model_id: str, provider: str | None, seller: str | None, missed_at: Head | None
    ) -> ModelNotFound | ProviderNotFound:
        key = (seller, model_id)
        unknown = self._cache.unknown(key)
        if unknown is None:
            try:
                names = await self._name_index()
            except DatabaseUnavailable:
                names = await asyncio.to_thread(lambda: NameIndex(self._catalog.names()))
            unknown = _Unknown(
                is_known_provider=seller is None or seller in names.providers,
                near_models=names.near_models(model_id, seller),
                near_providers=names.near_providers(seller) if seller else (),
            )
            if missed_at is not None:
                # Only what the price table was asked for, and at the state it was asked at.
                self._cache.remember_unknown(key, unknown, missed_at)
        if provider is not None and not unknown.is_known_provider:
            return ProviderNotFound(provider, unknown.near_providers)
        return ModelNotFound(model_id, provider, unknown.near_models)

    async def _name_index(self) -> NameIndex:
        """All names at the state of the cache; loaded once for all who ask."""
        head = self._cache.head
        if self._names is None or self._names[0] != head or _has_failed(self._names[1]):
            self._names = (head, asyncio.create_task(self._load_names()))
        return await asyncio.shield(self._names[1])

    async def _load_names(self) -> NameIndex:
        return await asyncio.to_thread(NameIndex, await self._reader.names())


def _has_failed(task: asyncio.Task[NameIndex]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
