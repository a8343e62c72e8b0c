"""Checks of what callers send. Each raises InvalidArgument with the path of the field."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from llmpricing import receipts
from llmpricing.names import name_fault
from llmpricing.rate_card import Rate
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire import enums, instants, quantities, rates
from llmpricing.wire.fault import WireFault
from pricing_server.domain.errors import InvalidArgument
from pricing_server.domain.price_change import SCHEDULER
from pricing_server.domain.source_listing import MAX_RATES

DEFAULT_PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 1_000
MAX_WHO: Final = 200
WHO: Final = "grpc"
"""Who a caller is that names nobody."""

P = ParamSpec("P")
T = TypeVar("T")


def checked(read: Callable[P, T]) -> Callable[P, T]:
    """`read` of what a caller sent: what is wrong with a message is an argument of the call."""

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except WireFault as fault:
            raise InvalidArgument(fault.field, fault.description) from None

    return reading


known_value = checked(enums.known_value)
instant_of = checked(instants.instant_of)
point_in_time = checked(instants.point_in_time)
usage_of = checked(quantities.usage_of)
price_of = checked(rates.price_of)
check_context = checked(rates.check_context)
cost_basis_of = checked(receipts.basis_of)
_rates_of = checked(rates.rates_of)


class EnumType(Protocol):
    """A generated enum."""

    def values(self) -> Sequence[int]:
        """The numbers that the contract knows."""


def rates_of(messages: Sequence[pb.Rate], field: str = "rates") -> list[Rate]:
    """The rates of a card in their order."""
    if len(messages) > MAX_RATES:
        raise InvalidArgument(field, f"has more than {MAX_RATES} rates")
    return _rates_of(messages, field)


def check_name(field: str, text: str) -> str:
    """A name that can be looked up."""
    if fault := name_fault(text):
        raise InvalidArgument(field, fault)
    return text


def optional_name(request: Any, field: str) -> str | None:
    """A name that may be absent."""
    return check_name(field, getattr(request, field)) if request.HasField(field) else None


def check_text(field: str, text: str, limit: int, *, default: str | None = None) -> str:
    """A line of text to keep; an empty one is `default`, or refused."""
    if not text.strip():
        if default is None or text:
            raise InvalidArgument(field, "is empty")
        return default
    if len(text) > limit:
        raise InvalidArgument(field, f"is over {limit} characters")
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise InvalidArgument(field, f"has a control character (U+{ord(character):04X})")
    return text


def triggered_by(text: str) -> str:
    """Who asks for a run, as the caller types it."""
    if text:
        check_name("triggered_by", text)
    if len(text) > MAX_WHO:
        raise InvalidArgument("triggered_by", f"is over {MAX_WHO} characters")
    if text == SCHEDULER:
        # When a source is due goes by it.
        raise InvalidArgument("triggered_by", "is kept for the scheduler's own runs")
    return text or WHO


def check_enum(field: str, enum: EnumType, number: int) -> int:
    """A number that the contract knows: enums are open on the wire."""
    if number not in enum.values():
        raise InvalidArgument(field, f"has the unknown value {number}")
    return number


def check_page_size(page_size: int) -> int:
    """How many rows to answer."""
    if page_size < 0:
        raise InvalidArgument("page_size", "is negative")
    return min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def id_of(text: str) -> int | None:
    """An id as a number; None for a text that was never issued as one."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
