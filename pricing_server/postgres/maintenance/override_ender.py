"""Ends overrides at the instant that they are set to end, and after any downtime.

Every process waits for the next end. All of them wake then, and the one that locks the head
first ends what is due; the others find nothing left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import psycopg
import structlog

from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.domain.head import Head
from pricing_server.postgres.connection import Connection, connect_writer
from pricing_server.postgres.writers.overrides import overriding, seconds_to_next_end
from pricing_server.sync.overriding import end_due_overrides

POLL_SECONDS: Final = 2.0
"""How long an override that was set elsewhere may go unnoticed if no notification comes."""

RETRY_SECONDS: Final = 0.25

log = structlog.get_logger(__name__)


class OverrideEnder:
    """Waits for ends; `committed(head)` is called with the price table's state after each."""

    def __init__(
        self,
        conninfo: str,
        committed: Callable[[Head], None],
        *,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._conninfo = conninfo
        self._committed = committed
        self._poll_seconds = poll_seconds
        self._changed = asyncio.Event()

    def look(self) -> None:
        """Look again now: an override may have been set."""
        self._changed.set()

    async def run(self) -> None:
        """End overrides until cancelled; an outage of the database is logged once."""
        is_out = False
        while True:
            try:
                async with await connect_writer(self._conninfo, "pricing-ender") as connection:
                    while True:
                        self._changed.clear()
                        seconds = await self.end_due(connection)
                        if is_out:
                            log.info("override_ender.resumed")
                        is_out = False
                        with suppress(TimeoutError):
                            async with asyncio.timeout(seconds):
                                await self._changed.wait()
            except (DatabaseUnavailable, psycopg.Error) as error:
                if not is_out:
                    log.warning("override_ender.waits", error=str(error))
                is_out = True
                await asyncio.sleep(RETRY_SECONDS)

    async def end_due(self, connection: Connection) -> float:
        """End what is due; how long to wait before the next look."""
        seconds = await seconds_to_next_end(connection)
        if seconds is not None and seconds <= 0:
            ended = await end_due_overrides(partial(overriding, connection))
            if ended is not None:
                log.info("override.ended", overrides=ended.count, revision=ended.head.revision)
                self._committed(ended.head)
            seconds = await seconds_to_next_end(connection)
        if seconds is None:
            return self._poll_seconds
        return min(max(seconds, 0.0), self._poll_seconds)
