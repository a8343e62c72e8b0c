"""From bytes to a JSON document: no floats, and a bounded number of values."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Final

from pricing_server.domain.fetch_errors import PayloadError

MAX_VALUES: Final = 500_000
"""JSON values in a document, each of which takes up to 200 bytes. Recorded documents have up to
120,000. A separator within a string counts as well."""


class RepeatedValue(dict[str, object]):
    """What stands for the value of a key that an object states more than once.

    Parsers differ in which of the values they take, so none is to be believed: whatever has one
    anywhere cannot be read (`repeated_key`). It has the members of the last value, if that is an
    object, so that it is found out whose fault it is.
    """

    def __init__(self, key: str, last: object) -> None:
        super().__init__(last if isinstance(last, dict) else {})
        self.key = key


_MAX_DIGITS: Final = 1000  # beyond any double (1e±324, 767 digits), yet harmless to scale and print


def decode_json(body: bytes | bytearray, *, secret: str | None = None) -> object:
    """Decode UTF-8 JSON without ever making a float. Raises PayloadError.

    Integers become int, other numbers Decimal, and so do NaN, Infinity and -Infinity. A number
    longer than 1,000 characters or an exponent beyond ±1,000 becomes Decimal("NaN"): validation
    refuses its row, and the other rows survive. So it is with a key that an object states twice,
    whose value becomes a RepeatedValue. No message quotes a body that contains `secret`.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise PayloadError(f"the document has more than {MAX_VALUES:,} values")
    try:
        text = body.decode("utf-8-sig")
        return json.loads(
            text,
            parse_int=_integer,
            parse_float=_decimal,
            parse_constant=Decimal,
            object_pairs_hook=_object,
        )
    except (ValueError, RecursionError) as error:  # ValueError: UTF-8 or syntax
        quotable = b"(withheld)" if secret and secret.encode() in body else body[:80]
        start = "".join(c if " " <= c <= "~" else "?" for c in quotable.decode("latin-1"))
        raise PayloadError(f'not readable as JSON ({error}), begins "{start}"') from None


def repeated_key(value: object) -> str | None:
    """A key that is stated more than once anywhere in a decoded value; None if there is none."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, RepeatedValue):
            return one.key
        if isinstance(one, dict):
            left += [each for each in one.values() if isinstance(each, (dict, list))]
        elif isinstance(one, list):
            left += [each for each in one if isinstance(each, (dict, list))]
    return None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        found |= {key: RepeatedValue(key, found[key]) for key, n in counts.items() if n > 1}
    return found


def _integer(literal: str) -> int | Decimal:
    # Python refuses to read integers of over 4,300 digits.
    return int(literal) if len(literal) <= _MAX_DIGITS else Decimal("NaN")


def _decimal(literal: str) -> Decimal:
    exponent = literal.lower().partition("e")[2] or "0"
    sane = len(literal) <= _MAX_DIGITS and abs(int(exponent)) <= _MAX_DIGITS
    return Decimal(literal if sane else "NaN")
