"""Leads names that nobody lists as they are to models that some layer lists."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from llmpricing.matching import (
    Explanation,
    Match,
    MatchRule,
    ModelIndex,
    Name,
    NoMatch,
    Standing,
)
from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.lookup.layers_below import LayersBelow
from pricing_server.lookup.matching.model_index import model_index
from pricing_server.lookup.name_index import NameIndex
from pricing_server.lookup.price_table import PriceTable
from pricing_server.runtime.single_flight import NewestValue

_EXACT_RULES: Final = frozenset(
    {MatchRule.EXACT, MatchRule.EXACT_AT_MAKER, MatchRule.EXACT_AT_SELLER}
)


class Matcher:
    """The rules of matching over the names of all layers. For one event loop.

    Without the price table's names there is no matching, since nobody knows then whether a
    seller lists other dates of a model. While the database is down, the last ones known serve.
    """

    def __init__(self, table: PriceTable, below: LayersBelow) -> None:
        self._table = table
        self._below = below
        self._index: NewestValue[ModelIndex] = NewestValue()

    async def match(self, seller: str | None, name: str) -> Match | NoMatch:
        """The model that a name leads to, at a seller if one is given."""
        index = await self.index()
        return index.match(name, seller) if index is not None else NoMatch()

    async def explain(self, name: str, seller: str | None) -> Explanation:
        """How `match` comes to its answer. Raises DatabaseUnavailable."""
        index = await self.index()
        if index is None:
            raise DatabaseUnavailable
        return index.explain(name, seller)

    async def index(self) -> ModelIndex | None:
        """The index of all names, as the price table has them now; None if it cannot be asked."""
        with contextlib.suppress(DatabaseUnavailable):
            names = await self._table.names()
            by_hand = self._below.names_by_hand()
            return await self._index.get(
                names, by_hand, make=lambda: asyncio.to_thread(self._make, names, by_hand)
            )
        return self._index.value

    def _make(self, names: NameIndex, by_hand: Sequence[Name]) -> ModelIndex:
        standings = _merged(
            names.standings,
            self._below.catalogue_standings(),
            dict.fromkeys(by_hand, Standing.PRICED),
        )
        unpriced = {
            name: standing
            for name, standing in standings.items()
            if standing is not Standing.PRICED
        }
        return model_index(standings, self._below.clause_index(), standings=unpriced)


def is_exact(match: Match) -> bool:
    """Whether the name is an id of the seller as it is."""
    return match.rule in _EXACT_RULES


def later_matches(match: Match | NoMatch) -> Iterator[Match]:
    """What later rules than the exact ones led to: the match, and what has no price before it."""
    if isinstance(match, Match):
        for found in (match, match.unpriced):
            if found is not None and not is_exact(found):
                yield found


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
