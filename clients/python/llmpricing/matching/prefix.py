"""Names that begin with their seller, as client libraries and gateways write them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from llmpricing.matching.spelling import fold

_MAX_PREFIXES: Final = 3


@dataclass(frozen=True, slots=True)
class Read:
    """A name as that of a model at a seller."""

    provider: str
    text: str


@dataclass(frozen=True, slots=True)
class Prefixes:
    """What names a seller at the beginning of a name.

    A spelling counts in front of "/" or ":" ("openai/gpt-4o", "openai:gpt-4o"). After a seller's
    prefix only another of the same seller is one: "openrouter/openai/gpt-4o" is OpenRouter's
    "openai/gpt-4o", but "google-gla:models/gemini-2.5-pro" is Google's "gemini-2.5-pro".
    """

    spellings: Mapping[str, str]
    """Any spelling of a seller, in lower case, to its slug."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Longer beginnings, in lower case and with their separator, to slugs: "models/"."""
    patterns: tuple[tuple[re.Pattern[str], str], ...] = ()
    """Beginnings of resource names, matched in lower case."""

    def reads(self, name: str) -> Iterator[Read]:
        """The name without the seller in front, the longest rest first."""
        provider: str | None = None
        for _ in range(_MAX_PREFIXES):
            found = self._first(name)
            if found is None:
                return
            seller, length = found
            if len(name) == length or (provider is not None and seller != provider):
                return
            provider, name = seller, name[length:]
            yield Read(provider, name)

    def _first(self, name: str) -> tuple[str, int] | None:
        folded = fold(name)
        for path, seller in self.paths.items():
            if folded.startswith(path):
                return seller, len(path)
        for pattern, seller in self.patterns:
            if found := pattern.match(folded):
                return seller, found.end()
        ends = [end for end in (folded.find("/"), folded.find(":")) if end > 0]
        if not ends:
            return None
        end = min(ends)
        named = self.spellings.get(folded[:end])
        return (named, end + 1) if named is not None else None
