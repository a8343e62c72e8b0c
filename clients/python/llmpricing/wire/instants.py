"""Instants as timestamps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from llmpricing.wire.fault import WireFault

_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(instant: datetime) -> Timestamp:
    """An instant as a message."""
    message = Timestamp()
    message.FromDatetime(instant)
    return message


def instant_of(message: Timestamp, field: str) -> datetime:
    """An instant between 1970 and 9998, to the microsecond. Raises WireFault."""
    if not 0 <= message.nanos < 10**9 or message.nanos % 1000:
        raise WireFault(field, "is not a time in whole microseconds")
    try:
        instant = _FIRST + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)
    except OverflowError:
        raise WireFault(field, "is not between 1970 and 9998") from None
    if not 1970 <= instant.year < 9_999:
        raise WireFault(field, "is not between 1970 and 9998")
    return instant


def point_in_time(message: Timestamp, field: str) -> datetime:
    """An instant that prices are asked for. Clocks of callers may be finer than a microsecond;
    nothing here begins or ends within one. Raises WireFault.
    """
    whole = Timestamp(seconds=message.seconds, nanos=message.nanos - message.nanos % 1000)
    return instant_of(whole, field)
