"""ListPriceChanges."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.enums import by_number
from pricing_server.domain.errors import InvalidArgument, SyncRunNotFound
from pricing_server.domain.price_change import ChangeKind
from pricing_server.domain.sellers import canonical
from pricing_server.grpc_api.wire.page_tokens import Pages
from pricing_server.grpc_api.wire.price_changes import CHANGE_KINDS, check_view, price_changes
from pricing_server.grpc_api.wire.requests import (
    check_page_size,
    id_of,
    known_value,
    optional_name,
    point_in_time,
    price_of,
)
from pricing_server.history.audit import AuditReader, ChangeFilter

_KIND_OF: Final[Mapping[int, ChangeKind]] = by_number(CHANGE_KINDS)


async def list_price_changes(
    audit: AuditReader, request: pb.ListPriceChangesRequest
) -> pb.ListPriceChangesResponse:
    """Answer ListPriceChanges."""
    criteria = _filter(request)
    check_view(request.view)
    limit = check_page_size(request.page_size)
    pages = _pages(criteria)
    cursor = pages.cursor(request.page_token, int, int)
    before = (int(cursor[0]), int(cursor[1])) if cursor else None
    found = await audit.changes(criteria, before, limit + 1)
    # In a thread, so that look-ups go on while thousands of changes are written out.
    changes = await asyncio.to_thread(
        lambda: price_changes([change for _, change in found[:limit]], request.view)
    )
    is_last = len(found) == len(changes)
    return pb.ListPriceChangesResponse(
        changes=changes,
        next_page_token=None if is_last else pages.token(*found[len(changes) - 1][0]),
    )


def _filter(request: pb.ListPriceChangesRequest) -> ChangeFilter:
    provider = optional_name(request, "provider")
    run_name = optional_name(request, "sync_run_id")
    sync_run_id = id_of(run_name) if run_name is not None else None
    if run_name is not None and sync_run_id is None:
        raise SyncRunNotFound(run_name)
    after_time, before_time = _time(request, "after_time"), _time(request, "before_time")
    if after_time is not None and before_time is not None and before_time <= after_time:
        raise InvalidArgument("before_time", "is not after after_time")
    return ChangeFilter(
        provider=canonical(provider) if provider is not None else None,
        model_id=optional_name(request, "model_id"),
        sync_run_id=sync_run_id,
        after_time=after_time,
        before_time=before_time,
        kind=known_value(request.kind, _KIND_OF, "kind") if request.kind else None,
        source=optional_name(request, "source"),
        actor=optional_name(request, "actor"),
        least_change=_least_change(request),
    )


def _time(request: Any, field: str) -> datetime | None:
    return point_in_time(getattr(request, field), field) if request.HasField(field) else None


def _least_change(request: pb.ListPriceChangesRequest) -> Decimal | None:
    if not request.HasField("least_change"):
        return None
    try:
        share = price_of("least_change", request.least_change)
    except InvalidArgument:
        raise InvalidArgument(
            "least_change", "is not a share: digits with at most one point"
        ) from None
    if not share:
        raise InvalidArgument("least_change", "is not over 0")
    return share


def _pages(criteria: ChangeFilter) -> Pages:
    def written(value: datetime | Decimal | None) -> str | None:
        return None if value is None else str(value)

    return Pages(
        "ListPriceChanges",
        criteria.provider,
        criteria.model_id,
        criteria.sync_run_id,
        written(criteria.after_time),
        written(criteria.before_time),
        criteria.kind,
        criteria.source,
        criteria.actor,
        written(criteria.least_change),
    )
