"""Tells when the price table changed, in any process.

A notification is a wake-up, never data: it can be lost, so the head is read every
POLL_SECONDS regardless, and after every reconnect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.domain.head import Head
from pricing_server.postgres.connection import ORIGIN, Connection, listener_options
from pricing_server.postgres.readers.price_reader import read_head
from pricing_server.runtime.bounded import bounded

POLL_SECONDS: Final = 2.0
RECONNECT_SECONDS: Final = 0.25
ANSWER_SECONDS: Final = 2.0
"""How long the head may take to be read before the connection is given up."""

CHANNEL: Final = "price_table"

log = structlog.get_logger(__name__)


class HeadWatcher:
    """Watches the head on a connection of its own; `changed` is called with what is read.

    `changed(head, notified)`: notified says that another process committed a sync, even one
    that changed no price. `reconnected` is called before the head is read on a new connection
    after one was lost: the database may have been restored meanwhile.
    """

    def __init__(
        self,
        conninfo: str,
        changed: Callable[[Head, bool], None],
        *,
        reconnected: Callable[[], Coroutine[Any, Any, None]],
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._conninfo = conninfo
        self._changed = changed
        self._reconnected = reconnected
        self._poll_seconds = poll_seconds

    async def run(self) -> None:
        """Watch until cancelled, through any outage."""
        is_up, was_connected = True, False
        while True:
            connection = None
            try:
                connection = await bounded(self._connect(), ANSWER_SECONDS, discard=_drop)
                # LISTEN first, then read: whatever commits in between is read or announced.
                await bounded(_listen(connection), ANSWER_SECONDS)
                if was_connected:
                    await self._tell_reconnected()
                was_connected = True
                self._changed(await bounded(read_head(connection), ANSWER_SECONDS), False)
                if not is_up:
                    log.info("head_watcher.up")
                is_up = True
                await self._watch(connection)
            except Exception as error:
                if is_up:
                    is_outage = isinstance(error, (psycopg.Error, OSError, TimeoutError))
                    # The log has the cause of a defect, which is no reason to stop watching.
                    log.warning(
                        "head_watcher.down",
                        error=type(error).__name__,
                        exc_info=None if is_outage else error,
                    )
                is_up = False
            finally:
                if connection is not None:
                    _drop(connection)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _tell_reconnected(self) -> None:
        try:
            await bounded(self._reconnected(), ANSWER_SECONDS)
        except (DatabaseUnavailable, TimeoutError):
            # Another login may be shut out; the head is read all the same.
            log.warning("head_watcher.restore_not_checked")

    async def _connect(self) -> Connection:
        return await AsyncConnection.connect(
            self._conninfo, autocommit=True, row_factory=dict_row, **listener_options()
        )

    async def _watch(self, connection: Connection) -> None:
        while True:
            notified = False
            async for notice in connection.notifies(timeout=self._poll_seconds, stop_after=1):
                notified = notified or notice.payload != ORIGIN
            self._changed(await bounded(read_head(connection), ANSWER_SECONDS), notified)


def _drop(connection: Connection) -> None:
    """End it without a word to the server, which may be frozen."""
    connection.pgconn.finish()


async def _listen(connection: Connection) -> None:
    await connection.execute(f"LISTEN {CHANNEL}")
