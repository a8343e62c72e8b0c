"""The change stream on the wire: its requests, its messages, and readers that do not read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final

import grpc

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.errors import InvalidArgument, SlowReader
from pricing_server.domain.head import Head
from pricing_server.domain.price import Price
from pricing_server.domain.price_change import PriceChange
from pricing_server.domain.sellers import canonical
from pricing_server.domain.source import Source
from pricing_server.grpc_api.wire.price_changes import price_change
from pricing_server.grpc_api.wire.prices import model_pricing
from pricing_server.grpc_api.wire.reads import table_of
from pricing_server.grpc_api.wire.requests import check_name
from pricing_server.lookup.answer import answer_of
from pricing_server.lookup.evaluated_price import evaluate
from pricing_server.runtime.clock import utc_now
from pricing_server.stream.change_streams import ChangeStreams
from pricing_server.stream.messages import Event, Filter
from pricing_server.stream.subscription import StreamRequest

MAX_FILTER_NAMES: Final = 1_000
MAX_EPOCH: Final = 100
DEFAULT_PROGRESS_SECONDS: Final = 15.0
SHORTEST_PROGRESS_SECONDS: Final = 0.1
LONGEST_PROGRESS_SECONDS: Final = 3_600.0

_EVENTS: Final = {event: pb.StreamEvent.Value(f"STREAM_EVENT_{event.name}") for event in Event}


class MessageEncoder:
    """See `pricing_server.stream.messages.Encoder`: serialised messages that are joined are
    one message with the fields of all of them."""

    def __init__(
        self, sources: Mapping[str, Source], clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._sources = sources
        self._clock = clock

    def trailer(self, event: Event, head: Head, *, is_last: bool) -> bytes:
        """What a message ends with: what it is, of which revision, and if it is the last."""
        return pb.StreamPriceChangesResponse(
            event=_EVENTS[event], table=table_of(head), last_fragment=is_last
        ).SerializeToString()

    def change(self, change: PriceChange) -> bytes:
        """A piece with one change."""
        message = price_change(change, pb.CHANGE_VIEW_FULL)
        return pb.StreamPriceChangesResponse(changes=[message]).SerializeToString()

    def price(self, price: Price) -> bytes:
        """A piece with one price of a snapshot, evaluated now."""
        now = self._clock()
        quote = evaluate([price], price.provider, now)
        answer = answer_of(quote, None, self._sources, now)
        message = model_pricing(answer, pb.PRICE_UNIT_PER_1M_TOKENS)
        return pb.StreamPriceChangesResponse(prices=[message]).SerializeToString()


def stream_request(request: pb.StreamPriceChangesRequest) -> StreamRequest:
    """A checked request. Raises InvalidArgument."""
    providers = _names("providers", request.providers)
    after = request.after
    if after.revision < 0:
        raise InvalidArgument("after.revision", "is negative")
    if len(after.epoch) > MAX_EPOCH:
        raise InvalidArgument("after.epoch", f"is over {MAX_EPOCH} characters")
    if request.HasField("after") and request.snapshot:
        raise InvalidArgument("snapshot", "is not together with after: a snapshot begins now")
    return StreamRequest(
        criteria=Filter(
            frozenset(canonical(provider) for provider in providers),
            frozenset(_names("model_ids", request.model_ids)),
        ),
        after_revision=after.revision if request.HasField("after") else None,
        epoch=after.epoch,
        snapshot=request.snapshot,
        progress_seconds=_progress_seconds(request),
    )


async def serve_stream(
    streams: ChangeStreams, request: StreamRequest, context: Any, write_seconds: float
) -> None:
    """Write the messages of a stream until it fails, or its caller is gone.

    Raises SlowReader when a message waits for its reader for longer than `write_seconds`,
    and what `ChangeStreams.open` and `Subscription.messages` raise.
    """
    async with (
        streams.open(request) as subscription,
        aclosing(subscription.messages()) as messages,
    ):
        async for message in messages:
            try:
                async with asyncio.timeout(write_seconds):
                    await context.write(message.data)
            except TimeoutError:
                # The message is on its way all the same, and this stream's status behind it.
                raise SlowReader(message.resume) from None
            except grpc.aio.InternalError:
                return  # What gRPC raises in the moment between the caller's end and our own.


def _names(field: str, names: Collection[str]) -> Collection[str]:
    if len(names) > MAX_FILTER_NAMES:
        raise InvalidArgument(field, f"has more than {MAX_FILTER_NAMES} names")
    return [check_name(f"{field}[{at}]", name) for at, name in enumerate(names)]


def _progress_seconds(request: pb.StreamPriceChangesRequest) -> float:
    if not request.HasField("progress_interval"):
        return DEFAULT_PROGRESS_SECONDS
    interval = request.progress_interval
    seconds = interval.seconds + interval.nanos / 1e9
    if not SHORTEST_PROGRESS_SECONDS <= seconds <= LONGEST_PROGRESS_SECONDS:
        raise InvalidArgument("progress_interval", "is not between 0.1 s and 1 h")
    return seconds
