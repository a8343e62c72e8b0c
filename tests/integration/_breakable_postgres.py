"""A Postgres of a test's own, which can be killed, frozen and started again."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from pricing_server.postgres.embedded.cluster import NAME as SUPERUSER
from pricing_server.postgres.embedded.cluster import Cluster, port_is_free
from pricing_server.postgres.embedded.host import Account, find_binaries, server_account
from tests.integration._poll import until
from tests.integration._postgres import wait_until_stopped

LOGIN = "prices"
MAX_CONNECTIONS = 20


class Postgres:
    """A server that a test can kill, freeze and start again, always on the same port.

    Its files and settings are those of an embedded one. Nothing watches over it.
    """

    def __init__(self, home: Path, *, max_connections: int = MAX_CONNECTIONS) -> None:
        self._home = home
        self._max_connections = max_connections
        account = server_account(home / "cluster")
        self._cluster = Cluster(home, account, find_binaries(account, None))
        with self._lock() as lock:
            self._cluster.initialise(lock)
        self._port = steady_port()
        (home / "port").write_text(str(self._port))
        self._process: subprocess.Popen[bytes] | None = None

    def conninfo(self, database: str = "postgres", *, superuser: bool = False) -> str:
        """Of an ordinary login by default: it gets no connection that is kept for superusers."""
        user = SUPERUSER if superuser else LOGIN
        return (
            f"host=127.0.0.1 port={self._port} dbname={database} "
            f"user={user} password={self._cluster.password}"
        )

    def start(self) -> None:
        command = self._cluster.prepare_start()
        assert self._cluster.port == self._port, "somebody took the port"
        account = self._cluster.account
        settings = (f"max_connections={self._max_connections}", "superuser_reserved_connections=1")
        # Without fsync, for speed: what is killed here is Postgres, not the machine.
        options = [f"--{setting}" for setting in (*settings, "fsync=off")]
        with self._lock() as lock, self._cluster.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_as_account(account), *command.arguments, *options],
                env=command.environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                start_new_session=True,
            )

    def accepting_at(self, *, superuser: bool = False) -> float:
        """Waits until it accepts a connection; when it did."""

        def connects() -> bool:
            assert self._process is not None
            code = self._process.poll()
            assert code is None, f"it ended with {code}: {self._cluster.log.read_text()}"
            try:
                psycopg.connect(self.conninfo(superuser=superuser)).close()
            except psycopg.OperationalError:
                return False
            return True

        until(connects, "a Postgres that accepts connections")
        return time.monotonic()

    def kill(self) -> None:
        """All processes at once, as a crash of the machine would, but for what it wrote."""
        for process in reversed(self._frozen()):
            os.kill(process, signal.SIGKILL)
        self._ended()

    def freeze(self) -> None:
        for process in self._frozen()[1:]:
            os.kill(process, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        for process in (*self._children(), self._process.pid):
            with suppress(ProcessLookupError):  # Sessions end all the time.
                os.kill(process, signal.SIGCONT)

    def shut_down(self) -> None:
        """In the fast way: sessions are ended."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._ended()

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def restore(self) -> None:
        """Whatever a test has left."""
        if self.is_running():
            self.thaw()
        else:
            self.start()
        self.accepting_at()

    def dispose(self) -> None:
        """Stopped in order: a killed server leaves shared memory for the next one to free."""
        if self.is_running():
            self.thaw()
            self.shut_down()

    def _frozen(self) -> list[int]:
        """The postmaster, stopped, and its children. It reaps none: no id becomes another's."""
        assert self._process is not None
        postmaster = self._process.pid
        os.kill(postmaster, signal.SIGSTOP)
        until(lambda: _processes()[postmaster][1].startswith("T"), "a postmaster that has stopped")
        return [postmaster, *self._children()]

    def _children(self) -> list[int]:
        assert self._process is not None
        return [pid for pid, (parent, _) in _processes().items() if parent == self._process.pid]

    def _ended(self) -> None:
        assert self._process is not None
        self._process.wait(30)
        wait_until_stopped(self._home)

    @contextmanager
    def _lock(self) -> Iterator[int]:
        """Every process of the server inherits it, and frees it when the last one is gone."""
        with (self._home / "server.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock.fileno()


_BECOME = """
import os, sys
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[1]))
os.execv(sys.argv[3], sys.argv[3:])
"""


def _as_account(account: Account) -> Sequence[str]:
    """What to put before a command. `Popen` itself would fork for another account, and a fork
    of a process with busy gRPC channels may crash before it executes anything."""
    if account.uid is None:
        return ()
    return (sys.executable, "-I", "-S", "-c", _BECOME, str(account.uid), str(account.gid))


def _processes() -> dict[int, tuple[int, str]]:
    """Parent and state of every process of the machine."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    ).stdout
    return {
        int(pid): (int(parent), state)
        for pid, parent, state in (line.split() for line in listed.splitlines())
    }


def steady_port() -> int:
    """A port that nobody is given by chance while the server is down."""
    return next(
        port
        for port in random.SystemRandom().sample(range(20_000, 32_000), 1_000)
        if port_is_free(port)
    )
