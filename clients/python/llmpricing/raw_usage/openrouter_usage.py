"""OpenRouter: like OpenAI's chat or responses, with the cost.

The cost that OpenRouter states is not a count, so it is among the ignored values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmpricing.meters import Meter
from llmpricing.raw_usage import openai_usage
from llmpricing.raw_usage.reading import Reading, text_of

COUNTS: Final = ("prompt_tokens", "input_tokens")


def read(reading: Reading, outer: Mapping[object, object]) -> str | None:
    """A chat completion or a response."""
    if reading.has("prompt_tokens"):
        model = openai_usage.read_chat(reading, outer)
    else:
        openai_usage.read_response_tokens(reading)
        model = openai_usage.read_tier(reading, outer)
    if reading.quantity(Meter.CACHE_WRITE_TOKENS):
        creation = "cache_creation"
        for key, meter in (
            ("ephemeral_5m_input_tokens", Meter.CACHE_WRITE_5M_TOKENS),
            ("ephemeral_1h_input_tokens", Meter.CACHE_WRITE_1H_TOKENS),
        ):
            reading.add(meter, reading.count(creation, key))
    reading.add(Meter.WEB_SEARCHES, reading.count("server_tool_use", "web_search_requests"))
    reading.ignore("cost")
    reading.ignore("cost_details")
    own_key = reading.peek("is_byok")
    if own_key is not None:
        # With the caller's own key the seller charges, and OpenRouter takes a fee.
        reading.mode("is_byok", text_of(own_key), reading.name("is_byok"), frozenset({"false"}))
        reading.drop("is_byok")
    return model
