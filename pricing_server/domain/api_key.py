"""How an API key is sent."""

from __future__ import annotations

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


def repeats_key(text: bytes | bytearray, api_key: str) -> bool:
    """Whether the text contains the key: as it is, as in a URL, or with JSON's escaped slashes."""
    forms = {api_key, quote(api_key, safe=""), api_key.replace("/", "\\/")}
    return len(api_key) >= SHORTEST_SECRET and any(form.encode() in text for form in forms)
