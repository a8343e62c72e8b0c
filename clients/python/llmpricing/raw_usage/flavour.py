"""Which API a body comes from, and how to recognize it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class ApiFlavour(StrEnum):
    """The shape of a body, named after its API; other APIs use it, too.

    OPENAI_CHAT is chat, completions and embeddings; OPENAI_RESPONSES is responses,
    realtime, images and transcriptions; GEMINI is the Gemini API and Vertex AI; BEDROCK is
    Converse, and InvokeModel for models that state a usage.
    """

    OPENAI_CHAT = "openai_chat"
    OPENAI_RESPONSES = "openai_responses"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    BEDROCK = "bedrock"
    MISTRAL = "mistral"
    COHERE = "cohere"
    OPENROUTER = "openrouter"
    XAI = "xai"
    DEEPSEEK = "deepseek"


_SHOWN_BY: Final[tuple[tuple[ApiFlavour, frozenset[str]], ...]] = (
    (
        ApiFlavour.GEMINI,
        frozenset({"usageMetadata", "usage_metadata", "promptTokenCount", "thoughtsTokenCount"}),
    ),
    (
        ApiFlavour.BEDROCK,
        frozenset({"inputTokens", "cacheReadInputTokens", "amazon-bedrock-invocationMetrics"}),
    ),
    (ApiFlavour.COHERE, frozenset({"billed_units"})),
    (
        ApiFlavour.DEEPSEEK,
        frozenset({"prompt_cache_hit_tokens", "prompt_cache_miss_tokens"}),
    ),
    (ApiFlavour.OPENROUTER, frozenset({"is_byok", "cost_details"})),
    (
        ApiFlavour.XAI,
        frozenset(
            {
                "cost_in_usd_ticks",
                "num_sources_used",
                "num_server_side_tools_used",
                "cached_prompt_text_tokens",
            }
        ),
    ),
    (
        ApiFlavour.MISTRAL,
        frozenset({"usage_info", "prompt_audio_seconds", "num_cached_tokens", "connector_tokens"}),
    ),
)
"""Keys that only one flavour has, in the body or in its usage object."""

_ANTHROPICS: Final = frozenset(
    {
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation",
        "server_tool_use",
        "inference_geo",
        "iterations",
    }
)
_RESPONSES: Final = frozenset({"input_tokens_details", "input_token_details", "total_tokens"})
"""Keys that distinguish two flavours whose `input_tokens` mean different things."""


def looks_like(body: Mapping[object, object], usage: Mapping[object, object]) -> ApiFlavour | None:
    """The flavour that the keys of a body show; None if they show none."""
    keys = {key for key in (*body, *usage) if isinstance(key, str)}
    for flavour, shown_by in _SHOWN_BY:
        if shown_by & keys:
            return flavour
    if "prompt_tokens" in usage:
        return ApiFlavour.OPENAI_CHAT
    if "input_tokens" in usage:
        if _ANTHROPICS & keys or body.get("type") == "message":
            return ApiFlavour.ANTHROPIC
        if _RESPONSES & keys or body.get("object") == "response":
            return ApiFlavour.OPENAI_RESPONSES
    return None
