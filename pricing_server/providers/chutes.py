"""Chutes' list of models: prices as numbers in USD **per 1M tokens**, stated twice.

Shape: a recorded payload of 2025-09; `input_cache_read` is documented.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from llmpricing.meters import Meter
from llmpricing.units import same_price
from pricing_server.domain.price_field import MILLION, Field
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

FIELDS: Final[Mapping[str, Field]] = {
    "prompt": Field(Meter.INPUT_TOKENS, MILLION),
    "completion": Field(Meter.OUTPUT_TOKENS, MILLION),
    "input_cache_read": Field(Meter.CACHE_READ_TOKENS, MILLION),
}
_AGAIN: Final = {"input": "prompt", "output": "completion", "input_cache_read": "input_cache_read"}
"""Key of `price` to the key of `pricing` that states the same in USD."""

_READ: Final = ("pricing", "price")


def read(document: object, received_at: datetime) -> Listing:
    """Turn a payload into rate cards. A model at 0 is unpriced: nothing says that it is free."""
    return read_rows(rows_under(document), "chutes", "Chutes", received_at, _model)


def _model(row: Row, listing: ListingBuilder, model_id: str) -> ListedModel:
    name_unread(row, _READ, listing, model_id)
    prices = object_under(row, "pricing")
    card = card_of(rates(prices, FIELDS, listing, model_id, where="pricing."))
    _check_second_statement(object_under(row, "price"), prices, listing, model_id)
    tokens = context_length(row.get("max_model_len"), "max_model_len", listing, model_id)
    return listed("chutes", row, model_id, card, ("id", *_READ), tokens)


def _check_second_statement(
    again: Row, prices: Row, listing: ListingBuilder, model_id: str
) -> None:
    """Raise RowError if `price` contradicts `pricing`; name what it says besides."""
    for key in again:
        for currency, value in object_under(again, key).items():
            first = prices.get(_AGAIN.get(key, ""))
            if value is None:
                continue
            if currency != "usd" or key not in _AGAIN or first is None:
                listing.unknown_key(currency, model_id, "price.*.")
                continue
            field = FIELDS[_AGAIN[key]]
            try:
                is_same = same_price(field.read(value), field.read(first))
            except ValueError as error:
                raise RowError(f"price.{key}.usd is {error}") from None
            if not is_same:
                raise RowError(f"price.{key}.usd is not pricing.{_AGAIN[key]}")


SOURCE: Final = Source(
    slug="chutes",
    display_name="Chutes models API",
    rank=OWN_API_RANK,
    read=read,
    evidence=SourceEvidence.RECORDED,
    provider="chutes",
    endpoint="https://llm.chutes.ai/v1/models",
    fields={f"pricing.{key}": field for key, field in FIELDS.items()}
    | {f"price.{key}.usd": FIELDS[first] for key, first in _AGAIN.items()},
    context_length_field="max_model_len",
    facts="A recorded payload of 2025-09 with 66 rows; `input_cache_read` is documented.",
    notes=(
        "Nine of 66 recorded rows state 0.0 and nothing that says they are free.",
        "`price.*.usd` repeats `pricing`; a row in which the two differ is a fault. `tao` is "
        "another currency, and `chutes_pricing` a third statement: both are named.",
    ),
)
