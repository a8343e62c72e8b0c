"""Who made a model, as the namespace in front of its name says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_NAMESPACES: Final[Mapping[str, tuple[str, ...]]] = {
    "ai21": ("ai21labs", "ai21-labs"),
    "allenai": (),
    "amazon": (),
    "anthropic": (),
    "arcee-ai": ("arcee",),
    "baai": (),
    "baidu": (),
    "black-forest-labs": (),
    "bytedance": ("bytedance-seed",),
    "cohere": ("coherelabs", "cohereforai"),
    "deepcogito": (),
    "deepseek": ("deepseek-ai",),
    "essentialai": (),
    "google": (),
    "ibm": ("ibm-granite",),
    "inception": (),
    "inclusionai": (),
    "intfloat": (),
    "jinaai": ("jina-ai", "jina"),
    "kwaipilot": (),
    "liquid": ("liquidai",),
    "meituan": ("meituan-longcat",),
    "meta": ("meta-llama",),
    "microsoft": (),
    "minimax": ("minimaxai",),
    "mistral": ("mistral-ai", "mistralai"),
    "moonshotai": ("moonshot",),
    "nvidia": (),
    "openai": (),
    "perplexity": ("perplexity-ai",),
    "qwen": ("alibaba",),
    "snowflake": (),
    "stabilityai": ("stability",),
    "stepfun": ("stepfun-ai",),
    "tencent": (),
    "thinkingmachines": (),
    "tiiuae": (),
    "twelvelabs": (),
    "upstage": (),
    "voyageai": ("voyage",),
    "writer": (),
    "x-ai": ("xai",),
    "xiaomi": ("xiaomimimo",),
    "zai": ("z-ai", "zai-org", "thudm", "zhipuai"),
}

MAKERS: Final[Mapping[str, str]] = {
    namespace: maker for maker, others in _NAMESPACES.items() for namespace in (maker, *others)
}
"""Namespace, in lower case, to maker: at sellers, on Hugging Face and in front of Bedrock's ids.

Only makers of the models under their namespace are here. Those who also publish converted or
tuned models of others are not: these are other models of the same name.
"""
