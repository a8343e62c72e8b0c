"""Featherless tells which models it serves, and nothing of prices."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmpricing.rate_card import UNPRICED
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.source_listing import Listing, SourceError
from pricing_server.providers.featherless import SOURCE, read
from tests._recorded import recorded

FIXTURE = Path(__file__).parents[1] / "fixtures" / "featherless.json"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def rows(*ids: object) -> dict[str, object]:
    return {"data": [{"id": model_id} for model_id in ids]}


def hugging_face_ids(listing: Listing) -> Mapping[str, str | None]:
    return {model.model_id: model.hugging_face_id for model in listing.models}


def test_every_model_is_listed_without_a_price() -> None:
    listing = read(decode_json(FIXTURE.read_bytes()), NOW)
    assert not listing.faults
    assert len(listing.models) == 8
    assert {model.card for model in listing.models} == {UNPRICED}
    assert {model.provider for model in listing.models} == {SOURCE.provider}
    assert listing.obtained_at == NOW


def test_a_model_is_named_by_its_repository_at_hugging_face() -> None:
    listing = read(rows("Qwen/Qwen3-8B", "lonely-model", "a/b/c", "a b/c", "a/ü"), NOW)
    assert hugging_face_ids(listing) == {
        "Qwen/Qwen3-8B": "Qwen/Qwen3-8B",
        "lonely-model": None,
        "a/b/c": None,
        "a b/c": None,
        "a/ü": None,
    }


def test_a_repeated_row_is_one_model_and_is_named() -> None:
    listing = read(rows("a/b", "a/c", "a/b"), NOW)
    assert [model.model_id for model in listing.models] == ["a/b", "a/c"]
    assert [(notice.code, notice.example) for notice in listing.notices] == [
        ("repeated_row", "a/b")
    ]


def test_ids_that_differ_in_case_are_two_models() -> None:
    assert len(read(rows("a/B", "a/b"), NOW).models) == 2


def test_a_price_without_declared_unit_is_named_and_not_read() -> None:
    listing = read({"data": [{"id": "a/b", "pricing": {"input": 0.1}}]}, NOW)
    assert listing.models[0].card == UNPRICED
    assert [notice.code for notice in listing.notices] == ["price_not_read:pricing"]


@pytest.mark.parametrize("row", [{}, {"id": None}, {"id": ""}, {"id": "a\nb"}, "a/b", None])
def test_a_row_without_a_usable_name_is_a_fault_of_its_own(row: object) -> None:
    listing = read({"data": [row, {"id": "a/b"}]}, NOW)
    assert [model.model_id for model in listing.models] == ["a/b"]
    assert len(listing.faults) == 1


@pytest.mark.parametrize("document", [None, [], {}, {"data": {}}, {"data": []}, {"data": [1]}])
def test_a_payload_without_models_is_refused(document: object) -> None:
    with pytest.raises(SourceError):
        read(document, NOW)


@pytest.mark.parametrize(
    "announced",
    [
        {"pagination": {"current_page": 1, "total_pages": 3, "total_items": 201}},
        {"pagination": {"total_items": 2}},
        {"total": 2},
    ],
)
def test_one_page_of_several_is_refused_since_the_other_models_would_seem_gone(
    announced: dict[str, object],
) -> None:
    with pytest.raises(SourceError, match="one page of several"):
        read({**rows("a/b"), **announced}, NOW)


def test_a_single_page_is_the_whole_list() -> None:
    pagination = {"current_page": 1, "per_page": 1000, "total_items": 1, "total_pages": 1}
    assert len(read({**rows("a/b"), "pagination": pagination}, NOW).models) == 1


@pytest.mark.recorded
def test_the_recorded_payload_has_6503_models_without_a_fault() -> None:
    document = decode_json(recorded("featherless.json").read_bytes())
    listing = read(document, NOW)
    assert not listing.faults
    assert len(listing.models) == 6_503
    assert all(model.card == UNPRICED for model in listing.models)
    assert all(model.hugging_face_id == model.model_id for model in listing.models)
    assert [(notice.code, notice.models) for notice in listing.notices] == [("repeated_row", 1)]


@pytest.mark.recorded
def test_the_fixture_has_the_shape_of_the_recorded_payload() -> None:
    true = json.loads(recorded("featherless.json").read_bytes())
    own = json.loads(FIXTURE.read_bytes())
    assert own.keys() == true.keys()
    shapes = {frozenset(row) for row in true["data"]}
    assert {frozenset(row) for row in own["data"]} <= shapes
