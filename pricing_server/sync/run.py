"""The outcome of sync runs, and what the sync needs of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from pricing_server.fetch import NotModified, Validators
from pricing_server.price_change import ADMIN, ChangeOrigin, OriginKind, PriceChange
from pricing_server.providers.source import Fault, Listing, Notice, Source
from pricing_server.sync.held import ResolveOutcome, ResolveRequest
from pricing_server.sync.plan import Plan
from pricing_server.sync.revert import RevertOutcome, RevertRequest

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


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A row of the log that is in progress."""

    sync_run_id: int
    started_at: datetime
    origin: ChangeOrigin
    """Of the changes that it makes."""


class RunDeclaredDead(Exception):
    """The run is no longer in progress: another process ended it. It can not commit any more."""

    def __init__(self, sync_run_id: int) -> None:
        super().__init__(
            f"sync run {sync_run_id} was declared dead while it ran, and changed nothing: "
            "its database session was lost, or it gave no sign of life in time"
        )


class RunOvertaken(Exception):
    """Another run of the source began since it was found due, so that no run took place."""


@dataclass(frozen=True, slots=True)
class AppliedPlan:
    """A committed (or, dry, only planned) listing and the state of the table after it."""

    plan: Plan
    revision: int
    epoch: str
    completed_at: datetime


@dataclass(frozen=True, slots=True)
class LastAnswer:
    """What names the state of a source's data as a run applied or confirmed it last."""

    sync_run_id: int
    validators: Validators


@dataclass(frozen=True, slots=True)
class Named:
    """What names the state of an answer: `asked` is the digest of what gave it."""

    asked: str
    validators: Validators | None


class SyncSession(Protocol):
    """One run's hold on a source: no other run of it anywhere until it ends."""

    async def head(self) -> tuple[int, str]:
        """Revision and epoch of the price table."""

    async def start(self, origin: ChangeOrigin, newest_run_id: int | None = None) -> StartedRun:
        """Write the row of the log. Raises RunOvertaken; see `SyncRequest.newest_run_id`."""

    async def preview(
        self, listing: Listing, origin: ChangeOrigin, *, register_unknown: bool
    ) -> AppliedPlan:
        """Plan a listing and write nothing."""

    async def last_answer(self, asked: str) -> LastAnswer | None:
        """What a 304 would confirm, if it could confirm anything."""

    async def apply(
        self,
        run: StartedRun,
        listing: Listing,
        *,
        register_unknown: bool,
        named: Named | None = None,
    ) -> AppliedPlan:
        """Apply a listing and finish the run, in one transaction: all of it or nothing.

        What names its state is kept if all of it was applied, else forgotten. Raises
        RunDeclaredDead if another process has meanwhile ended the run.
        """

    async def confirm(
        self, run: StartedRun, last: LastAnswer, answer: NotModified
    ) -> AppliedPlan | None:
        """Confirm everything that the last answer stated, and finish the run.

        None, and nothing is done, if it was changed since: then only a full answer will do.
        Raises RunDeclaredDead.
        """

    async def fail(self, run: StartedRun, message: str) -> datetime:
        """Move the run to failed; when it did. Raises RunDeclaredDead."""


class SyncStore(Protocol):
    """Where runs are made."""

    def session(self, source: Source) -> AbstractAsyncContextManager[SyncSession]:
        """Take hold of a source. Raises SyncInProgress if another run has it."""

    async def resolve(self, request: ResolveRequest) -> ResolveOutcome:
        """Decide on a held change. Raises HeldChangeNotFound, HeldChangeNotOpen."""

    async def revert(self, request: RevertRequest) -> RevertOutcome:
        """Restore the prices before a run. Raises SyncRunNotFound, RunNotRevertible."""
