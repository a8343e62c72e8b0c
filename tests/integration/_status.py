"""Refused calls, whichever client made them."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclass(frozen=True, slots=True)
class Refusal:
    """The status of a call that failed, with what its details say."""

    code: str
    """The name of the status code, such as NOT_FOUND."""
    message: str
    fields: tuple[str, ...] = ()
    """The fields that BadRequest names."""
    reason: str = ""
    """Of ErrorInfo, and the two below."""
    domain: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    raw: str = ""
    """All that reached the client, to look for what must not be in it."""


async def refused(call: Awaitable[object]) -> Refusal:
    """What a call is refused with; fails if it is answered."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return refusal_of(raised.value)


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    trailing = error.trailing_metadata()
    raw = f"{error.code()} {error.details()} {list(trailing)!r} {error.debug_error_string()}"
    fields: tuple[str, ...] = ()
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # has all that is read of a call
    for detail in status.details if status else ():
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            fields += tuple(violation.field for violation in bad.field_violations)
        elif not detail.Unpack(info):
            raise AssertionError(f"an unexpected detail: {detail}")
    return Refusal(
        code=error.code().name,
        message=error.details() or "",
        fields=fields,
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        raw=raw,
    )
