"""NEAR AI Cloud's model list: prices as {amount, scale, currency}, amount / 10^scale USD per token.

Shape and unit: NEAR's documentation, whose price table computes dollars that way, and a shape
sample of others' code. No payload was recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import UNPRICED, PriceState, Rate, RateCard
from llmpricing.units import EXACT, MAX_DIGITS
from pricing_server.domain.price_field import Field
from pricing_server.domain.source import OWN_API_RANK, Paging, Source, SourceEvidence
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.providers.context_length import context_length
from pricing_server.providers.listing_builder import (
    ListingBuilder,
    RowError,
    fragment_text,
    rows_under,
)
from pricing_server.providers.rows import read_rows

FIELDS: Final[Mapping[str, Field]] = {
    "inputCostPerToken": Field(Meter.INPUT_TOKENS, 1),
    "outputCostPerToken": Field(Meter.OUTPUT_TOKENS, 1),
    "cacheReadCostPerToken": Field(Meter.CACHE_READ_TOKENS, 1),
    "costPerImage": Field(Meter.OUTPUT_IMAGES, 1),
}
MAX_SCALE: Final = 30
MAX_AMOUNT: Final = 10**MAX_DIGITS
_PRICE_WORDS: Final = ("cost", "price", "pricing")


def read(document: object, received_at: datetime) -> Listing:
    """Turn a payload into rate cards. A model without any price above zero is UNPRICED."""
    rows = rows_under(document, "models")
    return read_rows(rows, "near-ai", "NEAR AI", received_at, _listed, "modelId")


def _listed(row: Mapping[str, object], listing: ListingBuilder, model_id: str) -> ListedModel:
    stated = {
        key: value
        for key, value in row.items()
        if value is not None and any(word in key.lower() for word in _PRICE_WORDS)
    }
    rates = list(_rates(stated, listing, model_id))
    metadata = row.get("metadata")
    tokens = metadata.get("contextLength") if isinstance(metadata, Mapping) else None
    return ListedModel(
        provider="near-ai",
        model_id=model_id,
        card=RateCard.of(PriceState.PRICED, rates) if rates else UNPRICED,
        fragment=fragment_text({"modelId": model_id, **stated}),
        context_length=context_length(tokens, "metadata.contextLength", listing, model_id),
    )


def _rates(stated: Mapping[str, object], listing: ListingBuilder, model_id: str) -> Iterator[Rate]:
    for key, value in stated.items():
        declared = FIELDS.get(key)
        if declared is None:
            listing.unknown_key(key, model_id)
            continue
        rate = declared.rate(_dollars(key, value))
        if rate.price:
            yield rate
        else:
            listing.zero(key, model_id)


def _dollars(key: str, stated: object) -> Decimal:
    money = stated if isinstance(stated, Mapping) else {}
    amount, scale, currency = (money.get(name) for name in ("amount", "scale", "currency"))
    if currency != "USD":
        raise RowError(f"{key} is not an amount in USD")
    if not isinstance(scale, int) or isinstance(scale, bool) or not 0 <= scale <= MAX_SCALE:
        raise RowError(f"{key}.scale is not a number of decimals")
    if not isinstance(amount, int) or isinstance(amount, bool) or abs(amount) > MAX_AMOUNT:
        raise RowError(f"{key}.amount is not a whole number of up to {MAX_DIGITS} digits")
    return Decimal(amount).scaleb(-scale, context=EXACT)


SOURCE: Final = Source(
    slug="near-ai",
    display_name="NEAR AI Cloud model list",
    rank=OWN_API_RANK,
    read=read,
    evidence=SourceEvidence.DOCUMENTED,
    provider="near-ai",
    endpoint="https://cloud-api.near.ai/v1/model/list",
    fields=FIELDS,
    paging=Paging(rows_key="models", parameter="offset", total_key="total"),
    context_length_field="metadata.contextLength",
    facts="NEAR's documentation of the list and its price table; a shape sample of others' code.",
    notes=(
        "A price is `{amount, scale, currency}`: amount / 10^scale in `currency`, which must be "
        "USD, else the row is a fault.",
        "Prices are often missing: the model is then `UNPRICED`.",
        "`total` and `offset` matter only where the API states a `total` above the rows it gives; "
        "the sample has neither.",
    ),
)
