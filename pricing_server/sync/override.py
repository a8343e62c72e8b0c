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

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from llmpricing.rate_card import RateCard
from pricing_server.price_change import PriceChange

ENDED: Final = "override_ended"
"""Who changes a price when an override ends by itself."""

BY_OVERRIDE: Final = re.compile(r"^(override:|clear_override:|override_ended$)")
"""Who changes a price when an override begins or ends, in Python and in Postgres."""


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

    @property
    def changed_by(self) -> str:
        """Who changes the price, as in the history."""
        return f"override:{self.set_by}"


@dataclass(frozen=True, slots=True)
class ClearRequest:
    """An override to end, and who ends it."""

    provider: str
    model_id: str
    cleared_by: str

    @property
    def changed_by(self) -> str:
        """Who changes the price, as in the history."""
        return f"clear_override:{self.cleared_by}"


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """A price of an admin's that is in force."""

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
