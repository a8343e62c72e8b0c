"""How prices are read: the options that requests share, and the state that answers share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.enums import by_number
from pricing_server.domain.errors import InvalidArgument
from pricing_server.domain.head import Head
from pricing_server.domain.price import Layer, When
from pricing_server.grpc_api.wire.requests import point_in_time
from pricing_server.lookup.answer import Freshness
from pricing_server.lookup.price_query import ALL_LAYERS, PriceQuery
from pricing_server.runtime.clock import utc_now

MAX_CLOCK_SKEW: Final = timedelta(minutes=1)
"""By how much a caller's clock may be ahead of this server's."""

LAYERS: Final = {layer: pb.PricingSource.Value(f"PRICING_SOURCE_{layer.name}") for layer in Layer}
FRESHNESS: Final = {one: pb.Freshness.Value(f"FRESHNESS_{one.name}") for one in Freshness}
LAYER_OF: Final[Mapping[int, Layer]] = by_number(LAYERS)


@dataclass(frozen=True, slots=True)
class ReadAs:
    """Checked options of a read."""

    accept: Set[Layer] = ALL_LAYERS
    min_revision: int | None = None
    when: When | None = None
    exact_only: bool = False

    def of(self, model_id: str, provider: str | None) -> PriceQuery:
        """The look-up of a model that is read so."""
        return PriceQuery(
            model_id,
            provider,
            self.accept,
            self.min_revision,
            self.when,
            exact_only=self.exact_only,
        )


def read_as(read: pb.ReadOptions, *, refused: Collection[str] = ()) -> ReadAs:
    """The options of a method that cannot honour those `refused`. Raises InvalidArgument."""
    for descriptor, _ in read.ListFields():
        if descriptor.name in refused:
            raise InvalidArgument(f"read.{descriptor.name}", "has no meaning here")
    for number in read.accept_sources:
        if number not in LAYER_OF:
            raise InvalidArgument("read.accept_sources", f"has the unknown value {number}")
    if read.min_revision < 0:
        raise InvalidArgument("read.min_revision", "is negative")
    if read.HasField("min_revision") and read.HasField("known_at"):
        raise InvalidArgument("read.min_revision", "has no meaning beside known_at")
    return ReadAs(
        frozenset(LAYER_OF[number] for number in read.accept_sources) or ALL_LAYERS,
        read.min_revision if read.HasField("min_revision") else None,
        _when(read),
        exact_only=read.exact_only,
    )


def table_of(head: Head | None) -> pb.TableRevision | None:
    """The state of the price table that an answer reflects."""
    if head is None:
        return None
    return pb.TableRevision(revision=head.revision, epoch=head.epoch)


def _when(read: pb.ReadOptions) -> When | None:
    known_at = None
    if read.HasField("known_at"):
        known_at = point_in_time(read.known_at, "read.known_at")
        if known_at > utc_now() + MAX_CLOCK_SKEW:
            raise InvalidArgument("read.known_at", "is in the future")
    if read.HasField("as_of"):
        return When(point_in_time(read.as_of, "read.as_of"), known_at)
    return When(known_at, known_at) if known_at is not None else None
