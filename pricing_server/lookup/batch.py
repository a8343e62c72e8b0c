"""What many look-ups need, read at once and at one state of the price table."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmpricing.matching import Match, NoMatch
from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.domain.price import Name, When
from pricing_server.lookup.matching.matcher import Matcher, later_matches
from pricing_server.lookup.price_query import PriceQuery
from pricing_server.lookup.price_table import PriceTable
from pricing_server.lookup.snapshot import TableSnapshot


@dataclass(frozen=True, slots=True)
class Batch:
    """What was read for a batch."""

    snapshot: TableSnapshot | None
    """None while the database is down."""
    matches: Mapping[Name, Match | NoMatch]
    """By name, as it was asked for."""


async def read_batch(table: PriceTable, matcher: Matcher, queries: Sequence[PriceQuery]) -> Batch:
    """Read what the queries, and the models that their names lead to, have in the price table."""
    matches = await _matches(matcher, queries)
    names: dict[Name, None] = {}
    past: list[tuple[Name, When]] = []
    for query in queries:
        if not query.reads_table:
            continue
        later = later_matches(matches[query.name])
        wanted: list[Name] = [query.name, *((each.provider, each.model_id) for each in later)]
        names |= dict.fromkeys(wanted)
        if query.when is not None:
            past += [(name, query.when) for name in wanted]
    min_revision = max((query.least_revision for query in queries), default=0)
    if names:
        with contextlib.suppress(DatabaseUnavailable):
            return Batch(await table.snapshot(list(names), past, min_revision), matches)
    return Batch(None, matches)


async def _matches(
    matcher: Matcher, queries: Sequence[PriceQuery]
) -> Mapping[Name, Match | NoMatch]:
    index = await matcher.index()
    names = dict.fromkeys(query.name for query in queries)
    if index is None:
        return dict.fromkeys(names, NoMatch())
    return {(seller, model_id): index.match(model_id, seller) for seller, model_id in names}
