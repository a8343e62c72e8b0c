"""Names that look like one that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rapidfuzz import fuzz, process, utils

MAX_MATCHES: Final = 5
MIN_SCORE: Final = 70.0
"""Of 100, by rapidfuzz's WRatio on lower-cased words."""


class NameIndex:
    """All names at one state of the price table."""

    def __init__(self, names: Iterable[tuple[str, str]]) -> None:
        self._names = sorted(set(names))
        self.providers = frozenset(provider for provider, _ in self._names)
        self._ids = [utils.default_process(model_id) for _, model_id in self._names]

    def near_models(self, model_id: str, provider: str | None) -> Sequence[tuple[str, str]]:
        """(provider, model id) that look like the id, best first; of one seller if given."""
        if provider is None:
            choices: dict[int, str] = dict(enumerate(self._ids))
        else:
            choices = {
                position: self._ids[position]
                for position, (seller, _) in enumerate(self._names)
                if seller == provider
            }
        return [self._names[position] for _, _, position in _best(model_id, choices)]

    def near_providers(self, provider: str) -> Sequence[str]:
        """Sellers whose name looks like this one, best first."""
        return [name for _, _, name in _best(provider, {name: name for name in self.providers})]


def _best(text: str, choices: dict) -> list:  # type: ignore[type-arg]
    return process.extract(
        utils.default_process(text),
        choices,
        scorer=fuzz.WRatio,
        limit=MAX_MATCHES,
        score_cutoff=MIN_SCORE,
    )
