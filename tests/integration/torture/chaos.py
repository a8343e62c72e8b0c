"""What is broken during a run, and when."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import psycopg
from psycopg.conninfo import make_conninfo

from tests.integration.torture.fleet import DATABASE, Fleet, Member

_END_SESSION = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'pricing-sync'
  AND backend_xid IS NOT NULL AND xact_start IS NOT NULL
LIMIT 1
"""
"""Of a writer that has locked the head: it is in the middle of applying."""

_DECLARE_DEAD = """
UPDATE pricing_sync_log
SET status = 'failed', completed_at = clock_timestamp(),
    error_message = 'declared dead by the torture'
WHERE status = 'in_progress' AND source <> 'genai-prices' AND sync_run_id = (
    SELECT max(sync_run_id) FROM pricing_sync_log WHERE status = 'in_progress')
RETURNING sync_run_id
"""
"""As any server does with a run that gives no sign of life."""


@dataclass(slots=True)
class Chaos:
    """Breaks servers and Postgres, one after the other, and mends them."""

    fleet: Fleet
    dice: Random
    counts: Counter[str]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def run(self, stopped: asyncio.Event) -> None:
        """Each fault that a run must have once; then any, until stopped."""
        firsts: list[Callable[[], Awaitable[None]]] = [
            self.kill_server,
            self.kill_postgres,
            self.drain_server,
        ]
        self.dice.shuffle(firsts)
        for fault in firsts:
            await self._pause(0.5, 1.0)
            await fault()
        others: Sequence[Callable[[], Awaitable[None]]] = (
            *firsts,
            self.restart_postgres,
            self.freeze_server,
            self.freeze_postgres,
            self.end_all_sessions,
        )
        while not stopped.is_set():
            await self._pause(0.5, 4.0)
            if not stopped.is_set():
                await self.dice.choice(others)()

    async def sabotage(self, stopped: asyncio.Event) -> None:
        """End sessions of writers that are in the middle of applying, and declare runs dead."""
        while not stopped.is_set():
            kind, statement = self.dice.choice(
                (("sessions ended", _END_SESSION), ("runs declared dead", _DECLARE_DEAD))
            )
            while not stopped.is_set():
                await self._pause(0.05, 0.15)
                if found := await asyncio.to_thread(self._execute, statement):
                    self.counts[kind] += found
                    break
            await self._pause(0.5, 2.5)

    async def kill_server(self) -> None:
        """Without a word, while it serves streams and runs syncs."""
        await self._replace(signal.SIGKILL, "server killed")

    async def drain_server(self) -> None:
        """As operators stop one."""
        await self._replace(signal.SIGTERM, "server drained")

    async def _replace(self, number: signal.Signals, what: str) -> None:
        member = self._victim()
        await asyncio.to_thread(member.stop, number)
        await self._pause(0.1, 1.0)
        await asyncio.to_thread(member.start)
        self.counts[what] += 1

    async def freeze_server(self) -> None:
        """It stops in the middle of whatever it does, and goes on later."""
        member = self._victim()
        member.signal(signal.SIGSTOP)
        await self._pause(0.5, 3.0)
        member.signal(signal.SIGCONT)
        self.counts["server frozen"] += 1

    async def kill_postgres(self) -> None:
        await asyncio.to_thread(self.fleet.postgres.kill)
        await self._start_postgres("postgres killed")

    async def restart_postgres(self) -> None:
        """In order, but all sessions are ended."""
        await asyncio.to_thread(self.fleet.postgres.shut_down)
        await self._start_postgres("postgres restarted")

    async def _start_postgres(self, what: str) -> None:
        await self._pause(0.1, 1.5)
        self.fleet.postgres.start()
        await asyncio.to_thread(self.fleet.postgres.accepting_at)
        self.counts[what] += 1

    async def freeze_postgres(self) -> None:
        await asyncio.to_thread(self.fleet.postgres.freeze)
        await self._pause(0.5, 4.0)
        await asyncio.to_thread(self.fleet.postgres.thaw)
        self.counts["postgres frozen"] += 1

    async def end_all_sessions(self) -> None:
        """Of servers and of the torture's own writers."""
        statement = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await asyncio.to_thread(self._execute, statement)
        self.counts["all sessions ended"] += 1

    def _victim(self) -> Member:
        return self.dice.choice(self.fleet.members)

    async def _pause(self, shortest: float, longest: float) -> None:
        await asyncio.sleep(self.dice.uniform(shortest, longest))

    def _execute(self, statement: str) -> int:
        """How many rows it gave; none while Postgres is away."""
        conninfo = make_conninfo(self.fleet.postgres.conninfo(superuser=True), dbname=DATABASE)
        try:
            with psycopg.connect(conninfo, autocommit=True, connect_timeout=2) as connection:
                connection.execute("SET statement_timeout = '1s'")
                return len(connection.execute(statement.encode()).fetchall())
        except psycopg.OperationalError:
            return 0
