"""The change stream's requests and messages on the wire."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.errors import InvalidArgument
from pricing_server.domain.head import Head
from pricing_server.domain.price_change import ChangeKind, ChangeOrigin, OriginKind, PriceChange
from pricing_server.grpc_api.methods.price_stream import MessageEncoder, stream_request
from pricing_server.grpc_api.wire.price_changes import price_change
from pricing_server.stream.messages import Event, Filter, MessageCutter, RevisionEncoder
from tests.unit._price_table import NOON, price
from tests.unit._strategies import cards, few, many
from tests.unit._stream import CARD, LineEncoder, decoded

EVENTS = {
    Event.STARTED: pb.STREAM_EVENT_STARTED,
    Event.SNAPSHOT: pb.STREAM_EVENT_SNAPSHOT,
    Event.CHANGES: pb.STREAM_EVENT_CHANGES,
    Event.PROGRESS: pb.STREAM_EVENT_PROGRESS,
}
HEAD = Head(7, "an epoch")
TABLE = pb.TableRevision(revision=7, epoch="an epoch")

encoder = MessageEncoder({}, lambda: NOON)
changes = st.builds(
    PriceChange,
    kind=st.sampled_from(ChangeKind),
    provider=st.sampled_from(["one", "two"]),
    model_id=st.text(min_size=1, max_size=20),
    old=st.none() | cards,
    new=cards,
    source=st.just("api"),
    effective_time=st.just(datetime(2026, 11, 1, tzinfo=UTC)),
    changed_at=st.just(NOON),
    origin=st.just(ChangeOrigin(OriginKind.SYNC, "admin", sync_run_id=3)),
    revision=st.just(HEAD.revision),
)

CHANGE = PriceChange(
    kind=ChangeKind.CHANGED,
    provider="one",
    model_id="model",
    old=CARD,
    new=CARD,
    source="api",
    effective_time=NOON,
    changed_at=NOON,
    origin=ChangeOrigin(OriginKind.SYNC, "admin", sync_run_id=3),
    revision=HEAD.revision,
)


def full(change: PriceChange) -> pb.PriceChange:
    """The change as a stream sends it."""
    return price_change(change, pb.CHANGE_VIEW_FULL)


def noted(size: int) -> ChangeOrigin:
    """An origin that makes its change as large as this."""
    return replace(CHANGE.origin, note=" " * size)


@given(st.sampled_from(Event), st.booleans())
@many
def test_a_trailer_alone_is_a_message(event: Event, is_last: bool) -> None:
    data = encoder.trailer(event, HEAD, is_last=is_last)
    assert pb.StreamPriceChangesResponse.FromString(data) == pb.StreamPriceChangesResponse(
        event=EVENTS[event], table=TABLE, last_fragment=is_last
    )


@given(st.lists(changes, max_size=4))
@many
def test_pieces_and_a_trailer_are_one_message(some: list[PriceChange]) -> None:
    cutter = MessageCutter(encoder, Event.CHANGES, HEAD)
    for change in some:
        assert cutter.add(encoder.change(change)) is None
    assert pb.StreamPriceChangesResponse.FromString(cutter.last()) == (
        pb.StreamPriceChangesResponse(
            table=TABLE,
            event=pb.STREAM_EVENT_CHANGES,
            last_fragment=True,
            changes=map(full, some),
        )
    )


@given(st.lists(changes, min_size=1, max_size=4), st.sampled_from(["one", "two"]))
@many
def test_what_passes_a_filter_is_cut_out_of_whole_messages(
    some: list[PriceChange], provider: str
) -> None:
    whole = RevisionEncoder(encoder, HEAD, 10**9)
    whole.extend(some)
    encoded = whole.build()
    assert encoded is not None
    found = [
        change
        for data in encoded.matching(Filter(frozenset({provider})), encoder)
        for change in pb.StreamPriceChangesResponse.FromString(data).changes
    ]
    assert found == [full(one) for one in some if one.provider == provider]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=60, max_size=120),
    st.builds(
        Filter,
        st.frozensets(st.sampled_from("abcd")),
        st.frozensets(st.sampled_from([str(number) for number in range(12)])),
    ),
    st.sampled_from([0, 5_000]),
)
@few
def test_what_passes_a_filter_comes_in_order_however_much_does_not(
    models: list[tuple[str, int]], criteria: Filter, size: int
) -> None:
    lines = LineEncoder()
    whole = RevisionEncoder(lines, HEAD, 10**9)
    some = [
        replace(CHANGE, provider=provider, model_id=str(number), origin=noted(size))
        for provider, number in models
    ]
    whole.extend(some)
    encoded = whole.build()
    assert encoded is not None
    messages = [decoded(data) for data in encoded.matching(criteria, lines)]
    assert [piece for one in messages for piece in one.pieces] == [
        (HEAD.revision, one.provider, one.model_id)
        for one in some
        if criteria.passes(one.provider, one.model_id)
    ]


def test_prices_of_a_snapshot_are_pieces_of_one_message() -> None:
    pieces = [encoder.price(price("one", f"model-{number}")) for number in range(3)]
    data = b"".join([*pieces, encoder.trailer(Event.SNAPSHOT, HEAD, is_last=False)])
    found = pb.StreamPriceChangesResponse.FromString(data)
    assert [each.model_id for each in found.prices] == ["model-0", "model-1", "model-2"]
    assert not found.last_fragment


def test_a_request_that_says_nothing_is_everything_from_now_with_progress_every_15_s() -> None:
    found = stream_request(pb.StreamPriceChangesRequest())
    assert found.criteria.is_open
    assert (found.after_revision, found.epoch, found.snapshot) == (None, "", False)
    assert found.progress_seconds == 15


def test_after_revision_0_is_not_an_absent_one() -> None:
    request = pb.StreamPriceChangesRequest(after=pb.TableRevision())
    assert stream_request(request).after_revision == 0


def test_sellers_are_known_by_their_aliases() -> None:
    found = stream_request(pb.StreamPriceChangesRequest(providers=["XAI"], model_ids=["Grok"]))
    assert found.criteria == Filter(frozenset({"x-ai"}), frozenset({"Grok"}))


@given(st.timedeltas(timedelta(seconds=-1), timedelta(hours=2)))
@many
def test_progress_comes_every_tenth_of_a_second_to_every_hour(interval: timedelta) -> None:
    duration = Duration()
    duration.FromTimedelta(interval)
    request = pb.StreamPriceChangesRequest(progress_interval=duration)
    if timedelta(seconds=0.1) <= interval <= timedelta(hours=1):
        assert stream_request(request).progress_seconds == pytest.approx(interval.total_seconds())
    else:
        with pytest.raises(InvalidArgument) as raised:
            stream_request(request)
        assert raised.value.field == "progress_interval"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"after": pb.TableRevision(revision=-1)}, "after.revision"),
        ({"after": pb.TableRevision(), "snapshot": True}, "snapshot"),
        ({"after": pb.TableRevision(epoch="x" * 101)}, "after.epoch"),
        ({"providers": ["one"] * 1_001}, "providers"),
        ({"model_ids": ["a", ""]}, "model_ids[1]"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        stream_request(pb.StreamPriceChangesRequest(**fields))
    assert raised.value.field == field


class CountingEncoder(LineEncoder):
    """Counts the messages that it writes out."""

    written = 0

    def trailer(self, event: Event, head: Head, *, is_last: bool) -> bytes:
        self.written += 1
        return super().trailer(event, head, is_last=is_last)


def test_a_filter_that_all_of_a_revision_passes_shares_its_messages() -> None:
    lines = LineEncoder()
    whole = RevisionEncoder(lines, HEAD, 10**9)
    whole.extend(replace(CHANGE, provider="one", origin=noted(50_000)) for _ in range(20))
    encoded = whole.build()
    assert encoded is not None
    shared = list(encoded.matching(Filter(frozenset({"one", "two"})), lines))
    assert len(shared) > 1
    assert all(one is other for one, other in zip(shared, encoded.messages, strict=True))


def test_what_passes_a_filter_is_written_out_one_message_at_a_time() -> None:
    lines = CountingEncoder()
    whole = RevisionEncoder(lines, HEAD, 10**9)
    whole.extend(
        replace(CHANGE, provider=provider, origin=noted(50_000))
        for provider in ["one"] * 40 + ["two"]
    )
    encoded = whole.build()
    assert encoded is not None
    written = lines.written
    messages = encoded.matching(Filter(frozenset({"one"})), lines)
    for number in range(3):
        assert lines.written == written + number
        next(messages)
