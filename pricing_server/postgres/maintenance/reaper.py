"""Declares runs dead whose process died or froze, so that none stays in progress.

Every process looks every two seconds. A run whose source nobody holds has lost its
process. A run whose lease ran out has a process that is frozen and still holds the
source, and maybe the head: its session is terminated, so that others can go on.
Either way the run can no longer commit, since its last statement requires that it
is still in progress.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

import psycopg
import structlog

from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.postgres.connection import Connection, connect_writer
from pricing_server.postgres.statements import statements
from pricing_server.postgres.writers.lease import LEASE_SECONDS

INTERVAL_SECONDS: Final = 2.0

_SQL = statements("sync")

log = structlog.get_logger(__name__)


class Reaper:
    """Looks for dead runs of all processes on one database."""

    def __init__(
        self,
        conninfo: str,
        *,
        lease_seconds: float = LEASE_SECONDS,
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        self._conninfo = conninfo
        self._lease = timedelta(seconds=lease_seconds)
        self._interval_seconds = interval_seconds

    async def run(self) -> None:
        """Look for ever; an outage of the database is logged once and waited out."""
        is_out = False
        while True:
            try:
                async with await connect_writer(self._conninfo, "pricing-reaper") as connection:
                    # A row that is locked now is looked at again in the next round.
                    await connection.execute("SET lock_timeout = '1s'")
                    while True:
                        await self.look(connection)
                        if is_out:
                            log.info("reaper.resumed")
                        is_out = False
                        await asyncio.sleep(self._interval_seconds)
            except (DatabaseUnavailable, psycopg.Error) as error:
                if not is_out:
                    log.warning("reaper.waits", error=str(error))
                is_out = True
                await asyncio.sleep(self._interval_seconds)

    async def look(self, connection: Connection) -> None:
        """One round."""
        cursor = await connection.execute(_SQL["fail_dead"], {"locked_source": None})
        async for row in cursor:
            log.warning("sync.process_died", run=row["sync_run_id"], source=row["source"])
        cursor = await connection.execute(_SQL["frozen_runs"], {"lease": self._lease})
        for row in await cursor.fetchall():
            await self._end_frozen(connection, row)

    async def _end_frozen(self, connection: Connection, run: dict[str, Any]) -> None:
        log.warning("sync.process_frozen", run=run["sync_run_id"], source=run["source"])
        seconds = self._lease.total_seconds()
        values = {
            "sync_run_id": run["sync_run_id"],
            "lease": self._lease,
            "error_message": f"no sign of life in {seconds:g} s of the process that ran this sync",
        }
        # Both or neither, so that no source stays held by a run that nobody looks at any more.
        async with connection.transaction():
            try:
                async with connection.transaction():
                    cursor = await connection.execute(_SQL["fail_frozen"], values)
                    if await cursor.fetchone() is None:
                        return  # It woke up, or it has ended.
            except psycopg.errors.LockNotAvailable:
                # It froze between its last statement and its commit. Ending its session
                # undoes that, and the next round finds a run without a process.
                pass
            try:
                async with connection.transaction():
                    # The right to end a session is that of the login, not of a role set on top.
                    await connection.execute("SET LOCAL ROLE NONE")
                    await connection.execute(_SQL["terminate_holder"], run)
            except psycopg.errors.InsufficientPrivilege:
                log.error(
                    "sync.frozen_session_stays",
                    source=run["source"],
                    pid=run["pid"],
                    hint="end that session, or grant pg_signal_backend to this login",
                )
