"""Sync runs in Postgres. Holds every statement that changes the price table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from llmpricing.rate_card import PriceState
from llmpricing.schedule import headline
from pricing_server.errors import SyncInProgress
from pricing_server.postgres.connection import (
    Connection,
    Row,
    card_of,
    connect_writer,
    translated_errors,
)
from pricing_server.postgres.statements import statements
from pricing_server.providers.source import Fault, Listing, Notice, Source
from pricing_server.sync.plan import (
    KnownModel,
    Plan,
    Quote,
    TableState,
    cards_to_compare,
    make_plan,
)
from pricing_server.sync.run import AppliedPlan, StartedRun

MAX_LOGGED_FAULTS = 1_000

_SQL = statements("sync")


class RunDeclaredDead(Exception):
    """The run's row is no longer in progress: another process declared it dead."""


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
                await connection.execute(_SQL["lock_head"])
                await connection.execute(_SQL["renew_epoch"])
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
        for source in sources:
            try:
                async with self.session(source):
                    pass
            except SyncInProgress:
                continue

    async def latest_release(self, source: Source) -> str | None:
        """The version of a bundled catalogue that was last applied."""
        connection = await connect_writer(self._conninfo)
        with translated_errors():
            async with connection:
                cursor = await connection.execute(_SQL["latest_release"], {"source": source.slug})
                row = await cursor.fetchone()
                return row["release"] if row else None

    @asynccontextmanager
    async def session(self, source: Source) -> AsyncIterator[PostgresSyncSession]:
        """Take hold of a source for one run, and close what dead runs of it left open.

        Raises SyncInProgress, DatabaseUnavailable.
        """
        connection = await connect_writer(self._conninfo)
        try:
            with translated_errors():
                cursor = await connection.execute(_SQL["try_lock_source"], {"source": source.slug})
                locked = await cursor.fetchone()
                if locked is None or not locked["locked"]:
                    cursor = await connection.execute(
                        _SQL["run_in_progress"], {"source": source.slug}
                    )
                    running = await cursor.fetchone()
                    raise SyncInProgress(source.slug, running["sync_run_id"] if running else None)
                await connection.execute(_SQL["fail_orphans"], {"source": source.slug})
            yield PostgresSyncSession(connection, source)
        finally:
            # Closing frees the lock, also when this task is being cancelled.
            await connection.close()


class PostgresSyncSession:
    """One run's hold on a source. See `pricing_server.sync.run.SyncSession`."""

    def __init__(self, connection: Connection, source: Source) -> None:
        self._connection = connection
        self._source = source

    async def head(self) -> tuple[int, str]:
        """Revision and epoch of the price table."""
        with translated_errors():
            cursor = await self._connection.execute(statements("lookup")["read_head"])
            row = _only(await cursor.fetchone())
            return row["revision"], row["epoch"]

    async def start(self, triggered_by: str) -> StartedRun:
        """Write the row of the log."""
        release = self._source.release
        with translated_errors():
            cursor = await self._connection.execute(
                _SQL["start_run"],
                {
                    "source": self._source.slug,
                    "triggered_by": triggered_by,
                    "release": release.version if release else None,
                },
            )
            row = _only(await cursor.fetchone())
            return StartedRun(row["sync_run_id"], row["started_at"])

    async def fail(self, run: StartedRun, message: str) -> datetime:
        """Move the run to failed; when it did."""
        with translated_errors():
            cursor = await self._connection.execute(
                _SQL["fail_run"],
                {"sync_run_id": run.sync_run_id, "error_message": message},
            )
            row = await cursor.fetchone()
            if row is None:
                raise RunDeclaredDead(f"run {run.sync_run_id} is not in progress any more")
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
        """Apply a listing and finish the run, in one transaction: all of it or nothing."""
        with translated_errors():
            async with self._connection.transaction():
                cursor = await self._connection.execute(_SQL["lock_head"])
                head = _only(await cursor.fetchone())
                # Critical section: no other process can change a price until the commit.
                plan = await self._plan(listing, register_unknown, run)
                revision = head["revision"] + bool(plan.changes)
                await self._write(plan, run, listing, revision)
                if plan.changes:
                    await self._connection.execute(_SQL["advance_head"])
                completed_at = await self._finish(plan, run, listing, revision)
                await self._connection.execute(_SQL["notify"], {"revision": revision})
        changes = tuple(
            replace(change, revision=revision, sync_run_id=run.sync_run_id)
            for change in plan.changes
        )
        return AppliedPlan(replace(plan, changes=changes), revision, head["epoch"], completed_at)

    async def _plan(
        self, listing: Listing, register_unknown: bool, run: StartedRun | None = None
    ) -> Plan:
        state = await self._read_state(listing)
        cursor = await self._connection.execute(
            _SQL["read_cards"],
            {"card_ids": list(cards_to_compare(state, listing, self._source))},
        )
        cards = {row["card_id"]: card_of(row) async for row in cursor}
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

    async def _read_state(self, listing: Listing) -> TableState:
        cursor = await self._connection.execute(
            _SQL["read_models"],
            {
                "providers": list({model.provider for model in listing.models}),
                "source": self._source.slug,
            },
        )
        models = {
            model.key: model
            async for model in (
                KnownModel(
                    model_key=row["model_key"],
                    provider=row["provider"],
                    model_id=row["model_id"],
                    is_active=row["is_active"],
                    card_id=row["card_id"],
                    source=row["source"],
                )
                async for row in cursor
            )
        }
        providers = {model.model_key: model.provider for model in models.values()}
        cursor = await self._connection.execute(
            _SQL["read_quotes"], {"model_keys": list(providers)}
        )
        quotes: dict[int, list[Quote]] = {}
        async for row in cursor:
            quotes.setdefault(row["model_key"], []).append(
                Quote(
                    source=row["source"],
                    rank=row["rank"],
                    is_own_api=row["own_provider"] == providers[row["model_key"]],
                    card_id=row["card_id"],
                    state=PriceState(row["state"]),
                    obtained_at=row["obtained_at"],
                    missing_syncs=row["missing_syncs"],
                )
            )
        cursor = await self._connection.execute(
            _SQL["previous_obtained_at"], {"source": self._source.slug}
        )
        previous = await cursor.fetchone()
        return TableState(
            models,
            {key: tuple(found) for key, found in quotes.items()},
            previous["obtained_at"] if previous else None,
        )

    async def _write(self, plan: Plan, run: StartedRun, listing: Listing, revision: int) -> None:
        values: dict[str, Any] = {
            "source": self._source.slug,
            "sync_run_id": run.sync_run_id,
            "revision": revision,
            "changed_at": plan.changed_at,
            "changed_by": f"api_sync:{self._source.slug}",
            "model_keys": list(plan.missing),
        }
        sellers = sorted({model.provider for model in listing.models})
        values["providers"] = sellers
        values["display_names"] = [listing.provider_names.get(name, name) for name in sellers]
        for statement in _SQL["stage"].split(";"):
            await self._connection.execute(statement)
        await self._copy_staged(plan)
        for name in (
            "apply_providers",
            "apply_models",
            "apply_cards",
            "apply_quotes",
            "apply_missing",
            "apply_history",
            "apply_prices",
            "apply_sources",
            "apply_activity",
        ):
            await self._connection.execute(_SQL[name], values)

    async def _copy_staged(self, plan: Plan) -> None:
        await self._copy(
            "staged_models",
            (
                (
                    quoted.listed.provider,
                    quoted.listed.model_id,
                    quoted.listed.hugging_face_id,
                    quoted.listed.canonical_slug,
                    quoted.listed.alias_target,
                )
                for quoted in plan.quoted
            ),
        )
        await self._copy(
            "staged_cards",
            (
                (card_id, document["state"], document["currency"], Jsonb(document["rates"]))
                for card_id, document in (
                    (card_id, card.to_document()) for card_id, card in plan.cards.items()
                )
            ),
        )
        await self._copy(
            "staged_quotes",
            (
                (
                    quoted.listed.provider,
                    quoted.listed.model_id,
                    quoted.card_id,
                    quoted.listed.fragment,
                    quoted.obtained_at,
                )
                for quoted in plan.quoted
            ),
        )
        await self._copy("staged_prices", _staged_prices(plan))

    async def _copy(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        statement = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))
        async with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                await copy.write_row(row)

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
                "error_details": _faults(listing.faults),
                "notices": _notices(plan.notices),
            },
        )
        row = await cursor.fetchone()
        if row is None:
            raise RunDeclaredDead(f"run {run.sync_run_id} is not in progress any more")
        completed_at: datetime = row["completed_at"]
        return completed_at


def _staged_prices(plan: Plan) -> Iterable[tuple[Any, ...]]:
    for change in plan.changes:
        price = headline(change.new, change.changed_at)
        yield (
            change.provider,
            change.model_id,
            change.kind.value,
            change.new.card_id,
            change.source,
            price.prompt,
            price.completion,
            change.effective_time,
        )
    for model, source, card_id in plan.source_changes:
        yield (model.provider, model.model_id, None, card_id, source, None, None, None)


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


def _only(row: Row | None) -> Row:
    assert row is not None, "the statement always returns a row"
    return row
