"""Single cases of what the feed keeps, in simulated time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from pricing_server.errors import DatabaseUnavailable
from pricing_server.lookup.price import Head
from pricing_server.stream.feed import Feed
from pricing_server.stream.history import ChangePage, Cursor
from pricing_server.stream.messages import EVERYTHING, Filter
from tests.unit._stream import MODELS, History, LineEncoder, run


class Failing(History):
    """Fails the reads that are told to."""

    reads = 0
    fails: Callable[[int], bool] = staticmethod(lambda _: False)

    async def changes(
        self, after: Cursor, upto: int, limit: int, narrow: Filter = EVERYTHING
    ) -> ChangePage:
        self.reads += 1
        if self.fails(self.reads):
            raise DatabaseUnavailable
        return await super().changes(after, upto, limit, narrow)


async def not_renewed(known: Head) -> Head:
    raise AssertionError(f"the price table is not behind {known}")


async def reach(feed: Feed, revision: int) -> None:
    """Wait until the feed has read this far."""
    async with asyncio.timeout(60):
        while feed.head is None or feed.head.revision < revision:
            await feed.wait(1)


def test_a_start_that_an_outage_cuts_short_leaves_no_gap() -> None:
    async def live() -> None:
        history = Failing(Random(0), page_rows=1)
        history.fails = lambda read: read == 3
        for _ in range(4):
            head = history.commit({MODELS[0]: 0})
        feed = Feed(history, LineEncoder(), buffer_bytes=10**6, renew_epoch=not_renewed)
        reading = asyncio.create_task(feed.run())
        feed.announce(head)
        await reach(feed, 4)
        while history.reads < 3:  # noqa: ASYNC110 - no time passes
            await asyncio.sleep(0.1)
        assert feed.get(1) is not None, "what was read before the outage"
        feed.announce(history.commit({MODELS[0]: 0}))
        await reach(feed, 5)
        assert [number for number in range(7) if feed.get(number)] == [5]
        reading.cancel()

    run(live())


def test_a_revision_that_is_too_large_is_not_kept_and_those_after_it_are() -> None:
    async def live() -> None:
        history = History(Random(0))
        feed = Feed(history, LineEncoder(), buffer_bytes=2_000, renew_epoch=not_renewed)
        reading = asyncio.create_task(feed.run())
        feed.announce(history.at)
        await reach(feed, 0)
        for size in (0, 3_000, 0):
            feed.announce(history.commit({MODELS[0]: size}))
        await reach(feed, 3)
        assert [number for number in range(5) if feed.get(number)] == [3]
        reading.cancel()

    run(live())
