"""Cerebras' public list of models: prices as strings in USD **per token**.

Shape: a recorded payload of 2026. The list at /v1/models, which needs a key, has no prices.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from llmpricing.meters import Meter
from pricing_server.domain.price_field import Field
from pricing_server.domain.source import OWN_API_RANK, Source, SourceEvidence
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.providers.context_length import context_length
from pricing_server.providers.listing_builder import ListingBuilder, rows_under
from pricing_server.providers.rows import (
    Row,
    card_of,
    listed,
    name_unread,
    object_under,
    rates,
    read_rows,
)

FIELDS: Final[Mapping[str, Field]] = {
    "prompt": Field(Meter.INPUT_TOKENS, 1),
    "completion": Field(Meter.OUTPUT_TOKENS, 1),
}
_EVIDENCE: Final = ("id", "hugging_face_id", "pricing")


def read(document: object, received_at: datetime) -> Listing:
    """Turn a payload into rate cards. A model without prices is unpriced."""
    return read_rows(rows_under(document), "cerebras", "Cerebras", received_at, _model)


def _model(row: Row, listing: ListingBuilder, model_id: str) -> ListedModel:
    name_unread(row, ("pricing",), listing, model_id)
    prices = object_under(row, "pricing")
    card = card_of(rates(prices, FIELDS, listing, model_id, where="pricing."))
    limits = row.get("limits")
    stated = limits.get("max_context_length") if isinstance(limits, Mapping) else None
    tokens = context_length(stated, "limits.max_context_length", listing, model_id)
    return listed("cerebras", row, model_id, card, _EVIDENCE, tokens)


SOURCE: Final = Source(
    slug="cerebras",
    display_name="Cerebras public models API",
    rank=OWN_API_RANK,
    read=read,
    evidence=SourceEvidence.RECORDED,
    proven_units=True,
    provider="cerebras",
    endpoint="https://api.cerebras.ai/public/v1/models",
    fields={f"pricing.{key}": field for key, field in FIELDS.items()},
    context_length_field="limits.max_context_length",
    facts="A recorded payload of 2026 with both of its models, which the bundled catalogue prices "
    "alike.",
    notes=("The list that needs a key (`/v1/models`) states no prices.",),
)
