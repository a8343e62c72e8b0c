"""A price table in memory that remembers every revision, as lists read it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import replace

from llmpricing.rate_card import RateCard
from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.domain.head import Head
from pricing_server.domain.price import Price, PricePage
from pricing_server.listing.price_list import PriceLists
from pricing_server.runtime.breaker import Breaker


class ListedTable:
    """See PriceListReader. Counts what it is asked, can be unreachable, and can be held."""

    def __init__(self, *prices: Price) -> None:
        self.at = Head(1, "epoch")
        self.revisions: dict[int, Sequence[Price]] = {1: prices}
        self.is_down = False
        self.head_reads = 0
        self.first_pages: list[int] = []
        """The revision of each load that began."""
        self.open = asyncio.Event()
        self.open.set()
        self.asked = asyncio.Event()
        self.breaker = Breaker(self.head, answer_seconds=10, probe_seconds=0.001)
        """Before it, for all lists of it."""

    def commit(self, *prices: Price) -> Head:
        """Another revision, of these prices alone; the new state of the table."""
        self.at = replace(self.at, revision=self.at.revision + 1)
        self.revisions[self.at.revision] = prices
        return self.at

    async def head(self) -> Head:
        self.head_reads += 1
        if self.is_down:
            raise DatabaseUnavailable
        return self.at

    async def prices_at(
        self,
        revision: int,
        after_model: int,
        limit: int,
        *,
        cards: MutableMapping[str, RateCard] | None = None,
    ) -> PricePage:
        if after_model == 0:
            self.first_pages.append(revision)
        self.asked.set()
        await self.open.wait()
        if self.is_down:
            raise DatabaseUnavailable
        prices = self.revisions[revision]
        found = [
            replace(price, card=_shared(price.card, cards))
            for price in prices[after_model : after_model + limit]
        ]
        after = after_model + limit
        return PricePage(found, self.at, after if after < len(prices) else None)


def _shared(card: RateCard, cards: MutableMapping[str, RateCard] | None) -> RateCard:
    """As the database gives it: a card of its own, unless it is there already."""
    if cards is None:
        return card
    return cards.setdefault(card.card_id, RateCard.from_document(card.to_document()))


def price_lists(table: ListedTable, *, ttl_seconds: float = 1_000) -> PriceLists:
    """Lists of it, read two models at a time."""
    return PriceLists(table, table.breaker, ttl_seconds=ttl_seconds, page_rows=2)


def names(prices: Iterable[Price]) -> list[tuple[str, str]]:
    return [(price.provider, price.model_id) for price in prices]
