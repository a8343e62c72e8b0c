"""A price as a layer of a look-up gives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from llmpricing.rate_card import PriceState, RateCard
from pricing_server.domain.disagreement import Disagreement
from pricing_server.domain.head import Head
from pricing_server.domain.held_change import PendingChange
from pricing_server.domain.override import OVERRIDE


class Layer(StrEnum):
    """Where an answer comes from."""

    DATABASE = "database"
    MANUAL = "manual"
    CROSS_REFERENCE = "cross_reference"
    CATALOG = "catalog"
    OVERRIDE = "override"


Name: TypeAlias = tuple[str | None, str]
"""(seller or None for any, model id)."""

Key: TypeAlias = tuple[Layer, str | None, str]
"""(layer, seller or None, model id): what was asked of the price table."""


@dataclass(frozen=True, slots=True)
class When:
    """The two axes of time: in effect at `as_of`, by what was known at `known_at`."""

    as_of: datetime
    known_at: datetime | None = None
    """None is now."""


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
    is_confirmed: bool = True
    """Whether the source's latest data stated this card."""
    price_revision: int | None = None
    hugging_face_id: str | None = None
    alias_target: str | None = None
    delisted_at: datetime | None = None
    context_length: int | None = None
    """How many tokens of input and output it takes together."""
    retirement_time: datetime | None = None
    """When the seller stops serving it, as far as a source states."""
    retirement_source: str | None = None
    """Who states that."""
    successor: str | None = None
    """The model to move to, in the seller's naming."""
    stated_as: str | None = None
    """The id under which the source states it, if that is another id of the model."""
    rate_sources: tuple[str, ...] = ()
    """Who states each rate of the card; empty where it is all of `source`."""
    disagreements: tuple[Disagreement, ...] = ()
    """Where other sources state another price."""
    canonical_slug: str | None = None
    """Serves to find the same model at another seller; absent where it was not read."""
    detail: str | None = None
    """Text for people, instead of the source's name."""
    doubt: str | None = None
    """Why the source may no longer state this."""
    until: datetime | None = None
    """When an override ends by itself; None if it is open."""
    stated: Price | None = None
    """Set for an override: what the price table has without it; unpriced if it has nothing."""
    referred: tuple[str, str] | None = None
    """Set for a cross-reference: whose price it is, (provider, model id)."""
    pending: PendingChange | None = None
    """What a source states of the model now and the guard holds."""
    rejected_id: int | None = None
    """The held change by which somebody rejected what the source states instead."""
    superseded_at: datetime | None = None
    """Set for a price of the past: when the next one took its place."""

    @property
    def is_left(self) -> bool:
        """Whether nothing but an override that has ended ever priced the model. Nobody sells it
        by this name, as far as we know: the admin may have mistyped it."""
        return self.source == OVERRIDE and self.card.state is PriceState.UNPRICED

    @property
    def stated_by(self) -> tuple[str, ...]:
        """Who states each rate of the card."""
        return self.rate_sources or (self.source,) * len(self.card.rates)

    @property
    def without_override(self) -> Price:
        """What the price table has without an override."""
        return self if self.stated is None else self.stated

    def at(self, now: datetime) -> Price:
        """The price at an instant: an override that has reached its end does not count, even
        where its end is not written yet."""
        if self.until is None or now < self.until:
            return self
        return replace(self.without_override, effective_time=self.until)


@dataclass(frozen=True, slots=True)
class PricePage:
    """Prices by model, and the state of the price table that they were read at."""

    prices: Sequence[Price]
    head: Head
    next: int | None
    """The model key behind which the next page begins; None if this is the last."""
