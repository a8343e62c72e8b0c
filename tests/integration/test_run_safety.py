"""Whatever kills or freezes a process during a sync, prices stay whole and no run is stuck."""

from __future__ import annotations

import asyncio
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial

import grpc
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from llmpricing.rate_card import UNPRICED
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.price_change import ADMIN, ChangeOrigin, OriginKind
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.postgres.maintenance.reaper import Reaper
from pricing_server.postgres.writers.sync_store import PostgresSyncStore
from pricing_server.providers import SOURCES
from pricing_server.runtime.fault_points import FaultPoint
from pricing_server.sync.sync_store import RunDeclaredDead
from tests.integration._poll import until
from tests.integration._runs import Bench, bench_on, refusal

pytestmark = pytest.mark.integration

MODELS = ("acme/one", "acme/two", "acme/three")


@pytest.fixture
def bench(cluster: str, catalogue_template: str) -> Iterator[Bench]:
    with bench_on(cluster, catalogue_template) as bench:
        yield bench


@contextmanager
def reaping(conninfo: str, lease_seconds: float) -> Iterator[None]:
    """Another process's reaper, with a shorter lease, in a thread."""
    loop = asyncio.new_event_loop()
    reaper = Reaper(conninfo, lease_seconds=lease_seconds, interval_seconds=0.1)
    task = loop.create_task(reaper.run())

    def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()


def test_a_server_killed_at_any_step_leaves_all_prices_old_or_all_new_and_no_run_stuck(
    bench: Bench,
) -> None:
    # Its answers come from the table: what its cache holds is another test's concern.
    alive = bench.start(PRICING_CACHE_TTL_SECONDS="0.001")
    bench.feed.prices = dict.fromkeys(MODELS, 100)
    old = alive.synced().run.revision
    for number, point in enumerate(FaultPoint, start=1):
        bench.feed.prices = {**dict.fromkeys(MODELS, 100 + number), f"acme/new-{number}": 1}
        doomed = bench.start(PRICING_FAULT_POINT=point.value)
        assert "fault_point.armed" in doomed.log.read_text()
        with pytest.raises(grpc.RpcError):
            doomed.sync()
        died_at = time.monotonic()
        assert doomed.process.wait(10) == -signal.SIGKILL
        run = alive.ended_run(seconds=5)
        print(f"{point.value}: ended {time.monotonic() - died_at:.2f} s after the death")
        prices = {alive.prompt(model) for model in MODELS}
        if point is FaultPoint.AFTER_COMMIT:
            assert run.status == pb.SYNC_STATUS_SUCCESS
            assert run.revision == old + 1
            assert prices == {f"{100 + number}.00"}
        else:
            assert run.status == pb.SYNC_STATUS_FAILED
            assert run.error_message == "the process that ran this sync ended before it did"
            assert len(prices) == 1
            assert f"{100 + number}.00" not in prices
        bench.assert_whole()
        old = alive.synced().run.revision
        assert {alive.prompt(model) for model in MODELS} == {f"{100 + number}.00"}
    bench.assert_whole()


def test_a_restart_alone_closes_the_run_that_its_predecessor_left(bench: Bench) -> None:
    bench.feed.prices = {"acme/one": 1}
    with pytest.raises(grpc.RpcError):
        bench.start(PRICING_FAULT_POINT="before_commit").sync()
    code, output = bench.verify()
    assert code == 1
    assert "FAIL  each run in progress has a process: 1 in progress; 1 wrong" in output
    again = bench.start()
    assert again.ended_run(seconds=5).status == pb.SYNC_STATUS_FAILED
    bench.assert_whole()


def test_a_second_sync_of_a_source_is_refused_at_once_on_every_process(bench: Bench) -> None:
    bench.feed.prices = {"acme/one": 1}
    bench.feed.opened.clear()
    first, second = bench.start(), bench.start()
    call = first.sync_later()
    until(lambda: bench.feed.asked, "the first sync fetches")
    started = time.monotonic()
    with pytest.raises(grpc.RpcError) as refused:
        second.sync()
    assert time.monotonic() - started < 1
    assert refused.value.code() == grpc.StatusCode.ABORTED
    bench.feed.opened.set()
    response = call.result()
    assert response.run.status == pb.SYNC_STATUS_SUCCESS
    reason, metadata = refusal(refused.value)
    assert reason == "SYNC_IN_PROGRESS"
    assert metadata == {"source": "openrouter", "sync_run_id": response.run.sync_run_id}
    second.synced()


def test_a_frozen_process_loses_its_source_and_cannot_commit_when_it_wakes(bench: Bench) -> None:
    """Frozen while it fetches: its session is idle and holds the source."""
    frozen, other = bench.start(), bench.start()
    bench.feed.prices = {"acme/one": 1}
    before = other.synced()
    bench.feed.prices = {"acme/one": 2}
    bench.feed.opened.clear()
    call = frozen.sync_later()
    until(lambda: bench.feed.asked == 2, "the sync fetches")
    frozen.process.send_signal(signal.SIGSTOP)
    with reaping(bench.conninfo, lease_seconds=3):
        dead = other.ended_run()
    assert dead.status == pb.SYNC_STATUS_FAILED
    assert dead.error_message == "no sign of life in 3 s of the process that ran this sync"
    bench.feed.opened.set()
    bench.feed.prices = {"acme/one": 3}
    between = other.synced()
    bench.feed.prices = {"acme/one": 4}
    frozen.process.send_signal(signal.SIGCONT)
    late = call.result()
    assert late.run.status == pb.SYNC_STATUS_FAILED
    assert f"sync run {dead.sync_run_id} was declared dead" in late.run.error_message
    assert (before.run.revision + 1, late.run.revision) == (
        between.run.revision,
        between.run.revision,
    )
    assert other.prompt("acme/one") == frozen.prompt("acme/one") == "3.00"
    assert frozen.synced().run.models_updated == 1
    bench.assert_whole()


def test_a_process_frozen_inside_its_transaction_gives_the_price_table_free(bench: Bench) -> None:
    """Frozen with the head locked, so that no other source could be synced either."""
    frozen, other = bench.start(), bench.start()
    bench.feed.prices = {"acme/one": 1}
    other.synced()
    bench.feed.prices = {"acme/one": 2}
    with psycopg.connect(bench.conninfo) as blocker:
        blocker.execute("LOCK TABLE price_quotes IN SHARE MODE")
        call = frozen.sync_later()
        until(lambda: _waits_for_a_table(bench), "the run is inside its transaction")
        frozen.process.send_signal(signal.SIGSTOP)
    with reaping(bench.conninfo, lease_seconds=3):
        assert other.ended_run().status == pb.SYNC_STATUS_FAILED
    assert other.synced("genai-prices").run.models_updated == 0
    bench.feed.prices = {"acme/one": 3}
    other.synced()
    frozen.process.send_signal(signal.SIGCONT)
    assert call.result().run.status == pb.SYNC_STATUS_FAILED
    assert other.prompt("acme/one") == "3.00"
    bench.assert_whole()


def _waits_for_a_table(bench: Bench) -> list[object]:
    return [*bench.rows("SELECT pid FROM pg_locks WHERE locktype = 'relation' AND NOT granted")]


def test_a_run_that_waits_long_keeps_its_lease(bench: Bench) -> None:
    """Its own connection is busy all the while."""
    server = bench.start()
    bench.feed.prices = {"acme/one": 1}
    with psycopg.connect(bench.conninfo) as blocker:
        blocker.execute("SELECT FROM price_table_head FOR UPDATE")
        call = server.sync_later()
        with reaping(bench.conninfo, lease_seconds=3):
            time.sleep(5)
            assert server.newest_run().status == pb.SYNC_STATUS_IN_PROGRESS
            blocker.rollback()
            assert call.result().run.status == pb.SYNC_STATUS_SUCCESS


async def test_a_run_declared_dead_cannot_commit_even_with_its_session_alive(bench: Bench) -> None:
    store = PostgresSyncStore(bench.conninfo)
    source = SOURCES["openrouter"]
    listing = Listing(
        (ListedModel("openrouter", "acme/one", UNPRICED, "{}"),), (), (), datetime.now(UTC)
    )
    async with store.session(source) as session:
        run = await session.start(ChangeOrigin(OriginKind.SYNC, ADMIN, "test"))
        bench.rows(
            "UPDATE pricing_sync_log SET status = 'failed', completed_at = clock_timestamp(), "
            "error_message = 'dead' WHERE sync_run_id = %s",
            run.sync_run_id,
        )
        with pytest.raises(RunDeclaredDead):
            await session.apply(run, listing, register_unknown=True)
    assert bench.rows("SELECT model_id FROM models WHERE model_id = 'acme/one'") == []
    bench.assert_whole()


async def test_a_run_in_progress_can_be_changed_by_a_sign_of_life_only(bench: Bench) -> None:
    store = PostgresSyncStore(bench.conninfo)
    async with store.session(SOURCES["openrouter"]) as session:
        run = await session.start(ChangeOrigin(OriginKind.SYNC, ADMIN, "test"))
        where = f"WHERE sync_run_id = {run.sync_run_id}"
        bench.rows(f"UPDATE pricing_sync_log SET heartbeat_at = clock_timestamp() {where}")
        for change in ("models_fetched = 1", "triggered_by = 'me', heartbeat_at = now()"):
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
                bench.rows(f"UPDATE pricing_sync_log SET {change} {where}")
        await session.fail(run, "done")
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            bench.rows(f"UPDATE pricing_sync_log SET heartbeat_at = now() {where}")


class Way:
    """A way to Postgres that, once armed, is cut right behind the next COMMIT."""

    def __init__(self, conninfo: str) -> None:
        self.armed = False
        self._server = ("127.0.0.1", int(str(conninfo_to_dict(conninfo)["port"])))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.conninfo = make_conninfo(conninfo, port=self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        """Call when no client is left."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _start(self, work: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=work))
        self._threads[-1].start()

    def _accept(self) -> None:
        with self._listener, suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._start(partial(self._carry, client))

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server, suppress(OSError):
            while True:
                for here in select.select([client, server], [], [])[0]:
                    data = here.recv(65536)
                    (client if here is server else server).sendall(data)
                    if not data:
                        return
                    if self.armed and here is client and b"COMMIT\0" in data:
                        self.armed = False
                        server.recv(65536)  # Committed; the answer is for nobody.
                        return


def test_a_commit_whose_answer_was_lost_is_reported_as_what_it_was(bench: Bench) -> None:
    way = Way(bench.conninfo)
    try:
        server = bench.start(PRICING_DATABASE_URL=way.conninfo)
        bench.feed.prices = {"acme/one": 1}
        bench.feed.opened.clear()
        call = server.sync_later()
        until(lambda: bench.feed.asked, "the sync fetches")
        way.armed = True
        bench.feed.opened.set()
        response = call.result()
        assert not way.armed
        assert response.run.status == pb.SYNC_STATUS_SUCCESS
        assert server.newest_run().revision == response.run.revision
        assert server.prompt("acme/one") == "1.00"
    finally:
        bench.stack.close()
        way.close()
