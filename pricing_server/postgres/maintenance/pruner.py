"""Removes old rows of the sync log, and old incidents. History, quotes and cards stay for ever,
and with them every run that anything refers to."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import psycopg
import structlog

from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.postgres.connection import connect_writer, translated_errors
from pricing_server.postgres.statements import statements

FIRST_LOOK_SECONDS: Final = 300.0
INTERVAL_SECONDS: Final = 3_600.0
NEWEST_RUNS: Final = 20
"""Runs of each source that are kept however old: more than a backoff takes to reach its
interval."""

BATCH: Final = 500
"""Runs per statement, so that none takes long: each is looked for among the quotes."""

_SQL = statements("schedule")

log = structlog.get_logger(__name__)


class Pruner:
    """Looks every hour for what is older than so many days."""

    def __init__(self, conninfo: str, days: int) -> None:
        self._conninfo = conninfo
        self._keep = timedelta(days=days)

    async def run(self) -> None:
        """Look for ever; what fails is done an hour later."""
        await asyncio.sleep(FIRST_LOOK_SECONDS)
        while True:
            try:
                if pruned := await self.look():
                    log.info("sync_log.pruned", runs=pruned, days=self._keep.days)
            except (DatabaseUnavailable, psycopg.Error) as error:
                log.warning("sync_log.not_pruned", error=str(error))
            await asyncio.sleep(INTERVAL_SECONDS)

    async def look(self) -> int:
        """Remove what is old; how many runs. Raises DatabaseUnavailable."""
        connection = await connect_writer(self._conninfo, "pricing-pruner")
        with translated_errors():
            async with connection:
                pruned, batch = 0, BATCH
                while batch == BATCH:
                    cursor = await connection.execute(
                        _SQL["prune_runs"],
                        {"keep": self._keep, "newest": NEWEST_RUNS, "batch": BATCH},
                    )
                    batch = cursor.rowcount
                    pruned += batch
                for name in ("prune_notices", "prune_incidents"):
                    await connection.execute(_SQL[name], {"keep": self._keep})
                return pruned
