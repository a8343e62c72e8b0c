"""Held changes: what the guard found suspicious, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self

from llmpricing.meters import Meter
from llmpricing.rate_card import RateCard
from pricing_server.domain.price_change import ADMIN, ChangeOrigin, OriginKind, PriceChange


class HoldReason(StrEnum):
    """Which rule of the guard a stated price has broken."""

    RATIO_TO_PAST = "ratio_to_past"
    RATIO_TO_OTHER_SOURCE = "ratio_to_other_source"
    FEED_SHIFTED = "feed_shifted"
    FEW_REFERENCES = "few_references"
    UNPROVEN_SOURCE = "unproven_source"
    FEED_SHRUNK = "feed_shrunk"
    IMPLAUSIBLE = "implausible"


FIRST_SYNC_REASONS = frozenset({HoldReason.FEW_REFERENCES, HoldReason.UNPROVEN_SOURCE})
"""That hold a source until somebody has approved it."""


class HoldStatus(StrEnum):
    """Where a held change stands."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    RELEASED = "released"


class HoldDecision(StrEnum):
    """What an admin decides on a held change."""

    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class HoldEvidence:
    """One number that the guard compared. Prices are USD per one of the meter."""

    meter: Meter | None
    """None where models were counted."""
    ratio: Decimal
    """stated / reference to 6 digits; of a feed the median of its models' ratios, or how
    many it lists for each that it listed before."""
    references: int = 1
    """How many models were compared."""
    stated: Decimal | None = None
    """None for a feed, as the two below."""
    reference: Decimal | None = None
    reference_source: str = ""
    """Empty for a feed, and where the reference is a bound of what models cost."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A rule that was broken, with what was compared."""

    reason: HoldReason
    evidence: tuple[HoldEvidence, ...]


@dataclass(frozen=True, slots=True)
class PendingChange:
    """A held change, as the model's answer shows it."""

    held_change_id: int
    source: str
    reason: HoldReason
    card: RateCard
    held_since: datetime

    def to_document(self) -> dict[str, Any]:
        """It as plain JSON."""
        return {
            "held_change_id": self.held_change_id,
            "source": self.source,
            "reason": self.reason.value,
            "card": self.card.to_document(),
            "held_since": self.held_since.isoformat(),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_document` wrote. Raises ValueError or KeyError if it is not one."""
        return cls(
            held_change_id=document["held_change_id"],
            source=document["source"],
            reason=HoldReason(document["reason"]),
            card=RateCard.from_document(document["card"]),
            held_since=datetime.fromisoformat(document["held_since"]),
        )


@dataclass(frozen=True, slots=True)
class HeldChange:
    """One held change as it is stored: of a model, or of a whole feed."""

    held_change_id: int
    source: str
    provider: str
    """Empty for a feed, as the model's id."""
    model_id: str
    feed_id: int | None
    models: int
    reason: HoldReason
    evidence: Sequence[HoldEvidence]
    old: RateCard | None
    """In force meanwhile."""
    new: RateCard | None
    """None for a feed, whose models have cards of their own."""
    fragment: str
    status: HoldStatus
    held_since: datetime
    last_stated: datetime
    last_run_id: int
    resolved_at: datetime | None
    resolved_by: str
    note: str


@dataclass(frozen=True, slots=True)
class ResolveRequest:
    """What an admin asks to be done with a held change."""

    held_change_id: int
    decision: HoldDecision
    note: str = ""
    resolved_by: str = "grpc"
    actor: str = ADMIN

    @property
    def origin(self) -> ChangeOrigin:
        """Where the changes come from that an approval makes."""
        return ChangeOrigin(
            OriginKind.APPROVAL,
            self.actor,
            self.resolved_by,
            held_change_id=self.held_change_id,
        )


@dataclass(frozen=True, slots=True)
class ResolveOutcome:
    """A held change as it stands after the decision, and the prices that it changed."""

    held_change: HeldChange
    revision: int
    epoch: str
    changes: Sequence[PriceChange]
