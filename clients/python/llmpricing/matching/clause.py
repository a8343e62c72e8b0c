"""What a catalogue says of the names that a model goes by."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from llmpricing.matching.spelling import fold


@dataclass(frozen=True, slots=True)
class Equals:
    """The name is this text, in any case."""

    text: str


@dataclass(frozen=True, slots=True)
class StartsWith:
    """The name begins with this text, in any case."""

    text: str


@dataclass(frozen=True, slots=True)
class EndsWith:
    """The name ends with this text, in any case."""

    text: str


@dataclass(frozen=True, slots=True)
class Contains:
    """The name contains this text, in any case."""

    text: str


@dataclass(frozen=True, slots=True)
class Regex:
    """The pattern is found in the name, written in lower case."""

    pattern: str


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of these holds."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of these hold."""

    clauses: tuple[Clause, ...]


Clause: TypeAlias = Equals | StartsWith | EndsWith | Contains | Regex | AnyOf | AllOf


@dataclass(frozen=True, slots=True)
class ModelClause:
    """By which names a catalogue knows a seller's model."""

    provider: str
    model_id: str
    clause: Clause


class UnsafePattern(ValueError):
    """A text that is no regular expression, or one that might take long on a name."""


MAX_PATTERN_LENGTH: Final = 200

_REPEATED: Final = re.compile(r"[*+]|\{[0-9]*,[0-9]*\}")
_QUANTIFIED_GROUP: Final = re.compile(r"\)(?:[*+]|\{)")
_REFERENCE: Final = re.compile(r"\\[1-9]|\(\?P|\(\?\(")


def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern, if no name of up to 512 characters can keep it busy: it begins at the start of
    the name, has at most one repetition of varying length, of no group, and refers to none.

    Raises UnsafePattern.
    """
    # What is escaped or in a class repeats nothing.
    bare = re.sub(r"\[(?:\\.|[^\]\\])*\]", "c", re.sub(r"\\[^1-9]", "c", pattern))
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise UnsafePattern(f"a pattern of {len(pattern)} characters")
    if not pattern.startswith("^") or "|" in re.sub(r"\([^()]*\)", "", bare):
        raise UnsafePattern(f"a pattern that may be found anywhere in a name: {pattern}")
    if len(_REPEATED.findall(bare)) > 1 or _QUANTIFIED_GROUP.search(bare):
        raise UnsafePattern(f"a pattern with repetitions of repetitions: {pattern}")
    if _REFERENCE.search(bare):
        raise UnsafePattern(f"a pattern that refers to its groups: {pattern}")
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UnsafePattern(f"no pattern, {error}: {pattern}") from None


def alternatives(clause: Clause) -> Iterator[Clause]:
    """The clauses of which one has to hold, none of them an AnyOf."""
    if isinstance(clause, AnyOf):
        for each in clause.clauses:
            yield from alternatives(each)
    else:
        yield clause


def gate(clause: Clause) -> StartsWith | EndsWith | Contains | Equals | None:
    """A cheap test that every name passes for which the clause holds; None if none was found."""
    if isinstance(clause, AllOf):
        gates = [found for each in clause.clauses if (found := gate(each)) is not None]
        return max(gates, key=lambda found: len(found.text), default=None)
    if isinstance(clause, Regex):
        literal = _leading_literal(clause.pattern)
        return StartsWith(literal) if literal else None
    return None if isinstance(clause, AnyOf) else clause


def test_of(clause: Clause) -> Callable[[str], bool]:
    """Whether the clause holds for a folded name. Raises UnsafePattern."""
    match clause:
        case Equals(text):
            folded = fold(text)
            return lambda name: name == folded
        case StartsWith(text):
            folded = fold(text)
            return lambda name: name.startswith(folded)
        case EndsWith(text):
            folded = fold(text)
            return lambda name: name.endswith(folded)
        case Contains(text):
            folded = fold(text)
            return lambda name: folded in name
        case Regex(pattern):
            search = compiled(pattern).search
            return lambda name: search(name) is not None
        case AnyOf(clauses):
            tests = [test_of(each) for each in clauses]
            return lambda name: any(test(name) for test in tests)
        case AllOf(clauses):
            tests = [test_of(each) for each in clauses]
            return lambda name: all(test(name) for test in tests)


def _leading_literal(pattern: str) -> str:
    """The text that whatever the pattern matches begins with, perhaps shorter than it might be."""
    literal = ""
    for found in re.finditer(r"\\([^a-zA-Z0-9])|([a-z0-9/:@-])|(.)", pattern[1:], re.DOTALL):
        escaped, plain, other = found.groups()
        if other is not None:
            # What a quantifier follows need not be there.
            return literal[:-1] if other in "?*+{" else literal
        literal += escaped or plain
    return literal
