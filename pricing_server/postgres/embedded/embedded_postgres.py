"""A private PostgreSQL server, for machines where nobody runs one.

Processes that name the same data directory share one server: each holds a shared kernel lock on
`users.lock`, and a watcher process that gets it exclusively stops the server. Whatever ends a
process ends its share, so no kind of death leaves a server behind. Every process of the server
inherits an exclusive lock on `server.lock`: whoever gets that one knows that none is alive. No
process id read from a file is ever signalled.

A data directory holds, besides the locks: `cluster/`, `sockets/`, `settings.conf` (written at each
start), `password` (0600), `port` and `postgres.log` (of this run; `.1` is that of the one before).

Run as root, the server drops to the cluster's owner, `postgres` or `nobody`. If that user cannot
reach the data directory, all of this is in /var/lib/llmpricing/<digest of its path>-<random>, and
the data directory has a link `relocated` to it.
"""

import fcntl
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pricing_server.postgres.embedded import watcher
from pricing_server.postgres.embedded.cluster import NAME, Cluster, last_lines, port_is_free
from pricing_server.postgres.embedded.host import (
    EmbeddedPostgresError,
    find_binaries,
    machine_directory,
    server_account,
)

__all__ = ["EmbeddedPostgresError", "embedded_postgres"]

_LOG = logging.getLogger(__name__)
_WAIT = 60.0  # seconds for a start, which may have to recover from a crash, or for a stop
_POLL = 0.02  # seconds
_STARTS = 3  # another process can take the port between our choice and the server's bind

# Every user runs this: a database that was dropped comes back. The lock is for starts at once.
_CREATE_DATABASE = """
SELECT pg_advisory_lock(hashtext('create database'));
SELECT format('CREATE DATABASE %I', :'name')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \\gexec
"""


@contextmanager
def embedded_postgres(data_dir: Path) -> Iterator[str]:
    """Shares the server of `data_dir`, made and started if need be; yields a libpq conninfo.

    The conninfo carries a password. The database `pricing` exists, its role is a superuser. On
    exit the last user waits until the server has stopped.

    Raises EmbeddedPostgresError when the server cannot be started.
    """
    with ExitStack() as stack:
        try:
            server = _Server(_locate(data_dir))
            stack.enter_context(server.shared())
            server.ensure_running()
            conninfo = server.conninfo()
        except OSError as error:
            raise EmbeddedPostgresError(f"cannot use data directory {data_dir}: {error}") from error
        yield conninfo


@dataclass(frozen=True, slots=True)
class _Server:
    """The one server of a cluster, running or not."""

    cluster: Cluster

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Keeps the server running once it does; waits first while it is being stopped."""
        try:
            with self._open("users.lock") as users:
                fcntl.flock(users, fcntl.LOCK_SH)
                yield
        finally:
            self._wait_until_stopped()

    def ensure_running(self) -> None:
        """Returns when the server, whichever user started it, has the database."""
        deadline = time.monotonic() + _WAIT
        starts = 0
        while not self._is_ready():
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"PostgreSQL was not ready within {_WAIT:.0f} s; see {self.cluster.log}, and "
                    f"stop what still runs on {self.cluster.data}"
                )
            with self._open("server.lock") as lock:
                if _try_lock(lock, fcntl.LOCK_EX):
                    if starts and (starts == _STARTS or port_is_free(self.cluster.port)):
                        log = self.cluster.log.read_text(errors="replace")
                        raise EmbeddedPostgresError(f"PostgreSQL did not start: {last_lines(log)}")
                    self._start(lock)
                    starts += 1
            time.sleep(_POLL)
        self._ensure_database()

    def conninfo(self) -> str:
        return (
            f"host=127.0.0.1 port={self.cluster.port} dbname={NAME} "
            f"user={NAME} password={self.cluster.password}"
        )

    def _is_ready(self) -> bool:
        return self.cluster.port > 0 and self.cluster.run_client("pg_isready")[0] == 0

    def _ensure_database(self) -> None:
        code, complaint = self.cluster.run_client(
            "psql",
            *("-XqAt", "-v", "ON_ERROR_STOP=1", "-v", f"name={NAME}"),
            stdin=_CREATE_DATABASE,
        )
        if code:
            raise EmbeddedPostgresError(f"cannot create database {NAME}: {complaint}")

    def _start(self, lock: int) -> None:
        """Starts the watcher, which starts the server. `lock` is the locked `server.lock`."""
        if not self.cluster.data.exists():
            self.cluster.initialise(lock)
        command = self.cluster.prepare_start()
        spec = {
            "command": command.arguments,
            "environment": command.environment,
            "uid": self.cluster.account.uid,
            "gid": self.cluster.account.gid,
            "users_lock": str(self.cluster.home / "users.lock"),
            "server_lock": lock,
        }
        with open(os.open(self.cluster.log, os.O_WRONLY | os.O_CREAT, 0o600), "ab") as log:
            # A session of its own: Ctrl-C in a terminal must not reach the server.
            subprocess.run(
                [sys.executable, "-I", "-S", watcher.__file__, json.dumps(spec)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                pass_fds=[lock],
                start_new_session=True,
            )

    def _wait_until_stopped(self) -> None:
        """Returns once the server has stopped, at once when somebody still shares it."""
        deadline = time.monotonic() + _WAIT
        while time.monotonic() < deadline:
            with self._open("server.lock") as server, self._open("users.lock") as users:
                if _try_lock(server, fcntl.LOCK_EX):
                    return
                # The watcher locks exclusively, until the end of the shutdown; users do not.
                if not _try_lock(users, fcntl.LOCK_EX) and _try_lock(users, fcntl.LOCK_SH):
                    return
            time.sleep(_POLL)
        _LOG.warning("PostgreSQL on %s has not stopped in %.0f s", self.cluster.data, _WAIT)

    @contextmanager
    def _open(self, lock: str) -> Iterator[int]:
        file = os.open(self.cluster.home / lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield file
        finally:
            os.close(file)


def _locate(data_dir: Path) -> Cluster:
    """Finds where the cluster is or shall be, and what it is run with."""
    data_dir.mkdir(parents=True, exist_ok=True)
    data_dir = data_dir.resolve()
    link = data_dir / "relocated"
    home = link.resolve() if link.is_symlink() else data_dir
    if not home.is_dir():
        raise EmbeddedPostgresError(
            f"{link} leads to {home}, which is gone: restore it, or remove the link to start empty"
        )
    account = server_account(home / "cluster")
    if home == data_dir and not (home / "cluster").exists() and not account.reaches(home):
        home = _relocate(data_dir, link)
    version = home / "cluster" / "PG_VERSION"
    major = int(version.read_text()) if version.exists() else None
    return Cluster(home, account, find_binaries(account, major))


def _relocate(data_dir: Path, link: Path) -> Path:
    """Makes a home that any account reaches, unless another process just did."""
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    # Random, so that a data directory that was removed and made again starts empty.
    home = Path(tempfile.mkdtemp(prefix=f"{digest}-", dir=machine_directory()))
    home.chmod(0o711)  # To be passed through: what is inside has modes of its own.
    try:
        link.symlink_to(home)
    except FileExistsError:
        home.rmdir()
    else:
        _LOG.warning("PostgreSQL cannot reach %s as it drops root: data is in %s", data_dir, home)
    return link.resolve()


def _try_lock(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
