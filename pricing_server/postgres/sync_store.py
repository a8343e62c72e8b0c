"""Sync runs in Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
import structlog
from psycopg.types.json import Jsonb

from pricing_server.errors import DatabaseUnavailable, SyncInProgress
from pricing_server.fault_points import FaultPoint, pass_fault_point
from pricing_server.lookup.price import Head
from pricing_server.postgres.connection import (
    ORIGIN,
    Connection,
    Row,
    connect_writer,
    only,
    translated_errors,
)
from pricing_server.postgres.lease import renewed_lease
from pricing_server.postgres.price_table import read_cards, read_state, write_plan
from pricing_server.postgres.reverts import revert_run
from pricing_server.postgres.statements import statements
from pricing_server.providers.source import Fault, Listing, Notice, Source
from pricing_server.sync.plan import Plan, cards_to_compare, make_plan
from pricing_server.sync.revert import RevertOutcome, RevertRequest
from pricing_server.sync.run import AppliedPlan, RunDeclaredDead, StartedRun, SyncStatus

MAX_LOGGED_FAULTS = 1_000

_SQL = statements("sync")

log = structlog.get_logger(__name__)


class PostgresSyncStore:
    """Makes sync runs, each on a connection of its own."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo

    async def prepare(self, sources: Iterable[Source], aliases: Mapping[str, str]) -> None:
        """Register sources and aliases, renew the epoch of a restored database, and close
        the runs of processes that are gone."""
        connection = await connect_writer(self._conninfo)
        with translated_errors():
            async with connection, connection.transaction():
                await connection.execute(_SQL["fail_dead"], {"held_source": None})
                await connection.execute(_SQL["lock_head"])
                await _renew_epoch(connection)
                async with connection.cursor() as cursor:
                    await cursor.executemany(
                        _SQL["register_source"],
                        [
                            {
                                "source": source.slug,
                                "display_name": source.display_name,
                                "provider": source.provider,
                                "rank": source.rank,
                            }
                            for source in sources
                        ],
                    )
                    await cursor.executemany(
                        _SQL["register_alias"],
                        [{"alias": alias, "provider": to} for alias, to in aliases.items()],
                    )

    async def renew_restored_epoch(self) -> None:
        """Renew the epoch if the database is not the one that it was made in."""
        connection = await connect_writer(self._conninfo)
        with translated_errors():
            async with connection:
                await _renew_epoch(connection)

    async def renew_epoch_behind(self, known: Head) -> Head:
        """Renew the epoch if the price table is behind a state that it once had; its state."""
        connection = await connect_writer(self._conninfo)
        with translated_errors():
            async with connection:
                await connection.execute(
                    _SQL["renew_epoch_behind"],
                    {"revision": known.revision, "epoch": known.epoch},
                )
                cursor = await connection.execute(statements("lookup")["read_head"])
                row = only(await cursor.fetchone())
                return Head(row["revision"], row["epoch"])

    async def latest_release(self, source: Source) -> str | None:
        """The version of a bundled catalogue that was last applied."""
        connection = await connect_writer(self._conninfo)
        with translated_errors():
            async with connection:
                cursor = await connection.execute(_SQL["latest_release"], {"source": source.slug})
                row = await cursor.fetchone()
                return row["release"] if row else None

    async def revert(self, request: RevertRequest) -> RevertOutcome:
        """See `pricing_server.postgres.reverts`."""
        return await revert_run(self._conninfo, request)

    @asynccontextmanager
    async def session(self, source: Source) -> AsyncIterator[PostgresSyncSession]:
        """Take hold of a source for one run, and close what dead runs of it left open.

        Raises SyncInProgress, DatabaseUnavailable.
        """
        async with AsyncExitStack() as stack:
            connection = await connect_writer(self._conninfo)
            stack.push_async_callback(connection.close)
            with translated_errors():
                cursor = await connection.execute(_SQL["try_lock_source"], {"source": source.slug})
                if not only(await cursor.fetchone())["locked"]:
                    cursor = await connection.execute(
                        _SQL["run_in_progress"], {"source": source.slug}
                    )
                    running = only(await cursor.fetchone())
                    raise SyncInProgress(source.slug, running["sync_run_id"])
                # Closing frees it as well, but a moment later: too late for whoever comes next.
                stack.push_async_callback(_unlock, connection, source)
            yield PostgresSyncSession(self._conninfo, connection, source, stack)


class PostgresSyncSession:
    """One run's hold on a source. See `pricing_server.sync.run.SyncSession`."""

    def __init__(
        self, conninfo: str, connection: Connection, source: Source, stack: AsyncExitStack
    ) -> None:
        self._conninfo = conninfo
        self._connection = connection
        self._source = source
        self._stack = stack

    async def head(self) -> tuple[int, str]:
        """Revision and epoch of the price table."""
        row = only(await self._fetch_anyhow(statements("lookup")["read_head"], {}))
        return row["revision"], row["epoch"]

    async def start(self, triggered_by: str) -> StartedRun:
        """Write the row of the log, and renew its lease until the session ends."""
        release = self._source.release
        with translated_errors():
            await self._connection.execute(_SQL["fail_dead"], {"held_source": self._source.slug})
            cursor = await self._connection.execute(
                _SQL["start_run"],
                {
                    "source": self._source.slug,
                    "triggered_by": triggered_by,
                    "release": release.version if release else None,
                },
            )
            row = only(await cursor.fetchone())
        run = StartedRun(row["sync_run_id"], row["started_at"])
        await self._stack.enter_async_context(renewed_lease(self._conninfo, run.sync_run_id))
        return run

    async def fail(self, run: StartedRun, message: str) -> datetime:
        """Move the run to failed; when it did. Raises RunDeclaredDead."""
        row = await self._fetch_anyhow(
            _SQL["fail_run"], {"sync_run_id": run.sync_run_id, "error_message": message}
        )
        if row is None:
            raise RunDeclaredDead(run.sync_run_id)
        completed_at: datetime = row["completed_at"]
        return completed_at

    async def preview(self, listing: Listing, *, register_unknown: bool) -> AppliedPlan:
        """Plan a listing and write nothing: the transaction is read-only."""
        with translated_errors():
            async with self._connection.transaction():
                await self._connection.execute(
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
                )
                revision, epoch = await self.head()
                plan = await self._plan(listing, register_unknown)
        return AppliedPlan(plan, revision, epoch, datetime.now(UTC))

    async def apply(
        self, run: StartedRun, listing: Listing, *, register_unknown: bool
    ) -> AppliedPlan:
        """Apply a listing and finish the run, in one transaction: all of it or nothing.

        Raises RunDeclaredDead if another process has meanwhile ended the run.
        """
        applied: AppliedPlan | None = None
        pass_fault_point(FaultPoint.BEFORE_LOCK_HEAD)
        try:
            with translated_errors():
                async with self._connection.transaction():
                    applied = await self._apply(run, listing, register_unknown)
        except DatabaseUnavailable:
            if applied is None or await self._status(run) is not SyncStatus.SUCCESS:
                raise
            # The connection broke, and the commit that was on its way arrived.
        pass_fault_point(FaultPoint.AFTER_COMMIT)
        return applied

    async def _apply(
        self, run: StartedRun, listing: Listing, register_unknown: bool
    ) -> AppliedPlan:
        cursor = await self._connection.execute(_SQL["lock_head"])
        head = only(await cursor.fetchone())
        # Critical section: no other process can change a price until the commit.
        plan = await self._plan(listing, register_unknown)
        revision = head["revision"] + bool(plan.changes)
        await write_plan(self._connection, plan, listing, self._source, run.sync_run_id, revision)
        if plan.changes:
            await self._connection.execute(_SQL["advance_head"])
        pass_fault_point(FaultPoint.BEFORE_FINISH)
        completed_at = await self._finish(plan, run, listing, revision)
        await self._connection.execute(_SQL["notify"], {"origin": ORIGIN})
        pass_fault_point(FaultPoint.BEFORE_COMMIT)
        changes = tuple(
            replace(change, revision=revision, sync_run_id=run.sync_run_id)
            for change in plan.changes
        )
        return AppliedPlan(replace(plan, changes=changes), revision, head["epoch"], completed_at)

    async def _plan(self, listing: Listing, register_unknown: bool) -> Plan:
        state = await read_state(self._connection, self._source, listing)
        cards = await read_cards(self._connection, cards_to_compare(state, listing, self._source))
        # In a thread, so that look-ups go on.
        return await asyncio.to_thread(
            make_plan,
            state,
            listing,
            self._source,
            cards,
            register_unknown=register_unknown,
            changed_at=datetime.now(UTC),
        )

    async def _finish(
        self, plan: Plan, run: StartedRun, listing: Listing, revision: int
    ) -> datetime:
        cursor = await self._connection.execute(
            _SQL["finish_run"],
            {
                **plan.counts,
                "sync_run_id": run.sync_run_id,
                "revision": revision,
                "obtained_at": listing.obtained_at,
                "payload_url": listing.payload_url,
                "payload_sha256": listing.payload_sha256,
                "error_details": _faults(listing.faults),
                "notices": _notices(plan.notices),
            },
        )
        row = await cursor.fetchone()
        if row is None:
            raise RunDeclaredDead(run.sync_run_id)
        completed_at: datetime = row["completed_at"]
        return completed_at

    async def _status(self, run: StartedRun) -> SyncStatus:
        row = await self._fetch_anyhow(_SQL["read_status"], {"sync_run_id": run.sync_run_id})
        return SyncStatus(only(row)["status"])

    async def _fetch_anyhow(
        self, statement: LiteralString, values: Mapping[str, Any]
    ) -> Row | None:
        """One row of a statement that needs no lock: on a new connection if ours broke."""
        with suppress(DatabaseUnavailable):
            return await _fetch(self._connection, statement, values)
        if not self._connection.closed:
            raise DatabaseUnavailable
        async with await connect_writer(self._conninfo) as connection:
            return await _fetch(connection, statement, values)


async def _renew_epoch(connection: Connection) -> None:
    """Renew the epoch of a restored database, where it is allowed to know."""
    try:
        async with connection.transaction():
            await connection.execute(_SQL["renew_epoch"])
    except psycopg.errors.InsufficientPrivilege as error:
        # Anyone may ask for the identity of the cluster, unless an administrator forbade it.
        log.warning(
            "epoch.not_checked",
            error=error.diag.message_primary,
            consequence="after a restore, renew the epoch by hand: see docs/operations.md",
        )


async def _unlock(connection: Connection, source: Source) -> None:
    with suppress(DatabaseUnavailable):
        await _fetch(connection, _SQL["unlock_source"], {"source": source.slug})


async def _fetch(
    connection: Connection, statement: LiteralString, values: Mapping[str, Any]
) -> Row | None:
    with translated_errors():
        cursor = await connection.execute(statement, values)
        return await cursor.fetchone()


def _faults(faults: Sequence[Fault]) -> Jsonb:
    return Jsonb(
        [
            {"model_id": fault.model_id, "message": fault.message}
            for fault in faults[:MAX_LOGGED_FAULTS]
        ]
    )


def _notices(notices: Sequence[Notice]) -> Jsonb:
    return Jsonb(
        [
            {
                "code": notice.code,
                "message": notice.message,
                "models": notice.models,
                "example": notice.example,
            }
            for notice in notices
        ]
    )
