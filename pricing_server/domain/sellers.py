"""What the service knows about sellers: their other spellings, and who answers for a model.

A seller's slug is its id in the bundled catalogue, or, if it has none there, the one
of its own source. The other spellings occur in litellm, models.dev, Portkey or the
settings of common client libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "aimlapi": ("aiml", "aiml-api", "aiml_api"),
    # Outside mainland China; there it is alibaba-cn, at other prices.
    "alibaba-cloud": ("alibaba", "alibaba_cloud", "dashscope", "qwencloud"),
    "amazon-nova": ("amazon_nova", "nova"),
    "aws": ("amazon-bedrock", "aws-bedrock", "aws_bedrock", "bedrock", "bedrock_converse"),
    "aws-polly": ("aws_polly",),
    "azure": (
        "azure-cognitive-services",
        "azure-openai",
        "azure_openai",
        "azure_text",
    ),
    # Models as a service in Azure AI Foundry, where litellm and Portkey know other prices.
    "azure-ai": ("azure_ai",),
    # Bedrock's endpoint in the shape of OpenAI's API: a tenth above Bedrock for some models.
    "bedrock-mantle": ("bedrock_mantle",),
    "bing-grounding": ("bing_grounding",),
    "black-forest-labs": ("black_forest_labs",),
    "cloudflare": ("cloudflare-workers-ai", "workers-ai"),
    "codestral": ("text-completion-codestral",),
    "cohere": ("cohere_chat",),
    "digitalocean": ("gradient-ai", "gradient_ai"),
    "exa-ai": ("exa_ai",),
    "fal-ai": ("fal_ai",),
    "featherless": ("featherless-ai", "featherless_ai"),
    "fireworks": ("fireworks-ai", "fireworks_ai", "fireworks_ai-embedding-models"),
    "friendli": ("friendliai",),
    "github-copilot": ("github_copilot",),
    "gmicloud": ("gmi",),
    # The Gemini API. Vertex AI is sold apart from it, by region and at its own prices.
    "google": ("gemini", "google-ai-studio", "google-genai", "google-gla", "google_genai"),
    "google-pse": ("google_pse",),
    "google-vertex": (
        "google-vertex-anthropic",
        "google_vertex",
        "vertex-ai",
        "vertex_ai",
        "vertexai",
    ),
    "inception": ("text-completion-inception",),
    "jina-ai": ("jina_ai",),
    "lambda-ai": ("lambda_ai",),
    # Meta's Llama API; meta is its newer one, with other models.
    "llama": ("meta_llama",),
    "microsoft-365-copilot": ("microsoft_365_copilot",),
    "mistral": ("mistral-ai", "mistral_ai", "mistralai"),
    "moonshotai": ("moonshot", "moonshot-ai"),
    "near-ai": ("near_ai", "nearai"),
    "nlp-cloud": ("nlp_cloud",),
    "novita": ("novita-ai", "novita_ai"),
    "nvidia": ("nvidia-nim", "nvidia_nim"),
    "openai": ("text-completion-openai",),
    "parallel-ai": ("parallel_ai",),
    "perplexity": ("perplexity-agent", "perplexity-ai", "perplexity_ai"),
    "strands-decider": ("strands_decider",),
    "tencent": ("tencent-tokenhub",),
    "together": ("together-ai", "together_ai", "togetherai"),
    "vercel-ai-gateway": ("vercel", "vercel_ai_gateway"),
    "voyageai": ("voyage", "voyage-ai"),
    "wafer": ("wafer.ai",),
    "x-ai": ("x_ai", "xai"),
    "xiaomi": ("xiaomi_mimo",),
    "you-com": ("you_com",),
    "zai": ("z-ai", "z.ai", "z_ai"),
    "zhipuai": ("zhipu", "zhipu-ai"),
}

ALIASES: Final[Mapping[str, str]] = {
    alias: seller for seller, aliases in _SPELLINGS.items() for alias in aliases
}
"""Other spelling, in lower case, to slug of the same seller, with the same price list.

Branches and plans with prices of their own are not aliases (alibaba-cn, minimax-cn,
moonshotai-cn, siliconflow-cn, opencode-go, stepfun-ai, zai-coding-plan and zhipuai, which is
Z.AI in China), even where the prices are equal today. Nor are prefixes of model ids
(meta-llama).
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
"""Sellers of their own models, in the order in which they answer for an id that several list.

Arcee is not here: nearly everything it sells is made by others, under ids of OpenRouter.
"""

SELLER_ORDER: Final = ("openrouter", "aws", "azure", "google-vertex")
"""Who answers, in this order, for an id that no maker lists: the router whose ids most people
use, then the large clouds. All others follow by name, so that the answer never depends on
which source was read first."""

BY_NAME: Final = 2
"""The first group of `answer_order` in which sellers follow by name."""

ROUTERS: Final = frozenset({"huggingface"})
"""Sellers that choose who serves a plain id, and so its price: they answer after sellers with
prices of their own."""

ANSWERS_LAST: Final = frozenset(
    {
        # Subscriptions.
        "alibaba-coding-plan",
        "alibaba-coding-plan-cn",
        "chatgpt",
        "featherless",
        "firepass",
        "gitlab",
        "kimi-for-coding",
        "kuae-cloud-coding-plan",
        "microsoft-365-copilot",
        "minimax-cn-coding-plan",
        "minimax-coding-plan",
        "ollama-cloud",
        "tencent-coding-plan",
        "umans-ai-coding-plan",
        "xiaomi-token-plan-ams",
        "xiaomi-token-plan-cn",
        "xiaomi-token-plan-sgp",
        "zai-coding-plan",
        "zhipuai-coding-plan",
        # On the caller's own machine.
        "atomic-chat",
        "lemonade",
        "lmstudio",
        "ollama",
        "privatemode-ai",
        # For trials.
        "github-models",
        "iflowcn",
        "llama",
        "modelscope",
        "nvidia",
    }
)
"""Sellers that list all or nearly all ids without a price: they answer after all sellers that
have prices."""


def canonical(provider_name: str) -> str:
    """The slug of a seller for any known spelling, in any case; an unknown name in lower case."""
    name = provider_name.lower()
    return ALIASES.get(name, name)


def is_maker(provider: str, model_id: str) -> bool:
    """Whether a seller answers for an id as the model's maker.

    It does not for an id that begins with another seller: Perplexity lists
    anthropic/claude-sonnet-4-5.
    """
    head, slash, _ = model_id.partition("/")
    seller = canonical(head)
    return provider in MAKERS and (not slash or seller == provider or seller not in _KNOWN)


def answer_order(provider: str, model_id: str) -> tuple[int, int, str]:
    """Sort key: among the sellers (by slug) that list a model id, the smallest answers for it."""
    if is_maker(provider, model_id):
        return 0, MAKERS.index(provider), provider
    if provider in SELLER_ORDER:
        return 1, SELLER_ORDER.index(provider), provider
    if provider in ROUTERS:
        return 3, 0, provider
    if provider in ANSWERS_LAST:
        return 4, 0, provider
    return BY_NAME, 0, provider


_KNOWN: Final = frozenset({*MAKERS, *ALIASES.values()})
