"""A catalogue's clauses, arranged so that a name is compared with few of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from llmpricing.matching.clause import (
    Clause,
    Contains,
    EndsWith,
    Equals,
    ModelClause,
    StartsWith,
    UnsafePattern,
    alternatives,
    gate,
    test_of,
)
from llmpricing.matching.outcome import Name
from llmpricing.matching.same_model import can_be
from llmpricing.matching.spelling import fold


@dataclass(frozen=True, slots=True)
class Said:
    """The models that a catalogue's clauses give a name."""

    accepted: tuple[Name, ...] = ()
    refused: tuple[Name, ...] = ()
    """Those which the name says more, or something else, than their ids."""


@dataclass(frozen=True, slots=True)
class _Entry:
    model: Name
    folded_id: str
    is_stated: bool
    test: Callable[[str], bool] | None
    """None if the arrangement has tested all already."""


_Entries = tuple[_Entry, ...]


class ClauseIndex:
    """The clauses of all sellers; built once for a catalogue. Immutable."""

    __slots__ = ("_beginnings", "_contained", "_endings", "_equal", "_ungated", "unsafe")

    unsafe: Final[tuple[str, ...]]
    """What was left out, since it might take long on a name; in words."""

    def __init__(self, clauses: Iterable[ModelClause]) -> None:
        equal: dict[str, list[_Entry]] = {}
        beginnings: dict[str, list[_Entry]] = {}
        endings: dict[str, list[_Entry]] = {}
        contained: dict[str, list[_Entry]] = {}
        ungated: list[_Entry] = []
        unsafe: list[str] = []
        for model in clauses:
            for clause in alternatives(model.clause):
                try:
                    entry = _entry(model, clause)
                except UnsafePattern as error:
                    unsafe.append(f"{model.provider}:{model.model_id}: {error}")
                    continue
                match gate(clause):
                    case Equals(text):
                        equal.setdefault(fold(text), []).append(entry)
                    case StartsWith(text):
                        beginnings.setdefault(fold(text), []).append(entry)
                    case EndsWith(text):
                        endings.setdefault(fold(text), []).append(entry)
                    case Contains(text):
                        contained.setdefault(fold(text), []).append(entry)
                    case None:
                        ungated.append(entry)
        self._equal = _frozen(equal)
        self._beginnings = _by_length(beginnings)
        self._endings = _by_length(endings)
        self._contained = tuple(_frozen(contained).items())
        self._ungated = tuple(ungated)
        self.unsafe = tuple(unsafe)

    def find(self, folded: str, provider: str | None, listed: Callable[[Name], bool]) -> Said:
        """The listed models, of one seller or of all, that clauses give a folded name."""
        accepted: dict[Name, None] = {}
        refused: dict[Name, None] = {}
        for entry in self._entries(folded):
            if provider is not None and entry.model[0] != provider:
                continue
            if entry.test is not None and not entry.test(folded):
                continue
            if not listed(entry.model):
                continue
            if can_be(folded, entry.folded_id, is_stated=entry.is_stated):
                accepted[entry.model] = None
            else:
                refused[entry.model] = None
        for model in accepted:
            refused.pop(model, None)
        return Said(tuple(accepted), tuple(refused))

    def _entries(self, folded: str) -> list[_Entry]:
        """All entries whose clause may hold for the name."""
        found = list(self._equal.get(folded, ()))
        length = len(folded)
        for size, entries in self._beginnings:
            if size <= length:
                found += entries.get(folded[:size], ())
        for size, entries in self._endings:
            if size <= length:
                found += entries.get(folded[length - size :], ())
        for text, within in self._contained:
            if text in folded:
                found += within
        found += self._ungated
        return found


def _entry(model: ModelClause, clause: Clause) -> _Entry:
    is_gate = isinstance(clause, Equals | StartsWith | EndsWith | Contains)
    return _Entry(
        model=(model.provider, model.model_id),
        folded_id=fold(model.model_id),
        is_stated=isinstance(clause, Equals),
        test=None if is_gate else test_of(clause),
    )


def _frozen(entries: Mapping[str, list[_Entry]]) -> dict[str, _Entries]:
    return {text: tuple(each) for text, each in entries.items()}


def _by_length(
    entries: Mapping[str, Collection[_Entry]],
) -> tuple[tuple[int, Mapping[str, _Entries]], ...]:
    """The entries by the length of their text, so that one look-up per length finds them."""
    lengths: dict[int, dict[str, _Entries]] = {}
    for text, each in entries.items():
        lengths.setdefault(len(text), {})[text] = tuple(each)
    return tuple(sorted(lengths.items(), key=lambda item: item[0]))
