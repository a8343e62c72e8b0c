"""The part of the price table that a change of prices is planned against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState, RateCard
from pricing_server.providers.source import Listing, Source
from pricing_server.sync.held import HoldReason

MISSING_SYNCS_TO_DELIST: Final = 2

OVERRIDE: Final = "override"
"""The source of prices that admins set. It ranks before all others and lists no model."""

ModelName = tuple[str, str]
"""(provider, model id)."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model in the price table, and the card in force (None before its first price)."""

    model_key: int
    provider: str
    model_id: str
    is_active: bool
    card_id: str | None
    source: str | None

    @property
    def key(self) -> ModelName:
        """What makes it this model."""
        return self.provider, self.model_id


@dataclass(frozen=True, slots=True)
class Quote:
    """What one source states of one model."""

    source: str
    rank: int
    is_own_api: bool
    """Whether the source is the API of the model's seller."""
    card_id: str
    state: PriceState
    obtained_at: datetime
    missing_syncs: int = 0
    stated_since: datetime | None = None
    """When the source first stated the card, if that was before `obtained_at`."""

    @property
    def is_listed(self) -> bool:
        """Whether the source still lists the model."""
        return self.missing_syncs < MISSING_SYNCS_TO_DELIST

    @property
    def is_ended_override(self) -> bool:
        """Whether it is what is left of an override: no price, and nobody's statement."""
        return self.source == OVERRIDE and self.state is PriceState.UNPRICED


@dataclass(frozen=True, slots=True)
class OpenHold:
    """An open held change of a model, of the source that is synced."""

    held_change_id: int
    card_id: str
    feed_id: int | None
    obtained_at: datetime
    """When the data that first stated it was obtained."""


@dataclass(frozen=True, slots=True)
class OpenFeed:
    """The open held feed of the source that is synced."""

    held_change_id: int
    reason: HoldReason


@dataclass(frozen=True, slots=True)
class Rejection:
    """A decision that still binds: this card of the source is not to be asked about again."""

    held_change_id: int
    card_id: str


@dataclass(frozen=True, slots=True)
class StatedHold:
    """An open held change of a model with all that it takes to put it in force."""

    held_change_id: int
    source: str
    rank: int
    is_own_api: bool
    card: RateCard
    fragment: str
    obtained_at: datetime
    last_obtained_at: datetime
    last_run: int
    hugging_face_id: str | None = None
    canonical_slug: str | None = None
    alias_target: str | None = None
    context_length: int | None = None

    @property
    def quote(self) -> Quote:
        """What the source's quote becomes when it comes into force."""
        return Quote(
            source=self.source,
            rank=self.rank,
            is_own_api=self.is_own_api,
            card_id=self.card.card_id,
            state=self.card.state,
            obtained_at=self.last_obtained_at,
            stated_since=self.obtained_at,
        )


@dataclass(frozen=True, slots=True)
class Holds:
    """What is held now, as far as a listing may touch it."""

    feed: OpenFeed | None = None
    own: Mapping[ModelName, OpenHold] = field(default_factory=dict)
    rejected: Mapping[ModelName, Rejection] = field(default_factory=dict)
    others: Mapping[ModelName, tuple[StatedHold, ...]] = field(default_factory=dict)
    """Of other sources, and of no held feed: what is listed may confirm these."""


@dataclass(frozen=True, slots=True)
class TableState:
    """The part of the price table that a listing may touch."""

    models: Mapping[ModelName, KnownModel]
    quotes: Mapping[int, tuple[Quote, ...]]
    """By model key."""
    previous_obtained_at: datetime | None = None
    """When the data of the source's last successful sync was obtained."""
    is_first_sync: bool = False
    """Whether the source never stated a price that was applied, or waits for its approval."""
    holds: Holds = field(default_factory=Holds)
    other_sellers: Mapping[ModelName, Mapping[Meter, Decimal]] = field(default_factory=dict)
    """Of listed models that no source of the same seller has: the median of what other sellers
    charge for the same model, in USD per one."""

    def quotes_of(self, model: KnownModel) -> tuple[Quote, ...]:
        """The quotes of a model, in no particular order."""
        return self.quotes.get(model.model_key, ())


def cards_to_compare(state: TableState, listing: Listing, source: Source) -> set[str]:
    """The stored cards that `make_plan` needs in full: those of models with any difference."""
    needed: set[str] = set()
    listed = {model.key: model for model in listing.models}
    for key, model in state.models.items():
        quotes = state.quotes_of(model)
        own = next((quote for quote in quotes if quote.source == source.slug), None)
        stated = listed.get(key)
        if stated is None and own is None:
            continue
        card_ids = {quote.card_id for quote in quotes}
        if model.card_id is not None:
            card_ids.add(model.card_id)
        if stated is None or not model.is_active or card_ids != {stated.card.card_id}:
            needed |= card_ids
    for kept in (state.holds.own, state.holds.rejected):
        for key, hold in kept.items():
            stated = listed.get(key)
            if stated is not None and stated.card.card_id != hold.card_id:
                needed.add(hold.card_id)  # Perhaps the same price, but for binary noise.
    return needed
