"""Names that look like one that nobody knows."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Final, TypeVar

from rapidfuzz import fuzz, process, utils

from llmpricing.matching import Name, Standing
from pricing_server.domain.sellers import answer_order

K = TypeVar("K", bound=Hashable)

MAX_MATCHES: Final = 5
MIN_SCORE: Final = 60.0
"""Out of 100: normalised edit similarity of the lower-cased names."""


class NameIndex:
    """All names at one state of the price table."""

    def __init__(self, names: Mapping[Name, Standing]) -> None:
        self.standings: Final = names
        # Equal scores keep this order: makers first, as in answers.
        self.names: Final[Sequence[Name]] = sorted(
            names, key=lambda name: (*answer_order(*name), name[1])
        )
        self.providers = frozenset(provider for provider, _ in self.names)
        self._ids = [utils.default_process(model_id) for _, model_id in self.names]

    def near_models(self, model_id: str, provider: str | None) -> Sequence[tuple[str, str]]:
        """(provider, model id) that look like the id, best first; of one seller if given."""
        if provider is None:
            choices: dict[int, str] = dict(enumerate(self._ids))
        else:
            choices = {
                position: self._ids[position]
                for position, (seller, _) in enumerate(self.names)
                if seller == provider
            }
        return [self.names[position] for position in _best(model_id, choices)]

    def near_providers(self, provider: str) -> Sequence[str]:
        """Sellers whose name looks like this one, best first."""
        return _best(provider, {name: name for name in sorted(self.providers)})


def _best(text: str, choices: Mapping[K, str]) -> list[K]:
    found = process.extract(
        utils.default_process(text),
        choices,
        scorer=fuzz.ratio,
        limit=MAX_MATCHES,
        score_cutoff=MIN_SCORE,
    )
    return [key for _, _, key in found]
