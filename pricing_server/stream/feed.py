"""The tail of the price table's history: the newest revisions, read once for all streams."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import groupby
from typing import Final

import structlog

from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.domain.head import Head
from pricing_server.runtime.bounded import bounded
from pricing_server.stream.change_history import (
    PAGE_ROWS,
    READ_SECONDS,
    ChangeHistory,
    Cursor,
    revision_of,
)
from pricing_server.stream.messages import EncodedRevision, Encoder, RevisionEncoder

RETRY_SECONDS: Final = 0.25
RECENT_CHANGES: Final = 5_000
"""How many changes before its start a process reads: about 4 MB, in less than a second."""

log = structlog.get_logger(__name__)


class Feed:
    """Knows the revisions that this process has read, and keeps the newest as bytes.

    `head` moves only when everything up to it has been read, so a stream that has sent
    everything up to it has missed nothing. For one event loop.
    """

    def __init__(
        self,
        history: ChangeHistory,
        encoder: Encoder,
        *,
        buffer_bytes: int,
        renew_epoch: Callable[[Head], Awaitable[Head]],
    ) -> None:
        """`renew_epoch(known)` gives the price table a new epoch if it is behind `known` in the
        same epoch, and returns its state."""
        self._history = history
        self._encoder = encoder
        self._renew_epoch = renew_epoch
        self._buffer_bytes = buffer_bytes
        self._revisions: deque[EncodedRevision] = deque()
        self._size = 0
        self._head: Head | None = None
        self._announced: Head | None = None
        self._moved: asyncio.Future[None] | None = None
        self._is_doubtful = False
        self.is_closed = False
        """Whether streams are to end."""
        self._wake = asyncio.Event()

    @property
    def head(self) -> Head | None:
        """Everything up to here has been read; None until the database first answers."""
        return self._head

    @property
    def announced(self) -> Head | None:
        """The newest state that this process has heard of; it will be read in a moment."""
        return self._announced

    def announce(self, head: Head) -> None:
        """The price table was seen at `head`."""
        known = self._announced
        if known is None or head.epoch != known.epoch or head.revision > known.revision:
            self._announced = head
            self._wake.set()
        elif head.revision < known.revision:
            # It arrived after a newer announcement, or the table went back.
            self._is_doubtful = True
            self._wake.set()

    def get(self, revision: int) -> EncodedRevision | None:
        """A kept revision; None if it is too old or has not been read yet."""
        if not self._revisions:
            return None
        at = revision - self._revisions[0].head.revision
        return self._revisions[at] if 0 <= at < len(self._revisions) else None

    def close(self) -> None:
        """Let all streams end."""
        self.is_closed = True
        self.notify()

    def notify(self) -> None:
        """Wake all streams, so that they look again."""
        if self._moved is not None:
            self._moved.set_result(None)
            self._moved = None

    async def wait(self, seconds: float) -> None:
        """Wait until the next `notify`, at most for `seconds`."""
        if self._moved is None:
            self._moved = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._moved}, timeout=seconds)

    async def until(self, happened: Callable[[], bool], seconds: float) -> bool:
        """Whether `happened` becomes true within `seconds`; checked at every `notify`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not happened():
            if loop.time() >= deadline:
                return False
            await self.wait(deadline - loop.time())
        return True

    async def run(self) -> None:
        """Read what is announced, until cancelled, through any outage."""
        is_up = True
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._follow()
                if not is_up:
                    log.info("feed.up")
                is_up = True
            except Exception as error:
                if is_up:
                    is_outage = isinstance(error, (DatabaseUnavailable, TimeoutError))
                    # For a defect the log gets the cause. Going on without the revision would
                    # leave a gap, so it is tried again.
                    log.warning(
                        "feed.down",
                        error=type(error).__name__,
                        exc_info=None if is_outage else error,
                    )
                is_up = False
                self._wake.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        while (announced := self._announced) is not None:
            if self._is_doubtful:
                await self._check_history(announced)
                self._is_doubtful = False
            elif self._head is None or announced.epoch != self._head.epoch:
                await self._begin(announced)
            elif announced.revision > self._head.revision:
                before = self._head
                async for whole in self._read(before, announced.revision):
                    self._keep(whole)
                    self._head = whole.head
                    self.notify()
                if self._head == before and self._announced == announced and not self._is_doubtful:
                    raise RuntimeError(f"the history lacks what follows revision {before.revision}")
            else:
                return

    async def _check_history(self, known: Head) -> None:
        """Renew the epoch if the price table has really gone back, as after a restore."""
        seen = await bounded(self._history.head(), READ_SECONDS)
        if seen.epoch == known.epoch and seen.revision < known.revision:
            log.error("feed.history_went_back", known=known.revision, seen=seen.revision)
            seen = await self._renew_epoch(known)
        self.announce(seen)

    async def _begin(self, head: Head) -> None:
        """Start at a head of whose history nothing has been read.

        The newest revisions before it are read, too: after a restart many streams resume there.
        """
        self._forget()
        self._head = head
        self.notify()
        if not self._buffer_bytes:
            return
        recent = await bounded(self._history.recent(head.revision, RECENT_CHANGES), READ_SECONDS)
        async for whole in self._read(Head(recent, head.epoch), head.revision):
            self._keep(whole)

    def _forget(self) -> None:
        self._revisions.clear()
        self._size = 0

    async def _read(self, after: Head, upto: int) -> AsyncIterator[RevisionEncoder]:
        """The revisions after `after`, each as soon as all of it has been read."""
        cursor: Cursor | None = Cursor.after(after.revision)
        whole: RevisionEncoder | None = None
        while cursor is not None:
            page = await bounded(self._history.changes(cursor, upto, PAGE_ROWS), READ_SECONDS)
            if page.head.epoch != after.epoch:
                self._announced = page.head
                return
            if page.head.revision < upto:
                self._is_doubtful = True
                return
            for revision, changes in groupby(page.changes, key=revision_of):
                if whole is not None and whole.head.revision != revision:
                    yield whole
                    whole = None
                if whole is None:
                    head = Head(revision, after.epoch)
                    whole = RevisionEncoder(self._encoder, head, self._buffer_bytes)
                # In a thread, so that look-ups go on while thousands of changes are encoded.
                await asyncio.to_thread(whole.extend, list(changes))
            cursor = page.next
        if whole is not None:
            yield whole

    def _keep(self, whole: RevisionEncoder) -> None:
        encoded = whole.build()
        if encoded is None:
            # Kept revisions must have no gap: streams read this one and older ones themselves.
            self._forget()
            return
        if self._revisions and self._revisions[-1].head.revision + 1 != encoded.head.revision:
            self._forget()  # An outage cut short the reading of older revisions.
        self._revisions.append(encoded)
        self._size += encoded.size
        while self._size > self._buffer_bytes:
            self._size -= self._revisions.popleft().size
