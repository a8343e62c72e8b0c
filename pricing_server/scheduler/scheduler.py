"""Syncs each source when it is due, on whichever process comes first.

Every process reads the log of all sources and finds the same ones due. The lock of a source
admits one of them, and a run begins only if no other has begun since the log was read. So a
due sync takes place once, and if a process dies, another takes over. Nothing waits for the
scheduler: neither start nor stop nor look-ups.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from pricing_server.domain.errors import DatabaseUnavailable, PricingError
from pricing_server.domain.price_change import SCHEDULER
from pricing_server.domain.source_log import SourceLog
from pricing_server.domain.sync_run import RunOvertaken, SyncOutcome, SyncRequest, SyncStatus
from pricing_server.runtime.bounded import bounded
from pricing_server.scheduler.sync_schedule import Schedule

LOOK_SECONDS: Final = 5.0
"""How often, at least, the log is read for runs that other processes began or left."""

REFUSED_SECONDS: Final = 1.0
"""How long a source is left alone after another process was faster."""

ANSWER_SECONDS: Final = 10.0
MOST_AT_ONCE: Final = 2
"""Scheduled runs at a time in one process, so that look-ups and other syncs have room."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LogsRead:
    """What the log says about every registered source, and the database's time."""

    now: datetime
    logs: Sequence[SourceLog]


class ScheduleStore(Protocol):
    """Reads the log; each method may raise DatabaseUnavailable."""

    async def read(self) -> LogsRead:
        """The state of all sources."""

    async def drop(self) -> None:
        """Close the connection, if there is one; the next read opens another."""


class Watch(Protocol):
    """Checks the sources after each read, as the alerts do."""

    async def look(self) -> None:
        """Called after each read. May raise DatabaseUnavailable."""


class Syncs(Protocol):
    """Runs syncs; see `pricing_server.sync.runner`."""

    async def sync(self, request: SyncRequest) -> SyncOutcome:
        """Run one and wait for its outcome."""


class Scheduler:
    """Begins syncs of sources that are due, as long as it runs."""

    def __init__(
        self,
        schedule: Schedule,
        store: ScheduleStore,
        syncs: Syncs,
        watch: Watch,
        *,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._schedule = schedule
        self._store = store
        self._syncs = syncs
        self._watch = watch
        self._look_seconds = look_seconds
        self._running: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._ended = asyncio.Event()
        self._has_begun = False
        self._is_failing = False
        """Whether the run that ended last here failed, whatever its source."""

    async def run(self) -> None:
        """Look until cancelled; an outage of the database is logged once and waited out."""
        is_out = False
        try:
            while True:
                try:
                    pause = await bounded(self.look(), ANSWER_SECONDS)
                    if is_out:
                        log.info("scheduler.resumed")
                    is_out = False
                except Exception as error:
                    await self._store.drop()
                    if not is_out:
                        is_outage = isinstance(error, DatabaseUnavailable | TimeoutError)
                        # For a defect the log gets the cause; the scheduler goes on.
                        log.warning(
                            "scheduler.waits",
                            error=str(error) or type(error).__name__,
                            exc_info=None if is_outage else error,
                        )
                    is_out = True
                    pause = self._look_seconds
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), pause)
                self._ended.clear()
        finally:
            # The runs themselves belong to the runner, which ends them.
            for task in self._running.values():
                task.cancel()
            await self._store.drop()

    async def look(self) -> float:
        """Begin what is due; the result is in how many seconds to look again."""
        read = await self._store.read()
        if not self._has_begun:
            self._schedule.begin(read.now)
            self._has_begun = True
        await self._watch.look()
        due_times = {each.source: self._schedule.next_due(each) for each in read.logs}
        due = [each for each in read.logs if self._schedule.due(each, read.now)]
        for each in sorted(due, key=lambda each: due_times[each.source] or read.now):
            if each.source not in self._running:
                task = asyncio.create_task(self._sync(each), name=f"scheduled {each.source}")
                self._running[each.source] = task
        waiting = [
            due_time - read.now
            for source, due_time in due_times.items()
            if due_time is not None and source not in self._running and due_time > read.now
        ]
        soonest = min(waiting, default=timedelta.max)
        return min(self._look_seconds, soonest.total_seconds())

    async def _sync(self, found: SourceLog) -> None:
        try:
            async with self._places:
                await self._sync_now(found)
        finally:
            del self._running[found.source]
            self._ended.set()

    async def _sync_now(self, found: SourceLog) -> None:
        request = SyncRequest(
            found.source,
            triggered_by=SCHEDULER,
            newest_run_id=found.newest_run_id,
            actor=SCHEDULER,
        )
        try:
            outcome = await self._syncs.sync(request)
        except (RunOvertaken, PricingError) as error:
            # Another process has it, the database is down, or this process is about to end.
            log.debug("scheduler.not_run", source=found.source, error=str(error))
            await asyncio.sleep(REFUSED_SECONDS)
            return
        except Exception as error:
            log.error("scheduler.broken", source=found.source, exc_info=error)
            await asyncio.sleep(self._look_seconds)
            return
        was_failing, self._is_failing = self._is_failing, outcome.status is SyncStatus.FAILED
        if self._is_failing and not was_failing and found.failures_in_a_row == 0:
            # A machine without a network logs only this line. The sync log has all failures,
            # and in the end there is an alert.
            log.info(
                "scheduler.sync_failed",
                source=found.source,
                run=outcome.sync_run_id,
                error=outcome.error_message,
                hint="other failures right after it are in the sync log only",
            )
