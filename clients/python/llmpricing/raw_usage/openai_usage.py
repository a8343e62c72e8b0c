"""OpenAI's two ways of stating a usage, which many other APIs have adopted.

Both are inclusive: cached and audio tokens are part of the prompt, reasoning and
predicted tokens, accepted or not, are part of the completion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from llmpricing.meters import Meter
from llmpricing.raw_usage.document import shown
from llmpricing.raw_usage.reading import Reading, check_total, list_at, name_at
from llmpricing.raw_usage.result import RawUsageError

CHAT_COUNTS: Final = ("prompt_tokens", "completion_tokens")
RESPONSES_COUNTS: Final = ("input_tokens", "output_tokens", "seconds")

_INPUT_PARTS: Final = (
    ("cached_tokens", Meter.CACHE_READ_TOKENS),
    ("cache_write_tokens", Meter.CACHE_WRITE_TOKENS),
    ("text_tokens", Meter.INPUT_TEXT_TOKENS),
    ("audio_tokens", Meter.INPUT_AUDIO_TOKENS),
    ("image_tokens", Meter.INPUT_IMAGE_TOKENS),
    ("video_tokens", Meter.INPUT_VIDEO_TOKENS),
)
_OUTPUT_PARTS: Final = (
    ("reasoning_tokens", Meter.OUTPUT_REASONING_TOKENS),
    ("text_tokens", Meter.OUTPUT_TEXT_TOKENS),
    ("audio_tokens", Meter.OUTPUT_AUDIO_TOKENS),
    ("image_tokens", Meter.OUTPUT_IMAGE_TOKENS),
    ("video_tokens", Meter.OUTPUT_VIDEO_TOKENS),
)
_CACHED_PARTS: Final = (
    ("text_tokens", Meter.CACHE_TEXT_READ_TOKENS),
    ("audio_tokens", Meter.CACHE_AUDIO_READ_TOKENS),
    ("image_tokens", Meter.CACHE_IMAGE_READ_TOKENS),
)
_TIMES: Final = ("queue_time", "prompt_time", "completion_time", "total_time")
"""Seconds that Groq states beside the counts."""

_STANDARD: Final = frozenset({"default", "standard", "on_demand"})

_ONE: Final = Decimal(1)

_FREE_ITEMS: Final = frozenset(
    {
        "apply_patch_call",
        "computer_call",
        "custom_tool_call",
        "function_call",
        "local_shell_call",
        "mcp_call",
        "tool_search_call",
    }
)
"""Calls in the output of a response that cost only their tokens."""


def read_chat(reading: Reading, outer: Mapping[object, object]) -> str | None:
    """Chat completions, completions and embeddings."""
    prompt = reading.needed("prompt_tokens")
    completion = reading.count("completion_tokens")
    total = reading.restated("total_tokens")
    parts = {"prompt_tokens": prompt}
    if completion is not None:
        parts["completion_tokens"] = completion
    elif "choices" in outer:
        raise RawUsageError("no usage in the body: usage.completion_tokens is not stated")
    check_total("total_tokens", total, parts)
    reading.add(Meter.INPUT_TOKENS, prompt)
    reading.add(Meter.OUTPUT_TOKENS, completion)
    read_input_parts(reading, "prompt_tokens_details")
    read_output_parts(reading, "completion_tokens_details")
    for time in _TIMES:
        reading.ignore(time)
    return read_tier(reading, outer)


def read_responses(reading: Reading, outer: Mapping[object, object]) -> str | None:
    """Responses, realtime, images, and transcriptions by tokens or by duration."""
    by_duration = reading.has("seconds") and not reading.has("input_tokens")
    kind = reading.peek("type")
    if kind in ("tokens", "duration"):
        reading.ignore("type")
    if by_duration:
        seconds = reading.count("seconds", whole=False)
        reading.add(Meter.AUDIO_SECONDS, seconds)
        if kind == "duration":  # else it is a live session, which has audio, too
            reading.add(Meter.INPUT_AUDIO_SECONDS, seconds)
        return read_tier(reading, outer)
    read_response_tokens(reading)
    count_tool_calls(reading, list_at(outer, "output"))
    return read_tier(reading, outer)


def read_response_tokens(reading: Reading) -> None:
    """The counts of a usage in the form of responses."""
    input_tokens = reading.needed("input_tokens")
    output_tokens = reading.needed("output_tokens")
    check_total(
        "total_tokens",
        reading.restated("total_tokens"),
        {"input_tokens": input_tokens, "output_tokens": output_tokens},
    )
    reading.add(Meter.INPUT_TOKENS, input_tokens)
    reading.add(Meter.OUTPUT_TOKENS, output_tokens)
    for details in ("input_tokens_details", "input_token_details"):
        for key, meter in _CACHED_PARTS:
            reading.add(meter, reading.count(details, "cached_tokens_details", key))
        read_input_parts(reading, details)
    for details in ("output_tokens_details", "output_token_details"):
        read_output_parts(reading, details)


def read_input_parts(reading: Reading, details: str) -> None:
    """What is part of the prompt."""
    for key, meter in _INPUT_PARTS:
        reading.add(meter, reading.count(details, key))


def read_output_parts(reading: Reading, details: str) -> None:
    """What is part of the completion."""
    for key, meter in _OUTPUT_PARTS:
        reading.add(meter, reading.count(details, key))
    # Predicted tokens are charged like all output, even rejected ones.
    reading.restated(details, "accepted_prediction_tokens")
    reading.restated(details, "rejected_prediction_tokens")


def read_tier(reading: Reading, outer: Mapping[object, object]) -> str | None:
    """Note the service tier; the result is the model."""
    reading.tier(reading.text("service_tier"), reading.name("service_tier"), _STANDARD)
    reading.tier(name_at(outer, "service_tier"), "service_tier", _STANDARD)
    return name_at(outer, "model")


def count_tool_calls(reading: Reading, output: Iterable[object]) -> None:
    """Calls of tools that the seller charges one by one; the usage object omits them.

    OpenAI charges a web search for what it searched, not for pages it opened.
    """
    others: dict[str, int] = {}
    for item in output:
        kind = item.get("type") if isinstance(item, Mapping) else None
        if not isinstance(item, Mapping) or not isinstance(kind, str):
            continue
        if not kind.endswith("_call") or kind in _FREE_ITEMS or item.get("status") == "failed":
            continue
        if kind == "web_search_call":
            action = item.get("action")
            if not isinstance(action, Mapping) or action.get("type") in (None, "search"):
                reading.add(Meter.WEB_SEARCHES, _ONE)
        elif kind == "file_search_call":
            reading.add(Meter.STORAGE_SEARCHES, _ONE)
        else:
            others[kind] = others.get(kind, 0) + 1
    for kind, number in others.items():
        reading.not_understood(f"output[type={_shown_kind(kind)}]", str(number))


def _shown_kind(kind: str) -> str:
    """The type of an item, short enough for a path."""
    return kind if kind.isprintable() and len(kind) <= 60 else shown(kind)
