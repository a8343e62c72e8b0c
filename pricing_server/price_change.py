"""One change of one model's price, as the audit trail and its readers see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from llmpricing.rate_card import RateCard


class ChangeKind(StrEnum):
    """What happened to a model's price."""

    ADDED = "added"
    CHANGED = "changed"
    DELISTED = "delisted"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A change from `old` (None for the first price) to `new`."""

    kind: ChangeKind
    provider: str
    model_id: str
    old: RateCard | None
    new: RateCard
    source: str
    effective_time: datetime
    """When the source's data first stated the new card."""
    changed_at: datetime
    changed_by: str
    sync_run_id: int | None = None
    revision: int | None = None
    """None while not committed, as in a dry run."""
