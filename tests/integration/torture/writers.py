"""Writers that ask the servers: syncs of the real sources, and reverts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import grpc
import psycopg

from llmpricing.v1 import pricing_pb2 as pb
from tests.integration._feed import Feed, Row
from tests.integration._status import refusal_of
from tests.integration.torture.fleet import Fleet, connected
from tests.integration.torture.shelf import Shelf

CALL_SECONDS = 10.0
IMPATIENT_SECONDS = 0.05
RECENT_RUNS = 30


@dataclass(frozen=True, slots=True)
class RemoteWriter:
    """Syncs one of the real sources from a feed, each time at some server."""

    fleet: Fleet
    source: str
    feed: Feed
    shelf: Shelf
    rows: Callable[[Shelf], list[Row]]
    dice: Random
    counts: Counter[str]

    async def run(self, stopped: asyncio.Event) -> None:
        dice = self.dice
        while not stopped.is_set():
            self._answer()
            # A caller that goes away does not stop its run.
            seconds = IMPATIENT_SECONDS if dice.random() < 0.1 else CALL_SECONDS
            await self._sync(seconds)
            await asyncio.sleep(dice.uniform(0, 0.3))

    def _answer(self) -> None:
        self.shelf.turn()
        fate = self.dice.random()
        if fate < 0.05:
            self.feed.answer(b"<html>")
        elif fate < 0.1:
            self.feed.answer({}, status=404)
        else:
            delay = self.dice.uniform(0, 0.2)
            self.feed.answer({"data": self.rows(self.shelf)}, delay=delay)

    async def _sync(self, seconds: float) -> None:
        request = pb.SyncProviderRequest(provider=self.source, triggered_by="torture")
        async with connected(self.fleet.any(self.dice)) as stub:
            try:
                response = await stub.SyncProvider(request, timeout=seconds)
            except grpc.aio.AioRpcError as error:
                refusal = refusal_of(error)
                self.counts[f"sync refused {refusal.reason or refusal.code}"] += 1
            else:
                self.counts[f"sync {pb.SyncStatus.Name(response.run.status)}"] += 1


@dataclass(frozen=True, slots=True)
class Reverter:
    """Reverts some of the runs of the last seconds, of whatever source and outcome."""

    fleet: Fleet
    dice: Random
    counts: Counter[str]

    async def run(self, stopped: asyncio.Event) -> None:
        while not stopped.is_set():
            try:
                runs = await asyncio.to_thread(self._recent)
            except psycopg.Error:
                runs = []
            # Of the newest successes something is left to revert; the others test refusals.
            newest = [run for run, status in runs if status == "success"][:3]
            if newest and self.dice.random() < 0.7:
                await self._revert(self.dice.choice(newest))
            elif runs:
                await self._revert(self.dice.choice(runs)[0])
            await asyncio.sleep(self.dice.uniform(0, 0.3))

    def _recent(self) -> list[tuple[str, str]]:
        """Ids and outcomes, the newest first."""
        with psycopg.connect(self.fleet.conninfo, connect_timeout=2) as connection:
            found = connection.execute(
                "SELECT sync_run_id::text, status FROM pricing_sync_log "
                "WHERE source <> 'genai-prices' ORDER BY sync_run_id DESC LIMIT %s",
                [RECENT_RUNS],
            )
            return [(run, status) for run, status in found]

    async def _revert(self, run: str) -> None:
        request = pb.RevertSyncRunRequest(
            sync_run_id=run, triggered_by="torture", dry_run=self.dice.random() < 0.1
        )
        async with connected(self.fleet.any(self.dice)) as stub:
            try:
                response = await stub.RevertSyncRun(request, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                refusal = refusal_of(error)
                self.counts[f"revert refused {refusal.reason or refusal.code}"] += 1
            else:
                kind = "of nothing" if not response.models_reverted else "done"
                self.counts["revert dry" if response.dry_run else f"revert {kind}"] += 1
