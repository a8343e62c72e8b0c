"""Prices that admins set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from llmpricing.rate_card import RateCard
from llmpricing.schedule import last_change
from pricing_server.domain.price_change import ADMIN, ChangeOrigin, OriginKind, PriceChange

OVERRIDE: Final = "override"
"""The source of prices that admins set. It ranks before all others and lists no model."""


def effective_since(source: str, card: RateCard, stated: datetime, at: datetime) -> datetime:
    """Since when what a card charges at an instant is in effect, if it was first `stated` then.

    The dates of its rates say so, but what is in force by somebody's decision is so since then.
    """
    since = last_change(card, at) or stated
    return max(since, stated) if source == OVERRIDE else since


@dataclass(frozen=True, slots=True)
class OverrideRequest:
    """A price as an admin gives it."""

    provider: str
    model_id: str
    card: RateCard
    """UNPRICED for a percent, until it is known of what."""
    statement: str
    """What was given, as JSON text: the evidence for the card."""
    reason: str
    set_by: str
    until: datetime | None = None
    replace_card: bool = False
    """Whether the card is the whole price; without it, other rates stay as sources state them."""
    percent: Decimal | None = None
    """Of every rate that sources state, in the place of a card."""
    register: bool = False
    """Whether the model may be one that nobody knows."""
    confirm: bool = False
    """Whether its price may be far off what is in force without it."""
    dry_run: bool = False
    actor: str = ADMIN

    @property
    def origin(self) -> ChangeOrigin:
        """Where the change comes from; the override has its id once it is stored."""
        return ChangeOrigin(OriginKind.OVERRIDE_SET, self.actor, self.set_by)


@dataclass(frozen=True, slots=True)
class ClearRequest:
    """An override to end, and who ends it."""

    provider: str
    model_id: str
    cleared_by: str
    dry_run: bool = False
    actor: str = ADMIN

    @property
    def origin(self) -> ChangeOrigin:
        """Where the change comes from, but for the id of the override."""
        return ChangeOrigin(OriginKind.OVERRIDE_CLEARED, self.actor, self.cleared_by)


class OverrideState(StrEnum):
    """Whether an override is in force."""

    IN_FORCE = "in_force"
    PAST = "past"


@dataclass(frozen=True, slots=True)
class OverrideEnd:
    """How an override ended: another one replaced it, it was cleared, or it reached its end."""

    origin: ChangeOrigin
    at: datetime


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """A price of an admin's that is, or was, in force."""

    override_id: int
    provider: str
    model_id: str
    card: RateCard
    """What it states; the price in force has other rates besides unless it replaces the card."""
    replace_card: bool
    reason: str
    set_by: str
    set_at: datetime
    until: datetime | None
    percent: Decimal | None = None
    """Of every rate that sources state; the card is what that came to when it was set."""
    end: OverrideEnd | None = None
    """None while it is in force."""

    @property
    def state(self) -> OverrideState:
        """Whether it is in force."""
        return OverrideState.IN_FORCE if self.end is None else OverrideState.PAST


@dataclass(frozen=True, slots=True)
class OverridePreview:
    """What setting or clearing an override would do."""

    old: RateCard | None
    """In force now; None if the model has no price yet."""
    old_sources: tuple[str, ...]
    """Who states each rate of it."""
    new: RateCard
    new_sources: tuple[str, ...]
    needs_confirm: bool
    at: datetime
    """When that was found."""


@dataclass(frozen=True, slots=True)
class OverrideOutcome:
    """What setting or clearing an override did, and the state of the price table after it."""

    revision: int
    epoch: str
    change: PriceChange | None
    """None if the price is the same."""
    price_override: PriceOverride | None = None
    """The one that was set; None after clearing, and in a dry run."""
    covered_model_ids: tuple[str, ...] = ()
    """Other listed ids of the seller for which it holds as well."""
    preview: OverridePreview | None = None
    """Set in a dry run, which wrote nothing."""
