"""Connections to the price database, and its errors in the service's own terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from llmpricing.rate_card import RateCard
from pricing_server.errors import DatabaseUnavailable

Connection: TypeAlias = AsyncConnection[DictRow]
Pool: TypeAlias = AsyncConnectionPool[Connection]
Row: TypeAlias = Mapping[str, Any]

CONNECT_TIMEOUT_SECONDS = 3
READ_TIMEOUT_MS = 2_000
WRITE_TIMEOUT_MS = 60_000


def is_conninfo(text: str) -> bool:
    """Whether the text can be a Postgres URL or a libpq conninfo."""
    try:
        return bool(conninfo_to_dict(text))
    except psycopg.ProgrammingError:
        return False


def read_pool(conninfo: str, *, size: int) -> Pool:
    """A pool for look-ups, not yet open: short waits, bounded queries, read-only."""
    return AsyncConnectionPool(
        conninfo,
        connection_class=AsyncConnection[DictRow],
        kwargs={
            **_options("pricing-read", READ_TIMEOUT_MS),
            "autocommit": True,
        },
        min_size=1,
        max_size=size,
        timeout=READ_TIMEOUT_MS / 1000,
        max_waiting=1_000,
        reconnect_timeout=5,
        check=AsyncConnectionPool.check_connection,
        configure=_read_only,
        open=False,
    )


async def connect_writer(conninfo: str) -> Connection:
    """A connection of its own for one sync run. Raises DatabaseUnavailable."""
    with translated_errors():
        return await AsyncConnection[DictRow].connect(
            conninfo, autocommit=True, **_options("pricing-sync", WRITE_TIMEOUT_MS)
        )


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn "cannot be asked now" into DatabaseUnavailable; faults of ours pass as they are."""
    try:
        yield
    except (psycopg.OperationalError, PoolTimeout, PoolClosed, TooManyRequests) as error:
        raise DatabaseUnavailable from error


def card_of(row: Row, prefix: str = "") -> RateCard:
    """The rate card in a row's columns state, currency and rates."""
    return RateCard.from_document(
        {
            "state": row[f"{prefix}state"],
            "currency": row[f"{prefix}currency"],
            "rates": row[f"{prefix}rates"],
        }
    )


async def _read_only(connection: Connection) -> None:
    await connection.set_read_only(True)


def _options(name: str, statement_timeout_ms: int) -> dict[str, Any]:
    return {
        "row_factory": dict_row,
        "application_name": name,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "options": f"-c statement_timeout={statement_timeout_ms} -c timezone=UTC",
    }
