"""Databases of the tests' own, and ways to look into them past the service."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row

from tests.integration._poll import until

LOG_TABLE = "pricing_sync_log"


@contextmanager
def copied_database(cluster: str, template: str) -> Iterator[str]:
    """A database of its own that begins as a copy of `template`; yields its conninfo."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_database(cluster, name, template)
    try:
        yield make_conninfo(cluster, dbname=name)
    finally:
        with psycopg.connect(cluster, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


def create_database(cluster: str, name: str, template: str = "template0") -> None:
    with psycopg.connect(cluster, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )


def tables_only(found: Mapping[str, object]) -> dict[str, object]:
    """The contents without sequences, of which an upsert uses up numbers."""
    return {name: held for name, held in found.items() if isinstance(held, tuple)}


@contextmanager
def connected(conninfo: str) -> Iterator[psycopg.Connection[DictRow]]:
    """A connection in autocommit mode; rows are dictionaries."""
    with psycopg.connect(conninfo, autocommit=True, row_factory=dict_row) as connection:
        yield connection


def rows(conninfo: str, query: LiteralString, **values: object) -> list[dict[str, Any]]:
    with connected(conninfo) as connection:
        return connection.execute(query, values).fetchall()


def value(conninfo: str, query: LiteralString, **values: object) -> Any:
    """The only value of the only row."""
    ((only,),) = (found.values() for found in rows(conninfo, query, **values))
    return only


def tables(connection: psycopg.Connection[DictRow]) -> list[str]:
    found = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
    )
    return [each["tablename"] for each in found]


def contents(conninfo: str) -> dict[str, object]:
    """Every table as (rows, checksum of all rows), and every sequence: differs if anything does."""
    found: dict[str, object] = {}
    with connected(conninfo) as connection:
        for table in tables(connection):
            summary = connection.execute(
                sql.SQL(
                    "SELECT count(*) AS rows, md5(coalesce(string_agg(line, '' ORDER BY line), ''))"
                    " AS checksum FROM (SELECT md5(listed::text) AS line FROM {} AS listed) AS all_"
                ).format(sql.Identifier(table))
            ).fetchone()
            assert summary
            found[table] = (summary["rows"], summary["checksum"])
        for each in connection.execute("SELECT sequencename, last_value FROM pg_sequences"):
            found[each["sequencename"]] = each["last_value"]
    return found


def prices_only(found: Mapping[str, object]) -> dict[str, object]:
    """The contents without the log of syncs."""
    return {name: held for name, held in found.items() if not name.startswith(LOG_TABLE)}


def writes(conninfo: str) -> dict[str, int]:
    """Rows ever written to each table, rolled back ones too, by sessions that have ended."""
    wait_for_sessions_to_end(conninfo, "pricing-sync")
    counted = rows(
        conninfo,
        "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del AS written FROM pg_stat_user_tables",
    )
    return {each["relname"]: each["written"] for each in counted}


def sessions(conninfo: str, application: str) -> int:
    """How many sessions an application has on this database."""
    count: int = value(
        conninfo,
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = %(application)s",
        application=application,
    )
    return count


def wait_for_sessions_to_end(conninfo: str, application: str) -> None:
    """Return when no session is left. One that has ended has handed in its statistics."""
    until(lambda: sessions(conninfo, application) == 0, f"the end of {application} sessions")
