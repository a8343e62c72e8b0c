"""Mistral: chat as OpenAI's, audio by the second, conversations with connectors, pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmpricing.meters import Meter
from llmpricing.raw_usage import openai_usage
from llmpricing.raw_usage.reading import Reading, added, check_total, name_at
from llmpricing.raw_usage.result import RawUsageError

COUNTS: Final = ("prompt_tokens", "prompt_audio_seconds", "pages_processed")

_CONNECTORS: Final = {
    "web_search": Meter.WEB_SEARCHES,
    "code_interpreter": Meter.CODE_EXECUTIONS,
}


def read(reading: Reading, outer: Mapping[object, object]) -> str | None:
    """A completion, a transcription, a conversation, or the pages of an OCR."""
    if reading.has("pages_processed"):
        return _read_pages(reading, outer)
    prompt = reading.needed("prompt_tokens")
    completion = reading.count("completion_tokens")
    seconds = reading.count("prompt_audio_seconds", whole=False)
    total = reading.restated("total_tokens")
    parts = {"prompt_tokens": prompt, "completion_tokens": added(completion)}
    connected = reading.count("connector_tokens")
    if connected:
        # Part of the total; whether they are charged as input is not documented.
        parts["connector_tokens"] = connected
        reading.not_understood(reading.name("connector_tokens"), f"{connected:f}")
    if not seconds:  # tokens of audio are only in the total
        check_total("total_tokens", total, parts)
    elif total is not None and total < added(*parts.values()):
        raise RawUsageError(f"contradictory counts: total_tokens {total:f} is less than its parts")
    reading.add(Meter.INPUT_TOKENS, prompt)
    reading.add(Meter.OUTPUT_TOKENS, completion)
    reading.add(Meter.AUDIO_SECONDS, seconds)
    reading.add(Meter.INPUT_AUDIO_SECONDS, seconds)
    _read_details(reading)
    openai_usage.read_output_parts(reading, "completion_tokens_details")
    for connector, meter in _CONNECTORS.items():
        reading.add(meter, reading.count("connectors", connector))
    if reading.peek("request_count") == 1:
        reading.restated("request_count")
    return openai_usage.read_tier(reading, outer)


def _read_details(reading: Reading) -> None:
    """The parts of the prompt, and the older spellings of them."""
    details = "prompt_tokens_details"
    if not reading.has(details) and reading.has("prompt_token_details"):
        details = "prompt_token_details"
    reading.ignore(details, "messages")
    stated = reading.has(details, "cached_tokens")
    openai_usage.read_input_parts(reading, details)
    reading.ignore("prompt_token_details")
    if not stated:
        reading.add(Meter.CACHE_READ_TOKENS, reading.count("num_cached_tokens"))
        return
    cached, again = reading.quantity(Meter.CACHE_READ_TOKENS), reading.restated("num_cached_tokens")
    if again not in (None, cached):
        raise RawUsageError(
            f"contradictory counts: num_cached_tokens {again:f} is not cached_tokens {cached:f}"
        )


def _read_pages(reading: Reading, outer: Mapping[object, object]) -> str | None:
    pages = reading.needed("pages_processed")
    annotated = reading.count("pages_processed_annotation")
    if annotated is None and outer.get("document_annotation") is not None:
        annotated = pages
    reading.add(Meter.INPUT_DOCUMENT_PAGES, pages)
    reading.add(Meter.INPUT_ANNOTATED_DOCUMENT_PAGES, annotated)
    reading.ignore("doc_size_bytes")
    return name_at(outer, "model")
