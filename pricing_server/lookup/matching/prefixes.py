"""How a name says at its beginning who sells the model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from llmpricing.matching import Prefixes
from pricing_server.domain.sellers import ALIASES

_IN_CLIENTS: Final[Mapping[str, str]] = {
    "google_anthropic_vertex": "google-vertex",  # LangChain
    "google_vertexai": "google-vertex",
    "github": "github-models",  # LiteLLM, Pydantic AI
    "grok": "x-ai",
    "openai-chat": "openai",
    "openai-responses": "openai",
}
"""Spellings in front of model ids in client libraries that are no names of sellers elsewhere."""

_PATHS: Final[Mapping[str, str]] = {
    # LiteLLM's ways to call Bedrock; all cost the same.
    "bedrock/converse/": "aws",
    "bedrock/invoke/": "aws",
    # Resource names: of the Gemini API, of Vertex AI's catalogue, of Fireworks.
    "models/": "google",
    "publishers/anthropic/models/": "google-vertex",
    "publishers/google/models/": "google-vertex",
    "accounts/fireworks/models/": "fireworks",
    "accounts/fireworks/routers/": "fireworks",
}

_PATTERNS: Final = (
    # Not those of a location: Vertex AI charges more for some models outside of "global".
    (
        re.compile(r"projects/[^/]{1,64}/locations/global/publishers/(?:anthropic|google)/models/"),
        "google-vertex",
    ),
    # A profile's id names its area; a foundation model's does not, nor those of other partitions.
    (re.compile(r"arn:aws:bedrock:[a-z0-9-]{1,32}:[0-9]{12}:inference-profile/"), "aws"),
)


def prefixes(sellers: Iterable[str]) -> Prefixes:
    """What names a seller in front of a model id: slugs of `sellers`, and their other names."""
    slugs = {seller: seller for seller in sellers}
    return Prefixes({**_IN_CLIENTS, **ALIASES, **slugs}, _PATHS, _PATTERNS)
