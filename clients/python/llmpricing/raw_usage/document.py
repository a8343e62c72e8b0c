"""A body as data, within bounds: anybody may send one, so reading it must stay cheap."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final, Never

from llmpricing.raw_usage.result import RawUsageError

MAX_BYTES: Final = 1 << 20
"""The size of a JSON text, in UTF-8."""

MAX_EVENTS: Final = 100_000
"""Events of a stream that is given as a list."""


def parse(body: object) -> Mapping[object, object] | Sequence[object]:
    """The object or list of a JSON text, with exact numbers; decoded data as it is.

    Raises RawUsageError for text that is too large, is not JSON, repeats a key or has
    NaN or an infinity, and for anything that is neither an object nor a list.
    """
    if isinstance(body, (str, bytes)):
        body = _decoded(body)
    if isinstance(body, Mapping):
        return body
    if isinstance(body, Sequence) and not isinstance(body, (str, bytes, bytearray)):
        if len(body) > MAX_EVENTS:
            raise RawUsageError(f"a stream of more than {MAX_EVENTS} events")
        return body
    raise RawUsageError(f"not a JSON object: {shown(body)}")


def shown(value: object) -> str:
    """Any value as one short line of printable ASCII."""
    if isinstance(value, int) and value.bit_length() > 1_000:
        return "an integer of hundreds of digits"  # which Python may refuse to write out
    try:
        # reprlib bounds depth and length: a hostile value can be nested too deep for repr.
        text = str(value) if isinstance(value, Decimal) else reprlib.repr(value)
    except Exception:  # a caller's own class may do anything in its repr
        text = f"a {type(value).__name__}"
    text = "".join(char if char.isprintable() else "?" for char in text)
    text = text.encode("ascii", "backslashreplace").decode("ascii")
    return text if len(text) <= 60 else f"{text[:57]}..."


def _decoded(text: str | bytes) -> object:
    if len(text) > MAX_BYTES:
        raise RawUsageError(f"larger than {MAX_BYTES} bytes")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        elif not text.isascii() and len(text.encode("utf-8")) > MAX_BYTES:
            raise RawUsageError(f"larger than {MAX_BYTES} bytes")
        return json.loads(
            text,
            parse_int=_number,
            parse_float=_number,
            parse_constant=_not_finite,
            object_pairs_hook=_unique,
        )
    except RawUsageError:
        raise
    except RecursionError:
        raise RawUsageError("nested too deep") from None
    except ValueError:
        # JSONDecodeError and the Unicode errors; their own texts quote the body.
        raise RawUsageError("not JSON") from None


def _number(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        raise RawUsageError(f"not a number: {shown(digits)}") from None


def _not_finite(name: str) -> Never:
    raise RawUsageError(f"not a finite number: {name}")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Parsers differ in which of the two they take: one of them would be wrong.
        raise RawUsageError("an object with one key twice")
    return found
