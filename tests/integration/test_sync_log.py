"""What the scheduler reads from the log of syncs, incidents, and what is pruned of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import LiteralString

import psycopg
import pytest

from pricing_server.domain.errors import SyncInProgress
from pricing_server.domain.price_change import SCHEDULER, ChangeOrigin, OriginKind
from pricing_server.domain.source_log import SourceLog
from pricing_server.domain.sync_run import RunOvertaken
from pricing_server.fetch.webhook import HttpWebhook
from pricing_server.postgres.maintenance.pruner import NEWEST_RUNS, Pruner
from pricing_server.postgres.writers.schedule_store import (
    MOST_ATTEMPTS,
    PostgresNoticeStore,
    PostgresScheduleStore,
)
from pricing_server.postgres.writers.sync_store import PostgresSyncStore
from pricing_server.providers import SOURCES
from pricing_server.scheduler.alerts import IncidentChange, document_of
from tests.integration._database import connected, contents, prices_only, rows, value
from tests.integration._webhook import SECRET, serve_hook

SOURCE = "openrouter"
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
STALE_AFTER = {SOURCE: DAY}
AT_ONCE = timedelta(0)


@pytest.fixture
async def table(empty_database: str) -> str:
    """A price table with all sources registered and an empty log."""
    await PostgresSyncStore(empty_database).prepare(SOURCES.values(), {})
    return empty_database


def add_run(
    conninfo: str,
    age: timedelta,
    status: str = "success",
    *,
    source: str = SOURCE,
    triggered_by: str = SCHEDULER,
    obtained: timedelta | None = None,
    release: str | None = None,
) -> int:
    """A run that began so long ago and took a second; its id."""
    began = NOW - age
    is_good = status == "success"
    with connected(conninfo) as connection:
        added = connection.execute(
            "INSERT INTO pricing_sync_log (source, triggered_by, started_at, release)"
            " VALUES (%s, %s, %s, %s) RETURNING sync_run_id",
            (source, triggered_by, began, release),
        ).fetchone()
        assert added
        run: int = added["sync_run_id"]
        if status != "in_progress":
            connection.execute(
                "UPDATE pricing_sync_log SET status = %s, completed_at = %s, error_message = %s,"
                " revision = %s, obtained_at = %s WHERE sync_run_id = %s",
                (
                    status,
                    began + timedelta(seconds=1),
                    None if is_good else "HTTP status 503",
                    0 if is_good else None,
                    NOW - (age if obtained is None else obtained) if is_good else None,
                    run,
                ),
            )
    return run


def change(conninfo: str, statement: LiteralString, **values: object) -> None:
    rows(conninfo, statement + " RETURNING 1", **values)


def kept(conninfo: str) -> set[int]:
    return {each["sync_run_id"] for each in rows(conninfo, "SELECT * FROM pricing_sync_log")}


async def log_of(conninfo: str, source: str = SOURCE) -> SourceLog:
    store = PostgresScheduleStore(conninfo)
    read = await store.read()
    await store.drop()
    assert abs(read.now - datetime.now(UTC)) < timedelta(minutes=1)
    (found,) = (log for log in read.logs if log.source == source)
    return found


async def noted(conninfo: str, after_failures: int = 3) -> list[str]:
    """What changes at a look, as "opened failing openrouter"."""
    store = PostgresScheduleStore(conninfo)
    found = await store.note(STALE_AFTER, after_failures, document_of)
    await store.drop()
    return [told(each) for each in found.changes]


def told(change: IncidentChange) -> str:
    return f"{change.event} {change.kind} {change.source}"


# The log of a source.


async def test_before_the_database_is_prepared_no_source_has_a_log(empty_database: str) -> None:
    store = PostgresScheduleStore(empty_database)
    assert (await store.read()).logs == ()
    await store.drop()


async def test_a_source_that_was_never_synced_has_an_empty_log(table: str) -> None:
    assert await log_of(table) == SourceLog(SOURCE)


async def test_the_log_of_a_source_tells_successes_failures_and_who_tried(table: str) -> None:
    good = add_run(table, 5 * DAY, obtained=6 * DAY)
    add_run(table, 4 * DAY, "failed")
    add_run(table, 3 * DAY, "failed")
    add_run(table, 2 * DAY, "failed", triggered_by="grpc")
    add_run(table, DAY, source="novita")
    assert await log_of(table) == SourceLog(
        source=SOURCE,
        newest_run_id=good + 3,
        newest_started_at=NOW - 2 * DAY,
        good_started_at=NOW - 5 * DAY,
        good_obtained_at=NOW - 6 * DAY,
        failures_in_a_row=3,
        scheduled_failures=2,
        scheduled_failure_at=NOW - 3 * DAY + timedelta(seconds=1),
    )
    running = add_run(table, AT_ONCE, "in_progress")
    log = await log_of(table)
    assert (log.newest_run_id, log.is_in_progress, log.failures_in_a_row) == (running, True, 3)


async def test_of_many_processes_that_find_a_source_due_one_begins_a_run(table: str) -> None:
    store = PostgresSyncStore(table)
    found = await log_of(table)

    async def begin() -> bool:
        while True:
            try:
                async with store.session(SOURCES[SOURCE]) as session:
                    run = await session.start(
                        ChangeOrigin(OriginKind.SYNC, SCHEDULER, SCHEDULER), found.newest_run_id
                    )
                    await session.fail(run, "this was only tried")
                    return True
            except RunOvertaken:
                return False
            except SyncInProgress:
                await asyncio.sleep(0)

    assert sum(await asyncio.gather(*(begin() for _ in range(8)))) == 1
    assert len(kept(table)) == 1


# Incidents.


async def test_so_many_failures_in_a_row_are_one_incident_until_a_success(table: str) -> None:
    for _ in range(2):
        add_run(table, AT_ONCE, "failed")
    assert await noted(table) == []
    add_run(table, AT_ONCE, "failed")
    assert await noted(table) == ["opened failing openrouter"]
    add_run(table, AT_ONCE, "failed")
    assert await noted(table) == []
    add_run(table, -DAY)
    assert await noted(table) == ["recovered failing openrouter"]
    assert await noted(table) == []


async def test_an_incident_after_a_recovery_is_another_one(table: str) -> None:
    add_run(table, AT_ONCE, "failed")
    assert await noted(table, 1) == ["opened failing openrouter"]
    add_run(table, -DAY)
    await noted(table, 1)
    add_run(table, -DAY, "failed")
    assert await noted(table, 1) == ["opened failing openrouter"]


async def test_data_that_grows_old_is_an_incident_until_newer_data_comes(table: str) -> None:
    add_run(table, DAY / 2, obtained=23 * DAY / 24)
    assert await noted(table) == []
    add_run(table, DAY / 2, obtained=25 * DAY / 24)
    assert await noted(table) == ["opened stale openrouter"]
    # A sync that brings the same old data ends nothing.
    add_run(table, -DAY, obtained=25 * DAY / 24)
    assert await noted(table) == []
    add_run(table, -DAY, obtained=-DAY)
    assert await noted(table) == ["recovered stale openrouter"]


async def test_a_source_that_never_succeeded_is_stale_once_it_was_tried_for_long(
    table: str,
) -> None:
    assert await noted(table, 9) == []
    add_run(table, DAY / 2, "failed")
    assert await noted(table, 9) == []


async def test_a_source_that_was_tried_in_vain_for_long_is_stale(table: str) -> None:
    add_run(table, 2 * DAY, "failed")
    assert await noted(table, 9) == ["opened stale openrouter"]


async def test_of_many_processes_that_see_an_incident_one_opens_and_one_closes_it(
    table: str,
) -> None:
    add_run(table, AT_ONCE, "failed")
    found = await asyncio.gather(*(noted(table, 1) for _ in range(8)))
    assert list(chain(*found)) == ["opened failing openrouter"]
    add_run(table, -DAY)
    found = await asyncio.gather(*(noted(table, 1) for _ in range(8)))
    assert list(chain(*found)) == ["recovered failing openrouter"]
    assert value(table, "SELECT count(*) FROM alert_notices") == 2


async def test_a_source_that_is_not_watched_has_no_incident_but_one_of_it_can_end(
    table: str,
) -> None:
    add_run(table, 3 * DAY, "failed", source="novita")
    assert await noted(table, 1) == []
    change(table, "INSERT INTO alert_incidents (source, kind) VALUES ('novita', 'failing')")
    add_run(table, -DAY, source="novita")
    assert await noted(table, 1) == ["recovered failing novita"]


# Notices.


async def opened(table: str) -> None:
    add_run(table, AT_ONCE, "failed")
    assert await noted(table, 1) == ["opened failing openrouter"]


async def test_a_notice_is_claimed_once_by_many_and_again_only_after_a_pause(table: str) -> None:
    await opened(table)
    patient = PostgresNoticeStore(table)
    claims = await asyncio.gather(*(patient.claim() for _ in range(8)))
    (claimed,) = [each for each in claims if each is not None]
    assert claimed.document["source"] == SOURCE
    assert await patient.claim() is None
    await patient.sent(claimed)
    change(table, "UPDATE alert_notices SET next_attempt_at = now() - interval '1 hour'")
    assert await patient.claim() is None


async def test_a_notice_is_tried_a_few_times_and_of_its_incident_the_end_comes_last(
    table: str,
) -> None:
    await opened(table)
    add_run(table, -DAY)
    assert await noted(table, 1) == ["recovered failing openrouter"]
    eager = PostgresNoticeStore(table, first_pause=AT_ONCE)
    claims = [await eager.claim() for _ in range(2 * MOST_ATTEMPTS + 1)]
    assert [each and (each.document["alert"], each.is_last_attempt) for each in claims] == [
        *[("opened", False)] * (MOST_ATTEMPTS - 1),
        ("opened", True),
        *[("recovered", False)] * (MOST_ATTEMPTS - 1),
        ("recovered", True),
        None,
    ]


async def test_what_nobody_could_deliver_for_a_day_is_news_no_more(table: str) -> None:
    await opened(table)
    change(table, "UPDATE alert_notices SET noticed_at = now() - interval '25 hours'")
    assert await PostgresNoticeStore(table).claim() is None


async def test_a_webhook_that_does_not_accept_says_why_and_keeps_its_address_secret() -> None:
    with serve_hook() as hook:
        async with HttpWebhook(hook.url, post_seconds=5) as webhook:
            assert await webhook.post({"text": "one"}) is None
            hook.statuses = [500, 302]
            assert await webhook.post({"text": "two"}) == "HTTP status 500"
            assert await webhook.post({"text": "three"}) == "HTTP status 302"
        async with HttpWebhook(hook.url, post_seconds=0.05) as webhook:
            hook.opened.clear()
            refusal = await webhook.post({"text": "four"})
            assert refusal is not None
            assert refusal.startswith("no answer")
            hook.opened.set()
        assert SECRET not in repr(vars(webhook)["_client"])
        assert hook.told[0] == {"text": "one"}
    for url in (hook.url, f"http://{SECRET}.invalid/", f"http://[{SECRET}/"):
        async with HttpWebhook(url, post_seconds=5) as webhook:
            refusal = await webhook.post({"text": "five"})
        assert refusal is not None
        assert SECRET not in refusal


# Pruning.


async def test_old_runs_are_pruned_but_for_the_newest_of_each_source(table: str) -> None:
    old_good = add_run(table, 200 * DAY)
    old = [add_run(table, 150 * DAY, "failed") for _ in range(NEWEST_RUNS + 5)]
    other = add_run(table, 300 * DAY, source="novita")
    assert await Pruner(table, 90).look() == 5
    assert kept(table) == {old_good, other, *old[5:]}
    assert await Pruner(table, 90).look() == 0
    young = [add_run(table, 89 * DAY, "failed") for _ in range(NEWEST_RUNS)]
    assert await Pruner(table, 90).look() == NEWEST_RUNS
    # The newest success says how old the data is.
    assert kept(table) == {old_good, other, *young}


async def test_of_a_bundled_catalogue_the_last_run_of_each_version_is_kept(table: str) -> None:
    first, second, again = (
        add_run(table, age * DAY, source="genai-prices", release=release)
        for age, release in ((400, "1"), (300, "2"), (200, "2"))
    )
    young = [add_run(table, DAY, "failed", source="genai-prices") for _ in range(NEWEST_RUNS)]
    assert await Pruner(table, 90).look() == 1
    assert kept(table) == {first, again, *young}
    assert second not in kept(table)


async def test_runs_that_anything_refers_to_are_kept_and_history_never_shrinks(
    database: str,
) -> None:
    referred = value(database, "SELECT min(sync_run_id) FROM model_pricing_history")
    with psycopg.connect(database, autocommit=True) as connection:
        # The guard of runs that have ended would not let one be made old.
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "UPDATE pricing_sync_log SET started_at = started_at - interval '200 days',"
            " completed_at = completed_at - interval '200 days'"
        )
    # So that it is neither among the newest runs nor the newest success.
    for _ in range(NEWEST_RUNS):
        add_run(database, DAY, source="genai-prices", release="9.9")
    unreferred = add_run(database, 150 * DAY)
    for _ in range(NEWEST_RUNS):
        add_run(database, DAY)
    before = prices_only(contents(database))
    await Pruner(database, 90).look()
    assert referred in kept(database)
    assert unreferred not in kept(database)
    after = prices_only(contents(database))
    assert after == before


async def test_a_run_in_progress_and_an_open_incident_are_never_pruned(table: str) -> None:
    running = add_run(table, 200 * DAY, "in_progress", source="novita")
    for _ in range(NEWEST_RUNS):
        add_run(table, DAY, source="novita")
    change(
        table,
        "INSERT INTO alert_incidents (source, kind, opened_at, recovered_at) VALUES"
        " ('novita', 'stale', now() - interval '200 days', NULL),"
        " ('novita', 'failing', now() - interval '200 days', now() - interval '100 days'),"
        " ('novita', 'failing', now() - interval '200 days', now() - interval '80 days')",
    )
    change(
        table,
        "INSERT INTO alert_notices (incident_id, event, document, noticed_at)"
        " SELECT incident_id, 'opened', '{}', opened_at FROM alert_incidents",
    )
    await Pruner(table, 90).look()
    assert running in kept(table)
    assert value(table, "SELECT count(*) FROM alert_incidents") == 2
    assert value(table, "SELECT count(*) FROM alert_notices") == 2
