"""How an API key is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class KeySent:
    """Where in a request a source takes its API key: in a header or in a query parameter."""

    header: str | None = None
    scheme: str = ""
    """What comes before the key in the header, such as "Bearer"."""
    parameter: str | None = None

    def __post_init__(self) -> None:
        if (self.header is None) == (self.parameter is None) or (self.scheme and not self.header):
            raise ValueError("a key is sent either in a header or in a query parameter")

    def __str__(self) -> str:
        if self.parameter is not None:
            return f"as query parameter `{self.parameter}`"
        return f"as `{self.header}: {self.scheme} …`" if self.scheme else f"as `{self.header}: …`"

    def header_of(self, api_key: str) -> dict[str, str]:
        """The header that carries the key, if one does."""
        return {self.header: f"{self.scheme} {api_key}".lstrip()} if self.header else {}


BEARER: Final = KeySent(header="Authorization", scheme="Bearer")


SHORTEST_SECRET: Final = 8
"""Characters. A shorter secret guards nothing and may be in a payload by chance."""


_ESCAPED_IN_ESCAPED: Final = 3
# Of the characters that a key can have, which are printable ASCII.
_JSON_ESCAPE: Final = re.compile(rb'\\(?:u00([0-9a-fA-F]{2})|(["/\\]))')


def repeats_key(text: bytes | bytearray, api_key: str) -> bool:
    """Whether the text contains the key: as it is, as in a URL, or with any of its characters
    escaped as in JSON, even as in JSON within JSON."""
    if len(api_key) < SHORTEST_SECRET:
        return False
    forms = [form.encode() for form in {api_key, quote(api_key, safe="")}]
    read = bytes(text)
    for _ in range(_ESCAPED_IN_ESCAPED):
        if any(form in read for form in forms):
            return True
        before, read = read, _JSON_ESCAPE.sub(_unescaped, read)
        if read == before:
            return False
    return any(form in read for form in forms)


def _unescaped(escape: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escape[1].decode()) if escape[1] is not None else escape[2]
