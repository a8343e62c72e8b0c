"""Errors as statuses with details: the one place where they cross the wire.

A status travels in headers, twice: as text, and with its details in base64. gRPC takes 8 KiB
of headers, and answers RESOURCE_EXHAUSTED in the place of a status that does not fit.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Final

import grpc
import structlog
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server import errors
from pricing_server.lookup.price import Head

DOMAIN = "llmpricing"

MAX_VALUE_BYTES: Final = 512
"""Of a name in ErrorInfo.metadata, in UTF-8; a longer one is cut and ends in "…"."""

MAX_NEAR_BYTES: Final = 1024
"""Of all near matches together; those that do not fit are left out whole."""

MAX_MESSAGE: Final = 1_000
"""Characters of a message, should one ever be long."""

log = structlog.get_logger(__name__)


def status_of(error: Exception) -> status_pb2.Status:
    """The status a caller gets. An error that is none of ours stays in the log."""
    match error:
        case errors.InvalidArgument():
            violation = error_details_pb2.BadRequest.FieldViolation(
                field=error.field, description=error.description
            )
            detail = error_details_pb2.BadRequest(field_violations=[violation])
            return _status(code_pb2.INVALID_ARGUMENT, str(error), detail)
        case errors.ModelNotFound():
            return _with_reason(
                code_pb2.NOT_FOUND,
                error,
                pb.ERROR_REASON_MODEL_NOT_FOUND,
                {
                    "model_id": _cut(error.model_id),
                    "provider": _cut(error.provider or ""),
                    "near_matches": _near(f"{at}:{name}" for at, name in error.near_matches),
                },
            )
        case errors.ProviderNotFound():
            return _with_reason(
                code_pb2.NOT_FOUND,
                error,
                pb.ERROR_REASON_PROVIDER_NOT_FOUND,
                {"provider": _cut(error.provider), "near_matches": _near(error.near_matches)},
            )
        case errors.SourceNotFound():
            return _with_reason(
                code_pb2.NOT_FOUND,
                error,
                pb.ERROR_REASON_SOURCE_NOT_FOUND,
                {"provider": _cut(error.source), "known": ", ".join(error.known)},
            )
        case errors.SyncRunNotFound():
            return _with_reason(
                code_pb2.NOT_FOUND,
                error,
                pb.ERROR_REASON_SYNC_RUN_NOT_FOUND,
                {"sync_run_id": _cut(error.sync_run_id)},
            )
        case errors.HeldChangeNotFound():
            return _with_reason(
                code_pb2.NOT_FOUND,
                error,
                pb.ERROR_REASON_HELD_CHANGE_NOT_FOUND,
                {"held_change_id": _cut(error.held_change_id)},
            )
        case errors.HeldChangeNotOpen():
            return _with_reason(
                code_pb2.FAILED_PRECONDITION,
                error,
                pb.ERROR_REASON_HELD_CHANGE_NOT_OPEN,
                {"held_change_id": error.held_change_id, "status": error.status},
            )
        case errors.KeyMissing():
            return _with_reason(
                code_pb2.FAILED_PRECONDITION,
                error,
                pb.ERROR_REASON_KEY_MISSING,
                {"provider": error.source, "variable": error.variable},
            )
        case errors.SyncInProgress():
            return _with_reason(
                code_pb2.ABORTED,
                error,
                pb.ERROR_REASON_SYNC_IN_PROGRESS,
                {"provider": error.source, "sync_run_id": str(error.sync_run_id or "")},
            )
        case errors.AdminTokenRequired():
            return _with_reason(
                code_pb2.PERMISSION_DENIED, error, pb.ERROR_REASON_ADMIN_TOKEN_REQUIRED
            )
        case errors.AdminTokenInvalid():
            return _with_reason(
                code_pb2.PERMISSION_DENIED, error, pb.ERROR_REASON_ADMIN_TOKEN_INVALID
            )
        case errors.DatabaseUnavailable():
            return _with_reason(code_pb2.UNAVAILABLE, error, pb.ERROR_REASON_DATABASE_UNAVAILABLE)
        case errors.RevisionNotReached():
            return _with_reason(
                code_pb2.UNAVAILABLE,
                error,
                pb.ERROR_REASON_REVISION_NOT_REACHED,
                {
                    "revision": "" if error.revision is None else str(error.revision),
                    "min_revision": str(error.min_revision),
                },
            )
        case errors.RunNotRevertible():
            return _with_reason(
                code_pb2.FAILED_PRECONDITION,
                error,
                pb.ERROR_REASON_RUN_NOT_REVERTIBLE,
                {"sync_run_id": error.sync_run_id, "status": error.status},
            )
        case errors.OverrideNotFound():
            return _with_reason(
                code_pb2.NOT_FOUND,
                error,
                pb.ERROR_REASON_OVERRIDE_NOT_FOUND,
                {"provider": _cut(error.provider), "model_id": _cut(error.model_id)},
            )
        case errors.ModelNotPriced():
            return _with_reason(
                code_pb2.FAILED_PRECONDITION,
                error,
                pb.ERROR_REASON_MODEL_NOT_PRICED,
                {
                    "provider": _cut(error.provider),
                    "model_id": _cut(error.model_id),
                    "state": error.state,
                },
            )
        case errors.RulesUnknown():
            return _with_reason(
                code_pb2.FAILED_PRECONDITION,
                error,
                pb.ERROR_REASON_RULES_UNKNOWN,
                {"rules": str(error.rules), "newest": str(error.newest)},
            )
        case errors.BatchTooLarge():
            return _with_reason(code_pb2.RESOURCE_EXHAUSTED, error, pb.ERROR_REASON_BATCH_TOO_LARGE)
        case errors.RevisionCompacted():
            return _with_reason(
                code_pb2.OUT_OF_RANGE,
                error,
                pb.ERROR_REASON_REVISION_COMPACTED,
                {
                    "after_revision": str(error.after_revision),
                    "oldest_revision": str(error.oldest_revision),
                    "epoch": error.epoch,
                },
            )
        case errors.EpochChanged():
            return _with_reason(
                code_pb2.FAILED_PRECONDITION,
                error,
                pb.ERROR_REASON_EPOCH_CHANGED,
                {"revision": str(error.head.revision), "epoch": error.head.epoch},
            )
        case errors.SlowReader():
            return _with_reason(
                code_pb2.RESOURCE_EXHAUSTED,
                error,
                pb.ERROR_REASON_SLOW_READER,
                _resume(error.resume),
            )
        case errors.TooManyStreams():
            return _with_reason(
                code_pb2.RESOURCE_EXHAUSTED,
                error,
                pb.ERROR_REASON_TOO_MANY_STREAMS,
                {"limit": str(error.limit)},
            )
        case errors.ShuttingDown():
            return _with_reason(
                code_pb2.UNAVAILABLE,
                error,
                pb.ERROR_REASON_SHUTTING_DOWN,
                _resume(error.resume),
            )
        case _:
            reference = uuid.uuid4().hex[:12]
            log.error("request.broken", reference=reference, exc_info=error)
            return _with_reason(
                code_pb2.INTERNAL,
                Exception(f"internal fault, reference {reference} in the server's log"),
                pb.ERROR_REASON_INTERNAL,
                {"reference": reference},
            )


async def abort(context: grpc.aio.ServicerContext, error: Exception) -> None:  # type: ignore[type-arg]
    """End a call with the status of an error. Never returns: grpc raises."""
    status = rpc_status.to_status(status_of(error))
    await context.abort(status.code, status.details, status.trailing_metadata)


def _resume(head: Head | None) -> dict[str, str]:
    if head is None:
        return {}
    return {"resume_revision": str(head.revision), "epoch": head.epoch}


def _with_reason(
    code: code_pb2.Code.ValueType,
    error: Exception,
    reason: pb.ErrorReason.ValueType,
    metadata: Mapping[str, str] | None = None,
) -> status_pb2.Status:
    detail = error_details_pb2.ErrorInfo(
        reason=pb.ErrorReason.Name(reason).removeprefix("ERROR_REASON_"),
        domain=DOMAIN,
        metadata={key: value for key, value in (metadata or {}).items() if value},
    )
    return _status(code, str(error), detail)


def _status(code: int, message: str, detail: Message) -> status_pb2.Status:
    packed = Any()
    packed.Pack(detail)
    return status_pb2.Status(code=code, message=message[:MAX_MESSAGE], details=[packed])


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
