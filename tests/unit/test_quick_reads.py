"""Reads of the price table: no look-up waits for a database that is known to be down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import pytest
from structlog.testing import capture_logs

from llmpricing.matching import Standing
from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.domain.head import Head
from pricing_server.domain.price import Name, Price, When
from pricing_server.runtime.breaker import Breaker, quick_read

BOUND = 0.2
PROBE = 0.005
AT_ONCE = 0.1
HEAD = Head(1, "epoch")


class Database:
    """A PriceReader that answers, fails, hangs, or hangs whatever is done to it."""

    def __init__(self) -> None:
        self.is_down = False
        self.is_frozen = False
        self.heeds_cancellation = True
        self.defect: Exception | None = None
        self.finds = 0
        self.probes = 0
        self.thawed = asyncio.Event()
        self.breaker = Breaker(self._read_head, answer_seconds=BOUND, probe_seconds=PROBE)

    @quick_read
    async def find(self, model_id: str, provider: str | None) -> tuple[Head, Sequence[Price]]:
        self.finds += 1
        await self._answer()
        return HEAD, []

    @quick_read
    async def find_many(
        self,
        names: Sequence[Name],
        reference_provider: str,
        needs_reference: Callable[[Sequence[Price]], Price | None],
    ) -> tuple[Head, Sequence[Sequence[Price]], Mapping[Name, Sequence[Price]]]:
        await self._answer()
        return HEAD, [[] for _ in names], {}

    @quick_read
    async def find_at(
        self, asked: Sequence[tuple[Name, When]], revision: int | None = None
    ) -> Sequence[tuple[Head, Sequence[Price]]]:
        await self._answer()
        return [(HEAD, []) for _ in asked]

    @quick_read
    async def find_references(
        self, model_id: str, provider: str, reference_provider: str
    ) -> tuple[Head, Price | None, Sequence[Price]]:
        await self._answer()
        return HEAD, None, []

    @quick_read
    async def names(self) -> Mapping[tuple[str, str], Standing]:
        await self._answer()
        return {("acme", "m"): Standing.PRICED}

    @quick_read
    async def head(self) -> Head:
        return await self._read_head()

    async def _read_head(self) -> Head:
        self.probes += 1
        await self._answer()
        return HEAD

    def thaw(self) -> None:
        self.is_frozen = False
        self.thawed.set()

    async def _answer(self) -> None:
        while self.is_frozen:
            try:
                await self.thawed.wait()
            except asyncio.CancelledError:
                if self.heeds_cancellation:
                    raise
        if self.defect is not None:
            raise self.defect
        if self.is_down:
            raise DatabaseUnavailable


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    database = Database()
    yield database
    await database.breaker.aclose()
    database.thaw()
    await asyncio.sleep(0)


async def refused(ask: Callable[[], Awaitable[object]]) -> float:
    """The seconds until the call failed with DatabaseUnavailable."""
    began = time.perf_counter()
    with pytest.raises(DatabaseUnavailable):
        await ask()
    return time.perf_counter() - began


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # There is nothing to wait on, by design.
            await asyncio.sleep(0.001)


def find(database: Database) -> Callable[[], Awaitable[object]]:
    return lambda: database.find("m", None)


def every_call(database: Database) -> Sequence[Callable[[], Awaitable[object]]]:
    return (
        find(database),
        database.names,
        database.head,
        lambda: database.find_references("m", "a", "b"),
    )


# Up.


async def test_a_database_that_answers_is_passed_through(database: Database) -> None:
    assert await database.find("m", None) == (HEAD, [])
    assert await database.names() == {("acme", "m"): Standing.PRICED}
    assert await database.head() == HEAD
    assert await database.find_references("m", "a", "b") == (HEAD, None, [])
    assert not database.breaker.is_down
    assert database.probes == 1, "the call that asked for it, and no probe"


async def test_a_defect_of_ours_is_not_the_database_being_down(database: Database) -> None:
    database.defect = KeyError("a column")
    with pytest.raises(KeyError):
        await database.find("m", None)
    assert not database.breaker.is_down


async def test_a_caller_that_goes_away_does_not_declare_it_down(database: Database) -> None:
    database.is_frozen = True
    caller = asyncio.create_task(database.find("m", None))
    await until(lambda: database.finds == 1)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not database.breaker.is_down


# Going down.


@pytest.mark.parametrize("number", range(4))
async def test_the_first_call_that_fails_declares_it_down_for_all(
    database: Database, number: int
) -> None:
    database.is_down = True
    await refused(every_call(database)[number])
    assert database.breaker.is_down
    finds = database.finds
    for ask in every_call(database):
        assert await refused(ask) < AT_ONCE
    assert database.finds == finds


async def test_the_first_call_that_is_late_declares_it_down_at_the_bound(
    database: Database,
) -> None:
    database.is_frozen = True
    assert BOUND * 0.9 < await refused(find(database)) < BOUND * 4
    assert database.breaker.is_down


async def test_no_call_reaches_or_waits_for_a_database_known_to_be_down(database: Database) -> None:
    database.is_frozen = True
    await refused(find(database))
    finds = database.finds
    took = await asyncio.gather(*(refused(find(database)) for _ in range(500)))
    assert max(took) < AT_ONCE
    assert database.finds == finds


async def test_callers_of_one_moment_all_fail_within_one_bound(database: Database) -> None:
    database.is_frozen = True
    took = await asyncio.gather(*(refused(find(database)) for _ in range(200)))
    assert max(took) < BOUND * 4


async def test_it_is_told_once_that_it_went_down_and_once_that_it_came_back(
    database: Database,
) -> None:
    with capture_logs() as logged:
        database.is_down = True
        await asyncio.gather(*(refused(find(database)) for _ in range(50)))
        await until(lambda: database.probes > 3)
        database.is_down = False
        await until(lambda: not database.breaker.is_down)
    assert [entry["event"] for entry in logged] == ["database.down", "database.up"]


async def test_a_database_that_ignores_cancellation_holds_nobody_beyond_the_bound(
    database: Database,
) -> None:
    database.is_frozen, database.heeds_cancellation = True, False
    assert await refused(find(database)) < BOUND * 4
    for ask in every_call(database):
        assert await refused(ask) < AT_ONCE
    began = time.perf_counter()
    await database.breaker.aclose()
    assert time.perf_counter() - began < BOUND * 4, "nor the end of the process"


async def test_a_call_that_ends_with_the_thaw_after_its_caller_left_harms_nobody(
    database: Database,
) -> None:
    database.is_frozen, database.heeds_cancellation = True, False
    await refused(find(database))
    database.is_down = True  # What the driver makes of a connection that was cut meanwhile.
    database.thaw()
    await asyncio.sleep(PROBE * 2)
    database.is_down = False
    await until(lambda: not database.breaker.is_down)
    assert await database.find("m", None) == (HEAD, [])


# Coming back.


async def test_the_probe_lets_calls_through_again_without_a_call(database: Database) -> None:
    database.is_down = True
    await refused(find(database))
    database.is_down = False
    await until(lambda: not database.breaker.is_down)
    assert await database.find("m", None) == (HEAD, [])


async def test_a_thawed_database_is_seen_within_a_bound_and_a_pause(database: Database) -> None:
    database.is_frozen, database.heeds_cancellation = True, False
    await refused(find(database))
    database.thaw()
    async with asyncio.timeout((BOUND + PROBE) * 4):
        await until(lambda: not database.breaker.is_down)


async def test_one_probe_asks_at_a_time_and_not_without_a_pause(database: Database) -> None:
    database.is_down = True
    await asyncio.gather(*(refused(find(database)) for _ in range(50)))
    database.probes = 0
    await asyncio.sleep(PROBE * 10)
    assert 1 <= database.probes <= 11


async def test_it_goes_down_and_comes_back_any_number_of_times(database: Database) -> None:
    for _ in range(5):
        database.is_down = True
        await refused(find(database))
        database.is_down = False
        await until(lambda: not database.breaker.is_down)
        await database.find("m", None)


async def test_a_probe_that_meets_a_defect_asks_again(database: Database) -> None:
    # Such as a database that came back before its schema.
    database.is_down = True
    await refused(find(database))
    database.defect = AssertionError("the head always exists")
    probes = database.probes
    await until(lambda: database.probes > probes)
    await asyncio.sleep(PROBE * 2)
    database.defect, database.is_down = None, False
    async with asyncio.timeout(1):
        await until(lambda: not database.breaker.is_down)


async def test_a_closed_breaker_probes_no_more(database: Database) -> None:
    database.is_down = True
    await refused(find(database))
    await database.breaker.aclose()
    probes = database.probes
    await asyncio.sleep(PROBE * 4)
    assert database.probes == probes
    await database.breaker.aclose()
