"""What may be the name of a model, a provider or a source: one rule for callers and sources."""

from __future__ import annotations

import reprlib
import unicodedata
from typing import Final

MAX_NAME_LENGTH: Final = 512
"""Characters. The longest id in recorded payloads has 98."""


def name_fault(text: str) -> str | None:
    """Why the text cannot be a name, or None if it can.

    A name is not blank and has at most MAX_NAME_LENGTH characters, without control characters
    and lone surrogates, which neither Postgres nor protobuf can carry.
    """
    if not text.strip():
        return "is empty"
    if len(text) > MAX_NAME_LENGTH:
        return f"has {len(text)} characters, at most {MAX_NAME_LENGTH} are allowed"
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs"):
            return f"has a control character or lone surrogate (U+{ord(character):04X})"
    return None


def printable(text: object, limit: int = 120) -> str:
    """Any value as a short ASCII text that is safe to log, store and send."""
    shown = text if isinstance(text, str) else reprlib.repr(text)
    shown = shown[: limit + 1].encode("unicode_escape").decode("ascii")
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."
