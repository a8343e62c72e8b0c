"""OpenRouter's models API: prices as strings in USD **per token**.

Shapes, units and rules: OpenRouter's API reference (components Pricing and
PricingOverride) and three recorded payloads of 2026. Two payload shapes are
read: the API's `{data}` and the recorder's envelope `{fetchedAt, count, data}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    ALWAYS,
    DYNAMIC,
    MINUTES_PER_DAY,
    UNPRICED,
    Comparison,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    Threshold,
    UtcWindow,
)
from llmpricing.units import same_price
from pricing_server.domain.names import printable
from pricing_server.domain.price_field import Field
from pricing_server.domain.source import (
    OWN_API_RANK,
    SAYS_ALL,
    KeyUse,
    Source,
    SourceEvidence,
    ZeroMeans,
)
from pricing_server.domain.source_listing import ListedModel, Listing, PartialPrice, SourceError
from pricing_server.providers.context_length import context_length
from pricing_server.providers.lifecycle import retirement_time
from pricing_server.providers.listing_builder import (
    ListingBuilder,
    RowError,
    fragment_text,
    optional_name,
    rows_under,
)
from pricing_server.providers.rows import read_rows

FIELDS: Final[Mapping[str, Field]] = {
    "prompt": Field(Meter.INPUT_TOKENS, 1),
    "completion": Field(Meter.OUTPUT_TOKENS, 1),
    "input_cache_read": Field(Meter.CACHE_READ_TOKENS, 1),
    "input_cache_write": Field(Meter.CACHE_WRITE_TOKENS, 1),
    "input_cache_write_1h": Field(Meter.CACHE_WRITE_1H_TOKENS, 1),
    "audio": Field(Meter.INPUT_AUDIO_TOKENS, 1),
    "audio_output": Field(Meter.OUTPUT_AUDIO_TOKENS, 1),
    "input_audio_cache": Field(Meter.CACHE_AUDIO_READ_TOKENS, 1),
    "image_token": Field(Meter.INPUT_IMAGE_TOKENS, 1),
    "image_output": Field(Meter.OUTPUT_IMAGE_TOKENS, 1),
    "internal_reasoning": Field(Meter.OUTPUT_REASONING_TOKENS, 1),
    "image": Field(Meter.INPUT_IMAGES, 1),
    "request": Field(Meter.REQUESTS, 1),
    "web_search": Field(Meter.WEB_SEARCHES, 1),
}
HEADLINE_KEYS: Final = ("prompt", "completion")
CONDITION_KEYS: Final = frozenset({"min_prompt_tokens", "utc_start", "utc_end"})


def read(document: object, received_at: datetime) -> Listing:
    """Turn a payload into rate cards.

    Zero means free only for ids that end in ":free"; any other zero is a price that
    is not stated here (such models are charged in another way). -1 is a router,
    whose price is decided per request. A row that says so of some base keys only is
    partial: it does not take back what was stated of these.
    """
    rows, obtained_at = _open_envelope(document, received_at)
    return read_rows(rows, "openrouter", "OpenRouter", obtained_at, _listed_model)


def _listed_model(row: Mapping[str, object], listing: ListingBuilder, model_id: str) -> ListedModel:
    pricing = row.get("pricing")
    if not isinstance(pricing, Mapping):
        raise RowError("pricing is missing")
    target = row.get("alias_target")
    evidence = ("id", "canonical_slug", "alias_target", "pricing", "expiration_date")
    card, partial = _prices(model_id, pricing, listing)
    return ListedModel(
        provider="openrouter",
        model_id=model_id,
        card=card,
        fragment=fragment_text({key: row[key] for key in evidence if key in row}),
        hugging_face_id=optional_name(row.get("hugging_face_id")),
        canonical_slug=optional_name(row.get("canonical_slug")),
        alias_target=optional_name(target.get("slug")) if isinstance(target, Mapping) else None,
        context_length=context_length(
            row.get("context_length"), "context_length", listing, model_id
        ),
        retirement_time=retirement_time(
            row.get("expiration_date"), "expiration_date", listing, model_id
        ),
        partial=partial,
    )


def _open_envelope(document: object, received_at: datetime) -> tuple[list[object], datetime]:
    rows = rows_under(document)
    if not rows:
        raise SourceError("the payload lists no models")
    if not isinstance(document, Mapping) or "fetchedAt" not in document:
        return rows, received_at
    if document.get("count", len(rows)) != len(rows):
        raise SourceError(
            f"the recording is cut: it announces {printable(document['count'])} models "
            f"and holds {len(rows)}"
        )
    try:
        fetched_at = datetime.fromisoformat(str(document["fetchedAt"]))
        if fetched_at.tzinfo is None:
            fetched_at = fetched_at.replace(tzinfo=UTC)
        fetched_at = fetched_at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise SourceError("the recording's 'fetchedAt' is not a date") from None
    return rows, min(fetched_at, received_at)


def _prices(
    model_id: str, pricing: Mapping[str, object], listing: ListingBuilder
) -> tuple[RateCard, PartialPrice | None]:
    for key in HEADLINE_KEYS:
        if pricing.get(key) is None:
            raise RowError(f"pricing.{key} is missing")
    dynamic = [_is_dynamic(pricing[key]) for key in HEADLINE_KEYS]
    if all(dynamic):
        return DYNAMIC, None
    stated = _card(model_id, pricing, listing)
    in_doubt = tuple(
        field.meter
        for key, field in FIELDS.items()
        if key in pricing and _is_in_doubt(field, pricing[key], _declares_free(model_id))
    )
    partial = PartialPrice(stated, in_doubt) if in_doubt else None
    return DYNAMIC if any(dynamic) else stated, partial


def _card(model_id: str, pricing: Mapping[str, object], listing: ListingBuilder) -> RateCard:
    declares_free = _declares_free(model_id)
    base = list(_rates(pricing, ALWAYS, model_id, declares_free, listing))
    overrides = [
        rate
        for entry in _override_entries(pricing)
        for rate in _rates(entry, _conditions(entry), model_id, declares_free, listing)
    ]
    # Among the overrides that apply the later one wins, key by key; what it does
    # not name keeps the base price. A card is read the other way round: first wins.
    by_key = {rate.key: rate for rate in [*base, *overrides]}
    rates = [by_key[key] for key in dict.fromkeys(rate.key for rate in [*overrides[::-1], *base])]
    if any(rate.price for rate in rates):
        return RateCard.of(PriceState.PRICED, rates)
    return RateCard.of(PriceState.FREE, rates) if declares_free else UNPRICED


def _rates(
    prices: Mapping[str, object],
    conditions: Conditions,
    model_id: str,
    declares_free: bool,
    listing: ListingBuilder,
) -> Iterator[Rate]:
    for key, value in prices.items():
        declared = FIELDS.get(key)
        if value is None or key in CONDITION_KEYS or key == "overrides":
            continue
        if declared is None:
            if conditions is not ALWAYS:
                raise RowError(f"an override has the unknown key {printable(key)}")
            listing.unknown_key(key, model_id)
        elif _is_dynamic(value):
            _refuse_in_override(key, conditions)
            listing.notice(f"dynamic_rate:{key}", "decided per request, no rate", model_id)
        else:
            price = _read(key, declared, value)
            if price == 0 and not declares_free:
                _refuse_in_override(key, conditions)
                listing.zero(key, model_id)
            elif key == "image" and _costs_what_a_token_costs(price, prices):
                listing.notice(
                    "unit_in_doubt:image",
                    "documented as USD per image, but equal to the price of one prompt token",
                    model_id,
                )
            else:
                yield Rate(declared.meter, price, conditions)


def _read(key: str, declared: Field, value: object) -> Decimal:
    try:
        return declared.read(value)
    except ValueError as error:
        raise RowError(f"pricing.{key} is {error}") from None


def _costs_what_a_token_costs(price: Decimal, prices: Mapping[str, object]) -> bool:
    # Recorded in all 29 rows with this key, and 258 to 1290 times below what these
    # sellers charge for an image. As image tokens are input tokens at the same
    # price, leaving the rate out loses nothing; keeping it would undercharge.
    prompt = prices.get("prompt")
    if prompt is None or _is_dynamic(prompt):
        return False
    return same_price(price, FIELDS["prompt"].read(prompt))


def _override_entries(pricing: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    overrides = pricing.get("overrides") or []
    if not isinstance(overrides, list):
        raise RowError("pricing.overrides is not a list")
    for entry in overrides:
        if not isinstance(entry, Mapping):
            raise RowError("an override is not an object")
        yield entry


def _conditions(entry: Mapping[str, object]) -> Conditions:
    threshold = window = None
    if (quantity := entry.get("min_prompt_tokens")) is not None:
        if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 0:
            raise RowError("an override's min_prompt_tokens is not a count")
        threshold = Threshold(Meter.INPUT_TOKENS, Comparison.AT_LEAST, quantity)
    if entry.get("utc_start") is not None or entry.get("utc_end") is not None:
        window = UtcWindow(_minute(entry.get("utc_start")), _minute(entry.get("utc_end")))
    if threshold is None and window is None:
        raise RowError("an override has no condition")
    return Conditions(threshold=threshold, utc_window=window)


def _minute(hhmm: object) -> int:
    """Minutes after midnight of a clock time written as a number: 1630 is 16:30, 100 is 01:00."""
    if not isinstance(hhmm, int) or isinstance(hhmm, bool):
        raise RowError("an override's time of day is not a number")
    hours, minutes = divmod(hhmm, 100)
    if not (0 <= hours <= 24 and 0 <= minutes < 60 and hhmm <= 2400):
        raise RowError("an override's time of day is not a clock time")
    return (hours * 60 + minutes) % MINUTES_PER_DAY


def _refuse_in_override(key: str, conditions: Conditions) -> None:
    # Left out of an override, it would be charged at the base price.
    if conditions is not ALWAYS:
        raise RowError(f"an override's {key} is not a price")


def _declares_free(model_id: str) -> bool:
    return model_id.endswith(":free")


def _is_in_doubt(field: Field, value: object, declares_free: bool) -> bool:
    if value is None:
        return False
    return _is_dynamic(value) or (not declares_free and field.read(value) == 0)


def _is_dynamic(value: object) -> bool:
    return isinstance(value, (str, int, Decimal)) and str(value).strip() == "-1"


SOURCE: Final = Source(
    slug="openrouter",
    display_name="OpenRouter models API",
    rank=OWN_API_RANK,
    read=read,
    evidence=SourceEvidence.RECORDED,
    proven_units=True,
    provider="openrouter",
    endpoint="https://openrouter.ai/api/v1/models",
    key_use=KeyUse.OPTIONAL,
    fields={f"pricing.{key}": declared for key, declared in FIELDS.items()},
    context_length_field="context_length",
    coverage=SAYS_ALL,
    zero_means=ZeroMeans.FREE_IF_DECLARED,
    free_where="the id ends in `:free`",
    facts="Recorded payloads of three days in 2026, and OpenRouter's API reference. The bundled "
    "catalogue has 360 models of the newest, at a median ratio of 1 for prompt and completion.",
    notes=(
        "`expiration_date` is when the model retires.",
        "Also read: the envelope `{fetchedAt, count, data}` of a recorder, whose `fetchedAt` is "
        "then the `verified_time`.",
        "`-1` is a router: `DYNAMIC`.",
        "A zero without `:free` is not a price: `google/lyria-3-pro-preview` says 0 and charges "
        "per song.",
        "A base key that turns to such a zero, or to `-1` while others are prices, keeps the rate "
        "that OpenRouter stated last (`rate_no_longer_stated`), with its overrides if the row has "
        "none for it, and the whole price is `UNCONFIRMED`. What was never stated stays unknown, "
        "and so does a base rate that would now apply under conditions that had a rate of their "
        "own.",
        "`overrides[]`: conditions `min_prompt_tokens` (that many or more) and "
        "`utc_start`/`utc_end` (hhmm, may pass midnight); among those that apply, later entries "
        "win key by key. An override with a key that is not understood is a fault of its model, "
        "which then keeps its last price.",
        "`image` is documented as USD per input image. In every recorded row that has it, it "
        "equals the price of one prompt *token*, hundreds of times below what those sellers "
        "charge for an image. Such a value is in doubt and becomes no rate; the run names it "
        "(`unit_in_doubt:image`). Image tokens are input tokens at the same price, so nothing is "
        "lost. A value that differs from the token price is taken as documented.",
        "`image_output` is documented per output image, and its values ($30 to $120 per million) "
        "are those sellers' prices of output image *tokens*; it is read per token.",
        "`~vendor/model-latest` keeps its own listed price and names its target.",
    ),
)
