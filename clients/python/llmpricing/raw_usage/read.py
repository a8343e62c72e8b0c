"""From a body and its flavour to meters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from llmpricing.raw_usage import (
    anthropic_usage,
    bedrock_usage,
    cohere_usage,
    deepseek_usage,
    gemini_usage,
    mistral_usage,
    openai_usage,
    openrouter_usage,
    xai_usage,
)
from llmpricing.raw_usage.document import parse
from llmpricing.raw_usage.flavour import ApiFlavour, looks_like
from llmpricing.raw_usage.reading import Reading, mapping_at
from llmpricing.raw_usage.result import RawUsageError, ReadUsage
from llmpricing.raw_usage.streams import USAGES, final_body

_Body = Mapping[object, object]


@dataclass(frozen=True, slots=True)
class _Reader:
    """How one flavour is read; the result of `read` is the model's name.

    `roots` are where the usage object may be; `counts` are keys that show that the body is
    the usage object itself; `also` are flavours whose keys it shares.
    """

    read: Callable[[Reading, _Body], str | None]
    counts: tuple[str, ...]
    roots: tuple[str, ...] = ("usage",)
    also: frozenset[ApiFlavour] = frozenset()


_CHAT: Final = frozenset({ApiFlavour.OPENAI_CHAT})
_EITHER: Final = frozenset({ApiFlavour.OPENAI_CHAT, ApiFlavour.OPENAI_RESPONSES})

_READERS: Final[Mapping[ApiFlavour, _Reader]] = {
    ApiFlavour.OPENAI_CHAT: _Reader(openai_usage.read_chat, openai_usage.CHAT_COUNTS),
    ApiFlavour.OPENAI_RESPONSES: _Reader(
        openai_usage.read_responses, openai_usage.RESPONSES_COUNTS
    ),
    ApiFlavour.ANTHROPIC: _Reader(anthropic_usage.read, anthropic_usage.COUNTS),
    ApiFlavour.GEMINI: _Reader(
        gemini_usage.read, gemini_usage.COUNTS, ("usageMetadata", "usage_metadata")
    ),
    ApiFlavour.BEDROCK: _Reader(
        bedrock_usage.read,
        bedrock_usage.COUNTS,
        ("usage", "amazon-bedrock-invocationMetrics"),
        frozenset({ApiFlavour.ANTHROPIC, ApiFlavour.OPENAI_CHAT}),
    ),
    ApiFlavour.MISTRAL: _Reader(
        mistral_usage.read, mistral_usage.COUNTS, ("usage", "usage_info"), _CHAT
    ),
    ApiFlavour.COHERE: _Reader(cohere_usage.read, cohere_usage.COUNTS, ("usage", "meta")),
    ApiFlavour.OPENROUTER: _Reader(openrouter_usage.read, openrouter_usage.COUNTS, also=_EITHER),
    ApiFlavour.XAI: _Reader(xai_usage.read, xai_usage.COUNTS, also=_EITHER),
    ApiFlavour.DEEPSEEK: _Reader(deepseek_usage.read, deepseek_usage.COUNTS, also=_CHAT),
}


def read_usage(
    body: Mapping[str, Any] | Sequence[Any] | str | bytes, flavour: ApiFlavour
) -> ReadUsage:
    """What a provider's response says was used, as meters in the inclusive convention.

    `body` is the response, its usage object alone, an event or a line of a batch's results
    that has the response in it, or a list of the events of one stream; as JSON text of at
    most 1 MiB, or decoded. Tools that are charged by the call are counted where the usage
    object or the rest of the response states them.

    Raises RawUsageError if there is no final usage, if a count is invalid or contradicts
    another, if the body is of another flavour, or if it is too large or too deep.
    """
    flavour = ApiFlavour(flavour)
    reader = _READERS[flavour]
    whole, batch = final_body(parse(body), flavour)
    usage, root = _usage_of(whole, reader, flavour)
    outer: _Body = whole if root else {}
    seen = looks_like(outer, usage)
    if seen not in (None, flavour) and seen not in reader.also:
        raise RawUsageError(f"not a body of flavour {flavour}: it looks like {seen}")
    reading = Reading(usage, root)
    if batch:
        reading.mode("processing", "batch", "", frozenset())
    return reading.finish(reader.read(reading, outer))


def _usage_of(body: _Body, reader: _Reader, flavour: ApiFlavour) -> tuple[_Body, str]:
    """The usage object, and its path in the body: "" where it is the body."""
    for root in reader.roots:
        found = mapping_at(body, root)
        if found:
            return found, root
    if any(key in body for key in reader.counts):
        return body, ""
    for usage in (body, *(mapping_at(body, key) for key in (*USAGES, "meta"))):
        seen = looks_like(body, usage)
        if seen not in (None, flavour):
            raise RawUsageError(f"not a body of flavour {flavour}: it looks like {seen}")
    raise RawUsageError(f"no usage in the body: {' or '.join(reader.roots)} is not stated")
