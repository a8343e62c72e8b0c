"""Removes old rows of the sync log, and old incidents. History, quotes and cards stay for ever,
and with them every run that anything refers to."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import psycopg
import structlog
from psycopg import sql

from pricing_server.errors import DatabaseUnavailable
from pricing_server.postgres.connection import Connection, connect_writer, translated_errors
from pricing_server.postgres.statements import statements

FIRST_LOOK_SECONDS: Final = 300.0
INTERVAL_SECONDS: Final = 3_600.0
NEWEST_RUNS: Final = 20
"""Of each source, kept however old: more than it takes a backoff to reach its interval."""

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
                statement = await _prune_runs(connection)
                pruned, batch = 0, BATCH
                while batch == BATCH:
                    cursor = await connection.execute(
                        statement, {"keep": self._keep, "newest": NEWEST_RUNS}
                    )
                    batch = cursor.rowcount
                    pruned += batch
                for name in ("prune_notices", "prune_incidents"):
                    await connection.execute(_SQL[name], {"keep": self._keep})
                return pruned


async def _prune_runs(connection: Connection) -> sql.Composed:
    """The statement that removes a batch, past whatever refers to runs in this schema."""
    unreferenced = [
        sql.SQL(
            "AND NOT EXISTS (SELECT FROM {table} AS other WHERE other.{column} = runs.sync_run_id)"
        ).format(
            table=sql.Identifier(row["schema_name"], row["table_name"]),
            column=sql.Identifier(row["column_name"]),
        )
        async for row in await connection.execute(_SQL["references_to_runs"])
    ]
    return sql.SQL(
        "DELETE FROM pricing_sync_log WHERE sync_run_id IN ({runs} {unreferenced} LIMIT {batch})"
    ).format(
        runs=sql.SQL(_SQL["prunable_runs"]),
        unreferenced=sql.SQL(" ").join(unreferenced),
        batch=sql.Literal(BATCH),
    )
