"""Look-ups cannot write, syncs cannot rewrite history, and neither needs the owner's login.

Each test runs on the newest Postgres and, where one is installed, on the system's.
"""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import InsufficientPrivilege

from pricing_server.cli import migrations_directory
from pricing_server.domain.sellers import ALIASES
from pricing_server.postgres.connection import READER, WRITER, connect_writer, read_pool
from pricing_server.postgres.embedded.cluster import Cluster
from pricing_server.postgres.embedded.embedded_postgres import embedded_postgres
from pricing_server.postgres.embedded.host import major_version, server_account
from pricing_server.postgres.maintenance.migrations import (
    MigrationError,
    apply_migrations,
    check_access,
)
from pricing_server.postgres.statements import statements
from pricing_server.postgres.writers.sync_store import PostgresSyncStore
from pricing_server.providers import SOURCES
from tests.integration._database import connected, contents, rows, tables, value
from tests.integration._feed import Feed, payload, row
from tests.integration._postgres import scratch_directory
from tests.integration._server import Server, in_process_server, server_process

MIGRATIONS = migrations_directory()
MODEL = "openai/gpt-made-up"

INSERTS = {
    "providers",
    "provider_aliases",
    "sources",
    "source_validators",
    "pricing_sync_log",
    "models",
    "rate_cards",
    "price_quotes",
    "covered_ids",
    "model_pricing",
    "model_pricing_history",
    "alert_incidents",
    "alert_notices",
    "price_overrides",
    "held_changes",
}
UPDATES = {
    "provider_aliases",
    "sources",
    "source_validators",
    "price_table_head",
    "price_quotes",
    "covered_ids",
    "model_pricing",
}
UPDATES_SOME_COLUMNS = {
    "models",
    "pricing_sync_log",
    "alert_incidents",
    "alert_notices",
    "price_overrides",
    "held_changes",
}
DELETES = {"pricing_sync_log", "alert_incidents", "alert_notices", "covered_ids"}


@dataclass(frozen=True, slots=True)
class Database:
    """A database with two logins beside its owner's."""

    owner: str
    reader: str
    writer: str

    @property
    def urls(self) -> dict[str, str]:
        """As settings of a server that does not know the owner."""
        return {"database_reader_url": self.reader, "database_writer_url": self.writer}


@pytest.fixture(scope="module", params=["newest", "system"])
def cluster(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of the module's own, since roles belong to the whole of it."""
    with scratch_directory() as scratch:
        if request.param == "system":
            initialise_with_system_postgres(scratch)
        with embedded_postgres(scratch) as conninfo:
            yield make_conninfo(conninfo, dbname="postgres")


@pytest.fixture
def bare_database(cluster: str) -> Iterator[str]:
    """The conninfo of an empty database."""
    with created_database(cluster) as conninfo:
        yield conninfo


@pytest.fixture
def database(bare_database: str) -> Iterator[Database]:
    """A migrated database of the test's own with a row in every table."""
    with filled(bare_database) as made:
        yield made


@pytest.fixture(scope="module")
def shared_database(cluster: str) -> Iterator[Database]:
    """The same for tests that must not change it."""
    with created_database(cluster) as conninfo, filled(conninfo) as made:
        yield made


@contextmanager
def filled(conninfo: str) -> Iterator[Database]:
    """Migrates a database, gives it a login for each role, and a row in every table."""
    apply_migrations(conninfo, MIGRATIONS)
    with (
        login(conninfo, f"IN ROLE {READER}") as reader,
        login(conninfo, f"IN ROLE {WRITER}") as writer,
    ):
        with connected(conninfo) as connection:
            connection.execute(ONE_ROW_EVERYWHERE)
        yield Database(conninfo, reader, writer)


ONE_ROW_EVERYWHERE = f"""
INSERT INTO providers VALUES ('maker', 'Maker');
INSERT INTO provider_aliases VALUES ('other', 'maker');
INSERT INTO sources VALUES ('feed', 'Feed', NULL, 9);
INSERT INTO pricing_sync_log (source, triggered_by) VALUES ('feed', 'test');
UPDATE pricing_sync_log SET status = 'success', completed_at = now(), revision = 1;
INSERT INTO models (provider, model_id) VALUES ('maker', 'model');
INSERT INTO rate_cards VALUES ('{"0" * 64}', 'unpriced', 'USD', '[]');
INSERT INTO price_quotes
SELECT model_key, 'feed', '{"0" * 64}', '{{}}', now(), sync_run_id FROM models, pricing_sync_log;
INSERT INTO model_pricing (model_key, quoted_model_key, card_id, source, effective_time, revision)
SELECT model_key, model_key, '{"0" * 64}', 'feed', now(), 1 FROM models;
INSERT INTO models (provider, model_id) VALUES ('maker', 'model-latest');
INSERT INTO covered_ids
SELECT covered.model_key, 'feed', covering.model_key, true
FROM models AS covered, models AS covering
WHERE covered.model_id = 'model-latest' AND covering.model_id = 'model';
INSERT INTO model_pricing_history
SELECT 1, model_key, 'added', NULL, '{"0" * 64}', NULL, NULL, NULL, NULL, 'feed',
       now(), now(), 'sync', 'test', '', sync_run_id
FROM models, pricing_sync_log WHERE model_id = 'model';
INSERT INTO price_overrides (model_key, card_id, replace_card, reason, set_by, set_at)
SELECT model_key, '{"0" * 64}', false, 'test', 'test', now() FROM models WHERE model_id = 'model';
INSERT INTO source_validators
SELECT 'feed', '{"0" * 64}', '"tag"', NULL, sync_run_id, now() FROM pricing_sync_log;
INSERT INTO held_changes (source, provider, model_id, reason, evidence, card_id, fragment,
                          obtained_at, last_obtained_at, first_run, last_run, held_since,
                          last_stated)
SELECT 'feed', 'maker', 'model', 'ratio_to_past', '[]', '{"0" * 64}', '{{}}', now(), now(),
       sync_run_id, sync_run_id, now(), now()
FROM pricing_sync_log;
UPDATE price_table_head SET revision = 1;
INSERT INTO alert_incidents (source, kind) VALUES ('feed', 'stale');
INSERT INTO alert_notices (incident_id, event, document)
SELECT incident_id, 'opened', '{{}}' FROM alert_incidents;
"""


def initialise_with_system_postgres(home: Path) -> None:
    newest_first = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name)
    )
    installed = [each for each in newest_first if 14 <= major_version(each) <= 18]
    if not installed:
        pytest.skip("no PostgreSQL 14 to 18 is installed on this machine")
    account = server_account(home / "cluster")
    lock = os.open(home / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        Cluster(home, account, installed[0]).initialise(lock)
    finally:
        os.close(lock)


@contextmanager
def created_database(cluster: str, owner: str | None = None) -> Iterator[str]:
    name = f"roles_{uuid.uuid4().hex[:12]}"
    with connected(cluster) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 OWNER {}").format(
                sql.Identifier(name), sql.Identifier(owner) if owner else sql.SQL("DEFAULT")
            )
        )
        try:
            yield make_conninfo(cluster, dbname=name)
        finally:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


@contextmanager
def login(database: str, attributes: str) -> Iterator[str]:
    """A login with these attributes; yields its conninfo for the database."""
    name, password = f"login_{uuid.uuid4().hex[:12]}", "made-up"
    with connected(database) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} " + attributes).format(
                sql.Identifier(name), sql.Literal(password)
            )
        )
        try:
            yield make_conninfo(database, user=name, password=password)
        finally:
            connection.execute(
                sql.SQL("DROP OWNED BY {0} CASCADE; DROP ROLE {0}").format(sql.Identifier(name))
            )


@contextmanager
def owned_database(cluster: str, attributes: str = "") -> Iterator[str]:
    """A database whose owner is an ordinary login; its conninfo."""
    with login(cluster, attributes) as owner:
        user = conninfo_to_dict(owner)["user"]
        with created_database(cluster, str(user)) as conninfo:
            yield make_conninfo(owner, dbname=conninfo_to_dict(conninfo)["dbname"])


@contextmanager
def roles_absent(cluster: str) -> Iterator[None]:
    """As in a cluster that has never seen a migration. What is made meanwhile is removed."""
    with connected(cluster) as connection:

        def rename(old: str, new: str) -> None:
            if value(cluster, "SELECT to_regrole(%(old)s) IS NOT NULL", old=old):
                connection.execute(
                    sql.SQL("ALTER ROLE {} RENAME TO {}").format(
                        sql.Identifier(old), sql.Identifier(new)
                    )
                )

        for role in (READER, WRITER):
            rename(role, f"parked_{role}")
        try:
            yield
        finally:
            for role in (READER, WRITER):
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))
                rename(f"parked_{role}", role)


def user_of(conninfo: str) -> str:
    return str(conninfo_to_dict(conninfo)["user"])


def refused(conninfo: str, statement: str) -> str:
    """What Postgres says to a statement that this login has no right to."""
    with connected(conninfo) as connection:
        try:
            with connection.transaction():
                connection.execute(statement.encode())
        except InsufficientPrivilege as error:
            return str(error)
    raise AssertionError(f"not refused: {statement}")


def all_tables(conninfo: str) -> list[str]:
    with connected(conninfo) as connection:
        return tables(connection)


# Rights ---------------------------------------------------------------------------------


def test_reader_sees_everything(shared_database: Database) -> None:
    assert contents(shared_database.reader) == {
        # Sequences are not of its concern.
        name: held if isinstance(held, tuple) else None
        for name, held in contents(shared_database.owner).items()
    }
    assert value(shared_database.reader, "SELECT count(*) FROM rates") == 0


def test_reader_writes_to_no_table(shared_database: Database) -> None:
    before = contents(shared_database.owner)
    for table in all_tables(shared_database.owner):
        column = value(
            shared_database.owner,
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = %(table)s AND is_generated = 'NEVER' AND is_identity = 'NO'"
            " ORDER BY ordinal_position LIMIT 1",
            table=table,
        )
        for statement in (
            f"INSERT INTO {table} DEFAULT VALUES",
            f"UPDATE {table} SET {column} = {column}",
            f"DELETE FROM {table}",
            f"TRUNCATE {table}",
            f"COPY {table} FROM STDIN",
            f"SELECT FROM {table} FOR UPDATE",
            f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE",
            f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
        ):
            refused(shared_database.reader, statement)
    for sequence in ("models_model_key_seq", "pricing_sync_log_sync_run_id_seq"):
        refused(shared_database.reader, f"SELECT nextval('{sequence}')")
        refused(shared_database.reader, f"SELECT setval('{sequence}', 1)")
    assert contents(shared_database.owner) == before


def test_no_function_lends_its_owners_rights_or_trusts_the_callers_path(
    shared_database: Database,
) -> None:
    found = rows(
        shared_database.owner,
        "SELECT prosecdef, proconfig FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    )
    assert len(found) >= 3
    for function in found:
        assert not function["prosecdef"]
        assert function["proconfig"] == ["search_path=pg_catalog, pg_temp"]


async def test_reader_cannot_prepare_or_sync(shared_database: Database) -> None:
    store = PostgresSyncStore(shared_database.reader)
    with pytest.raises(Exception, match="cannot be reached"):
        await store.prepare(SOURCES.values(), ALIASES)


def test_writer_has_these_rights_and_no_others(shared_database: Database) -> None:
    held = {
        privilege: {
            each["relname"]
            for each in rows(
                shared_database.owner,
                "SELECT relname FROM pg_class, aclexplode(relacl) AS acl"
                " WHERE relnamespace = 'public'::regnamespace"
                " AND grantee = to_regrole(%(role)s) AND privilege_type = %(privilege)s",
                role=WRITER,
                privilege=privilege,
            )
        }
        for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE")
    }
    everything = {
        *all_tables(shared_database.owner),
        *("rates", "locked_sources", "current_prices", "source_syncs", "overrides_in_force"),
        *("price_changes", "pending_changes", "held_change_details", "stated_quotes"),
        "known_models",
    }
    assert held == {
        "SELECT": everything,
        "INSERT": INSERTS,
        "UPDATE": UPDATES,
        "DELETE": DELETES,
    }
    others = rows(
        shared_database.owner,
        "SELECT relname, grantee::regrole::text, privilege_type"
        " FROM pg_class, aclexplode(relacl) AS acl"
        " WHERE relnamespace = 'public'::regnamespace AND grantee <> relowner"
        " AND NOT (grantee = to_regrole('pricing_writer')"
        "          AND privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE'))"
        " AND NOT (grantee = to_regrole('pricing_reader') AND privilege_type = 'SELECT')",
    )
    assert others == []
    some_columns = rows(
        shared_database.owner,
        "SELECT DISTINCT attrelid::regclass::text AS relname"
        " FROM pg_attribute, aclexplode(attacl) AS acl WHERE NOT attisdropped"
        " AND attrelid IN (SELECT oid FROM pg_class"
        "                  WHERE relnamespace = 'public'::regnamespace)",
    )
    assert {each["relname"] for each in some_columns} == UPDATES_SOME_COLUMNS


def test_every_table_has_row_level_security(shared_database: Database) -> None:
    without = rows(
        shared_database.owner,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relrowsecurity",
    )
    assert without == []


def test_right_granted_to_a_stranger_shows_and_changes_no_row(database: Database) -> None:
    with login(database.owner, "") as stranger:
        with connected(database.owner) as connection:
            connection.execute(
                sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA public TO {}").format(
                    sql.Identifier(user_of(stranger))
                )
            )
        for table in all_tables(database.owner):
            with connected(stranger) as connection:
                name = sql.Identifier(table)
                assert not connection.execute(sql.SQL("SELECT FROM {}").format(name)).fetchall()
        with connected(stranger) as connection:
            assert connection.execute("UPDATE models SET is_active = is_active").rowcount == 0
            assert connection.execute("DELETE FROM providers").rowcount == 0
        refused(stranger, "INSERT INTO providers VALUES ('mine', 'Mine')")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE model_pricing_history SET input_price = 1",
        "DELETE FROM model_pricing_history",
        "TRUNCATE model_pricing_history",
        "UPDATE rate_cards SET rates = '[]'",
        "DELETE FROM rate_cards",
        # By cascade.
        "DELETE FROM models",
        "DELETE FROM providers",
        "DELETE FROM sources",
        "DELETE FROM price_quotes",
        "DELETE FROM model_pricing",
        "TRUNCATE pricing_sync_log CASCADE",
        "TRUNCATE models CASCADE",
        "TRUNCATE providers CASCADE",
        "UPDATE models SET provider = 'other'",
        "UPDATE providers SET provider = 'renamed'",
        # Back-dated, or at a revision that is not the next one.
        "INSERT INTO model_pricing_history SELECT 0, model_key, kind, previous_card_id, card_id,"
        " previous_input_price, previous_output_price, 1, 1, source, effective_time, changed_at,"
        " origin_kind, actor, note, sync_run_id, held_change_id, override_id, reverted_run_id"
        " FROM model_pricing_history",
        "UPDATE price_table_head SET revision = 0",
        "UPDATE price_table_head SET revision = revision + 2",
        "DELETE FROM price_table_head",
        # With the guards out of the way.
        "ALTER TABLE model_pricing_history DISABLE TRIGGER ALL",
        "ALTER TABLE model_pricing_history DISABLE ROW LEVEL SECURITY",
        "DROP TRIGGER append_only ON model_pricing_history",
        "DROP POLICY appending ON model_pricing_history",
        "SET session_replication_role = replica",
        "CREATE POLICY mine ON model_pricing_history FOR DELETE USING (true)",
        "CREATE RULE mine AS ON INSERT TO model_pricing_history DO INSTEAD NOTHING",
        "CREATE TRIGGER mine BEFORE INSERT ON model_pricing_history"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting()",
        "CREATE OR REPLACE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RETURN NULL; END'",
        "ALTER FUNCTION refuse_rewriting() RENAME TO harmless",
        "DROP TABLE model_pricing_history",
        "UPDATE schema_migrations SET version = version",
        # Nor what was held, and what was decided on it.
        "DELETE FROM held_changes",
        "TRUNCATE held_changes CASCADE",
        "UPDATE held_changes SET card_id = card_id",
        "UPDATE held_changes SET evidence = '[]'",
        "UPDATE held_changes SET held_since = now()",
        # A log row cannot be backdated or handed to another source.
        "UPDATE pricing_sync_log SET started_at = now()",
        "UPDATE pricing_sync_log SET source = 'feed'",
    ],
)
def test_writer_cannot_rewrite_history(shared_database: Database, statement: str) -> None:
    before = contents(shared_database.owner)
    refusal = refused(shared_database.writer, statement)
    assert re.search("denied|must be owner|row-level security|no privileges", refusal)
    assert contents(shared_database.owner) == before


def test_writer_prunes_what_is_old_and_nothing_else(database: Database) -> None:
    with connected(database.owner) as connection:
        # Past the guard of runs that have ended, one is made old: what refers to it keeps it.
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE pricing_sync_log SET completed_at = now() - interval '31 days'")
        connection.execute(
            "INSERT INTO pricing_sync_log"
            " (source, triggered_by, status, error_message, completed_at) VALUES"
            " ('feed', 'old', 'failed', 'x', now() - interval '31 days'),"
            " ('feed', 'young', 'failed', 'x', now() - interval '29 days'),"
            " ('feed', 'running', 'in_progress', NULL, NULL)"
        )
    with connected(database.writer) as connection:
        with pytest.raises(psycopg.errors.IntegrityError):
            connection.execute("DELETE FROM pricing_sync_log")
        connection.execute("DELETE FROM pricing_sync_log WHERE triggered_by <> 'test'")
        assert connection.execute("DELETE FROM alert_notices").rowcount == 0
        assert connection.execute("DELETE FROM alert_incidents").rowcount == 0
    left = rows(database.owner, "SELECT triggered_by FROM pricing_sync_log ORDER BY 1")
    assert [each["triggered_by"] for each in left] == ["running", "test", "young"]


def test_owner_cannot_empty_history_by_cascade(shared_database: Database) -> None:
    for table in ("models", "providers", "sources", "rate_cards", "pricing_sync_log"):
        with connected(shared_database.owner) as connection, pytest.raises(psycopg.Error):
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
        with connected(shared_database.owner) as connection, pytest.raises(InsufficientPrivilege):
            connection.execute(sql.SQL("TRUNCATE {} CASCADE").format(sql.Identifier(table)))
    assert value(shared_database.owner, "SELECT count(*) FROM model_pricing_history") == 1


def test_writer_gives_a_run_its_final_status_exactly_once(database: Database) -> None:
    with connected(database.writer) as connection:
        run = connection.execute(
            "INSERT INTO pricing_sync_log (source, triggered_by) VALUES ('feed', 'test')"
            " RETURNING sync_run_id"
        ).fetchone()
        assert run
        fail = (
            "UPDATE pricing_sync_log SET status = 'failed', completed_at = now(),"
            " error_message = %(why)s WHERE sync_run_id = %(sync_run_id)s"
        )
        assert connection.execute(fail, {**run, "why": "once"}).rowcount == 1
        with pytest.raises(psycopg.IntegrityError, match="exactly once"):
            connection.execute(fail, {**run, "why": "twice"})
        with pytest.raises(psycopg.IntegrityError, match="exactly once"):
            connection.execute("UPDATE pricing_sync_log SET error_message = 'everywhere'")
    with pytest.raises(psycopg.errors.RaiseException, match="begins in progress"):
        rows(
            database.writer,
            "INSERT INTO pricing_sync_log (source, triggered_by, status, completed_at, revision)"
            " VALUES ('feed', 'test', 'success', now(), 1) RETURNING 1",
        )
    messages = rows(database.owner, "SELECT error_message FROM pricing_sync_log ORDER BY 1")
    assert [each["error_message"] for each in messages] == ["once", None]


# Plans ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (statements("lookup")["find_pricing"], "models_by_model_id"),
        # lower() and its index: an operator that is not leakproof waits behind a real policy.
        (
            "SELECT * FROM models WHERE lower(hugging_face_id) = 'made/up'",
            "models_by_hugging_face_id",
        ),
        (
            "SELECT * FROM model_pricing_history WHERE model_key = 1 ORDER BY revision DESC",
            "model_pricing_history_by_model",
        ),
    ],
)
def test_policies_keep_indexes_in_use(shared_database: Database, query: str, index: str) -> None:
    plans = []
    for conninfo in (shared_database.owner, shared_database.reader, shared_database.writer):
        with connected(conninfo) as connection:
            connection.execute("SET enable_seqscan = off")
            explained = connection.execute(
                f"EXPLAIN (COSTS off) {query}".encode(),
                {"model_ids": ["made-up"], "providers": ["maker"]},
            )
            plans.append([each["QUERY PLAN"] for each in explained])
    assert any(index in line for line in plans[0])
    assert plans[0] == plans[1] == plans[2]


# Connections ------------------------------------------------------------------------------


async def test_look_ups_and_syncs_act_as_their_roles_with_one_login(
    shared_database: Database,
) -> None:
    pool = read_pool(shared_database.owner, size=1)
    async with pool, pool.connection() as connection:
        for reset in (b"SELECT 1", b"RESET ROLE", b"DISCARD ALL", b"RESET ALL"):
            await connection.execute(reset)
            cursor = await connection.execute("SELECT current_user::text AS me")
            assert await cursor.fetchone() == {"me": READER}
    async with await connect_writer(shared_database.owner) as connection:
        cursor = await connection.execute("SELECT current_user::text AS me")
        assert await cursor.fetchone() == {"me": WRITER}


async def sync_twice_and_look_up(server: Server, feed: Feed) -> None:
    """All that a server does to the database, with a change of price."""
    feed.answer(payload(row(MODEL, prompt="0.000001")))
    first = await server.synced()
    assert first.run.models_registered == 1
    feed.answer(payload(row(MODEL, prompt="0.000002"), row("maker/second")))
    second = await server.synced()
    assert (second.run.models_updated, second.run.models_registered) == (1, 1)
    assert (await server.price(MODEL)).prompt == "2.00"
    run = await server.run(second.run.sync_run_id)
    assert run.triggered_by
    assert len(await server.runs()) == 2


async def test_one_login_serves_and_syncs(bare_database: str, feed: Feed) -> None:
    apply_migrations(bare_database, MIGRATIONS)
    async with in_process_server(bare_database, feed) as server:
        await sync_twice_and_look_up(server, feed)


async def test_one_ordinary_login_serves_and_syncs(cluster: str, feed: Feed) -> None:
    with roles_absent(cluster), owned_database(cluster, "CREATEROLE") as owner:
        apply_migrations(owner, MIGRATIONS)
        async with in_process_server(owner, feed) as server:
            await sync_twice_and_look_up(server, feed)


async def test_two_logins_serve_and_sync_without_the_owner(database: Database, feed: Feed) -> None:
    async with in_process_server(None, feed, **database.urls) as server:
        await sync_twice_and_look_up(server, feed)
        sessions = rows(
            database.owner,
            "SELECT DISTINCT usename, application_name FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'pricing-%%'",
        )
        assert {(each["application_name"], each["usename"]) for each in sessions} == {
            ("pricing-read", user_of(database.reader)),
            ("pricing-watch", user_of(database.reader)),
            ("pricing-reaper", user_of(database.writer)),
            ("pricing-ender", user_of(database.writer)),
        }
    history = rows(
        database.owner,
        "SELECT DISTINCT kind FROM model_pricing_history"
        " WHERE origin_kind = 'sync' AND source = 'openrouter'",
    )
    assert {each["kind"] for each in history} == {"added", "changed"}


def test_command_serves_with_two_logins_and_no_owner(
    bare_database: str, cluster: str, scratch: Path
) -> None:
    urls: dict[str, Any] = {}
    with (
        login(bare_database, "") as reader,
        login(bare_database, "") as writer,
    ):
        urls = {"PRICING_DATABASE_READER_URL": reader, "PRICING_DATABASE_WRITER_URL": writer}
        owner = {"PRICING_DATABASE_URL": bare_database}
        with server_process(scratch, **owner, **urls) as process:
            assert process.wait() == 1
            (line,) = process.errors[-1:]
        assert line == (
            f"pricing-server: the login {user_of(reader)} cannot act as pricing_reader: "
            'permission denied to set role "pricing_reader"; let an administrator run: '
            f"GRANT pricing_reader TO {user_of(reader)}"
        )
        for role, conninfo in ((READER, reader), (WRITER, writer)):
            with connected(cluster) as connection:
                connection.execute(
                    sql.SQL("GRANT {} TO {}").format(
                        sql.Identifier(role), sql.Identifier(user_of(conninfo))
                    )
                )
        with server_process(scratch, **urls) as process:
            assert process.address


def test_command_refuses_a_database_that_the_owner_has_not_migrated(
    database: Database, bare_database: str, scratch: Path
) -> None:
    with connected(bare_database) as connection:
        connection.execute("DELETE FROM schema_migrations WHERE version > 1")
    urls = {f"PRICING_{name.upper()}": url for name, url in database.urls.items()}
    with server_process(scratch, **urls) as process:
        assert process.wait() == 1
        assert process.errors[-1:] == [
            "pricing-server: 0002_views.sql is not applied: "
            "run pricing-server migrate with PRICING_DATABASE_URL of the owner"
        ]


async def test_start_goes_on_where_the_cluster_is_not_to_be_identified(
    database: Database, feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    with connected(database.owner) as connection:
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    async with in_process_server(None, feed, **database.urls) as server:
        await sync_twice_and_look_up(server, feed)
    assert value(database.owner, "SELECT database_identity FROM price_table_head") is None
    assert "epoch.not_checked" in capsys.readouterr().out


async def test_writer_renews_the_epoch_of_a_restored_database(database: Database) -> None:
    store = PostgresSyncStore(database.writer)
    await store.prepare(SOURCES.values(), ALIASES)
    before = value(database.owner, "SELECT epoch FROM price_table_head")
    with connected(database.owner) as connection:
        connection.execute("UPDATE price_table_head SET database_identity = 'another'")
    await store.prepare(SOURCES.values(), ALIASES)
    assert value(database.owner, "SELECT epoch FROM price_table_head") != before


# Migrations -------------------------------------------------------------------------------


def test_second_database_of_a_cluster_migrates(database: Database, cluster: str) -> None:
    with created_database(cluster) as second:
        assert "0004_roles_and_policies.sql" in apply_migrations(second, MIGRATIONS)
        assert apply_migrations(second, MIGRATIONS) == []
        check_access(second, READER, MIGRATIONS)


def test_four_databases_migrate_at_once(cluster: str) -> None:
    with (
        roles_absent(cluster),
        created_database(cluster) as a,
        created_database(cluster) as b,
        created_database(cluster) as c,
        created_database(cluster) as d,
        ThreadPoolExecutor(4) as pool,
    ):
        done = list(pool.map(lambda each: apply_migrations(each, MIGRATIONS), (a, b, c, d)))
        assert all("0004_roles_and_policies.sql" in applied for applied in done)


def test_owner_with_createrole_migrates(cluster: str) -> None:
    with roles_absent(cluster), owned_database(cluster, "CREATEROLE") as owner:
        apply_migrations(owner, MIGRATIONS)
        check_access(owner, READER, MIGRATIONS)
        check_access(owner, WRITER, MIGRATIONS)


def test_owner_without_createrole_is_told_what_to_ask_for(cluster: str) -> None:
    with roles_absent(cluster), owned_database(cluster) as owner:
        with pytest.raises(
            MigrationError,
            match=rf"0004_roles_and_policies\.sql failed: the role pricing_reader is missing and"
            rf" {user_of(owner)} may not create it; let an administrator run: (.*)$",
        ) as raised:
            apply_migrations(owner, MIGRATIONS)
        advice = str(raised.value).rpartition("run: ")[2]
        with connected(cluster) as connection:
            connection.execute(advice.encode())
        assert "0004_roles_and_policies.sql" in apply_migrations(owner, MIGRATIONS)


async def test_ordinary_owner_with_roles_made_beforehand(
    database: Database, cluster: str, feed: Feed
) -> None:
    with owned_database(cluster) as owner:
        apply_migrations(owner, MIGRATIONS)
        with pytest.raises(MigrationError, match=f"GRANT {READER} TO {user_of(owner)}"):
            check_access(owner, READER, MIGRATIONS)
        name = conninfo_to_dict(owner)["dbname"]
        urls = {key: make_conninfo(url, dbname=name) for key, url in database.urls.items()}
        async with in_process_server(None, feed, **urls) as server:
            await sync_twice_and_look_up(server, feed)


async def test_migration_gives_what_a_hardened_database_withholds(
    bare_database: str, feed: Feed
) -> None:
    with connected(bare_database) as connection:
        connection.execute(
            sql.SQL(
                "REVOKE ALL ON DATABASE {} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC;"
                " ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC"
            ).format(sql.Identifier(str(conninfo_to_dict(bare_database)["dbname"])))
        )
    apply_migrations(bare_database, MIGRATIONS)
    with (
        login(bare_database, f"IN ROLE {READER}") as reader,
        login(bare_database, f"IN ROLE {WRITER}") as writer,
    ):
        refused(reader, "DELETE FROM models")
        urls = {"database_reader_url": reader, "database_writer_url": writer}
        async with in_process_server(None, feed, **urls) as server:
            await sync_twice_and_look_up(server, feed)


def test_files_can_be_applied_with_psql(bare_database: str) -> None:
    bindir = value(bare_database, "SELECT setting FROM pg_config WHERE name = 'BINDIR'")
    for file in sorted(MIGRATIONS.glob("*.sql")):
        psql = [
            f"{bindir}/psql",
            "-X1q",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            bare_database,
            "-f",
            str(file),
        ]
        subprocess.run(psql, check=True, env={"PATH": os.defpath})
    with login(bare_database, f"IN ROLE {READER}") as reader:
        assert value(reader, "SELECT revision FROM price_table_head") == 0
