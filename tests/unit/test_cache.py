"""The cache of look-ups: nothing outlives its end, and nothing old comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_server.domain.head import Head
from pricing_server.lookup.price_cache import PriceCache

BEGIN = datetime(2026, 11, 20, 12, tzinfo=UTC)
ONE, TWO, THREE = (Head(revision, "epoch") for revision in (1, 2, 3))


@dataclass(frozen=True)
class Value:
    """What a test keeps in the cache."""

    name: str
    ends_at: datetime | None = None


class Time:
    """Both clocks of a cache, moved by hand."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.set_forward = 0.0

    def timer(self) -> float:
        return 1_000 + self.passed

    def clock(self) -> datetime:
        return BEGIN + timedelta(seconds=self.passed + self.set_forward)


class Loader:
    """A loader that answers when it is told to, and counts how often it was asked."""

    def __init__(self, head: Head = ONE, value: Value | None = None) -> None:
        self.answer: tuple[Head, Value | None] | Exception = (head, value)
        self.calls = 0
        self.open = asyncio.Event()

    async def __call__(self) -> tuple[Head, Value | None]:
        self.calls += 1
        await self.open.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


Cache = PriceCache[str, Value, str]
A, B = Value("a"), Value("b")


@pytest.fixture
def moment() -> Time:
    return Time()


@pytest.fixture
def cache(moment: Time) -> Cache:
    return new_cache(moment)


def new_cache(moment: Time, size: int = 100, unknown_size: int = 10) -> Cache:
    return PriceCache(
        size=size,
        unknown_size=unknown_size,
        ttl_seconds=300,
        ends_at=lambda value: value.ends_at,
        timer=moment.timer,
        clock=moment.clock,
    )


def loader(value: Value | None = A, head: Head = ONE) -> Loader:
    """One that answers at once."""
    ready = Loader(head, value)
    ready.open.set()
    return ready


async def started(cache: Cache, key: str, load: Loader) -> asyncio.Task[tuple[Head, Value | None]]:
    """A look-up that waits for its loader."""
    calls = load.calls
    task = asyncio.create_task(cache.load(key, load))
    for _ in range(10):
        await asyncio.sleep(0)
        if load.calls > calls:
            break
    return task


# How long a value holds.


async def test_a_found_value_is_kept_and_its_head_with_it(cache: Cache) -> None:
    assert cache.head is None
    assert cache.get("a") is None
    assert await cache.load("a", loader()) == (ONE, A)
    assert cache.get("a") == A
    assert cache.head == ONE


async def test_a_value_ends_with_the_ttl(cache: Cache, moment: Time) -> None:
    await cache.load("a", loader())
    moment.passed = 299.9
    assert cache.get("a") == A
    moment.passed = 300
    assert cache.get("a") is None


async def test_a_value_ends_at_its_own_end_if_that_is_earlier(cache: Cache, moment: Time) -> None:
    await cache.load("a", loader(replace(A, ends_at=BEGIN + timedelta(seconds=60))))
    moment.passed = 59.999
    assert cache.get("a") is not None
    moment.passed = 60
    assert cache.get("a") is None


async def test_a_value_whose_end_is_far_ends_with_the_ttl(cache: Cache, moment: Time) -> None:
    await cache.load("a", loader(replace(A, ends_at=BEGIN + timedelta(days=900))))
    moment.passed = 300
    assert cache.get("a") is None


async def test_a_value_that_has_ended_is_not_kept_at_all(cache: Cache) -> None:
    ended = replace(A, ends_at=BEGIN)
    assert await cache.load("a", loader(ended)) == (ONE, ended)
    assert cache.get("a") is None


async def test_the_end_of_a_value_counts_on_the_wall_clock_also_if_that_is_set(
    cache: Cache, moment: Time
) -> None:
    await cache.load("a", loader(replace(A, ends_at=BEGIN + timedelta(seconds=60))))
    moment.set_forward = 60
    assert cache.get("a") is None


# One load for all.


async def test_all_who_ask_at_one_time_share_one_load(cache: Cache) -> None:
    slow = Loader(ONE, A)
    tasks = [asyncio.create_task(cache.load("a", slow)) for _ in range(200)]
    await asyncio.sleep(0)
    slow.open.set()
    assert await asyncio.gather(*tasks) == [(ONE, A)] * 200
    assert slow.calls == 1


async def test_loads_of_different_keys_do_not_wait_for_each_other(cache: Cache) -> None:
    slow = Loader(ONE, A)
    waiting = await started(cache, "a", slow)
    assert await cache.load("b", loader(B)) == (ONE, B)
    slow.open.set()
    assert await waiting == (ONE, A)


async def test_a_load_that_ended_is_not_shared_any_more(cache: Cache) -> None:
    first, second = loader(None), loader(A)
    assert await cache.load("a", first) == (ONE, None)
    assert await cache.load("a", second) == (ONE, A)
    assert (first.calls, second.calls) == (1, 1)


async def test_whoever_goes_away_does_not_end_the_load_for_the_others(cache: Cache) -> None:
    slow = Loader(ONE, A)
    first = await started(cache, "a", slow)
    second = asyncio.create_task(cache.load("a", slow))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    slow.open.set()
    assert await second == (ONE, A)
    assert slow.calls == 1


async def test_a_load_that_everyone_left_still_fills_the_cache(cache: Cache) -> None:
    slow = Loader(ONE, A)
    only = await started(cache, "a", slow)
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    slow.open.set()
    await asyncio.sleep(0.001)
    assert cache.get("a") == A


async def test_an_error_reaches_all_who_wait_and_is_not_kept(cache: Cache) -> None:
    slow = Loader()
    slow.answer = OSError("down")
    tasks = [asyncio.create_task(cache.load("a", slow)) for _ in range(3)]
    await asyncio.sleep(0)
    slow.open.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(result) for result in results] == ["down"] * 3
    assert slow.calls == 1
    assert await cache.load("a", loader()) == (ONE, A)


@pytest.fixture
def complaints() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the event loop complains of, such as exceptions that nobody asked for."""
    found: list[dict[str, Any]] = []

    def watch() -> list[dict[str, Any]]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
        return found

    yield watch
    assert found == []


async def test_an_error_that_everyone_left_is_nobody_s(
    cache: Cache, complaints: Callable[[], list[dict[str, Any]]]
) -> None:
    found = complaints()
    slow = Loader()
    slow.answer = OSError("down")
    only = await started(cache, "a", slow)
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    slow.open.set()
    await asyncio.sleep(0.001)
    del only
    assert await cache.load("a", loader()) == (ONE, A)
    assert found == []


# Clearing.


async def test_a_clear_forgets_everything_and_tells_the_new_head(cache: Cache) -> None:
    await cache.load("a", loader())
    cache.remember_unknown("x", "unknown", ONE)
    cache.clear(TWO)
    assert (cache.get("a"), cache.unknown("x"), cache.head) == (None, None, TWO)


async def test_a_load_begun_before_a_clear_never_lands_after_it(cache: Cache) -> None:
    await cache.load("b", loader(B))
    slow = Loader(ONE, A)
    waiting = await started(cache, "a", slow)
    cache.clear(TWO)
    slow.open.set()
    assert await waiting == (ONE, A)
    assert cache.get("a") is None
    assert cache.head == TWO


async def test_whoever_asks_after_a_clear_is_not_given_what_was_loaded_before_it(
    cache: Cache,
) -> None:
    old, new = Loader(ONE, A), Loader(TWO, B)
    before = await started(cache, "a", old)
    cache.clear(TWO)
    after = await started(cache, "a", new)
    old.open.set()
    assert await before == (ONE, A)
    assert not after.done()
    new.open.set()
    assert await after == (TWO, B)
    assert (old.calls, new.calls) == (1, 1)
    assert cache.get("a") == B


async def test_an_old_load_that_ends_last_does_not_replace_what_is_new(cache: Cache) -> None:
    old, new = Loader(ONE, A), loader(B, TWO)
    before = await started(cache, "a", old)
    cache.clear(TWO)
    await cache.load("a", new)
    old.open.set()
    await before
    assert cache.get("a") == B
    again = Loader(TWO, B)
    pair = [await started(cache, "a", again), asyncio.create_task(cache.load("a", again))]
    await asyncio.sleep(0)
    again.open.set()
    await asyncio.gather(*pair)
    assert again.calls == 1, "still one load for all"


async def test_a_load_begun_before_a_clear_of_the_same_revision_does_not_land(
    cache: Cache,
) -> None:
    await cache.load("b", loader(B))
    slow = Loader(ONE, A)
    waiting = await started(cache, "a", slow)
    cache.clear(ONE)
    slow.open.set()
    await waiting
    assert cache.get("a") is None


async def test_a_load_that_sees_a_newer_table_clears_what_is_older(cache: Cache) -> None:
    await cache.load("a", loader(A, ONE))
    cache.remember_unknown("x", "unknown", ONE)
    await cache.load("b", loader(B, TWO))
    assert (cache.get("a"), cache.unknown("x"), cache.get("b")) == (None, None, B)
    assert cache.head == TWO


async def test_a_load_that_finds_nothing_tells_of_a_newer_table_too(cache: Cache) -> None:
    await cache.load("a", loader(A, ONE))
    await cache.load("b", loader(None, TWO))
    assert (cache.get("a"), cache.head) == (None, TWO)


async def test_an_older_head_never_comes_back(cache: Cache) -> None:
    cache.clear(THREE)
    await cache.load("a", loader(A, TWO))
    assert (cache.get("a"), cache.head) == (None, THREE)
    cache.clear(ONE)
    assert cache.head == THREE


async def test_another_epoch_is_another_table_whatever_its_revision(cache: Cache) -> None:
    await cache.load("a", loader(A, THREE))
    restored = Head(1, "another epoch")
    await cache.load("b", loader(B, restored))
    assert (cache.get("a"), cache.get("b"), cache.head) == (None, B, restored)


async def test_a_load_begun_in_the_epoch_before_never_lands_in_the_new_one(cache: Cache) -> None:
    await cache.load("b", loader(B, THREE))
    slow = Loader(THREE, A)
    waiting = await started(cache, "a", slow)
    restored = Head(1, "another epoch")
    cache.clear(restored)
    await cache.load("b", loader(B, restored))
    slow.open.set()
    await waiting
    assert cache.head == restored
    assert cache.get("a") is None
    assert cache.get("b") == B


# Unknown names.


async def test_an_unknown_key_is_remembered_until_the_ttl(cache: Cache, moment: Time) -> None:
    await cache.load("x", loader(None))
    cache.remember_unknown("x", "nobody knows", ONE)
    moment.passed = 299.9
    assert cache.unknown("x") == "nobody knows"
    moment.passed = 300
    assert cache.unknown("x") is None


async def test_what_was_unknown_at_another_head_is_not_remembered(cache: Cache) -> None:
    await cache.load("x", loader(None, ONE))
    cache.clear(TWO)
    cache.remember_unknown("x", "nobody knows", ONE)
    assert cache.unknown("x") is None


async def test_a_scan_of_made_up_names_pushes_no_price_out(moment: Time) -> None:
    cache = new_cache(moment, size=100, unknown_size=10)
    for number in range(100):
        await cache.load(f"real {number}", loader())
    for number in range(5_000):
        cache.remember_unknown(f"made up {number}", "unknown", ONE)
    assert all(cache.get(f"real {number}") for number in range(100))
    assert sum(cache.unknown(f"made up {number}") is not None for number in range(5_000)) <= 10


async def test_the_cache_holds_no_more_than_its_size(moment: Time) -> None:
    cache = new_cache(moment, size=3)
    for number in range(50):
        await cache.load(str(number), loader())
    assert [number for number in range(50) if cache.get(str(number))] == [47, 48, 49]


async def test_what_was_asked_for_lately_stays(moment: Time) -> None:
    cache = new_cache(moment, size=3)
    for key in "abc":
        await cache.load(key, loader())
    assert cache.get("a")
    await cache.load("d", loader())
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]


# Any order of events.


@given(st.lists(st.sampled_from(["ask a", "ask b", "commit", "answer", "restore"]), max_size=25))
@settings(derandomize=True, deadline=None, max_examples=200)
def test_what_the_cache_gives_was_read_at_its_head(events: list[str]) -> None:
    async def play() -> None:
        table = ONE
        cache = new_cache(Time())
        pending: list[tuple[Loader, asyncio.Task[tuple[Head, Value | None]]]] = []
        for event in events:
            match event:
                case "ask a" | "ask b":
                    # A load reads the table when it begins and answers when it may.
                    slow = Loader(table, Value(f"{table}"))
                    task = await started(cache, event[-1], slow)
                    if slow.calls:
                        pending.append((slow, task))
                    else:
                        task.cancel()
                case "commit":
                    table = replace(table, revision=table.revision + 1)
                    cache.clear(table)
                case "restore":
                    table = Head(1, table.epoch + "'")
                    cache.clear(table)
                case "answer" if pending:
                    slow, task = pending.pop(len(pending) // 2)
                    slow.open.set()
                    await task
            for key in "ab":
                value = cache.get(key)
                assert value is None or value.name == f"{cache.head}" == f"{table}"
        for slow, task in pending:
            slow.open.set()
            await task

    asyncio.run(play())
