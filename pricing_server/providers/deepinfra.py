"""DeepInfra's two lists of models: in USD **per 1M tokens**, and in **US cents per token**.

Shapes: a recorded payload of /v1/openai/models; DeepInfra's API reference, and public
code that reads it, for /models/list. The two are told apart by their outermost value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import UNPRICED, Rate
from llmpricing.units import EXACT, canonical, parse_price
from pricing_server.domain.price_field import MILLION, US_CENT, Field
from pricing_server.domain.source import OWN_API_RANK, Source, SourceEvidence
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.providers.context_length import context_length
from pricing_server.providers.listing_builder import ListingBuilder, RowError, rows_under
from pricing_server.providers.rows import (
    Row,
    card_of,
    listed,
    name_unread,
    object_under,
    rates,
    read_rows,
)

_PRICES: Final = "metadata.pricing."
FIELDS: Final[Mapping[str, Field]] = {
    "input_tokens": Field(Meter.INPUT_TOKENS, MILLION),
    "output_tokens": Field(Meter.OUTPUT_TOKENS, MILLION),
    "cache_read_tokens": Field(Meter.CACHE_READ_TOKENS, MILLION),
}
CENT_FIELDS: Final[Mapping[str, Field]] = {
    "cents_per_input_token": Field(Meter.INPUT_TOKENS, 1, US_CENT),
    "cents_per_output_token": Field(Meter.OUTPUT_TOKENS, 1, US_CENT),
}
_CACHE_READ_SHARE: Final = "rate_per_input_token_cached"
_NO_PRICES: Final = frozenset({"type", "short", "discount", "discount_ends_at", "full", "table"})
_PRICED_OTHERWISE: Final = ("full", "table", "discount")
"""Keys that, where set, say that the price per token is not the whole price."""


def read(document: object, received_at: datetime) -> Listing:
    """Turn either payload into rate cards. A model without prices is unpriced."""
    if isinstance(document, list):
        return read_rows(document, "deepinfra", "DeepInfra", received_at, _detailed, "model_name")
    return read_rows(rows_under(document), "deepinfra", "DeepInfra", received_at, _compatible)


def _compatible(row: Row, listing: ListingBuilder, model_id: str) -> ListedModel:
    metadata = object_under(row, "metadata")
    name_unread(row, (), listing, model_id)
    name_unread(metadata, ("pricing",), listing, model_id)
    prices = object_under(metadata, "pricing")
    card = card_of(rates(prices, FIELDS, listing, model_id, where=_PRICES))
    evidence = {"id": model_id, "metadata": {"pricing": metadata.get("pricing")}}
    tokens = context_length(
        metadata.get("context_length"), "metadata.context_length", listing, model_id
    )
    return listed("deepinfra", evidence, model_id, card, evidence, tokens)


def _detailed(row: Row, listing: ListingBuilder, model_id: str) -> ListedModel:
    name_unread(row, ("pricing",), listing, model_id)
    pricing = object_under(row, "pricing")
    card = card_of(_cent_rates(pricing, listing, model_id))
    for key in _PRICED_OTHERWISE:
        if pricing.get(key):
            listing.notice(f"not_read:pricing.{key}", "the price depends on more", model_id)
            card = UNPRICED
    return listed("deepinfra", row, model_id, card, ("model_name", "type", "pricing"))


def _cent_rates(pricing: Row, listing: ListingBuilder, model_id: str) -> Iterator[Rate]:
    prices = {key: value for key, value in pricing.items() if key not in _NO_PRICES}
    is_by_token = pricing.get("type", "tokens") in ("tokens", "input_tokens")
    share = prices.pop(_CACHE_READ_SHARE, None) if is_by_token else None
    fields = CENT_FIELDS if is_by_token else {}
    yield from rates(prices, fields, listing, model_id, where="pricing.")
    if share is None:
        return
    try:
        per_token = CENT_FIELDS["cents_per_input_token"].read(prices.get("cents_per_input_token"))
        price = canonical(EXACT.multiply(per_token, parse_price(share)))
    except ValueError as error:
        raise RowError(f"pricing.{_CACHE_READ_SHARE} is {error}") from None
    if price:
        yield Rate(Meter.CACHE_READ_TOKENS, price)
    else:
        listing.zero(f"pricing.{_CACHE_READ_SHARE}", model_id)


SOURCE: Final = Source(
    slug="deepinfra",
    display_name="DeepInfra models API",
    rank=OWN_API_RANK,
    read=read,
    evidence=SourceEvidence.RECORDED,
    provider="deepinfra",
    endpoint="https://api.deepinfra.com/v1/openai/models",
    fields={f"{_PRICES}{key}": field for key, field in FIELDS.items()}
    | {f"pricing.{key}": field for key, field in CENT_FIELDS.items()},
    context_length_field="metadata.context_length",
    facts="A recorded payload of 2025-09 with 151 rows, 111 of them with prices.",
    notes=(
        "`metadata` is null for models that are not sold by the token (images, embeddings): "
        "`UNPRICED`.",
        "Prices carry binary noise (`3.3000000000000003`) and are kept as they are stated.",
        "`https://api.deepinfra.com/models/list`, a bare list, is read too, if it is set as "
        "address; this is documented, not recorded. Its fields are those with `cents` in their "
        "name. `rate_per_input_token_cached` is a share of the input price.",
        "There, a model with a `discount`, with a `table` of prices or a text about them "
        "(`full`), or of a `type` that is not sold by the token is `UNPRICED`, and named.",
    ),
)
