"""How many tokens of input and output a model takes together, where a source states it."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from pricing_server.providers.listing_builder import ListingBuilder

MAX_CONTEXT_LENGTH: Final = 100_000_000
"""In tokens. Recorded payloads have up to 10,485,760."""


def context_length(
    stated: object, field: str, listing: ListingBuilder, model_id: str
) -> int | None:
    """The stated number of tokens, None if there is none.

    `field` is its path in the row. It decides no price: a value that is no count of tokens
    is named, and no fault of its row. Zero says that the model is not sold by the token.
    """
    if stated is None:
        return None
    if isinstance(stated, (int, Decimal)) and not isinstance(stated, bool):
        if isinstance(stated, Decimal) and not stated.is_finite():
            pass
        elif 1 <= stated <= MAX_CONTEXT_LENGTH and stated == int(stated):
            return int(stated)
    listing.notice(f"context_length:{field}", "no count of tokens, not read", model_id)
    return None
