"""What the price table said of many models at one state of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pricing_server.domain.head import Head
from pricing_server.domain.price import Key, Name, Price, When
from pricing_server.lookup.evaluated_price import EvaluatedPrice


@dataclass(frozen=True, slots=True)
class TableSnapshot:
    """Prices by key, at one head; None for a name that is not listed."""

    head: Head
    prices: Mapping[Key, EvaluatedPrice | None]
    past: Mapping[tuple[Name, When], tuple[Head, Sequence[Price]]] = field(default_factory=dict)
    """Prices of other times, by the name and seller they were found for."""


@dataclass(frozen=True, slots=True)
class TableRead:
    """What the price table said of one model, and the state that it said it at."""

    head: Head
    price: EvaluatedPrice | None
    """None if it does not list the model."""
    is_last_good: bool = False
    """Whether it said so before the database went down."""
