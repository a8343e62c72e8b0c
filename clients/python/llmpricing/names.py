"""What may be a name: of a model, a provider, a source. One rule for callers and for sources."""

from __future__ import annotations

import unicodedata
from typing import Final

MAX_NAME_LENGTH: Final = 512
"""Characters. The longest id in recorded payloads has 98."""


def name_fault(text: str) -> str | None:
    """Why the text cannot be a name, or None if it can.

    Refused are empty and blank texts, control characters, lone surrogates (neither
    Postgres nor protobuf can carry them) and anything over MAX_NAME_LENGTH.
    """
    if not text.strip():
        return "is empty"
    if len(text) > MAX_NAME_LENGTH:
        return f"has {len(text)} characters, at most {MAX_NAME_LENGTH} are allowed"
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs"):
            return f"has a control character or lone surrogate (U+{ord(character):04X})"
    return None
