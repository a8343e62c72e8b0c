"""A stream that waits for the database goes on telling where it is, and ends when it is to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import grpc
import pytest

from pricing_server.domain.errors import ShuttingDown
from pricing_server.domain.head import Head
from pricing_server.domain.price import PricePage
from pricing_server.grpc_api.methods.price_stream import serve_stream
from pricing_server.grpc_api.server import STREAM_GRACE_SECONDS
from pricing_server.stream.change_history import ChangePage, Cursor
from pricing_server.stream.change_streams import READERS, ChangeStreams
from pricing_server.stream.feed import Feed
from pricing_server.stream.messages import EVERYTHING, Event, Filter
from pricing_server.stream.subscription import StreamRequest, Subscription

EPOCH = "epoch"
NARROW = Filter(frozenset({"openai"}))


class StuckHistory:
    """Answers the feed, and never a stream."""

    async def head(self) -> Head:
        return Head(9, EPOCH)

    async def recent(self, upto: int, changes: int) -> int:
        return upto

    async def changes(
        self, after: Cursor, upto: int, limit: int, criteria: Filter = EVERYTHING
    ) -> ChangePage:
        if criteria is not EVERYTHING:
            await asyncio.Event().wait()
        return ChangePage((), Head(9, EPOCH), None)

    async def prices_at(
        self, revision: int, after_model: int, limit: int, criteria: Filter
    ) -> PricePage:
        raise AssertionError("no snapshot was asked for")


class NamingEncoder:
    """A message is the name of its event and its revision."""

    def trailer(self, event: Event, head: Head, *, is_last: bool) -> bytes:
        return f"{event} {head.revision} {is_last}".encode()

    def change(self, change: object) -> NoReturn:
        raise AssertionError("the history has none")

    def price(self, price: object) -> NoReturn:
        raise AssertionError("no snapshot was asked for")


async def no_renewal(known: Head) -> Head:
    raise AssertionError(f"nothing went back behind {known}")


@asynccontextmanager
async def stuck_streams() -> AsyncIterator[tuple[ChangeStreams, Feed]]:
    history, encoder = StuckHistory(), NamingEncoder()
    feed = Feed(history, encoder, buffer_bytes=0, renew_epoch=no_renewal)
    running = asyncio.create_task(feed.run())
    feed.announce(Head(9, EPOCH))
    yield ChangeStreams(feed, history, encoder, max_streams=100, horizon=100), feed
    running.cancel()
    await asyncio.wait({running})


REQUEST = StreamRequest(NARROW, 3, EPOCH, snapshot=False, progress_seconds=0.1)


async def messages(subscription: Subscription, count: int) -> list[bytes]:
    found = []
    async for message in subscription.messages():
        found.append(message.data)
        if len(found) == count:
            break
    return found


async def test_bookmarkable_while_a_page_of_the_history_does_not_come() -> None:
    async with stuck_streams() as (streams, _), streams.open(REQUEST) as subscription:
        found = await asyncio.wait_for(messages(subscription, 3), 10)
    assert found == [b"started 3 True", b"progress 3 True", b"progress 3 True"]


async def test_bookmarkable_while_others_have_their_turn_with_the_history() -> None:
    async def follow(streams: ChangeStreams) -> list[bytes]:
        async with streams.open(REQUEST) as subscription:
            return await messages(subscription, 3)

    async with stuck_streams() as (streams, _):
        followers = [follow(streams) for _ in range(READERS * 3)]
        found = await asyncio.wait_for(asyncio.gather(*followers), 10)
    assert {tuple(one) for one in found} == {
        (b"started 3 True", b"progress 3 True", b"progress 3 True")
    }


async def test_a_caller_that_leaves_during_a_write_is_no_fault_of_the_server() -> None:
    class LeftContext:
        async def write(self, data: bytes) -> NoReturn:
            raise grpc.aio.InternalError("the call has ended")

    async with stuck_streams() as (streams, _):
        await serve_stream(streams, REQUEST, LeftContext(), write_seconds=10)


async def test_a_stream_that_waits_for_a_page_ends_when_the_server_drains() -> None:
    async def follow(streams: ChangeStreams, started: asyncio.Event) -> None:
        async with streams.open(REQUEST) as subscription:
            async for _ in subscription.messages():
                started.set()

    async with stuck_streams() as (streams, _):
        started = asyncio.Event()
        follower = asyncio.create_task(follow(streams, started))
        await started.wait()
        await streams.drain(STREAM_GRACE_SECONDS)
        with pytest.raises(ShuttingDown):
            await asyncio.wait_for(follower, 1)
