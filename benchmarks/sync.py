"""A sync of 10,000 models: first, unchanged, and with 400 changes.

python benchmarks/sync.py [models]
"""

from __future__ import annotations

import json
import sys

import grpc
from _server import bench_server

from llmpricing.v1 import pricing_pb2, pricing_pb2_grpc


def payload(models: int, changed: int = 0) -> bytes:
    """Models in OpenRouter's shape; the first `changed` cost more than before."""
    return json.dumps(
        {
            "data": [
                {
                    "id": f"vendor/model-{number}",
                    "pricing": {
                        "prompt": f"0.00000{(number % 900) + 100 + (number < changed)}",
                        "completion": "0.000002",
                        "input_cache_read": "0.0000001",
                    },
                }
                for number in range(models)
            ]
        }
    ).encode()


if __name__ == "__main__":
    count = int(sys.argv[1]) if sys.argv[1:] else 10_000
    with bench_server() as server, grpc.insecure_channel(server.address) as channel:
        prices = pricing_pb2_grpc.PricingServiceStub(channel)
        for name, body in (
            ("first", payload(count)),
            ("unchanged", payload(count)),
            ("400 changes", payload(count, 400)),
        ):
            server.payload = body
            run = prices.SyncProvider(pricing_pb2.SyncProviderRequest(provider="openrouter"))
            print(
                f"{name:12} {run.run.duration_ms:5} ms  fetched {run.run.models_fetched}  "
                f"registered {run.run.models_registered}  updated {run.run.models_updated}  "
                f"unchanged {run.run.models_unchanged}"
            )
