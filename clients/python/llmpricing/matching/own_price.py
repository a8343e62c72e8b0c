"""Dated names with prices of their own, which lists and catalogues may not mention.

Elsewhere that a date has no price of its own is concluded from what is listed. Here it is
known better.
"""

from __future__ import annotations

from typing import Final

from llmpricing.matching.spelling import dated

_PRICED_APART: Final = frozenset(
    {
        # Audio costs 2.5 times what it costs in later versions, cached audio 8 times: OpenAI's
        # announcement of its successor, and litellm's rows of it at Azure.
        ("gpt-4o-realtime-preview", ("2024", "10", "01")),
    }
)


def is_priced_apart(folded: str) -> bool:
    """Whether a folded name, in whatever namespace, is of a date with a price of its own."""
    return dated(folded.rpartition("/")[2]) in _PRICED_APART
