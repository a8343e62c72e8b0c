"""Google's Cloud Billing catalogue: SKUs with a price, joined to models by their description.

Shape and units: the reference of `services.skus` (`unitPrice` is units + nanos of a currency for
one `usageUnit`; `displayQuantity` only says how a page shows it), and billing exports that others
published: an invoice of 622,403 "count" at 1.56 USD is 2.50 USD per 1M tokens, so one count is
one token.

What a description means is told by the adapters. Here prices are read, and only those become
rates that leave no question: one price for a meter, and a price for long requests wherever
there is one for short ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    UNPRICED,
    Comparison,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    Threshold,
)
from llmpricing.units import EXACT
from pricing_server.domain.names import printable
from pricing_server.domain.price_field import Field
from pricing_server.domain.source import Paging
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.providers.listing_builder import (
    ListingBuilder,
    RowError,
    fragment_text,
    rows_under,
)

INPUT_METERS: Final[Mapping[str, Meter]] = {
    "text": Meter.INPUT_TOKENS,
    "image": Meter.INPUT_IMAGE_TOKENS,
    "audio": Meter.INPUT_AUDIO_TOKENS,
    "video": Meter.INPUT_VIDEO_TOKENS,
}
CACHED_METERS: Final[Mapping[str, Meter]] = {
    "text": Meter.CACHE_READ_TOKENS,
    "image": Meter.CACHE_IMAGE_READ_TOKENS,
    "audio": Meter.CACHE_AUDIO_READ_TOKENS,
    "video": Meter.CACHE_VIDEO_READ_TOKENS,
}
OUTPUT_METERS: Final[Mapping[str, Meter]] = {
    "text": Meter.OUTPUT_TOKENS,
    "image": Meter.OUTPUT_IMAGE_TOKENS,
    "audio": Meter.OUTPUT_AUDIO_TOKENS,
}
CONTEXTS: Final[Mapping[str | None, tuple[tuple[str, str], ...]]] = {
    None: (),
    "batch": (("processing", "batch"),),
    "flex": (("service_tier", "flex"),),
    "priority": (("service_tier", "priority"),),
}
"""In the words of the bundled catalogue."""

FIELDS: Final[Mapping[str, Field]] = {
    f"unitPrice of {what} {kind} tokens": Field(meter, 1)
    for what, meters in (
        ("input", INPUT_METERS),
        ("cached input", CACHED_METERS),
        ("output", OUTPUT_METERS),
    )
    for kind, meter in meters.items()
}
PAGING: Final = Paging("skus", "pageToken", "nextPageToken")

_FIELD_OF: Final = {declared.meter: declared for declared in FIELDS.values()}
_COARSE: Final = Decimal("1E-7")
"""USD. Nanos are whole: below it, the last digit of a price may be more than 0.5 % of it."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a SKU prices. `is_long` is None where the description tells no length."""

    model_id: str
    meter: Meter
    tier: str | None = None
    is_long: bool | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """Why a description is not taken for a price: a code, as it is named in the run."""

    code: str


@dataclass(slots=True)
class _Model:
    skus: list[Mapping[str, object]] = field(default_factory=list)
    meanings: list[Meaning] = field(default_factory=list)


def read_skus(
    document: object,
    received_at: datetime,
    provider: str,
    name: str,
    meaning_of: Callable[[str], Meaning | Unread],
    long_above: Mapping[str, int],
) -> Listing:
    """Turn SKUs into rate cards; those that are not understood are counted and named.

    `long_above` has the models with other prices for long requests: above so many input tokens.
    """
    listing = ListingBuilder()
    models: dict[str, _Model] = {}
    for row in rows_under(document, "skus"):
        sku = row if isinstance(row, Mapping) else {}
        description = sku.get("description")
        if not isinstance(description, str) or not description.strip():
            listing.notice("sku:unreadable", "a SKU without a description", printable(row))
            continue
        meaning = meaning_of(" ".join(description.lower().replace("_", " ").split()))
        if isinstance(meaning, Unread):
            code = f"sku:{printable(meaning.code, 60)}"
            listing.notice(code, "a SKU that is not read", printable(description))
            continue
        model = models.setdefault(meaning.model_id, _Model())
        model.skus.append(sku)
        model.meanings.append(meaning)
    for model_id, model in models.items():
        long = long_above.get(model_id)
        read = partial(_listed, provider, model, long, listing)
        listing.read_row(provider, model_id, read, model.skus)
    return listing.build(received_at, {provider: name})


def _listed(
    provider: str, model: _Model, long_above: int | None, listing: ListingBuilder, model_id: str
) -> ListedModel:
    prices: dict[tuple[Meter, str | None], dict[bool | None, set[Decimal]]] = {}
    for sku, meaning in zip(model.skus, model.meanings, strict=True):
        price = _price(sku, meaning, listing)
        if price is not None:
            by_length = prices.setdefault((meaning.meter, meaning.tier), {})
            by_length.setdefault(meaning.is_long, set()).add(price)
    rates = [
        rate
        for (meter, tier), by_length in prices.items()
        for rate in _rates(meter, tier, by_length, long_above, listing, model_id)
    ]
    evidence = ("skuId", "description", "serviceRegions", "pricingInfo")
    skus = [{key: sku[key] for key in evidence if key in sku} for sku in model.skus]
    # Of equal conditions there is one rate; those with more conditions come first.
    rates.sort(key=lambda rate: (not rate.conditions.context, rate.conditions.threshold is None))
    return ListedModel(
        provider=provider,
        model_id=model_id,
        card=RateCard.of(PriceState.PRICED, rates) if rates else UNPRICED,
        fragment=fragment_text({"skus": skus}),
    )


def _rates(
    meter: Meter,
    tier: str | None,
    by_length: Mapping[bool | None, set[Decimal]],
    long_above: int | None,
    listing: ListingBuilder,
    model_id: str,
) -> Iterator[Rate]:
    short = sorted(by_length.get(None, set()) | by_length.get(False, set()))
    long = sorted(by_length.get(True, set()))
    has_lengths = long_above is not None or False in by_length
    if len(short) > 1 or len(long) > 1:
        listing.notice("sku:contradiction", "SKUs state several prices of one meter", model_id)
    elif not short or (has_lengths and not long):
        listing.notice("sku:half", "a price for short or for long requests only", model_id)
    elif long and long != short and long_above is None:
        listing.notice("sku:length", "it is not known which requests are long", model_id)
    else:
        declared, context = _FIELD_OF[meter], CONTEXTS[tier]
        if long and long != short and long_above is not None:
            threshold = Threshold(Meter.INPUT_TOKENS, Comparison.ABOVE, long_above)
            yield declared.rate(long[0], Conditions(threshold=threshold, context=context))
        yield declared.rate(short[0], Conditions(context=context))


def _price(sku: Mapping[str, object], meaning: Meaning, listing: ListingBuilder) -> Decimal | None:
    """USD per token; None for a SKU that states it in a way that is not read."""
    stated = sku.get("pricingInfo")
    if not isinstance(stated, list) or not stated:
        raise RowError("a SKU has no pricingInfo")
    expressions = [_inner(each, "pricingExpression") for each in stated]
    rates = expressions[0].get("tieredRates")
    if not isinstance(rates, list) or not rates:
        raise RowError("a SKU has no tieredRates")
    if expressions[0].get("usageUnit") != "count":
        listing.notice("sku:unit", "a price per something else than a token", meaning.model_id)
        return None
    if len(stated) > 1 or len(rates) > 1 or _inner(rates[0]).get("startUsageAmount", 0) != 0:
        # Tiers by what is used in a month, of which a request knows nothing.
        listing.notice("sku:tiers", "prices by monthly usage or date", meaning.model_id)
        return None
    price = _dollars(_inner(rates[0], "unitPrice"))
    if price == 0:
        listing.zero(f"{meaning.meter}", meaning.model_id)
        return None
    if price < _COARSE:
        listing.notice("coarse_price", "rounded to a billionth of a dollar", meaning.model_id)
    return price


def _dollars(price: Mapping[str, object]) -> Decimal:
    units, nanos = price.get("units", "0"), price.get("nanos", 0)
    if price.get("currencyCode") != "USD":
        raise RowError("a SKU's price is not in USD")
    whole = units if isinstance(units, str) else str(units) if type(units) is int else ""
    if not (whole.isascii() and whole.isdecimal() and len(whole) <= 9):
        raise RowError("the units of a SKU's price are not a whole number")
    if type(nanos) is not int or not 0 <= nanos < 1_000_000_000:
        raise RowError("the nanos of a SKU's price are not between 0 and 999999999")
    return EXACT.add(Decimal(whole), Decimal(nanos).scaleb(-9, context=EXACT))


def _inner(value: object, key: str | None = None) -> Mapping[str, object]:
    found = value.get(key) if key is not None and isinstance(value, Mapping) else value
    if not isinstance(found, Mapping):
        raise RowError(f"a SKU's {key or 'rate'} is not an object")
    return found
