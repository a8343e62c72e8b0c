"""A price as the layers give it, and what look-ups need of the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from llmpricing.rate_card import RateCard


class Layer(StrEnum):
    """Where an answer comes from."""

    DATABASE = "database"
    MANUAL = "manual"
    CROSS_REFERENCE = "cross_reference"
    CATALOG = "catalog"
    OVERRIDE = "override"


@dataclass(frozen=True, slots=True)
class Head:
    """The state of the whole price table."""

    revision: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Price:
    """What one model costs at one seller, as one layer knows it."""

    provider: str
    model_id: str
    card: RateCard
    layer: Layer
    source: str
    """The source within the layer."""
    obtained_at: datetime
    """When the source's data was obtained."""
    effective_time: datetime
    """When the source's data first stated this card, as far as known."""
    is_listed: bool = True
    """Whether the source's latest data listed the model."""
    price_revision: int | None = None
    hugging_face_id: str | None = None
    alias_target: str | None = None
    delisted_at: datetime | None = None


class PriceReader(Protocol):
    """The price table. Every method raises DatabaseUnavailable when it cannot be asked."""

    async def find(self, model_id: str, provider: str | None) -> tuple[Head, Sequence[Price]]:
        """The prices of exactly this id, at one seller or at all, and the head they hold at."""

    async def names(self) -> Sequence[tuple[str, str]]:
        """(provider, model id) of every model."""
