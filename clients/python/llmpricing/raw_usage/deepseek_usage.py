"""DeepSeek: like OpenAI's chat, with the prompt split by the cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmpricing.meters import Meter
from llmpricing.raw_usage import openai_usage
from llmpricing.raw_usage.reading import Reading, check_total
from llmpricing.raw_usage.result import RawUsageError

COUNTS: Final = ("prompt_tokens",)


def read(reading: Reading, outer: Mapping[object, object]) -> str | None:
    """A chat completion, or one in the middle."""
    hit = reading.count("prompt_cache_hit_tokens")
    miss = reading.restated("prompt_cache_miss_tokens")
    model = openai_usage.read_chat(reading, outer)
    if hit is None:
        return model
    if miss is not None:
        check_total(
            "prompt_tokens",
            reading.quantity(Meter.INPUT_TOKENS),
            {"prompt_cache_hit_tokens": hit, "prompt_cache_miss_tokens": miss},
        )
    cached = reading.quantity(Meter.CACHE_READ_TOKENS)
    if not cached:
        reading.add(Meter.CACHE_READ_TOKENS, hit)
    elif cached != hit:
        raise RawUsageError(
            f"contradictory counts: cached_tokens {cached:f} is not prompt_cache_hit_tokens {hit:f}"
        )
    return model
