"""Servers of the tests' own: in this process, or as the command that operators run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import grpc
import pytest

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1 import pricing_pb2_grpc
from pricing_server.app import running_server
from pricing_server.cli import migrations_directory
from pricing_server.domain.sync_run import COUNTS
from pricing_server.settings import PREFIX, Settings
from tests.integration._feed import Feed
from tests.integration._poll import eventually, until

CALL_SECONDS = 90.0
"""Ends a call that hangs; no promise of how long one takes, which is up to the machine."""
NO_BUFFER: dict[str, Any] = {"stream_buffer_bytes": 0}
"""Most tests have no stream. A server with a buffer first reads the whole first sync into it."""
BUFFER: dict[str, Any] = {
    "stream_buffer_bytes": Settings.model_fields["stream_buffer_bytes"].default
}
"""What servers have unless they are told otherwise."""
ADMIN_TOKEN = "integration-token"
FULL: dict[str, Any] = {"view": pb.CHANGE_VIEW_FULL}
"""What tests look at of a change, unless they say otherwise."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server in this process, and a client of it."""

    conninfo: str
    address: str
    channel: grpc.aio.Channel
    stub: pricing_pb2_grpc.PricingServiceAsyncStub

    async def get(self, model_id: str, provider: str | None = None) -> pb.GetPricingResponse:
        request = pb.GetPricingRequest(model_id=model_id, provider=provider)
        return await self.stub.GetPricing(request, timeout=CALL_SECONDS)

    async def price(self, model_id: str, provider: str = "openrouter") -> pb.ModelPricing:
        return (await self.get(model_id, provider)).pricing

    async def sync(self, source: str = "openrouter", **fields: Any) -> pb.SyncProviderResponse:
        request = pb.SyncProviderRequest(provider=source, **(FULL | fields))
        return await self.stub.SyncProvider(request, timeout=CALL_SECONDS)

    async def synced(self, source: str = "openrouter", **fields: Any) -> pb.SyncProviderResponse:
        """A sync that must succeed and whose counts must add up."""
        response = await self.sync(source, **fields)
        assert response.run.status == pb.SYNC_STATUS_SUCCESS, response.run.error_message
        assert_counts_add_up(response.run)
        if not response.dry_run:
            run = await self.run(response.run.sync_run_id)
            for name in ("status", "revision", "completed_time", "duration_ms", *COUNTS):
                assert getattr(run, name) == getattr(response.run, name), name
        return response

    async def runs(self, source: str | None = "openrouter") -> list[pb.SyncRun]:
        """The newest runs first."""
        request = pb.ListSyncRunsRequest(source=source, page_size=1000)
        return list((await self.stub.ListSyncRuns(request, timeout=CALL_SECONDS)).runs)

    async def run(self, sync_run_id: str) -> pb.SyncRun:
        request = pb.GetSyncRunRequest(sync_run_id=sync_run_id)
        return (await self.stub.GetSyncRun(request, timeout=CALL_SECONDS)).run

    async def ended_run(self, sync_run_id: str) -> pb.SyncRun:
        """The run once it has its final status."""

        async def ended() -> pb.SyncRun | None:
            run = await self.run(sync_run_id)
            return None if run.status == pb.SYNC_STATUS_IN_PROGRESS else run

        run = await eventually(ended, f"the end of sync run {sync_run_id}")
        assert run is not None
        return run


ROOT = Path(__file__).parents[2]


def assert_counts_add_up(run: pb.SyncRun) -> None:
    """Every model that was fetched is counted once."""
    assert run.models_fetched == (
        run.models_registered
        + run.models_updated
        + run.models_unchanged
        + run.models_skipped
        + run.errors
        + run.models_held
    )


@asynccontextmanager
async def in_process_server(
    conninfo: str | None,
    feed: Feed | None = None,
    sources: Iterable[str] = ("openrouter",),
    **settings: Any,
) -> AsyncIterator[Server]:
    """Serve in this event loop. The feed is what these sources answer."""
    urls = {source: feed.url for source in sources} if feed else {}
    urls |= settings.pop("source_urls", {})
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(PREFIX):
                patch.delenv(name)
        with tempfile.TemporaryDirectory() as directory:
            # Sources are synced by the tests, not by themselves.
            defaults: dict[str, Any] = {"sync_interval": "off", "source_urls": urls, **NO_BUFFER}
            settings = {"data_dir": Path(directory), **defaults, **settings}
            chosen = Settings(**(settings | {"listen": "127.0.0.1:0"}))
            async with (
                running_server(chosen, conninfo, migrations_directory()) as running,
                grpc.aio.insecure_channel(running.address) as channel,
            ):
                stub = pricing_pb2_grpc.PricingServiceStub(channel)
                yield Server(conninfo or "", running.address, channel, stub)


class ServerProcess:
    """`pricing-server serve`, in a process group of its own. Its output is collected."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pricing_server.cli", "serve"],
            cwd=directory,
            env={
                **inherited,
                "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "clients/python"))),
                "PRICING_LISTEN": "127.0.0.1:0",
                "PRICING_SYNC_INTERVAL": "off",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self.output: list[str] = []
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=_collect, args=(stream, lines))
            for stream, lines in (
                (self.process.stdout, self.output),
                (self.process.stderr, self.errors),
            )
        ]
        for reader in self._readers:
            reader.start()

    @property
    def address(self) -> str:
        """Where it serves, once it does."""

        def serving() -> str | None:
            assert self.process.poll() is None, f"it ended: {self.errors}"
            return next((line for line in self.output if line.startswith("serving on ")), None)

        line = until(serving, "a server that serves")
        assert line is not None
        return line.removeprefix("serving on ").strip()

    def events(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self.errors if line.startswith("{")]

    def send(self, number: signal.Signals) -> int:
        """Send a signal to the process alone; the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def press_ctrl_c(self) -> int:
        """Interrupt the whole group, as a terminal does; the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """The exit code, when all output is there."""
        code = self.process.wait(CALL_SECONDS)
        for reader in self._readers:
            reader.join(CALL_SECONDS)
        return code

    def dispose(self) -> None:
        """End it if it runs; however that goes, nothing of it is left open."""
        self.process.kill()
        self.wait()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream
            stream.close()


StartProcess = Callable[..., ServerProcess]
"""Starts the command with settings by name."""


@contextmanager
def server_process(directory: Path, **environment: str) -> Iterator[ServerProcess]:
    """The command with these settings, killed at the end if it still runs."""
    process = ServerProcess(directory, environment)
    try:
        yield process
    finally:
        process.dispose()


def _collect(stream: IO[str] | None, lines: list[str]) -> None:
    assert stream
    lines.extend(line.rstrip("\n") for line in stream)
