"""The reaper ends what is dead, frozen or cut off, and bothers nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
import structlog
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pricing_server.postgres.connection import connect_writer
from pricing_server.postgres.maintenance.reaper import Reaper
from tests.integration._runs import Bench, bench_on

pytestmark = pytest.mark.integration


@pytest.fixture
def bench(cluster: str, catalogue_template: str) -> Iterator[Bench]:
    with bench_on(cluster, catalogue_template) as bench:
        yield bench


@contextmanager
def silent_run(bench: Bench) -> Iterator[psycopg.Connection]:
    """The session of a run that holds its source and has given no sign of life for an hour."""
    connection = psycopg.connect(bench.conninfo, autocommit=True)
    try:
        connection.execute("SELECT pg_advisory_lock(727001, hashtext('openrouter'))")
        connection.execute(
            "INSERT INTO pricing_sync_log (source, triggered_by, heartbeat_at) "
            "VALUES ('openrouter', 'test', now() - interval '1 hour')"
        )
        yield connection
    finally:
        connection.close()


async def look(conninfo: str) -> list[str]:
    """One round of a reaper; what it said."""
    with structlog.testing.capture_logs() as logs:
        async with await connect_writer(conninfo) as connection:
            await connection.execute("SET lock_timeout = '0.2s'")
            await Reaper(conninfo).look(connection)
    return [entry["event"] for entry in logs]


def newest(bench: Bench) -> tuple[str, str]:
    (row,) = bench.rows("SELECT * FROM pricing_sync_log ORDER BY sync_run_id DESC LIMIT 1")
    return row["status"], row["error_message"]


async def test_a_run_frozen_before_its_commit_has_its_row_locked_and_is_ended_all_the_same(
    bench: Bench,
) -> None:
    with silent_run(bench) as session:
        session.execute("BEGIN")
        session.execute(
            "UPDATE pricing_sync_log SET status = 'success', completed_at = now(), revision = 1 "
            "WHERE status = 'in_progress'"
        )
        assert await look(bench.conninfo) == ["sync.process_frozen"]
        with pytest.raises(psycopg.OperationalError):
            session.execute("COMMIT")
    assert await look(bench.conninfo) == ["sync.process_died"]
    assert newest(bench) == ("failed", "the process that ran this sync ended before it did")
    bench.assert_whole()


async def test_a_login_that_may_not_end_the_session_fails_the_run_and_says_what_to_do(
    cluster: str, bench: Bench
) -> None:
    role = sql.Identifier("plain")
    with psycopg.connect(cluster, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'plain'").format(role))
    bench.rows("GRANT pricing_writer TO plain")
    with silent_run(bench) as session:
        said = await look(make_conninfo(bench.conninfo, user="plain", password="plain"))
        assert said == ["sync.process_frozen", "sync.frozen_session_stays"]
        assert session.execute("SELECT 1").fetchone() == (1,)
    status, message = newest(bench)
    assert status == "failed"
    assert message == "no sign of life in 30 s of the process that ran this sync"


async def test_nothing_to_do_is_nothing_done(bench: Bench) -> None:
    assert await look(bench.conninfo) == []


async def test_an_outage_is_waited_out_and_logged_once() -> None:
    reaper = Reaper("host=127.0.0.1 port=1 dbname=none", interval_seconds=0.01)
    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(reaper.run())
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait({task})
    assert [entry["event"] for entry in logs] == ["reaper.waits"]
