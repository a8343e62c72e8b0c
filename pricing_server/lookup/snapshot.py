"""What the price table said of many models at one state of it, for a batch of look-ups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llmpricing.matching import Match, NoMatch
from pricing_server.lookup.price import Head, Key, Name, Price, When
from pricing_server.lookup.quote import Quote


@dataclass(frozen=True, slots=True)
class TableSnapshot:
    """Quotes by key, at one head; None for a name that is not listed."""

    head: Head
    quotes: Mapping[Key, Quote | None]
    past: Mapping[tuple[Name, When], tuple[Head, Sequence[Price]]] = field(default_factory=dict)
    """Prices of other times, by the name and seller they were found for."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What is looked up once for a batch."""

    snapshot: TableSnapshot | None
    """None while the database is down."""
    matches: Mapping[Name, Match | NoMatch]
    """Of each name, as it was asked for."""
