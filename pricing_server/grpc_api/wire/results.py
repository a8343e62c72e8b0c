"""What batches have in common: their size, and an error in the place of a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Final, Protocol, TypeVar

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.errors import BatchTooLarge, InvalidArgument
from pricing_server.grpc_api.wire.statuses import result_error

MAX_BATCH: Final = 1_000

MAX_PART_BYTES: Final = 3 * 1024 * 1024
"""Of what is repeated in one answer, which must stay below gRPC's limit of 4 MiB."""


class Part(Protocol):
    """A message of which an answer has many."""

    def ByteSize(self) -> int:
        """Its size on the wire."""


P = TypeVar("P", bound=Part)


def check_size(field: str, requests: Sized) -> None:
    """A batch that can be answered. Raises InvalidArgument."""
    if not requests:
        raise InvalidArgument(field, "are empty")
    if len(requests) > MAX_BATCH:
        raise InvalidArgument(field, f"are more than {MAX_BATCH}")


def fitting_results(results: Iterable[P], failed: Callable[[pb.ResultError], P]) -> Iterator[P]:
    """The results, and errors in the place of those that do not fit in MAX_PART_BYTES."""
    size = 0
    for result in results:
        size += result.ByteSize()
        if size > MAX_PART_BYTES:
            size -= result.ByteSize()
            result = failed(result_error(BatchTooLarge()))
            size += result.ByteSize()
        yield result


def fitting(parts: Iterable[P]) -> list[P]:
    """The first parts that fit in MAX_PART_BYTES together; at least one."""
    found: list[P] = []
    size = 0
    for part in parts:
        size += part.ByteSize() + 8
        if found and size > MAX_PART_BYTES:
            break
        found.append(part)
    return found
