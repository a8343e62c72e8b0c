"""Readers of the change stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
from google.protobuf.duration_pb2 import Duration

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1 import pricing_pb2_grpc
from tests.integration._status import Refusal, refusal_of

READ_SECONDS = 60.0

Response = pb.StreamPriceChangesResponse
Key = tuple[int, str, str]
"""A change: revision, provider, model id."""


def key_of(change: pb.PriceChange) -> Key:
    """What makes it this change."""
    return change.revision, change.provider, change.model_id


class Reader:
    """One open stream, read message by message."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def read(self, seconds: float = READ_SECONDS) -> Response:
        """The next message; fails if the stream ends or none comes in time."""
        message = await asyncio.wait_for(self._call.read(), seconds)
        assert isinstance(message, Response), "the stream ended without a failure"
        return message

    async def next(self, event: pb.StreamEvent.ValueType) -> Response:
        """The next message of a kind, passing over progress."""
        while (message := await self.read()).event != event:
            assert message.event == pb.STREAM_EVENT_PROGRESS, message
        return message

    async def revision(self) -> list[pb.PriceChange]:
        """The changes of the next revision, of all its fragments."""
        message = await self.next(pb.STREAM_EVENT_CHANGES)
        changes = list(message.changes)
        while not message.last_fragment:
            following = await self.read()
            assert (following.event, following.table.revision) == (
                message.event,
                message.table.revision,
            )
            changes += following.changes
            message = following
        return changes

    async def snapshot(self) -> tuple[int, dict[tuple[str, str], pb.ModelPricing]]:
        """The revision and the prices of a snapshot."""
        prices: dict[tuple[str, str], pb.ModelPricing] = {}
        while True:
            message = await self.read()
            assert message.event == pb.STREAM_EVENT_SNAPSHOT
            for price in message.prices:
                assert prices.setdefault((price.provider, price.model_id), price) is price
            if message.last_fragment:
                return message.table.revision, prices

    async def upto(self, revision: int) -> list[Key]:
        """The changes up to a revision, by which the stream tells that it has come this far."""
        found: list[Key] = []
        while True:
            message = await self.read()
            found += map(key_of, message.changes)
            if message.last_fragment and message.table.revision >= revision:
                return found

    async def refusal(self, saved: Saved | None = None) -> Refusal:
        """The status with which the stream ends; what came before it is saved, if somewhere."""
        saved = saved or Saved()
        try:
            while True:
                saved.take(await self.read())
        except grpc.aio.AioRpcError as error:
            return refusal_of(error)

    def cancel(self) -> None:
        self._call.cancel()


@asynccontextmanager
async def stream(
    stub: pricing_pb2_grpc.PricingServiceAsyncStub,
    *,
    progress_seconds: float | None = None,
    after_revision: int | None = None,
    epoch: str | None = None,
    **fields: Any,
) -> AsyncIterator[Reader]:
    """An open stream, cancelled at the end."""
    if after_revision is not None:
        fields["after"] = pb.TableRevision(revision=after_revision, epoch=epoch)
    interval = None
    if progress_seconds is not None:
        interval = Duration(nanos=round(progress_seconds % 1 * 1e9), seconds=int(progress_seconds))
    request = pb.StreamPriceChangesRequest(progress_interval=interval, **fields)
    call = stub.StreamPriceChanges(request)
    try:
        yield Reader(call)
    finally:
        call.cancel()


@dataclass(slots=True)
class Saved:
    """What a subscriber has written down: it saves at the last fragment and never before."""

    after_revision: int | None = None
    epoch: str = ""
    changes: list[pb.PriceChange] = field(default_factory=list)
    _pending: list[pb.PriceChange] = field(default_factory=list)

    def take(self, message: Response) -> Self:
        """Take a message; a revision counts once all of it is there."""
        self._pending += message.changes
        if message.last_fragment:
            self.changes += self._pending
            self._pending = []
            self.after_revision, self.epoch = message.table.revision, message.table.epoch
        return self

    def reconnect(self) -> None:
        """Forget what came of a revision that was not complete: it comes again."""
        self._pending = []
