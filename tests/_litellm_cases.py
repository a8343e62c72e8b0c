"""Usages of the models in litellm's price file, and what they cost by the meaning of its keys.

The reference reads a row key by key, and knows neither rate cards nor the hierarchy of
meters. Its rules are those of litellm's cost calculation (module llm_cost_calc), but for
what `tests/unit/test_cost_litellm.py` lists as differences.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Context as DecimalContext
from decimal import Decimal
from itertools import combinations
from typing import Any, Final
from zoneinfo import ZoneInfo

from llmpricing.meter_tree import join
from llmpricing.meters import Meter
from pricing_server.providers.litellm import model_id_of, seller_of
from tests._cost_cases import CostCase

NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
"""A Friday."""

WEEK: Final = tuple(NOW + timedelta(minutes=minutes) for minutes in range(0, 7 * 24 * 60, 30))
"""Instants at which rows with off-peak prices are priced."""

USAGES_PER_MODEL: Final = 4
"""At least; of a model with tiers one for each edge and context, up to MOST_PER_MODEL."""

MOST_PER_MODEL: Final = 24

Row = Mapping[str, Any]
Units = Mapping[Meter, int]

_WIDE: Final = DecimalContext(prec=200)


@dataclass(frozen=True, slots=True)
class Kind:
    """Tokens of one kind: the keys that price them, the first that does, and what they are part of.

    Where `torn` keys have prices of their own, none of which is of these tokens, neither is.
    """

    keys: tuple[str, ...]
    wholes: tuple[Meter, ...] = ()
    torn: tuple[str, ...] = ()


_INPUT: Final = "input_cost_per_token"
_OUTPUT: Final = "output_cost_per_token"
_READ: Final = ("cache_read_input_token_cost", "input_cost_per_token_cache_hit")
_WRITE: Final = "cache_creation_input_token_cost"
_AUDIO: Final = "input_cost_per_audio_token"
_IMAGE: Final = "input_cost_per_image_token"

KINDS: Final[Mapping[Meter, Kind]] = {
    Meter.INPUT_TOKENS: Kind((_INPUT,)),
    Meter.CACHE_READ_TOKENS: Kind((*_READ, _INPUT), (Meter.INPUT_TOKENS,)),
    Meter.CACHE_WRITE_TOKENS: Kind((_WRITE, _INPUT), (Meter.INPUT_TOKENS,)),
    Meter.CACHE_WRITE_1H_TOKENS: Kind(
        (f"{_WRITE}_above_1hr", _WRITE, _INPUT), (Meter.CACHE_WRITE_TOKENS, Meter.INPUT_TOKENS)
    ),
    Meter.INPUT_AUDIO_TOKENS: Kind((_AUDIO, _INPUT), (Meter.INPUT_TOKENS,)),
    Meter.INPUT_IMAGE_TOKENS: Kind((_IMAGE, _INPUT), (Meter.INPUT_TOKENS,)),
    Meter.INPUT_VIDEO_TOKENS: Kind(("input_cost_per_video_token", _INPUT), (Meter.INPUT_TOKENS,)),
    Meter.CACHE_AUDIO_READ_TOKENS: Kind(
        ("cache_read_input_audio_token_cost", *_READ, _AUDIO, _INPUT),
        (Meter.CACHE_READ_TOKENS, Meter.INPUT_AUDIO_TOKENS, Meter.INPUT_TOKENS),
        torn=(_AUDIO,),
    ),
    Meter.CACHE_IMAGE_READ_TOKENS: Kind(
        ("cache_read_input_image_token_cost", *_READ, _IMAGE, _INPUT),
        (Meter.CACHE_READ_TOKENS, Meter.INPUT_IMAGE_TOKENS, Meter.INPUT_TOKENS),
        torn=(_IMAGE,),
    ),
    Meter.OUTPUT_TOKENS: Kind((_OUTPUT,)),
    Meter.OUTPUT_REASONING_TOKENS: Kind(
        ("output_cost_per_reasoning_token", _OUTPUT), (Meter.OUTPUT_TOKENS,)
    ),
    Meter.OUTPUT_AUDIO_TOKENS: Kind(
        ("output_cost_per_audio_token", _OUTPUT), (Meter.OUTPUT_TOKENS,)
    ),
    Meter.OUTPUT_IMAGE_TOKENS: Kind(
        ("output_cost_per_image_token", _OUTPUT), (Meter.OUTPUT_TOKENS,)
    ),
    Meter.OUTPUT_VIDEO_TOKENS: Kind(
        ("output_cost_per_video_token", _OUTPUT), (Meter.OUTPUT_TOKENS,)
    ),
}

COUNTED: Final[Mapping[tuple[str, str], tuple[Meter, ...]]] = {
    ("audio_transcription", "input_cost_per_second"): (
        Meter.INPUT_AUDIO_SECONDS,
        Meter.AUDIO_SECONDS,
    ),
    ("audio_speech", "input_cost_per_character"): (Meter.INPUT_CHARACTERS,),
    ("image_generation", "output_cost_per_image"): (Meter.OUTPUT_IMAGES,),
    ("rerank", "input_cost_per_query"): (Meter.RERANK_SEARCHES,),
    ("ocr", "ocr_cost_per_page"): (Meter.INPUT_DOCUMENT_PAGES,),
}
"""What models of other modes are priced by, and the meters that count it."""

_OFF_PEAK: Final = "off_peak_pricing"
_TIER: Final = re.compile(r"_(flex|priority|balanced|ultrafast|batches)$")
_THRESHOLD: Final = re.compile(r"_above_(\d+k?)_tokens")


def litellm_cases(document: Mapping[str, Any], seed: int = 0) -> Iterator[CostCase]:
    """Cases of each model that one row tells of: around each edge, in each context it prices."""
    rows = [
        (seller_of(provider), model_id_of(name, provider, seller_of(provider)), row)
        for name, row in document.items()
        if isinstance(row, dict) and isinstance(provider := row.get("litellm_provider"), str)
    ]
    told = Counter((seller, model_id) for seller, model_id, _ in rows)
    for seller, model_id, row in rows:
        is_copied = row["litellm_provider"] == "qwen_ai_platform"
        if told[seller, model_id] == 1 and not is_copied:
            yield from _cases(random.Random(f"{seed} {seller} {model_id}"), seller, model_id, row)


def _cases(rng: random.Random, seller: str, model_id: str, row: Row) -> Iterator[CostCase]:
    if row.get(_INPUT) or row.get(_OUTPUT) or _tiers(row):
        edges = [(context, size) for context in _contexts(row) for size in _sizes(row)]
        if len(edges) > MOST_PER_MODEL:
            edges = rng.sample(edges, MOST_PER_MODEL)
        for number in range(0 if row.get(_OFF_PEAK) else max(USAGES_PER_MODEL, len(edges))):
            context, size = edges[number % len(edges)]
            units = _units(rng, size or rng.randint(1, 300_000))
            yield _token_case(seller, model_id, row, units, context)
        for at in WEEK if row.get(_OFF_PEAK) else ():
            priced = {**row, **(row[_OFF_PEAK] if _is_off_peak(row[_OFF_PEAK], at) else {})}
            case = _token_case(seller, model_id, priced, _units(rng, 1_000), {})
            yield replace(case, at=at)
    else:
        for (mode, key), meters in COUNTED.items():
            sized = any(each.startswith(f"{key}_") for each in row)
            if row.get("mode") == mode and row.get(key) and not sized:
                count = rng.randint(1, 10_000)
                yield _counted_case(seller, model_id, row[key], dict.fromkeys(meters, count))


def _token_case(
    seller: str, model_id: str, row: Row, units: Units, context: Mapping[str, str]
) -> CostCase:
    size = sum(count for meter, count in units.items() if not meter.startswith("output"))
    total, unpriced = Decimal(row.get("input_cost_per_request") or 0), {}
    for meter, count in units.items():
        price = price_of(row, meter, seller, size, context)
        if price is not None:
            total = _WIDE.add(total, _WIDE.multiply(price, count))
        elif count:
            unpriced[meter] = count
    return CostCase(seller, model_id, _inclusive(units), units, NOW, context, total, unpriced)


def _counted_case(seller: str, model_id: str, price: Any, usage: Units) -> CostCase:
    (meter, count), *_ = usage.items()
    total = _WIDE.multiply(Decimal(price), count)
    return CostCase(seller, model_id, usage, {meter: count}, NOW, {}, total, {})


def price_of(
    row: Row, meter: Meter, seller: str, size: int, context: Mapping[str, str]
) -> Decimal | None:
    """USD per token of a kind in a request with so many input tokens; None if not known."""
    kind = KINDS[meter]
    keys = kind.keys
    if meter is Meter.OUTPUT_REASONING_TOKENS and _is_that_of_output(row):
        keys = (_OUTPUT,)
    prices = {key: _price_at(row, key, seller, size, context) for key in keys}
    is_torn = any(prices[key] is not None for key in kind.torn) and any(
        prices.get(key) is not None for key in _READ
    )
    if is_torn and prices[keys[0]] is None:
        return None
    return next((price for price in prices.values() if price is not None), None)


def _is_off_peak(stated: Mapping[str, Any], at: datetime) -> bool:
    """By the day of the instant in the stated time zone, and the hour in UTC."""
    day = at.astimezone(ZoneInfo(stated.get("weekday_timezone", "UTC"))).isoweekday()
    clock = f"{at:%H:%M}"
    for window in stated["windows"]:
        hours = window["hours_utc"]
        for start, end in (
            each.split("-") for each in ([hours] if isinstance(hours, str) else hours)
        ):
            within = start <= clock < end if start < end else clock >= start or clock < end
            if within and day in window["weekdays"]:
                return True
    return False


def _is_that_of_output(row: Row) -> bool:
    return any(
        each.get("output_cost_per_reasoning_token") == each.get(_OUTPUT)
        for each in (row, *_tiers(row))
        if each.get("output_cost_per_reasoning_token")
    )


def _price_at(
    row: Row, key: str, seller: str, size: int, context: Mapping[str, str]
) -> Decimal | None:
    for tier in reversed(_tiers(row)):
        if size > tier["range"][0] and tier.get(key):
            return Decimal(tier[key])
    reached = [
        label
        for label in sorted(_labels(row), key=_tokens, reverse=True)
        if size > _tokens(label) or (seller == "x-ai" and size == _tokens(label))
    ]
    suffixes = [f"_{tier}" for tier in context.values()] + [""]
    if context.get("processing") == "batch":
        suffixes = ["_batches", ""]
    stated = [*(f"{key}_above_{label}_tokens" for label in reached), key]
    prices = (row.get(f"{each}{suffix}") for each in stated for suffix in suffixes)
    return next((Decimal(price) for price in prices if price), None)


def _tiers(row: Row) -> list[Row]:
    tiers = row.get("tiered_pricing") or []
    return [tier for tier in tiers if "range" in tier]


def _labels(row: Row) -> set[str]:
    return {found[1] for key in row if (found := _THRESHOLD.search(key))}


def _tokens(label: str) -> int:
    return int(label.removesuffix("k")) * (1_000 if label.endswith("k") else 1)


def _sizes(row: Row) -> list[int]:
    """Of requests: 0 stands for any."""
    starts = {_tokens(label) for label in _labels(row)}
    starts |= {int(end) for tier in _tiers(row) for end in tier["range"]} - {0}
    return [0, *sorted({start + step for start in starts for step in (-1, 0, 1)})]


def _contexts(row: Row) -> list[Mapping[str, str]]:
    tiers = {found[1] for key in row if (found := _TIER.search(key))}
    priced = [
        {"processing": "batch"} if tier == "batches" else {"service_tier": tier}
        for tier in sorted(tiers)
    ]
    return [{}, *priced, {"service_tier": "unheard-of"}]


def _units(rng: random.Random, size: int) -> dict[Meter, int]:
    """Disjoint tokens of some kinds, `size` of them input."""
    units: dict[Meter, int] = {}
    left = size
    for meter in KINDS:
        if rng.random() < 0.5 or meter is Meter.INPUT_TOKENS:
            if meter.startswith("output"):
                units[meter] = rng.choice([0, rng.randint(1, 100_000)])
            else:
                units[meter] = rng.randint(0, left)
                left -= units[meter]
    units[Meter.INPUT_TOKENS] += left
    return units


def _inclusive(units: Units) -> dict[Meter, int]:
    """The same tokens by all that counts them, with zero for overlaps that there are not."""
    usage: Counter[Meter] = Counter()
    for meter, count in units.items():
        for whole in (meter, *KINDS[meter].wholes):
            usage[whole] += count
    overlaps = {join(one, other) for one, other in combinations(usage, 2)}
    return {**{meter: 0 for meter in overlaps if meter is not None}, **usage}
