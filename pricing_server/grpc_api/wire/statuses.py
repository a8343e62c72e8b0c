"""Errors as statuses with details: the one place where they cross the wire.

A status travels in headers, twice: as text, and with its details in base64. gRPC takes 8 KiB
of headers, and answers RESOURCE_EXHAUSTED in the place of a status that does not fit.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc
import structlog
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain import errors
from pricing_server.domain.head import Head

DOMAIN: Final = "llmpricing"

MAX_VALUE_BYTES: Final = 512
"""Of a name in ErrorInfo.metadata, in UTF-8; a longer one is cut and ends in "…"."""

MAX_NEAR_BYTES: Final = 1024
"""Of all near matches together; those that do not fit are left out whole."""

MAX_MESSAGE: Final = 1_000
"""Characters of a message, should one ever be long."""

E = TypeVar("E", bound=errors.PricingError)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Row:
    """What an error becomes. Metadata that is empty is left out."""

    code: code_pb2.Code.ValueType
    reason: pb.ErrorReason.ValueType
    metadata: Callable[[Any], Mapping[str, str]]


def status_of(error: Exception) -> status_pb2.Status:
    """The status a caller gets. A foreign error stays in the log."""
    row = next((_ROWS[kind] for kind in type(error).__mro__ if kind in _ROWS), None)
    if row is None:
        return _internal(error)
    info = _error_info(row.reason, row.metadata(error))
    return _status(row.code, str(error), info, *_further_details(error))


async def abort(context: grpc.aio.ServicerContext, error: Exception) -> None:  # type: ignore[type-arg]
    """End a call with the status of an error. Never returns: grpc raises."""
    status = rpc_status.to_status(status_of(error))
    await context.abort(status.code, status.details, status.trailing_metadata)


def result_error(error: errors.PricingError) -> pb.ResultError:
    """What a single call would have failed with, in the place of a batch's result."""
    status = status_of(error)
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return pb.ResultError(
        code=status.code,
        message=status.message,
        reason=pb.ErrorReason.Value(f"ERROR_REASON_{info.reason}"),
        metadata=info.metadata,
        field=error.field if isinstance(error, errors.InvalidArgument) else None,
    )


def _further_details(error: Exception) -> Iterator[Message]:
    if isinstance(error, errors.InvalidArgument):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=error.description
        )
        yield error_details_pb2.BadRequest(field_violations=[violation])


def _internal(error: Exception) -> status_pb2.Status:
    reference = uuid.uuid4().hex[:12]
    log.error("request.broken", reference=reference, exc_info=error)
    message = f"internal fault, reference {reference} in the server's log"
    info = _error_info(pb.ERROR_REASON_INTERNAL, {"reference": reference})
    return _status(code_pb2.INTERNAL, message, info)


def _error_info(
    reason: pb.ErrorReason.ValueType, metadata: Mapping[str, str]
) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(
        reason=pb.ErrorReason.Name(reason).removeprefix("ERROR_REASON_"),
        domain=DOMAIN,
        metadata={key: value for key, value in metadata.items() if value},
    )


def _status(code: int, message: str, *details: Message) -> status_pb2.Status:
    status = status_pb2.Status(code=code, message=message[:MAX_MESSAGE])
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _cut(name: str) -> str:
    encoded = name.encode()
    if len(encoded) <= MAX_VALUE_BYTES:
        return name
    return encoded[: MAX_VALUE_BYTES - 3].decode(errors="ignore") + "…"


def _near(names: Iterable[str]) -> str:
    found, left = [], MAX_NEAR_BYTES
    for name in names:
        left -= len(name.encode()) + 2
        if left >= 0:
            found.append(name)
    return ", ".join(found)


def _resume(head: Head | None) -> Mapping[str, str]:
    if head is None:
        return {}
    return {"resume_revision": str(head.revision), "epoch": head.epoch}


def _nothing(_error: object) -> Mapping[str, str]:
    return {}


def _row(
    kind: type[E],
    code: code_pb2.Code.ValueType,
    reason: pb.ErrorReason.ValueType,
    metadata: Callable[[E], Mapping[str, str]] = _nothing,
) -> tuple[type, _Row]:
    return kind, _Row(code, reason, metadata)


_ROWS: Final[Mapping[type, _Row]] = dict(
    (
        _row(
            errors.InvalidArgument,
            code_pb2.INVALID_ARGUMENT,
            pb.ERROR_REASON_INVALID_ARGUMENT,
            lambda error: {"field": _cut(error.field)},
        ),
        _row(
            errors.TokenRequired,
            code_pb2.UNAUTHENTICATED,
            pb.ERROR_REASON_TOKEN_REQUIRED,
            lambda error: {"required_role": error.required_role},
        ),
        _row(
            errors.TokenInvalid,
            code_pb2.UNAUTHENTICATED,
            pb.ERROR_REASON_TOKEN_INVALID,
            lambda error: {"required_role": error.required_role},
        ),
        _row(
            errors.RoleMissing,
            code_pb2.PERMISSION_DENIED,
            pb.ERROR_REASON_ROLE_MISSING,
            lambda error: {"required_role": error.required_role, "role": error.role},
        ),
        _row(
            errors.ModelNotFound,
            code_pb2.NOT_FOUND,
            pb.ERROR_REASON_MODEL_NOT_FOUND,
            lambda error: {
                "model_id": _cut(error.model_id),
                "provider": _cut(error.provider or ""),
                "near_matches": _near(f"{at}:{name}" for at, name in error.near_matches),
            },
        ),
        _row(
            errors.ProviderNotFound,
            code_pb2.NOT_FOUND,
            pb.ERROR_REASON_PROVIDER_NOT_FOUND,
            lambda error: {
                "provider": _cut(error.provider),
                "near_matches": _near(error.near_matches),
            },
        ),
        _row(
            errors.SourceNotFound,
            code_pb2.NOT_FOUND,
            pb.ERROR_REASON_SOURCE_NOT_FOUND,
            lambda error: {"source": _cut(error.source), "known": ", ".join(error.known)},
        ),
        _row(
            errors.SyncRunNotFound,
            code_pb2.NOT_FOUND,
            pb.ERROR_REASON_SYNC_RUN_NOT_FOUND,
            lambda error: {"sync_run_id": _cut(error.sync_run_id)},
        ),
        _row(
            errors.HeldChangeNotFound,
            code_pb2.NOT_FOUND,
            pb.ERROR_REASON_HELD_CHANGE_NOT_FOUND,
            lambda error: {"held_change_id": _cut(error.held_change_id)},
        ),
        _row(
            errors.OverrideNotFound,
            code_pb2.NOT_FOUND,
            pb.ERROR_REASON_OVERRIDE_NOT_FOUND,
            lambda error: {"provider": _cut(error.provider), "model_id": _cut(error.model_id)},
        ),
        _row(
            errors.ConfirmRequired,
            code_pb2.FAILED_PRECONDITION,
            pb.ERROR_REASON_CONFIRM_REQUIRED,
            lambda error: {
                "provider": _cut(error.provider),
                "model_id": _cut(error.model_id),
                "price": error.price,
                "override_price": _cut(error.override_price),
                "stated_price": _cut(error.stated_price),
            },
        ),
        _row(
            errors.KeyMissing,
            code_pb2.FAILED_PRECONDITION,
            pb.ERROR_REASON_KEY_MISSING,
            lambda error: {"source": error.source, "variable": error.variable},
        ),
        _row(
            errors.RunNotRevertible,
            code_pb2.FAILED_PRECONDITION,
            pb.ERROR_REASON_RUN_NOT_REVERTIBLE,
            lambda error: {"sync_run_id": error.sync_run_id, "status": error.status},
        ),
        _row(
            errors.HeldChangeNotOpen,
            code_pb2.FAILED_PRECONDITION,
            pb.ERROR_REASON_HELD_CHANGE_NOT_OPEN,
            lambda error: {"held_change_id": error.held_change_id, "status": error.status},
        ),
        _row(
            errors.ModelNotPriced,
            code_pb2.FAILED_PRECONDITION,
            pb.ERROR_REASON_MODEL_NOT_PRICED,
            lambda error: {
                "provider": _cut(error.provider),
                "model_id": _cut(error.model_id),
                "state": error.state,
            },
        ),
        _row(
            errors.RulesUnknown,
            code_pb2.FAILED_PRECONDITION,
            pb.ERROR_REASON_RULES_UNKNOWN,
            lambda error: {"rules": str(error.rules), "newest": str(error.newest)},
        ),
        _row(
            errors.EpochChanged,
            code_pb2.FAILED_PRECONDITION,
            pb.ERROR_REASON_EPOCH_CHANGED,
            lambda error: {"revision": str(error.head.revision), "epoch": error.head.epoch},
        ),
        _row(
            errors.SyncInProgress,
            code_pb2.ABORTED,
            pb.ERROR_REASON_SYNC_IN_PROGRESS,
            lambda error: {"source": error.source, "sync_run_id": str(error.sync_run_id or "")},
        ),
        _row(
            errors.RevisionCompacted,
            code_pb2.OUT_OF_RANGE,
            pb.ERROR_REASON_REVISION_COMPACTED,
            lambda error: {
                "after_revision": str(error.after_revision),
                "oldest_revision": str(error.oldest_revision),
                "epoch": error.epoch,
            },
        ),
        _row(
            errors.SlowReader,
            code_pb2.RESOURCE_EXHAUSTED,
            pb.ERROR_REASON_SLOW_READER,
            lambda error: _resume(error.resume),
        ),
        _row(
            errors.TooManyStreams,
            code_pb2.RESOURCE_EXHAUSTED,
            pb.ERROR_REASON_TOO_MANY_STREAMS,
            lambda error: {"limit": str(error.limit)},
        ),
        _row(errors.BatchTooLarge, code_pb2.RESOURCE_EXHAUSTED, pb.ERROR_REASON_BATCH_TOO_LARGE),
        _row(
            errors.DatabaseUnavailable,
            code_pb2.UNAVAILABLE,
            pb.ERROR_REASON_DATABASE_UNAVAILABLE,
        ),
        _row(
            errors.RevisionNotReached,
            code_pb2.UNAVAILABLE,
            pb.ERROR_REASON_REVISION_NOT_REACHED,
            lambda error: {
                "revision": "" if error.revision is None else str(error.revision),
                "min_revision": str(error.min_revision),
            },
        ),
        _row(
            errors.ShuttingDown,
            code_pb2.UNAVAILABLE,
            pb.ERROR_REASON_SHUTTING_DOWN,
            lambda error: _resume(error.resume),
        ),
    )
)
