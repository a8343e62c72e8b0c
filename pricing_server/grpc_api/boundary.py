"""The boundary that every call of the service crosses: who may call, and what errors become."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.errors import AdminTokenInvalid, AdminTokenRequired, InvalidArgument
from pricing_server.grpc_api.statuses import abort

_SERVICE = pb.DESCRIPTOR.services_by_name["PricingService"]
_ROLES = {
    f"/{_SERVICE.full_name}/{method.name}": method.GetOptions().Extensions[pb.required_role]
    for method in _SERVICE.methods
}
_BEARER = "bearer "
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

if TYPE_CHECKING:
    _Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    _Interceptor = grpc.aio.ServerInterceptor  # generic in the type stubs only


class _Undecodable:
    """A request that is not the method's message, such as one with broken UTF-8."""


class Boundary(_Interceptor):
    """Checks the role that the contract declares, and maps every error to a status.

    Methods of other services (reflection, health) pass as they are.
    """

    def __init__(self, admin_token: str | None) -> None:
        self._admin_token = admin_token.encode() if admin_token is not None else None

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """Wrap a method of the service."""
        handler = await continuation(handler_call_details)
        role = _ROLES.get(handler_call_details.method)
        if role is None:
            return handler
        sent = [
            value
            for name, value in handler_call_details.invocation_metadata or ()
            if name == "authorization"
        ]

        def check(request: Any) -> None:
            if role != pb.ROLE_READER:
                self._require_admin(sent)
            if isinstance(request, _Undecodable):
                raise InvalidArgument("request", "is not a message of this method in valid UTF-8")

        decode = handler.request_deserializer
        assert decode is not None, "generated methods decode their requests"

        def deserialize(data: bytes) -> Any:
            try:
                return decode(data)
            except DecodeError:
                return _Undecodable()

        if handler.response_streaming:
            # Its messages are bytes already, made once for all streams.
            return grpc.unary_stream_rpc_method_handler(
                _guarded(handler.unary_stream, check), request_deserializer=deserialize
            )
        return grpc.unary_unary_rpc_method_handler(
            _guarded(handler.unary_unary, check),
            request_deserializer=deserialize,
            response_serializer=handler.response_serializer,
        )

    def _require_admin(self, sent: Sequence[str | bytes]) -> None:
        if self._admin_token is None:
            return  # The server is open, and listens on loopback only.
        if len(sent) > 1:
            # Whoever checked one of them on the way may not have meant the other.
            raise AdminTokenInvalid("the call carries more than one 'authorization'")
        authorization = sent[0] if sent else None
        if not isinstance(authorization, str) or not authorization.lower().startswith(_BEARER):
            raise AdminTokenRequired(
                "this method needs the admin token: send metadata 'authorization: Bearer <token>'"
            )
        token = authorization[len(_BEARER) :].strip().encode()
        if not hmac.compare_digest(token, self._admin_token):
            raise AdminTokenInvalid("the bearer token is not the configured admin token")


def _guarded(method: Any, check: Callable[[Any], None]) -> Any:
    async def call(request: Any, context: Any) -> Any:
        # grpc's own abort raises a bare exception, so it stays outside the try.
        try:
            check(request)
            return await method(request, context)
        except Exception as error:
            fault = error
        with suppress(grpc.aio.InternalError):  # The caller has gone; nobody is there to be told.
            await abort(context, fault)

    return call
