"""What many subscribers of the change stream cost, and how soon a change reaches them.

python benchmarks/stream.py [subscribers] [syncs] [idle seconds]

Idle subscribers; then syncs that change 400 prices each, which go to all of them; then
subscribers that stop reading. Every subscriber has a connection of its own, from four
other processes on the same machine, which take their share of its processors.

Time runs from the end of the run in the sync log, which the database writes just before
the commit, until the last message of the revision is in the subscriber's hands, with its
header decoded.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

import grpc
from _server import Bench, bench_server
from _subscribers import OPTIONS, subscribed
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1 import pricing_pb2_grpc

CHANGES = 400
STUCK_CHANGES = 10_000
STUCK = 100
WRITE_SECONDS = 3

Key = tuple[int, str]
Call: TypeAlias = Any
"""A stream, whose `read` the type stubs of grpc give as `object`."""


def payloads() -> Iterator[bytes]:
    """Models in OpenRouter's shape, each time with other prices."""
    for price in count(100):
        yield json.dumps(
            {
                "data": [
                    {
                        "id": f"vendor/model-{number}",
                        "pricing": {
                            "prompt": f"0.{price:06}",
                            "completion": "0.000002",
                            "input_cache_read": "0.0000001",
                        },
                    }
                    for number in range(CHANGES)
                ]
            }
        ).encode()


class Source:
    """Syncs that change CHANGES prices each."""

    def __init__(self, bench: Bench, prices: pricing_pb2_grpc.PricingServiceStub) -> None:
        self._bench = bench
        self._prices = prices
        self._payloads = payloads()

    def sync(self) -> pb.SyncProviderResponse:
        """Change the prices."""
        self._bench.payload = next(self._payloads)
        run = self._prices.SyncProvider(pb.SyncProviderRequest(provider="openrouter"))
        assert run.run.models_updated + run.run.models_registered == CHANGES, run.run.error_message
        return run


def idle(bench: Bench, before: float, subscribers: int, seconds: float) -> None:
    """Print what subscribers cost while nothing changes."""
    after = bench.memory()
    start, used = time.perf_counter(), bench.cpu_seconds()
    time.sleep(seconds)
    share = (bench.cpu_seconds() - used) / (time.perf_counter() - start)
    print(
        f"idle            {subscribers} subscribers: {before:.0f} to {after:.0f} MB, "
        f"{(after - before) * 1024 / subscribers:.0f} kB each; "
        f"{share:.1%} of a core over {seconds:g} s"
    )


def fan_out(
    bench: Bench,
    source: Source,
    subscribers: int,
    syncs: int,
    name: str,
    model_ids: Sequence[str] = (),
) -> None:
    """Print how soon a sync reaches all subscribers, and how fast the server sends."""
    request = pb.StreamPriceChangesRequest(model_ids=model_ids)
    with subscribed(bench.address, subscribers, request) as all_of_them:
        times: list[float] = []
        lasts: list[float] = []
        messages, size, used = 0, 0, bench.cpu_seconds()
        bench.forget_peak()
        for _ in range(syncs):
            run = source.sync()
            committed = run.run.completed_time.ToNanoseconds() / 1e9
            got = all_of_them.receipts(run.run.revision)
            times += [(at - committed) * 1000 for at in got.times]
            lasts.append(got.times[-1] - committed)
            messages += got.messages
            size += got.size
        used = bench.cpu_seconds() - used
    print(
        f"{name:15} {syncs} syncs of {CHANGES} changes to {subscribers}: {figures(times)}; "
        f"{messages / sum(lasts):.0f} messages/s, {size / sum(lasts) / 1e6:.0f} MB/s; "
        f"server {used / syncs:.2f} s of a core per sync, peak {bench.peak_memory():.0f} MB"
    )


def figures(milliseconds: Sequence[float]) -> str:
    """Percentiles of a distribution."""
    ordered = sorted(milliseconds)
    p50, p99 = (ordered[int(len(ordered) * part)] for part in (0.5, 0.99))
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {ordered[-1]:.0f} ms"


@dataclass(slots=True)
class Reader:
    """A subscriber that keeps the contract's rule: it saves at the last fragment."""

    after_revision: int | None = None
    epoch: str = ""
    saved: list[Key] = field(default_factory=list)
    _pending: list[Key] = field(default_factory=list)

    def take(self, message: pb.StreamPriceChangesResponse) -> None:
        """Take a message."""
        self._pending += [(each.revision, each.model_id) for each in message.changes]
        if message.last_fragment:
            self.saved += self._pending
            self._pending = []
            self.after_revision, self.epoch = message.table.revision, message.table.epoch

    def open(self, channel: grpc.aio.Channel) -> Call:
        """A new stream that resumes where the last one was saved."""
        self._pending = []
        after = None
        if self.after_revision is not None:
            after = pb.TableRevision(revision=self.after_revision, epoch=self.epoch)
        request = pb.StreamPriceChangesRequest(after=after)
        return pricing_pb2_grpc.PricingServiceStub(channel).StreamPriceChanges(request)


async def stuck(bench: Bench, source: Source) -> None:
    """Print what subscribers cost that stop reading, and check that they resume."""
    async with AsyncExitStack() as stack:
        readers = [Reader() for _ in range(STUCK + 1)]
        calls = []
        for reader in readers:
            # The window stays at 64 kB: the rest waits in the server, not in the client.
            options = (*OPTIONS, ("grpc.http2.bdp_probe", 0))
            channel = grpc.aio.insecure_channel(bench.address, options=options)
            await stack.enter_async_context(channel)
            call = reader.open(channel)
            reader.take(await call.read())
            calls.append((reader, channel, call))
        witness, _, healthy = calls.pop()
        before = bench.memory()
        bench.forget_peak()
        late: list[float] = []
        for _ in range(STUCK_CHANGES // CHANGES):
            run = await asyncio.to_thread(source.sync)
            while witness.after_revision != run.run.revision:
                witness.take(await healthy.read())
            late.append((time.time() - run.run.completed_time.ToNanoseconds() / 1e9) * 1000)
        healthy.cancel()
        await asyncio.sleep(WRITE_SECONDS + 1)
        peak, after = bench.peak_memory(), bench.memory()
        reasons = [await ended(reader, call) for reader, _, call in calls]
        resumed = [
            await caught_up(reader, channel, run.run.revision) for reader, channel, _ in calls
        ]
    assert len(witness.saved) == len(set(witness.saved)) == STUCK_CHANGES
    assert all(reader.saved == witness.saved for reader in readers), "a gap or a duplicate"
    print(
        f"not reading     {STUCK} during {STUCK_CHANGES} changes: {before:.0f} MB before, "
        f"peak {peak:.0f} MB, {after:.0f} MB when they were ended; "
        f"{reasons.count('SLOW_READER')} ended as SLOW_READER after {WRITE_SECONDS} s; "
        f"all resumed without a gap, {sum(resumed)} changes again or late; "
        f"meanwhile one that reads: {figures(late)}"
    )


async def ended(reader: Reader, call: Call) -> str:
    """Read what was under way; the reason why the stream ended."""
    try:
        while True:
            reader.take(await asyncio.wait_for(call.read(), 10))
    except grpc.aio.AioRpcError as error:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # errors are calls, too
        info = error_details_pb2.ErrorInfo()
        assert status is not None
        status.details[0].Unpack(info)
        return info.reason


async def caught_up(reader: Reader, channel: grpc.aio.Channel, revision: int) -> int:
    """Resume up to a revision; the number of changes received."""
    had = len(reader.saved)
    call = reader.open(channel)
    while reader.after_revision != revision:
        reader.take(await asyncio.wait_for(call.read(), 10))
    call.cancel()
    return len(reader.saved) - had


def measure(subscribers: int, syncs: int, seconds: float) -> None:
    """Print all figures."""
    with (
        bench_server(PRICING_STREAM_WRITE_SECONDS=str(WRITE_SECONDS)) as bench,
        grpc.insecure_channel(bench.address) as channel,
    ):
        source = Source(bench, pricing_pb2_grpc.PricingServiceStub(channel))
        for _ in range(3):
            source.sync()
        before = bench.memory()
        with subscribed(bench.address, subscribers):
            idle(bench, before, subscribers, seconds)
        fan_out(bench, source, subscribers, syncs, "all changes")
        fan_out(bench, source, subscribers, syncs, "one model", model_ids=["vendor/model-7"])
        asyncio.run(stuck(bench, source))


if __name__ == "__main__":
    given = sys.argv[1:]
    measure(
        int(given[0]) if given else 1_000,
        int(given[1]) if given[1:] else 10,
        float(given[2]) if given[2:] else 20,
    )
