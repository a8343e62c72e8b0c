"""The change stream through a real Envoy in front of three servers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import grpc

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1 import pricing_pb2_grpc
from tests.integration._database import rows
from tests.integration._envoy import envoy, find_envoy, free_ports
from tests.integration._feed import Feed, payload, row
from tests.integration._poll import eventually
from tests.integration._server import CALL_SECONDS, ServerProcess, StartProcess
from tests.integration._stream import Key, Saved, key_of, stream

MODELS = [f"stream/model-{number}" for number in range(5)]


class Subscriber:
    """Keeps the contract's one rule: saves at the last fragment, resumes where it saved."""

    def __init__(self, **criteria: Any) -> None:
        self.saved = Saved(after_revision=0)
        self.criteria = criteria
        self.ends: list[str] = []
        """The reasons why its streams have ended."""

    @property
    def keys(self) -> list[Key]:
        """The changes that it has seen."""
        return [key_of(change) for change in self.saved.changes]

    async def follow(self, stub: pricing_pb2_grpc.PricingServiceAsyncStub) -> None:
        """Read until cancelled, whatever happens to single streams."""
        while True:
            self.saved.reconnect()
            async with stream(
                stub,
                progress_seconds=0.2,
                after_revision=self.saved.after_revision,
                epoch=self.saved.epoch,
                **self.criteria,
            ) as reader:
                found = await reader.refusal(self.saved)
            # gRPC cancels a call that comes in the very moment in which a server closes.
            assert found.code in ("UNAVAILABLE", "CANCELLED"), found
            self.ends.append(found.reason)


class Writer:
    """Changes prices through the proxy, at whichever server it chooses."""

    def __init__(self, stub: pricing_pb2_grpc.PricingServiceAsyncStub, feed: Feed) -> None:
        self._stub = stub
        self._feed = feed
        self.revision = 0
        self.is_done = False

    async def write(self) -> None:
        """Sync other prices until it is done, whatever becomes of single syncs."""
        for step in count(1):
            if self.is_done:
                return
            # However many syncs fail in a row, none of the changes is out of all proportion.
            prices = [row(model_id, f"0.000005{step:06}") for model_id in MODELS]
            self._feed.answer(payload(*prices))
            try:
                run = await self._stub.SyncProvider(
                    pb.SyncProviderRequest(provider="openrouter"), timeout=CALL_SECONDS
                )
                self.revision = max(self.revision, run.run.revision)
            except grpc.aio.AioRpcError:
                continue

    async def has_gone_on(self, revisions: int) -> None:
        """Wait for so many more revisions."""
        aim = self.revision + revisions

        async def reached() -> bool:
            return self.revision >= aim

        await eventually(reached, f"revision {aim}")


def history(conninfo: str, models: Sequence[str] = ()) -> list[Key]:
    """Every change as it stands in the database, in order."""
    found = rows(
        conninfo,
        "SELECT revision, provider, model_id FROM model_pricing_history "
        "JOIN models USING (model_key) ORDER BY revision, model_key",
    )
    keys = [(each["revision"], each["provider"], each["model_id"]) for each in found]
    return [key for key in keys if not models or key[2] in models]


async def serving(server: ServerProcess) -> None:
    """Wait until a server serves."""
    assert await asyncio.to_thread(getattr, server, "address")


async def test_resuming_through_a_proxy_loses_nothing_while_servers_are_restarted(
    database: str, feed: Feed, scratch: Path, start_process: StartProcess
) -> None:
    program = find_envoy()
    listen, *ports = free_ports(4)

    def start(port: int) -> ServerProcess:
        return start_process(
            PRICING_DATABASE_URL=database,
            PRICING_OPENROUTER_URL=feed.url,
            PRICING_LISTEN=f"127.0.0.1:{port}",
        )

    servers = [start(port) for port in ports]
    for server in servers:
        await serving(server)
    everything, one, none = (
        Subscriber(),
        Subscriber(model_ids=MODELS[:1]),
        Subscriber(providers=["nobody"]),
    )
    subscribers = (everything, one, none)
    with envoy(program, scratch, listen, ports) as address:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = pricing_pb2_grpc.PricingServiceStub(channel)
            writer = Writer(stub, feed)
            writing = asyncio.create_task(writer.write())
            following = [asyncio.create_task(each.follow(stub)) for each in subscribers]
            await writer.has_gone_on(2)
            for server, port in zip(servers, ports, strict=True):
                assert await asyncio.to_thread(server.send, signal.SIGTERM) == 0
                await writer.has_gone_on(2)
                await serving(start(port))
                await writer.has_gone_on(2)
            writer.is_done = True  # Not cancelled: the server would go on with the sync.
            await writing
            last = history(database)[-1][0]

            async def told() -> bool:
                assert not any(task.done() for task in following), following
                return all((each.saved.after_revision or 0) >= last for each in subscribers)

            await eventually(told, f"all to have come to revision {last}")
            for task in following:
                task.cancel()
            await asyncio.wait(following)
    assert last > 6
    assert everything.keys == history(database)
    assert one.keys == history(database, MODELS[:1])
    assert none.keys == []
    for each in subscribers:
        assert each.ends, "its server was restarted"
        assert "SHUTTING_DOWN" in each.ends
