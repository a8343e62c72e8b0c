"""Prices that admins set.

The rules (`resolution.py` has them as pure functions):

- An override is a quote of the source "override", which ranks before every other. A sync
  keeps the quotes beneath it up to date, and never touches it.
- It is taken as it was given: in force is its card, and no other within noise of it.
- It holds for the ids that its model covers (`coverage.py`), unless they have one of their own.
- It says nothing of whether its model is listed: a delisted one stays delisted.
- When it ends, the quote is in force that would be without it. Where no source states
  anything of the model, it stays registered, and its price is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from llmpricing.rate_card import RateCard
from pricing_server.price_change import ADMIN, SERVER, ChangeOrigin, OriginKind, PriceChange

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
    covered_model_ids: tuple[str, ...] = ()
    """Other listed ids of the seller for which it holds as well."""


class OverrideStore(Protocol):
    """Where overrides are kept. Each method raises DatabaseUnavailable."""

    async def set(self, request: OverrideRequest) -> OverrideOutcome:
        """Put a price in force. Raises InvalidArgument if it ends before it begins."""

    async def clear(self, request: ClearRequest) -> OverrideOutcome:
        """End an override. Raises OverrideNotFound."""
