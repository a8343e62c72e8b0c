"""What adapters of plain price lists share: from rows to rates, with nothing dropped silently."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Final

from llmpricing.rate_card import UNPRICED, PriceState, Rate, RateCard
from pricing_server.domain.price_field import Field
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.providers.context_length import context_length
from pricing_server.providers.listing_builder import (
    ListingBuilder,
    RowError,
    fragment_text,
    optional_name,
)

Row = Mapping[str, object]

_LOOKS_LIKE_A_PRICE: Final = re.compile(r"pric|cost|billing|fee\b|fees\b", re.IGNORECASE)


def read_rows(
    rows: Iterable[object],
    seller: str,
    name: str,
    received_at: datetime,
    read: Callable[[Row, ListingBuilder, str], ListedModel],
    id_key: str = "id",
) -> Listing:
    """The listing of a seller's own API with one row for each model."""
    listing = ListingBuilder()
    for row in rows:
        fields = row if isinstance(row, Mapping) else {}
        listing.read_row(seller, fields.get(id_key), partial(read, fields, listing), fields)
    return listing.build(received_at, {seller: name})


def rates(
    stated: Mapping[str, object],
    fields: Mapping[str, Field],
    listing: ListingBuilder,
    model_id: str,
    *,
    where: str = "",
    is_free: bool = False,
) -> Iterator[Rate]:
    """The rates of an object of prices; null is not stated, and other keys are named.

    Unless the model is declared free, a zero is named and becomes no rate. `where` is the
    object's path, for messages. Raises RowError for what is no price.
    """
    for key, value in stated.items():
        if value is None:
            continue
        if key not in fields:
            listing.unknown_key(key, model_id, where)
            continue
        try:
            rate = fields[key].rate(value)
        except ValueError as error:
            raise RowError(f"{where}{key} is {error}") from None
        if rate.price or is_free:
            yield rate
        else:
            listing.zero(f"{where}{key}", model_id)


def card_of(rates: Iterable[Rate], *, is_free: bool = False) -> RateCard:
    """The card of these rates: without a price above zero it is free if declared, else unpriced."""
    listed = list(rates)
    if any(rate.price for rate in listed):
        return RateCard.of(PriceState.PRICED, listed)
    return RateCard.of(PriceState.FREE, listed) if is_free and listed else UNPRICED


def object_under(row: Row, key: str) -> Row:
    """The object under a key, or an empty one if there is none. Raises RowError for else."""
    value = row.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise RowError(f"{key} is not an object")
    return value


def name_unread(row: Row, read: Collection[str], listing: ListingBuilder, model_id: str) -> None:
    """Name the keys of a row that look like a price and are not among those that are read."""
    for key, value in row.items():
        if value is not None and key not in read and _LOOKS_LIKE_A_PRICE.search(key):
            listing.unknown_key(key, model_id)


def unpriced_model(
    seller: str,
    evidence: Collection[str],
    context_length_field: str,
    row: Row,
    listing: ListingBuilder,
    model_id: str,
) -> ListedModel:
    """A model of a seller whose API states no prices; any that it does state are named."""
    name_unread(row, (), listing, model_id)
    tokens = context_length(row.get(context_length_field), context_length_field, listing, model_id)
    return listed(seller, row, model_id, UNPRICED, evidence, tokens)


def listed(
    seller: str,
    row: Row,
    model_id: str,
    card: RateCard,
    evidence: Collection[str],
    context_length: int | None = None,
) -> ListedModel:
    """A model with those of its row's keys that are the evidence for its card."""
    return ListedModel(
        provider=seller,
        model_id=model_id,
        card=card,
        fragment=fragment_text({key: row[key] for key in evidence if key in row}),
        hugging_face_id=optional_name(row.get("hugging_face_id")),
        context_length=context_length,
    )
