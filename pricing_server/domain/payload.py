"""What a source's API answered, and what names the state of its answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Validators:
    """What names the state of a resource (RFC 9110, 8.8): an ETag or else a Last-Modified."""

    etag: str | None = None
    last_modified: str | None = None

    def headers(self) -> dict[str, str]:
        """Headers that ask for the resource only if its state is another."""
        sent = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in sent.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Payload:
    """A JSON document as a provider served it.

    `obtained_at` is when the body was complete (UTC), `url` what was asked for, as `safe_url`.
    `sha256` (hex) and `bytes_read` describe the body after content decoding. `validators` are
    None where the answer has no reliable ones.
    """

    document: object
    obtained_at: datetime
    sha256: str
    url: str
    bytes_read: int
    validators: Validators | None = None


@dataclass(frozen=True, slots=True)
class NotModified:
    """The resource is still in the state that the request's validators name, as of then (UTC)."""

    obtained_at: datetime
