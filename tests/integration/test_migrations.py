"""Migrations apply once, in order, whole or not at all, and never over something unknown."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pricing_server.postgres.embedded.embedded_postgres import embedded_postgres
from pricing_server.postgres.maintenance.migrations import MigrationError, apply_migrations
from tests.integration._postgres import ROOT, scratch_directory

pytestmark = pytest.mark.integration

APPLY = """
import sys
from pathlib import Path
from pricing_server.postgres.maintenance.migrations import apply_migrations

apply_migrations(sys.argv[1], Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with scratch_directory() as scratch, embedded_postgres(scratch) as conninfo:
        yield conninfo


@pytest.fixture
def database(server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of the test's own."""
    name = sql.Identifier(request.node.name[:60])
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        yield psycopg.conninfo.make_conninfo(server, dbname=request.node.name[:60])
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "0001_fruit.sql").write_text("CREATE TABLE fruit (name text);\n-- 100 %\n")
    (tmp_path / "0002_apple.sql").write_text(
        "INSERT INTO fruit VALUES ('apple');\nINSERT INTO fruit VALUES ('pear; %s');\n"
    )
    return tmp_path


def fruit(database: str) -> list[str]:
    with psycopg.connect(database) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM fruit ORDER BY name")]


def applied(database: str) -> list[str]:
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT name FROM schema_migrations ORDER BY version")
        return [name for (name,) in rows]


def test_missing_files_are_applied_once_and_named(database: str, files: Path) -> None:
    assert apply_migrations(database, files) == ["0001_fruit.sql", "0002_apple.sql"]
    assert apply_migrations(database, files) == []
    (files / "0003_plum.sql").write_text("INSERT INTO fruit VALUES ('plum')")
    assert apply_migrations(database, files) == ["0003_plum.sql"]
    assert fruit(database) == ["apple", "pear; %s", "plum"]


def test_failing_file_leaves_nothing_and_keeps_those_before(database: str, files: Path) -> None:
    (files / "0003_bad.sql").write_text("INSERT INTO fruit VALUES ('plum'); SELECT 1/0;")
    with pytest.raises(MigrationError, match=r"^0003_bad\.sql failed: division by zero$"):
        apply_migrations(database, files)
    assert applied(database) == ["0001_fruit.sql", "0002_apple.sql"]
    assert "plum" not in fruit(database)


def test_four_processes_at_once_apply_each_file_once(database: str, files: Path) -> None:
    (files / "0003_slow.sql").write_text("SELECT pg_sleep(0.2)")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: apply_migrations(database, files), range(4)))
    assert sorted(map(len, done)) == [0, 0, 0, 3]
    assert fruit(database) == ["apple", "pear; %s"]


def test_kill_in_mid_file_leaves_it_unapplied_and_nothing_locked(
    database: str, files: Path
) -> None:
    slow = files / "0003_slow.sql"
    slow.write_text("INSERT INTO fruit VALUES ('plum'); SELECT pg_sleep(60);")
    victim = subprocess.Popen([sys.executable, "-c", APPLY, database, files], cwd=ROOT)
    with psycopg.connect(database, autocommit=True) as connection:
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        deadline = time.monotonic() + 90
        while connection.execute(sleeping).fetchone() == (0,):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    slow.write_text("INSERT INTO fruit VALUES ('plum')")
    assert apply_migrations(database, files) == ["0003_slow.sql"]
    assert fruit(database) == ["apple", "pear; %s", "plum"]


def test_edited_file_is_refused(database: str, files: Path) -> None:
    apply_migrations(database, files)
    (files / "0001_fruit.sql").write_text("CREATE TABLE fruit (name text, price numeric)")
    with pytest.raises(MigrationError, match=r"0001_fruit\.sql was edited"):
        apply_migrations(database, files)


@pytest.mark.parametrize("name", ["0004_late.sql", "0002_twin.sql", "3_short.sql", "notes.sql"])
def test_gap_twin_or_odd_name_is_refused_before_anything_runs(files: Path, name: str) -> None:
    (files / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match=r"expected a file named 000\d_name\.sql"):
        apply_migrations("host=127.0.0.1 port=1", files)


def test_directory_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="no migrations"):
        apply_migrations("host=127.0.0.1 port=1", tmp_path / "absent")


def test_database_newer_than_the_build_is_refused(database: str, files: Path) -> None:
    (files / "0003_new.sql").write_text("SELECT 1")
    apply_migrations(database, files)
    (files / "0003_new.sql").unlink()
    with pytest.raises(MigrationError, match=r"newer than this build.*0003_new\.sql"):
        apply_migrations(database, files)


def test_hole_in_what_was_applied_is_refused(database: str, files: Path) -> None:
    apply_migrations(database, files)
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM schema_migrations WHERE version = 1")
    with pytest.raises(MigrationError, match=r"0002_apple\.sql is applied, but 0001_fruit"):
        apply_migrations(database, files)


@pytest.mark.filterwarnings("default")
def test_file_with_commit_is_refused(database: str, files: Path) -> None:
    (files / "0003_commit.sql").write_text("SELECT 1; COMMIT;")
    with pytest.raises(MigrationError, match=r"0003_commit\.sql ends its transaction"):
        apply_migrations(database, files)


def test_unreachable_database_is_told_without_the_password(files: Path) -> None:
    with pytest.raises(MigrationError, match="cannot migrate") as raised:
        apply_migrations("host=127.0.0.1 port=1 password=secret", files)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_files_can_be_applied_with_psql(database: str, files: Path) -> None:
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchone()
    assert row
    for file in sorted(files.glob("*.sql")):
        psql = [f"{row[0]}/psql", "-X1q", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", str(file)]
        subprocess.run(psql, check=True, env={"PATH": os.defpath})
    assert fruit(database) == ["apple", "pear; %s"]
