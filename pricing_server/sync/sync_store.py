"""What the sync needs of the database."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pricing_server.domain.held_change import ResolveOutcome, ResolveRequest
from pricing_server.domain.payload import NotModified, Validators
from pricing_server.domain.price_change import ChangeOrigin
from pricing_server.domain.revert import RevertOutcome, RevertRequest
from pricing_server.domain.source import Source
from pricing_server.domain.source_listing import Listing
from pricing_server.sync.sync_plan import Plan


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
