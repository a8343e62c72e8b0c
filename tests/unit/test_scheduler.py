"""The scheduler begins what is due, goes on through faults, and stays quiet about them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from pricing_server.domain.errors import DatabaseUnavailable, SyncInProgress
from pricing_server.domain.price_change import SCHEDULER
from pricing_server.domain.source import Source, SourceEvidence
from pricing_server.domain.source_listing import Listing
from pricing_server.domain.source_log import SourceLog
from pricing_server.domain.sync_run import RunOvertaken, SyncOutcome, SyncRequest, SyncStatus
from pricing_server.scheduler.scheduler import MOST_AT_ONCE, LogsRead, Scheduler
from pricing_server.scheduler.sync_schedule import Schedule

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LONG_AGO = NOON - 1_000 * HOUR


def read(document: object, received_at: datetime) -> Listing:
    raise NotImplementedError


ACME = Source(
    "acme", "Acme", 100, read, SourceEvidence.RECORDED, "acme", "https://acme.test/models"
)
SOURCES = {slug: replace(ACME, slug=slug) for slug in ("acme", "best", "cheap", "dear")}


class Hourly:
    """What the operator set: every source each hour."""

    def url_of(self, source: Source) -> str | None:
        return source.endpoint

    def key_of(self, source: Source) -> str | None:
        return None

    def interval_of(self, source: Source) -> timedelta | None:
        return HOUR


def synced(source: str, at: datetime, run_id: int = 7) -> SourceLog:
    return SourceLog(source, run_id, at, good_started_at=at, good_obtained_at=at)


def outcome(status: SyncStatus, source: str = "acme") -> SyncOutcome:
    message = "no complete answer" if status is SyncStatus.FAILED else None
    return SyncOutcome(source, status, False, NOON, NOON, 1, "epoch", error_message=message)


@dataclass
class Log:
    """The log of all sources, by a clock that the test sets."""

    now: datetime = NOON
    logs: Mapping[str, SourceLog] = field(default_factory=dict)
    failure: Exception | None = None
    reads: int = 0
    has_read: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> LogsRead:
        self.reads += 1
        self.has_read.set()
        if self.failure is not None:
            raise self.failure
        return LogsRead(self.now, tuple(self.logs.values()))

    async def drop(self) -> None:
        """There is nothing to drop."""

    async def look(self) -> None:
        """Nobody watches."""

    async def read_again(self, times: int = 1) -> None:
        for _ in range(times):
            self.has_read.clear()
            await self.has_read.wait()


@dataclass
class Syncs:
    """Runs that end when they may, as `ends` says."""

    ends: Callable[[SyncRequest], SyncOutcome] = lambda _: outcome(SyncStatus.SUCCESS)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    begun: list[SyncRequest] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    async def sync(self, request: SyncRequest) -> SyncOutcome:
        self.begun.append(request)
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        try:
            await self.may_end.wait()
            return self.ends(request)
        finally:
            self.under_way -= 1


@asynccontextmanager
async def running(log: Log, syncs: Syncs) -> AsyncIterator[None]:
    """A scheduler that has been up since long before noon, and looks all the time."""
    schedule = Schedule(Hourly(), SOURCES, LONG_AGO)
    scheduler = Scheduler(schedule, log, syncs, log, look_seconds=0.001)
    now, log.now = log.now, LONG_AGO
    hidden, log.logs = log.logs, {}
    await scheduler.look()
    log.now, log.logs = now, hidden
    task = asyncio.create_task(scheduler.run())
    try:
        async with asyncio.timeout(10):
            await log.read_again(3)
            yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def raising(error: Exception) -> Callable[[SyncRequest], SyncOutcome]:
    def end(request: SyncRequest) -> SyncOutcome:
        raise error

    return end


async def test_what_is_due_is_begun_with_the_run_that_it_was_found_by() -> None:
    log = Log(logs={"acme": synced("acme", NOON - HOUR), "best": synced("best", NOON)})
    syncs = Syncs()
    async with running(log, syncs):
        assert syncs.begun == [
            SyncRequest("acme", triggered_by=SCHEDULER, newest_run_id=7, actor=SCHEDULER)
        ]


async def test_a_run_under_way_is_not_begun_again_however_often_the_log_is_read() -> None:
    log, syncs = Log(logs={"acme": synced("acme", LONG_AGO)}), Syncs()
    async with running(log, syncs):
        await log.read_again(5)
        assert len(syncs.begun) == 1


async def test_few_runs_are_under_way_at_once_and_the_longest_overdue_come_first() -> None:
    ages = {"acme": 2, "best": 4, "cheap": 3, "dear": 5}
    log = Log(logs={slug: synced(slug, NOON - age * HOUR) for slug, age in ages.items()})
    syncs = Syncs()
    async with running(log, syncs):
        assert [each.source for each in syncs.begun] == ["dear", "best"]
        syncs.may_end.set()
        while len(syncs.begun) < 4:
            await log.read_again()
    assert syncs.most_under_way == MOST_AT_ONCE


async def test_nothing_is_begun_in_the_first_seconds_of_a_process() -> None:
    log, syncs = Log(logs={"acme": synced("acme", LONG_AGO), "best": SourceLog("best")}), Syncs()
    scheduler = Scheduler(Schedule(Hourly(), SOURCES, LONG_AGO), log, syncs, log)
    # The database's clock counts, whatever the process believed.
    await scheduler.look()
    await asyncio.sleep(0)
    assert syncs.begun == []
    log.now += timedelta(seconds=9)
    await scheduler.look()
    await asyncio.sleep(0)
    assert syncs.begun == []


async def test_the_next_look_comes_when_the_next_source_is_due_or_sooner() -> None:
    log, syncs = Log(logs={"acme": synced("acme", NOON)}), Syncs()
    schedule = Schedule(Hourly(), SOURCES, LONG_AGO)
    scheduler = Scheduler(schedule, log, syncs, log, look_seconds=5)
    assert await scheduler.look() == 5
    due = schedule.next_due(log.logs["acme"])
    assert due is not None
    log.now = due - timedelta(seconds=2)
    assert await scheduler.look() == 2


@pytest.mark.parametrize("error", [RunOvertaken(), SyncInProgress("acme", 8)])
async def test_a_run_that_another_process_got_is_no_news(error: Exception) -> None:
    log, syncs = Log(logs={"acme": synced("acme", LONG_AGO)}), Syncs(raising(error))
    syncs.may_end.set()
    with capture_logs() as logged:
        async with running(log, syncs):
            await log.read_again(3)
    assert {each["log_level"] for each in logged} <= {"debug"}


async def test_of_failures_in_a_row_the_first_is_logged() -> None:
    failed = Syncs(lambda _: outcome(SyncStatus.FAILED))
    failed.may_end.set()
    for failures, expected in ((0, ["scheduler.sync_failed"]), (1, []), (20, [])):
        log = Log(logs={"acme": replace(synced("acme", LONG_AGO), failures_in_a_row=failures)})
        scheduler = Scheduler(Schedule(Hourly(), SOURCES, LONG_AGO), log, failed, log)
        with capture_logs() as logged:
            await scheduler._sync_now(log.logs["acme"])
        assert [each["event"] for each in logged] == expected


async def test_without_a_network_one_failure_is_logged_and_not_one_of_each_source() -> None:
    log, syncs = Log(), Syncs(lambda _: outcome(SyncStatus.FAILED))
    syncs.may_end.set()
    scheduler = Scheduler(Schedule(Hourly(), SOURCES, LONG_AGO), log, syncs, log)
    with capture_logs() as logged:
        for source in SOURCES:
            await scheduler._sync_now(SourceLog(source))
        syncs.ends = lambda _: outcome(SyncStatus.SUCCESS)
        await scheduler._sync_now(SourceLog("acme"))
        syncs.ends = lambda _: outcome(SyncStatus.FAILED)
        await scheduler._sync_now(SourceLog("best"))
    assert [each["source"] for each in logged] == ["acme", "best"]


@pytest.mark.parametrize("error", [DatabaseUnavailable(), RuntimeError("a defect")])
async def test_an_outage_is_logged_once_and_waited_out(error: Exception) -> None:
    log, syncs = Log(logs={"acme": synced("acme", NOON - HOUR)}), Syncs()
    with capture_logs() as logged:
        async with running(log, syncs):
            log.failure = error
            await log.read_again(5)
            log.failure = None
            await log.read_again(5)
    assert [each["event"] for each in logged] == ["scheduler.waits", "scheduler.resumed"]


async def test_a_defect_in_a_run_does_not_end_the_scheduler() -> None:
    log = Log(logs={"acme": synced("acme", NOON - HOUR)})
    syncs = Syncs(raising(RuntimeError("a defect")))
    syncs.may_end.set()
    with capture_logs() as logged:
        async with running(log, syncs):
            while len(syncs.begun) < 3:
                await log.read_again()
    assert {each["event"] for each in logged} == {"scheduler.broken"}


async def test_a_scheduler_that_is_stopped_waits_for_no_run() -> None:
    log, syncs = Log(logs={"acme": synced("acme", LONG_AGO)}), Syncs()
    async with running(log, syncs):
        assert syncs.under_way == 1
    # The run would never have ended.
    await asyncio.sleep(0)
    assert syncs.under_way == 0
