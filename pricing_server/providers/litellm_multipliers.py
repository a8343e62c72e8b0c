"""Multipliers of a row of litellm's price file: by place, and for Anthropic's fast mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Final

from llmpricing.place import DATA_ZONE, GEOGRAPHY, REGION, REGIONAL, names_place
from llmpricing.rate_card import Rate
from llmpricing.units import PriceError, parse_price
from pricing_server.domain.names import printable
from pricing_server.domain.uplift import MAX_MULTIPLIER_DIGITS, uplifted
from pricing_server.providers.listing_builder import ListingBuilder, RowError

_ENTRY: Final = "provider_specific_entry"

Context = Mapping[str, str]

_BY_KEY: Final[Mapping[str, tuple[Context, ...]]] = {
    # litellm multiplies at every location but "global".
    "regional_endpoint_uplift_multiplier": ({GEOGRAPHY: REGIONAL}, {GEOGRAPHY: DATA_ZONE}),
    "regional_processing_uplift_multiplier_eu": ({GEOGRAPHY: DATA_ZONE, REGION: "eu"},),
    "regional_processing_uplift_multiplier_us": ({GEOGRAPHY: DATA_ZONE, REGION: "us"},),
}
_OF_ENTRY: Final[Mapping[str, Context]] = {
    "us": {GEOGRAPHY: DATA_ZONE, REGION: "us"},
    "eu": {GEOGRAPHY: DATA_ZONE, REGION: "eu"},
}
_FAST: Final[Context] = {"speed": "fast"}

_LEAST: Final = Decimal("0.1")
_MOST: Final = Decimal(100)

MULTIPLIER_KEYS: Final = frozenset({*_BY_KEY, _ENTRY})
MULTIPLIERS: Final = (*_BY_KEY, *(f"{_ENTRY}.{key}" for key in (*_OF_ENTRY, "fast")))
"""Their paths within a row."""


def multiplied(
    rates: Iterable[Rate],
    name: str,
    row: Mapping[str, object],
    seller: str,
    listing: ListingBuilder,
) -> tuple[Rate, ...]:
    """The rates of a row with those of its multipliers before them. Raises RowError.

    The fast mode comes first, since a place is charged on top of it. A row whose name
    already says the place has no multiplier for it.
    """
    found = tuple(rates)
    entry = _entry(name, row, seller, listing)
    if (fast := entry.pop("fast", None)) is not None:
        standard = [rate for rate in found if not rate.conditions.context]
        found = (*uplifted(standard, fast, _FAST), *found)
    places = [*_by_key(row), *((_OF_ENTRY[key], multiplier) for key, multiplier in entry.items())]
    if places and names_place(name):
        listing.notice("not_read:multiplier", "the name already says the place", name)
        return found
    placed = (rate for context, each in places for rate in uplifted(found, each, context))
    return (*placed, *found)


def _by_key(row: Mapping[str, object]) -> Iterator[tuple[Context, Decimal]]:
    for key, contexts in _BY_KEY.items():
        if row.get(key) is not None:
            multiplier = _multiplier(key, row[key])
            yield from ((context, multiplier) for context in contexts)


def _entry(
    name: str, row: Mapping[str, object], seller: str, listing: ListingBuilder
) -> dict[str, Decimal]:
    """The multipliers of Anthropic's entry; other numbers are named."""
    stated = row.get(_ENTRY)
    found: dict[str, Decimal] = {}
    for key, value in stated.items() if isinstance(stated, Mapping) else ():
        if seller == "anthropic" and (key in _OF_ENTRY or key == "fast"):
            found[key] = _multiplier(f"{_ENTRY}.{printable(key)}", value)
        elif isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            listing.unknown_key(f"{_ENTRY}.{key}", name)
    return found


def _multiplier(key: str, value: object) -> Decimal:
    try:
        multiplier = parse_price(value)
    except PriceError as error:
        raise RowError(f"{key} is {error}") from None
    # None that is stated is below 1 or above 6: a multiplier of another kind is a slip.
    if (
        not _LEAST <= multiplier <= _MOST
        or len(multiplier.as_tuple().digits) > MAX_MULTIPLIER_DIGITS
    ):
        raise RowError(f"{key} is no multiplier between {_LEAST} and {_MOST}")
    return multiplier
