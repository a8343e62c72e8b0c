"""What is asked of a revert, and what it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pricing_server.domain.price_change import ADMIN, ChangeOrigin, OriginKind, PriceChange

CHANGED_SINCE: Final = "its price changed again after the run"


class RefusalReason(StrEnum):
    """Why a price is left as it is."""

    CHANGED_SINCE = "changed_since"
    BENEATH_OVERRIDE = "beneath_override"


@dataclass(frozen=True, slots=True)
class RevertRequest:
    """What a caller asks of a revert."""

    sync_run_id: int
    dry_run: bool = False
    triggered_by: str = "grpc"
    actor: str = ADMIN

    @property
    def origin(self) -> ChangeOrigin:
        """Where the changes come from that the revert makes."""
        return ChangeOrigin(
            OriginKind.REVERT, self.actor, self.triggered_by, reverted_run_id=self.sync_run_id
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """A model whose price is left as it is."""

    provider: str
    model_id: str
    revision: int
    """Of the later change that a revert would undo as well, else of the price in force."""
    reason: RefusalReason = RefusalReason.CHANGED_SINCE
    message: str = CHANGED_SINCE
    """One line for people: why, and what to do."""


@dataclass(frozen=True, slots=True)
class RevertOutcome:
    """What a revert did, or in a dry run would have done."""

    request: RevertRequest
    revision: int
    epoch: str
    changes: Sequence[PriceChange]
    refused: Sequence[Refused]
    unconfirmed: int = 0
    """How many quotes stay and are confirmed no more."""
    is_written: bool = False
    """Whether anything was written; never by a dry run."""
