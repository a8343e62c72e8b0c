"""Runs syncs and reverts, detached from their callers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from logging import DEBUG, INFO, WARNING
from typing import Any, Final, TypeVar

import structlog

from pricing_server.domain.errors import (
    DatabaseUnavailable,
    HeldChangeNotFound,
    HeldChangeNotOpen,
    KeyMissing,
    PricingError,
    RunNotRevertible,
    ShuttingDown,
    SourceNotFound,
    SyncRunNotFound,
)
from pricing_server.domain.fetch_errors import FetchError
from pricing_server.domain.head import Head
from pricing_server.domain.held_change import ResolveOutcome, ResolveRequest
from pricing_server.domain.payload import NotModified
from pricing_server.domain.revert import RevertOutcome, RevertRequest
from pricing_server.domain.source import KeyUse, Source
from pricing_server.domain.source_listing import Fault, SourceError
from pricing_server.domain.sync_run import SyncOutcome, SyncRequest, SyncStatus
from pricing_server.runtime.fault_points import FaultPoint, pass_fault_point
from pricing_server.sync.pages import JsonFetcher
from pricing_server.sync.source_reader import SourceReader, SourceSettings
from pricing_server.sync.sync_store import (
    AppliedPlan,
    Named,
    RunDeclaredDead,
    StartedRun,
    SyncSession,
    SyncStore,
)

T = TypeVar("T")

CANCEL_SECONDS: Final = 2
"""How long a cancelled run may take to record that it failed."""

_MISTAKES: Final = (HeldChangeNotFound, HeldChangeNotOpen, RunNotRevertible, SyncRunNotFound)
"""Mistakes in a request that only the database can find: there was nothing to do."""

log = structlog.get_logger(__name__)


class SyncRunner:
    """Runs syncs and reverts as tasks of their own: a caller that goes away does not stop them.

    `committed(head)` is called before the caller gets the outcome of a task that applied
    anything, so that the process serves the new prices by then.
    """

    def __init__(
        self,
        store: SyncStore,
        fetcher: JsonFetcher,
        settings: SourceSettings,
        sources: Mapping[str, Source],
        committed: Callable[[Head], None],
    ) -> None:
        self._store = store
        self._reader = SourceReader(fetcher, settings)
        self._settings = settings
        self._sources = sources
        self._committed = committed
        self._tasks: set[asyncio.Task[Any]] = set()
        self._scheduled: set[asyncio.Task[Any]] = set()
        self._draining = False

    async def sync(self, request: SyncRequest) -> SyncOutcome:
        """Run a sync and wait for its outcome.

        Raises SourceNotFound, KeyMissing, SyncInProgress, DatabaseUnavailable or
        ShuttingDown when no run took place; a scheduled one also RunOvertaken. A run that
        took place and failed is an outcome.
        """
        source = self._sources.get(request.source)
        if source is None:
            raise SourceNotFound(request.source, sorted(self._sources))
        if source.key_use is KeyUse.REQUIRED and self._settings.key_of(source) is None:
            raise KeyMissing(source.slug, source.key_variable)
        work = self._run(source, request)
        return await self._detached(work, f"sync {source.slug}", request.is_scheduled)

    async def revert(self, request: RevertRequest) -> RevertOutcome:
        """Restore the prices before a run and wait for the outcome.

        Raises SyncRunNotFound, RunNotRevertible, DatabaseUnavailable or ShuttingDown.
        """
        return await self._detached(self._revert(request), f"revert {request.sync_run_id}")

    async def resolve(self, request: ResolveRequest) -> ResolveOutcome:
        """Decide on a held change and wait for the outcome.

        Raises HeldChangeNotFound, HeldChangeNotOpen, DatabaseUnavailable or ShuttingDown.
        """
        return await self._detached(self._resolve(request), f"resolve {request.held_change_id}")

    async def drain(self, grace_seconds: float) -> None:
        """Take no new runs, and give those under way some time before they are cancelled.

        Scheduled runs are cancelled at once: the next process makes up for them.
        """
        self._draining = True
        for task in self._scheduled:
            task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=grace_seconds)
            for task in late:
                task.cancel()
            if late:
                # Not for long: any process finds a run dead that could not record its failure.
                await asyncio.wait(late, timeout=CANCEL_SECONDS)

    async def _detached(
        self, work: Coroutine[Any, Any, T], name: str, is_scheduled: bool = False
    ) -> T:
        if self._draining:
            work.close()
            raise ShuttingDown("the server is shutting down and starts no sync")
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        if is_scheduled:
            self._scheduled.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        is_scheduled = task in self._scheduled
        self._scheduled.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        # The scheduler logs its own runs itself.
        if not is_scheduled and not isinstance(error, _MISTAKES):
            # The caller may be gone; then only the log shows it.
            reason = str(error) if isinstance(error, PricingError) else type(error).__name__
            log.warning("sync.not_run", task=task.get_name(), error=reason)

    async def _revert(self, request: RevertRequest) -> RevertOutcome:
        outcome = await self._store.revert(request)
        if outcome.is_written:
            # Even if no price changed: one in force may be unconfirmed now.
            self._committed(Head(outcome.revision, outcome.epoch))
        log.info(
            "sync.reverted",
            run=request.sync_run_id,
            dry_run=request.dry_run,
            revision=outcome.revision,
            models_reverted=len(outcome.changes),
            models_refused=len(outcome.refused),
            quotes_unconfirmed=outcome.unconfirmed,
        )
        return outcome

    async def _resolve(self, request: ResolveRequest) -> ResolveOutcome:
        outcome = await self._store.resolve(request)
        # Even if no price changed: a pending change of the model is gone.
        self._committed(Head(outcome.revision, outcome.epoch))
        log.info(
            "held_change.resolved",
            held_change=request.held_change_id,
            decision=request.decision.value,
            resolved_by=request.resolved_by,
            revision=outcome.revision,
            changes=len(outcome.changes),
        )
        return outcome

    async def _run(self, source: Source, request: SyncRequest) -> SyncOutcome:
        started_at = datetime.now(UTC)
        async with self._store.session(source) as session:
            run = None
            if not request.dry_run:
                run = await session.start(request.origin, request.newest_run_id)
                pass_fault_point(FaultPoint.AFTER_START)
                started_at = run.started_at
            level = DEBUG if request.is_scheduled else INFO
            log.log(level, "sync.started", source=source.slug, run=run and run.sync_run_id)
            try:
                if run is None:
                    listing = (await self._reader.read(source)).listing
                    pass_fault_point(FaultPoint.AFTER_FETCH)
                    applied = await session.preview(
                        listing, request.origin, register_unknown=request.register_unknown
                    )
                    faults = listing.faults
                else:
                    applied, faults = await self._apply(session, source, request, run)
                    self._committed(Head(applied.revision, applied.epoch))
            except (FetchError, SourceError, RunDeclaredDead) as error:
                return await self._failed(session, source, request, run, started_at, str(error))
            except asyncio.CancelledError:
                if run is not None:
                    with suppress(RunDeclaredDead, DatabaseUnavailable):
                        await session.fail(run, "the server was shut down during the sync")
                raise
            except Exception as error:
                return await self._broken(session, source, request, run, started_at, error)
        outcome = SyncOutcome(
            source=source.slug,
            status=SyncStatus.SUCCESS,
            dry_run=request.dry_run,
            started_at=started_at,
            completed_at=applied.completed_at,
            revision=applied.revision,
            epoch=applied.epoch,
            sync_run_id=run.sync_run_id if run else None,
            counts=applied.plan.counts,
            changes=applied.plan.changes,
            faults=faults,
            notices=applied.plan.notices,
        )
        log.info(
            "sync.succeeded",
            source=source.slug,
            run=outcome.sync_run_id,
            dry_run=request.dry_run,
            revision=outcome.revision,
            **outcome.counts,
        )
        return outcome

    async def _apply(
        self, session: SyncSession, source: Source, request: SyncRequest, run: StartedRun
    ) -> tuple[AppliedPlan, tuple[Fault, ...]]:
        """Apply what the source states, or confirm it if the source says that nothing changed."""
        asked = self._reader.asked(source)
        last = await session.last_answer(asked) if source.release is None else None
        if last is not None:
            answer = await self._reader.read_unless(source, last.validators)
            if isinstance(answer, NotModified):
                pass_fault_point(FaultPoint.AFTER_FETCH)
                confirmed = await session.confirm(run, last, answer)
                if confirmed is not None:
                    return confirmed, ()
                answer = await self._reader.read(source)
        else:
            answer = await self._reader.read(source)
        pass_fault_point(FaultPoint.AFTER_FETCH)
        applied = await session.apply(
            run,
            answer.listing,
            register_unknown=request.register_unknown,
            named=Named(asked, answer.validators),
        )
        return applied, answer.listing.faults

    async def _broken(
        self,
        session: SyncSession,
        source: Source,
        request: SyncRequest,
        run: StartedRun | None,
        started_at: datetime,
        error: Exception,
    ) -> SyncOutcome:
        """A fault that is not the source's: its cause is only in the log."""
        if isinstance(error, PricingError) and run is None:
            raise error
        reference = uuid.uuid4().hex[:12]
        log.error("sync.broken", source=source.slug, reference=reference, exc_info=error)
        message = (
            str(error)
            if isinstance(error, PricingError)
            else f"internal fault, reference {reference} in the server's log"
        )
        return await self._failed(session, source, request, run, started_at, message)

    async def _failed(
        self,
        session: SyncSession,
        source: Source,
        request: SyncRequest,
        run: StartedRun | None,
        started_at: datetime,
        message: str,
    ) -> SyncOutcome:
        completed_at = datetime.now(UTC)
        revision, epoch = 0, ""
        try:
            if run is not None:
                try:
                    completed_at = await session.fail(run, message)
                except RunDeclaredDead as error:
                    message = str(error)
            revision, epoch = await session.head()
        except Exception as error:
            # The row stays in progress until the next run of the source closes it.
            log.error(
                "sync.outcome_not_logged",
                source=source.slug,
                run=run and run.sync_run_id,
                exc_info=None if isinstance(error, PricingError) else error,
            )
        # A source that is down would fill the log; the scheduler reports its own runs.
        log.log(
            DEBUG if request.is_scheduled else WARNING,
            "sync.failed",
            source=source.slug,
            run=run and run.sync_run_id,
            dry_run=request.dry_run,
            error=message,
        )
        return SyncOutcome(
            source=source.slug,
            status=SyncStatus.FAILED,
            dry_run=request.dry_run,
            started_at=started_at,
            completed_at=completed_at,
            revision=revision,
            epoch=epoch,
            sync_run_id=run.sync_run_id if run else None,
            error_message=message,
        )
