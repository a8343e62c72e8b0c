"""Rows of one transaction in temporary tables, from where statements write them all at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from pricing_server.postgres.connection import Connection
from pricing_server.postgres.statements import statements

Staged: TypeAlias = Literal["models", "cards", "quotes", "covered", "prices", "holds"]

_SQL = statements("staging")


async def stage_rows(
    connection: Connection, name: Staged, rows: Iterable[tuple[Any, ...]] = ()
) -> None:
    """Make the temporary table staged_<name> of these rows, in the order of its columns."""
    await connection.execute(_SQL[f"stage_{name}"])
    async with connection.cursor() as cursor, cursor.copy(_SQL[f"copy_{name}"]) as copy:
        for row in rows:
            await copy.write_row(row)
