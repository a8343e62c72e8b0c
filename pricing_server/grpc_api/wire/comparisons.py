"""Comparisons as messages of the contract."""

from __future__ import annotations

from typing import Final

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.enums import STATES
from llmpricing.wire.instants import timestamp
from pricing_server.costs.comparison import Compared, PriceComparison
from pricing_server.costs.families import LeftOut
from pricing_server.costs.model_identity import Identity, LeftOutReason
from pricing_server.grpc_api.wire.costs import cost_message
from pricing_server.grpc_api.wire.prices import match_message
from pricing_server.grpc_api.wire.reads import FRESHNESS, LAYERS, table_of

IDENTITIES: Final = {one: pb.ModelIdentity.Value(f"MODEL_IDENTITY_{one.name}") for one in Identity}
LEFT_OUT_REASONS: Final = {
    one: pb.LeftOutReason.Value(f"LEFT_OUT_REASON_{one.name}") for one in LeftOutReason
}


def compare_prices_response(comparison: PriceComparison) -> pb.ComparePricesResponse:
    """What was compared, and what was not."""
    return pb.ComparePricesResponse(
        prices=map(_compared, comparison.compared),
        left_out=map(_left_out, comparison.left_out),
        match=match_message(comparison.match) if comparison.match is not None else None,
        table=table_of(comparison.head),
    )


def _compared(compared: Compared) -> pb.ComparedPrice:
    answer, cost = compared.answer, compared.cost
    price = answer.evaluated.price
    return pb.ComparedPrice(
        provider=price.provider,
        model_id=price.model_id,
        identity=IDENTITIES[compared.identity],
        state=STATES[compared.state],
        pricing_source=LAYERS[price.layer],
        source_detail=answer.source_detail,
        freshness=FRESHNESS[answer.freshness],
        rate_card_id=price.card.card_id,
        delisted_time=timestamp(price.delisted_at) if price.delisted_at is not None else None,
        cost=cost_message(cost) if cost is not None else None,
    )


def _left_out(left_out: LeftOut) -> pb.LeftOut:
    return pb.LeftOut(
        provider=left_out.provider or None,
        model_id=left_out.model_id,
        reason=LEFT_OUT_REASONS[left_out.reason],
        message=left_out.message,
    )
