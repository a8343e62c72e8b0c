"""Three server processes on one database: each soon serves what any of them has synced."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import pytest

from llmpricing.v1 import pricing_pb2 as pb
from tests.integration._poll import until
from tests.integration._runs import Bench, ServerProcess, bench_on, refusal
from tests.integration._server import CALL_SECONDS

pytestmark = pytest.mark.integration

MODEL = "acme/one"
SEED = 12
SYNCS = 12
SOON_SECONDS = 2.0
LOST_SECONDS = 5.0
"""The poll of every two seconds, and what it takes to connect again."""
PAUSE_SECONDS = 0.005


@pytest.fixture
def bench(cluster: str, catalogue_template: str) -> Iterator[Bench]:
    with bench_on(cluster, catalogue_template) as bench:
        yield bench


@dataclass(slots=True)
class Process:
    """A server, the session that its notifications come by, and what it answers all the time."""

    server: ServerProcess
    watcher: int
    answers: list[tuple[int, int]] = field(default_factory=list)
    """Revision and price, in order."""

    def ask(self, min_revision: int | None = None) -> tuple[int, int]:
        """Revision and price of the model, in USD per 1M tokens of input."""
        request = pb.GetPricingRequest(
            model_id=MODEL, provider="openrouter", read=pb.ReadOptions(min_revision=min_revision)
        )
        response = self.server.stub.GetPricing(request, timeout=CALL_SECONDS)
        return response.table.revision, round(float(response.pricing.prompt))


@pytest.fixture
def processes(bench: Bench) -> Iterator[list[Process]]:
    """Asked without a break, from a first sync until the end; no answer is older than the last."""
    processes: list[Process] = []
    for _ in range(3):
        server = bench.start()
        watcher = until(
            lambda: _watchers(bench) - {each.watcher for each in processes}, "a watcher"
        ).pop()
        processes.append(Process(server, watcher))
    bench.feed.prices = {MODEL: 100}
    processes[0].server.synced()
    with _asked_without_a_break(processes):
        yield processes
    history = {
        row["revision"]: round(row["input_price"] * 1_000_000)
        for row in bench.rows(
            "SELECT revision, input_price FROM model_pricing_history "
            "JOIN models USING (model_key) WHERE model_id = %s",
            MODEL,
        )
    }
    for process in processes:
        assert process.answers == sorted(process.answers)
        assert all(history[revision] == price for revision, price in process.answers)
    bench.assert_whole()


def _watchers(bench: Bench) -> set[int]:
    return {
        row["pid"]
        for row in bench.rows(
            "SELECT pid FROM pg_stat_activity "
            "WHERE application_name = 'pricing-watch' AND datname = current_database()"
        )
    }


@contextmanager
def _asked_without_a_break(processes: list[Process]) -> Iterator[None]:
    stopped = threading.Event()
    failed: list[Exception] = []

    def ask(process: Process) -> None:
        try:
            while not stopped.wait(PAUSE_SECONDS):
                process.answers.append(process.ask())
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=ask, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert failed == []


def synced(bench: Bench, process: Process, price: int) -> int:
    """The revision of a sync that sets the price."""
    bench.feed.prices = {MODEL: price}
    return process.server.synced().run.revision


def served(process: Process, answer: tuple[int, int], what: str, seconds: float) -> float:
    """Wait until a process answers so; after how many seconds it did."""
    began = time.monotonic()
    until(lambda: process.ask() == answer, what, seconds)
    return time.monotonic() - began


def test_each_sync_is_served_by_its_own_process_at_once_and_by_the_others_soon(
    bench: Bench, processes: list[Process]
) -> None:
    chosen = random.Random(SEED)
    for number in range(SYNCS):
        mine = chosen.choice(processes)
        revision = synced(bench, mine, 101 + number)
        assert mine.ask() == (revision, 101 + number)
        for other in processes:
            served(other, (revision, 101 + number), "the new price", SOON_SECONDS)


def test_a_revision_asked_for_right_after_its_commit_is_answered_or_refused_never_older(
    bench: Bench, processes: list[Process]
) -> None:
    chosen = random.Random(SEED)
    for number in range(SYNCS):
        mine, *others = chosen.sample(processes, 3)
        revision = synced(bench, mine, 101 + number)
        for other in others:
            try:
                assert other.ask(revision) == (revision, 101 + number)
            except grpc.RpcError as error:
                assert_not_reached(error)
        with pytest.raises(grpc.RpcError) as early:
            chosen.choice(processes).ask(revision + 1)
        assert_not_reached(early.value)


def assert_not_reached(error: grpc.RpcError) -> None:
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert refusal(error)[0] == "REVISION_NOT_REACHED"


def test_a_watcher_cut_off_at_a_commit_costs_seconds_and_no_price(
    bench: Bench, processes: list[Process]
) -> None:
    deaf, mine, other = processes
    assert bench.rows("SELECT pg_terminate_backend(%s) AS gone", deaf.watcher) == [{"gone": True}]
    revision = synced(bench, mine, 101)
    seconds = served(deaf, (revision, 101), "the price that it was not told", LOST_SECONDS)
    print(f"watcher cut off: {seconds:.2f} s")
    served(other, (revision, 101), "the new price", SOON_SECONDS)
    again = synced(bench, other, 102)
    served(deaf, (again, 102), "the next price", SOON_SECONDS)


def test_notifications_that_are_lost_cost_a_poll_and_no_price(
    bench: Bench, processes: list[Process]
) -> None:
    """Sessions that begin now find a pg_notify that does nothing."""
    bench.rows("CREATE FUNCTION public.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT'")
    bench.rows(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET search_path = public, pg_catalog',"
        " current_database()); END $$"
    )
    mine, *others = processes
    for price in (101, 102):
        revision = synced(bench, mine, price)
        for other in others:
            seconds = served(other, (revision, price), "the unannounced price", LOST_SECONDS)
            print(f"lost notification: {seconds:.2f} s")


def test_while_a_source_is_synced_every_other_process_refuses_to_sync_it(
    bench: Bench, processes: list[Process]
) -> None:
    mine, *others = processes
    bench.feed.opened.clear()
    bench.feed.prices = {MODEL: 101}
    asked = bench.feed.asked
    running = mine.server.sync_later()
    until(lambda: bench.feed.asked > asked, "the sync fetches")
    refused = []
    for other in others:
        with pytest.raises(grpc.RpcError) as second:
            other.server.sync()
        assert second.value.code() == grpc.StatusCode.ABORTED
        refused.append(refusal(second.value))
    bench.feed.opened.set()
    run = running.result().run
    metadata = {"source": "openrouter", "sync_run_id": run.sync_run_id}
    assert refused == [("SYNC_IN_PROGRESS", metadata)] * 2
    for other in others:
        served(other, (run.revision, 101), "the new price", SOON_SECONDS)
