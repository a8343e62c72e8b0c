"""Whatever becomes of Postgres, look-ups are answered, with prices that were true.

A real server process under the load of two client processes, while one sync after the
other changes every price; a Postgres that is killed, frozen, restarted and starved.
"""

from __future__ import annotations

import itertools
import signal
import sqlite3
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import grpc
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pricing_server.cli import migrations_directory
from pricing_server.postgres.maintenance.migrations import apply_migrations
from tests.integration._breakable_postgres import LOGIN, Postgres, steady_port
from tests.integration._load import Call, Load
from tests.integration._poll import until
from tests.integration._postgres import scratch_directory
from tests.integration._runs import Bench, ServerProcess, refusal, serve_feed

pytestmark = pytest.mark.integration

MODELS = ("acme/one", "acme/two", "acme/three", "acme/four")
CLIENTS = 2
CHANGES = 3
CACHE_SECONDS = 0.5
RECOVERY_SECONDS = 5.0
LATE_SECONDS = 0.5
"""How late a process of a busy machine may be."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """With a database `catalogue` that a first start of the server has filled."""
    with scratch_directory() as home, ExitStack() as stack:
        postgres = Postgres(home)
        stack.callback(postgres.dispose)
        postgres.start()
        postgres.accepting_at(superuser=True)
        with psycopg.connect(postgres.conninfo(superuser=True), autocommit=True) as connection:
            password = conninfo_to_dict(postgres.conninfo())["password"]
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(
                    sql.Identifier(LOGIN), sql.Literal(password)
                )
            )
            _create_database(connection, "catalogue", "template0")
            url = postgres.conninfo("catalogue")
            apply_migrations(url, migrations_directory())
            ServerProcess(home, {"PRICING_DATABASE_URL": url}).dispose()
            connection.execute("ALTER DATABASE catalogue ALLOW_CONNECTIONS false")
            users = "SELECT FROM pg_stat_activity WHERE datname = 'catalogue'"
            until(lambda: not connection.execute(users).fetchall(), "nobody is in the template")
        yield postgres


@pytest.fixture
def bench(postgres: Postgres) -> Iterator[Bench]:
    """A database of the test's own and a feed."""
    name = f"test_{time.monotonic_ns()}"
    with psycopg.connect(postgres.conninfo(superuser=True), autocommit=True) as connection:
        _create_database(connection, name, "catalogue")
    with scratch_directory() as directory, serve_feed() as feed, ExitStack() as stack:
        stack.callback(postgres.restore)
        yield Bench(postgres.conninfo(name), feed, directory, stack)


def _create_database(connection: psycopg.Connection, name: str, template: str) -> None:
    connection.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
            *map(sql.Identifier, (name, template, LOGIN))
        )
    )


@dataclass(slots=True)
class Rig:
    """A server under load while prices change."""

    bench: Bench
    postgres: Postgres
    server: ServerProcess
    load: Load
    offered: set[str] = field(default_factory=set)
    """Every price that the feed ever stated."""
    away: list[tuple[float, float]] = field(default_factory=list)
    """When the database could not be asked."""

    @contextmanager
    def syncing(self) -> Iterator[None]:
        """Every sync changes every price. What becomes of one during an outage is its own."""
        stopped = threading.Event()

        def sync_until_stopped() -> None:
            for price in itertools.count(101):
                self.state(price)
                with suppress(grpc.RpcError):
                    self.server.sync()
                if stopped.wait(0.1):
                    return

        thread = threading.Thread(target=sync_until_stopped)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def let_prices_change(self) -> None:
        """Every client sees a few revisions more."""
        seen = max((call.revision or 0 for calls in self.load.calls() for call in calls), default=0)
        self.load.first(
            lambda call: (call.revision or 0) > seen + CHANGES, "some changes of prices"
        )

    def state(self, price: int) -> None:
        """Let the feed state one price for all models."""
        self.offered.add(f"{price}.00")
        self.bench.feed.prices = dict.fromkeys(MODELS, price)

    @contextmanager
    def database_away(self, seconds: float) -> Iterator[None]:
        """It cannot be asked for so long or longer, and every client gets to know."""
        began = time.monotonic()
        self.load.first(
            lambda call: call.began > began and call.is_without_database,
            "an answer without the database for each client",
        )
        yield
        until(lambda: time.monotonic() > began + seconds, "the end of the outage")
        self.away.append((began, time.monotonic()))

    def assert_recovers(self, fault: str) -> None:
        """Answers are confirmed again soon after Postgres accepts connections, and prices move."""
        accepting_at = self.postgres.accepting_at()

        def seconds_until(holds: Callable[[Call], bool], what: str) -> float:
            firsts = self.load.first(lambda call: call.began > accepting_at and holds(call), what)
            return max(call.ended for call in firsts) - accepting_at

        known = max(call.revision or 0 for calls in self.load.calls() for call in calls)
        fresh = seconds_until(lambda call: call.is_fresh, "a confirmed answer for each client")
        moved = seconds_until(
            lambda call: (call.revision or 0) > known, "a price of after the outage for each client"
        )
        print(f"{fault}: confirmed again after {fresh:.2f} s, a new price after {moved:.2f} s")
        assert fresh < RECOVERY_SECONDS

    def assert_promises_kept(self, fault: str) -> None:
        """Of every answer that any client was ever given."""
        history = self._history()
        assert {price for changes in history.values() for _, price in changes} <= self.offered
        clients = self.load.calls()
        for calls in clients:
            revisions = dict.fromkeys(MODELS, 0)
            for call in calls:
                assert call.source == "PRICING_SOURCE_DATABASE", call
                assert call.revision is not None, call
                assert call.revision >= revisions[call.model], (call, revisions)
                revisions[call.model] = call.revision
                assert call.price == _price_at(history[call.model], call.revision), call
                assert not (call.is_fresh and self._cannot_be_fresh(call)), (call, self.away)
        slowest = max(call.ended - call.began for calls in clients for call in calls)
        without = sum(call.is_without_database for calls in clients for call in calls)
        revisions_seen = {call.revision for calls in clients for call in calls}
        print(
            f"{fault}: {sum(map(len, clients))} calls, {without} without the database, "
            f"{len(revisions_seen)} revisions, slowest {slowest:.2f} s"
        )

    def assert_whole(self) -> None:
        """No run is stuck, and the prices in force are those of the history."""
        stuck = "SELECT FROM pricing_sync_log WHERE status = 'in_progress'"
        until(lambda: not self.bench.rows(stuck), "the end of every run")
        self.bench.assert_whole()

    def _cannot_be_fresh(self, call: Call) -> bool:
        """Whether the call began when nothing was cached any more and before the database came
        back."""
        return any(
            began + CACHE_SECONDS + LATE_SECONDS < call.began and call.ended < ended
            for began, ended in self.away
        )

    def _history(self) -> dict[str, list[tuple[int, str]]]:
        """What each model cost from which revision on."""
        history: dict[str, list[tuple[int, str]]] = {model: [] for model in MODELS}
        for row in self.bench.rows(
            "SELECT model_id, revision, input_price FROM model_pricing_history "
            "JOIN models USING (model_key) WHERE model_id = ANY(%s) ORDER BY revision",
            list(MODELS),
        ):
            price = f"{row['input_price'] * Decimal(1_000_000):.2f}"
            history[row["model_id"]].append((row["revision"], price))
        return history


def _price_at(history: list[tuple[int, str]], revision: int) -> str:
    """What a model cost at a revision."""
    return history[bisect_right(history, revision, key=lambda change: change[0]) - 1][1]


def started(bench: Bench) -> tuple[ServerProcess, str]:
    """A server that asks the database often, and its address."""
    address = f"127.0.0.1:{steady_port()}"
    server = bench.start(PRICING_LISTEN=address, PRICING_CACHE_TTL_SECONDS=str(CACHE_SECONDS))
    return server, address


@contextmanager
def under_load(bench: Bench, postgres: Postgres, fault: str) -> Iterator[Rig]:
    """Every model has been answered. At the end, all that was promised is checked."""
    server, address = started(bench)
    bench.feed.prices = dict.fromkeys(MODELS, 100)
    server.synced()
    for model in MODELS:
        server.get(model)
    load = Load(bench.directory, address, MODELS, CLIENTS)
    bench.stack.callback(load.dispose)
    rig = Rig(bench, postgres, server, load, offered={"100.00"})
    with rig.syncing():
        rig.let_prices_change()
        yield rig
        rig.let_prices_change()
    load.stop()
    rig.assert_promises_kept(fault)
    rig.assert_whole()


def test_postgres_killed_under_load_costs_no_answer(bench: Bench, postgres: Postgres) -> None:
    with under_load(bench, postgres, "killed") as rig:
        postgres.kill()
        with rig.database_away(2):
            pass
        postgres.start()
        rig.assert_recovers("killed")


def test_postgres_frozen_under_load_costs_no_answer(bench: Bench, postgres: Postgres) -> None:
    with under_load(bench, postgres, "frozen") as rig:
        postgres.freeze()
        with rig.database_away(3):
            pass
        postgres.thaw()
        rig.assert_recovers("frozen")


def test_postgres_restarted_under_load_costs_no_answer(bench: Bench, postgres: Postgres) -> None:
    """Maybe so fast that nobody notices."""
    with under_load(bench, postgres, "restarted") as rig:
        postgres.shut_down()
        postgres.start()
        rig.assert_recovers("restarted")


def test_postgres_out_of_connections_costs_no_answer(bench: Bench, postgres: Postgres) -> None:
    with under_load(bench, postgres, "starved") as rig, ExitStack() as idle:
        control = idle.enter_context(
            psycopg.connect(postgres.conninfo(superuser=True), autocommit=True)
        )

        def taken() -> bool:
            """Ends the server's sessions and takes what is free; whether that is all there is."""
            ours = "FROM pg_stat_activity WHERE application_name LIKE 'pricing-%'"
            control.execute(f"SELECT pg_terminate_backend(pid) {ours}".encode())
            take_free_connections(bench.conninfo, idle)
            return not control.execute(f"SELECT {ours}".encode()).fetchall()

        until(taken, "a Postgres out of connections")
        # The server may win a slot that one of ours loses, so answers may be fresh meanwhile.
        time.sleep(2)
        idle.close()
        rig.assert_recovers("starved")


def take_free_connections(conninfo: str, idle: ExitStack) -> None:
    """As many as an ordinary login gets."""

    def take() -> None:
        while True:
            idle.enter_context(closing(psycopg.connect(conninfo)))

    with pytest.raises(psycopg.OperationalError, match=r"connection slots|too many clients"):
        take()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_started_without_postgres_answers_what_its_predecessor_did(
    bench: Bench, postgres: Postgres, end: signal.Signals
) -> None:
    fault = f"server ended by {end.name} while Postgres is down"
    first, _ = started(bench)
    bench.feed.prices = {**dict.fromkeys(MODELS, 100), "acme/never-asked": 1}
    revision = first.synced().run.revision
    for model in MODELS:
        assert first.get(model).table.revision == revision
    kept = bench.directory / ".data" / "last_good.sqlite"
    until(lambda: _kept_models(kept) >= set(MODELS), "the last good prices on disk")
    postgres.kill()
    first.process.send_signal(end)
    assert first.process.wait(30) == (0 if end is signal.SIGTERM else -end)

    server, address = started(bench)
    load = Load(bench.directory, address, MODELS, CLIENTS)
    bench.stack.callback(load.dispose)
    rig = Rig(bench, postgres, server, load, offered={"100.00"})
    with rig.database_away(2):
        with pytest.raises(grpc.RpcError) as unknown:
            server.get("acme/never-asked")
        assert unknown.value.code() == grpc.StatusCode.UNAVAILABLE
        assert refusal(unknown.value)[0] == "DATABASE_UNAVAILABLE"
        for call in load.first(lambda call: call.model == MODELS[-1], "answers of each client"):
            assert (call.price, call.revision) == ("100.00", revision)
    postgres.start()
    with rig.syncing():
        rig.assert_recovers(fault)
        rig.let_prices_change()
    load.stop()
    rig.assert_promises_kept(fault)
    rig.assert_whole()


def _kept_models(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as file:
        return {model for (model,) in file.execute("SELECT model_id FROM last_prices")}
