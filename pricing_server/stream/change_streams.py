"""The open streams of one process: where they begin, how many there are, when they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Final

from pricing_server.domain.errors import (
    DatabaseUnavailable,
    EpochChanged,
    RevisionCompacted,
    ShuttingDown,
    TooManyStreams,
)
from pricing_server.domain.head import Head
from pricing_server.runtime.bounded import bounded
from pricing_server.stream.change_history import ChangeHistory
from pricing_server.stream.feed import Feed
from pricing_server.stream.messages import Encoder
from pricing_server.stream.subscription import StreamRequest, Subscription

START_SECONDS: Final = 1.5
"""How long a stream waits for the database to say where it begins."""

READERS: Final = 2
"""How many streams read the history at a time. However many catch up, one more connection is
reserved for the feed, which all other streams wait for."""


class ChangeStreams:
    """Opens streams, up to `max_streams` at a time, from `horizon` revisions back at most."""

    def __init__(
        self,
        feed: Feed,
        history: ChangeHistory,
        encoder: Encoder,
        *,
        max_streams: int,
        horizon: int,
    ) -> None:
        self._feed = feed
        self._history = history
        self._encoder = encoder
        self._max_streams = max_streams
        self._horizon = horizon
        self._turns = asyncio.Semaphore(READERS)
        self._open = 0

    @asynccontextmanager
    async def open(self, request: StreamRequest) -> AsyncIterator[Subscription]:
        """A new stream.

        Raises EpochChanged, RevisionCompacted, TooManyStreams, DatabaseUnavailable, ShuttingDown.
        """
        if self._feed.is_closed:
            raise ShuttingDown("the server is shutting down and opens no stream")
        if self._open >= self._max_streams:
            raise TooManyStreams(self._max_streams)
        self._open += 1
        try:
            subscription = Subscription(
                self._feed,
                self._history,
                self._encoder,
                request,
                await self._start(request),
                self._turns,
            )
            with closing(subscription):
                yield subscription
        finally:
            self._open -= 1
            if not self._open:
                self._feed.notify()  # `drain` may wait for this.

    async def drain(self, grace_seconds: float) -> None:
        """End all streams, and wait until their readers have been informed."""
        self._feed.close()
        await self._feed.until(lambda: not self._open, grace_seconds)

    async def _start(self, request: StreamRequest) -> Head:
        head = self._feed.announced
        if head is None or not request.is_within(head):
            # Perhaps this process has not heard of it yet.
            head = await self._asked_head()
        if not request.is_within(head):
            raise EpochChanged(head)
        await self._wait_for_feed(head)
        if request.after_revision is None:
            return head
        oldest = max(0, head.revision - self._horizon)
        if request.after_revision < oldest:
            raise RevisionCompacted(request.after_revision, oldest, head.epoch)
        return Head(request.after_revision, head.epoch)

    async def _asked_head(self) -> Head:
        """The head, asked of the database."""
        try:
            head = await bounded(self._history.head(), START_SECONDS)
        except TimeoutError:
            raise DatabaseUnavailable from None
        self._feed.announce(head)
        return head

    async def _wait_for_feed(self, head: Head) -> None:
        """Wait until the feed has begun to read the history of `head`."""

        def has_begun() -> bool:
            return self._feed.head is not None and self._feed.head.epoch == head.epoch

        if not await self._feed.until(has_begun, START_SECONDS):
            raise DatabaseUnavailable
