"""The options that reads share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.instants import timestamp
from pricing_server.domain.errors import InvalidArgument
from pricing_server.domain.head import Head
from pricing_server.domain.price import Layer, When
from pricing_server.grpc_api.wire.reads import read_as, table_of
from pricing_server.lookup.price_query import ALL_LAYERS, PriceQuery

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
UNKNOWN: Any = 99
EVERY = pb.ReadOptions(
    accept_sources=[pb.PRICING_SOURCE_DATABASE],
    as_of=timestamp(NOON),
    known_at=timestamp(NOON),
    exact_only=True,
)


def test_options_that_say_nothing_are_the_price_now_of_any_layer() -> None:
    assert read_as(pb.ReadOptions()).of("m", None) == PriceQuery("m", None, ALL_LAYERS)


def test_each_option_is_passed_on() -> None:
    assert read_as(EVERY).of("m", "p") == PriceQuery(
        "m", "p", frozenset({Layer.DATABASE}), None, When(NOON, NOON), exact_only=True
    )
    assert read_as(pb.ReadOptions(min_revision=0)).min_revision == 0


def test_what_was_known_is_of_that_time_unless_another_is_asked_for() -> None:
    assert read_as(pb.ReadOptions(known_at=timestamp(NOON))).when == When(NOON, NOON)


@pytest.mark.parametrize(
    ("read", "field"),
    [
        (pb.ReadOptions(accept_sources=[UNKNOWN]), "accept_sources"),
        (pb.ReadOptions(accept_sources=[0]), "accept_sources"),  # type: ignore[list-item]
        (pb.ReadOptions(min_revision=-1), "min_revision"),
        (pb.ReadOptions(min_revision=1, known_at=timestamp(NOON)), "min_revision"),
        (pb.ReadOptions(as_of=Timestamp(seconds=-1)), "as_of"),
        (
            pb.ReadOptions(known_at=timestamp(datetime.now(UTC) + timedelta(hours=1))),
            "known_at",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_path(read: pb.ReadOptions, field: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        read_as(read)
    assert raised.value.field == f"read.{field}"


@pytest.mark.parametrize("field", ["accept_sources", "as_of", "known_at", "exact_only"])
def test_an_option_that_a_method_cannot_honour_is_refused_and_not_passed_over(field: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        read_as(EVERY, refused=[field])
    assert raised.value.field == f"read.{field}"
    read_as(pb.ReadOptions(min_revision=1), refused=[field])


def test_an_answer_that_is_of_no_price_table_has_no_table() -> None:
    assert table_of(None) is None
    assert table_of(Head(0, "e")) == pb.TableRevision(revision=0, epoch="e")
