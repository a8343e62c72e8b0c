"""Other names of one and the same model at its seller, kept by hand.

What each group rests on stands above it: the seller's documentation, or only the bundled
catalogue, whose clauses count the names as one model. Not here are names that move to newer
models ("-latest", where the seller means whatever is newest), and what other rules find (dates,
prefixes, case).
"""

from __future__ import annotations

from typing import Final

from llmpricing.matching import Aliases, SameModel

_SAME: Final = (
    # The catalogue, and for Haiku 4.5 Anthropic's table of ids and aliases that was read.
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
    # The catalogue, which names both under one model of each seller.
    SameModel("openai", ("text-embedding-ada-002", "text-embedding-ada-002-v2")),
    SameModel("azure", ("text-embedding-ada-002", "text-embedding-ada-002-v2")),
    # Azure's documentation writes the family without the dot; that its versions are those which
    # others list with a dot is inferred.
    SameModel("azure", ("gpt-3.5-turbo", "gpt-35-turbo")),
    SameModel("azure", ("gpt-3.5-turbo-0125", "gpt-35-turbo-0125")),
    SameModel("azure", ("gpt-3.5-turbo-1106", "gpt-35-turbo-1106")),
    SameModel("azure", ("gpt-3.5-turbo-16k", "gpt-35-turbo-16k")),
    # The catalogue. Cohere's ids have a date, as month and year.
    SameModel("cohere", ("command-a-03-2025", "command-a")),
    SameModel("cohere", ("command-r7b-12-2024", "command-r7b")),
    # Google's page on Gemini 2.0 Flash has both as its versions, the catalogue has both pairs;
    # for Vertex AI inferred from that, and listed there at one price.
    SameModel("google", ("gemini-2.0-flash-001", "gemini-2.0-flash")),
    SameModel("google", ("gemini-2.0-flash-lite-001", "gemini-2.0-flash-lite")),
    SameModel("google-vertex", ("gemini-2.0-flash-001", "gemini-2.0-flash")),
    SameModel("google-vertex", ("gemini-2.0-flash-lite-001", "gemini-2.0-flash-lite")),
    # The catalogue; Mistral's page on Nemo has open-mistral-nemo and its date as one.
    SameModel("mistral", ("mistral-7b", "open-mistral-7b")),
    SameModel("mistral", ("mixtral-8x7b", "open-mixtral-8x7b")),
    SameModel("mistral", ("mixtral-8x22b-instruct", "open-mixtral-8x22b")),
    SameModel("mistral", ("mistral-nemo", "open-mistral-nemo", "open-mistral-nemo-2407")),
    SameModel("mistral", ("mistral-embed-2312", "mistral-embed")),
    SameModel("mistral", ("codestral-embed-2505", "codestral-embed")),
    # The catalogue alone: xAI's own list was not read.
    SameModel("x-ai", ("grok-2-1212", "grok-2")),
    SameModel("x-ai", ("grok-2-vision-1212", "grok-2-vision")),
    SameModel("x-ai", ("grok-3", "grok-3-beta")),
    SameModel("x-ai", ("grok-3-mini", "grok-3-mini-beta")),
    SameModel("x-ai", ("grok-4-0709", "grok-4")),
    SameModel("x-ai", ("grok-4-fast-reasoning", "grok-4-fast")),
    SameModel("x-ai", ("grok-4-1-fast-reasoning", "grok-4-1-fast")),
)

OTHER_NAMES: Final = Aliases(_SAME)
