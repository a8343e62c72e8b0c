"""ComparePrices."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.costs.comparison import Comparisons
from pricing_server.domain.errors import InvalidArgument
from pricing_server.domain.price import Layer
from pricing_server.grpc_api.wire.comparisons import compare_prices_response
from pricing_server.grpc_api.wire.costs import used_of
from pricing_server.grpc_api.wire.reads import read_as
from pricing_server.grpc_api.wire.requests import check_name, optional_name
from pricing_server.lookup.price_query import PriceQuery

MAX_MODELS: Final = 100


async def compare_prices(
    comparisons: Comparisons, request: pb.ComparePricesRequest
) -> pb.ComparePricesResponse:
    """Answer ComparePrices."""
    asked = _asked(request)
    used = used_of(request)
    if request.models:
        comparison = await comparisons.of_models(asked, used)
    else:
        comparison = await comparisons.at_sellers(asked[0], used)
    return await asyncio.to_thread(compare_prices_response, comparison)


def _asked(request: pb.ComparePricesRequest) -> Sequence[PriceQuery]:
    """The model, or the models, that are to be looked up."""
    read = read_as(request.read)
    if not read.accept - {Layer.CROSS_REFERENCE}:
        raise InvalidArgument("read.accept_sources", "has no layer with sellers' own prices")
    if not request.models:
        return [read.of(check_name("model", request.model), optional_name(request, "provider"))]
    if request.model:
        raise InvalidArgument("models", "are given beside model")
    if request.HasField("provider"):
        raise InvalidArgument("provider", "has no meaning beside models")
    if len(request.models) > MAX_MODELS:
        raise InvalidArgument("models", f"are over {MAX_MODELS}")
    return [
        read.of(check_name(f"models[{at}]", name), None) for at, name in enumerate(request.models)
    ]
