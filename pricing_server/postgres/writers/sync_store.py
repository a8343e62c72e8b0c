"""Sync runs in Postgres: where they are made, and what holds for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import psycopg
import structlog
from psycopg.types.json import Jsonb

from pricing_server.domain.errors import DatabaseUnavailable, SyncInProgress
from pricing_server.domain.head import Head
from pricing_server.domain.held_change import ResolveOutcome, ResolveRequest
from pricing_server.domain.revert import RevertOutcome, RevertRequest
from pricing_server.domain.source import SAYS_NOTHING, Source
from pricing_server.postgres.connection import (
    Connection,
    connect_writer,
    fetch_row,
    only,
    translated_errors,
)
from pricing_server.postgres.readers.price_reader import read_head
from pricing_server.postgres.statements import statements
from pricing_server.postgres.writers.held_decisions import PostgresDecisionWork, deciding
from pricing_server.postgres.writers.reverts import reverting
from pricing_server.postgres.writers.sync_session import PostgresSyncSession
from pricing_server.sync.coverage import NOTHING_COVERED, Covers
from pricing_server.sync.decision import decide
from pricing_server.sync.reverting import revert

_SQL = statements("sync")

log = structlog.get_logger(__name__)


class PostgresSyncStore:
    """Makes sync runs, each on a connection of its own."""

    def __init__(self, conninfo: str, covers: Mapping[str, Covers] = NOTHING_COVERED) -> None:
        """`covers` tells by source which ids it states without listing them."""
        self._conninfo = conninfo
        self._covers = covers

    async def prepare(self, sources: Iterable[Source], aliases: Mapping[str, str]) -> None:
        """Register sources and aliases, renew the epoch of a restored database, and close
        the runs of processes that are gone."""
        connection = await connect_writer(self._conninfo)
        with translated_errors():
            async with connection, connection.transaction():
                await connection.execute(_SQL["fail_dead"], {"locked_source": None})
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
                                "coverage": Jsonb(source.coverage.to_document())
                                if source.coverage != SAYS_NOTHING
                                else None,
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
                return await read_head(connection)

    async def latest_release(self, source: Source) -> str | None:
        """The version of a bundled catalogue that was last applied."""
        connection = await connect_writer(self._conninfo)
        with translated_errors():
            async with connection:
                cursor = await connection.execute(_SQL["latest_release"], {"source": source.slug})
                row = await cursor.fetchone()
                return row["release"] if row else None

    async def resolve(self, request: ResolveRequest) -> ResolveOutcome:
        """See `pricing_server.sync.decision`."""
        return await decide(self, request, self._covers)

    def deciding(self) -> AbstractAsyncContextManager[PostgresDecisionWork]:
        """See `pricing_server.sync.decision.DecisionStore`."""
        return deciding(self._conninfo)

    async def revert(self, request: RevertRequest) -> RevertOutcome:
        """See `pricing_server.sync.reverting`."""
        return await revert(partial(reverting, self._conninfo), request)

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
            yield PostgresSyncSession(self._conninfo, connection, source, self._covers, stack)


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
        await fetch_row(connection, _SQL["unlock_source"], {"source": source.slug})
