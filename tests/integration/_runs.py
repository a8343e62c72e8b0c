"""Real server processes, a price feed that can be held, and a database of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import psycopg
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from psycopg.rows import dict_row

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1 import pricing_pb2_grpc
from pricing_server.postgres.maintenance.verify import verify
from tests.integration._database import copied_database
from tests.integration._forked import fork_server
from tests.integration._poll import until
from tests.integration._postgres import ROOT, scratch_directory
from tests.integration._server import CALL_SECONDS

FULL: dict[str, Any] = {"view": pb.CHANGE_VIEW_FULL}
"""What tests look at of a change, unless they say otherwise."""


@dataclass(slots=True)
class Feed:
    """What OpenRouter's models API answers: USD per 1M tokens of input by model id."""

    url: str = ""
    prices: dict[str, int | None] = field(default_factory=dict)
    """None lists the model without a price."""
    asked: int = 0
    opened: threading.Event = field(default_factory=threading.Event)

    def document(self) -> dict[str, Any]:
        return {
            "data": [
                {
                    "id": model_id,
                    "pricing": {
                        "prompt": f"0.{price or 0:06}",
                        "completion": f"0.{2 * (price or 0):06}",
                    },
                }
                for model_id, price in self.prices.items()
            ]
        }


@contextmanager
def serve_feed() -> Iterator[Feed]:
    feed = Feed()
    feed.opened.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            feed.asked += 1
            feed.opened.wait(60)
            body = json.dumps(feed.document()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing of it is of interest."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    # A killed client leaves its request without a reader.
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    feed.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield feed
    finally:
        feed.opened.set()
        server.shutdown()
        thread.join()
        server.server_close()


class ServerProcess:
    """`pricing-server serve` with a client; forked, not started as the command."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.log = directory / f"server-{time.monotonic_ns()}.log"
        settings = {"PRICING_LISTEN": "127.0.0.1:0", "PRICING_SYNC_INTERVAL": "off"}
        reading, writing = os.pipe()
        self.stdout = open(reading, encoding="utf-8")  # noqa: SIM115  # closed by dispose
        with self.log.open("w") as log, open(writing, "wb") as out:
            self.process = fork_server(
                directory,
                clean_environment() | settings | dict(environment),
                out.fileno(),
                log.fileno(),
            )
        line = self.stdout.readline()
        assert line.startswith("serving on "), self.log.read_text()
        self.address = line.split()[-1]
        self.channel = grpc.insecure_channel(self.address)
        self.stub = pricing_pb2_grpc.PricingServiceStub(self.channel)

    def sync_later(self, source: str = "openrouter") -> Any:
        """A call under way: `.result()` is its response."""
        request = pb.SyncProviderRequest(provider=source)
        return self.stub.SyncProvider.future(request, timeout=CALL_SECONDS)

    def sync(self, source: str = "openrouter", **fields: Any) -> pb.SyncProviderResponse:
        request = pb.SyncProviderRequest(provider=source, **(FULL | fields))
        return self.stub.SyncProvider(request, timeout=CALL_SECONDS)

    def synced(self, source: str = "openrouter", **fields: Any) -> pb.SyncProviderResponse:
        response = self.sync(source, **fields)
        assert response.run.status == pb.SYNC_STATUS_SUCCESS, response.run.error_message
        return response

    def revert(self, sync_run_id: str, **fields: Any) -> pb.RevertSyncRunResponse:
        request = pb.RevertSyncRunRequest(sync_run_id=sync_run_id, **(FULL | fields))
        return self.stub.RevertSyncRun(request, timeout=CALL_SECONDS)

    def get(self, model_id: str, provider: str = "openrouter") -> pb.GetPricingResponse:
        request = pb.GetPricingRequest(model_id=model_id, provider=provider)
        return self.stub.GetPricing(request, timeout=CALL_SECONDS)

    def prompt(self, model_id: str, provider: str = "openrouter") -> str | None:
        """USD per 1M tokens of input; None if the price is not known."""
        pricing = self.get(model_id, provider).pricing
        return pricing.prompt if pricing.HasField("prompt") else None

    def table_prompt(self, model_id: str, provider: str) -> str | None:
        """As `prompt`, from the price table alone: the layers behind it are not asked."""
        request = pb.GetPricingRequest(
            model_id=model_id,
            provider=provider,
            read=pb.ReadOptions(accept_sources=[pb.PRICING_SOURCE_DATABASE]),
        )
        pricing = self.stub.GetPricing(request, timeout=CALL_SECONDS).pricing
        return pricing.prompt if pricing.HasField("prompt") else None

    def newest_run(self, source: str = "openrouter") -> pb.SyncRun:
        request = pb.ListSyncRunsRequest(source=source, page_size=1)
        return self.stub.ListSyncRuns(request, timeout=CALL_SECONDS).runs[0]

    def ended_run(self, source: str = "openrouter", seconds: float = 30) -> pb.SyncRun:
        def ended() -> pb.SyncRun | None:
            run = self.newest_run(source)
            return run if run.status != pb.SYNC_STATUS_IN_PROGRESS else None

        run = until(ended, "the end of the run", seconds)
        assert run is not None
        return run

    def dispose(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()
        self.stdout.close()


@dataclass(frozen=True, slots=True)
class Bench:
    """One database and the feed of all servers that a test starts on it."""

    conninfo: str
    feed: Feed
    directory: Path
    stack: ExitStack

    def start(self, **environment: str) -> ServerProcess:
        process = ServerProcess(
            self.directory,
            {
                "PRICING_DATABASE_URL": self.conninfo,
                "PRICING_OPENROUTER_URL": self.feed.url,
                **environment,
            },
        )
        self.stack.callback(process.dispose)
        return process

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Look at the tables, or change them, past the service."""
        with psycopg.connect(self.conninfo, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def verify(self) -> tuple[int, str]:
        """Exit code and output of `pricing-server verify`."""
        done = subprocess.run(
            [sys.executable, "-m", "pricing_server.cli", "verify"],
            cwd=self.directory,
            env=clean_environment() | {"PRICING_DATABASE_URL": self.conninfo},
            capture_output=True,
            text=True,
            timeout=CALL_SECONDS,
        )
        return done.returncode, done.stdout + done.stderr

    def assert_whole(self) -> None:
        """What `pricing-server verify` checks holds, asked without the command."""
        assert [check for check in verify(self.conninfo) if check.broken] == []


def clean_environment() -> dict[str, str]:
    """No settings of the developer's own."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("PRICING_")}
    return inherited | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "clients/python")))}


@contextmanager
def bench_on(cluster: str, template: str) -> Iterator[Bench]:
    """A copy of the database `template`, gone at the end with all that uses it."""
    with (
        scratch_directory() as scratch,
        copied_database(cluster, template) as conninfo,
        serve_feed() as feed,
        ExitStack() as stack,
    ):
        yield Bench(conninfo, feed, scratch, stack)


def refusal(error: grpc.RpcError) -> tuple[str, dict[str, str]]:
    """Reason and metadata of a call that was refused."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # errors are calls, too
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info.reason, dict(info.metadata)
