"""Laws of the change stream, for any history, any outage and any order of events.

Time is simulated, so that every example is the same in every run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from hypothesis import assume, given
from hypothesis import strategies as st

from pricing_server.domain.errors import EpochChanged, ShuttingDown
from pricing_server.domain.head import Head
from tests.unit._strategies import few
from tests.unit._stream import decoded, now, run
from tests.unit._stream_world import (
    LATE_SECONDS,
    Plan,
    Process,
    World,
    follow,
    plans,
    seconds,
    started,
    subscriber,
    worlds,
)

NEVER: Final = 10**9
"""A revision that no history comes to."""


@given(world=worlds, some=st.lists(plans, min_size=1, max_size=4))
@few
def test_every_subscriber_sees_the_filtered_history(world: World, some: list[Plan]) -> None:
    async def live() -> None:
        async with started(world) as process:
            following = [asyncio.create_task(follow(process, each, world.last)) for each in some]
            await process.write()
            for plan, task in zip(some, following, strict=True):
                found = await task
                assert found.begun is not None
                assert found.log == process.history.keys(found.begun, world.last, plan.criteria)
                if plan.snapshot and plan.after is None:
                    standing = process.history.standing(found.begun, plan.criteria)
                    assert found.prices == standing
            assert process.renewed == 0

    run(live())


@given(world=worlds)
@few
def test_what_is_kept_has_no_gap_and_stays_within_its_budget(world: World) -> None:
    async def live() -> None:
        async with started(world) as process:

            async def watch() -> None:
                while process.feed.head is None or process.feed.head.revision < world.last:
                    check_kept(process, world)
                    await process.feed.wait(1.0)

            watching = asyncio.create_task(watch())
            await process.write()
            await watching
            check_kept(process, world)

    run(live())


def check_kept(process: Process, world: World) -> None:
    """What the feed has is right, without a gap, and not too much."""
    found = {number: process.feed.get(number) for number in range(-1, world.last + 3)}
    kept = {number: revision for number, revision in found.items() if revision is not None}
    assert all(second == first + 1 for first, second in pairwise(kept))
    assert sum(revision.size for revision in kept.values()) <= world.buffer_bytes
    if kept:
        assert process.feed.head is not None
        assert max(kept) <= process.feed.head.revision
    for number, revision in kept.items():
        messages = [decoded(data) for data in revision.messages]
        assert [piece for one in messages for piece in one.pieces] == process.history.keys(
            number - 1, number
        )
        assert {one.head for one in messages} == {Head(number, process.history.at.epoch)}
        assert [one.is_last for one in messages] == [False] * (len(messages) - 1) + [True]
        assert revision.size >= sum(map(len, revision.messages)) - 1_000


@given(world=worlds, some=st.lists(plans, min_size=1, max_size=3), back=st.integers(0, 6))
@few
def test_another_epoch_ends_every_stream(world: World, some: list[Plan], back: int) -> None:
    async def live() -> None:
        async with started(world) as process:
            subscribers = [subscriber(process, plan) for plan in some]
            following = [asyncio.create_task(each.read_upto(NEVER)) for each in subscribers]
            while not all(each.has_begun for each in subscribers):  # noqa: ASYNC110 - no time passes
                await asyncio.sleep(0.1)
            process.history.restore(max(0, process.history.at.revision - back), "second")
            assert await ends(following) == {EpochChanged}

    run(live())


@given(world=worlds, some=st.lists(plans, min_size=1, max_size=3), back=st.integers(1, 6))
@few
def test_a_table_that_went_back_ends_every_stream_and_tells_no_lie_before(
    world: World, some: list[Plan], back: int
) -> None:
    assume(world.before)

    async def live() -> None:
        async with started(world) as process:
            subscribers = [subscriber(process, plan) for plan in some]
            following = [asyncio.create_task(each.read_upto(NEVER)) for each in subscribers]
            while not all(each.has_begun for each in subscribers):  # noqa: ASYNC110 - no time passes
                await asyncio.sleep(0.01)
            at = process.history.at
            process.history.restore(max(0, at.revision - back), at.epoch)
            assert await ends(following) == {EpochChanged}
            assert process.renewed

    run(live())


@given(world=worlds, some=st.lists(plans, min_size=1, max_size=3), at=seconds)
@few
def test_closing_ends_every_stream_and_those_that_come(
    world: World, some: list[Plan], at: float
) -> None:
    async def live() -> None:
        async with started(world) as process:
            following = [asyncio.create_task(follow(process, each, NEVER)) for each in some]
            writing = asyncio.create_task(process.write())
            await asyncio.sleep(at)
            begun = now()
            await process.streams.drain(LATE_SECONDS)
            assert now() - begun < LATE_SECONDS, "a stream was not told"
            assert await ends(following) == {ShuttingDown}
            await writing

    run(live())


async def ends(following: Sequence[asyncio.Task[Any]]) -> set[type[BaseException]]:
    """How the streams ended."""
    found = await asyncio.gather(*following, return_exceptions=True)
    for each in found:
        if isinstance(each, AssertionError):
            raise each
    return {type(each) for each in found if isinstance(each, BaseException)}
