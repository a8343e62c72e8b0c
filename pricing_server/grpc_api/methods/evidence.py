"""ExplainPrice and ListDiscrepancies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from llmpricing.units import PriceError, parse_price
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.rates import DECIMAL
from pricing_server.domain.errors import InvalidArgument
from pricing_server.domain.sellers import canonical
from pricing_server.domain.source import Source
from pricing_server.grpc_api.wire.evidence import discrepancy_message, explain_price_response
from pricing_server.grpc_api.wire.page_tokens import Pages
from pricing_server.grpc_api.wire.reads import read_as
from pricing_server.grpc_api.wire.requests import check_name, check_page_size, optional_name
from pricing_server.history.evidence import (
    DiscrepancyCursor,
    DiscrepancyFilter,
    EvidenceReader,
    Explainer,
)
from pricing_server.history.held_changes import HeldFilter, HeldReader

MIN_RATIO: Final = Decimal("1.01")

MAX_HELD_CHANGES: Final = 100
"""Open ones of a model in an answer; each source has one at most."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_REFUSED: Final = frozenset({"as_of", "known_at"})
"""Options of a read that make no sense: what sources state is known as it is now."""


async def explain_price(
    request: pb.ExplainPriceRequest,
    explainer: Explainer,
    held: HeldReader,
    sources: Mapping[str, Source],
) -> pb.ExplainPriceResponse:
    """Answer ExplainPrice."""
    read = read_as(request.read, refused=_REFUSED)
    model_id = check_name("model_id", request.model_id)
    explained = await explainer.explain(read.of(model_id, optional_name(request, "provider")))
    price = explained.answer.evaluated.price
    criteria = HeldFilter(provider=price.provider, model_id=price.model_id)
    found = await held.held_changes(criteria, None, MAX_HELD_CHANGES)
    return explain_price_response(explained, found, sources)


async def list_discrepancies(
    request: pb.ListDiscrepanciesRequest, reader: EvidenceReader
) -> pb.ListDiscrepanciesResponse:
    """Answer ListDiscrepancies. All pages are of the prices in effect when the first was read."""
    name = optional_name(request, "provider")
    provider = canonical(name) if name is not None else None
    min_ratio = _min_ratio(request.min_ratio) if request.HasField("min_ratio") else MIN_RATIO
    limit = check_page_size(request.page_size)
    pages = Pages("ListDiscrepancies", provider, str(min_ratio))
    cursor = pages.cursor(request.page_token, int, str, str, str)
    at, after = datetime.now(UTC), None
    if cursor is not None:
        at, ratio, seller, model = _instant(int(cursor[0])), str(cursor[1]), *cursor[2:]
        after = DiscrepancyCursor(_ratio(ratio), str(seller), str(model))
    criteria = DiscrepancyFilter(at, min_ratio, provider)
    found = await reader.discrepancies(criteria, after, limit + 1)
    token = None
    if len(found) > limit:
        last = found[limit - 1]
        micros = (at - _EPOCH) // _MICROSECOND
        token = pages.token(micros, str(last.ratio), last.provider, last.model_id)
    return pb.ListDiscrepanciesResponse(
        discrepancies=map(discrepancy_message, found[:limit]), next_page_token=token
    )


def _min_ratio(text: str) -> Decimal:
    if not DECIMAL.fullmatch(text):
        raise InvalidArgument("min_ratio", "is not a ratio: digits with at most one point")
    try:
        ratio = parse_price(text)
    except PriceError:
        raise InvalidArgument("min_ratio", "has too many digits for a ratio") from None
    if ratio <= 1:
        raise InvalidArgument("min_ratio", "is not over 1")
    return ratio


def _instant(micros: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise _foreign() from None


def _ratio(text: str) -> Decimal:
    try:
        ratio = Decimal(text)
    except InvalidOperation:
        raise _foreign() from None
    if not ratio.is_finite() or len(text) > 200 or abs(ratio.adjusted()) > 100:
        raise _foreign()
    return ratio


def _foreign() -> InvalidArgument:
    return InvalidArgument("page_token", "is not a token of this method; begin with an empty one")
