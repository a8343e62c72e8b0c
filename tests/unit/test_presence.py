"""Groq and Fireworks tell which models they serve, and nothing of prices."""

from __future__ import annotations

import pytest
from genai_prices.data_snapshot import get_snapshot

from llmpricing.rate_card import UNPRICED
from pricing_server.domain.source import KeyUse
from pricing_server.providers import SOURCES
from tests.unit._sources import NOW, by_id, notices, read_fixture, read_recorded

SLUGS = ["groq", "fireworks"]


@pytest.mark.parametrize("slug", SLUGS)
def test_every_model_is_listed_without_a_price_by_its_seller(slug: str) -> None:
    listing = read_fixture(slug)
    assert (len(listing.models), listing.faults, listing.notices) == (3, (), ())
    assert {model.card for model in listing.models} == {UNPRICED}
    assert {model.provider for model in listing.models} == {SOURCES[slug].provider}


@pytest.mark.parametrize("slug", SLUGS)
@pytest.mark.parametrize("key", ["pricing", "input_price", "cost_in", "billing"])
def test_a_price_without_declared_unit_is_named_and_not_read(slug: str, key: str) -> None:
    listing = SOURCES[slug].read({"data": [{"id": "m", key: {"input": 0.1}}]}, NOW)
    assert listing.models[0].card == UNPRICED
    assert notices(listing) == {f"unknown_key:{key}": (1, "m")}


@pytest.mark.parametrize("slug", SLUGS)
def test_a_key_is_needed(slug: str) -> None:
    assert SOURCES[slug].key_use is KeyUse.REQUIRED


@pytest.mark.parametrize(("slug", "count"), [("groq", 21), ("fireworks", 37)])
@pytest.mark.recorded
def test_all_recorded_models_are_listed(slug: str, count: int) -> None:
    listing = read_recorded(slug)
    assert (len(listing.models), listing.faults, listing.notices) == (count, (), ())
    assert {model.card for model in listing.models} == {UNPRICED}


@pytest.mark.recorded
def test_catalogues_name_most_of_the_recorded_groq_models_alike() -> None:
    (groq,) = (provider for provider in get_snapshot().providers if provider.id == "groq")
    assert len({model.id for model in groq.models} & by_id(read_recorded("groq")).keys()) == 15
