"""The match clauses of the bundled catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmpricing.matching.clause import (
    AllOf,
    AnyOf,
    Clause,
    Contains,
    EndsWith,
    Equals,
    ModelClause,
    Regex,
    StartsWith,
)
from llmpricing.names import name_fault
from pricing_server.domain.sellers import canonical

if TYPE_CHECKING:
    # At run time only where needed: importing the package loads all of its data.
    from genai_prices import types


def clauses(document: object) -> Iterator[ModelClause]:
    """By which names the package's list of `Provider` objects knows its models.

    What the catalogue says of a seller counts at that seller alone: it lets Azure fall back to
    OpenAI's prices, and a name is not looked for there.
    """
    assert isinstance(document, list), "the catalogue is a list of sellers"
    providers: list[types.Provider] = document
    for provider in providers:
        for model in provider.models:
            if not name_fault(model.id):
                yield ModelClause(canonical(provider.id), model.id, _clause(model.match))


def _clause(stated: types.MatchLogic) -> Clause:
    from genai_prices import types

    match stated:
        case types.ClauseEquals(equals=text):
            return Equals(text)
        case types.ClauseStartsWith(starts_with=text):
            return StartsWith(text)
        case types.ClauseEndsWith(ends_with=text):
            return EndsWith(text)
        case types.ClauseContains(contains=text):
            return Contains(text)
        case types.ClauseRegex(regex=pattern):
            return Regex(pattern)
        case types.ClauseOr(or_=stated_clauses):
            return AnyOf(tuple(_clause(each) for each in stated_clauses))
        case types.ClauseAnd(and_=stated_clauses):
            return AllOf(tuple(_clause(each) for each in stated_clauses))
