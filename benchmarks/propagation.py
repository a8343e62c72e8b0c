"""How soon after a commit the other server processes answer the new price.

python benchmarks/propagation.py [syncs] [seed]

Three processes on one embedded database; each sync at a random one of them. Time runs
from the end of the run in the sync log, just before its commit, until another process
has answered the new price to a client that asks without a break.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1 import pricing_pb2_grpc

PROCESSES = 3
MODEL = "vendor/model"
LATE_SECONDS = 30


@dataclass(slots=True)
class Bench:
    """The addresses of the servers, and USD per 1M tokens that their OpenRouter states."""

    addresses: list[str] = field(default_factory=list)
    price: int = 100

    @property
    def payload(self) -> bytes:
        """One model in OpenRouter's shape."""
        pricing = {"prompt": f"0.{self.price:06}", "completion": "0.000002"}
        return json.dumps({"data": [{"id": MODEL, "pricing": pricing}]}).encode()


@contextmanager
def bench_servers() -> Iterator[Bench]:
    """Start the servers on an embedded database that they share, in a temporary directory."""
    bench = Bench()

    class Feed(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = bench.payload
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

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
        }
        processes = []
        try:
            for _ in range(PROCESSES):
                process = subprocess.Popen(
                    [sys.executable, "-m", "pricing_server.cli", "serve"],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
                processes.append(process)
                assert process.stdout is not None
                line = next(line for line in process.stdout if line.startswith("serving on "))
                bench.addresses.append(line.split()[-1])
            yield bench
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()
            feed.shutdown()


async def answered_at(stub: pricing_pb2_grpc.PricingServiceAsyncStub, price: str) -> float:
    """When a process has answered a price, in seconds of the wall clock."""
    request = pb.GetPricingRequest(model_id=MODEL, provider="openrouter")
    async with asyncio.timeout(LATE_SECONDS):
        while True:
            answer = await stub.GetPricing(request)
            if answer.pricing.prompt == price:
                return time.time()
            await asyncio.sleep(0.0005)  # The servers need the processor, too.


async def measure(bench: Bench, syncs: int, seed: int) -> None:
    """Print a line for the process that syncs, and one for the others."""
    chosen = random.Random(seed)  # noqa: S311 - an order to measure in, not a secret
    own: list[float] = []
    others: list[float] = []
    async with AsyncExitStack() as stack:
        stubs = [
            pricing_pb2_grpc.PricingServiceStub(
                await stack.enter_async_context(grpc.aio.insecure_channel(address))
            )
            for address in bench.addresses
        ]
        await stubs[0].SyncProvider(pb.SyncProviderRequest(provider="openrouter"))
        for _ in range(syncs):
            bench.price += 1
            price = f"{bench.price}.00"
            mine = chosen.choice(stubs)
            waiting = [
                (each is mine, asyncio.create_task(answered_at(each, price))) for each in stubs
            ]
            run = await mine.SyncProvider(pb.SyncProviderRequest(provider="openrouter"))
            assert run.run.status == pb.SYNC_STATUS_SUCCESS, run.run.error_message
            committed_at = run.run.completed_time.ToNanoseconds() / 1e9
            for is_mine, answered in waiting:
                (own if is_mine else others).append((await answered - committed_at) * 1000)
    print(f"{syncs} syncs at {PROCESSES} processes, seed {seed}; commit to new answer:")
    print(f"the others      {figures(others)}")
    print(f"the one itself  {figures(own)}")


def figures(milliseconds: Sequence[float]) -> str:
    """Percentiles of a distribution."""
    ordered = sorted(milliseconds)
    p50, p99 = (ordered[int(len(ordered) * part)] for part in (0.5, 0.99))
    return f"p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  max {ordered[-1]:6.1f} ms  ({len(ordered)})"


if __name__ == "__main__":
    with bench_servers() as servers:
        asyncio.run(
            measure(
                servers,
                int(sys.argv[1]) if sys.argv[1:] else 100,
                int(sys.argv[2]) if sys.argv[2:] else random.SystemRandom().randrange(10_000),
            )
        )
