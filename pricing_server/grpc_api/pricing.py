"""GetPricing and BatchGetPricing: their requests and answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.errors import InvalidArgument, PricingError
from pricing_server.grpc_api import convert
from pricing_server.grpc_api.batch import check_size, fitting_results, result_error
from pricing_server.grpc_api.read_rates import point_in_time
from pricing_server.grpc_api.requests import check_enum, check_name
from pricing_server.lookup.answer import Answer
from pricing_server.lookup.cache import utc_now
from pricing_server.lookup.lookup import Lookup
from pricing_server.lookup.price import When
from pricing_server.lookup.price_query import ALL_LAYERS, PriceQuery

MAX_CLOCK_SKEW: Final = timedelta(minutes=1)
"""By how much a caller's clock may be ahead of this server's."""

_LAYERS = {number: layer for layer, number in convert.LAYERS.items()}


async def get_pricing(lookup: Lookup, request: pb.GetPricingRequest) -> pb.GetPricingResponse:
    """Answer GetPricing."""
    return _response(await lookup.answer(_asked(request)), request)


async def batch_get_pricing(
    lookup: Lookup, request: pb.BatchGetPricingRequest
) -> pb.BatchGetPricingResponse:
    """Answer BatchGetPricing."""
    if request.requests and request.names:
        raise InvalidArgument("names", "are given beside requests")
    check_size("names" if request.names else "requests", request.names or request.requests)
    requests = request.requests or [pb.GetPricingRequest(model_id=name) for name in request.names]
    asked: list[PriceQuery | PricingError] = []
    for each in requests:
        try:
            asked.append(_asked(each))
        except PricingError as error:
            asked.append(error)
    answers = await lookup.answer_all(asked)
    # In a thread, so that other calls go on while a thousand cards are written out.
    return await asyncio.to_thread(_batch_response, answers, requests)


def asked_of(request: Any, as_of: str, named: str | None = None) -> PriceQuery:
    """The look-up in a request, whose field `as_of` says for which time, of the model `named`
    elsewhere if the request leaves that out. Raises InvalidArgument."""
    model_id = check_name("model_id", request.model_id or named or "")
    provider = check_name("provider", request.provider) if request.HasField("provider") else None
    for number in request.accept_sources:
        if number not in _LAYERS:
            raise InvalidArgument("accept_sources", f"has the unknown value {number}")
    if request.min_revision < 0:
        raise InvalidArgument("min_revision", "is negative")
    if request.HasField("min_revision") and request.HasField("known_at"):
        raise InvalidArgument("min_revision", "has no meaning beside known_at")
    return PriceQuery(
        model_id,
        provider,
        frozenset(_LAYERS[number] for number in request.accept_sources) or ALL_LAYERS,
        request.min_revision if request.HasField("min_revision") else None,
        _when(request, as_of),
        exact_only=request.exact_only,
    )


def _when(request: Any, as_of: str) -> When | None:
    known_at = None
    if request.HasField("known_at"):
        known_at = point_in_time(request.known_at, "known_at")
        if known_at > utc_now() + MAX_CLOCK_SKEW:
            raise InvalidArgument("known_at", "is in the future")
    if request.HasField(as_of):
        return When(point_in_time(getattr(request, as_of), as_of), known_at)
    return When(known_at, known_at) if known_at is not None else None


def _asked(request: pb.GetPricingRequest) -> PriceQuery:
    check_enum("unit", pb.PriceUnit, request.unit)
    return asked_of(request, "as_of")


def _response(answer: Answer, request: pb.GetPricingRequest) -> pb.GetPricingResponse:
    return convert.get_pricing_response(answer, request.unit or pb.PRICE_UNIT_PER_1M_TOKENS)


def _batch_response(
    answers: Sequence[Answer | PricingError], requests: Sequence[pb.GetPricingRequest]
) -> pb.BatchGetPricingResponse:
    def result(answer: Answer | PricingError, request: pb.GetPricingRequest) -> pb.PricingResult:
        if isinstance(answer, PricingError):
            return pb.PricingResult(error=result_error(answer))
        return pb.PricingResult(pricing=_response(answer, request))

    return pb.BatchGetPricingResponse(
        results=fitting_results(
            map(result, answers, requests), lambda error: pb.PricingResult(error=error)
        )
    )
