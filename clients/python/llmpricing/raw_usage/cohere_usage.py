"""Cohere: the billed units are charged, which are fewer than the tokens.

`tokens` also contains what Cohere puts around a prompt, which is not charged. They count
only where no billed units are stated, and then with the part that came from the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmpricing.meters import Meter
from llmpricing.raw_usage.reading import Reading, name_at

COUNTS: Final = ("billed_units", "tokens")

_UNITS: Final = ("input_tokens", "output_tokens", "image_tokens", "images", "search_units")


def read(reading: Reading, outer: Mapping[object, object]) -> str | None:
    """A chat, embeddings or a rerank, of version 1 or 2."""
    if any(reading.has("billed_units", unit) for unit in _UNITS):
        _read_billed(reading)
        reading.ignore("tokens")
    elif reading.has("tokens"):
        reading.add(Meter.INPUT_TOKENS, reading.needed("tokens", "input_tokens"))
        reading.add(Meter.OUTPUT_TOKENS, reading.count("tokens", "output_tokens"))
        reading.add(Meter.CACHE_READ_TOKENS, reading.count("cached_tokens"))
    reading.ignore("api_version")
    reading.ignore("warnings")
    return name_at(outer, "model")


def _read_billed(reading: Reading) -> None:
    text = reading.count("billed_units", "input_tokens")
    reading.add(Meter.INPUT_TOKENS, text)
    reading.add(Meter.OUTPUT_TOKENS, reading.count("billed_units", "output_tokens"))
    reading.add(Meter.RERANK_SEARCHES, reading.count("billed_units", "search_units"))
    by_token = reading.has("billed_units", "image_tokens")
    if by_token and not text:
        # It is not documented whether they are part of the input beside text: left over.
        images = reading.count("billed_units", "image_tokens")
        reading.add(Meter.INPUT_TOKENS, images)
        reading.add(Meter.INPUT_IMAGE_TOKENS, images)
    if by_token:
        reading.restated("billed_units", "images")
    else:
        reading.add(Meter.INPUT_IMAGES, reading.count("billed_units", "images"))
