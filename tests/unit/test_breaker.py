"""One breaker for all who ask the database: look-ups, lists and the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.domain.price_change import PriceChange
from pricing_server.domain.sync_run import NO_COUNTS, SyncRun, SyncStatus
from pricing_server.history.audit import (
    AuditReader,
    ChangeCursor,
    ChangeFilter,
    ProviderCoverage,
    SourceHealth,
)
from pricing_server.postgres.readers.audit_reader import PostgresAuditReader
from pricing_server.postgres.readers.evidence_reader import PostgresEvidenceReader
from pricing_server.postgres.readers.held_reader import PostgresHeldReader
from pricing_server.postgres.readers.price_reader import PostgresPriceReader
from pricing_server.runtime.breaker import Breaker, is_behind_breaker, slow_read

PROBE = 0.001
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
RUN = SyncRun(
    1, "acme", SyncStatus.SUCCESS, "test", NOON, NOON, 0, NO_COUNTS, (), (), None, revision=1
)


class Log:
    """An AuditReader that answers, fails or hangs, and a probe of its database."""

    def __init__(self) -> None:
        self.breaker = Breaker(self.probe, answer_seconds=10, probe_seconds=PROBE)
        self.is_down = False
        self.is_slow = False
        self.asked = 0
        self.probes = 0
        self.may_probe = asyncio.Event()
        self.may_probe.set()

    @slow_read(10)
    async def run(self, sync_run_id: int) -> SyncRun | None:
        await self._answer()
        return RUN

    @slow_read(10)
    async def runs(self, source: str | None, before: int | None, limit: int) -> Sequence[SyncRun]:
        await self._answer()
        return [RUN]

    @slow_read(10)
    async def changes(
        self, criteria: ChangeFilter, before: ChangeCursor | None, limit: int
    ) -> Sequence[tuple[ChangeCursor, PriceChange]]:
        await self._answer()
        return []

    @slow_read(10)
    async def providers(self, after: str | None, limit: int) -> Sequence[ProviderCoverage]:
        await self._answer()
        return []

    @slow_read(10)
    async def sources(self) -> Sequence[SourceHealth]:
        await self._answer()
        return []

    async def look_up(self) -> SyncRun:
        """What others ask the same database."""
        await self._answer()
        return RUN

    async def probe(self) -> None:
        await self.may_probe.wait()
        self.probes += 1
        if self.is_down:
            raise DatabaseUnavailable

    async def _answer(self) -> None:
        self.asked += 1
        if self.is_slow:
            await asyncio.Event().wait()
        if self.is_down:
            raise DatabaseUnavailable


class HastyLog(Log):
    """Waits a moment only."""

    @slow_read(0.01)
    async def providers(self, after: str | None, limit: int) -> Sequence[ProviderCoverage]:
        await self._answer()
        return []


@pytest.fixture
async def log() -> AsyncIterator[Log]:
    log = Log()
    yield log
    await log.breaker.aclose()


@pytest.fixture
def breaker(log: Log) -> Breaker:
    return log.breaker


def every_call(reader: AuditReader) -> Sequence[Callable[[], Awaitable[object]]]:
    return (
        lambda: reader.run(1),
        lambda: reader.runs(None, None, 1),
        lambda: reader.changes(ChangeFilter(), None, 1),
        lambda: reader.providers(None, 1),
        reader.sources,
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # There is nothing to wait on, by design.
            await asyncio.sleep(0.001)


async def test_lists_and_the_log_pass_while_the_database_answers(
    log: Log, breaker: Breaker
) -> None:
    assert [await ask() for ask in every_call(log)] == [RUN, [RUN], [], [], []]
    assert (breaker.is_down, log.probes) == (False, 0)


async def test_nobody_asks_a_database_that_a_look_up_found_down(log: Log, breaker: Breaker) -> None:
    log.is_down = True
    with pytest.raises(DatabaseUnavailable):
        await breaker.ask(log.look_up)
    asked = log.asked
    for ask in every_call(log):
        with pytest.raises(DatabaseUnavailable):
            await ask()
    assert log.asked == asked
    log.is_down = False
    await until(lambda: not breaker.is_down)
    assert await log.run(1) == RUN


@pytest.mark.parametrize("number", range(5))
async def test_a_list_that_fails_has_the_probe_find_out(
    log: Log, breaker: Breaker, number: int
) -> None:
    log.is_down = True
    with pytest.raises(DatabaseUnavailable):
        await every_call(log)[number]()
    await until(lambda: breaker.is_down)


async def test_a_list_that_is_too_slow_does_not_shut_look_ups_out() -> None:
    log = HastyLog()
    log.is_slow = True
    log.may_probe.clear()
    with capture_logs() as logged:
        with pytest.raises(DatabaseUnavailable):
            await log.providers(None, 1_000)
        assert not log.breaker.is_down
        log.is_slow = False
        assert await log.breaker.ask(log.look_up) == RUN
        log.may_probe.set()
        await until(lambda: log.probes == 1)
    assert (log.breaker.is_down, logged) == (False, [])
    await log.breaker.aclose()


@pytest.mark.parametrize(
    "reader",
    [PostgresPriceReader, PostgresAuditReader, PostgresEvidenceReader, PostgresHeldReader],
)
def test_every_read_of_the_database_is_behind_the_breaker(reader: type) -> None:
    reads = {name: method for name, method in vars(reader).items() if not name.startswith("_")}
    assert reads
    for name, method in reads.items():
        assert is_behind_breaker(method), name


async def test_to_wait_for_a_turn_is_no_outage() -> None:
    async def probe() -> None:
        raise AssertionError("nothing failed")

    async def question() -> int:
        await asyncio.sleep(0.02)
        return 1

    breaker = Breaker(probe, answer_seconds=0.5, turns=1)
    # All of them take twice as long as one of them may.
    answers = await asyncio.gather(*(breaker.ask(question) for _ in range(50)))
    assert answers == [1] * 50
    assert not breaker.is_down


async def test_who_waits_for_a_turn_hears_of_an_outage_with_the_one_whose_turn_it_is() -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    breaker = Breaker(hangs, answer_seconds=0.05, probe_seconds=60, turns=1)
    asked = [breaker.ask(hangs) for _ in range(50)]
    async with asyncio.timeout(2):
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, DatabaseUnavailable) for answer in answers)
    await breaker.aclose()
