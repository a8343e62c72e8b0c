"""Batches of 1,000 prices and costs beside single calls, in one run.

python benchmarks/batch.py [rounds]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import grpc
from _server import bench_server
from genai_prices.data_snapshot import get_snapshot

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1 import pricing_pb2_grpc

BATCH = 1_000


def cost_request(provider: str, model_id: str, at: datetime | None) -> pb.CalculateCostRequest:
    """A call with four meters."""
    counts = {
        pb.METER_INPUT_TOKENS: "12000",
        pb.METER_CACHE_READ_TOKENS: "9000",
        pb.METER_CACHE_WRITE_TOKENS: "1000",
        pb.METER_OUTPUT_TOKENS: "800",
    }
    request = pb.CalculateCostRequest(
        provider=provider,
        model_id=model_id,
        usage=[pb.MeterQuantity(meter=meter, quantity=count) for meter, count in counts.items()],
        receipt=pb.RECEIPT_VIEW_PLAIN,
    )
    if at is not None:
        request.read.as_of.FromDatetime(at)
    return request


def timed(call: Callable[[], object], rounds: int) -> float:
    """The median of the seconds that a call takes."""
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def main() -> None:
    """Print a line for each kind of call."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    names = [
        (provider.id, model.id)
        for provider in get_snapshot().providers
        for model in provider.models
    ][:BATCH]
    past = datetime(2026, 9, 1, tzinfo=UTC)
    prices = pb.BatchGetPricingRequest(
        requests=[pb.GetPricingRequest(provider=at, model_id=name) for at, name in names]
    )
    costs = pb.BatchCalculateCostRequest(requests=[cost_request(*name, None) for name in names])
    long_ago = pb.BatchCalculateCostRequest(requests=[cost_request(*name, past) for name in names])
    with bench_server() as bench, grpc.insecure_channel(bench.address) as channel:
        stub = pricing_pb2_grpc.PricingServiceStub(channel)
        first = timed(lambda: stub.BatchGetPricing(prices), 1)
        print(f"1,000 prices, none cached  {first * 1e3:7.1f} ms")
        single = timed(lambda: stub.GetPricing(prices.requests[0]), 200)
        calls: dict[str, Callable[[], object]] = {
            "1,000 prices, cached": lambda: stub.BatchGetPricing(prices),
            "1,000 costs": lambda: stub.BatchCalculateCost(costs),
            "1,000 costs long ago": lambda: stub.BatchCalculateCost(long_ago),
        }
        for name, call in calls.items():
            median = timed(call, rounds)
            print(
                f"{name:25} {median * 1e3:8.1f} ms, {median / BATCH / single:5.2f} of a single "
                f"GetPricing each ({single * 1e3:.2f} ms)"
            )


if __name__ == "__main__":
    main()
