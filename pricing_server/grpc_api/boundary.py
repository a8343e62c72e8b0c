"""The boundary that every call of the service crosses: who may call, and what errors become."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.errors import InvalidArgument, RoleMissing, TokenInvalid, TokenRequired
from pricing_server.grpc_api.wire.statuses import abort

_SERVICE: Final = pb.DESCRIPTOR.services_by_name["PricingService"]
_ROLES: Final = {
    f"/{_SERVICE.full_name}/{method.name}": method.GetOptions().Extensions[pb.required_role]
    for method in _SERVICE.methods
}
_BEARER: Final = "bearer "
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

    def __init__(self, roles: Mapping[str, pb.Role.ValueType]) -> None:
        """`roles` are those of the bearer tokens. Without any the server is open: it listens on
        loopback only, and everybody may do everything."""
        self._roles = [(token.encode(), role) for token, role in roles.items()]

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """Wrap a method of the service."""
        handler = await continuation(handler_call_details)
        required = _ROLES.get(handler_call_details.method)
        if required is None:
            return handler
        sent = [
            value
            for name, value in handler_call_details.invocation_metadata or ()
            if name == "authorization"
        ]

        def check(request: Any) -> None:
            self._check_role(required, sent)
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

    def _check_role(self, required: pb.Role.ValueType, sent: list[str | bytes]) -> None:
        """Raises TokenRequired, TokenInvalid, RoleMissing."""
        if not self._roles or required == pb.ROLE_READER:
            return
        name = pb.Role.Name(required)
        if len(sent) > 1:
            # Whoever checked one of them on the way may not have meant the other.
            raise TokenInvalid(name, "the call carries more than one 'authorization'")
        authorization = sent[0] if sent else None
        if not isinstance(authorization, str) or not authorization.lower().startswith(_BEARER):
            raise TokenRequired(name)
        role = _role_of(authorization[len(_BEARER) :].strip().encode(), self._roles)
        if role is None:
            raise TokenInvalid(name)
        if role < required:
            raise RoleMissing(name, pb.Role.Name(role))


def _role_of(
    token: bytes, roles: Iterable[tuple[bytes, pb.Role.ValueType]]
) -> pb.Role.ValueType | None:
    # All are compared, so that the time says nothing of which one it is.
    found = [role for known, role in roles if hmac.compare_digest(token, known)]
    return found[0] if found else None


def _guarded(method: Any, check: Callable[[Any], None]) -> Any:
    async def call(request: Any, context: Any) -> Any:
        # grpc's own abort raises a bare exception, so it stays outside the try.
        try:
            check(request)
            return await method(request, context)
        except Exception as error:
            fault = error
        with suppress(grpc.aio.InternalError):  # The caller has gone; nobody waits for it.
            await abort(context, fault)

    return call
