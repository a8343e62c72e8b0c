"""Vercel AI Gateway's models API: prices as strings in USD **per token**, images per image.

Shape, units and the bounds of tiers: Vercel's page "Models & Providers", with one model as its
example. No payload was recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    ALWAYS,
    DYNAMIC,
    UNPRICED,
    Comparison,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    Threshold,
)
from pricing_server.domain.price_field import Field
from pricing_server.domain.source import OWN_API_RANK, Source, SourceEvidence, ZeroMeans
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
    "input": Field(Meter.INPUT_TOKENS, 1),
    "output": Field(Meter.OUTPUT_TOKENS, 1),
    "input_cache_read": Field(Meter.CACHE_READ_TOKENS, 1),
    "input_cache_write": Field(Meter.CACHE_WRITE_TOKENS, 1),
    "image": Field(Meter.OUTPUT_IMAGES, 1),
}
TIERED: Final = ("input", "output", "input_cache_read", "input_cache_write")
VARIES: Final = "varies_by_provider"
IN_DOUBT: Final = "web_search"


def read(document: object, received_at: datetime) -> Listing:
    """Turn a payload into rate cards.

    Zero means free only for ids that end in "-free". A price that varies by the provider that
    the gateway picks is decided per request.
    """
    rows = rows_under(document)
    return read_rows(rows, "vercel-ai-gateway", "Vercel AI Gateway", received_at, _listed)


def _listed(row: Mapping[str, object], listing: ListingBuilder, model_id: str) -> ListedModel:
    pricing = row.get("pricing")
    if pricing is not None and not isinstance(pricing, Mapping):
        raise RowError("pricing is not an object")
    evidence = ("id", "type", "pricing")
    return ListedModel(
        provider="vercel-ai-gateway",
        model_id=model_id,
        card=_card(model_id, pricing or {}, listing),
        fragment=fragment_text({key: row[key] for key in evidence if key in row}),
        context_length=context_length(
            row.get("context_window"), "context_window", listing, model_id
        ),
    )


def _card(model_id: str, pricing: Mapping[str, object], listing: ListingBuilder) -> RateCard:
    varies = pricing.get(VARIES)
    if varies is not None and not isinstance(varies, bool):
        raise RowError(f"pricing.{VARIES} is not true or false")
    declares_free = model_id.endswith("-free")
    rates = list(_rates(pricing, model_id, declares_free, listing))
    if varies:
        listing.notice(VARIES, "the price depends on the provider that serves", model_id)
        return DYNAMIC
    if any(rate.price for rate in rates):
        return RateCard.of(PriceState.PRICED, rates)
    return RateCard.of(PriceState.FREE, rates) if declares_free and rates else UNPRICED


def _rates(
    pricing: Mapping[str, object], model_id: str, declares_free: bool, listing: ListingBuilder
) -> Iterator[Rate]:
    known = {VARIES, *FIELDS, *(f"{key}_tiers" for key in TIERED)}
    for key, value in pricing.items():
        if value is None or key in known:
            continue
        if key == IN_DOUBT:
            listing.notice(f"unit_in_doubt:{key}", "per search or per 1,000 searches", model_id)
        else:
            listing.unknown_key(key, model_id)
    for key, declared in FIELDS.items():
        steps = _steps(key, pricing)
        if not declares_free and any(price == 0 for _, price in steps):
            if any(price for _, price in steps):
                # Left out, the step would be charged at the price of the one below.
                raise RowError(f"pricing.{key}_tiers has a zero among its prices")
            listing.zero(key, model_id)
            continue
        for start, price in reversed(steps):
            yield declared.rate(price, _from(start))


def _steps(key: str, pricing: Mapping[str, object]) -> list[tuple[int, Decimal]]:
    """(start, price) of each step of a price by the size of the request, upwards from 0."""
    base = pricing.get(key)
    steps = [] if base is None else [(0, _price(key, base))]
    tiers = pricing.get(f"{key}_tiers") if key in TIERED else None
    if not tiers:
        return steps
    if not isinstance(tiers, list):
        raise RowError(f"pricing.{key}_tiers is not a list")
    read = [_tier(key, tier) for tier in tiers]
    for (_, end, _), (start, _, _) in pairwise(read):
        if end != start:
            raise RowError(f"pricing.{key}_tiers leaves sizes without a price or with two")
    if read[-1][1] is not None:
        raise RowError(f"pricing.{key}_tiers has no price for the largest requests")
    first = read[0]
    if first[0] == 0 and steps and steps[0][1] != first[2]:
        raise RowError(f"pricing.{key} is not the price of its first tier")
    if first[0] > 0 and not steps:
        raise RowError(f"pricing.{key}_tiers has no price for the smallest requests")
    below = steps if first[0] > 0 else []
    return [*below, *((start, price) for start, _, price in read)]


def _tier(key: str, tier: object) -> tuple[int, int | None, Decimal]:
    """Start (included), end (excluded, None for none) and price of a tier."""
    stated = tier if isinstance(tier, Mapping) else {}
    start, end = stated.get("min", 0), stated.get("max")
    for bound in (start, 0 if end is None else end):
        if not isinstance(bound, int) or isinstance(bound, bool) or bound < 0:
            raise RowError(f"a bound of pricing.{key}_tiers is not a number of tokens")
    if end is not None and end <= start:
        raise RowError(f"a tier of pricing.{key}_tiers ends before it begins")
    return start, end, _price(key, stated.get("cost"))


def _price(key: str, value: object) -> Decimal:
    try:
        return FIELDS[key].read(value)
    except ValueError as error:
        raise RowError(f"pricing.{key} is {error}") from None


def _from(start: int) -> Conditions:
    if start == 0:
        return ALWAYS
    return Conditions(threshold=Threshold(Meter.INPUT_TOKENS, Comparison.AT_LEAST, start))


SOURCE: Final = Source(
    slug="vercel-ai-gateway",
    display_name="Vercel AI Gateway models API",
    rank=OWN_API_RANK,
    read=read,
    evidence=SourceEvidence.DOCUMENTED,
    provider="vercel-ai-gateway",
    endpoint="https://ai-gateway.vercel.sh/v1/models",
    fields={f"pricing.{key}": declared for key, declared in FIELDS.items()},
    context_length_field="context_window",
    zero_means=ZeroMeans.FREE_IF_DECLARED,
    free_where="the id ends in `-free`",
    facts='Vercel\'s page "Models & Providers" with its example, read in 2026.',
    notes=(
        "`*_tiers[]` {cost, min, max}: by the size of the prompt, `min` included, `max` excluded "
        "and absent on the last. The first tier must cost what the field says. Tiers that "
        "overlap, leave a gap or end are a fault of their model.",
        "`varies_by_provider`: what is listed is the price of one of the providers that the "
        "gateway may pick. Such a model is `DYNAMIC` and named in the run.",
        "`image` is USD per generated image.",
        "`web_search` is documented per search request, but payloads that others published say 10, "
        "which is what 1,000 searches cost: it becomes no rate, and the run names it "
        "(`unit_in_doubt:web_search`).",
    ),
)
