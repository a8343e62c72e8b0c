"""A process that serves change streams in simulated time, and readers that check each message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Final

import pytest
from hypothesis import strategies as st

from pricing_server.domain.errors import DatabaseUnavailable, ShuttingDown
from pricing_server.domain.head import Head
from pricing_server.stream.change_streams import ChangeStreams
from pricing_server.stream.feed import Feed
from pricing_server.stream.messages import MAX_MESSAGE_BYTES, Event, Filter
from pricing_server.stream.subscription import StreamRequest
from tests.unit._stream import (
    MODELS,
    Decoded,
    Draft,
    History,
    Key,
    LineEncoder,
    Outage,
    decoded,
)

LATE_SECONDS: Final = 600.0
"""Of simulated time: a stream that has not told all by then never will."""

POLL_SECONDS: Final = 2.0

sizes = st.sampled_from([0, 100, 60_000, 140_000, MAX_MESSAGE_BYTES - 1, 300_000])
drafts = st.dictionaries(st.sampled_from(MODELS), sizes, min_size=1)
filters = st.builds(
    Filter,
    st.frozensets(st.sampled_from(["one", "two", "three"]), max_size=2),
    st.frozensets(st.sampled_from([*(f"model-{n}" for n in range(4)), "another"]), max_size=2),
)
seconds = st.integers(0, 200).map(lambda tenths: tenths / 10)
outages = st.builds(Outage, seconds, seconds.map(lambda at: at / 2), st.booleans())


@dataclass(frozen=True, slots=True)
class World:
    """What happens, but for what chance decides from a seed."""

    before: Sequence[Draft]
    """Revisions that are there when the process starts."""
    after: Sequence[Draft]
    """Revisions that come later, within 20 s."""
    outages: Sequence[Outage]
    buffer_bytes: int
    page_rows: int
    seed: int

    @property
    def last(self) -> int:
        """The revision at the end."""
        return len(self.before) + len(self.after)


worlds = st.builds(
    World,
    before=st.lists(drafts, max_size=6),
    after=st.lists(drafts, min_size=1, max_size=6),
    outages=st.lists(outages, max_size=2),
    buffer_bytes=st.sampled_from([0, 1_000, 300_000, 800_000, 100_000_000]),
    page_rows=st.sampled_from([1, 2, 3, 500]),
    seed=st.integers(0, 2**32),
)


class Process:
    """One server process on a history, and all that commits to it."""

    def __init__(self, world: World) -> None:
        self.random = Random(world.seed)  # an order of events, the same in every run
        self.history = History(self.random, world.page_rows, world.outages)
        for draft in world.before:
            self.history.commit(draft)
        self.feed = Feed(
            self.history,
            LineEncoder(),
            buffer_bytes=world.buffer_bytes,
            renew_epoch=self._renewed,
        )
        self.streams = ChangeStreams(
            self.feed, self.history, LineEncoder(), max_streams=1_000, horizon=1_000
        )
        self._world = world
        self.renewed = 0

    async def write(self) -> None:
        """Commit the revisions to come. The process hears of each at once, late or never."""
        async with asyncio.TaskGroup() as telling:
            for draft in self._world.after:
                await asyncio.sleep(self.random.choice((0.0, 0.01, 3.0)))
                head = self.history.commit(draft)
                if (delay := self.random.choice((0.0, 0.0, 0.3, None))) is not None:
                    telling.create_task(self._tell(head, delay))

    async def poll(self) -> None:
        """What tells the process of changes when nothing else does."""
        while True:
            with suppress(DatabaseUnavailable):
                self.feed.announce(await self.history.head())
            await asyncio.sleep(POLL_SECONDS)

    async def _tell(self, head: Head, delay: float) -> None:
        await asyncio.sleep(delay)
        self.feed.announce(head)

    async def _renewed(self, known: Head) -> Head:
        self.renewed += 1
        if self.history.at.epoch == known.epoch and self.history.at.revision < known.revision:
            self.history.restore(self.history.at.revision, f"renewed-{self.renewed}")
        return self.history.at


@asynccontextmanager
async def started(world: World) -> AsyncIterator[Process]:
    """A process that reads its history."""
    process = Process(world)
    tasks = [asyncio.create_task(process.feed.run()), asyncio.create_task(process.poll())]
    try:
        async with asyncio.timeout(LATE_SECONDS):
            yield process
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Subscriber:
    """Reads as the contract says, and checks every message as it comes."""

    def __init__(
        self,
        process: Process,
        criteria: Filter,
        after: int | None,
        *,
        snapshot: bool = False,
        drops: bool = False,
    ) -> None:
        self._process = process
        self._criteria = criteria
        self._snapshot = snapshot
        self._drops = drops
        """Whether it loses its connection now and then."""
        self.saved = Head(after, "") if after is not None else None
        self.begun: int | None = None
        """Behind which revision its log begins."""
        self.log: list[Key] = []
        self.prices: dict[tuple[str, str], int] = {}
        self._pending: list[Key] = []
        self._fragment: Decoded | None = None

    @property
    def has_begun(self) -> bool:
        """Whether it has saved anything that it was told."""
        return self.begun is not None and self.saved is not None

    async def read_upto(self, revision: int) -> None:
        """Read, again if need be, until the stream has told that it has come this far."""
        while self.begun is None or self.saved is None or self.saved.revision < revision:
            try:
                await self._read(revision)
            except DatabaseUnavailable:
                await asyncio.sleep(0.5)
            except ShuttingDown as error:
                if error.resume is not None:
                    self._check_resume(error.resume)
                raise

    async def _read(self, upto: int) -> None:
        request = StreamRequest(
            criteria=self._criteria,
            after_revision=self.saved.revision if self.saved else None,
            epoch=self.saved.epoch if self.saved else "",
            snapshot=self._snapshot and self.saved is None,
            progress_seconds=self._process.random.choice((0.1, 5.0)),
        )
        self._pending, self._fragment = [], None
        is_first = True
        async with (
            self._process.streams.open(request) as subscription,
            aclosing(subscription.messages()) as messages,
        ):
            async for message in messages:
                found = decoded(message.data)
                assert (found.event is Event.STARTED) == is_first
                if is_first:
                    self._begin(found, request)
                else:
                    self._take(found)
                self._check_resume(message.resume)
                is_first = False
                if self.saved is not None and self.saved.revision >= upto:
                    return
                if self._drops and self._process.random.random() < 0.2:
                    return
                await asyncio.sleep(self._process.random.choice((0.0, 0.0, 0.01, 1.0)))

    def _begin(self, found: Decoded, request: StreamRequest) -> None:
        assert found.is_last == (not request.snapshot)
        assert found.head.revision <= self._process.history.head_of(found.head.epoch).revision
        if request.after_revision is not None:
            assert found.head.revision == request.after_revision
        if self.begun is None or request.snapshot:
            self.begun = found.head.revision
            self.prices = {}
        if found.is_last:
            self.saved = found.head

    def _take(self, found: Decoded) -> None:
        if (before := self._fragment) is not None:
            # atomic: nothing comes between the messages of a revision
            assert (found.event, found.head) == (before.event, before.head)
        assert sum(found.sizes) <= MAX_MESSAGE_BYTES or len(found.sizes) == 1
        match found.event:
            case Event.CHANGES:
                self._take_changes(found)
            case Event.SNAPSHOT:
                assert self.saved is None
                assert found.head.revision == self.begun
                for revision, provider, model_id in found.pieces:
                    assert (provider, model_id) not in self.prices
                    self.prices[provider, model_id] = revision
            case Event.PROGRESS:
                # bookmarkable: nothing up to it is still to come
                assert found.is_last
                assert self.saved is not None
                assert not found.pieces
                head = self._process.history.head_of(found.head.epoch)
                assert self.saved.revision <= found.head.revision <= head.revision
                assert not self._between(self.saved, found.head)
            case _:
                pytest.fail(f"{found.event} is only at the beginning")
        self._fragment = None if found.is_last else found
        if found.is_last:
            self.saved = found.head

    def _take_changes(self, found: Decoded) -> None:
        assert self.saved is not None, "changes come after the snapshot"
        keys = [(key[0], key[1], key[2]) for key in found.pieces]
        assert keys
        assert {key[0] for key in keys} == {found.head.revision}
        assert found.head.revision > self.saved.revision
        self._pending += keys
        if found.is_last:
            # reliable, ordered, unique: the next that pass, all of them, and no others
            assert self._pending == self._between(self.saved, found.head)
            self.log += self._pending
            self._pending = []

    def _check_resume(self, resume: Head | None) -> None:
        """Who resumes there misses nothing, and sees nothing complete again."""
        if self.saved is None:
            assert resume is None
            return
        assert resume is not None
        assert resume.epoch == self.saved.epoch
        assert resume.revision >= self.saved.revision
        assert not self._between(self.saved, resume)

    def _between(self, after: Head, upto: Head) -> list[Key]:
        """What passes behind a revision up to another one, in their epoch."""
        history = self._process.history
        return history.keys(after.revision, upto.revision, self._criteria, after.epoch)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one subscriber asks for, and when."""

    criteria: Filter
    after: int | None
    snapshot: bool
    drops: bool
    joins_at: float


plans = st.builds(
    Plan,
    filters,
    st.none() | st.integers(0, 6),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 0.1, 2.0, 12.0]),
)


def subscriber(process: Process, plan: Plan) -> Subscriber:
    """Who subscribes now as planned."""
    after = None if plan.after is None else min(plan.after, process.history.at.revision)
    return Subscriber(
        process,
        plan.criteria,
        after,
        snapshot=plan.snapshot and after is None,
        drops=plan.drops,
    )


async def follow(process: Process, plan: Plan, upto: int) -> Subscriber:
    """Subscribe in time, and read up to a revision."""
    await asyncio.sleep(plan.joins_at)
    found = subscriber(process, plan)
    await found.read_upto(upto)
    return found
