"""Each due sync takes place once, over three processes, restarts and deaths; so do alerts."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import grpc
import pytest

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.source_log import SourceLog
from pricing_server.scheduler.due import due_time
from tests.integration._poll import until
from tests.integration._runs import Bench, ServerProcess, bench_on
from tests.integration._server import CALL_SECONDS
from tests.integration._webhook import SECRET, Hook, serve_hook

pytestmark = pytest.mark.integration

MODEL = "acme/one"
INTERVAL = timedelta(seconds=1)
EVERY_SECOND = {"PRICING_OPENROUTER_SYNC_INTERVAL": "1s"}


@pytest.fixture
def bench(cluster: str, catalogue_template: str) -> Iterator[Bench]:
    with bench_on(cluster, catalogue_template) as bench:
        bench.feed.prices = {MODEL: 100}
        yield bench


@dataclass(slots=True)
class Trio:
    """Three processes on one database, with a webhook."""

    bench: Bench
    hook: Hook
    servers: list[ServerProcess]

    def start(self) -> None:
        environment = EVERY_SECOND | {"PRICING_ALERT_WEBHOOK_URL": self.hook.url}
        self.servers.append(self.bench.start(**environment))


@pytest.fixture(scope="module")
def trio(cluster: str, catalogue_template: str) -> Iterator[Trio]:
    with ExitStack() as stack:
        hook = stack.enter_context(serve_hook())
        bench = stack.enter_context(bench_on(cluster, catalogue_template))
        bench.feed.prices = {MODEL: 100}
        trio = Trio(bench, hook, [])
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda _: trio.start(), range(3)))
        yield trio


def runs(bench: Bench, after: int = 0) -> list[dict[str, Any]]:
    """The rows of the log, oldest first."""
    return bench.rows(
        "SELECT * FROM pricing_sync_log WHERE source = 'openrouter' AND sync_run_id > %s"
        " ORDER BY sync_run_id",
        after,
    )


def newest(bench: Bench) -> int:
    return max((row["sync_run_id"] for row in runs(bench)), default=0)


def wait_for_runs(bench: Bench, times: int, status: str, after: int = 0) -> None:
    until(
        lambda: sum(row["status"] == status for row in runs(bench, after)) >= times,
        f"{times} runs with the status {status}",
    )


def assert_each_was_due(rows: list[dict[str, Any]]) -> None:
    """Each run began when the log before it said that the source is due, not before, and
    when no other was under way."""
    failures = 0
    for before, after in pairwise(rows):
        failures = failures + 1 if before["status"] == "failed" else 0
        log = SourceLog(
            "openrouter",
            good_started_at=before["started_at"] if not failures else None,
            scheduled_failures=failures,
            scheduled_failure_at=before["completed_at"] if failures else None,
        )
        due = due_time(log, INTERVAL)
        assert due is not None
        assert after["started_at"] >= max(due, before["completed_at"]), after
        assert after["triggered_by"] == "scheduler"


def test_each_due_sync_takes_place_once_over_three_processes(trio: Trio) -> None:
    wait_for_runs(trio.bench, 6, "success")
    rows = runs(trio.bench)
    assert_each_was_due([row for row in rows if row["status"] != "in_progress"])
    assert {row["status"] for row in rows} <= {"success", "in_progress"}
    # Nobody fetched but for a run that is in the log.
    assert trio.bench.feed.asked <= newest(trio.bench) - rows[0]["sync_run_id"] + 1
    assert trio.servers[0].prompt(MODEL) is not None


def test_an_incident_is_told_once_by_three_processes_and_its_end_once(trio: Trio) -> None:
    bench, hook = trio.bench, trio.hook
    began = newest(bench)
    bench.feed.prices = {}
    wait_for_runs(bench, 3, "failed", began)
    until(lambda: hook.told, "the alert")
    # Neither more failures nor a restart repeat it.
    gone = trio.servers.pop(0)
    gone.process.terminate()
    gone.process.wait(60)
    trio.start()
    wait_for_runs(bench, 2, "failed", newest(bench))
    (told,) = hook.told
    assert (told["alert"], told["kind"], told["source"]) == ("opened", "failing", "openrouter")
    assert told["failures_in_a_row"] >= 3
    assert told["text"].startswith("OpenRouter models API (openrouter): ")
    assert "syncs in a row have failed" in told["text"]
    assert told["last_error"] == "the payload lists no models"

    bench.feed.prices = {MODEL: 100}
    until(lambda: len(hook.told) > 1, "the end of the alert")
    wait_for_runs(bench, 2, "success", newest(bench))
    _, ended = hook.told
    assert (ended["alert"], ended["kind"]) == ("recovered", "failing")
    assert ended["incident_id"] == told["incident_id"]
    assert datetime.fromisoformat(ended["recovered_time"]) > datetime.fromisoformat(
        ended["opened_time"]
    )
    assert hook.asked == 2
    assert_each_was_due([row for row in runs(bench) if row["status"] != "in_progress"])
    # The log says it once as well, and nobody tells the address.
    printed = "".join(path.read_text() for path in bench.directory.glob("server-*.log"))
    assert printed.count("alert.opened") == 1
    assert printed.count("alert.recovered") == 1
    assert printed.count('"level": "warning"') == 1
    assert SECRET not in printed


def test_when_the_holder_is_killed_in_a_run_another_process_takes_over(bench: Bench) -> None:
    bench.feed.opened.clear()
    holder = bench.start(**EVERY_SECOND)
    until(lambda: bench.feed.asked, "a run that waits for its feed")
    with ThreadPoolExecutor() as threads:
        others = list(threads.map(lambda _: bench.start(**EVERY_SECOND), range(2)))
    assert len(runs(bench)) == 1, "nobody else runs what is under way"
    holder.process.send_signal(signal.SIGKILL)
    until(lambda: len(runs(bench)) > 1, "a run of another process")
    bench.feed.opened.set()
    wait_for_runs(bench, 2, "success")
    rows = [row for row in runs(bench) if row["status"] != "in_progress"]
    assert [row["status"] for row in rows[:3]] == ["failed", "success", "success"]
    assert "ended before it did" in rows[0]["error_message"]
    assert_each_was_due(rows)
    assert others[0].prompt(MODEL) is not None


def test_a_restart_neither_skips_nor_repeats_and_does_not_wait_for_the_run(bench: Bench) -> None:
    first = bench.start(**EVERY_SECOND)
    wait_for_runs(bench, 2, "success")
    bench.feed.opened.clear()
    asked = bench.feed.asked
    until(lambda: bench.feed.asked > asked, "a run that waits for its feed")
    # The feed does not answer before the process has ended.
    first.process.terminate()
    assert first.process.wait(60) == 0
    interrupted = newest(bench)
    assert runs(bench)[-1]["status"] == "failed"
    assert "shut down" in runs(bench)[-1]["error_message"]
    bench.feed.opened.set()
    bench.start(**EVERY_SECOND)
    wait_for_runs(bench, 2, "success", interrupted)
    assert_each_was_due([row for row in runs(bench) if row["status"] != "in_progress"])


def test_list_sources_tells_health_and_schedule(bench: Bench) -> None:
    server = bench.start(PRICING_OPENROUTER_SYNC_INTERVAL="6h")

    def openrouter() -> pb.Source:
        response = server.stub.ListSources(pb.ListSourcesRequest(), timeout=CALL_SECONDS)
        (found,) = (each for each in response.sources if each.source == "openrouter")
        return found

    never = openrouter()
    assert never.sync_interval.ToTimedelta() == timedelta(hours=6)
    assert never.HasField("next_due_time")
    assert never.is_stale
    assert not never.HasField("success_rate")
    assert never.evidence == pb.SOURCE_EVIDENCE_RECORDED
    server.synced()
    bench.feed.prices = {}
    for _ in range(2):
        assert server.sync().run.status == pb.SYNC_STATUS_FAILED
    source = openrouter()
    assert (source.failures_in_a_row, source.success_rate, source.is_stale) == (2, "0.33", False)
    # What a person tried and failed moves nothing.
    good, *_ = runs(bench)
    due = due_time(SourceLog("openrouter", good_started_at=good["started_at"]), timedelta(hours=6))
    assert due is not None
    assert abs(source.next_due_time.ToDatetime(due.tzinfo) - due) < timedelta(microseconds=1)

    others = {
        each.source: each
        for each in server.stub.ListSources(pb.ListSourcesRequest(), timeout=CALL_SECONDS).sources
    }
    for name in ("genai-prices", "novita"):
        assert not others[name].HasField("sync_interval"), name
        assert not others[name].HasField("next_due_time"), name
        assert not others[name].is_stale, name


def test_nobody_else_may_call_itself_the_scheduler(bench: Bench) -> None:
    server = bench.start()
    with pytest.raises(grpc.RpcError) as caught:
        server.sync(triggered_by="scheduler")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert runs(bench) == []
