"""Held changes on the wire: checked requests, and answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from llmpricing.units import plain
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.errors import HeldChangeNotFound, InvalidArgument
from pricing_server.grpc_api import convert, convert_rates
from pricing_server.grpc_api.convert_held import REASONS
from pricing_server.grpc_api.requests import Pages, check_enum, check_name, check_page_size
from pricing_server.held_changes import HeldFilter, HeldReader
from pricing_server.sellers import canonical
from pricing_server.sync.held import (
    HeldChange,
    HoldDecision,
    HoldEvidence,
    HoldStatus,
    ResolveOutcome,
    ResolveRequest,
)

MAX_NOTE: Final = 1_000
MAX_WHO: Final = 200

MAX_PAGE_BYTES: Final = 3 * 1024 * 1024
"""Of the held changes in one answer, which must stay below gRPC's limit of 4 MiB."""

STATUSES: Final = {
    status: pb.HoldStatus.Value(f"HOLD_STATUS_{status.name}") for status in HoldStatus
}
_STATUS_OF: Final[Mapping[int, HoldStatus]] = {
    number: status for status, number in STATUSES.items()
}
_DECISION_OF: Final = {
    pb.HoldDecision.Value(f"HOLD_DECISION_{decision.name}"): decision for decision in HoldDecision
}


class Resolver(Protocol):
    """Decides on held changes."""

    async def resolve(self, request: ResolveRequest) -> ResolveOutcome:
        """Raises HeldChangeNotFound, HeldChangeNotOpen."""


async def list_held_changes(
    reader: HeldReader, request: pb.ListHeldChangesRequest
) -> pb.ListHeldChangesResponse:
    """One page of held changes. Raises InvalidArgument, HeldChangeNotFound."""
    provider = _optional(request.HasField("provider"), "provider", request.provider)
    narrow = HeldFilter(
        statuses=_statuses(request.statuses),
        source=_optional(request.HasField("source"), "source", request.source),
        provider=canonical(provider) if provider is not None else None,
        model_id=_optional(request.HasField("model_id"), "model_id", request.model_id),
        feed_id=_id_of("feed_id", request.feed_id) if request.HasField("feed_id") else None,
    )
    limit = check_page_size(request.page_size)
    pages = Pages(
        "ListHeldChanges",
        narrow.source,
        narrow.provider,
        narrow.model_id,
        narrow.feed_id,
        [status.value for status in narrow.statuses],
    )
    cursor = pages.cursor(request.page_token, int, int)
    before = (int(cursor[0]), int(cursor[1])) if cursor else None
    found = await reader.held_changes(narrow, before, limit + 1)
    listed = await asyncio.to_thread(_fitting, found[:limit])
    last = found[len(listed) - 1] if len(found) > len(listed) else None
    return pb.ListHeldChangesResponse(
        held_changes=listed,
        next_page_token=pages.token(int(last.status is not HoldStatus.OPEN), last.held_change_id)
        if last is not None
        else "",
    )


async def resolve_held_change(
    resolver: Resolver, request: pb.ResolveHeldChangeRequest
) -> pb.ResolveHeldChangeResponse:
    """Decide on a held change. Raises InvalidArgument, HeldChangeNotFound, HeldChangeNotOpen."""
    held_change_id = _id_of("held_change_id", request.held_change_id)
    check_enum("decision", pb.HoldDecision, request.decision)
    decision = _DECISION_OF.get(request.decision)
    if decision is None:
        raise InvalidArgument("decision", "is required")
    outcome = await resolver.resolve(
        ResolveRequest(
            held_change_id,
            decision,
            note=_text("note", request.note, MAX_NOTE),
            resolved_by=_who(request.resolved_by),
        )
    )
    # In a thread, so that look-ups go on while thousands of changes are written out.
    return await asyncio.to_thread(_resolved, outcome)


def held_change(held: HeldChange) -> pb.HeldChange:
    """A held change, with the cards before and after."""
    message = pb.HeldChange(
        held_change_id=str(held.held_change_id),
        source=held.source,
        provider=held.provider,
        model_id=held.model_id,
        feed_id="" if held.feed_id is None else str(held.feed_id),
        models=held.models,
        reason=REASONS[held.reason],
        evidence=[_evidence(one) for one in held.evidence],
        old_rate_card=convert_rates.rate_card(held.old) if held.old is not None else None,
        new_rate_card=convert_rates.rate_card(held.new) if held.new is not None else None,
        fragment=held.fragment,
        status=STATUSES[held.status],
        held_since=convert_rates.timestamp(held.held_since),
        last_stated=convert_rates.timestamp(held.last_stated),
        sync_run_id=str(held.last_run_id),
        resolved_by=held.resolved_by,
        note=held.note,
    )
    if held.resolved_at is not None:
        message.resolved_time.FromDatetime(held.resolved_at)
    return message


def _resolved(outcome: ResolveOutcome) -> pb.ResolveHeldChangeResponse:
    changes = convert.fitting(map(convert.price_change, outcome.changes))
    return pb.ResolveHeldChangeResponse(
        held_change=held_change(outcome.held_change),
        revision=outcome.revision,
        price_changes=changes,
        price_changes_truncated=len(changes) < len(outcome.changes),
    )


def _fitting(found: Iterable[HeldChange]) -> list[pb.HeldChange]:
    """The first that fit in one answer; at least one."""
    listed: list[pb.HeldChange] = []
    size = 0
    for held in found:
        message = held_change(held)
        size += message.ByteSize() + 8
        if listed and size > MAX_PAGE_BYTES:
            break
        listed.append(message)
    return listed


def _evidence(one: HoldEvidence) -> pb.HoldEvidence:
    return pb.HoldEvidence(
        meter=convert_rates.METERS[one.meter],
        stated=plain(one.stated) if one.stated is not None else None,
        reference=plain(one.reference) if one.reference is not None else None,
        reference_source=one.reference_source,
        ratio=plain(one.ratio),
        references=one.references,
    )


def _statuses(numbers: Iterable[int]) -> tuple[HoldStatus, ...]:
    for number in numbers:
        if number not in _STATUS_OF:
            raise InvalidArgument("statuses", f"has the unknown value {number}")
    # In one order, so that page tokens fit however the caller lists them.
    asked = {_STATUS_OF[number] for number in numbers} or {HoldStatus.OPEN}
    return tuple(status for status in HoldStatus if status in asked)


def _optional(is_set: bool, field: str, text: str) -> str | None:
    return check_name(field, text) if is_set else None


def _id_of(field: str, text: str) -> int:
    """The id as a number. Raises HeldChangeNotFound for a text that was never issued as one."""
    check_name(field, text)
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise HeldChangeNotFound(text)
    return int(text)


def _who(text: str) -> str:
    if text:
        check_name("resolved_by", text)
    return _text("resolved_by", text, MAX_WHO) or "grpc"


def _text(field: str, text: str, longest: int) -> str:
    """A text to keep: within its length, and printable, since logs and tables show it."""
    if len(text) > longest:
        raise InvalidArgument(field, f"is over {longest} characters")
    if any((ord(sign) < 32 and sign not in "\n\t") or ord(sign) == 127 for sign in text):
        raise InvalidArgument(field, "contains a control character")
    return text
