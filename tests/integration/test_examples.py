"""The examples do what they say."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration._feed import Feed, payload, row
from tests.integration._poll import until
from tests.integration._server import ROOT, Server


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
        return bool(cursor["after_revision"] >= revision)

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
