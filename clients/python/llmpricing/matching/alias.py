"""Other names of one and the same model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from llmpricing.matching.spelling import fold


@dataclass(frozen=True, slots=True)
class SameModel:
    """Names that a seller has for one model, the one to prefer first."""

    provider: str
    names: tuple[str, ...]


class Aliases:
    """A table of other names. Immutable."""

    __slots__ = ("_groups",)

    def __init__(self, groups: Iterable[SameModel]) -> None:
        """Raises ValueError for a name that stands in two groups of a seller: it would make
        one model of two."""
        by_name: dict[str, dict[str, tuple[str, ...]]] = {}
        for group in groups:
            for name in group.names:
                sellers = by_name.setdefault(fold(name), {})
                if group.provider in sellers:
                    raise ValueError(f"{group.provider}:{name} stands twice in the alias table")
                sellers[group.provider] = group.names
        self._groups: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = by_name

    def of(self, folded: str) -> Mapping[str, Sequence[str]]:
        """By seller, all names of the model that has this folded name there."""
        return self._groups.get(folded, _NONE)


_NONE: Final[Mapping[str, Sequence[str]]] = {}
