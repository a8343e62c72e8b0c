"""Names as sellers and client libraries write them, and the model that each is."""

from __future__ import annotations

import pytest

from pricing_server.domain.sellers import canonical
from tests.unit._model_names import (
    MUST_NOT_MATCH,
    Case,
    cases,
    catalogue_index,
    recorded_index,
    shown,
)

ALL = cases()


def _slug(case: Case) -> str | None:
    return canonical(case.seller) if case.seller is not None else None


@pytest.mark.parametrize("case", ALL, ids=lambda case: f"{case.name}@{case.seller or ''}")
def test_a_name_leads_to_its_model_with_the_bundled_catalogue_alone(case: Case) -> None:
    explanation = catalogue_index().explain(case.name, _slug(case))

    assert shown(explanation.result) == case.alone
    assert catalogue_index().match(case.name, _slug(case)) == explanation.result


@pytest.mark.parametrize("case", ALL, ids=lambda case: f"{case.name}@{case.seller or ''}")
@pytest.mark.recorded
def test_a_name_leads_to_its_model_where_all_sources_are_read(case: Case) -> None:
    explanation = recorded_index().explain(case.name, _slug(case))

    assert shown(explanation.result) == case.recorded
    assert recorded_index().match(case.name, _slug(case)) == explanation.result


def test_the_table_has_names_of_all_kinds_each_once() -> None:
    matching = [case for case in ALL if case.section != MUST_NOT_MATCH]
    refused = [case for case in ALL if case.section == MUST_NOT_MATCH]

    assert len({(case.name, case.seller) for case in ALL}) == len(ALL)
    assert len(matching) >= 290
    assert len(refused) >= 40
    assert all(case.recorded != "-" for case in matching)
    assert all(case.alone == case.recorded == "-" for case in refused)
