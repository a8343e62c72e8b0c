"""Leads names that nobody lists as they are to models that some layer lists."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Final

from llmpricing.matching import (
    ClauseIndex,
    Explanation,
    Match,
    ModelIndex,
    Name,
    NoMatch,
    Standing,
)
from pricing_server.errors import DatabaseUnavailable
from pricing_server.lookup.catalog import Catalog
from pricing_server.lookup.manual import ManualPrices
from pricing_server.lookup.names import NameIndex
from pricing_server.lookup.table import PriceTable
from pricing_server.made_once import MadeOnce
from pricing_server.matching.model_index import model_index

_NOTHING: Final = NoMatch()


class Matcher:
    """The rules of matching over the names of all layers. For one event loop.

    Without the price table's names there is no matching: that a seller lists no other date
    of a model cannot be told then. While the database is down, the last ones known serve.
    """

    def __init__(self, table: PriceTable, manual: ManualPrices | None, catalog: Catalog) -> None:
        self._table = table
        self._manual = manual
        self._catalog = catalog
        self._clauses: ClauseIndex | None = None
        self._index: MadeOnce[ModelIndex] = MadeOnce()

    async def match(self, seller: str | None, name: str) -> Match | NoMatch:
        """The model that a name leads to, at a seller if one is given."""
        index = await self.index()
        return index.match(name, seller) if index is not None else _NOTHING

    async def explain(self, name: str, seller: str | None) -> Explanation:
        """How `match` comes to its answer. Raises DatabaseUnavailable."""
        index = await self.index()
        if index is None:
            raise DatabaseUnavailable
        return index.explain(name, seller)

    async def index(self) -> ModelIndex | None:
        """The index of all names, as the price table has them now; None if that cannot be told."""
        with contextlib.suppress(DatabaseUnavailable):
            names = await self._table.names()
            by_hand = self._manual.names() if self._manual is not None else ()
            return await self._index.of(
                names, by_hand, make=lambda: asyncio.to_thread(self._make, names, by_hand)
            )
        return await self._index.newest()

    def _make(self, names: NameIndex, by_hand: Sequence[Name]) -> ModelIndex:
        if self._clauses is None:
            self._clauses = ClauseIndex(self._catalog.clauses())
        standings = _merged(
            names.standings, self._catalog.standings(), dict.fromkeys(by_hand, Standing.PRICED)
        )
        unpriced = {
            name: standing
            for name, standing in standings.items()
            if standing is not Standing.PRICED
        }
        return model_index(standings, self._clauses, standings=unpriced)


def _merged(
    listed: Mapping[Name, Standing], *below: Mapping[Name, Standing]
) -> dict[Name, Standing]:
    """The standings of all names: a price of a layer below serves where the table has none."""
    merged = dict(listed)
    for layer in below:
        for name, standing in layer.items():
            known = merged.setdefault(name, standing)
            if standing.has_price and not known.has_price:
                merged[name] = known.with_price
    return merged
