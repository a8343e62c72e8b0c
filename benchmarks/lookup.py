"""GetPricing from the cache beside a bare health check on the same server, in one run.

python benchmarks/lookup.py [seconds]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from _server import bench_server
from grpc_health.v1 import health_pb2, health_pb2_grpc

from llmpricing.v1 import pricing_pb2, pricing_pb2_grpc

IN_FLIGHT = 32


async def rate(call: Callable[[], Awaitable[object]], seconds: float) -> float:
    """Calls per second with IN_FLIGHT at a time."""
    end = time.perf_counter() + seconds
    done = 0

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await call()
            done += 1

    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    return done / (time.perf_counter() - start)


async def latencies(call: Callable[[], Awaitable[object]], count: int) -> list[float]:
    """Milliseconds of single calls, one at a time."""
    found = []
    for _ in range(count):
        start = time.perf_counter()
        await call()
        found.append((time.perf_counter() - start) * 1000)
    return sorted(found)


async def measure(address: str, seconds: float) -> None:
    """Print a line for each kind of call."""
    async with grpc.aio.insecure_channel(address) as channel:
        prices = pricing_pb2_grpc.PricingServiceStub(channel)
        health: Any = health_pb2_grpc.HealthStub(channel)  # The type stubs lack its methods.
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "health check": lambda: health.Check(health_pb2.HealthCheckRequest()),
            "small card": lambda: prices.GetPricing(
                pricing_pb2.GetPricingRequest(model_id="openai/gpt-oss-120b", provider="groq")
            ),
            "18 rates": lambda: prices.GetPricing(
                pricing_pb2.GetPricingRequest(model_id="gpt-4o", provider="openai")
            ),
            "unknown name": lambda: unknown(prices),
        }
        bare = 0.0
        for name, call in calls.items():
            await call()
            times = await latencies(call, 1_000)
            rates = [await rate(call, seconds) for _ in range(3)]
            median = statistics.median(rates)
            bare = bare or median
            print(
                f"{name:14} {median:7.0f}/s  {median / bare:5.2f} of the health check  "
                f"p50 {times[500]:.2f} ms  p99 {times[990]:.2f} ms"
            )


async def unknown(prices: pricing_pb2_grpc.PricingServiceAsyncStub) -> None:
    """Ask for a name that nobody knows."""
    try:
        await prices.GetPricing(pricing_pb2.GetPricingRequest(model_id="made-up"))
    except grpc.aio.AioRpcError:
        return


if __name__ == "__main__":
    with bench_server() as server:
        asyncio.run(measure(server.address, float(sys.argv[1]) if sys.argv[1:] else 3))
