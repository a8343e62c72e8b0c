"""A price table in memory, with what look-ups put before it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from llmpricing.matching import Standing
from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState, Rate, RateCard
from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.domain.head import Head
from pricing_server.domain.price import Layer, Name, Price, When
from pricing_server.lookup.answer import Answer
from pricing_server.lookup.last_good import LastGood
from pricing_server.lookup.lookup import Lookup
from pricing_server.lookup.price_query import ALL_LAYERS, PriceQuery
from pricing_server.lookup.price_table import PriceTable
from pricing_server.runtime.breaker import Breaker, quick_read

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PROBE_SECONDS = 0.001


def priced(prompt: str, *others: Rate) -> RateCard:
    """A card that asks this much per input token."""
    rates = [*others, Rate(Meter.INPUT_TOKENS, Decimal(prompt))]
    return RateCard.of(PriceState.PRICED, rates)


def price(provider: str, model_id: str, card: RateCard | None = None) -> Price:
    """A fresh price of the price table."""
    return Price(
        provider=provider,
        model_id=model_id,
        card=card or priced("1"),
        layer=Layer.DATABASE,
        source="api",
        obtained_at=NOON - HOUR,
        effective_time=NOON - 24 * HOUR,
        price_revision=1,
    )


def standing_of(price: Price) -> Standing:
    """What a listing is worth."""
    is_priced = price.card.state is not PriceState.UNPRICED
    if price.delisted_at is None:
        return Standing.PRICED if is_priced else Standing.UNPRICED
    return Standing.DELISTED if is_priced else Standing.DELISTED_UNPRICED


class Clock:
    """A wall clock moved by hand."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class Table:
    """The price table as a PriceReader, which can be unreachable and counts what it is asked."""

    def __init__(self, prices: Iterable[Price] = ()) -> None:
        self.prices = list(prices)
        self.at = Head(1, "epoch")
        self.is_down = False
        self.names_are_down = False
        self.finds = 0
        self.reference_finds = 0
        self.head_reads = 0
        self.name_reads = 0
        self.names_asked = asyncio.Event()
        self.breaker = Breaker(self._read_head, answer_seconds=10, probe_seconds=PROBE_SECONDS)
        """To be closed after the test."""

    def commit(self, *prices: Price) -> Head:
        """Put prices in the place of those of the same names; the new state of the table."""
        named = {(price.provider, price.model_id) for price in prices}
        kept = [price for price in self.prices if (price.provider, price.model_id) not in named]
        self.prices = [*kept, *prices]
        self.at = replace(self.at, revision=self.at.revision + 1)
        return self.at

    @quick_read
    async def find(self, model_id: str, provider: str | None) -> tuple[Head, Sequence[Price]]:
        self.finds += 1
        head, prices = self.at, self.prices
        await self._answer()
        return head, [
            price
            for price in prices
            if price.model_id == model_id and provider in (None, price.provider)
        ]

    @quick_read
    async def find_many(
        self,
        names: Sequence[Name],
        reference_provider: str,
        needs_reference: Callable[[Sequence[Price]], Price | None],
    ) -> tuple[Head, Sequence[Sequence[Price]], Mapping[Name, Sequence[Price]]]:
        head, prices = self.at, self.prices
        await self._answer()
        found = [
            [
                each
                for each in prices
                if each.model_id == model_id and seller in (None, each.provider)
            ]
            for seller, model_id in names
        ]
        asked = [price for each in found if (price := needs_reference(each)) is not None]
        others = [price for price in prices if price.provider == reference_provider]
        return head, found, {(price.provider, price.model_id): others for price in asked}

    @quick_read
    async def find_at(
        self, asked: Sequence[tuple[Name, When]], revision: int | None = None
    ) -> Sequence[tuple[Head, Sequence[Price]]]:
        raise AssertionError("the past of a price table in memory is not kept")

    @quick_read
    async def find_references(
        self, model_id: str, provider: str, reference_provider: str
    ) -> tuple[Head, Price | None, Sequence[Price]]:
        self.reference_finds += 1
        head, prices = self.at, self.prices
        await self._answer()
        asked = [
            price for price in prices if (price.provider, price.model_id) == (provider, model_id)
        ]
        others = [price for price in prices if price.provider == reference_provider]
        return head, asked[0] if asked else None, others

    @quick_read
    async def head(self) -> Head:
        return await self._read_head()

    async def _read_head(self) -> Head:
        self.head_reads += 1
        head = self.at
        await self._answer()
        return head

    @quick_read
    async def names(self) -> Mapping[tuple[str, str], Standing]:
        self.name_reads += 1
        self.names_asked.set()
        await self._answer()
        if self.names_are_down:
            raise DatabaseUnavailable
        return {(price.provider, price.model_id): standing_of(price) for price in self.prices}

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.is_down:
            raise DatabaseUnavailable


def never_opened() -> LastGood:
    """Last good prices in memory alone."""
    return LastGood(Path("/nowhere/last_good.sqlite"))


def new_price_table(table: Table, clock: Clock, last_good: LastGood | None = None) -> PriceTable:
    """The price table as look-ups see it."""
    return PriceTable(
        table,
        table.breaker,
        last_good or never_opened(),
        cache_size=1_000,
        cache_ttl_seconds=86_400,
        clock=clock,
    )


async def up_again(table: Table) -> None:
    """The database is back, and the breaker has noticed."""
    table.is_down = False
    async with asyncio.timeout(10):
        while table.breaker.is_down:  # noqa: ASYNC110  # There is nothing to wait on, by design.
            await asyncio.sleep(PROBE_SECONDS)


async def looked_up(
    lookup: Lookup,
    model_id: str,
    provider: str | None = None,
    accept: Set[Layer] = ALL_LAYERS,
    min_revision: int | None = None,
    when: When | None = None,
    *,
    exact_only: bool = False,
) -> Answer:
    """What a look-up answers."""
    return await lookup.answer(
        PriceQuery(model_id, provider, accept, min_revision, when, exact_only)
    )
