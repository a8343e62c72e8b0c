"""Reads of the sync log, the audit trail and the coverage."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pricing_server.domain.price_change import ChangeKind, ChangeOrigin, OriginKind, PriceChange
from pricing_server.domain.source_listing import Fault, Notice
from pricing_server.domain.source_log import SourceLog
from pricing_server.domain.sync_run import COUNTS, SyncRun, SyncStatus
from pricing_server.history.audit import ChangeCursor, ChangeFilter, ProviderCoverage, SourceHealth
from pricing_server.postgres.connection import Pool, Row, card_of, translated_errors
from pricing_server.postgres.statements import statements
from pricing_server.runtime.breaker import Breaker, slow_read

ANSWER_SECONDS: Final = 5.0
"""How long a list waits for the database; its statements end after a second each."""

_SQL = statements("audit")


def source_log(row: Row) -> SourceLog:
    """The log of a source in a row of `source_syncs`."""
    return SourceLog(
        source=row["source"],
        newest_run_id=row["newest_run_id"],
        newest_started_at=row["newest_started_at"],
        is_in_progress=row["is_in_progress"],
        good_started_at=row["good_started_at"],
        good_obtained_at=row["good_obtained_at"],
        failures_in_a_row=row["failures_in_a_row"],
        scheduled_failures=row["scheduled_failures"],
        scheduled_failure_at=row["scheduled_failure_at"],
    )


class PostgresAuditReader:
    """See `pricing_server.history.audit.AuditReader`."""

    def __init__(self, pool: Pool, breaker: Breaker) -> None:
        self._pool = pool
        self.breaker = breaker

    @slow_read(ANSWER_SECONDS)
    async def run(self, sync_run_id: int) -> SyncRun | None:
        """One row of the sync log."""
        return await self._run(sync_run_id)

    @slow_read(ANSWER_SECONDS)
    async def runs(self, source: str | None, before: int | None, limit: int) -> Sequence[SyncRun]:
        """The sync log, newest first."""
        rows = await self._rows(
            "list_sync_runs", {"source": source, "before": before, "limit": limit}
        )
        return [_run(row) for row in rows]

    @slow_read(ANSWER_SECONDS)
    async def changes(
        self, criteria: ChangeFilter, before: ChangeCursor | None, limit: int
    ) -> Sequence[tuple[ChangeCursor, PriceChange]]:
        """The audit trail, newest revision first, each change with its cursor."""
        before_revision, before_model = before or (None, None)
        rows = await self._rows(
            "list_price_changes" if criteria.model_id is None else "list_price_changes_of_model",
            {
                "provider": criteria.provider,
                "model_id": criteria.model_id,
                "sync_run_id": criteria.sync_run_id,
                "after_time": criteria.after_time,
                "before_time": criteria.before_time,
                "kind": criteria.kind.value if criteria.kind is not None else None,
                "source": criteria.source,
                "actor": criteria.actor,
                "least_change": criteria.least_change,
                "before_revision": before_revision,
                "before_model": before_model,
                "limit": limit,
            },
        )
        # In a thread, so that look-ups go on while thousands of rates are read.
        return await asyncio.to_thread(
            lambda: [((row["revision"], row["model_key"]), change_of(row)) for row in rows]
        )

    @slow_read(ANSWER_SECONDS)
    async def providers(self, after: str | None, limit: int) -> Sequence[ProviderCoverage]:
        """The sellers by name."""
        rows = await self._rows("list_providers", {"after": after, "limit": limit})
        return [ProviderCoverage(**row) for row in rows]

    @slow_read(ANSWER_SECONDS)
    async def sources(self) -> Sequence[SourceHealth]:
        """All sources by rank."""
        rows = await self._rows("list_sources", {})
        return [
            SourceHealth(
                source=row["source"],
                display_name=row["display_name"],
                provider=row["provider"],
                rank=row["rank"],
                last_run=await self._run(row["newest_run_id"]) if row["newest_run_id"] else None,
                last_success_time=row["good_completed_at"],
                models_quoted=row["models_quoted"],
                models_held=row["models_held"],
                log=source_log(row),
                recent_runs=row["recent_runs"],
                recent_successes=row["recent_successes"],
            )
            for row in rows
        ]

    async def _run(self, sync_run_id: int) -> SyncRun | None:
        rows = await self._rows("get_sync_run", {"sync_run_id": sync_run_id})
        return _run(rows[0]) if rows else None

    async def _rows(self, statement: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        with translated_errors():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_SQL[statement], values)
                return await cursor.fetchall()


def _run(row: Row) -> SyncRun:
    return SyncRun(
        sync_run_id=row["sync_run_id"],
        source=row["source"],
        status=SyncStatus(row["status"]),
        triggered_by=row["triggered_by"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        duration_ms=row["duration_ms"],
        counts={name: row[name] for name in COUNTS},
        faults=[Fault(**fault) for fault in row["error_details"]],
        notices=[Notice(**notice) for notice in row["notices"]],
        error_message=row["error_message"],
        revision=row["revision"],
    )


def change_of(row: Row) -> PriceChange:
    """The change in a row of the history, with both of its cards."""
    return PriceChange(
        kind=ChangeKind(row["kind"]),
        provider=row["provider"],
        model_id=row["model_id"],
        old=card_of(row, "old_") if row["old_card_id"] is not None else None,
        new=card_of(row, "new_"),
        source=row["source"],
        effective_time=row["effective_time"],
        changed_at=row["changed_at"],
        origin=_origin(row),
        old_sources=tuple(row["previous_rate_sources"]),
        new_sources=tuple(row["rate_sources"]),
        revision=row["revision"],
    )


def _origin(row: Row) -> ChangeOrigin:
    return ChangeOrigin(
        kind=OriginKind(row["origin_kind"]),
        actor=row["actor"],
        note=row["note"],
        sync_run_id=row["sync_run_id"],
        held_change_id=row["held_change_id"],
        override_id=row["override_id"],
        reverted_run_id=row["reverted_run_id"],
    )
