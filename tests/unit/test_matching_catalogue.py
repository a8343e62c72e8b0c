"""Matching beside the bundled catalogue's own look-up, which answers by its clauses alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmpricing.matching import Match, Name
from llmpricing.matching.clause import ModelClause
from pricing_server.domain.sellers import canonical
from pricing_server.lookup.matching.catalogue_clauses import clauses
from tests.unit._model_names import (
    cards,
    cases,
    catalogue_clauses,
    catalogue_document,
    catalogue_index,
    catalogue_names,
)

if TYPE_CHECKING:
    from genai_prices import types


def _sellers() -> dict[str, types.Provider]:
    document = catalogue_document()
    assert isinstance(document, list)
    providers: list[types.Provider] = document
    return {provider.id: provider for provider in providers}


def _asked() -> list[Name]:
    """Names to ask the catalogue's sellers for: of the cases, and of all sources."""
    sellers = _sellers()
    asked = {(canonical(case.seller), case.name) for case in cases() if case.seller}
    asked.update(cards())
    return sorted(name for name in asked if name[0] in sellers)


def test_every_clause_of_the_catalogue_is_used() -> None:
    found = list(clauses(catalogue_document()))

    assert catalogue_clauses().unsafe == ()
    assert {(each.provider, each.model_id) for each in found} == catalogue_names()
    assert all(isinstance(each, ModelClause) for each in found)


@pytest.mark.recorded
def test_no_name_leads_to_another_model_than_by_the_catalogue() -> None:
    """Each may know a name that the other does not: the catalogue takes any name that begins
    like a model, and does not know the ids that it uses itself for Bedrock and Fireworks."""
    sellers = _sellers()
    both = only_catalogue = only_here = 0
    differing = []
    for provider, name in _asked():
        # Of one seller, and without the memory of the package's own look-up.
        by_catalogue = sellers[provider].find_model(name)
        found = catalogue_index().match(name, provider)
        if isinstance(found, Match) and by_catalogue is not None:
            both += 1
            if found.model_id != by_catalogue.id:
                differing.append((provider, name, by_catalogue.id, found))
        elif by_catalogue is not None:
            only_catalogue += 1
        elif isinstance(found, Match):
            only_here += 1

    assert differing == []
    assert both > 2_000
    assert only_catalogue < both / 5
    assert only_here < both / 5


@pytest.mark.recorded
def test_clauses_never_give_a_name_to_two_models_of_a_seller() -> None:
    ambiguous = []
    for provider, name in _asked():
        said = catalogue_clauses().find(name.lower(), provider, lambda model: True)
        if len(said.accepted) > 1:
            ambiguous.append((provider, name, said.accepted))

    assert ambiguous == []
