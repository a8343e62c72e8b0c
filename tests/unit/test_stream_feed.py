"""Single cases of the feed and of a stream that reads the history, in simulated time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from pricing_server.domain.errors import DatabaseUnavailable, EpochChanged
from pricing_server.domain.head import Head
from pricing_server.stream.change_history import ChangePage, Cursor
from pricing_server.stream.change_streams import ChangeStreams
from pricing_server.stream.feed import Feed
from pricing_server.stream.messages import EVERYTHING, Filter
from pricing_server.stream.subscription import StreamRequest
from tests.unit._stream import MODELS, History, LineEncoder, decoded, run


class Failing(History):
    """Fails the reads that are told to."""

    reads = 0
    fails: Callable[[int], bool] = staticmethod(lambda _: False)

    async def changes(
        self, after: Cursor, upto: int, limit: int, criteria: Filter = EVERYTHING
    ) -> ChangePage:
        self.reads += 1
        if self.fails(self.reads):
            raise DatabaseUnavailable
        return await super().changes(after, upto, limit, criteria)


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


def test_a_stream_that_finds_the_table_gone_back_tells_no_progress_and_ends() -> None:
    async def live() -> None:
        history = History(Random(0))

        async def renewed(known: Head) -> Head:
            history.restore(history.at.revision, "second")
            return history.at

        feed = Feed(history, LineEncoder(), buffer_bytes=0, renew_epoch=renewed)
        streams = ChangeStreams(feed, history, LineEncoder(), max_streams=1, horizon=100)
        reading = asyncio.create_task(feed.run())
        for _ in range(5):
            feed.announce(history.commit({MODELS[0]: 0}))
        await reach(feed, 5)
        await asyncio.sleep(60)  # no time passes; the feed has read what it wants
        history.restore(2, "first")  # and nobody has told the process
        request = StreamRequest(EVERYTHING, 0, "", snapshot=False, progress_seconds=0.1)
        told = []

        async def follow() -> None:
            async with asyncio.timeout(60), streams.open(request) as subscription:
                async for message in subscription.messages():
                    told.append(decoded(message.data).head.revision)

        with pytest.raises(EpochChanged):
            await follow()
        assert max(told) <= 2
        reading.cancel()

    run(live())
