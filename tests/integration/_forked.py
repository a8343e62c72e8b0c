"""Server processes that are forked from one that has imported the server already.

To start the command takes most of a second of imports, which is most of what short tests take.
What is forked is `main(["serve"])` with an environment, a directory and output of its own, and has
read the bundled catalogue, too. Tests of the command itself start the command.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_REQUEST_BYTES = 1 << 20


class ForkedProcess:
    """A process that was forked elsewhere; what tests use of `subprocess.Popen`."""

    def __init__(self, pid: int, ended: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = ended

    def poll(self) -> int | None:
        """The exit code if it has ended; a negative one is the signal that ended it."""
        return self.returncode if self.returncode is not None else self._read(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        code = self.returncode if self.returncode is not None else self._read(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("serve", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _read(self, timeout: float | None) -> int | None:
        self._ended.settimeout(timeout)
        try:
            text = self._ended.recv(16)
        except (BlockingIOError, TimeoutError):
            return None
        assert text, "the process that forks has ended"
        self._ended.close()
        self.returncode = int(text)
        return self.returncode


def fork_server(
    directory: Path, environment: Mapping[str, str], out: int, err: int
) -> ForkedProcess:
    """`pricing-server serve` in a directory, with this environment and these files as output."""
    mine, its = socket.socketpair()
    control, lock = _forker()
    request = json.dumps({"cwd": str(directory), "environment": dict(environment)}).encode()
    with its, lock:
        socket.send_fds(control, [request], [out, err, its.fileno()])
        pid = int(control.recv(16))
    return ForkedProcess(pid, mine)


@cache
def _forker() -> tuple[socket.socket, threading.Lock]:
    """What asks the forking process of this one, one at a time. It ends when this one does."""
    mine, its = socket.socketpair(type=socket.SOCK_SEQPACKET)
    code = "import sys; from tests.integration._forked import fork; sys.exit(fork(sys.argv[1]))"
    with its:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(its.fileno())],
            cwd=_ROOT,
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join((str(_ROOT), str(_ROOT / "clients/python")))},
            stdin=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
        )
    atexit.register(_end, process, mine)
    return mine, threading.Lock()


def _end(process: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    process.wait(90)


def fork(descriptor: str) -> int:
    """Fork a server for each request, and tell the exit code of each, until nobody asks."""
    from pricing_server.app import bundled_catalogue
    from pricing_server.cli import main

    catalogue, coverage = bundled_catalogue()
    catalogue.standings()
    coverage.covered("", "")
    control = socket.socket(fileno=int(descriptor))
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not control:
                    _tell_end(selector, key)
                    continue
                text, descriptors, _, _ = socket.recv_fds(control, _REQUEST_BYTES, 3)
                if not text:
                    return 0
                pid = os.fork()
                if pid == 0:
                    selector.close()
                    control.close()
                    _become(json.loads(text), descriptors)
                    return main(["serve"])
                out, err, ended = descriptors
                os.close(out)
                os.close(err)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, ended))
                control.send(str(pid).encode())


def _tell_end(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    pid, ended = key.data
    _, status = os.waitpid(pid, 0)
    selector.unregister(key.fileobj)
    os.close(key.fd)
    with socket.socket(fileno=ended) as connection, suppress(BrokenPipeError):
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(request: Mapping[str, Any], descriptors: list[int]) -> None:
    out, err, ended = descriptors
    os.dup2(out, 1)
    os.dup2(err, 2)
    for descriptor in (out, err, ended):
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
