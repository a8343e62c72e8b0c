"""What the keys of a row of litellm's price file price, in which unit and on which conditions.

The rules are those of litellm's cost calculation (module llm_cost_calc). Every key that
looks like a price becomes a rate or is named in the run's notices.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import ALWAYS, Comparison, Conditions, Rate, Threshold
from pricing_server.domain.names import printable
from pricing_server.domain.price_field import Field
from pricing_server.providers.listing_builder import ListingBuilder, RowError
from pricing_server.providers.litellm_multipliers import MULTIPLIER_KEYS, multiplied
from pricing_server.providers.litellm_off_peak import OFF_PEAK, off_peak_rates

TOKEN_FIELDS: Final[Mapping[str, Field]] = {
    "input_cost_per_token": Field(Meter.INPUT_TOKENS, 1),
    "output_cost_per_token": Field(Meter.OUTPUT_TOKENS, 1),
    "cache_read_input_token_cost": Field(Meter.CACHE_READ_TOKENS, 1),
    "input_cost_per_token_cache_hit": Field(Meter.CACHE_READ_TOKENS, 1),
    "cache_creation_input_token_cost": Field(Meter.CACHE_WRITE_TOKENS, 1),
    "cache_creation_input_token_cost_above_1hr": Field(Meter.CACHE_WRITE_1H_TOKENS, 1),
    "input_cost_per_audio_token": Field(Meter.INPUT_AUDIO_TOKENS, 1),
    "output_cost_per_audio_token": Field(Meter.OUTPUT_AUDIO_TOKENS, 1),
    "cache_read_input_audio_token_cost": Field(Meter.CACHE_AUDIO_READ_TOKENS, 1),
    "cache_creation_input_audio_token_cost": Field(Meter.CACHE_AUDIO_WRITE_TOKENS, 1),
    "input_cost_per_image_token": Field(Meter.INPUT_IMAGE_TOKENS, 1),
    "output_cost_per_image_token": Field(Meter.OUTPUT_IMAGE_TOKENS, 1),
    "cache_read_input_image_token_cost": Field(Meter.CACHE_IMAGE_READ_TOKENS, 1),
    "input_cost_per_video_token": Field(Meter.INPUT_VIDEO_TOKENS, 1),
    "output_cost_per_video_token": Field(Meter.OUTPUT_VIDEO_TOKENS, 1),
    "output_cost_per_reasoning_token": Field(Meter.OUTPUT_REASONING_TOKENS, 1),
    "citation_cost_per_token": Field(Meter.OUTPUT_CITATION_TOKENS, 1),
    "input_cost_per_request": Field(Meter.REQUESTS, 1),
    "input_cost_per_text_message": Field(Meter.INPUT_TEXT_MESSAGES, 1),
}
FIELDS_BY_MODE: Final[Mapping[tuple[str, str], Field]] = {
    ("input_cost_per_second", "audio_transcription"): Field(Meter.INPUT_AUDIO_SECONDS, 1),
    ("input_cost_per_audio_per_second", "embedding"): Field(Meter.INPUT_AUDIO_SECONDS, 1),
    ("input_cost_per_character", "audio_speech"): Field(Meter.INPUT_CHARACTERS, 1),
    ("input_cost_per_image", "embedding"): Field(Meter.INPUT_IMAGES, 1),
    ("output_cost_per_image", "image_generation"): Field(Meter.OUTPUT_IMAGES, 1),
    ("output_cost_per_image", "image_edit"): Field(Meter.OUTPUT_IMAGES, 1),
    ("input_cost_per_query", "rerank"): Field(Meter.RERANK_SEARCHES, 1),
    ("input_cost_per_query", "search"): Field(Meter.WEB_SEARCHES, 1),
    ("ocr_cost_per_page", "ocr"): Field(Meter.INPUT_DOCUMENT_PAGES, 1),
    ("annotation_cost_per_page", "ocr"): Field(Meter.INPUT_ANNOTATED_DOCUMENT_PAGES, 1),
}
"""Keys that mean one thing for one kind of model, and for others another or no one thing."""

SEARCH_SIZES: Final = "search_context_cost_per_query"
SEARCH: Final = Field(Meter.WEB_SEARCHES, 1)

_READ_APART: Final = frozenset({"tiered_pricing", OFF_PEAK, *MULTIPLIER_KEYS})
_KEYS_BY_MODE: Final = frozenset(key for key, _ in FIELDS_BY_MODE)
_INSTEAD_OF_TOKENS: Final = {
    # Stated beside a price of tokens, these restate it: both would charge twice.
    "input_cost_per_second": "input_",
    "input_cost_per_character": "input_",
    "ocr_cost_per_page": "input_",
    "output_cost_per_image": "output_",
}
_CONTEXTS: Final[Mapping[str | None, tuple[tuple[str, str], ...]]] = {
    None: (),
    "batches": (("processing", "batch"),),
    **{tier: (("service_tier", tier),) for tier in ("flex", "priority", "balanced", "ultrafast")},
}
_KEY: Final = re.compile(
    r"(?P<base>.+?)(?:_above_(?P<quantity>\d{1,9})(?P<k>k?)_tokens)?"
    rf"(?:_(?P<context>{'|'.join(filter(None, _CONTEXTS))}))?"
)
_LONGEST_KEY: Final = 100

_DOUBT: Final = "a price whose unit depends on the mode, or that restates a price of tokens"
_PRICE_WORDS: Final = re.compile("cost|pric|multiplier|free_requests|provider_specific_entry")
_INCLUSIVE_SELLERS: Final = frozenset({"x-ai"})
_PER_PROMPT_SELLERS: Final = frozenset({"google", "google-vertex"})


def is_price_key(key: str) -> bool:
    """Whether a key looks as if it stated a price, or what changes one."""
    return _PRICE_WORDS.search(key) is not None


def rates_of(
    name: str, row: Mapping[str, object], seller: str, listing: ListingBuilder
) -> Sequence[Rate]:
    """The rates of a row in order of precedence, multiplied ones first. Raises RowError."""
    return multiplied(_stated_rates(name, row, seller, listing), name, row, seller, listing)


def _stated_rates(
    name: str, row: Mapping[str, object], seller: str, listing: ListingBuilder
) -> Iterator[Rate]:
    rates = _untiered_rates(name, row, seller, listing)
    for rate in _tier_rates(name, row.get("tiered_pricing"), listing):
        # The first tier may repeat the price without tiers.
        if not rates.setdefault(rate.key, rate).same_price_as(rate):
            raise RowError(f"tiered_pricing contradicts another price of {rate.meter}")
    if (off_peak := row.get(OFF_PEAK)) is not None:
        if any(rate.conditions.threshold or rate.conditions.context for rate in rates.values()):
            raise RowError("off-peak prices beside those of tiers or modes: which ones hold?")
        yield from off_peak_rates(off_peak, TOKEN_FIELDS)
    yield from sorted(rates.values(), key=_precedence)


def _untiered_rates(
    name: str, row: Mapping[str, object], seller: str, listing: ListingBuilder
) -> dict[tuple[Meter, Conditions], Rate]:
    """The rates of all keys but tiered_pricing, by what makes each the rate it is."""
    rates: dict[tuple[Meter, Conditions], Rate] = {}
    zeros: list[Rate] = []
    comparison = Comparison.AT_LEAST if seller in _INCLUSIVE_SELLERS else Comparison.ABOVE
    for key, value in row.items():
        if value is None or key in _READ_APART or not is_price_key(key):
            continue
        if key == SEARCH_SIZES:
            rates |= {rate.key: rate for rate in _search_rates(name, row, seller, listing)}
            continue
        rate = _rate_of_key(key, row, comparison, name, listing)
        if rate is None:
            continue
        if rate.price == 0:
            zeros.append(rate)
            listing.zero(key, name)
        elif rate.key not in rates:
            rates[rate.key] = rate
        elif not rate.same_price_as(rates[rate.key]):
            raise RowError(f"{printable(key)} contradicts another price of the same")
    for zero in zeros:
        if zero.conditions is not ALWAYS and (zero.meter, ALWAYS) in rates:
            # Left out, it would be charged at the standard price.
            raise RowError(f"a conditional price of {zero.meter} is zero")
    return rates


def _rate_of_key(
    key: str,
    row: Mapping[str, object],
    comparison: Comparison,
    name: str,
    listing: ListingBuilder,
) -> Rate | None:
    """The rate of one price key; None, and a notice, if its meaning is unknown or in doubt."""
    # Longer keys are not even looked up, since the answers are remembered.
    known = _known_key(key, comparison) if len(key) <= _LONGEST_KEY else None
    if known is None:
        listing.unknown_key(key, name)
        return None
    base, conditions = known
    declared = _declared(base, row)
    if declared is None:
        listing.notice(f"unit_in_doubt:{base}", _DOUBT, name)
        return None
    return _read(key, declared, row[key], conditions)


@lru_cache(maxsize=4_096)
def _known_key(key: str, comparison: Comparison) -> tuple[str, Conditions] | None:
    """A price key as (base key, conditions); None if it is not declared."""
    match = _KEY.fullmatch(key)
    if match is None or match["base"] not in _KEYS_BY_MODE | TOKEN_FIELDS.keys():
        return None
    threshold = None
    if match["quantity"]:
        quantity = int(match["quantity"]) * (1_000 if match["k"] else 1)
        threshold = Threshold(Meter.INPUT_TOKENS, comparison, quantity)
    context = _CONTEXTS[match["context"]]
    return match["base"], Conditions(threshold, context) if threshold or context else ALWAYS


def _declared(base: str, row: Mapping[str, object]) -> Field | None:
    """The field of a key in a row of this mode, None if its unit is in doubt there."""
    if base in TOKEN_FIELDS:
        return TOKEN_FIELDS[base]
    if direction := _INSTEAD_OF_TOKENS.get(base):
        if any(row.get(key) and key.startswith(direction) for key in TOKEN_FIELDS):
            return None
        sizes = (key for key in row if key.startswith("output_cost_per_image_"))
        if base == "output_cost_per_image" and any(sizes):
            return None
    return FIELDS_BY_MODE.get((base, str(row.get("mode"))))


def _search_rates(
    name: str, row: Mapping[str, object], seller: str, listing: ListingBuilder
) -> Iterator[Rate]:
    sizes = row[SEARCH_SIZES]
    if not isinstance(sizes, Mapping):
        raise RowError(f"{SEARCH_SIZES} is not an object")
    if seller in _PER_PROMPT_SELLERS and row.get("web_search_billing_unit") != "per_query":
        listing.notice(f"unit_in_doubt:{SEARCH_SIZES}", "per prompt, however many searches", name)
        return
    prefix = "search_context_size_"
    priced: dict[str, Rate] = {}
    for key, value in sizes.items():
        rate = _read(f"{SEARCH_SIZES}.{key}", SEARCH, value, ALWAYS)
        if not key.startswith(prefix):
            listing.unknown_key(f"{SEARCH_SIZES}.{key}", name)
        elif rate.price == 0:
            listing.zero(f"{SEARCH_SIZES}.{key}", name)
        else:
            priced[key] = rate
    if len({rate.price for rate in priced.values()}) == 1 and len(priced) == len(sizes):
        yield next(iter(priced.values()))
        return
    for key, rate in priced.items():
        context = (("search_context_size", key.removeprefix(prefix)),)
        yield Rate(rate.meter, rate.price, Conditions(context=context))


def _tier_rates(name: str, tiers: object, listing: ListingBuilder) -> Iterator[Rate]:
    """Rates by ranges of input tokens: above a range's start, up to and with its end."""
    if tiers is None:
        return
    if not isinstance(tiers, list) or not all(isinstance(tier, Mapping) for tier in tiers):
        raise RowError("tiered_pricing is not a list of objects")
    if not any("range" in tier for tier in tiers):
        listing.notice("not_read:tiered_pricing", "prices by another size than input tokens", name)
        return
    if len({frozenset(tier) for tier in tiers}) != 1:
        raise RowError("the tiers of tiered_pricing do not state the same prices")
    end = 0
    for tier in tiers:
        start, end = _range(tier["range"], end)
        threshold = Threshold(Meter.INPUT_TOKENS, Comparison.ABOVE, start)
        conditions = Conditions(threshold) if start else ALWAYS
        for key, value in tier.items():
            if key == "range":
                continue
            if key not in TOKEN_FIELDS:
                raise RowError(f"a tier has the unknown key {printable(key)}")
            rate = _read(key, TOKEN_FIELDS[key], value, conditions)
            if rate.price == 0:
                raise RowError(f"a tier's {key} is zero")
            yield rate


def _range(stated: object, follows: int) -> tuple[int, int]:
    ends = [
        int(end)
        for end in (stated if isinstance(stated, list) else ())
        if isinstance(end, (int, Decimal)) and _is_count(Decimal(end))
    ]
    if len(ends) != 2 or ends[0] != follows or ends[0] >= ends[1]:
        raise RowError("the ranges of tiered_pricing are not one after the other")
    return ends[0], ends[1]


def _is_count(number: Decimal) -> bool:
    return number.is_finite() and 0 <= number < 10**9 and number == number.to_integral_value()


def _read(key: str, declared: Field, value: object, conditions: Conditions) -> Rate:
    try:
        return declared.rate(value, conditions)
    except ValueError as error:
        raise RowError(f"{printable(key)} is {error}") from None


def _precedence(rate: Rate) -> tuple[int, bool]:
    # What a tier does not state above a threshold is charged as above it without the tier.
    threshold = rate.conditions.threshold
    return -threshold.quantity if threshold else 0, not rate.conditions.context
