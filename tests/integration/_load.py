"""GetPricing from client processes of their own, over and over; a line of JSON per call.

python -m tests.integration._load ADDRESS MODEL...
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import grpc

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1 import pricing_pb2_grpc
from tests.integration._poll import until

ROOT = Path(__file__).parents[2]
PATH = os.pathsep.join((str(ROOT), str(ROOT / "clients/python")))
PROVIDER = "openrouter"
CALL_SECONDS = 5.0
"""A call that takes longer has failed."""
PAUSE_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Call:
    """One call and its answer. Times are of the machine's monotonic clock."""

    began: float
    ended: float
    model: str
    status: str
    price: str | None = None
    """USD per 1M tokens of input."""
    revision: int | None = None
    freshness: str = ""
    source: str = ""

    @property
    def is_fresh(self) -> bool:
        return self.freshness == "FRESHNESS_FRESH"

    @property
    def is_without_database(self) -> bool:
        return self.freshness == "FRESHNESS_DATABASE_DOWN"


class Load:
    """Client processes that ask one server for the same models, each in its own time."""

    def __init__(self, directory: Path, address: str, models: Sequence[str], clients: int) -> None:
        self._calls: list[list[Call]] = [[] for _ in range(clients)]
        self._files: list[IO[str]] = []
        self._processes: list[subprocess.Popen[str]] = []
        for number in range(clients):
            path = directory / f"load-{time.monotonic_ns()}-{number}.jsonl"
            with path.open("w") as output:
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "tests.integration._load", address, *models],
                        env=os.environ | {"PYTHONPATH": PATH},
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        text=True,
                    )
                )
            self._files.append(path.open())

    def calls(self) -> list[list[Call]]:
        """All calls so far, by client, in the order in which they were made."""
        for file, calls in zip(self._files, self._calls, strict=True):
            while True:
                start = file.tell()
                line = file.readline()
                if not line.endswith("\n"):
                    file.seek(start)  # It is being written.
                    break
                calls.append(Call(**json.loads(line)))
        return self._calls

    def first(self, holds: Callable[[Call], bool], what: str, seconds: float = 90) -> list[Call]:
        """The first call of each client of which something holds, once there is one."""

        def found() -> list[Call] | None:
            firsts = [next(filter(holds, calls), None) for calls in self.calls()]
            return None if None in firsts else [call for call in firsts if call is not None]

        firsts = until(found, what, seconds)
        assert firsts is not None
        return firsts

    def stop(self) -> None:
        """Let every client finish its call."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            assert process.wait(30) == 0

    def dispose(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        for file in self._files:
            file.close()


def main(address: str, *models: str) -> None:
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    parent = os.getppid()
    with grpc.insecure_channel(address) as channel:
        stub = pricing_pb2_grpc.PricingServiceStub(channel)
        for model in itertools.cycle(models):
            print(json.dumps(asdict(_call(stub, model))), flush=True)
            if stopped.wait(PAUSE_SECONDS) or os.getppid() != parent:
                return


def _call(stub: pricing_pb2_grpc.PricingServiceStub, model: str) -> Call:
    request = pb.GetPricingRequest(model_id=model, provider=PROVIDER)
    began = time.monotonic()
    try:
        response = stub.GetPricing(request, timeout=CALL_SECONDS)
    except grpc.RpcError as error:
        status = f"{error.code().name}: {error.details()}"
        return Call(began, time.monotonic(), model, status)
    pricing = response.pricing
    return Call(
        began,
        time.monotonic(),
        model,
        "OK",
        price=pricing.prompt if pricing.HasField("prompt") else None,
        revision=response.table.revision if response.HasField("table") else None,
        freshness=pb.Freshness.Name(pricing.freshness),
        source=pb.PricingSource.Name(pricing.pricing_source),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
