"""Groq's list of models: which it serves. Its prices are on web pages only.

Shape: a recorded payload of 2025-09.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Final

from pricing_server.domain.source import OWN_API_RANK, KeyUse, Source, SourceEvidence
from pricing_server.domain.source_listing import Listing
from pricing_server.providers.listing_builder import rows_under
from pricing_server.providers.rows import read_rows, unpriced_model

_model = partial(unpriced_model, "groq", ("id", "active", "owned_by"), "context_window")


def read(document: object, received_at: datetime) -> Listing:
    """Turn a payload into a listing in which every model is unpriced."""
    return read_rows(rows_under(document), "groq", "Groq", received_at, _model)


SOURCE: Final = Source(
    slug="groq",
    display_name="Groq models API",
    rank=OWN_API_RANK,
    read=read,
    evidence=SourceEvidence.RECORDED,
    provider="groq",
    endpoint="https://api.groq.com/openai/v1/models",
    key_use=KeyUse.REQUIRED,
    context_length_field="context_window",
    facts="A recorded payload of 2025-09 with 21 rows.",
    notes=(
        "Says which models are served. Prices come from catalogues, which name the models alike.",
    ),
)
