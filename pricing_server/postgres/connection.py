"""Connections to the price database, and its errors in the service's own terms."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, LiteralString, TypeAlias

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from llmpricing.rate_card import RateCard
from pricing_server.domain.errors import DatabaseUnavailable

Connection: TypeAlias = AsyncConnection[DictRow]
Pool: TypeAlias = AsyncConnectionPool[Connection]
Row: TypeAlias = Mapping[str, Any]

ORIGIN: Final = uuid.uuid4().hex
"""This process, in the notifications that it sends."""

READER: Final = "pricing_reader"
WRITER: Final = "pricing_writer"

CONNECT_TIMEOUT_SECONDS = 3
READ_TIMEOUT_MS = 1_000
WRITE_TIMEOUT_MS = 60_000

# A lock is freed soon after its holder is gone: if its process died while a statement
# runs, if its host vanished, or if it froze in the middle of a transaction.
_FREED_SOON = {
    "client_connection_check_interval": "1s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": "30s",
}


def is_conninfo(text: str) -> bool:
    """Whether the text can be a Postgres URL or a libpq conninfo."""
    try:
        return bool(conninfo_to_dict(text))
    except psycopg.ProgrammingError:
        return False


def read_pool(conninfo: str, *, size: int) -> Pool:
    """A pool for look-ups, not yet open: short waits, bounded queries, read-only.

    It acts as pricing_reader, of which the login is a member.
    """
    return AsyncConnectionPool(
        conninfo,
        connection_class=AsyncConnection[DictRow],
        kwargs={
            **_options("pricing-read", READER, READ_TIMEOUT_MS),
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


async def connect_writer(conninfo: str, name: str = "pricing-sync") -> Connection:
    """A connection of its own for what changes prices. Raises DatabaseUnavailable."""
    options = _options(name, WRITER, WRITE_TIMEOUT_MS)
    options["options"] += "".join(f" -c {name}={value}" for name, value in _FREED_SOON.items())
    with translated_errors():
        return await AsyncConnection[DictRow].connect(conninfo, autocommit=True, **options)


def listener_options() -> dict[str, Any]:
    """How a connection that waits for notifications connects."""
    options = _options("pricing-watch", READER, READ_TIMEOUT_MS)
    del options["row_factory"]
    return options


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn "cannot be asked now" into DatabaseUnavailable; faults of ours pass as they are."""
    try:
        yield
    except (
        psycopg.OperationalError,
        psycopg.errors.IdleInTransactionSessionTimeout,
        PoolTimeout,
        PoolClosed,
        TooManyRequests,
    ) as error:
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


def only(row: Row | None) -> Row:
    """The row of a statement that always returns one."""
    assert row is not None, "the statement always returns a row"
    return row


async def _read_only(connection: Connection) -> None:
    await connection.set_read_only(True)


def _options(name: str, role: str, statement_timeout_ms: int) -> dict[str, Any]:
    return {
        "row_factory": dict_row,
        "application_name": name,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        # A host that vanished without a word is noticed within half a minute.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        # As an option of the session, the role outlives RESET ROLE and DISCARD ALL.
        "options": f"-c role={role} -c statement_timeout={statement_timeout_ms} -c timezone=UTC",
    }


async def fetch_row(
    connection: Connection, statement: LiteralString, values: Mapping[str, Any]
) -> Row | None:
    """One row of a statement. Raises DatabaseUnavailable."""
    with translated_errors():
        cursor = await connection.execute(statement, values)
        return await cursor.fetchone()
