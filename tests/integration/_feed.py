"""A price API of the tests' own, and payloads in the shape of OpenRouter's models API."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.integration._poll import eventually

Row = dict[str, Any]

_LONGEST_HOLD = 60.0


def row(
    model_id: str, prompt: object = "0.000001", completion: object = "0.000002", **pricing: object
) -> Row:
    """A model as OpenRouter lists it: prices are strings in USD per token."""
    maker, _, name = model_id.rpartition("/")
    return {
        "id": model_id,
        "canonical_slug": f"{model_id}-20260101",
        "hugging_face_id": f"{maker.removeprefix('~').title()}/{name}" if maker else None,
        "name": f"{maker}: {name}",
        "created": 1781754065,
        "description": "Made up for a test…",
        "context_length": 131072,
        "architecture": {
            "modality": "text->text",
            "input_modalities": ["text"],
            "output_modalities": ["text"],
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": {"prompt": prompt, "completion": completion, **pricing},
        "top_provider": {"context_length": 131072, "max_completion_tokens": None},
        "per_request_limits": None,
        "supported_parameters": ["max_tokens", "temperature"],
    }


def payload(*rows: object) -> Row:
    """The API's answer: the data of now."""
    return {"data": list(rows)}


def recording(fetched_at: str, *rows: object) -> Row:
    """The answer as a recorder keeps it: the data of an instant."""
    return {"fetchedAt": fetched_at, "count": len(rows), "data": list(rows)}


class Feed:
    """What the API answers from now on, and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[dict[str, str]] = []
        """The headers of each request."""
        self._body = b"{}"
        self._status = 200
        self._delay = 0.0
        self._etag: str | None = None
        self._open = threading.Event()
        self._open.set()

    def answer(
        self, body: object, *, status: int = 200, delay: float = 0.0, etag: str | None = None
    ) -> None:
        """Bytes are sent as they are, anything else as JSON; 304 to who knows the ETag."""
        self._etag = etag
        self._body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._status = status
        self._delay = delay

    def hold(self) -> None:
        """Let requests wait for `release`."""
        self._open.clear()

    def release(self) -> None:
        """Answer those that wait, and all that come."""
        self._open.set()

    async def asked(self, times: int = 1) -> None:
        """Wait until this many requests have come."""

        async def came() -> bool:
            return len(self.requests) >= times

        await eventually(came, f"{times} requests to the feed")

    def reply(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(dict(handler.headers.items()))
        self._open.wait(_LONGEST_HOLD)
        time.sleep(self._delay)
        if self._etag and handler.headers.get("If-None-Match") == self._etag:
            handler.send_response(304)
            handler.end_headers()
            return
        handler.send_response(self._status)
        if self._etag:
            handler.send_header("ETag", self._etag)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(self._body)))
        handler.end_headers()
        handler.wfile.write(self._body)


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Some tests want the client to hang up."""


@contextmanager
def serve_feed() -> Iterator[Feed]:
    """Serve on a free port of 127.0.0.1 until the context ends."""
    feed = Feed()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            feed.reply(self)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing of it is of interest."""

    server = _QuietServer(("127.0.0.1", 0), Handler)
    feed.url = f"http://127.0.0.1:{server.server_address[1]}/api/v1/models"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield feed
    finally:
        feed.release()
        server.shutdown()
        thread.join()
        server.server_close()
