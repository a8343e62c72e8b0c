"""ListHeldChanges, GetHeldChange and ResolveHeldChange."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.errors import HeldChangeNotFound, InvalidArgument
from pricing_server.domain.head import Head
from pricing_server.domain.held_change import HoldStatus, ResolveOutcome, ResolveRequest
from pricing_server.domain.sellers import canonical
from pricing_server.grpc_api.wire.held_changes import DECISION_OF, STATUS_OF, held_change_message
from pricing_server.grpc_api.wire.page_tokens import Pages
from pricing_server.grpc_api.wire.price_changes import check_view, price_changes
from pricing_server.grpc_api.wire.reads import table_of
from pricing_server.grpc_api.wire.requests import (
    MAX_WHO,
    WHO,
    check_enum,
    check_name,
    check_page_size,
    id_of,
    optional_name,
)
from pricing_server.grpc_api.wire.results import fitting
from pricing_server.history.held_changes import HeldFilter, HeldReader
from pricing_server.sync.runner import SyncRunner

MAX_NOTE = 1_000


async def list_held_changes(
    reader: HeldReader, request: pb.ListHeldChangesRequest
) -> pb.ListHeldChangesResponse:
    """Answer ListHeldChanges."""
    provider = optional_name(request, "provider")
    criteria = HeldFilter(
        statuses=_statuses(request.statuses),
        source=optional_name(request, "source"),
        provider=canonical(provider) if provider is not None else None,
        model_id=optional_name(request, "model_id"),
        feed_id=_id_of("feed_id", request.feed_id) if request.HasField("feed_id") else None,
    )
    limit = check_page_size(request.page_size)
    pages = Pages(
        "ListHeldChanges",
        criteria.source,
        criteria.provider,
        criteria.model_id,
        criteria.feed_id,
        [status.value for status in criteria.statuses],
    )
    cursor = pages.cursor(request.page_token, int, int)
    before = (int(cursor[0]), int(cursor[1])) if cursor else None
    found = await reader.held_changes(criteria, before, limit + 1)
    # In a thread, so that look-ups go on while thousands of rates are written out.
    listed = await asyncio.to_thread(lambda: fitting(map(held_change_message, found[:limit])))
    last = found[len(listed) - 1] if len(found) > len(listed) else None
    return pb.ListHeldChangesResponse(
        held_changes=listed,
        next_page_token=pages.token(int(last.status is not HoldStatus.OPEN), last.held_change_id)
        if last is not None
        else None,
    )


async def get_held_change(
    reader: HeldReader, request: pb.GetHeldChangeRequest
) -> pb.GetHeldChangeResponse:
    """Answer GetHeldChange."""
    held = await reader.held_change(_id_of("held_change_id", request.held_change_id))
    if held is None:
        raise HeldChangeNotFound(request.held_change_id)
    return pb.GetHeldChangeResponse(held_change=held_change_message(held))


async def resolve_held_change(
    syncs: SyncRunner, request: pb.ResolveHeldChangeRequest
) -> pb.ResolveHeldChangeResponse:
    """Answer ResolveHeldChange."""
    held_change_id = _id_of("held_change_id", request.held_change_id)
    check_enum("decision", pb.HoldDecision, request.decision)
    check_view(request.view)
    decision = DECISION_OF.get(request.decision)
    if decision is None:
        raise InvalidArgument("decision", "is required")
    outcome = await syncs.resolve(
        ResolveRequest(
            held_change_id,
            decision,
            note=_text("note", request.note, MAX_NOTE),
            resolved_by=_who(request.resolved_by),
        )
    )
    # In a thread, so that look-ups go on while thousands of changes are written out.
    return await asyncio.to_thread(_resolved, outcome, request.view)


def _resolved(
    outcome: ResolveOutcome, view: pb.ChangeView.ValueType
) -> pb.ResolveHeldChangeResponse:
    changes = price_changes(outcome.changes, view)
    return pb.ResolveHeldChangeResponse(
        price_changes=changes,
        price_changes_truncated=len(changes) < len(outcome.changes),
        held_change=held_change_message(outcome.held_change),
        table=table_of(Head(outcome.revision, outcome.epoch)),
    )


def _statuses(numbers: Iterable[int]) -> tuple[HoldStatus, ...]:
    for number in numbers:
        if number not in STATUS_OF:
            raise InvalidArgument("statuses", f"has the unknown value {number}")
    # In one order, so that page tokens fit however the caller lists them.
    asked = {STATUS_OF[number] for number in numbers} or {HoldStatus.OPEN}
    return tuple(status for status in HoldStatus if status in asked)


def _id_of(field: str, text: str) -> int:
    """The id as a number. Raises HeldChangeNotFound for a text that was never issued as one."""
    found = id_of(check_name(field, text))
    if found is None:
        raise HeldChangeNotFound(text)
    return found


def _who(text: str) -> str:
    if text:
        check_name("resolved_by", text)
    return _text("resolved_by", text, MAX_WHO) or WHO


def _text(field: str, text: str, longest: int) -> str:
    """A text to keep: within its length, and printable, since logs and tables show it."""
    if len(text) > longest:
        raise InvalidArgument(field, f"is over {longest} characters")
    if any((ord(sign) < 32 and sign not in "\n\t") or ord(sign) == 127 for sign in text):
        raise InvalidArgument(field, "contains a control character")
    return text
