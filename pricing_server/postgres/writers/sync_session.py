"""One sync run in Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, LiteralString

from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.domain.head import Head
from pricing_server.domain.payload import NotModified
from pricing_server.domain.price_change import ChangeOrigin
from pricing_server.domain.source import Source
from pricing_server.domain.source_listing import Listing
from pricing_server.domain.sync_run import RunOvertaken, SyncStatus
from pricing_server.postgres.connection import (
    ORIGIN,
    Connection,
    Row,
    connect_writer,
    fetch_row,
    only,
    translated_errors,
)
from pricing_server.postgres.statements import statements
from pricing_server.postgres.writers.lease import renewed_lease
from pricing_server.postgres.writers.listing_work import PostgresListingWork, RunEnding, finish_run
from pricing_server.postgres.writers.price_table import lock_head
from pricing_server.postgres.writers.validators import confirm_quotes, read_validators
from pricing_server.runtime.fault_points import FaultPoint, pass_fault_point
from pricing_server.sync.applying import SourceListing, apply_listing, preview_listing
from pricing_server.sync.coverage import Covers
from pricing_server.sync.sync_store import (
    AppliedPlan,
    LastAnswer,
    Named,
    RunDeclaredDead,
    StartedRun,
)

_SQL = statements("sync")


class PostgresSyncSession:
    """One run's hold on a source. See `pricing_server.sync.sync_store.SyncSession`."""

    def __init__(
        self,
        conninfo: str,
        connection: Connection,
        source: Source,
        covers: Mapping[str, Covers],
        stack: AsyncExitStack,
    ) -> None:
        self._conninfo = conninfo
        self._covers = covers
        self._connection = connection
        self._source = source
        self._stack = stack

    async def head(self) -> tuple[int, str]:
        """Revision and epoch of the price table."""
        row = only(await self._fetch_anyhow(statements("lookup")["read_head"], {}))
        return row["revision"], row["epoch"]

    async def start(self, origin: ChangeOrigin, newest_run_id: int | None = None) -> StartedRun:
        """Write the row of the log, and renew its lease until the session ends.

        Raises RunOvertaken; see `pricing_server.domain.sync_run.SyncRequest.newest_run_id`.
        """
        release = self._source.release
        with translated_errors():
            await self._connection.execute(_SQL["fail_dead"], {"locked_source": self._source.slug})
            cursor = await self._connection.execute(
                _SQL["start_run"],
                {
                    "source": self._source.slug,
                    "triggered_by": origin.note,
                    "release": release.version if release else None,
                    "newest_run_id": newest_run_id,
                },
            )
            row = await cursor.fetchone()
        if row is None:
            raise RunOvertaken
        run_id: int = row["sync_run_id"]
        run = StartedRun(run_id, row["started_at"], replace(origin, sync_run_id=run_id))
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

    async def preview(
        self, listing: Listing, origin: ChangeOrigin, *, register_unknown: bool
    ) -> AppliedPlan:
        """Plan a listing and write nothing: the transaction is read-only."""
        listed = SourceListing(self._source, listing, self._covers, register_unknown)
        return await preview_listing(self._reading, listed, origin)

    async def last_answer(self, asked: str) -> LastAnswer | None:
        """What a 304 would confirm, if it could confirm anything."""
        with translated_errors():
            return await read_validators(self._connection, self._source, asked)

    async def apply(
        self,
        run: StartedRun,
        listing: Listing,
        *,
        register_unknown: bool,
        named: Named | None = None,
    ) -> AppliedPlan:
        """Apply a listing and finish the run, in one transaction: all of it or nothing.

        What names its state is kept if all of it was applied, else forgotten. Raises
        RunDeclaredDead if another process has meanwhile ended the run.
        """
        pass_fault_point(FaultPoint.BEFORE_LOCK_HEAD)
        listed = SourceListing(self._source, listing, self._covers, register_unknown)
        return await apply_listing(partial(self._applying, run, named), listed, run.origin)

    async def confirm(
        self, run: StartedRun, last: LastAnswer, answer: NotModified
    ) -> AppliedPlan | None:
        """Confirm everything that the last answer stated, and finish the run.

        None, and nothing is done, if it was changed since. Raises RunDeclaredDead.
        """
        confirmed = None
        async with self._committing(run) as head:
            plan = await confirm_quotes(
                self._connection, self._source, last, answer.obtained_at, run.sync_run_id
            )
            if plan is not None:
                ending = RunEnding(run, plan, answer.obtained_at, head.revision, confirmed=last)
                completed_at = await finish_run(self._connection, ending)
                await self._connection.execute(_SQL["notify"], {"origin": ORIGIN})
                confirmed = AppliedPlan(plan, head.revision, head.epoch, completed_at)
        return confirmed

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[PostgresListingWork]:
        with translated_errors():
            async with self._connection.transaction():
                await self._connection.execute(
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
                )
                yield PostgresListingWork(self._connection, self._source, Head(*await self.head()))

    @asynccontextmanager
    async def _applying(
        self, run: StartedRun, named: Named | None
    ) -> AsyncIterator[PostgresListingWork]:
        async with self._committing(run) as head:
            yield PostgresListingWork(self._connection, self._source, head, run, named)

    @asynccontextmanager
    async def _committing(self, run: StartedRun) -> AsyncIterator[Head]:
        """One transaction that has locked the head, and commits the work of a run."""
        is_done = False
        try:
            with translated_errors():
                async with self._connection.transaction():
                    yield await lock_head(self._connection)
                    is_done = True
        except DatabaseUnavailable:
            if not is_done or await self._status(run) is not SyncStatus.SUCCESS:
                raise
            # The connection broke, and the commit that was on its way arrived.
        pass_fault_point(FaultPoint.AFTER_COMMIT)

    async def _status(self, run: StartedRun) -> SyncStatus:
        row = await self._fetch_anyhow(_SQL["read_status"], {"sync_run_id": run.sync_run_id})
        return SyncStatus(only(row)["status"])

    async def _fetch_anyhow(
        self, statement: LiteralString, values: Mapping[str, Any]
    ) -> Row | None:
        """One row of a statement that needs no lock: on a new connection if ours broke."""
        with suppress(DatabaseUnavailable):
            return await fetch_row(self._connection, statement, values)
        if not self._connection.closed:
            raise DatabaseUnavailable
        async with await connect_writer(self._conninfo) as connection:
            return await fetch_row(connection, statement, values)
