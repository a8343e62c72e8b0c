"""Gemini, at the Gemini API and at Vertex AI.

`promptTokenCount` includes what came from a cache, but not results of tools.
Thoughts are usually beside the candidates, sometimes within them: the total shows which.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from llmpricing.meters import Meter
from llmpricing.raw_usage.reading import Reading, added, check_total, list_at, name_at

COUNTS: Final = ("promptTokenCount", "prompt_token_count")

_MODALITIES: Final = {
    "TEXT": "text",
    "AUDIO": "audio",
    "IMAGE": "image",
    "VIDEO": "video",
    "DOCUMENT": "image",  # its pages are charged as images
    "MODALITY_UNSPECIFIED": "text",
}
_TRAFFIC: Final = {"ON_DEMAND_PRIORITY": "priority", "ON_DEMAND_FLEX": "flex"}
_STANDARD_TRAFFIC: Final = frozenset({"ON_DEMAND", "TRAFFIC_TYPE_UNSPECIFIED"})
_STANDARD: Final = frozenset({"standard", "unspecified", "service_tier_unspecified"})

_BY_PROMPT: Final = re.compile(r"\bgemini-[12]\b")

_GROUNDING: Final = (
    ("groundingMetadata", "webSearchQueries", "groundingChunks"),
    ("grounding_metadata", "web_search_queries", "grounding_chunks"),
)


def read(reading: Reading, outer: Mapping[object, object]) -> str | None:
    """A GenerateContentResponse, or a message of a live session, in either spelling."""
    prompt = _count(reading, "promptTokenCount")
    tools = _count(reading, "toolUsePromptTokenCount")
    candidates = _count(reading, "candidatesTokenCount")
    if candidates is None:
        candidates = _count(reading, "responseTokenCount")
    thoughts = _count(reading, "thoughtsTokenCount")
    total = reading.restated(_spelling(reading, "totalTokenCount"))
    if prompt is None and total is None:
        prompt = reading.needed(_spelling(reading, "promptTokenCount"))
    parts = {
        "promptTokenCount": added(prompt),
        "toolUsePromptTokenCount": added(tools),
        "candidatesTokenCount": added(candidates),
        "thoughtsTokenCount": added(thoughts),
    }
    within = thoughts and total == added(prompt, tools, candidates)
    if not within:
        check_total("totalTokenCount", total, parts)
    reading.add(Meter.INPUT_TOKENS, added(prompt, tools))
    reading.add(Meter.INPUT_TOOL_TOKENS, tools)
    reading.add(Meter.OUTPUT_TOKENS, added(candidates, None if within else thoughts))
    reading.add(Meter.OUTPUT_REASONING_TOKENS, thoughts)
    cached = _count(reading, "cachedContentTokenCount")
    reading.add(Meter.CACHE_READ_TOKENS, cached)
    _read_modalities(reading, cached, tools)
    model = name_at(outer, "modelVersion") or name_at(outer, "model_version")
    _count_searches(reading, outer, model)
    key = _spelling(reading, "serviceTier")
    tier = reading.text(key)
    reading.tier(None if tier is None else tier.lower(), reading.name(key), _STANDARD)
    key = _spelling(reading, "trafficType")
    traffic = reading.text(key)
    if traffic in _TRAFFIC:
        reading.tier(_TRAFFIC[traffic], reading.name(key))
    else:
        reading.mode("traffic_type", traffic, reading.name(key), _STANDARD_TRAFFIC)
    return model


def _spelling(reading: Reading, key: str) -> str:
    """How this body spells a key: as the API does, or as the SDK for Python."""
    if reading.has(key):
        return key
    snake = re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", key)
    return snake if reading.has(snake) else key


def _count(reading: Reading, key: str) -> Decimal | None:
    return reading.count(_spelling(reading, key))


def _read_modalities(reading: Reading, cached: Decimal | None, tools: Decimal | None) -> None:
    """What the counts consist of, as far as that is stated for the whole.

    If the parts of the prompt are not stated, those of its cached tokens and of results of
    tools have no whole to be part of: they are left over.
    """
    of_prompt = _spelling(reading, "promptTokensDetails")
    if reading.has(of_prompt):
        _add(reading, of_prompt, "input_{}_tokens")
        if cached:
            _add(reading, _spelling(reading, "cacheTokensDetails"), "cache_{}_read_tokens")
        if tools:
            of_tools = _spelling(reading, "toolUsePromptTokensDetails")
            _add(reading, of_tools, "input_{}_tokens", "input_{}_tool_tokens")
    for key in ("candidatesTokensDetails", "responseTokensDetails"):
        _add(reading, _spelling(reading, key), "output_{}_tokens")


def _add(reading: Reading, details: str, *meters: str) -> None:
    for index in reading.below(details):
        stated = reading.peek(details, index, "modality")
        modality = _MODALITIES.get(stated.upper() if isinstance(stated, str) else "TEXT")
        if modality is None:
            continue
        reading.ignore(details, index, "modality")
        count = reading.count(details, index, "tokenCount")
        if count is None:
            count = reading.count(details, index, "token_count")
        for meter in meters:
            reading.add(Meter(meter.format(modality)), count)


def _count_searches(reading: Reading, outer: Mapping[object, object], model: str | None) -> None:
    """Searches of a grounded answer.

    Before Gemini 3 it is one, however many queries there were, since Google charges those
    models by grounded prompt. From Gemini 3 on it is each query.
    """
    is_by_prompt = model is not None and _BY_PROMPT.search(model) is not None
    for number, candidate in enumerate(list_at(outer, "candidates")):
        if not isinstance(candidate, Mapping):
            continue
        for metadata, queries, chunks in _GROUNDING:
            asked = [query for query in list_at(candidate, metadata, queries) if query]
            if asked:
                is_counted = is_by_prompt and reading.quantity(Meter.WEB_SEARCHES)
                searches = 1 if is_by_prompt else len(asked)
                reading.add(Meter.WEB_SEARCHES, None if is_counted else Decimal(searches))
            found = list_at(candidate, metadata, chunks)
            places = sum(1 for chunk in found if isinstance(chunk, Mapping) and chunk.get("maps"))
            if places:  # grounding with a map is charged by request, at a price of its own
                reading.not_understood(
                    f"candidates[{number}].{metadata}.{chunks}[].maps", str(places)
                )
