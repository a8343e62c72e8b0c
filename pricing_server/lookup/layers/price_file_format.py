"""The rules of the operator's price file: bytes in, prices out, no I/O.

    {"_metadata": {"unit": "per_1m_tokens", "updated": "2026-11-20"},
     "some-seller": {"some-model": {"prompt": "0.50", "completion": "1.50"}}}

A wrong price is worse than none, so one bad entry makes the whole file invalid.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from llmpricing.meters import Meter
from llmpricing.names import name_fault
from llmpricing.rate_card import PriceState, Rate, RateCard
from llmpricing.units import (
    PriceError,
    PricingFormat,
    canonical,
    normalize_to_per_token,
    parse_price,
)
from pricing_server.domain import sellers
from pricing_server.domain.fetch_errors import PayloadError
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.names import printable
from pricing_server.domain.price import Layer, Price

METADATA: Final = "_metadata"

UNITS: Final[Mapping[str, PricingFormat]] = {
    "per_1m_tokens": PricingFormat.PER_1M_TOKENS,
    "per_1k_tokens": PricingFormat.PER_1K_TOKENS,
    "per_token": PricingFormat.PER_TOKEN,
}
"""What prompt and completion may be priced per. Request and image are per one."""

TOKEN_METERS: Final = {"prompt": Meter.INPUT_TOKENS, "completion": Meter.OUTPUT_TOKENS}
ONE_METERS: Final = {"request": Meter.REQUESTS, "image": Meter.INPUT_IMAGES}
METERS: Final = {**TOKEN_METERS, **ONE_METERS}

PLAUSIBLE_PER_TOKEN: Final = (Decimal("1E-9"), Decimal("1E-3"))
"""USD: $0.001 to $1,000 per million. Outside, a unit is probably mistaken."""

PLAUSIBLE_PER_ONE: Final = (Decimal("1E-7"), Decimal("100"))
"""USD per request or image."""

_ONE_DAY: Final = timedelta(days=1)


class ManualFileError(Exception):
    """The file is no valid price file. The message is one line that names the entry at fault."""


@dataclass(frozen=True, slots=True)
class ManualFile:
    """A valid file."""

    prices: Mapping[str, Sequence[Price]]
    """By model id."""
    names: Sequence[tuple[str, str]]
    """(provider, model id) of every model."""
    providers: frozenset[str]
    doubtful: Sequence[str]
    """Entries of an implausible magnitude, each a line."""


def read_manual_file(body: bytes, name: str, modified_at: datetime, now: datetime) -> ManualFile:
    """Read a file called `name` that was last changed at `modified_at`. Raises ManualFileError."""
    document = decode_document(body)
    unit, verified_at = _read_metadata(document.get(METADATA), now)
    prices: dict[str, list[Price]] = {}
    spellings: dict[tuple[str, str], str] = {}
    doubtful: list[str] = []
    providers: set[str] = set()
    for provider, models in document.items():
        if provider == METADATA:
            continue
        _check_name("provider", provider)
        if not isinstance(models, Mapping):
            raise ManualFileError(f"{printable(provider)}: is not an object of models")
        seller = sellers.canonical(provider)
        providers.add(seller)
        for model_id, entry in models.items():
            _check_name(f"{printable(provider)}: model", model_id)
            place = f"{printable(provider)}/{printable(model_id)}"
            if (seller, model_id) in spellings:
                raise ManualFileError(
                    f"{place}: the same model as {spellings[seller, model_id]}, listed again"
                )
            spellings[seller, model_id] = place
            card = _read_entry(place, entry, unit)
            doubtful.extend(_doubts(place, card))
            prices.setdefault(model_id, []).append(
                Price(
                    provider=seller,
                    model_id=model_id,
                    card=card,
                    layer=Layer.MANUAL,
                    source="manual",
                    obtained_at=verified_at or min(modified_at, now),
                    effective_time=verified_at or min(modified_at, now),
                    detail=f"price file {printable(name)}",
                )
            )
    return ManualFile(prices, tuple(spellings), frozenset(providers), doubtful)


def decode_document(body: bytes) -> Mapping[str, object]:
    """Decode JSON that is an object and names nothing twice. Raises ManualFileError."""
    try:
        document = decode_json(body)
    except PayloadError as error:
        raise ManualFileError(str(error)) from None
    if not isinstance(document, Mapping):
        raise ManualFileError("is not a JSON object")
    # Of two equal names JSON decoders keep the last and say nothing.
    try:
        json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_refuse_repeated_names,
            parse_int=str,
            parse_float=str,
            parse_constant=str,
        )
    except RecursionError:
        raise ManualFileError("is nested too deeply") from None
    return document


def is_implausible(key: str, price: Decimal) -> bool:
    """Whether a price of the field, in USD per one of its meter, has probably a wrong unit."""
    least, most = PLAUSIBLE_PER_TOKEN if key in TOKEN_METERS else PLAUSIBLE_PER_ONE
    return price != 0 and not least <= price <= most


def stated_instant(value: object) -> datetime | None:
    """An ISO date or time, in UTC unless it says otherwise; None if it is neither."""
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
        if instant is None:
            return None
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _read_metadata(metadata: object, now: datetime) -> tuple[PricingFormat, datetime | None]:
    if not isinstance(metadata, Mapping):
        raise ManualFileError(f'{METADATA}: is missing; it declares the "unit" of all prices')
    unit = metadata.get("unit")
    if not isinstance(unit, str) or unit not in UNITS:
        raise ManualFileError(f"{METADATA}.unit: is not one of {', '.join(UNITS)}")
    if metadata.get("currency", "USD") != "USD":
        raise ManualFileError(f"{METADATA}.currency: prices are in USD")
    if metadata.get("updated") is None:
        return UNITS[unit], None
    updated = stated_instant(metadata["updated"])
    if updated is None or updated.year < 2000:
        raise ManualFileError(f"{METADATA}.updated: is not an ISO date such as 2026-11-20")
    if updated > now + _ONE_DAY:  # A date may have begun in another time zone.
        raise ManualFileError(f"{METADATA}.updated: is in the future")
    return UNITS[unit], min(updated, now)


def _read_entry(place: str, entry: object, unit: PricingFormat) -> RateCard:
    if not isinstance(entry, Mapping):
        raise ManualFileError(f"{place}: is not an object of prices")
    for key in entry:
        if key not in METERS and key != "free":
            raise ManualFileError(f"{place}: has the unknown key {printable(key)}")
    free = entry.get("free", False)
    if not isinstance(free, bool):
        raise ManualFileError(f"{place}.free: is not true or false")
    rates = []
    for key, meter in METERS.items():
        if key not in entry:
            continue
        try:
            price = read_price(key, entry[key], unit)
        except PriceError as error:
            raise ManualFileError(f"{place}.{key}: {error}") from None
        if price == 0 and not free:
            raise ManualFileError(f'{place}.{key}: zero, and the entry does not say "free": true')
        if price != 0 and free:
            raise ManualFileError(f"{place}.{key}: the entry says that the model is free")
        rates.append(Rate(meter, price))
    if free:
        rates = rates or [Rate(meter, Decimal(0)) for meter in TOKEN_METERS.values()]
        return RateCard.of(PriceState.FREE, rates)
    if not rates:
        raise ManualFileError(f"{place}: has no price")
    return RateCard.of(PriceState.PRICED, rates)


def read_price(key: str, value: object, unit: PricingFormat) -> Decimal:
    """A field's value in USD per one of its meter. Raises PriceError."""
    if key in TOKEN_METERS:
        return normalize_to_per_token(value, unit)
    return canonical(parse_price(value))


def _check_name(what: str, name: str) -> None:
    if fault := name_fault(name):
        raise ManualFileError(f"{what} {printable(name)!r}: {fault}")
    if name.startswith("_"):
        raise ManualFileError(f"{what} {printable(name)!r}: only {METADATA} begins with '_'")


def _doubts(place: str, card: RateCard) -> Sequence[str]:
    fields = {meter: key for key, meter in METERS.items()}
    return [
        f"{place}.{fields[rate.meter]}: {rate.price} USD per one"
        for rate in card.rates
        if is_implausible(fields[rate.meter], rate.price)
    ]


def _refuse_repeated_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names: dict[str, object] = {}
    for name, value in pairs:
        if name in names:
            raise ManualFileError(f"{printable(name)}: is named twice in the same object")
        names[name] = value
    return names
