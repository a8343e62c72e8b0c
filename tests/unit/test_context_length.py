"""Context lengths as sources state them: whole numbers of tokens, or not known."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.rate_card import UNPRICED
from pricing_server.domain.source_listing import ListedModel, Notice
from pricing_server.providers import SOURCES
from pricing_server.providers.context_length import MAX_CONTEXT_LENGTH, context_length
from pricing_server.providers.listing_builder import ListingBuilder
from tests._recorded import recorded
from tests.unit._strategies import many

NOW = datetime(2026, 11, 22, tzinfo=UTC)
FIXTURES = Path(__file__).parents[1] / "fixtures"
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
)


def read(stated: object) -> tuple[int | None, tuple[Notice, ...]]:
    listing = ListingBuilder()
    listing.read_row("acme", "one", lambda one: ListedModel("acme", one, UNPRICED, "{}"))
    found = context_length(stated, "limit.context", listing, "one")
    return found, listing.build(NOW).notices


@given(tokens=st.integers(1, MAX_CONTEXT_LENGTH))
@many
def test_a_count_of_tokens_is_taken_as_it_is(tokens: int) -> None:
    assert read(tokens) == read(Decimal(tokens)) == (tokens, ())


def test_what_is_not_stated_is_not_known_and_no_notice() -> None:
    assert read(None) == (None, ())


@pytest.mark.parametrize(
    "stated",
    [
        *(0, -1, True, MAX_CONTEXT_LENGTH + 1, 10**5000, Decimal("1.5"), Decimal("1E+999999")),
        *(Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), "131072", 8192.0, [8192], {}),
    ],
    ids=lambda stated: str(type(stated).__name__),
)
def test_nonsense_is_named_and_not_known(stated: object) -> None:
    notice = Notice("context_length:limit.context", "no count of tokens, not read", 1, "one")
    assert read(stated) == (None, (notice,))


@given(stated=anything)
@many
def test_anything_is_a_count_in_range_or_not_known(stated: object) -> None:
    found, notices = read(stated)
    assert found is None or (type(found) is int and 1 <= found <= MAX_CONTEXT_LENGTH)
    assert len(notices) == (found is None and stated is not None)


@pytest.mark.parametrize(
    "slug", [slug for slug, source in SOURCES.items() if source.context_length_field]
)
def test_each_source_that_declares_a_field_reads_it(slug: str) -> None:
    source = SOURCES[slug]
    if source.release is not None:
        document = source.release.load()
    else:
        name = slug.replace("-", "_")
        document = json.loads((FIXTURES / f"{name}.json").read_bytes(), parse_float=Decimal)
    models = source.read(document, NOW).models
    assert any(model.context_length for model in models)


def test_sources_that_declare_no_field_state_no_context_length() -> None:
    for name, slug in (("litellm", "litellm"), ("portkey", "portkey")):
        assert not SOURCES[slug].context_length_field
        document = json.loads((FIXTURES / f"{name}.json").read_bytes(), parse_float=Decimal)
        models = SOURCES[slug].read(document, NOW).models
        assert {model.context_length for model in models} == {None}


def test_a_context_length_differs_from_none_in_nothing_but_itself() -> None:
    """Neither the card nor the evidence for it knows of it: a change of it changes no price."""
    source = SOURCES["openrouter"]
    document = json.loads((FIXTURES / "openrouter.json").read_bytes(), parse_float=Decimal)
    before = source.read(document, NOW).models
    for each in document["data"]:
        each["context_length"] = 77
    after = source.read(document, NOW).models
    assert {model.context_length for model in after} == {77}
    assert [(model.card, model.fragment) for model in before] == [
        (model.card, model.fragment) for model in after
    ]


@pytest.mark.parametrize(
    ("slug", "recording", "models"),
    [
        ("openrouter", "openrouter_2026-08-22.json", 421),
        ("together", "together.json", 76),
        ("novita", "novita.json", 59),
        ("chutes", "chutes.json", 66),
        ("deepinfra", "deepinfra.json", 111),
        ("cerebras", "cerebras_public_2026.json", 2),
        ("fireworks", "fireworks.json", 32),
        ("groq", "groq.json", 21),
    ],
)
@pytest.mark.recorded
def test_every_recorded_context_length_is_read(slug: str, recording: str, models: int) -> None:
    document = json.loads(recorded(recording).read_bytes(), parse_float=Decimal)
    listing = SOURCES[slug].read(document, NOW)
    assert sum(model.context_length is not None for model in listing.models) == models


def test_the_bundled_catalogue_tells_those_of_its_models() -> None:
    source = SOURCES["genai-prices"]
    assert source.release is not None
    listing = source.read(source.release.load(), NOW)
    assert sum(model.context_length is not None for model in listing.models) == 1_419


def test_the_router_has_one_only_where_all_that_it_may_choose_state_the_same() -> None:
    def routed(*lengths: object) -> int | None:
        entries = [
            {"provider": f"sub{at}", "status": "live", "context_length": length}
            for at, length in enumerate(lengths)
        ]
        dead = {"provider": "dead", "status": "error", "context_length": 7}
        document = {"data": [{"id": "acme/one", "providers": [*entries, dead]}]}
        models = SOURCES["huggingface"].read(document, NOW).models
        by_id = {model.model_id: model.context_length for model in models}
        assert [by_id[f"acme/one:sub{at}"] for at in range(len(lengths))] == list(lengths)
        return by_id["acme/one"]

    assert routed(4096) == routed(4096, 4096) == 4096
    assert routed(4096, 8192) is None
    assert routed(4096, None) is None
    assert routed(None) is None
