"""Amazon Bedrock: Converse, and InvokeModel of models that state a usage.

As at Anthropic, `inputTokens` are neither read from nor written to the cache. Under
InvokeModel a model states its usage in the form of its maker.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from llmpricing.meters import Meter
from llmpricing.raw_usage import anthropic_usage, openai_usage
from llmpricing.raw_usage.reading import Reading, added, name_at
from llmpricing.raw_usage.result import RawUsageError

COUNTS: Final = ("inputTokens", "inputTokenCount", "input_tokens", "prompt_tokens")

_WRITE_METERS: Final = {"5m": Meter.CACHE_WRITE_5M_TOKENS, "1h": Meter.CACHE_WRITE_1H_TOKENS}


def read(reading: Reading, outer: Mapping[object, object]) -> str | None:
    """The usage of any of the shapes, and how Bedrock served the request."""
    model = _read_counts(reading, outer)
    reading.tier(name_at(outer, "serviceTier", "type"), "serviceTier.type")
    reading.mode(
        "latency",
        name_at(outer, "performanceConfig", "latency"),
        "performanceConfig.latency",
        frozenset({"standard"}),
    )
    return model


def _read_counts(reading: Reading, outer: Mapping[object, object]) -> str | None:
    if reading.has("prompt_tokens"):
        return openai_usage.read_chat(reading, outer)
    if reading.has("input_tokens"):
        return anthropic_usage.read(reading, outer)
    if reading.has("inputTokenCount"):
        _read_metrics(reading)
    else:
        _read_converse(reading)
    return name_at(outer, "trace", "promptRouter", "invokedModelId")


def _read_converse(reading: Reading) -> None:
    uncached = reading.needed("inputTokens")
    output = reading.needed("outputTokens")
    cached = _either(reading, "cacheReadInputTokens", "cacheReadInputTokenCount")
    written = _either(reading, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    by_time = _read_cache_details(reading)
    if written is None:
        written = by_time
    total = reading.restated("totalTokens")
    everything = added(uncached, cached, written, output)
    if total is not None and total not in (everything, added(uncached, output)):
        raise RawUsageError(
            f"contradictory counts: totalTokens {total:f} is neither with the cache"
            f" {everything:f} nor without it {added(uncached, output):f}"
        )
    _add(reading, uncached, cached, written, output)


def _read_metrics(reading: Reading) -> None:
    """What the end of an InvokeModel stream states for any model."""
    uncached = reading.needed("inputTokenCount")
    output = reading.needed("outputTokenCount")
    cached = reading.count("cacheReadInputTokenCount")
    written = reading.count("cacheWriteInputTokenCount")
    reading.ignore("invocationLatency")
    reading.ignore("firstByteLatency")
    _add(reading, uncached, cached, written, output)


def _add(
    reading: Reading,
    uncached: Decimal,
    cached: Decimal | None,
    written: Decimal | None,
    output: Decimal,
) -> None:
    reading.add(Meter.INPUT_TOKENS, added(uncached, cached, written))
    reading.add(Meter.CACHE_READ_TOKENS, cached)
    reading.add(Meter.CACHE_WRITE_TOKENS, written)
    reading.add(Meter.OUTPUT_TOKENS, output)


def _read_cache_details(reading: Reading) -> Decimal:
    """Count what was written to the cache, by how long it is kept; the sum."""
    total = Decimal(0)
    for index in reading.below("cacheDetails"):
        at = ("cacheDetails", index)
        meter = _WRITE_METERS.get(str(reading.peek(*at, "ttl")))
        if meter is None:
            continue
        reading.ignore(*at, "ttl")
        count = reading.count(*at, "inputTokens")
        reading.add(meter, count)
        total = added(total, count)
    return total


def _either(reading: Reading, *keys: str) -> Decimal | None:
    """One of two spellings: Converse's, or that of Nova under InvokeModel."""
    for key in keys:
        count = reading.count(key)
        if count is not None:
            return count
    return None
