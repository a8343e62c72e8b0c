"""The examples do what they say."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1 import pricing_pb2_grpc
from tests.integration._feed import Feed, payload, row
from tests.integration._grpcurl import find_grpcurl
from tests.integration._poll import until
from tests.integration._server import CALL_SECONDS, ROOT, Server, ServerProcess

LISTENING = "127.0.0.1:50051"
"""Where the commands of the README ask."""


@contextmanager
def subscriber(address: str, directory: Path) -> Iterator[Path]:
    """The example, killed at the end; what it prints."""
    printed = directory / "printed"
    with printed.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-u", str(ROOT / "examples/subscribe.py"), address, "cursor.json"],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT / "clients/python")},
            stdin=subprocess.DEVNULL,
            stdout=output,
        )
        try:
            yield printed
        finally:
            process.kill()
            process.wait()


async def test_the_subscriber_goes_on_where_it_was_killed_and_prints_every_change_once(
    server: Server, feed: Feed, tmp_path: Path
) -> None:
    async def change(price: str) -> None:
        feed.answer(payload(row("example/model", price)))
        await server.synced()

    def saved(revision: int) -> bool:
        cursor = json.loads((tmp_path / "cursor.json").read_text())
        return bool(int(cursor["revision"]) >= revision)

    def lines(revision: int) -> list[str]:
        return [
            line for line in printed.read_text().splitlines() if line.startswith(f"{revision} ")
        ]

    with subscriber(server.address, tmp_path) as printed:
        await change("0.000001")
        await asyncio.to_thread(until, lambda: lines(2) and saved(2), "the change, saved")
    await change("0.000002")
    with subscriber(server.address, tmp_path) as printed:
        await change("0.000003")
        await asyncio.to_thread(until, lambda: lines(4), "the change, printed")
    assert [lines(revision) for revision in (2, 3, 4)] == [
        ["2 openrouter example/model 1.00"],
        ["3 openrouter example/model 2.00"],
        ["4 openrouter example/model 3.00"],
    ]
    assert len(lines(1)) == len({*lines(1)}) > 2_000


def test_the_cost_in_the_readme_is_told_as_it_is_written_there(
    public_server: ServerProcess,
) -> None:
    readme = (ROOT / "README.md").read_text()
    [command] = re.findall(r"^\$ (grpcurl [^$]*?/CalculateCost)$", readme, re.MULTILINE)
    done = subprocess.run(
        ["bash", "-c", command.replace(LISTENING, public_server.address)],
        env={
            **os.environ,
            "PATH": os.pathsep.join((str(Path(find_grpcurl().program).parent), os.environ["PATH"])),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    # 1,000 tokens of input, 250,000 cached, 500 of output; above 200,000.
    assert json.loads(done.stdout)["cost"]["total"] == "0.16725"


def test_the_list_in_the_readme_is_a_page_in_the_shape_of_the_old_catalogue(
    public_server: ServerProcess,
) -> None:
    """With the real grpcurl and jq: the prices of the list, those that are not known as null."""
    readme = (ROOT / "README.md").read_text()
    [command] = re.findall(r"^\$ (grpcurl [^$]*?\| jq [^$]*?\)\}')$", readme, re.MULTILINE)
    path = os.pathsep.join(str(Path(each).parent) for each in (find_grpcurl().program, find_jq()))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}".replace(LISTENING, public_server.address)],
        env={**os.environ, "PATH": os.pathsep.join((path, os.environ["PATH"]))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    with grpc.insecure_channel(public_server.address) as channel:
        stub = pricing_pb2_grpc.PricingServiceStub(channel)
        request = pb.ListPricingRequest(page_size=1000)
        listed = stub.ListPricing(request, timeout=CALL_SECONDS).pricing
    expected = [
        {
            "model_id": each.model_id,
            "provider": each.provider,
            "prompt": each.prompt if each.HasField("prompt") else None,
            "completion": each.completion if each.HasField("completion") else None,
            "pricing_source": "database",
        }
        for each in listed
    ]
    told = done.stdout.splitlines()
    assert [json.loads(line) for line in told] == expected
    assert len(expected) == 1000
    assert None in {each["prompt"] for each in expected}
    # What the page says that it prints.
    [shown] = re.findall(r"^\{\"model_id\".*$", readme, re.MULTILINE)
    assert shown in told


def find_jq() -> str:
    """The program on PATH; without one the test is skipped."""
    found = shutil.which("jq")
    if found is None:
        pytest.skip("NOT TESTED: no jq on PATH")
    return found
