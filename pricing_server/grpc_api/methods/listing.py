"""ListPricing."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState
from llmpricing.units import PricingFormat
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.enums import METER_OF, STATE_OF
from pricing_server.domain.errors import InvalidArgument
from pricing_server.domain.head import Head
from pricing_server.domain.sellers import canonical
from pricing_server.grpc_api.wire.page_tokens import Pages, foreign_token
from pricing_server.grpc_api.wire.prices import format_of, model_pricing
from pricing_server.grpc_api.wire.reads import ReadAs, read_as, table_of
from pricing_server.grpc_api.wire.requests import (
    check_enum,
    check_name,
    check_page_size,
    check_text,
    known_value,
    price_of,
)
from pricing_server.grpc_api.wire.results import fitting
from pricing_server.listing.listing import (
    ListedPage,
    Position,
    PriceFilter,
    PriceLister,
    UnknownPosition,
)

MAX_PROVIDERS: Final = 1_000
MAX_TEXT: Final = 512
_REFUSED: Final = frozenset({"accept_sources", "as_of", "known_at", "exact_only"})
"""Options of a read that make no sense in a list of the price table as it is now."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_LAST_INSTANT: Final = (datetime(9998, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND


async def list_pricing(
    listing: PriceLister, request: pb.ListPricingRequest
) -> pb.ListPricingResponse:
    """Answer ListPricing."""
    read = read_as(request.read, refused=_REFUSED)
    criteria = price_filter(request)
    check_enum("view", pb.PricingView, request.view)
    limit = check_page_size(request.page_size)
    pages = _pages(criteria, read, request)
    begin = _position(pages, request.page_token)
    try:
        page = await listing.page(criteria, begin, limit, min_revision=read.min_revision)
    except UnknownPosition:
        raise foreign_token() from None
    # In a thread, so that look-ups go on while a thousand cards are written out.
    return await asyncio.to_thread(_response, page, pages, request)


def price_filter(request: pb.ListPricingRequest) -> PriceFilter:
    """What to list. Raises InvalidArgument."""
    meter = None
    if request.price_meter:
        meter = known_value(request.price_meter, METER_OF, "price_meter")
    unit = _unit(request, meter)
    for field in ("min_price", "max_price", "descending"):
        if getattr(request, field) and meter is None:
            raise InvalidArgument(field, "has no meaning without price_meter")
    least = _price(request, "min_price", unit)
    most = _price(request, "max_price", unit)
    if least is not None and most is not None and most < least:
        raise InvalidArgument("max_price", "is below min_price")
    shortest = _tokens(request, "min_context_length")
    longest = _tokens(request, "max_context_length")
    if shortest is not None and longest is not None and longest < shortest:
        raise InvalidArgument("max_context_length", "is below min_context_length")
    return PriceFilter(
        providers=_providers(request.providers),
        states=frozenset(
            known_value(number, STATE_OF, f"states[{at}]")
            for at, number in enumerate(request.states)
        ),
        meters=frozenset(
            known_value(number, METER_OF, f"meters[{at}]")
            for at, number in enumerate(request.meters)
        ),
        text=check_text("text", request.text, MAX_TEXT, default=""),
        price_meter=meter,
        min_price=least,
        max_price=most,
        min_context_length=shortest,
        max_context_length=longest,
        is_descending=request.descending,
        include_delisted=request.include_delisted,
    )


def _unit(request: pb.ListPricingRequest, meter: Meter | None) -> PricingFormat | None:
    """What prices of the meter are stated per; None is per one."""
    check_enum("unit", pb.PriceUnit, request.unit)
    if meter is None or not meter.endswith("_tokens"):
        return None
    return format_of(request.unit)


def _price(request: Any, field: str, unit: PricingFormat | None) -> Decimal | None:
    return price_of(field, getattr(request, field), unit) if request.HasField(field) else None


def _providers(names: Collection[str]) -> frozenset[str]:
    if len(names) > MAX_PROVIDERS:
        raise InvalidArgument("providers", f"has more than {MAX_PROVIDERS} names")
    return frozenset(
        canonical(check_name(f"providers[{at}]", name)) for at, name in enumerate(names)
    )


def _tokens(request: Any, field: str) -> int | None:
    tokens: int = getattr(request, field)
    if tokens < 0:
        raise InvalidArgument(field, "is negative")
    return tokens if request.HasField(field) else None


def _pages(criteria: PriceFilter, read: ReadAs, request: pb.ListPricingRequest) -> Pages:
    def written(price: Decimal | None) -> str | None:
        return None if price is None else str(price)

    def names(states: Collection[PriceState | Meter | str]) -> list[str]:
        return sorted(str(state) for state in states)

    return Pages(
        "ListPricing",
        names(criteria.providers),
        names(criteria.states),
        names(criteria.meters),
        criteria.text,
        criteria.price_meter,
        written(criteria.min_price),
        written(criteria.max_price),
        criteria.min_context_length,
        criteria.max_context_length,
        criteria.is_descending,
        criteria.include_delisted,
        request.unit,
        request.view,
        read.min_revision,
    )


def _position(pages: Pages, token: str) -> Position | None:
    cursor = pages.cursor(token, int, str, int, str, str)
    if cursor is None:
        return None
    revision, epoch, micros, provider, model_id = cursor
    if int(micros) > _LAST_INSTANT:
        raise foreign_token()
    at = _EPOCH + int(micros) * _MICROSECOND
    return Position(Head(int(revision), str(epoch)), at, (str(provider), str(model_id)))


def _response(
    page: ListedPage, pages: Pages, request: pb.ListPricingRequest
) -> pb.ListPricingResponse:
    with_rates = request.view == pb.PRICING_VIEW_FULL
    pricing = fitting(
        model_pricing(answer, request.unit, with_rates=with_rates) for answer in page.answers
    )
    token = None
    if not page.is_last or len(pricing) < len(page.answers):
        last, head = pricing[-1], page.head
        micros = (page.at - _EPOCH) // _MICROSECOND
        token = pages.token(head.revision, head.epoch, micros, last.provider, last.model_id)
    return pb.ListPricingResponse(pricing=pricing, next_page_token=token, table=table_of(page.head))
