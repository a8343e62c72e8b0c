"""GetPricing and BatchGetPricing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.errors import InvalidArgument, PricingError
from pricing_server.grpc_api.wire.prices import get_pricing_response
from pricing_server.grpc_api.wire.reads import read_as
from pricing_server.grpc_api.wire.requests import check_enum, check_name, optional_name
from pricing_server.grpc_api.wire.results import check_size, fitting_results
from pricing_server.grpc_api.wire.statuses import result_error
from pricing_server.lookup.answer import Answer
from pricing_server.lookup.lookup import Lookup
from pricing_server.lookup.price_query import PriceQuery


async def get_pricing(lookup: Lookup, request: pb.GetPricingRequest) -> pb.GetPricingResponse:
    """Answer GetPricing."""
    return get_pricing_response(await lookup.answer(_asked(request, request.read)), request.unit)


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
            asked.append(_asked(each, each.read if each.HasField("read") else request.read))
        except PricingError as error:
            asked.append(error)
    answers = await lookup.answer_all(asked)
    # In a thread, so that other calls go on while a thousand cards are written out.
    return await asyncio.to_thread(_batch_response, answers, requests)


def _asked(request: pb.GetPricingRequest, read: pb.ReadOptions) -> PriceQuery:
    check_enum("unit", pb.PriceUnit, request.unit)
    model_id = check_name("model_id", request.model_id)
    return read_as(read).of(model_id, optional_name(request, "provider"))


def _batch_response(
    answers: Sequence[Answer | PricingError], requests: Sequence[pb.GetPricingRequest]
) -> pb.BatchGetPricingResponse:
    def result(answer: Answer | PricingError, request: pb.GetPricingRequest) -> pb.PricingResult:
        if isinstance(answer, PricingError):
            return pb.PricingResult(error=result_error(answer))
        return pb.PricingResult(pricing=get_pricing_response(answer, request.unit))

    return pb.BatchGetPricingResponse(
        results=fitting_results(
            map(result, answers, requests), lambda error: pb.PricingResult(error=error)
        )
    )
