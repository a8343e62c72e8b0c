"""Which meter is part of which: the dimensions of every meter, and what follows from them.

The dimensions are those of genai-prices' unit registry. A meter counts every unit that has
all of its dimensions, whatever others the unit has. So a meter is part of each meter with
fewer of the same dimensions, and two meters overlap in the units that have the dimensions
of both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Final

from llmpricing.meters import METER_ORDER, Meter

_INPUT: Final = {"direction": "input"}
_OUTPUT: Final = {"direction": "output"}

_TOKENS: Final[Mapping[str, Mapping[str, str]]] = {
    "input{}_tokens": _INPUT,
    "output{}_tokens": _OUTPUT,
    "cache{}_read_tokens": {**_INPUT, "token_type": "cache_read"},
    "cache{}_write_tokens": {**_INPUT, "token_type": "cache_write"},
    "cache{}_write_5m_tokens": {**_INPUT, "token_type": "cache_write", "cache_ttl": "5m"},
    "cache{}_write_1h_tokens": {**_INPUT, "token_type": "cache_write", "cache_ttl": "1h"},
    "input{}_tool_tokens": {**_INPUT, "token_type": "tool"},
    "output{}_reasoning_tokens": {**_OUTPUT, "token_type": "reasoning"},
    "output{}_citation_tokens": {**_OUTPUT, "token_type": "citation"},
}
"""Every kind of token, of any modality ("") and of each ("_audio")."""

_MODALITIES: Final = ("text", "audio", "image", "video")

_OTHERS: Final[Mapping[Meter, Mapping[str, str]]] = {
    Meter.INPUT_CHARACTERS: {"family": "characters", **_INPUT},
    Meter.INPUT_TEXT_MESSAGES: {"family": "messages", **_INPUT, "modality": "text"},
    Meter.AUDIO_SECONDS: {"family": "durations", "modality": "audio"},
    Meter.INPUT_AUDIO_SECONDS: {"family": "durations", **_INPUT, "modality": "audio"},
    Meter.OUTPUT_AUDIO_SECONDS: {"family": "durations", **_OUTPUT, "modality": "audio"},
    Meter.INPUT_PIXELS: {"family": "pixels", **_INPUT},
    Meter.INPUT_DOCUMENT_PAGES: {"family": "document_pages", **_INPUT},
    Meter.INPUT_ANNOTATED_DOCUMENT_PAGES: {
        "family": "document_pages",
        **_INPUT,
        "page_type": "annotated",
    },
    Meter.RERANK_SEARCHES: {"family": "rerank"},
    Meter.WEB_SEARCHES: {"family": "tool_calls", "tool_type": "web_search"},
    Meter.SOCIAL_SEARCHES: {"family": "tool_calls", "tool_type": "social_search"},
    Meter.STORAGE_SEARCHES: {"family": "tool_calls", "tool_type": "storage_search"},
    Meter.CODE_EXECUTIONS: {"family": "tool_calls", "tool_type": "code_execution"},
    Meter.REQUESTS: {"family": "requests"},
    # Not in that registry. Images are not counted in tokens, so these have no parent.
    Meter.INPUT_IMAGES: {"family": "images", **_INPUT},
    Meter.OUTPUT_IMAGES: {"family": "images", **_OUTPUT},
}


def _tokens() -> Iterator[tuple[Meter, Mapping[str, str]]]:
    for name, dimensions in _TOKENS.items():
        yield Meter(name.format("")), {"family": "tokens", **dimensions}
        for modality in _MODALITIES:
            of_modality = {"family": "tokens", **dimensions, "modality": modality}
            yield Meter(name.format(f"_{modality}")), of_modality


DIMENSIONS: Final[Mapping[Meter, Mapping[str, str]]] = {**dict(_tokens()), **_OTHERS}
"""What a unit must be to count for a meter."""

_SETS: Final = {meter: frozenset(DIMENSIONS[meter].items()) for meter in Meter}
_METERS: Final = {dimensions: meter for meter, dimensions in _SETS.items()}

ANCESTORS: Final[Mapping[Meter, frozenset[Meter]]] = {
    meter: frozenset(other for other in Meter if _SETS[other] < _SETS[meter]) for meter in Meter
}
"""The meters that each meter is part of."""

GENERAL_FIRST: Final[Mapping[Meter, tuple[int, int]]] = {
    meter: (len(_SETS[meter]), METER_ORDER[meter]) for meter in Meter
}
"""Sort key: a meter comes after all meters that it is part of."""


@cache
def join(one: Meter, other: Meter) -> Meter | None:
    """The meter of the units that count for both; None if no unit can."""
    dimensions = {**DIMENSIONS[one], **DIMENSIONS[other]}
    both = frozenset(dimensions.items())
    return _METERS.get(both) if both >= _SETS[one] | _SETS[other] else None


def closest(meter: Meter, among: Collection[Meter]) -> tuple[Meter, ...]:
    """The meter itself if it is among these, else the most specific of those it is part of.

    Several if they are not part of each other, such as cache_read_tokens and
    input_audio_tokens for cache_audio_read_tokens.
    """
    if meter in among:
        return (meter,)
    wholes = [each for each in among if each in ANCESTORS[meter]]
    return tuple(each for each in wholes if not any(each in ANCESTORS[other] for other in wholes))
