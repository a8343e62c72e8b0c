"""Novita's list of models: prices as integers of **1e-4 USD per 1M tokens**.

Shape: a recorded payload of 2025-09 with the two flat fields. The object `pricing` and
the tiers are documented by public code that reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import ALWAYS, Comparison, Conditions, Rate, Threshold
from llmpricing.units import EXACT
from pricing_server.domain.names import printable
from pricing_server.domain.price_field import MILLION, Field
from pricing_server.domain.source import OWN_API_RANK, KeyUse, Source, SourceEvidence
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

_TEN_THOUSANDTH: Final = Decimal("1E-4")

FLAT_FIELDS: Final[Mapping[str, Field]] = {
    "input_token_price_per_m": Field(Meter.INPUT_TOKENS, MILLION, _TEN_THOUSANDTH),
    "output_token_price_per_m": Field(Meter.OUTPUT_TOKENS, MILLION, _TEN_THOUSANDTH),
}
_METERS: Final = {
    "prompt": Meter.INPUT_TOKENS,
    "completion": Meter.OUTPUT_TOKENS,
    "input_cache_read": Meter.CACHE_READ_TOKENS,
    "input_cache_write": Meter.CACHE_WRITE_TOKENS,
}
_INTEGER, _DECIMAL = "price_per_m", "price_per_m_decimal"
NESTED_FIELDS: Final[Mapping[str, Field]] = {
    f"{key}.{form}": Field(meter, MILLION, usd)
    for key, meter in _METERS.items()
    for form, usd in ((_INTEGER, _TEN_THOUSANDTH), (_DECIMAL, Decimal(1)))
}
_ROUNDING: Final = Decimal("1E-10")
"""USD per token: one of the integers' unit, by less than which two statements may differ."""

_TIERS: Final = "tiered_billing_configs"
_READ: Final = (*FLAT_FIELDS, "pricing", _TIERS, "is_tiered_billing")


def read(document: object, received_at: datetime) -> Listing:
    """Turn a payload into rate cards. Zero and -1 are no prices."""
    return read_rows(rows_under(document), "novita", "Novita", received_at, _model)


def _model(row: Row, listing: ListingBuilder, model_id: str) -> ListedModel:
    name_unread(row, _READ, listing, model_id)
    tiers = list(_tiers(row, listing, model_id))
    if row.get("is_tiered_billing") and not tiers:
        raise RowError("billed in tiers that are not stated")
    flat = {key: row[key] for key in FLAT_FIELDS if key in row}
    base = _agreed(
        (rate for rate in tiers if rate.conditions == ALWAYS),
        _nested(object_under(row, "pricing"), "pricing.", listing, model_id),
        rates(_stated(flat, "", listing, model_id), FLAT_FIELDS, listing, model_id),
    )
    higher = [rate for rate in tiers if rate.conditions != ALWAYS]
    tokens = context_length(row.get("context_size"), "context_size", listing, model_id)
    return listed("novita", row, model_id, card_of([*higher, *base]), ("id", *_READ), tokens)


def _nested(
    pricing: Row,
    where: str,
    listing: ListingBuilder,
    model_id: str,
    conditions: Conditions = ALWAYS,
) -> Iterator[Rate]:
    """The rates of an object {"prompt": {"price_per_m": 2690, ...}, ...}."""
    for key, value in pricing.items():
        if key not in _METERS:
            listing.unknown_key(key, model_id, where)
            continue
        if value is None:
            continue
        forms = {f"{key}.{form}": price for form, price in object_under(pricing, key).items()}
        stated = _stated(forms, where, listing, model_id)
        # The decimals first: the integers are rounded.
        ordered = dict(sorted(stated.items(), key=lambda form: not form[0].endswith(_DECIMAL)))
        found = rates(ordered, NESTED_FIELDS, listing, model_id, where=where)
        yield from _agreed(replace(rate, conditions=conditions) for rate in found)


def _tiers(row: Row, listing: ListingBuilder, model_id: str) -> Iterator[Rate]:
    """The rates of tiers, the highest first; the lowest is the base, if it begins at 0 or 1."""
    stated = row.get(_TIERS) or []
    if not isinstance(stated, list):
        raise RowError(f"{_TIERS} is not a list")
    tiers = {_start(tier): object_under(tier, "pricing") for tier in stated}
    if len(tiers) != len(stated):
        raise RowError(f"two of {_TIERS} begin alike")
    meters = None
    for start, pricing in sorted(tiers.items(), reverse=True):
        threshold = Threshold(Meter.INPUT_TOKENS, Comparison.AT_LEAST, start)
        conditions = Conditions(threshold=threshold) if start > 1 else ALWAYS
        found = list(_nested(pricing, f"{_TIERS}[].pricing.", listing, model_id, conditions))
        priced = {rate.meter for rate in found}
        if not priced or priced != (meters or priced):
            # Left out of a tier, a price would be charged as in the tier below.
            raise RowError(f"{_TIERS} do not all price the same")
        meters = priced
        yield from found


def _start(tier: object) -> int:
    start = tier.get("min_tokens") if isinstance(tier, Mapping) else None
    if not isinstance(start, int) or isinstance(start, bool):
        raise RowError(f"one of {_TIERS} has no min_tokens")
    return start


def _agreed(*statements: Iterable[Rate]) -> Iterable[Rate]:
    """One rate for each meter: the first that is stated. Raises RowError if another differs."""
    first: dict[Meter, Rate] = {}
    for rate in chain(*statements):
        agreed = first.setdefault(rate.meter, rate)
        if EXACT.abs(EXACT.subtract(agreed.price, rate.price)) >= _ROUNDING:
            raise RowError(f"two prices are stated for {rate.meter}")
    return first.values()


def _stated(
    prices: Mapping[str, object], where: str, listing: ListingBuilder, model_id: str
) -> Mapping[str, object]:
    """The prices without those of -1, which says that there is none."""
    unstated = [key for key, value in prices.items() if _is_minus_one(value)]
    for key in unstated:
        listing.notice(f"not_stated:{where}{printable(key, 40)}", "-1 is no price", model_id)
    return {key: value for key, value in prices.items() if key not in unstated}


def _is_minus_one(value: object) -> bool:
    return isinstance(value, (str, int, Decimal)) and str(value).strip() == "-1"


SOURCE: Final = Source(
    slug="novita",
    display_name="Novita models API",
    rank=OWN_API_RANK,
    read=read,
    evidence=SourceEvidence.RECORDED,
    provider="novita",
    endpoint="https://api.novita.ai/v3/openai/models",
    key_use=KeyUse.OPTIONAL,
    fields={
        **FLAT_FIELDS,
        **{f"pricing.{key}": field for key, field in NESTED_FIELDS.items()},
        **{f"{_TIERS}[].pricing.{key}": field for key, field in NESTED_FIELDS.items()},
    },
    context_length_field="context_size",
    facts="A recorded payload of 2025-09 with 59 rows, which have the two flat fields; the "
    "others are documented.",
    notes=(
        "Four of 59 recorded rows state 0. Catalogues sell two of these at USD 0.02 and 0.03 "
        "per 1M tokens, so zero is not taken for free. `-1` is no price either (`not_stated:...`).",
        "`tiered_billing_configs[]`: a tier holds from `min_tokens` input tokens on, for all "
        "tokens; the lowest is the base price and the flat fields may be 0 then. Tiers that do "
        "not all price the same, and two statements of one price that differ by more than the "
        "integers' rounding, are faults of their model.",
    ),
)
