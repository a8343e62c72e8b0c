"""A real server process with a feed of its own, for benchmarks."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Bench:
    """The address of the server, and the payload that its OpenRouter answers with."""

    address: str = ""
    payload: bytes = b'{"data": []}'
    pid: int = 0

    def memory(self) -> float:
        """MB that the server process has in memory (Linux)."""
        return self._status("VmRSS")

    def peak_memory(self) -> float:
        """The most MB that it had since `forget_peak` (Linux)."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Measure the peak anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def cpu_seconds(self) -> float:
        """Seconds of a processor that it has used (Linux)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def _status(self, name: str) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
        raise KeyError(name)


@contextmanager
def bench_server(**settings: str) -> Iterator[Bench]:
    """Start a server on an embedded database in a temporary directory, with more settings."""
    bench = Bench()

    class Feed(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(bench.payload)))
            self.end_headers()
            self.wfile.write(bench.payload)

        def log_message(self, format: str, *args: object) -> None:
            pass

    feed = ThreadingHTTPServer(("127.0.0.1", 0), Feed)
    threading.Thread(target=feed.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="llmpricing-bench-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        environment = os.environ | {
            "PRICING_LISTEN": "127.0.0.1:0",
            "PRICING_SYNC_INTERVAL": "off",
            "PRICING_DATA_DIR": f"{directory}/data",
            "PRICING_OPENROUTER_URL": f"http://127.0.0.1:{feed.server_port}/",
            **settings,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "pricing_server.cli", "serve"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("serving on "))
            bench.address = line.split()[-1]
            bench.pid = process.pid
            yield bench
        finally:
            process.terminate()
            process.wait()
            feed.shutdown()
