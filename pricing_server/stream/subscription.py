"""One caller's way through the history: what it has missed, then what comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from pricing_server.domain.errors import DatabaseUnavailable, EpochChanged, ShuttingDown
from pricing_server.domain.head import Head
from pricing_server.domain.price import PricePage
from pricing_server.runtime.bounded import bounded
from pricing_server.stream.change_history import (
    PAGE_ROWS,
    READ_SECONDS,
    ChangeHistory,
    ChangePage,
    Cursor,
    revision_of,
)
from pricing_server.stream.feed import RETRY_SECONDS, Feed
from pricing_server.stream.messages import (
    EncodedRevision,
    Encoder,
    Event,
    Filter,
    MessageCutter,
)

P = TypeVar("P", ChangePage, PricePage)
E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a stream."""

    data: bytes
    resume: Head | None
    """Where its reader may resume after it; None while a snapshot is incomplete."""


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """What a caller asks of a stream."""

    criteria: Filter
    after_revision: int | None
    """None begins now."""
    epoch: str
    """Not checked if empty."""
    snapshot: bool
    progress_seconds: float

    def is_within(self, head: Head) -> bool:
        """Whether the history up to this head contains where it begins."""
        is_reached = self.after_revision is None or self.after_revision <= head.revision
        return is_reached and self.epoch in ("", head.epoch)


class Subscription:
    """The messages of one stream, in order. For one reader."""

    def __init__(
        self,
        feed: Feed,
        history: ChangeHistory,
        encoder: Encoder,
        request: StreamRequest,
        start: Head,
        turns: asyncio.Semaphore,
    ) -> None:
        """`turns` bounds how many streams read the history and encode it at a time."""
        self._feed = feed
        self._history = history
        self._encoder = encoder
        self._done = start
        """Everything up to here has been sent."""
        self._criteria = request.criteria
        self._is_snapshot_due = request.snapshot
        self._progress_seconds = request.progress_seconds
        self._turns = turns
        self._sent_at = 0.0
        self._reading: asyncio.Task[Any] | None = None
        """Reads the next page."""

    def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()

    @property
    def resume(self) -> Head | None:
        """Where a reader of all messages so far may resume; None while a snapshot is incomplete."""
        return None if self._is_snapshot_due else self._done

    async def messages(self) -> AsyncGenerator[Message, None]:
        """All messages, without end, through any outage of the database.

        Raises EpochChanged, ShuttingDown.
        """
        yield self._note(Event.STARTED)
        if self._is_snapshot_due:
            async for message in self._snapshot():
                yield message
        while True:
            self._check_open()
            head = self._feed.head
            if head is not None and head.epoch != self._done.epoch:
                raise EpochChanged(head)
            if (kept := self._feed.get(self._done.revision + 1)) is not None:
                for message in self._kept(kept):
                    yield message
                await asyncio.sleep(0)  # Give way between revisions in which nothing matches.
            elif head is not None and head.revision > self._done.revision:
                async for message in self._missed(head.revision):
                    yield message
            else:
                await self._feed.wait(max(0.0, self._silence_left()))
            if self._silence_left() <= 0:
                yield self._note(Event.PROGRESS)

    def _kept(self, revision: EncodedRevision) -> Iterator[Message]:
        """The messages of a revision that the feed has."""
        messages = revision.matching(self._criteria, self._encoder)
        waiting = next(messages, None)
        if waiting is not None:
            for data in messages:
                yield self._message(waiting)
                waiting = data
            self._done = revision.head
            yield self._message(waiting)
        self._done = revision.head

    async def _missed(self, upto: int) -> AsyncIterator[Message]:
        """The changes that the feed no longer has, from the history."""
        cursor: Cursor | None = Cursor.after(self._done.revision)
        cutter: MessageCutter | None = None
        while cursor is not None:
            read = partial(self._history.changes, cursor, upto, PAGE_ROWS, self._criteria)
            found = await self._read(read, self._change_pieces, upto)
            if found is None:
                if cutter is None and self._silence_left() <= 0:
                    yield self._note(Event.PROGRESS)
                continue
            page, pieces = found
            for head, piece in pieces:
                if cutter is not None and cutter.head != head:
                    yield self._last(cutter)
                    cutter = None
                if cutter is None:
                    cutter = MessageCutter(self._encoder, Event.CHANGES, head)
                if (data := cutter.add(piece)) is not None:
                    yield self._message(data)
            cursor = page.next
            complete = upto if cursor is None else cursor.revision - 1
            if cutter is not None and cutter.head.revision <= complete:
                yield self._last(cutter)
                cutter = None
            if cutter is None:
                self._done = Head(complete, self._done.epoch)
                if self._silence_left() <= 0:
                    yield self._note(Event.PROGRESS)

    async def _snapshot(self) -> AsyncIterator[Message]:
        """All matching prices, as of the revision at which the stream starts."""
        after_model: int | None = 0
        cutter = MessageCutter(self._encoder, Event.SNAPSHOT, self._done)
        while after_model is not None:
            read = partial(
                self._history.prices_at, self._done.revision, after_model, PAGE_ROWS, self._criteria
            )
            found = await self._read(read, self._price_pieces, self._done.revision)
            if found is None:
                continue
            page, pieces = found
            for piece in pieces:
                if (data := cutter.add(piece)) is not None:
                    yield self._message(data)
            after_model = page.next
        self._is_snapshot_due = False
        yield self._message(cutter.last())

    async def _read(
        self,
        read: Callable[[], Coroutine[Any, Any, P]],
        encode: Callable[[P], list[E]],
        upto: int,
    ) -> tuple[P, list[E]] | None:
        """A page of the history, encoded; None if it is not there yet, so call again.

        Waits for a moment only: while the page waits for its turn or for the database, the
        stream must report progress, or may have to end. `upto` is a revision that the history
        has to reach.
        """
        self._check_open()
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read_in_turn(read, encode))
        await asyncio.wait({self._reading}, timeout=RETRY_SECONDS)
        if not self._reading.done():
            return None
        found: tuple[P, list[E]] | None = self._reading.result()
        self._reading = None
        if found is not None and found[0].head.epoch != self._done.epoch:
            raise EpochChanged(found[0].head)
        if found is not None and found[0].head.revision < upto:
            # The table went back. An empty page would be a gap in the stream, so wait until
            # the feed notices, too, and the epoch changes.
            self._feed.announce(found[0].head)
            await asyncio.sleep(RETRY_SECONDS)
            return None
        return found

    async def _read_in_turn(
        self, read: Callable[[], Coroutine[Any, Any, P]], encode: Callable[[P], list[E]]
    ) -> tuple[P, list[E]] | None:
        try:
            async with self._turns:
                page = await bounded(read(), READ_SECONDS)
                return page, await asyncio.to_thread(encode, page)
        except (DatabaseUnavailable, TimeoutError):
            await asyncio.sleep(RETRY_SECONDS)
            return None

    def _check_open(self) -> None:
        if self._feed.is_closed:
            raise ShuttingDown("the server is shutting down; resume at another one", self.resume)

    def _price_pieces(self, page: PricePage) -> list[bytes]:
        return [self._encoder.price(price) for price in page.prices]

    def _change_pieces(self, page: ChangePage) -> list[tuple[Head, bytes]]:
        return [
            (Head(revision_of(change), self._done.epoch), self._encoder.change(change))
            for change in page.changes
        ]

    def _last(self, cutter: MessageCutter) -> Message:
        self._done = cutter.head
        return self._message(cutter.last())

    def _note(self, event: Event) -> Message:
        """A message without prices or changes, which says how far the stream has come."""
        return self._message(
            self._encoder.trailer(event, self._done, is_last=not self._is_snapshot_due)
        )

    def _message(self, data: bytes) -> Message:
        self._sent_at = asyncio.get_running_loop().time()
        return Message(data, self.resume)

    def _silence_left(self) -> float:
        """For how many more seconds the stream may be silent."""
        return self._sent_at + self._progress_seconds - asyncio.get_running_loop().time()
