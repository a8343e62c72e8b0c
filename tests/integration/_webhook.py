"""A webhook of the tests' own: what it was told, and how it answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "T0001-s3cr3t"


@dataclass(slots=True)
class Hook:
    """Answers the statuses in turn, then 200."""

    url: str = ""
    told: list[dict[str, Any]] = field(default_factory=list)
    """What was accepted."""
    asked: int = 0
    statuses: list[int] = field(default_factory=list)
    opened: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve_hook() -> Iterator[Hook]:
    hook = Hook()
    hook.opened.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.asked += 1
            hook.opened.wait(60)
            status = hook.statuses.pop(0) if hook.statuses else 200
            if status == 200:
                hook.told.append(document)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing of it is of interest."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    hook.url = f"http://127.0.0.1:{server.server_port}/{SECRET}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hook
    finally:
        hook.opened.set()
        server.shutdown()
        thread.join()
        server.server_close()
