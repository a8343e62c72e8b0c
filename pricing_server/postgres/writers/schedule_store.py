"""What the scheduler reads and writes: logs of sources, incidents, and notices of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from psycopg.types.json import Jsonb

from pricing_server.postgres.connection import (
    Connection,
    Row,
    connect_writer,
    only,
    translated_errors,
)
from pricing_server.postgres.readers.audit_reader import source_log
from pricing_server.postgres.statements import statements
from pricing_server.scheduler.alerts import (
    AlertNotice,
    IncidentChange,
    IncidentEvent,
    IncidentKind,
    Noted,
)
from pricing_server.scheduler.scheduler import LogsRead

MOST_ATTEMPTS: Final = 5
FIRST_PAUSE: Final = timedelta(seconds=10)
"""After the first attempt, and longer than it takes; six times as long after each other one:
five attempts within 45 minutes."""

_SQL = statements("schedule")


class PostgresScheduleStore:
    """See `ScheduleStore` and `IncidentStore`. Keeps a connection for whoever looks, one task."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._kept: Connection | None = None

    async def read(self) -> LogsRead:
        """The state of all sources."""
        connection = await self._connection()
        with translated_errors():
            cursor = await connection.execute(_SQL["read_source_logs"])
            rows = await cursor.fetchall()
            if not rows:
                # Nothing is registered before the start has prepared the database.
                cursor = await connection.execute(_SQL["read_clock"])
                return LogsRead(only(await cursor.fetchone())["now"], ())
        return LogsRead(rows[0]["now"], [source_log(row) for row in rows])

    async def note(
        self,
        stale_after: Mapping[str, timedelta],
        after_failures: int,
        document: Callable[[IncidentChange], Mapping[str, Any]],
    ) -> Noted:
        """Compare the log with the open incidents; see `IncidentStore`."""
        connection = await self._connection()
        with translated_errors():
            async with connection.transaction():
                changes = []
                for statement in ("open_incidents", "close_incidents"):
                    cursor = await connection.execute(
                        _SQL[statement],
                        {
                            "sources": list(stale_after),
                            "stale_after": list(stale_after.values()),
                            "after_failures": after_failures,
                        },
                    )
                    changes += [_change(row) for row in await cursor.fetchall()]
                for change in changes:
                    await connection.execute(
                        _SQL["add_notice"],
                        {
                            "incident_id": change.incident_id,
                            "event": change.event.value,
                            "document": Jsonb(document(change)),
                        },
                    )
            cursor = await connection.execute(
                _SQL["unsent_notices"], {"most_attempts": MOST_ATTEMPTS}
            )
            return Noted(changes, only(await cursor.fetchone())["has_unsent"])

    async def drop(self) -> None:
        """Give up the connection without a word to the server, which may be frozen."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.pgconn.finish()

    async def _connection(self) -> Connection:
        if self._kept is None or self._kept.closed:
            self._kept = await connect_writer(self._conninfo, "pricing-scheduler")
        return self._kept


class PostgresNoticeStore:
    """See `NoticeStore`. Connects for each statement: there is rarely anything to send."""

    def __init__(self, conninfo: str, *, first_pause: timedelta = FIRST_PAUSE) -> None:
        self._conninfo = conninfo
        self._first_pause = first_pause

    async def claim(self) -> AlertNotice | None:
        """The oldest one whose turn has come."""
        rows = await self._execute(
            "claim_notice", {"most_attempts": MOST_ATTEMPTS, "first_pause": self._first_pause}
        )
        if not rows:
            return None
        (row,) = rows
        return AlertNotice(row["notice_id"], row["document"], row["attempts"] >= MOST_ATTEMPTS)

    async def sent(self, notice: AlertNotice) -> None:
        """It arrived."""
        await self._execute("notice_sent", {"notice_id": notice.notice_id})

    async def _execute(self, statement: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        connection = await connect_writer(self._conninfo, "pricing-alerts")
        with translated_errors():
            async with connection:
                cursor = await connection.execute(_SQL[statement], values)
                return await cursor.fetchall() if cursor.description else []


def _change(row: Row) -> IncidentChange:
    return IncidentChange(
        incident_id=row["incident_id"],
        kind=IncidentKind(row["kind"]),
        event=IncidentEvent(row["event"]),
        source=row["source"],
        display_name=row["display_name"],
        opened_at=row["opened_at"],
        recovered_at=row["recovered_at"],
        failures_in_a_row=row["failures_in_a_row"],
        last_error=row["last_error"],
        last_success_time=row["last_success_time"],
        verified_time=row["verified_time"],
    )
