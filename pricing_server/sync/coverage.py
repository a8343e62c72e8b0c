"""Ids that a source states without listing them: by a clause or an alias that covers them.

A source that has an id under another one states its price all the same. So for each id that
anybody lists it is looked for among the ids that every source covers; what such a source states
of the covering id is then its quote of the covered one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeAlias

from pricing_server.domain.names import ModelName
from pricing_server.domain.quote import Covered
from pricing_server.sync.table_state import TableState

Covers: TypeAlias = Callable[[str, str], Covered | None]
"""By (provider, model id) how a source states an id that it does not list; None if it does not."""

NOTHING_COVERED: Final[Mapping[str, Covers]] = MappingProxyType({})


def with_coverage(
    state: TableState, listed: Collection[ModelName], source: str, covers: Mapping[str, Covers]
) -> TableState:
    """The state with what sources, by slug, cover of the ids that a source lists or may cover."""
    found: dict[ModelName, tuple[Covered, ...]] = {}
    for key in listed:
        new = tuple(
            covered
            for slug, look in covers.items()
            if slug != source and (covered := _new(state, key, slug, look)) is not None
        )
        if new:
            found[key] = new
    own: dict[ModelName, Covered] = {}
    if (look := covers.get(source)) is not None:
        for key in state.models.keys() - set(listed):
            covered = look(*key)
            if covered is not None and _states(state, listed, source, key, covered):
                own[key] = covered
    return replace(state, covered=found, covers=own)


def _new(state: TableState, key: ModelName, source: str, look: Covers) -> Covered | None:
    """How another source covers an id of which the table has no quote of it that stands."""
    model = state.models.get(key)
    quotes = state.quotes.get(model.model_key, ()) if model is not None else ()
    if any(quote.source == source and quote.is_listed for quote in quotes):
        return None
    covered = look(*key)
    if covered is None:
        return None
    stated = state.quote_by(source, (key[0], covered.stated_as))
    return covered if stated is not None and stated.is_listed else None


def _states(
    state: TableState, listed: Collection[ModelName], source: str, key: ModelName, covered: Covered
) -> bool:
    covering = (key[0], covered.stated_as)
    return covering in listed or state.quote_by(source, covering) is not None
