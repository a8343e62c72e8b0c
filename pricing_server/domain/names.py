"""What may be the name of a model, a provider or a source, and values as text to show."""

from __future__ import annotations

import reprlib

ModelName = tuple[str, str]
"""(provider, model id)."""


def printable(text: object, limit: int = 120) -> str:
    """Any value as a short ASCII text that is safe to log, store and send."""
    shown = text if isinstance(text, str) else reprlib.repr(text)
    shown = shown[: limit + 1].encode("unicode_escape").decode("ascii")
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."
