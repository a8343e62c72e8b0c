"""The recorded payloads, served as their sources would."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from tests._recorded import recorded


class Recordings(SimpleHTTPRequestHandler):
    """Serves the recorded files."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing of it is of interest."""


@contextmanager
def recordings_served() -> Iterator[str]:
    """The address in front of the names of the recorded files; skips the test without them."""
    directory = str(recorded("litellm.json").parent)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Recordings, directory=directory))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()
