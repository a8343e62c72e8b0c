"""A run of the torture: everything at once, then the reckoning."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from random import Random

import psycopg
from structlog.testing import capture_logs

from tests.integration._database import sessions, value
from tests.integration._feed import Feed, serve_feed
from tests.integration._poll import until
from tests.integration.torture import local_writers
from tests.integration.torture.chaos import Chaos
from tests.integration.torture.dice import dice_of
from tests.integration.torture.figures import Figures
from tests.integration.torture.fleet import Fleet, start_all, started_fleet
from tests.integration.torture.history import History, read_history
from tests.integration.torture.local_writers import SOURCES, local_runner, write_locally
from tests.integration.torture.log import Log
from tests.integration.torture.naive import NaiveReader
from tests.integration.torture.shelf import Shelf
from tests.integration.torture.subscribers import Goal, Subscriber, subscribers
from tests.integration.torture.validators import violations
from tests.integration.torture.writers import RemoteWriter, Reverter

SUBSCRIBERS = 50
SHOWN = 10
LONGEST = 3_000
LARGE = 600
SMALL = 60
MORE_SECONDS = 120.0
"""How much longer a run may take until everything has happened that must."""

CATCH_UP_SECONDS = 60.0
"""And as long again as was written: how long it may take all to come to the head, after the
last write, with nothing broken any more."""


@dataclass(frozen=True, slots=True, repr=False)
class Record:
    """What a run has left."""

    seed: int
    history: History
    logs: Sequence[Log]
    naive: Sequence[Log]
    figures: Figures
    broken: Sequence[str]
    """Defects that the servers have logged."""

    def check(self) -> None:
        """Fails if a guarantee was broken, or if too little happened to tell."""
        found = [str(one) for log in self.logs for one in violations(log, self.history)]
        found += self.broken
        found += [f"it did not happen: {name}" for name in self.figures.missing()]
        shown = "\n".join(one[:LONGEST] for one in found[:SHOWN])
        assert not found, f"seed {self.seed}: {len(found)} faults, the first:\n{shown}"


def torture(seed: int, seconds: float, *, naive: int = 0) -> Record:
    """Write, break, subscribe for so long; then let all catch up and compare.

    `naive` adds so many readers that ask the database for what is behind their last id.
    """
    with ExitStack() as stack:
        stack.enter_context(capture_logs())  # What the product logs in this process.
        feeds = {name: stack.enter_context(serve_feed()) for name in ("openrouter", "featherless")}
        urls = {f"PRICING_{name.upper()}_URL": feed.url for name, feed in feeds.items()}
        fleet = stack.enter_context(started_fleet(urls))
        return asyncio.run(_Run(seed, fleet, feeds, naive).run(seconds))


class _Run:
    def __init__(self, seed: int, fleet: Fleet, feeds: dict[str, Feed], naive: int) -> None:
        self._seed = seed
        self._fleet = fleet
        self._feeds = feeds
        self._naive = naive
        self._figures = Figures()
        self._began = 0.0

    async def run(self, seconds: float) -> Record:
        self._began = time.monotonic()
        await start_all(self._fleet)
        await local_writers.register(self._fleet.conninfo)
        epoch = (await asyncio.to_thread(read_history, self._fleet.conninfo)).epoch
        goal = Goal()
        dice = [self._dice(f"subscriber {at}") for at in range(SUBSCRIBERS)]
        readers = subscribers(SUBSCRIBERS, self._fleet, dice, goal)
        naive = [
            NaiveReader(f"naive reader {at}", self._fleet.conninfo, epoch, goal)
            for at in range(self._naive)
        ]
        tasks = [asyncio.create_task(reader.run()) for reader in readers]
        tasks += [asyncio.create_task(reader.run()) for reader in naive]
        self._took("start")
        await self._write(seconds, readers)
        self._took("write")
        goal.revision = (await asyncio.to_thread(self._settled)).head
        _, late = await asyncio.wait(tasks, timeout=CATCH_UP_SECONDS + seconds)
        for task in late:
            task.cancel()
        self._took("catch up")
        for task in tasks:
            if task not in late:
                task.result()
        return Record(
            self._seed,
            await asyncio.to_thread(read_history, self._fleet.conninfo),
            [log for reader in readers for log in reader.logs],
            [reader.log for reader in naive],
            await asyncio.to_thread(self._counted, readers),
            [fault for member in self._fleet.members for fault in member.broken()],
        )

    async def _write(self, seconds: float, readers: Sequence[Subscriber]) -> None:
        """All that writes and breaks, for so long; at the end nothing is broken any more."""
        stopped = asyncio.Event()
        chaos = Chaos(self._fleet, self._dice("chaos"), self._figures)
        saboteur = Chaos(self._fleet, self._dice("saboteur"), self._figures)
        local_dice = {slug: self._dice(slug) for slug in SOURCES}
        runner = local_runner(self._fleet.conninfo, local_dice)
        reverter = Reverter(self._fleet, self._dice("reverter"), self._figures)
        async with asyncio.TaskGroup() as group:
            for slug in SOURCES:
                pauses = self._dice(f"{slug} pauses")
                group.create_task(write_locally(runner, slug, pauses, stopped, self._figures))
            for name, size, rows in (
                ("openrouter", LARGE, Shelf.openrouter),
                ("featherless", SMALL, Shelf.featherless),
            ):
                shelf = Shelf(self._dice(f"{name} shelf"), (name,), size)
                writer = RemoteWriter(
                    self._fleet,
                    name,
                    self._feeds[name],
                    shelf,
                    rows,
                    self._dice(name),
                    self._figures,
                )
                group.create_task(writer.run(stopped))
            group.create_task(reverter.run(stopped))
            group.create_task(chaos.run(stopped))
            group.create_task(saboteur.sabotage(stopped))
            await asyncio.sleep(seconds)
            await self._enough(readers)
            stopped.set()

    async def _enough(self, readers: Sequence[Subscriber]) -> None:
        """Wait a while longer if too little has happened: the machine is busy with other things."""
        deadline = time.monotonic() + MORE_SECONDS
        while time.monotonic() < deadline:
            with suppress(psycopg.OperationalError):
                if not (await asyncio.to_thread(self._counted, readers)).missing():
                    return
            await asyncio.sleep(1)

    def _counted(self, readers: Sequence[Subscriber]) -> Figures:
        """All figures as they are now."""
        figures = Figures(self._figures)
        figures["left in a split revision"] = sum(reader.left_split for reader in readers)
        figures.count_logs([log for reader in readers for log in reader.logs])
        figures.count_database(self._fleet.conninfo, read_history(self._fleet.conninfo))
        return figures

    def _settled(self) -> History:
        """The history once nothing writes any more, neither here nor in a server."""
        conninfo = self._fleet.conninfo
        running = "SELECT count(*) FROM pricing_sync_log WHERE status = 'in_progress'"
        until(
            lambda: value(conninfo, running) == sessions(conninfo, "pricing-sync") == 0,
            "the end of all runs",
        )
        return read_history(conninfo)

    def _dice(self, actor: str) -> Random:
        return dice_of(self._seed, actor)

    def _took(self, what: str) -> None:
        now = time.monotonic()
        self._figures[f"seconds to {what}"] = round(now - self._began)
        self._began = now
