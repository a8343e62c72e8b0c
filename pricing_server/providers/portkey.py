"""Portkey's price files, one for each seller: JSON numbers in **US cents per token**.

Unit and fields: the README of the repository Portkey-AI/models and three recorded files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    ALWAYS,
    UNPRICED,
    Comparison,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    Threshold,
)
from llmpricing.units import same_price
from pricing_server.domain.json_document import RepeatedValue
from pricing_server.domain.names import printable
from pricing_server.domain.price_field import US_CENT, Field
from pricing_server.domain.sellers import canonical
from pricing_server.domain.source import CATALOGUE_RANK, Source, SourceEvidence
from pricing_server.domain.source_listing import ListedModel, Listing, SourceError
from pricing_server.providers.catalogue_rows import fullest, settled_reasoning
from pricing_server.providers.listing_builder import (
    MAX_DEPTH,
    ListingBuilder,
    RowError,
    fragment_text,
)

PARTS: Final = ("dashscope", "google", "vertex-ai")
"""The recorded files, by Portkey's name of the seller."""

FIELDS: Final[Mapping[str, Field]] = {
    "request_token": Field(Meter.INPUT_TOKENS, 1, US_CENT),
    "response_token": Field(Meter.OUTPUT_TOKENS, 1, US_CENT),
    "cache_read_input_token": Field(Meter.CACHE_READ_TOKENS, 1, US_CENT),
    "cache_write_input_token": Field(Meter.CACHE_WRITE_TOKENS, 1, US_CENT),
    "reasoning_token": Field(Meter.OUTPUT_REASONING_TOKENS, 1, US_CENT),
    "request_audio_token": Field(Meter.INPUT_AUDIO_TOKENS, 1, US_CENT),
    "response_audio_token": Field(Meter.OUTPUT_AUDIO_TOKENS, 1, US_CENT),
    "image.default.default": Field(Meter.OUTPUT_IMAGES, 1, US_CENT),
    "additional_units.cache_write_1h": Field(Meter.CACHE_WRITE_1H_TOKENS, 1, US_CENT),
    "additional_units.image_token": Field(Meter.OUTPUT_IMAGE_TOKENS, 1, US_CENT),
    "additional_units.output_video_token": Field(Meter.OUTPUT_VIDEO_TOKENS, 1, US_CENT),
}
HEADLINE_KEYS: Final = ("request_token", "response_token")
STANDARD: Final = "standard"
MODES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    STANDARD: (),
    "batch": (("processing", "batch"),),
    "flex": (("service_tier", "flex"),),
    "priority": (("service_tier", "priority"),),
}

_SPLIT: Final = re.compile(r"(?P<model>.+)-(?:lte|gt)-\d+k")
_Prices = Mapping[str, object]
"""Stated prices by the path of their key."""


def read(document: object, received_at: datetime) -> Listing:
    """Turn the files, by Portkey's name of the seller, into rate cards. Zero is never a price."""
    if not isinstance(document, Mapping) or not document:
        raise SourceError("the payload is not an object of files by seller")
    listing = ListingBuilder()
    for part, models in document.items():
        if not isinstance(models, Mapping) or not models:
            raise SourceError(f"the file of {printable(part)} is not an object of models by id")
        if isinstance(models, RepeatedValue):
            raise SourceError(f"the file of {printable(part)} is there more than once")
        seller = canonical(part)
        entries: dict[str, dict[str, object]] = {}
        for name, entry in models.items():
            if name != "default":
                split = _SPLIT.fullmatch(name)
                entries.setdefault(split["model"] if split else name, {})[name] = entry
        for model_id, of_model in entries.items():
            read_row = partial(_listed_model, seller, of_model, listing)
            listing.read_row(seller, model_id, read_row, of_model)
    return listing.build(received_at)


def _listed_model(
    seller: str, entries: Mapping[str, object], listing: ListingBuilder, model_id: str
) -> ListedModel:
    # Where entries by context size differ, the model is a fault: those named "gt-128k" carry
    # prices that begin at 200,000 tokens, so the size is in doubt.
    cards = [_card(model_id, entry, listing) for entry in entries.values()]
    return ListedModel(seller, model_id, cards[fullest(cards)], fragment_text(entries))


def _card(model_id: str, entry: object, listing: ListingBuilder) -> RateCard:
    config = _object(entry, "pricing_config")
    if config.get("currency", "USD") != "USD":
        raise RowError("the currency is not USD")
    for key in config:
        if key not in ("pay_as_you_go", "batch_config", "calculate", "currency"):
            listing.notice(f"not_read:{printable(key, 80)}", "prices of another kind", model_id)
    standard = _flat(_object(config, "pay_as_you_go"))
    sets = dict(_custom_sets(model_id, entry, standard, listing))
    batch = Conditions(context=MODES["batch"])
    if batch not in sets and config.get("batch_config") is not None:
        sets[batch] = _flat(_object(config, "batch_config"))
    # What only the standard set of the custom prices states is standard too.
    sets[ALWAYS] = {**sets.get(ALWAYS, {}), **standard}
    rates = _rates(model_id, sets, listing)
    return RateCard.of(PriceState.PRICED, settled_reasoning(rates)) if rates else UNPRICED


def _rates(
    model_id: str, sets: Mapping[Conditions, _Prices], listing: ListingBuilder
) -> list[Rate]:
    priced, zeros = [], []
    # Modes are divided by size, so a mode's price goes before a size's in the standard mode.
    for conditions in sorted(sets, key=lambda each: (not each.context, not each.threshold)):
        for key, value in sets[conditions].items():
            if (declared := FIELDS.get(key)) is None:
                listing.unknown_key(key, model_id)
                continue
            try:
                rate = declared.rate(value, conditions)
            except ValueError as error:
                raise RowError(f"{key} is {error}") from None
            if rate.price:
                priced.append(rate)
            else:
                zeros.append(rate)
                listing.zero(key, model_id)
    known = {rate.key for rate in priced}
    if any(zero.conditions is not ALWAYS and (zero.meter, ALWAYS) in known for zero in zeros):
        # Left out, it would be charged at the standard price.
        raise RowError("a conditional price is zero")
    return priced


def _custom_sets(
    model_id: str, entry: object, standard: _Prices, listing: ListingBuilder
) -> Iterator[tuple[Conditions, _Prices]]:
    """The prices by mode and context size, of the region whose prices the entry itself has."""
    if not isinstance(entry, Mapping) or entry.get("custom_pricing") is None:
        return
    custom = _object(entry, "custom_pricing")
    regions = _object(custom, "regions")
    region = "global" if "global" in regions else "default"
    for other in regions:
        if other != region:
            code = f"not_read:region:{printable(other, 40)}"
            listing.notice(code, "prices of a region", model_id)
    sizes = {name: int(size) for size, name in _sizes(custom)}
    modes = _object(_object(regions, region), "execution_modes")
    low: _Prices = {}
    for mode, stated in modes.items():
        if mode not in MODES:
            listing.notice(f"not_read:mode:{printable(mode, 40)}", "prices of a mode", model_id)
            continue
        for name, prices in _by_size(stated):
            start = sizes.get(name, 0) if name else 0
            if name and name not in sizes:
                raise RowError("a context tier has no size")
            threshold = Threshold(Meter.INPUT_TOKENS, Comparison.ABOVE, start) if start else None
            if mode == STANDARD and not start:
                low = prices
            conditions = Conditions(threshold, MODES[mode])
            yield (ALWAYS if conditions == ALWAYS else conditions), prices
    _refuse_contradiction(standard, low)


def _refuse_contradiction(standard: _Prices, low: _Prices) -> None:
    for key, declared in FIELDS.items():
        if key not in standard or key not in low:
            continue
        try:
            one, two = declared.read(standard[key]), declared.read(low[key])
        except ValueError as error:
            raise RowError(f"{key} is {error}") from None
        if not same_price(one, two):
            raise RowError(f"{key} has two standard prices")


def _by_size(mode: object) -> Iterator[tuple[str | None, _Prices]]:
    if isinstance(mode, Mapping) and mode.get("context_tiers") is not None:
        tiers = _object(mode, "context_tiers")
        for name, tier in tiers.items():
            yield name, _flat(_object(_object(tier, "pricing_config"), "pay_as_you_go"))
    else:
        yield None, _flat(_object(_object(mode, "pricing_config"), "pay_as_you_go"))


def _sizes(custom: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """(size, name): {"0": "lte-200k", "200000": "gt-200k"}."""
    if custom.get("context_tier_map") is None:
        return
    for size, name in _object(custom, "context_tier_map").items():
        if not (size.isascii() and size.isdecimal() and len(size) < 10 and isinstance(name, str)):
            raise RowError("context_tier_map is not one of sizes to names")
        yield size, name


def _flat(
    prices: Mapping[str, object], path: str = "", depth: int = MAX_DEPTH
) -> dict[str, object]:
    """Prices by path: {"a": {"b": {"price": 1}}} is {"a.b": 1}."""
    if not depth:
        raise RowError(f"the row is nested more than {MAX_DEPTH} levels deep")
    found: dict[str, object] = {}
    for key, value in prices.items():
        if not isinstance(value, Mapping):
            raise RowError(f"{printable(path + key)} is not an object with a price")
        if "price" in value:
            found[path + key] = value["price"]
        else:
            found |= _flat(value, f"{path}{key}.", depth - 1)
    return found


def _object(parent: object, key: str) -> Mapping[str, object]:
    child = parent.get(key) if isinstance(parent, Mapping) else None
    if not isinstance(child, Mapping):
        raise RowError(f"{key} is not an object")
    return child


SOURCE: Final = Source(
    slug="portkey",
    display_name="Portkey's price files",
    rank=CATALOGUE_RANK + 200,
    read=read,
    evidence=SourceEvidence.RECORDED,
    endpoint="https://configs.portkey.ai/pricing/{part}.json",
    parts=PARTS,
    fields=FIELDS,
    facts=(
        "Three files of 2026-08-21 with 455 entries, and the README of Portkey-AI/models. Only "
        "recorded files are fetched: another one is a name in `PARTS`, after a look at it."
    ),
    notes=(
        "The `default` entry, all zeros, is no model.",
        "`dashscope` are Alibaba Cloud's international prices; where there are none, those in "
        "China.",
        "Google's entries end in `-lte-128k` and `-gt-128k`, whatever the true size: prices that "
        "begin at 200,000 tokens stand under 128k. Where the two agree they are one model "
        "without a size, else a fault.",
        "`custom_pricing`: execution modes become `processing=batch`, `service_tier=flex` and "
        "`service_tier=priority`; `context_tiers` hold above the size in `context_tier_map`. Read "
        "is the region whose prices the entry itself has, `global` or else `default`; others are "
        "named (`not_read:region:...`). Where the entry and that region contradict each other, "
        "the model is a fault.",
        "`additional_units` per search, map, second or input image are in doubt (Google charges "
        "some models per prompt; input images are off by 100) and named.",
    ),
)
