"""Rows by COPY, the fastest way into a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from psycopg import sql

from pricing_server.postgres.connection import Connection


async def copy_rows(connection: Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Add rows to a table, in the order of its columns."""
    statement = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            await copy.write_row(row)
