"""Embedded servers for tests, and processes that use them."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_USE = """
import sys
from pathlib import Path
from pricing_server.postgres.embedded.embedded_postgres import embedded_postgres

with embedded_postgres(Path(sys.argv[1])) as conninfo:
    print(conninfo, flush=True)
    sys.stdin.read()
"""


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory that every account reaches, unlike pytest's `tmp_path` when root runs the tests.

    There, each cluster would move to /var/lib/llmpricing and stay.
    """
    directory = Path(tempfile.mkdtemp(prefix="llmpricing-test-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@dataclass(frozen=True, slots=True)
class User:
    """A process that shares the server until it is told to leave."""

    process: subprocess.Popen[str]

    def conninfo(self) -> str:
        """Waits until the server is ready."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        self.process.communicate(timeout=90)
        assert self.process.returncode == 0


@contextmanager
def user(
    data_dir: Path,
    *,
    python: Sequence[str] = (sys.executable,),
    path: Sequence[Path] = (),
    account: int | None = None,
) -> Iterator[User]:
    """Starts a user process, as `account` if given, in a process group of its own."""
    process = subprocess.Popen(
        [*python, "-c", _USE, data_dir],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, *path)))},
        user=account,
        group=account,
        extra_groups=None if account is None else [],
        process_group=0,
    )
    try:
        yield User(process)
    finally:
        process.kill()
        process.communicate()


def wait_until_stopped(home: Path) -> None:
    """Returns when no process of the server is alive; fails after 90 s."""
    deadline = time.monotonic() + 90
    with (home / "server.lock").open("a") as lock:
        while time.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.02)
            else:
                return
    raise AssertionError(f"a server in {home} is still running")


def postmaster_pid(home: Path) -> int:
    return int((home / "cluster" / "postmaster.pid").read_text().splitlines()[0])
