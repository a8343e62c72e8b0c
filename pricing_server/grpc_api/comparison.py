"""ComparePrices: its request and answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from llmpricing.units import plain
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.comparison.comparison import (
    Compared,
    Comparisons,
    PriceComparison,
)
from pricing_server.comparison.identity import Identity
from pricing_server.errors import InvalidArgument
from pricing_server.grpc_api import convert, convert_rates
from pricing_server.grpc_api.cost import quantities, used_of
from pricing_server.grpc_api.read_rates import point_in_time
from pricing_server.grpc_api.requests import check_name
from pricing_server.lookup.lookup import Asked
from pricing_server.lookup.price import When

MAX_MODELS: Final = 100

_IDENTITIES: Final = {one: pb.ModelIdentity.Value(f"MODEL_IDENTITY_{one.name}") for one in Identity}


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
    return await asyncio.to_thread(_response, comparison)


def _asked(request: pb.ComparePricesRequest) -> Sequence[Asked]:
    """The model, or the models, that are to be looked up."""
    when = When(point_in_time(request.at, "at")) if request.HasField("at") else None
    if not request.models:
        model = check_name("model", request.model)
        has_provider = request.HasField("provider")
        provider = check_name("provider", request.provider) if has_provider else None
        return [Asked(model, provider, when=when, exact_only=request.exact_only)]
    if request.model:
        raise InvalidArgument("models", "are given beside model")
    if request.HasField("provider"):
        raise InvalidArgument("provider", "has no meaning beside models")
    if len(request.models) > MAX_MODELS:
        raise InvalidArgument("models", f"are over {MAX_MODELS}")
    return [
        Asked(
            check_name(f"models[{at}]", name),
            None,
            when=when,
            exact_only=request.exact_only,
        )
        for at, name in enumerate(request.models)
    ]


def _response(comparison: PriceComparison) -> pb.ComparePricesResponse:
    head = comparison.head
    return pb.ComparePricesResponse(
        prices=map(_compared, comparison.compared),
        left_out=[
            pb.LeftOut(provider=each.provider, model_id=each.model_id, reason=each.reason)
            for each in comparison.left_out
        ],
        match=convert.match(comparison.match) if comparison.match is not None else None,
        revision=head.revision if head is not None else None,
        epoch=head.epoch if head is not None else "",
    )


def _compared(compared: Compared) -> pb.ComparedPrice:
    answer, cost = compared.answer, compared.cost
    price = answer.quote.price
    message = pb.ComparedPrice(
        provider=price.provider,
        model_id=price.model_id,
        total=plain(compared.total) if compared.total is not None else None,
        unpriced=quantities(cost.unpriced) if cost is not None else (),
        state=convert_rates.STATES[compared.state],
        freshness=convert.FRESHNESS[answer.freshness],
        source_detail=answer.source_detail,
        identity=_IDENTITIES[compared.identity],
        unused_context=dict(cost.unused_context) if cost is not None else {},
        rate_card_id=price.card.card_id,
        pricing_source=convert.LAYERS[price.layer],
    )
    if price.delisted_at is not None:
        message.delisted_time.FromDatetime(price.delisted_at)
    return message
