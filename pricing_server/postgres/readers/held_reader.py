"""Reads of held changes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from pricing_server.domain.held_change import HeldChange, HoldReason, HoldStatus
from pricing_server.history.held_changes import HeldCursor, HeldFilter
from pricing_server.postgres.connection import Connection, Pool, Row, card_of, translated_errors
from pricing_server.postgres.documents import evidence_of
from pricing_server.postgres.statements import statements
from pricing_server.runtime.breaker import Breaker, slow_read

ANSWER_SECONDS: Final = 5.0
"""How long a list waits for the database; its statement ends after a second."""

_SQL = statements("holds")


class PostgresHeldReader:
    """See `pricing_server.history.held_changes.HeldReader`."""

    def __init__(self, pool: Pool, breaker: Breaker) -> None:
        self._pool = pool
        self.breaker = breaker

    @slow_read(ANSWER_SECONDS)
    async def held_changes(
        self, criteria: HeldFilter, before: HeldCursor | None, limit: int
    ) -> Sequence[HeldChange]:
        """Open ones first, newest first, behind a cursor."""
        decided, held_change_id = before or (None, None)
        values = {
            "statuses": [status.value for status in criteria.statuses],
            "source": criteria.source,
            "provider": criteria.provider,
            "model_id": criteria.model_id,
            "feed_id": criteria.feed_id,
            "before_decided": decided,
            "before_id": held_change_id,
            "limit": limit,
        }
        with translated_errors():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_SQL["list_held_changes"], values)
                rows = await cursor.fetchall()
        # In a thread, so that look-ups go on while thousands of rates are read.
        return await asyncio.to_thread(lambda: [_held_change(row) for row in rows])

    @slow_read(ANSWER_SECONDS)
    async def held_change(self, held_change_id: int) -> HeldChange | None:
        """One held change or feed, whatever became of it."""
        with translated_errors():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(
                    _SQL["read_held_change"], {"held_change_id": held_change_id}
                )
                rows = await cursor.fetchall()
        return _held_change(rows[0]) if rows else None


async def read_held_change(connection: Connection, held_change_id: int) -> HeldChange:
    """One held change, which exists."""
    cursor = await connection.execute(_SQL["read_held_change"], {"held_change_id": held_change_id})
    (row,) = await cursor.fetchall()
    return _held_change(row)


def _held_change(row: Row) -> HeldChange:
    return HeldChange(
        held_change_id=row["held_change_id"],
        source=row["source"],
        provider=row["provider"] or "",
        model_id=row["model_id"] or "",
        feed_id=row["feed_id"],
        models=row["models"],
        reason=HoldReason(row["reason"]),
        evidence=evidence_of(row["evidence"]),
        old=card_of(row, "old_") if row["old_card_id"] is not None else None,
        new=card_of(row, "new_") if row["new_card_id"] is not None else None,
        fragment=row["fragment"] or "",
        status=HoldStatus(row["status"]),
        held_since=row["held_since"],
        last_stated=row["last_stated"],
        last_run_id=row["last_run"],
        resolved_at=row["resolved_at"],
        resolved_by=row["resolved_by"] or "",
        note=row["note"] or "",
    )
