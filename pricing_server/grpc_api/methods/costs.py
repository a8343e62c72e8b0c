"""CalculateCost, BatchCalculateCost and ReplayReceipt."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.costs.costs import CostAnswer, CostRequest, Costs
from pricing_server.domain.errors import InvalidArgument, PricingError
from pricing_server.grpc_api.wire.costs import (
    PROOFS,
    cost_message,
    cost_response,
    cost_result,
    raw_used_of,
    receipt_of,
    used_of,
)
from pricing_server.grpc_api.wire.reads import read_as
from pricing_server.grpc_api.wire.requests import check_enum, check_name, optional_name, usage_of
from pricing_server.grpc_api.wire.results import check_size, fitting_results
from pricing_server.grpc_api.wire.statuses import result_error


async def calculate_cost(
    costs: Costs, request: pb.CalculateCostRequest
) -> pb.CalculateCostResponse:
    """Answer CalculateCost."""
    return cost_response(await costs.calculate(_request(request, request.read)), request.receipt)


async def batch_calculate_cost(
    costs: Costs, request: pb.BatchCalculateCostRequest
) -> pb.BatchCalculateCostResponse:
    """Answer BatchCalculateCost."""
    check_size("requests", request.requests)
    requests: list[CostRequest | PricingError] = []
    for each in request.requests:
        try:
            requests.append(_request(each, each.read if each.HasField("read") else request.read))
        except PricingError as error:
            requests.append(error)
    answers = await costs.calculate_all(requests)
    # In a thread, so that other calls go on while a thousand receipts are written out.
    return await asyncio.to_thread(_batch_response, answers, request.requests)


async def replay_receipt(
    costs: Costs, request: pb.ReplayReceiptRequest
) -> pb.ReplayReceiptResponse:
    """Answer ReplayReceipt."""
    receipt = receipt_of(request.receipt)
    cost = costs.replay(receipt, usage_of(request.usage))
    return pb.ReplayReceiptResponse(
        cost=cost_message(cost), price_proof=PROOFS[await costs.prove(receipt)]
    )


def _request(request: pb.CalculateCostRequest, read: pb.ReadOptions) -> CostRequest:
    check_enum("receipt", pb.ReceiptView, request.receipt)
    if request.receipt == pb.RECEIPT_VIEW_SIGNED:
        raise InvalidArgument("receipt", "cannot be signed: this server signs none yet")
    used = raw_used_of(request) if request.HasField("raw_usage") else used_of(request)
    named = used.read.model if used.read is not None else None
    model_id = check_name("model_id", request.model_id or named or "")
    asked = read_as(read).of(model_id, optional_name(request, "provider"))
    return CostRequest(asked, used)


def _batch_response(
    answers: Sequence[CostAnswer | PricingError], requests: Sequence[pb.CalculateCostRequest]
) -> pb.BatchCalculateCostResponse:
    def result(
        answer: CostAnswer | PricingError, request: pb.CalculateCostRequest
    ) -> pb.CostResult:
        if isinstance(answer, PricingError):
            return pb.CostResult(error=result_error(answer))
        return cost_result(answer, request.receipt)

    return pb.BatchCalculateCostResponse(
        results=fitting_results(
            map(result, answers, requests), lambda error: pb.CostResult(error=error)
        )
    )
