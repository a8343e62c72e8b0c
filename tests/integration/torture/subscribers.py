"""Subscribers that leave at any time and resume anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from llmpricing.v1 import pricing_pb2 as pb
from tests.integration._status import refusal_of
from tests.integration.torture.fleet import Fleet, Member, connected
from tests.integration.torture.log import Event, Log, Message, Narrow, Stream
from tests.integration.torture.messages import Decoder

SILENCE_SECONDS = 5.0
"""After so long without a message, not even of progress, a subscriber tries another server."""

SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024))
SPELLINGS = {"featherless": "Featherless_AI", "x-ai": "XAI"}
SELLERS = ("openrouter", "featherless", "x-ai", "acme", "bolt", "crag", "dune", "echo", "nobody")


@dataclass(slots=True)
class Goal:
    """The revision that all are to reach; None while the run goes on."""

    revision: int | None = None


@dataclass(slots=True)
class Subscriber:
    """Follows the stream through several lives: at times it loses what it had saved."""

    name: str
    fleet: Fleet
    dice: Random
    decoder: Decoder
    goal: Goal
    begin: str
    """How its lives begin: with a "snapshot", from "0" or from "now"."""
    is_slow: bool = False
    logs: list[Log] = field(default_factory=list)
    left_split: int = 0

    async def run(self) -> None:
        """Until the goal is reached."""
        log = self._born()
        while not self._is_there(log):
            await self._follow(log)
            await asyncio.sleep(self.dice.uniform(0, 0.2))
            if self.goal.revision is None and self.dice.random() < (0.5 if self.is_slow else 0.1):
                log.is_over = True
                log = self._born()

    def _born(self) -> Log:
        name = f"{self.name}, life {len(self.logs) + 1}"
        criteria = Narrow() if self.is_slow else _narrow(self.dice)
        self.logs.append(Log(name, criteria, self.is_slow))
        return self.logs[-1]

    def _is_there(self, log: Log) -> bool:
        goal = self.goal.revision
        return goal is not None and log.cursor is not None and log.cursor >= goal

    async def _follow(self, log: Log) -> None:
        """One stream, until it fails or the subscriber leaves."""
        dice = self.dice
        member = self._server()
        after = 0 if self.begin == "0" else None
        stream = log.open(member.name, snapshot=self.begin == "snapshot", after=after)
        patience = 10 if self.is_slow else dice.choice((1, 3, 10, 30, 100))
        leaves_split = dice.random() < 0.5 and not self.is_slow
        progress = Duration(nanos=dice.randint(100, 900) * 1_000_000)
        how = "left"
        async with connected(member, *(SMALL_WINDOW if self.is_slow else ())) as stub:
            call: Any = stub.StreamPriceChanges(_request(log, stream, progress))
            try:
                while not self._is_there(log):
                    message = await self._read(call, log)
                    if message is None:
                        how = "no status"
                        break
                    if self.goal.revision is not None:
                        continue
                    if leaves_split and not message.is_last and message.event is Event.CHANGES:
                        self.left_split += 1
                        break
                    if len(stream.messages) >= patience:
                        break
                    if self.is_slow or dice.random() < 0.01:
                        await asyncio.sleep(dice.choice((0, 0.02, 1.5, 1.5)))
            except TimeoutError:
                how = "silent"
            except grpc.aio.AioRpcError as error:
                refusal = refusal_of(error)
                resume = refusal.metadata.get("resume_revision")
                log.end(refusal.reason or refusal.code, int(resume) if resume else None)
                return
            finally:
                call.cancel()
        log.end(how)

    async def _read(self, call: Any, log: Log) -> Message | None:
        response = await asyncio.wait_for(call.read(), SILENCE_SECONDS)
        if not isinstance(response, pb.StreamPriceChangesResponse):
            return None
        message = self.decoder.message(response)
        log.take(message)
        return message

    def _server(self) -> Member:
        if self.is_slow and self.goal.revision is None and self.dice.random() < 0.7:
            return self.fleet.member("impatient")
        return self.fleet.any(self.dice)


def _request(log: Log, stream: Stream, progress: Duration) -> pb.StreamPriceChangesRequest:
    return pb.StreamPriceChangesRequest(
        providers=[SPELLINGS.get(name, name) for name in sorted(log.criteria.providers)],
        model_ids=sorted(log.criteria.model_ids),
        after=_after(stream),
        snapshot=stream.snapshot,
        progress_interval=progress,
    )


def _after(stream: Stream) -> pb.TableRevision | None:
    if stream.after_revision is None:
        return None
    return pb.TableRevision(revision=stream.after_revision, epoch=stream.epoch)


def _narrow(dice: Random) -> Narrow:
    some = frozenset(dice.sample(SELLERS, dice.randint(1, 3)))
    numbers = dice.sample(range(40), dice.randint(1, 10))
    models = frozenset(f"torture/model-{number}" for number in numbers)
    return dice.choice(
        (
            Narrow(),
            Narrow(),
            Narrow(some),
            Narrow(some),
            Narrow(some, models),
            Narrow(frozenset(), models),
        )
    )


def subscribers(number: int, fleet: Fleet, dice: Sequence[Random], goal: Goal) -> list[Subscriber]:
    """So many, of all kinds; the slow ones read all from the beginning."""
    decoder = Decoder()
    begins = ("snapshot", "0", "now")
    return [
        Subscriber(
            f"subscriber {at}",
            fleet,
            dice[at],
            decoder,
            goal,
            begin="0" if at % 10 == 9 else begins[at % 3],
            is_slow=at % 10 == 9,
        )
        for at in range(number)
    ]
