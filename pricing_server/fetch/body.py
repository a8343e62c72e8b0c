"""The body of an answer, in bounded memory."""

from __future__ import annotations

import zlib
from typing import Final

from pricing_server.domain.fetch_errors import BodyTooLarge, PayloadError

_INFLATE_STEP: Final = 64 * 1024
_GZIP: Final = zlib.MAX_WBITS | 16  # a gzip header is required


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
