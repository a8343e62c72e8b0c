"""What the service knows of sellers: how else they are written, and who answers for a model.

A seller's slug is its id in the bundled catalogue, or, if it has none there, the one
of its own source. The other spellings occur in litellm, models.dev, Portkey or the
settings of common client libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "aimlapi": ("aiml", "aiml-api", "aiml_api"),
    "alibaba-cloud": ("alibaba", "alibaba_cloud", "dashscope"),
    "aws": ("amazon-bedrock", "aws-bedrock", "aws_bedrock", "bedrock", "bedrock_converse"),
    "azure": ("azure-openai", "azure_openai", "azure_text"),
    "cloudflare": ("cloudflare-workers-ai", "workers-ai"),
    "cohere": ("cohere_chat",),
    "featherless": ("featherless-ai", "featherless_ai"),
    "fireworks": ("fireworks-ai", "fireworks_ai"),
    "friendli": ("friendliai",),
    "github-copilot": ("github_copilot",),
    "gmicloud": ("gmi",),
    # The Gemini API. Vertex AI is sold apart from it, by region and at its own prices.
    "google": ("gemini", "google-ai-studio", "google-genai", "google-gla", "google_genai"),
    "google-vertex": ("google_vertex", "vertex-ai", "vertex_ai", "vertexai"),
    "mistral": ("mistral-ai", "mistral_ai", "mistralai"),
    "moonshotai": ("moonshot", "moonshot-ai"),
    "near-ai": ("near_ai", "nearai"),
    "novita": ("novita-ai", "novita_ai"),
    "nvidia": ("nvidia-nim", "nvidia_nim"),
    "openai": ("text-completion-openai",),
    "perplexity": ("perplexity-ai", "perplexity_ai"),
    "together": ("together-ai", "together_ai", "togetherai"),
    "vercel-ai-gateway": ("vercel", "vercel_ai_gateway"),
    "voyageai": ("voyage", "voyage-ai"),
    "x-ai": ("x_ai", "xai"),
    "xiaomi": ("xiaomi_mimo",),
    "zai": ("z-ai", "z.ai", "z_ai"),
    "zhipuai": ("zhipu", "zhipu-ai"),
}

ALIASES: Final[Mapping[str, str]] = {
    alias: seller for seller, aliases in _SPELLINGS.items() for alias in aliases
}
"""Other spelling, in lower case, to slug: of the same seller, with the same price list.

Not here are branches with prices of their own (alibaba-cn, moonshotai-cn, zai-coding-plan,
azure_ai, and zhipuai, which is Z.AI in China) and prefixes of model ids (meta-llama).
"""

MAKERS: Final = (
    # These sell what they make, and nothing else.
    "anthropic",
    "openai",
    "deepseek",
    "x-ai",
    "meta",
    "cohere",
    "moonshotai",
    "minimax",
    "zai",  # Before zhipuai: the same models at the international price.
    "zhipuai",
    "voyageai",
    "elevenlabs",
    "ai21",
    "inception",
    "stepfun",
    "upstage",
    "xiaomi",
    "typesafe",
    # These resell others' models too, under the makers' ids, so they come after them:
    # Google sells claude-*, Mistral deepseek-*, Alibaba glm-* and kimi-*, Cursor grok-*.
    "google",
    "mistral",
    "alibaba-cloud",
    "perplexity",
    "cursor",
)
"""Sellers of models of their own, in the order in which they answer for an id that several list.

Arcee is not among them: nearly all it sells is made by others, under ids of OpenRouter.
"""

SELLER_ORDER: Final = ("openrouter", "aws", "azure", "google-vertex")
"""Who answers, in this order, for an id that no maker lists: the router whose ids most people
use, then the large clouds. All others follow by name, so that the answer never depends on
which source was read first."""

ANSWERS_LAST: Final = (
    "huggingface",  # A router, which chooses who serves a plain id, and so its price.
    "featherless",  # By subscription.
)
"""Sellers who list ids without a price of their own: after all who have one."""


def canonical(provider_name: str) -> str:
    """The slug of a seller for any known spelling, in any case; an unknown name in lower case."""
    name = provider_name.lower()
    return ALIASES.get(name, name)


def answer_order(provider: str) -> tuple[int, int, str]:
    """Sort key: of the sellers (by slug) that list a model id, the smallest answers for it."""
    if provider in MAKERS:
        return 0, MAKERS.index(provider), provider
    if provider in SELLER_ORDER:
        return 1, SELLER_ORDER.index(provider), provider
    if provider in ANSWERS_LAST:
        return 3, ANSWERS_LAST.index(provider), provider
    return 2, 0, provider
