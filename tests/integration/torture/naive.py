"""The reader that people write: it asks every few milliseconds for what is behind its last id.

The ids of runs are given when they begin and seen when they commit, so it misses those that
began earlier and took longer.
"""

from __future__ import annotations

import asyncio
from itertools import groupby

import psycopg
from psycopg.rows import dict_row

from tests.integration.torture.history import COLUMNS, change_of
from tests.integration.torture.log import Event, Log, Message
from tests.integration.torture.subscribers import Goal

POLL_SECONDS = 0.005

_NEW = (
    f"SELECT {COLUMNS} FROM model_pricing_history AS history JOIN models USING (model_key) "
    "WHERE sync_run_id > %s ORDER BY sync_run_id, model_key"
).encode()


class NaiveReader:
    """Keeps the same log as a subscriber, so that the same validators judge it."""

    def __init__(self, name: str, conninfo: str, epoch: str, goal: Goal) -> None:
        self.log = Log(name)
        self._conninfo = conninfo
        self._epoch = epoch
        self._goal = goal
        self._last = 0

    async def run(self) -> None:
        self.log.open("postgres", after=0)
        self._take(Event.STARTED, 0)
        while self._goal.revision is None:
            try:
                await self._poll()
            except psycopg.OperationalError:
                await asyncio.sleep(0.1)
        await self._poll()
        self._take(Event.PROGRESS, self._goal.revision)
        self.log.end("left")

    async def _poll(self) -> None:
        """On one connection for as long as it lasts."""
        connection = await psycopg.AsyncConnection.connect(
            self._conninfo, autocommit=True, row_factory=dict_row, connect_timeout=2
        )
        async with connection:
            while True:
                cursor = await connection.execute(_NEW, [self._last])
                rows = await cursor.fetchall()
                for revision, found in groupby(rows, key=lambda row: row["revision"]):
                    for row in (held := list(found)):
                        self._last = int(row["sync_run_id"])
                    self._take(Event.CHANGES, revision, held)
                if self._goal.revision is not None:
                    return
                await asyncio.sleep(POLL_SECONDS)

    def _take(
        self, event: Event, revision: int, rows: list[dict[str, object]] | None = None
    ) -> None:
        changes = tuple(map(change_of, rows or ()))
        self.log.take(Message(event, revision, self._epoch, True, changes))
