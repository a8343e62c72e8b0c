"""The lease of a run in progress: a sign of life in its row of the log, every two seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import psycopg
import structlog

from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.postgres.connection import connect_writer
from pricing_server.postgres.statements import statements

HEARTBEAT_SECONDS: Final = 2.0
LEASE_SECONDS: Final = 30.0
"""How old the last sign of life of a run may be before other processes declare it dead."""

_SQL = statements("sync")

log = structlog.get_logger(__name__)


@asynccontextmanager
async def renewed_lease(conninfo: str, sync_run_id: int) -> AsyncIterator[None]:
    """Renew the lease of a run for as long as the context lasts.

    On a connection of its own, since that of the run is busy while a statement runs.
    """
    task = asyncio.create_task(_renew_forever(conninfo, sync_run_id))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _renew_forever(conninfo: str, sync_run_id: int) -> None:
    while True:
        try:
            async with await connect_writer(conninfo, "pricing-lease") as connection:
                while True:
                    await asyncio.sleep(HEARTBEAT_SECONDS)
                    cursor = await connection.execute(
                        _SQL["renew_lease"], {"sync_run_id": sync_run_id}
                    )
                    if await cursor.fetchone() is None:
                        return  # The run has ended, or was declared dead.
        except (DatabaseUnavailable, psycopg.Error) as error:
            # The lease is good for a while; the run itself will notice if this lasts.
            log.warning("sync.lease_not_renewed", run=sync_run_id, error=str(error))
            await asyncio.sleep(HEARTBEAT_SECONDS)
