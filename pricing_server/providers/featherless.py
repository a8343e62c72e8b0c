"""Featherless' models API: which models it serves. It sells by subscription and states no price.

Shape: its API reference and a recorded payload of 6,504 rows. Asked without paging
parameters it answered everything at once; asked for a page it adds `pagination`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Final

from llmpricing.rate_card import UNPRICED
from pricing_server.domain.source import OWN_API_RANK, KeyUse, Paging, Source, SourceEvidence
from pricing_server.domain.source_listing import ListedModel, Listing, SourceError
from pricing_server.providers.context_length import context_length
from pricing_server.providers.listing_builder import ListingBuilder, fragment_text, rows_under

_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
"""The form of a repository's name at Hugging Face: owner/name."""

_EVIDENCE: Final = ("id", "model_class", "is_gated", "pricing")


def read(document: object, received_at: datetime) -> Listing:
    """Turn a payload into a listing in which every model is UNPRICED.

    Models are named by their repository at Hugging Face. A row that is there twice states
    nothing else the second time: that the model is served.
    """
    listing = ListingBuilder()
    seen: set[object] = set()
    for row in _rows(document):
        fields = row if isinstance(row, Mapping) else {}
        model_id = fields.get("id")
        if isinstance(model_id, str):
            if model_id in seen:
                listing.notice("repeated_row", "the payload lists this model again", model_id)
                continue
            seen.add(model_id)
        read = partial(_listed_model, fields, listing)
        listing.read_row("featherless", model_id, read, fields)
    return listing.build(received_at, {"featherless": "Featherless"})


def _listed_model(row: Mapping[str, object], listing: ListingBuilder, model_id: str) -> ListedModel:
    if row.get("pricing") is not None:
        listing.notice("price_not_read:pricing", "a price without declared unit", model_id)
    return ListedModel(
        provider="featherless",
        model_id=model_id,
        card=UNPRICED,
        fragment=fragment_text({key: row[key] for key in _EVIDENCE if key in row}),
        hugging_face_id=model_id if _REPOSITORY.fullmatch(model_id) else None,
        context_length=context_length(
            row.get("context_length"), "context_length", listing, model_id
        ),
    )


def _rows(document: object) -> list[object]:
    rows = rows_under(document)
    envelope = document if isinstance(document, Mapping) else {}
    pagination = envelope.get("pagination")
    announced = pagination if isinstance(pagination, Mapping) else {}
    total = announced.get("total_items", envelope.get("total"))
    if isinstance(total, int) and total > len(rows):
        # Models on the other pages would seem to be gone.
        raise SourceError("the payload is one page of several")
    return rows


SOURCE: Final = Source(
    slug="featherless",
    display_name="Featherless models API",
    rank=OWN_API_RANK,
    read=read,
    evidence=SourceEvidence.RECORDED,
    provider="featherless",
    endpoint="https://api.featherless.ai/v1/models",
    key_use=KeyUse.OPTIONAL,
    paging=Paging(
        rows_key="data",
        parameter="page",
        pages_key="pagination.total_pages",
        total_key="pagination.total_items",
    ),
    context_length_field="context_length",
    facts="A recorded payload of 2025 with 6,504 rows, and the API reference.",
    notes=(
        "A subscription. Without a provider in the request, every other seller of the same id "
        "answers first.",
        "The id is the repository at Hugging Face, where it has that form. 28 of these models "
        "have a counterpart by Hugging Face id among OpenRouter's of 2026-08-22.",
        "One id is there twice (`repeated_row`); both rows state the same, that it is served.",
        "Asked without `page` and `per_page`, the API answered everything at once when it was "
        "recorded; with them it adds `pagination`. A payload with fewer rows than it says there "
        "are is refused: the rest would seem delisted.",
        "A row with `pricing`, which no recorded one has, is named (`price_not_read:pricing`): "
        "its unit is not declared anywhere.",
    ),
)
