"""Sources that are known from documentation: keys in the query, pages, prices per token."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.providers import SOURCES
from tests.integration._database import connected, tables
from tests.integration._server import Server, in_process_server
from tests.integration._status import refused

FIXTURES = Path(__file__).parents[1] / "fixtures"
KEY = "AIza-made-up/0123456789"


@contextmanager
def paged_catalogue(rows: list[Any], per_page: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Google's catalogue in pages; its address and the queries it was asked."""
    queries: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            queries.append(query)
            start = int(query.get("pageToken", ["0"])[0])
            end = start + per_page
            page = {"skus": rows[start:end], "nextPageToken": str(end) if rows[end:] else ""}
            body = json.dumps(page).encode()
            self.send_response(200 if query.get("key") == [KEY] else 403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing of it is of interest."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/skus?currencyCode=USD", queries
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def everything(conninfo: str) -> str:
    """All that the database holds, as text."""
    with connected(conninfo) as connection:
        return "".join(
            str(connection.execute(f"SELECT * FROM {table}".encode()).fetchall())
            for table in tables(connection)
        )


async def test_a_key_in_the_query_reads_all_pages_and_is_kept_nowhere(
    database: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads((FIXTURES / "google.json").read_bytes())["skus"]
    with paged_catalogue(rows, per_page=15) as (url, queries):
        settings: dict[str, Any] = {"source_urls": {"google": url}, "source_keys": {"google": KEY}}
        async with in_process_server(database, **settings) as server:
            before = await server.price("gemini-2.5-pro", "google")
            response = await server.synced("google")
            held = await server.price("gemini-2.5-pro", "google")
            listed = pb.ListHeldChangesRequest(source="google")
            (feed,) = (await server.stub.ListHeldChanges(listed)).held_changes
            decided = await server.stub.ResolveHeldChange(
                pb.ResolveHeldChangeRequest(
                    held_change_id=feed.held_change_id, decision=pb.HOLD_DECISION_APPROVE
                )
            )
            price = await server.price("gemini-2.5-pro", "google")
            answered = f"{response}{feed}{decided}{await server.runs('google')}"
    # Nobody has seen a real payload: what it states is shown, and applied once approved.
    assert (feed.reason, feed.models) == (pb.HOLD_REASON_UNPROVEN_SOURCE, response.run.models_held)
    assert (response.run.models_registered, response.run.models_updated) == (0, 0)
    assert held.source_detail == before.source_detail
    assert (held.pending_change.prompt, held.pending_change.completion) == ("1.25", "10.00")
    assert (price.prompt, price.completion) == ("1.25", "10.00")
    assert price.source_detail.startswith(SOURCES["google"].display_name)
    assert not price.HasField("pending_change")
    assert [query.get("pageToken") for query in queries] == [None, ["15"], ["30"]]
    assert all(query["currencyCode"] == ["USD"] for query in queries)
    told = everything(database) + caplog.text + "".join(capfd.readouterr()) + answered
    for spelt in (KEY, KEY.replace("/", "%2F")):
        assert spelt not in told


async def test_a_refused_key_in_the_query_is_told_to_nobody(
    database: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with paged_catalogue([], per_page=10) as (url, _):
        wrong = "AIza-wrong-0123456789"
        settings: dict[str, Any] = {
            "source_urls": {"google": url},
            "source_keys": {"google": wrong},
        }
        async with in_process_server(database, **settings) as server:
            response = await server.sync("google")
    assert response.run.status == pb.SYNC_STATUS_FAILED
    assert response.run.error_message.endswith("/skus: HTTP status 403")
    told = everything(database) + caplog.text + "".join(capfd.readouterr()) + str(response)
    assert wrong not in told


@pytest.mark.parametrize("source", ["google", "google-vertex", "alibaba-cloud"])
async def test_a_missing_key_names_its_variable(server: Server, source: str) -> None:
    variable = f"PRICING_{source.upper().replace('-', '_')}_API_KEY"
    refusal = await refused(server.sync(source))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "KEY_MISSING")
    assert variable in refusal.message
