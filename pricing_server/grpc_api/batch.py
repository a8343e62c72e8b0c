"""What batches have in common: their size, and an error in the place of a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Final, Protocol, TypeVar

from google.rpc import error_details_pb2

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.errors import BatchTooLarge, InvalidArgument, PricingError
from pricing_server.grpc_api.statuses import status_of

MAX_BATCH: Final = 1_000

MAX_BATCH_BYTES: Final = 3 * 1024 * 1024
"""Of the results in one answer, which must stay below gRPC's limit of 4 MiB."""


class Result(Protocol):
    """A message with a result or an error."""

    def ByteSize(self) -> int:
        """Its size on the wire."""


R = TypeVar("R", bound=Result)


def check_size(field: str, requests: Sized) -> None:
    """A batch that can be answered. Raises InvalidArgument."""
    if not requests:
        raise InvalidArgument(field, "are empty")
    if len(requests) > MAX_BATCH:
        raise InvalidArgument(field, f"are more than {MAX_BATCH}")


def result_error(error: PricingError) -> pb.ResultError:
    """What a single call would have failed with."""
    status = status_of(error)
    message = pb.ResultError(code=status.code, message=status.message)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    if status.details[0].Unpack(info):
        message.reason = pb.ErrorReason.Value(f"ERROR_REASON_{info.reason}")
        message.metadata.update(info.metadata)
    elif status.details[0].Unpack(bad):
        message.field = bad.field_violations[0].field
    return message


def fitting_results(results: Iterable[R], failed: Callable[[pb.ResultError], R]) -> Iterator[R]:
    """The results, and errors in the place of those that do not fit in MAX_BATCH_BYTES."""
    size = 0
    for result in results:
        size += result.ByteSize()
        if size > MAX_BATCH_BYTES:
            size -= result.ByteSize()
            result = failed(result_error(BatchTooLarge()))
            size += result.ByteSize()
        yield result
