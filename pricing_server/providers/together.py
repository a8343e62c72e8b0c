"""Together's list of models: prices as numbers in USD **per 1M tokens**, a bare list.

Shape: a recorded payload of 2025-09.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import UNPRICED, PriceState
from pricing_server.domain.names import printable
from pricing_server.domain.price_field import MILLION, Field
from pricing_server.domain.source import OWN_API_RANK, KeyUse, Source, SourceEvidence, ZeroMeans
from pricing_server.domain.source_listing import ListedModel, Listing, SourceError
from pricing_server.providers.context_length import context_length
from pricing_server.providers.listing_builder import ListingBuilder
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
    "input": Field(Meter.INPUT_TOKENS, MILLION),
    "output": Field(Meter.OUTPUT_TOKENS, MILLION),
}
_SOLD_BY_THE_TOKEN: Final = frozenset(
    {"chat", "language", "code", "embedding", "rerank", "moderation"}
)
_EVIDENCE: Final = ("id", "type", "pricing")


def read(document: object, received_at: datetime) -> Listing:
    """Turn a payload into rate cards. Zero is free only for ids that end in "-free", in any case.

    Of models that are not sold by the token the fields have another unit, which is not
    declared anywhere: such models are unpriced.
    """
    if not isinstance(document, list):
        raise SourceError("the payload is not a list of models")
    return read_rows(document, "together", "Together AI", received_at, _model)


def _model(row: Row, listing: ListingBuilder, model_id: str) -> ListedModel:
    name_unread(row, ("pricing",), listing, model_id)
    is_free = model_id.lower().endswith("-free")
    prices = object_under(row, "pricing")
    card = card_of(
        rates(prices, FIELDS, listing, model_id, where="pricing.", is_free=is_free),
        is_free=is_free,
    )
    kind = printable(row.get("type"), 40)
    if card.state is PriceState.PRICED and kind not in _SOLD_BY_THE_TOKEN:
        listing.notice(f"unit_in_doubt:{kind}", "not a type that is sold by the token", model_id)
        card = UNPRICED
    tokens = context_length(row.get("context_length"), "context_length", listing, model_id)
    return listed("together", row, model_id, card, _EVIDENCE, tokens)


SOURCE: Final = Source(
    slug="together",
    display_name="Together AI models API",
    rank=OWN_API_RANK,
    read=read,
    evidence=SourceEvidence.RECORDED,
    provider="together",
    endpoint="https://api.together.xyz/v1/models",
    key_use=KeyUse.REQUIRED,
    fields={f"pricing.{key}": field for key, field in FIELDS.items()},
    context_length_field="context_length",
    zero_means=ZeroMeans.FREE_IF_DECLARED,
    free_where="the id ends in `-free`, in any case",
    facts="A recorded payload of 2025-09 with 90 rows.",
    notes=(
        "Image models are all zeros and are sold by the image: `UNPRICED`.",
        "Prices of other types than "
        + ", ".join(f"`{kind}`" for kind in sorted(_SOLD_BY_THE_TOKEN))
        + " are not per token and become no rate (`unit_in_doubt:...`): `cartesia/sonic` "
        "(`audio`) states its price per 1M characters, and `openai/whisper-large-v3` "
        "(`transcribe`) that of a chat model.",
        "`hourly`, `base` and `finetune` are no prices of requests; each is named, though 0 in "
        "every recorded row.",
    ),
)
