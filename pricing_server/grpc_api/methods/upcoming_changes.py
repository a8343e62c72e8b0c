"""ListUpcomingChanges."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.instants import timestamp
from pricing_server.domain.errors import InvalidArgument
from pricing_server.domain.head import Head
from pricing_server.domain.sellers import canonical
from pricing_server.grpc_api.wire.page_tokens import Pages, foreign_token
from pricing_server.grpc_api.wire.price_changes import rate_change
from pricing_server.grpc_api.wire.reads import table_of
from pricing_server.grpc_api.wire.requests import check_page_size, optional_name
from pricing_server.grpc_api.wire.results import fitting
from pricing_server.listing.upcoming import (
    UpcomingChange,
    UpcomingKind,
    UpcomingLister,
    UpcomingPage,
    UpcomingPosition,
)

DEFAULT_WITHIN: Final = timedelta(days=30)
MAX_WITHIN: Final = timedelta(days=3660)

_KINDS: Final = {one: pb.UpcomingKind.Value(f"UPCOMING_KIND_{one.name}") for one in UpcomingKind}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_LAST_INSTANT: Final = (datetime(9998, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND


async def list_upcoming_changes(
    lister: UpcomingLister, request: pb.ListUpcomingChangesRequest
) -> pb.ListUpcomingChangesResponse:
    """Answer ListUpcomingChanges."""
    name = optional_name(request, "provider")
    provider = canonical(name) if name is not None else None
    within = _within(request)
    limit = check_page_size(request.page_size)
    pages = Pages("ListUpcomingChanges", provider, within // _MICROSECOND)
    begin = _position(pages, request.page_token)
    page = await lister.page(provider, within, begin, limit)
    return await asyncio.to_thread(_response, page, pages)


def _within(request: pb.ListUpcomingChangesRequest) -> timedelta:
    if not request.HasField("within"):
        return DEFAULT_WITHIN
    stated = request.within
    # Compared as numbers, since not every duration fits in a timedelta.
    if not (0, 0) < (stated.seconds, stated.nanos) <= (MAX_WITHIN // timedelta(seconds=1), 0):
        raise InvalidArgument("within", "is not above zero and up to 3660 days")
    return timedelta(seconds=stated.seconds, microseconds=stated.nanos // 1_000)


def _response(page: UpcomingPage, pages: Pages) -> pb.ListUpcomingChangesResponse:
    listed = fitting(map(_message, page.changes))
    token = None
    if not page.is_last or len(listed) < len(page.changes):
        last, head = page.changes[len(listed) - 1], page.head
        token = pages.token(
            head.revision,
            head.epoch,
            _micros(page.at),
            _micros(last.at),
            last.provider,
            last.model_id,
            int(last.kind),
        )
    return pb.ListUpcomingChangesResponse(
        upcoming_changes=listed, next_page_token=token, table=table_of(page.head)
    )


def _message(change: UpcomingChange) -> pb.UpcomingChange:
    return pb.UpcomingChange(
        kind=_KINDS[change.kind],
        change_time=timestamp(change.at),
        provider=change.provider,
        model_id=change.model_id,
        source=change.source,
        rates=map(rate_change, change.changes),
        successor=change.successor,
    )


def _position(pages: Pages, token: str) -> UpcomingPosition | None:
    cursor = pages.cursor(token, int, str, int, int, str, str, int)
    if cursor is None:
        return None
    revision, epoch, at, behind, provider, model_id, kind = cursor
    if max(int(at), int(behind)) > _LAST_INSTANT or int(kind) not in set(UpcomingKind):
        raise foreign_token()
    return UpcomingPosition(
        Head(int(revision), str(epoch)),
        _instant(int(at)),
        (_instant(int(behind)), str(provider), str(model_id), UpcomingKind(int(kind))),
    )


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _instant(micros: int) -> datetime:
    return _EPOCH + micros * _MICROSECOND
