"""Prices that admins set: what setting and ending one changes, as pure functions.

The rules:

- An override is a quote of the source "override", which ranks before every other. A sync
  keeps the quotes beneath it up to date, and never touches it.
- It is taken as it was given: in force is its card, and no other within noise of it.
- It says nothing of whether its model is listed: a delisted one stays delisted.
- When it ends, the quote is in force that would be without it. Where no source states
  anything of the model, it stays registered, and its price is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from llmpricing.rate_card import UNPRICED, RateCard
from pricing_server.price_change import (
    ADMIN,
    SERVER,
    ChangeKind,
    ChangeOrigin,
    OriginKind,
    PriceChange,
)
from pricing_server.sync.plan import OVERRIDE, KnownModel, Quote, precedence

ENDED: Final = ChangeOrigin(OriginKind.OVERRIDE_ENDED, SERVER)
"""Where a change comes from when an override ends by itself."""


@dataclass(frozen=True, slots=True)
class OverrideRequest:
    """A price as an admin gives it."""

    provider: str
    model_id: str
    card: RateCard
    statement: str
    """What was given, as JSON text: the evidence for the card."""
    reason: str
    set_by: str
    until: datetime | None = None
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
    actor: str = ADMIN

    @property
    def origin(self) -> ChangeOrigin:
        """Where the change comes from, but for the id of the override."""
        return ChangeOrigin(OriginKind.OVERRIDE_CLEARED, self.actor, self.cleared_by)


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """A price of an admin's that is in force."""

    override_id: int
    provider: str
    model_id: str
    card: RateCard
    reason: str
    set_by: str
    set_at: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class OverrideOutcome:
    """What setting or clearing an override did, and the state of the price table after it."""

    revision: int
    epoch: str
    change: PriceChange | None
    """None if the price is the same."""
    price_override: PriceOverride | None = None
    """The one that was set; None after clearing."""
    covered_model_ids: Sequence[str] = ()
    """Other listed ids of the model for which the one that was set holds, too."""


@dataclass(frozen=True, slots=True)
class EndPlan:
    """What the end of an override changes."""

    change: PriceChange | None
    """None if the price is the same without it."""
    source: str
    """That tells the price from now on."""


class OverrideStore(Protocol):
    """Where overrides are kept. Each method raises DatabaseUnavailable."""

    async def set(self, request: OverrideRequest) -> OverrideOutcome:
        """Put a price in force. Raises InvalidArgument if it ends before it begins."""

    async def clear(self, request: ClearRequest) -> OverrideOutcome:
        """End an override. Raises OverrideNotFound."""


def plan_set(
    model: KnownModel | None,
    in_force: RateCard | None,
    request: OverrideRequest,
    changed_at: datetime,
) -> PriceChange | None:
    """The change of price that an override makes; None if the same card is in force.

    `in_force` is the card of `model`, which is None for one that nobody has listed.
    """
    if in_force is not None and in_force.card_id == request.card.card_id:
        return None
    return PriceChange(
        kind=ChangeKind.ADDED if model is None or in_force is None else ChangeKind.CHANGED,
        provider=request.provider,
        model_id=request.model_id,
        old=in_force,
        new=request.card,
        source=OVERRIDE,
        effective_time=changed_at,
        changed_at=changed_at,
        origin=request.origin,
    )


def plan_end(
    model: KnownModel,
    in_force: RateCard,
    beneath: Sequence[Quote],
    cards: Mapping[str, RateCard],
    changed_at: datetime,
    origin: ChangeOrigin,
    ended_at: datetime,
) -> EndPlan:
    """What is in force once the override of `model` has ended; `cards` are those beneath.

    It holds from then on, whenever its source stated it: until then the override did.
    """
    card, source = UNPRICED, OVERRIDE
    if beneath:
        winner = min(beneath, key=precedence)
        card, source = cards[winner.card_id], winner.source
    if in_force.same_prices_as(card):
        return EndPlan(None, source)
    change = PriceChange(
        kind=ChangeKind.CHANGED,
        provider=model.provider,
        model_id=model.model_id,
        old=in_force,
        new=card,
        source=source,
        effective_time=ended_at,
        changed_at=changed_at,
        origin=origin,
    )
    return EndPlan(change, source)
