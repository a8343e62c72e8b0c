"""The boundary, where the caller has gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import grpc

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.errors import DatabaseUnavailable
from pricing_server.grpc_api.boundary import Boundary


@dataclass
class Gone:
    """The context of a call whose caller has hung up."""

    asked: int = 0

    async def abort(self, *status: Any) -> None:
        self.asked += 1
        raise grpc.aio.InternalError("Failed ExecuteBatch")


@dataclass
class Call:
    """What an interceptor is told of a call."""

    method: str = "/llmpricing.v1.PricingService/GetPricing"
    invocation_metadata: tuple[Any, ...] = ()


async def test_a_failure_that_nobody_is_there_to_be_told_is_no_fault_of_the_server() -> None:
    async def method(request: Any, context: Any) -> Any:
        raise DatabaseUnavailable

    async def continuation(call: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            method, request_deserializer=pb.GetPricingRequest.FromString
        )

    handler = await Boundary({}).intercept_service(continuation, cast("Any", Call()))
    context = Gone()
    await cast("Any", handler).unary_unary(pb.GetPricingRequest(), context)
    assert context.asked == 1
