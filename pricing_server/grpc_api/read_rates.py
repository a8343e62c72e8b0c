"""Rates in requests as domain objects: the inverse of `convert`, for what callers may write.

Nothing is guessed: what the contract does not know, or a price that is not exactly one, is
refused with the path of its field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    ALWAYS,
    Comparison,
    Conditions,
    DayOfWeek,
    Rate,
    Threshold,
    ThresholdScope,
    UtcWindow,
)
from llmpricing.units import PricingFormat, normalize_to_per_token, parse_price
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.errors import InvalidArgument
from pricing_server.grpc_api import convert_rates
from pricing_server.grpc_api.requests import check_name
from pricing_server.providers.source import MAX_RATES

T = TypeVar("T")

MAX_CONTEXT: Final = 16
"""Keys of a rate's context. The bundled catalogue has up to two."""

METERS: Final[Mapping[int, Meter]] = {
    number: meter for meter, number in convert_rates.METERS.items()
}
DECIMAL: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
"""How the contract writes exact numbers."""

_COMPARISONS: Final[Mapping[int, Comparison]] = {
    number: one for one, number in convert_rates.COMPARISONS.items()
}
_SCOPES: Final[Mapping[int, ThresholdScope]] = {
    number: scope for scope, number in convert_rates.SCOPES.items()
}
_DAYS: Final[Mapping[int, DayOfWeek]] = {number: day for day, number in convert_rates.DAYS.items()}
_CLOCK_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)


def price_of(field: str, text: str, unit: PricingFormat | None = None) -> Decimal:
    """A price as the contract writes money: in USD per one, or per token if `unit` is given.

    Raises InvalidArgument.
    """
    if not DECIMAL.fullmatch(text):
        raise InvalidArgument(field, "is not a price: digits with at most one point")
    try:
        return parse_price(text) if unit is None else normalize_to_per_token(text, unit)
    except ValueError as error:
        raise InvalidArgument(field, f"is not a price: {error}") from None


def rates_of(messages: Sequence[pb.Rate], field: str = "rates") -> list[Rate]:
    """The rates of a card in their order. Raises InvalidArgument."""
    if len(messages) > MAX_RATES:
        raise InvalidArgument(field, f"has more than {MAX_RATES} rates")
    rates: list[Rate] = []
    known: set[object] = set()
    for at, message in enumerate(messages):
        rate = rate_of(message, f"{field}[{at}]")
        if rate.key in known:
            raise InvalidArgument(f"{field}[{at}]", "repeats a meter under the same conditions")
        known.add(rate.key)
        rates.append(rate)
    return rates


def rate_of(message: pb.Rate, field: str) -> Rate:
    """A rate; `per` left out is 1. Raises InvalidArgument."""
    meter = known_value(message.meter, METERS, f"{field}.meter")
    price = price_of(f"{field}.price", message.price)
    if message.per < 0:
        raise InvalidArgument(f"{field}.per", "is negative")
    when = conditions_of(message.conditions, f"{field}.conditions")
    if message.minimum < 0:
        raise InvalidArgument(f"{field}.minimum", "is negative")
    try:
        return Rate(meter, price, when, per=message.per or 1, minimum=message.minimum)
    except ValueError as error:
        raise InvalidArgument(field, f"is no rate: {error}") from None


def conditions_of(message: pb.Conditions, field: str) -> Conditions:
    """Conditions; of an empty message those that always hold. Raises InvalidArgument."""
    check_context(f"{field}.context", message.context)
    threshold = window = start = end = None
    if message.HasField("threshold"):
        threshold = _threshold(message.threshold, f"{field}.threshold")
    if message.HasField("utc_window"):
        window = _utc_window(message.utc_window, f"{field}.utc_window")
    if message.HasField("effective_from"):
        start = instant_of(message.effective_from, f"{field}.effective_from")
    if message.HasField("effective_until"):
        end = instant_of(message.effective_until, f"{field}.effective_until")
        if start is not None and start >= end:
            raise InvalidArgument(f"{field}.effective_until", "is not after effective_from")
    when = Conditions(threshold, tuple(sorted(message.context.items())), window, start, end)
    return ALWAYS if when == ALWAYS else when


def check_context(field: str, context: Mapping[str, str]) -> None:
    """What a request says of itself. Raises InvalidArgument."""
    if len(context) > MAX_CONTEXT:
        raise InvalidArgument(field, f"has more than {MAX_CONTEXT} keys")
    for key, value in context.items():
        check_name(field, key)
        if value:  # An empty one is a value as any other.
            check_name(field, value)


def instant_of(message: Timestamp, field: str) -> datetime:
    """An instant between 1970 and 9998, to the microsecond. Raises InvalidArgument."""
    if not 0 <= message.nanos < 10**9 or message.nanos % 1000:
        raise InvalidArgument(field, "is not a time in whole microseconds")
    try:
        instant = _FIRST + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)
    except OverflowError:
        raise InvalidArgument(field, "is not between 1970 and 9998") from None
    if not 1970 <= instant.year < 9_999:
        raise InvalidArgument(field, "is not between 1970 and 9998")
    return instant


def point_in_time(message: Timestamp, field: str) -> datetime:
    """An instant that prices are asked for. Clocks of callers may be finer than a microsecond;
    nothing here begins or ends within one. Raises InvalidArgument.
    """
    whole = Timestamp(seconds=message.seconds, nanos=message.nanos - message.nanos % 1000)
    return instant_of(whole, field)


def _threshold(message: pb.Threshold, field: str) -> Threshold:
    if message.quantity < 0:
        raise InvalidArgument(f"{field}.quantity", "is negative")
    return Threshold(
        meter=known_value(message.meter, METERS, f"{field}.meter"),
        comparison=known_value(message.comparison, _COMPARISONS, f"{field}.comparison"),
        quantity=message.quantity,
        scope=known_value(message.scope, _SCOPES, f"{field}.scope"),
    )


def _utc_window(message: pb.UtcWindow, field: str) -> UtcWindow:
    start, end = _minute(message.start, f"{field}.start"), _minute(message.end, f"{field}.end")
    days = [
        known_value(day, _DAYS, f"{field}.days[{position}]")
        for position, day in enumerate(message.days)
    ]
    if len(set(days)) != len(days):
        raise InvalidArgument(f"{field}.days", "states a day twice")
    if start == end and len(days) in (0, len(_DAYS)):
        raise InvalidArgument(f"{field}.end", "is the start: no window, or the whole day")
    return UtcWindow(start, end, tuple(days))


def known_value(number: int, known: Mapping[int, T], field: str) -> T:
    """What a number of an enum stands for. Raises InvalidArgument."""
    if number not in known:
        raise InvalidArgument(
            field, "is missing" if number == 0 else f"has the unknown value {number}"
        )
    return known[number]


def _minute(text: str, field: str) -> int:
    matched = _CLOCK_TIME.fullmatch(text)
    if matched is None:
        raise InvalidArgument(field, "is not a time of day such as 09:30")
    return int(matched[1]) * 60 + int(matched[2])
