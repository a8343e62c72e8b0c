"""Brings a database's schema up to date from plain SQL files, upwards only.

Files are named `NNNN_name.sql`, numbered from 0001 without gaps, and can as well be applied with
psql in that order. Each runs in one transaction together with its entry in `schema_migrations`, so
it holds neither BEGIN nor COMMIT, and whatever kills a process leaves a file applied or not.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

_FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_LOCK = 0x6C6C6D7072696365  # "llmprice"; any number that nobody else locks
_CONNECT_SECONDS = 5
_MIGRATE = "run pricing-server migrate with PRICING_DATABASE_URL of the owner"
_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    int         PRIMARY KEY,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationError(Exception):
    """The schema cannot be brought up to date; files before the one named stay applied."""


class DatabaseNotReached(MigrationError):
    """The database does not answer, now; nothing is known of its migrations."""


@dataclass(frozen=True, slots=True)
class _Migration:
    version: int
    name: str
    sql: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql).hexdigest()


def apply_migrations(conninfo: str, directory: Path) -> list[str]:
    """Applies what is missing and returns the names of these files, in order.

    Processes that call this at once take turns. Raises MigrationError when a number is missing or
    given twice, an applied file was edited, the database is newer than this build, or a statement
    fails.
    """
    migrations = _read(directory)
    try:
        connection = psycopg.connect(conninfo, autocommit=True, connect_timeout=_CONNECT_SECONDS)
    except psycopg.OperationalError as error:
        raise DatabaseNotReached(f"cannot migrate the database: {_reason(error)}") from error
    try:
        with connection:
            # Held by the session: it ends with this process, however that ends.
            connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
            connection.execute(_TABLE)
            pending = _pending(connection, migrations)
            for migration in pending:
                _apply(connection, migration)
    except psycopg.Error as error:
        kind = DatabaseNotReached if _is_lost(error) else MigrationError
        raise kind(f"cannot migrate the database: {_reason(error)}") from error
    return [migration.name for migration in pending]


def check_access(conninfo: str, role: str, directory: Path) -> None:
    """Makes sure that this login may act as the role and finds the schema of this build.

    Raises MigrationError if not.
    """
    migrations = _read(directory)
    user = role
    try:
        with psycopg.connect(
            conninfo, autocommit=True, connect_timeout=_CONNECT_SECONDS
        ) as connection:
            user = connection.info.user
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            pending = _pending(connection, migrations)
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationError(
            f"the login {user} cannot act as {role}: {_reason(error)}; "
            f"let an administrator run: GRANT {role} TO {user}"
        ) from error
    except (psycopg.errors.InvalidParameterValue, psycopg.errors.UndefinedTable) as error:
        raise MigrationError(f"{_reason(error)}: {_MIGRATE}") from error
    except psycopg.OperationalError as error:
        raise DatabaseNotReached(f"cannot connect as {role}: {_reason(error)}") from error
    except psycopg.Error as error:
        raise MigrationError(f"cannot act as {role}: {_reason(error)}") from error
    if pending:
        raise MigrationError(f"{pending[0].name} is not applied: {_MIGRATE}")


def _read(directory: Path) -> list[_Migration]:
    migrations = []
    for expected, path in enumerate(sorted(directory.glob("*.sql")), start=1):
        name = _FILE_NAME.fullmatch(path.name)
        if not name or int(name[1]) != expected:
            raise MigrationError(f"{path}: expected a file named {expected:04}_name.sql here")
        migrations.append(_Migration(expected, path.name, path.read_bytes()))
    if not migrations:
        raise MigrationError(f"no migrations in {directory}")
    return migrations


def _pending(connection: psycopg.Connection, migrations: list[_Migration]) -> list[_Migration]:
    applied = connection.execute(
        "SELECT version, name, sha256 FROM schema_migrations ORDER BY version"
    ).fetchall()
    if not applied and _has_tables(connection):
        raise MigrationError(
            "the database has this service's tables and no record of its migrations: were they "
            "applied with psql? Record each in schema_migrations (version, name, sha256)"
        )
    if len(applied) > len(migrations):
        raise MigrationError(
            f"the database is newer than this build, which ends at {migrations[-1].name}: "
            f"{applied[-1][1]} is applied; run a newer build"
        )
    for (version, name, sha256), migration in zip(applied, migrations, strict=False):
        if version != migration.version:
            raise MigrationError(f"{name} is applied, but {migration.name} is not")
        if sha256 != migration.sha256:
            raise MigrationError(f"{migration.name} was edited after it was applied as {name}")
    return migrations[len(applied) :]


def _has_tables(connection: psycopg.Connection) -> bool:
    row = connection.execute("SELECT to_regclass('price_table_head') IS NOT NULL").fetchone()
    return bool(row and row[0])


def _apply(connection: psycopg.Connection, migration: _Migration) -> None:
    try:
        with connection.transaction():
            connection.execute(migration.sql)
            if connection.info.transaction_status != TransactionStatus.INTRANS:
                raise MigrationError(f"{migration.name} ends its transaction: remove its COMMIT")
            connection.execute(
                "INSERT INTO schema_migrations (version, name, sha256) VALUES (%s, %s, %s)",
                [migration.version, migration.name, migration.sha256],
            )
    except psycopg.Error as error:
        kind = DatabaseNotReached if _is_lost(error) else MigrationError
        raise kind(f"{migration.name} failed: {_reason(error)}") from error


def _is_lost(error: psycopg.Error) -> bool:
    """Whether the connection ended, or the server did: no fault of a statement."""
    state = error.sqlstate or ""
    return isinstance(error, psycopg.OperationalError) and (
        not state or state.startswith(("08", "57P"))
    )


def _reason(error: psycopg.Error) -> str:
    """The server's one-line message, or the driver's when there was no server to say anything."""
    return error.diag.message_primary or " ".join(str(error).split())
