"""Checks of what callers send, and page tokens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import unicodedata
from collections.abc import Sequence
from typing import Final, Protocol

from pricing_server.errors import InvalidArgument
from pricing_server.names import name_fault

DEFAULT_PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 1_000


class EnumType(Protocol):
    """A generated enum."""

    def values(self) -> Sequence[int]:
        """The numbers that the contract knows."""


def check_name(field: str, text: str) -> str:
    """A name that can be looked up. Raises InvalidArgument."""
    if fault := name_fault(text):
        raise InvalidArgument(field, fault)
    return text


def check_text(field: str, text: str, limit: int, *, default: str | None = None) -> str:
    """A line of text to keep; an empty one is `default`, or refused. Raises InvalidArgument."""
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


def check_enum(field: str, enum: EnumType, number: int) -> int:
    """A number that the contract knows: enums are open on the wire. Raises InvalidArgument."""
    if number not in enum.values():
        raise InvalidArgument(field, f"has the unknown value {number}")
    return number


def check_page_size(page_size: int) -> int:
    """How many rows to answer. Raises InvalidArgument if negative."""
    if page_size < 0:
        raise InvalidArgument("page_size", "is negative")
    return min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


class Pages:
    """Page tokens of one method under one set of filters; any other token is foreign."""

    def __init__(self, method: str, *filters: object) -> None:
        self._scope = hashlib.sha256(json.dumps([method, *filters]).encode()).hexdigest()[:16]

    def token(self, *cursor: int | str) -> str:
        """The token of the page behind the cursor."""
        text = json.dumps([self._scope, *cursor])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def cursor(self, token: str, *types: type) -> list[int | str] | None:
        """The cursor in a token, None for the first page. Raises InvalidArgument."""
        if not token:
            return None
        try:
            padded = token.encode("ascii") + b"=" * (-len(token) % 4)
            scope, *cursor = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (ValueError, TypeError, binascii.Error, RecursionError):
            raise foreign_token() from None
        if scope != self._scope or [type(value) for value in cursor] != list(types):
            raise foreign_token()
        if any(isinstance(value, int) and not 0 <= value < 2**63 for value in cursor):
            raise foreign_token()
        if any(isinstance(value, str) and name_fault(value) for value in cursor):
            raise foreign_token()
        return list(cursor)


def foreign_token() -> InvalidArgument:
    """The error for a page token that is not one of this method with these filters."""
    return InvalidArgument(
        "page_token", "is not a token of this method with these filters; begin with an empty one"
    )
