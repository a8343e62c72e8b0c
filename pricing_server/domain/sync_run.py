"""Sync runs: what is asked of one, its row in the log, and its outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pricing_server.domain.price_change import ADMIN, ChangeOrigin, OriginKind, PriceChange
from pricing_server.domain.source_listing import Fault, Notice

COUNTS = (
    "models_fetched",
    "models_updated",
    "models_unchanged",
    "models_skipped",
    "models_registered",
    "models_missing",
    "models_held",
    "errors",
)
"""Names of a run's counts, in the log as in the contract."""

NO_COUNTS: Mapping[str, int] = dict.fromkeys(COUNTS, 0)


class SyncStatus(StrEnum):
    """Where a run stands."""

    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SyncRun:
    """One row of the sync log."""

    sync_run_id: int
    source: str
    status: SyncStatus
    triggered_by: str
    started_at: datetime
    completed_at: datetime | None
    duration_ms: int | None
    counts: Mapping[str, int]
    faults: Sequence[Fault]
    notices: Sequence[Notice]
    error_message: str | None
    revision: int | None


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """What a caller asks of a sync."""

    source: str
    dry_run: bool = False
    triggered_by: str = "grpc"
    register_unknown: bool = True
    newest_run_id: int | None = None
    """Of a scheduled run: the newest in the log that found the source due, 0 for none. The run
    is made only if no other of the source began after that one."""
    actor: str = ADMIN

    @property
    def origin(self) -> ChangeOrigin:
        """Where the changes come from that the run makes, but for its id."""
        return ChangeOrigin(OriginKind.SYNC, self.actor, self.triggered_by)

    @property
    def is_scheduled(self) -> bool:
        """Whether the scheduler asks: nobody waits for the run, and it is tried again anyway."""
        return self.newest_run_id is not None


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """What a run did, or in a dry run would have done."""

    source: str
    status: SyncStatus
    dry_run: bool
    started_at: datetime
    completed_at: datetime
    revision: int
    epoch: str
    sync_run_id: int | None = None
    counts: Mapping[str, int] = field(default_factory=lambda: NO_COUNTS)
    changes: Sequence[PriceChange] = ()
    faults: Sequence[Fault] = ()
    notices: Sequence[Notice] = ()
    error_message: str | None = None


class RunOvertaken(Exception):
    """Another run of the source began since it was found due, so that no run took place."""
