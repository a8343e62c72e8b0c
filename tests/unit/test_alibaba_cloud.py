"""Alibaba Cloud tells which models it serves, and nothing of prices."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmpricing.rate_card import UNPRICED
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.source_listing import SourceError
from pricing_server.providers.alibaba_cloud import read

FIXTURE = Path(__file__).parents[1] / "fixtures" / "alibaba_cloud.json"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_every_model_is_listed_without_a_price() -> None:
    listing = read(decode_json(FIXTURE.read_bytes()), NOW)
    assert [model.model_id for model in listing.models] == ["orchard-plus", "orchard-turbo"]
    assert {model.card for model in listing.models} == {UNPRICED}
    assert (listing.faults, listing.notices) == ((), ())


def test_a_price_is_named_and_not_read() -> None:
    listing = read({"data": [{"id": "a", "pricing": {"input": 1}, "price_unit": "CNY"}]}, NOW)
    assert listing.models[0].card == UNPRICED
    assert {each.code for each in listing.notices} == {
        "unknown_key:pricing",
        "unknown_key:price_unit",
    }


def test_one_page_of_several_is_refused_since_the_other_models_would_seem_gone() -> None:
    with pytest.raises(SourceError, match="one page of several"):
        read({"data": [{"id": "a"}], "has_more": True}, NOW)


@pytest.mark.parametrize("document", [None, [], {}, {"data": {}}, {"data": []}, {"data": [1]}])
def test_a_payload_without_models_is_refused(document: object) -> None:
    with pytest.raises(SourceError):
        read(document, NOW)
