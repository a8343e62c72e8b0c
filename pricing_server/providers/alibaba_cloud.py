"""Alibaba Cloud's Model Studio (DashScope): which models it serves, and nothing of prices.

No API of Alibaba's that states prices is known: they depend on region and context, and are on
web pages. What there is: the list of models in the form of OpenAI's API.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from llmpricing.rate_card import UNPRICED
from pricing_server.domain.source import OWN_API_RANK, KeyUse, Source, SourceEvidence
from pricing_server.domain.source_listing import ListedModel, Listing, SourceError
from pricing_server.providers.listing_builder import ListingBuilder, fragment_text, rows_under
from pricing_server.providers.rows import read_rows

_KNOWN: Final = frozenset({"id", "object", "created", "owned_by"})
_PRICE_WORDS: Final = ("cost", "price", "pricing")


def read(document: object, received_at: datetime) -> Listing:
    """Turn a payload into a listing in which every model is UNPRICED."""
    rows = rows_under(document)
    if isinstance(document, Mapping) and document.get("has_more"):
        # Models on the other pages would seem to be gone.
        raise SourceError("the payload is one page of several")
    return read_rows(rows, "alibaba-cloud", "Alibaba Cloud", received_at, _listed)


def _listed(row: Mapping[str, object], listing: ListingBuilder, model_id: str) -> ListedModel:
    for key, value in row.items():
        if value is not None and any(word in key.lower() for word in _PRICE_WORDS):
            listing.unknown_key(key, model_id)
    kept = {
        key: value
        for key, value in row.items()
        if key in _KNOWN or any(word in key.lower() for word in _PRICE_WORDS)
    }
    return ListedModel("alibaba-cloud", model_id, UNPRICED, fragment_text(kept))


SOURCE: Final = Source(
    slug="alibaba-cloud",
    display_name="Alibaba Cloud Model Studio models API",
    rank=OWN_API_RANK,
    read=read,
    evidence=SourceEvidence.DOCUMENTED,
    provider="alibaba-cloud",
    endpoint="https://dashscope-intl.aliyuncs.com/compatible-mode/v1/models",
    key_use=KeyUse.REQUIRED,
    facts="Code of others that asks this endpoint. No price API was found.",
    notes=(
        "Tells which models are served, and no price; prices come from catalogues.",
        "The international endpoint (Singapore). Model Studio in China has a list and prices of "
        "its own, and is another seller.",
    ),
)
