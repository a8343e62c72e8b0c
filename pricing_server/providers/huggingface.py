"""Hugging Face's router: prices **per 1M tokens** in USD, of each sub-provider of a model.

Shape: a recorded payload of 2025-09. How the router is addressed: Hugging Face's
documentation of Inference Providers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import DYNAMIC, UNPRICED, RateCard
from pricing_server.domain.names import printable
from pricing_server.domain.price_field import MILLION, Field
from pricing_server.domain.source import OWN_API_RANK, KeyUse, Source, SourceEvidence, ZeroMeans
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.providers.context_length import context_length
from pricing_server.providers.listing_builder import (
    ListingBuilder,
    RowError,
    fragment_text,
    optional_name,
    rows_under,
)
from pricing_server.providers.rows import (
    Row,
    card_of,
    name_unread,
    object_under,
    rates,
)

FIELDS: Final[Mapping[str, Field]] = {
    "input": Field(Meter.INPUT_TOKENS, MILLION),
    "output": Field(Meter.OUTPUT_TOKENS, MILLION),
}
_PRICES: Final = "providers[].pricing."
_CONTEXT_LENGTH: Final = "providers[].context_length"
_LIVE: Final = (None, "live")
"""Values of `status`; None where it is not stated."""


def read(document: object, received_at: datetime) -> Listing:
    """Turn a payload into rate cards: of each model, and of each model at each sub-provider.

    "org/model:sub" is the address of a model at a sub-provider. Under the plain id the
    router chooses: its price is known only if all sub-providers state the same.
    """
    listing = ListingBuilder()
    for row in rows_under(document):
        fields = row if isinstance(row, Mapping) else {}
        model_id, entries = fields.get("id"), fields.get("providers")
        listing.read_row("huggingface", model_id, partial(_routed, fields, listing), fields)
        if isinstance(model_id, str) and isinstance(entries, list):
            for entry in entries:
                _read_sub_provider(model_id, entry, listing)
    return listing.build(received_at, {"huggingface": "Hugging Face"})


def _routed(row: Row, listing: ListingBuilder, model_id: str) -> ListedModel:
    name_unread(row, (), listing, model_id)
    cards = list(_live_cards(row, listing, model_id))
    alike = cards[0] if cards and all(card == cards[0] for card in cards) else DYNAMIC
    card = alike if cards else UNPRICED
    return _listed(model_id, model_id, card, row, _shared_context_length(row, listing, model_id))


def _shared_context_length(row: Row, listing: ListingBuilder, model_id: str) -> int | None:
    """That of every sub-provider that the router may choose, None if they differ."""
    entries = row["providers"]
    assert isinstance(entries, list), "its cards were read"
    lengths = {
        _context_length(entry, listing, _address(model_id, entry))
        for entry in entries
        if entry.get("status") in _LIVE
    }
    return lengths.pop() if len(lengths) == 1 else None


def _context_length(entry: Row, listing: ListingBuilder, address: str) -> int | None:
    return context_length(entry.get("context_length"), _CONTEXT_LENGTH, listing, address)


def _live_cards(row: Row, listing: ListingBuilder, model_id: str) -> Iterator[RateCard]:
    entries = row.get("providers")
    if not isinstance(entries, list):
        raise RowError("providers is not a list")
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise RowError("a sub-provider is not an object")
        if entry.get("status") in _LIVE:
            yield _card(entry, listing, _address(model_id, entry))


def _read_sub_provider(model_id: str, entry: object, listing: ListingBuilder) -> None:
    fields = entry if isinstance(entry, Mapping) else {}
    if (status := fields.get("status")) not in _LIVE:
        # The router sends no request there.
        code = f"not_live:{printable(status, 40)}"
        listing.notice(code, "a sub-provider that does not serve", model_id)
        return
    address = _address(model_id, fields)
    read = partial(_served, model_id, fields, listing)
    listing.read_row("huggingface", address, read, fields)


def _served(model_id: str, entry: Row, listing: ListingBuilder, address: str) -> ListedModel:
    if not isinstance(entry.get("provider"), str):
        raise RowError("a sub-provider has no name")
    tokens = _context_length(entry, listing, address)
    card = _card(entry, listing, address)
    return _listed(address, model_id, card, {"id": model_id, **entry}, tokens)


def _card(entry: Row, listing: ListingBuilder, address: str) -> RateCard:
    name_unread(entry, ("pricing",), listing, address)
    is_free = entry.get("is_free") is True
    prices = object_under(entry, "pricing")
    return card_of(
        rates(prices, FIELDS, listing, address, where=_PRICES, is_free=is_free), is_free=is_free
    )


def _address(model_id: str, entry: Row) -> str:
    name = entry.get("provider")
    return f"{model_id}:{name if isinstance(name, str) else printable(name, 40)}"


def _listed(
    listed_id: str, repository: str, card: RateCard, evidence: Row, tokens: int | None
) -> ListedModel:
    return ListedModel(
        provider="huggingface",
        model_id=listed_id,
        card=card,
        fragment=fragment_text(evidence),
        hugging_face_id=optional_name(repository),
        context_length=tokens,
    )


SOURCE: Final = Source(
    slug="huggingface",
    display_name="Hugging Face router models API",
    rank=OWN_API_RANK,
    read=read,
    evidence=SourceEvidence.RECORDED,
    provider="huggingface",
    endpoint="https://router.huggingface.co/v1/models",
    key_use=KeyUse.OPTIONAL,
    fields={f"{_PRICES}{key}": field for key, field in FIELDS.items()},
    context_length_field=_CONTEXT_LENGTH,
    zero_means=ZeroMeans.FREE_IF_DECLARED,
    free_where="the sub-provider's `is_free` is true",
    facts="A recorded payload of 2025-09 with 105 models at 249 sub-providers, 82 of them with "
    "a price; `is_free` is documented.",
    notes=(
        "The seller is Hugging Face, whatever sub-provider serves. `org/model:groq` is the "
        "router's address of `org/model` at `groq`, and the id of that price.",
        "Under the plain id the router chooses the sub-provider for each request: `DYNAMIC`, "
        "unless all that are live state the same price, or none states one (`UNPRICED`).",
        "So is the context length under the plain id: that of all of them, or not known.",
        "A sub-provider whose `status` is not `live` is named (`not_live:...`) and not listed.",
    ),
)
