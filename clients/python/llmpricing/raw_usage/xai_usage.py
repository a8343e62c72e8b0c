"""xAI: like OpenAI, but in chats reasoning is not part of the completion.

The total distinguishes it from servers that serve xAI's models in OpenAI's own form. In
responses reasoning is part of the output, as at OpenAI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmpricing.meters import Meter
from llmpricing.raw_usage import openai_usage
from llmpricing.raw_usage.reading import Reading, added, check_total, list_at

COUNTS: Final = ("prompt_tokens", "input_tokens")

_TOOLS: Final = {
    "web_search_calls": Meter.WEB_SEARCHES,
    "x_search_calls": Meter.SOCIAL_SEARCHES,
    "code_interpreter_calls": Meter.CODE_EXECUTIONS,
    "file_search_calls": Meter.STORAGE_SEARCHES,
}


def read(reading: Reading, outer: Mapping[object, object]) -> str | None:
    """A chat completion, over REST or from the SDK, or a response."""
    tools = reading.has("server_side_tool_usage_details")
    if reading.has("prompt_tokens"):
        _read_chat(reading)
    else:
        openai_usage.read_response_tokens(reading)
        if not tools:
            openai_usage.count_tool_calls(reading, list_at(outer, "output"))
            counted = added(
                reading.quantity(Meter.WEB_SEARCHES), reading.quantity(Meter.STORAGE_SEARCHES)
            )
            tools = reading.peek("num_server_side_tools_used") == counted
    for key, meter in _TOOLS.items():
        reading.add(meter, reading.count("server_side_tool_usage_details", key))
    if tools:
        reading.restated("num_server_side_tools_used")
    reading.ignore("context_details")
    reading.ignore("cost_in_usd_ticks")
    return openai_usage.read_tier(reading, outer)


def _read_chat(reading: Reading) -> None:
    prompt = reading.needed("prompt_tokens")
    completion = added(reading.count("completion_tokens"))
    reasoning = reading.count("completion_tokens_details", "reasoning_tokens")
    if reasoning is None:
        reasoning = reading.count("reasoning_tokens")
    total = reading.restated("total_tokens")
    within = reasoning and total == added(prompt, completion)
    if not within:
        check_total(
            "total_tokens",
            total,
            {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "reasoning_tokens": added(reasoning),
            },
        )
    reading.add(Meter.INPUT_TOKENS, prompt)
    reading.add(Meter.OUTPUT_TOKENS, added(completion, None if within else reasoning))
    reading.add(Meter.OUTPUT_REASONING_TOKENS, reasoning)
    openai_usage.read_input_parts(reading, "prompt_tokens_details")
    openai_usage.read_output_parts(reading, "completion_tokens_details")
    for key, meter in (
        ("cached_prompt_text_tokens", Meter.CACHE_READ_TOKENS),
        ("prompt_text_tokens", Meter.INPUT_TEXT_TOKENS),
        ("prompt_image_tokens", Meter.INPUT_IMAGE_TOKENS),
    ):
        reading.add(meter, reading.count(key))
