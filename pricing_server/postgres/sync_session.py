"""One sync run in Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from pricing_server.errors import DatabaseUnavailable
from pricing_server.fault_points import FaultPoint, pass_fault_point
from pricing_server.fetch import NotModified
from pricing_server.postgres.connection import (
    ORIGIN,
    Connection,
    Row,
    connect_writer,
    fetch_row,
    only,
    translated_errors,
)
from pricing_server.postgres.lease import renewed_lease
from pricing_server.postgres.price_table import read_cards, read_state, write_plan
from pricing_server.postgres.statements import statements
from pricing_server.postgres.validators import confirm_quotes, keep_validators, read_validators
from pricing_server.price_change import ChangeOrigin
from pricing_server.providers.source import Fault, Listing, Notice, Source
from pricing_server.sync.coverage import Covers, with_coverage
from pricing_server.sync.plan import ListingTerms, Plan, cards_to_compare, make_plan
from pricing_server.sync.run import (
    AppliedPlan,
    LastAnswer,
    Named,
    RunDeclaredDead,
    RunOvertaken,
    StartedRun,
    SyncStatus,
)

MAX_LOGGED_FAULTS = 1_000

_SQL = statements("sync")


class PostgresSyncSession:
    """One run's hold on a source. See `pricing_server.sync.run.SyncSession`."""

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

        Raises RunOvertaken; see `pricing_server.sync.run.SyncRequest.newest_run_id`.
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
        with translated_errors():
            async with self._connection.transaction():
                await self._connection.execute(
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
                )
                revision, epoch = await self.head()
                plan = await self._plan(listing, origin, register_unknown)
        return AppliedPlan(plan, revision, epoch, datetime.now(UTC))

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
        applied = await self._committed(
            run, partial(self._apply, run, listing, named, register_unknown)
        )
        assert applied is not None, "a listing can always be applied"
        return applied

    async def confirm(
        self, run: StartedRun, last: LastAnswer, answer: NotModified
    ) -> AppliedPlan | None:
        """Confirm everything that the last answer stated, and finish the run.

        None, and nothing is done, if it was changed since. Raises RunDeclaredDead.
        """
        return await self._committed(run, partial(self._confirm, run, last, answer))

    async def _committed(
        self, run: StartedRun, work: Callable[[], Awaitable[AppliedPlan | None]]
    ) -> AppliedPlan | None:
        """Do the work of a run in one transaction."""
        applied: AppliedPlan | None = None
        try:
            with translated_errors():
                async with self._connection.transaction():
                    applied = await work()
        except DatabaseUnavailable:
            if applied is None or await self._status(run) is not SyncStatus.SUCCESS:
                raise
            # The connection broke, and the commit that was on its way arrived.
        pass_fault_point(FaultPoint.AFTER_COMMIT)
        return applied

    async def _confirm(
        self, run: StartedRun, last: LastAnswer, answer: NotModified
    ) -> AppliedPlan | None:
        cursor = await self._connection.execute(_SQL["lock_head"])
        head = only(await cursor.fetchone())
        plan = await confirm_quotes(
            self._connection, self._source, last, answer.obtained_at, run.sync_run_id
        )
        if plan is None:
            return None
        completed_at = await self._finish(
            plan, run, answer.obtained_at, head["revision"], confirmed=last
        )
        await self._connection.execute(_SQL["notify"], {"origin": ORIGIN})
        return AppliedPlan(plan, head["revision"], head["epoch"], completed_at)

    async def _apply(
        self, run: StartedRun, listing: Listing, named: Named | None, register_unknown: bool
    ) -> AppliedPlan:
        cursor = await self._connection.execute(_SQL["lock_head"])
        head = only(await cursor.fetchone())
        # Critical section: no other process can change a price until the commit.
        plan = await self._plan(listing, run.origin, register_unknown)
        revision = head["revision"] + bool(plan.changes)
        await write_plan(self._connection, plan, listing, self._source, run.sync_run_id, revision)
        await keep_validators(self._connection, self._source, named, plan, run.sync_run_id)
        if plan.changes:
            await self._connection.execute(_SQL["advance_head"])
        pass_fault_point(FaultPoint.BEFORE_FINISH)
        completed_at = await self._finish(plan, run, listing.obtained_at, revision, listing=listing)
        await self._connection.execute(_SQL["notify"], {"origin": ORIGIN})
        pass_fault_point(FaultPoint.BEFORE_COMMIT)
        changes = tuple(replace(change, revision=revision) for change in plan.changes)
        return AppliedPlan(replace(plan, changes=changes), revision, head["epoch"], completed_at)

    async def _plan(self, listing: Listing, origin: ChangeOrigin, register_unknown: bool) -> Plan:
        state = await read_state(self._connection, self._source, listing)
        listed = {model.key for model in listing.models}
        state = await asyncio.to_thread(
            with_coverage, state, listed, self._source.slug, self._covers
        )
        cards = await read_cards(self._connection, cards_to_compare(state, listing, self._source))
        # In a thread, so that look-ups go on.
        return await asyncio.to_thread(
            make_plan,
            state,
            listing,
            self._source,
            cards,
            ListingTerms(origin, datetime.now(UTC), register_unknown),
        )

    async def _finish(
        self,
        plan: Plan,
        run: StartedRun,
        obtained_at: datetime,
        revision: int,
        *,
        listing: Listing | None = None,
        confirmed: LastAnswer | None = None,
    ) -> datetime:
        """Finish the run: of what it read, or of what it confirmed."""
        cursor = await self._connection.execute(
            _SQL["finish_run"],
            {
                **plan.counts,
                "sync_run_id": run.sync_run_id,
                "revision": revision,
                "obtained_at": obtained_at,
                "payload_url": listing.payload_url if listing else None,
                "payload_sha256": listing.payload_sha256 if listing else None,
                "confirmed_run_id": confirmed.sync_run_id if confirmed else None,
                "error_details": _faults(listing.faults if listing else ()),
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
            return await fetch_row(self._connection, statement, values)
        if not self._connection.closed:
            raise DatabaseUnavailable
        async with await connect_writer(self._conninfo) as connection:
            return await fetch_row(connection, statement, values)


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
