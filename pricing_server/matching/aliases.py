"""Other names of one and the same model at its seller, kept by hand.

Here are only names that the seller itself has for the same weights at the same price, as its
documentation says. Not here are names that move to newer models ("-latest", where the seller
means whatever is newest), and what other rules find (dates, prefixes, case).
"""

from __future__ import annotations

from typing import Final

from llmpricing.matching import Aliases, SameModel

_SAME: Final = (
    # Anthropic's list of model names and aliases; each of these has one snapshot for good.
    SameModel("anthropic", ("claude-haiku-4-5-20251001", "claude-haiku-4-5")),
    SameModel("anthropic", ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5")),
    SameModel("anthropic", ("claude-opus-4-5-20251101", "claude-opus-4-5")),
    SameModel("anthropic", ("claude-opus-4-1-20250805", "claude-opus-4-1")),
    SameModel("anthropic", ("claude-opus-4-20250514", "claude-opus-4-0")),
    SameModel("anthropic", ("claude-sonnet-4-20250514", "claude-sonnet-4-0")),
    SameModel("anthropic", ("claude-3-7-sonnet-20250219", "claude-3-7-sonnet-latest")),
    SameModel("anthropic", ("claude-3-5-haiku-20241022", "claude-3-5-haiku-latest")),
    SameModel("anthropic", ("claude-3-opus-20240229", "claude-3-opus-latest")),
    SameModel("anthropic", ("claude-3-haiku-20240307", "claude-3-haiku")),
    SameModel("anthropic", ("claude-3-sonnet-20240229", "claude-3-sonnet")),
    # How the API's answers name it.
    SameModel("openai", ("text-embedding-ada-002", "text-embedding-ada-002-v2")),
    SameModel("azure", ("text-embedding-ada-002", "text-embedding-ada-002-v2")),
    # Azure writes the family without the dot.
    SameModel("azure", ("gpt-3.5-turbo", "gpt-35-turbo")),
    SameModel("azure", ("gpt-3.5-turbo-0125", "gpt-35-turbo-0125")),
    SameModel("azure", ("gpt-3.5-turbo-1106", "gpt-35-turbo-1106")),
    SameModel("azure", ("gpt-3.5-turbo-16k", "gpt-35-turbo-16k")),
    # Cohere's ids have a date, as month and year.
    SameModel("cohere", ("command-a-03-2025", "command-a")),
    SameModel("cohere", ("command-r7b-12-2024", "command-r7b")),
    # The stable version of these is the first and only one.
    SameModel("google", ("gemini-2.0-flash-001", "gemini-2.0-flash")),
    SameModel("google", ("gemini-2.0-flash-lite-001", "gemini-2.0-flash-lite")),
    SameModel("google-vertex", ("gemini-2.0-flash-001", "gemini-2.0-flash")),
    SameModel("google-vertex", ("gemini-2.0-flash-lite-001", "gemini-2.0-flash-lite")),
    # Mistral's open models had "open-" in front; those with a date have had one version.
    SameModel("mistral", ("mistral-7b", "open-mistral-7b")),
    SameModel("mistral", ("mixtral-8x7b", "open-mixtral-8x7b")),
    SameModel("mistral", ("mixtral-8x22b-instruct", "open-mixtral-8x22b")),
    SameModel("mistral", ("mistral-nemo", "open-mistral-nemo", "open-mistral-nemo-2407")),
    SameModel("mistral", ("mistral-embed-2312", "mistral-embed")),
    SameModel("mistral", ("codestral-embed-2505", "codestral-embed")),
    SameModel("mistral", ("pixtral-12b", "pixtral-12b-2409")),
    # xAI's list of models and aliases.
    SameModel("x-ai", ("grok-2-1212", "grok-2")),
    SameModel("x-ai", ("grok-2-vision-1212", "grok-2-vision")),
    SameModel("x-ai", ("grok-3", "grok-3-beta")),
    SameModel("x-ai", ("grok-3-mini", "grok-3-mini-beta")),
    SameModel("x-ai", ("grok-4-0709", "grok-4")),
    SameModel("x-ai", ("grok-4-fast-reasoning", "grok-4-fast")),
    SameModel("x-ai", ("grok-4-1-fast-reasoning", "grok-4-1-fast")),
)

OTHER_NAMES: Final = Aliases(_SAME)
