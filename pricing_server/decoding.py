"""From the bytes of a body to a JSON document: no floats, and bounded memory."""

from __future__ import annotations

import json
import zlib
from decimal import Decimal
from typing import Final

from pricing_server.fetch_errors import BodyTooLarge, PayloadError

MAX_VALUES: Final = 2_000_000
"""JSON values in a document, each of which takes up to 200 bytes. Recorded documents have up to
120,000. A separator within a string counts as well."""

_MAX_DIGITS: Final = 1000  # beyond any double (1e±324, 767 digits), yet harmless to scale and print
_INFLATE_STEP: Final = 64 * 1024
_GZIP: Final = zlib.MAX_WBITS | 16  # a gzip header is required


def decode_json(body: bytes | bytearray, *, secret: str | None = None) -> object:
    """Decode UTF-8 JSON without ever making a float. Raises PayloadError.

    Integers become int, other numbers Decimal, and so do NaN, Infinity and -Infinity. A number
    longer than 1,000 characters or an exponent beyond ±1,000 becomes Decimal("NaN"): validation
    refuses its row, and the other rows survive. No message quotes a body that contains `secret`.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise PayloadError(f"the document has more than {MAX_VALUES:,} values")
    try:
        text = body.decode("utf-8-sig")
        return json.loads(text, parse_int=_integer, parse_float=_decimal, parse_constant=Decimal)
    except (ValueError, RecursionError) as error:  # ValueError: UTF-8 or syntax
        quotable = b"(withheld)" if secret and secret.encode() in body else body[:80]
        start = "".join(c if " " <= c <= "~" else "?" for c in quotable.decode("latin-1"))
        raise PayloadError(f'not readable as JSON ({error}), begins "{start}"') from None


class BodyReader:
    """Collects the body of an answer; content decoding never runs more than a step beyond `limit`.

    Bytes on the wire count as well: a gzip stream that decodes to nothing can be endless, too.
    """

    def __init__(self, encoding: str, limit: int) -> None:
        """Raises PayloadError for a content encoding that is not asked for, brotli among them."""
        self._encoding = encoding.lower()
        if self._encoding not in ("identity", "gzip"):
            raise PayloadError("Content-Encoding is neither gzip nor identity")
        self._limit = limit
        self._received = 0
        self._body = bytearray()
        self._member = zlib.decompressobj(_GZIP)

    def feed(self, received: bytes) -> None:
        """Take the next bytes of the wire. Raises BodyTooLarge, PayloadError."""
        self._received += len(received)
        self._check(self._received)
        if self._encoding == "identity":
            self._body += received
            return
        rest = received
        while rest:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            try:
                self._body += self._member.decompress(rest, _INFLATE_STEP)
            except zlib.error:
                raise PayloadError("the gzip body is corrupt") from None
            rest = self._member.unused_data or self._member.unconsumed_tail
            self._check(len(self._body))

    def finish(self) -> bytearray:
        """The whole body. Raises PayloadError if the gzip stream has no end."""
        if self._encoding == "gzip" and not self._member.eof:
            raise PayloadError("the gzip body is truncated")
        return self._body

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise BodyTooLarge(f"the body exceeds max_body_bytes={self._limit}")


def _integer(literal: str) -> int | Decimal:
    # Python refuses to read integers of over 4,300 digits.
    return int(literal) if len(literal) <= _MAX_DIGITS else Decimal("NaN")


def _decimal(literal: str) -> Decimal:
    exponent = literal.lower().partition("e")[2] or "0"
    sane = len(literal) <= _MAX_DIGITS and abs(int(exponent)) <= _MAX_DIGITS
    return Decimal(literal if sane else "NaN")
