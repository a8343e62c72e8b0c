"""The boundary: who may call, and callers who have gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.errors import DatabaseUnavailable
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


async def called(method: str, token: str | None, roles: dict[str, pb.Role.ValueType]) -> str:
    """What comes of a call: "answered", or why it is refused."""
    refused: list[Any] = []

    async def continuation(call: Any) -> Any:
        async def answer(request: Any, context: Any) -> str:
            return "answered"

        return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=bytes)

    class Context:
        async def abort(self, code: Any, message: str, trailing: Any) -> None:
            info = error_details_pb2.ErrorInfo()
            status = status_pb2.Status.FromString(dict(trailing)["grpc-status-details-bin"])
            assert status.details[0].Unpack(info)
            refused.append(f"{code.name}/{info.reason}")
            raise grpc.aio.InternalError

    sent = () if token is None else (("authorization", f"Bearer {token}"),)
    call = Call(f"/llmpricing.v1.PricingService/{method}", sent)
    handler = await Boundary(roles).intercept_service(continuation, cast("Any", call))
    answer = await cast("Any", handler).unary_unary(b"", Context())
    return str(answer or refused[0])


ROLES: dict[str, pb.Role.ValueType] = {
    "reads": pb.ROLE_READER,
    "curates": pb.ROLE_CURATOR,
    "administers": pb.ROLE_ADMIN,
}


@pytest.mark.parametrize(
    ("method", "allowed"),
    [
        ("GetPricing", {None, "wrong", "reads", "curates", "administers"}),
        ("ResolveHeldChange", {"curates", "administers"}),
        ("SetPriceOverride", {"curates", "administers"}),
        ("ClearPriceOverride", {"curates", "administers"}),
        ("SyncProvider", {"administers"}),
        ("RevertSyncRun", {"administers"}),
    ],
)
async def test_a_role_includes_those_below_it(method: str, allowed: set[str | None]) -> None:
    for token in (None, "wrong", *ROLES):
        told = await called(method, token, ROLES)
        if token in allowed:
            assert told == "answered"
        elif token is None:
            assert told == "UNAUTHENTICATED/TOKEN_REQUIRED"
        elif token not in ROLES:
            assert told == "UNAUTHENTICATED/TOKEN_INVALID"
        else:
            assert told == "PERMISSION_DENIED/ROLE_MISSING"


async def test_without_any_token_the_server_is_open() -> None:
    assert await called("SyncProvider", None, {}) == "answered"
