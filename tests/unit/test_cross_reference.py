"""Whose price serves for a model that its own seller states none of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    DYNAMIC,
    UNPRICED,
    Conditions,
    PriceState,
    Rate,
    RateCard,
)
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.price import Layer, Price
from pricing_server.domain.source_listing import Listing
from pricing_server.lookup.layers.cross_reference import cross_reference
from pricing_server.providers import featherless, openrouter
from tests._recorded import recorded

FIXTURES = Path(__file__).parents[1] / "fixtures"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = datetime(2027, 1, 1, tzinfo=UTC)
CARD = RateCard.of(PriceState.PRICED, [Rate(Meter.INPUT_TOKENS, Decimal("0.000001"))])
FREE = RateCard.of(PriceState.FREE, [Rate(Meter.INPUT_TOKENS, Decimal(0))])

ASKED = Price(
    provider="featherless",
    model_id="Qwen/Qwen3-8B",
    card=UNPRICED,
    layer=Layer.DATABASE,
    source="featherless",
    obtained_at=NOW,
    effective_time=NOW,
    price_revision=7,
    hugging_face_id="Qwen/Qwen3-8B",
)
REFERENCE = Price(
    provider="openrouter",
    model_id="qwen/qwen3-8b",
    card=CARD,
    layer=Layer.DATABASE,
    source="openrouter",
    obtained_at=NOW,
    effective_time=NOW,
    price_revision=5,
    hugging_face_id="qwen/qwen3-8B",
    canonical_slug="qwen/qwen3-8b-04-28",
)
OTHER = replace(REFERENCE, model_id="qwen/qwen3-8b-long", canonical_slug="qwen/qwen3-8b-long")


def test_the_price_of_the_model_with_the_same_hugging_face_id_serves_in_any_case() -> None:
    found = cross_reference(ASKED, [REFERENCE], NOW)
    assert found == replace(
        REFERENCE,
        provider="featherless",
        model_id="Qwen/Qwen3-8B",
        layer=Layer.CROSS_REFERENCE,
        hugging_face_id="Qwen/Qwen3-8B",
        canonical_slug=None,
        detail="OpenRouter's price of qwen/qwen3-8b, same Hugging Face id",
        referred=("openrouter", "qwen/qwen3-8b"),
    )
    assert found.price_revision == 5


def test_the_price_of_the_model_with_the_same_canonical_slug_serves() -> None:
    asked = replace(ASKED, hugging_face_id=None, canonical_slug=REFERENCE.canonical_slug)
    found = cross_reference(asked, [REFERENCE], NOW)
    assert found is not None
    assert found.detail == "OpenRouter's price of qwen/qwen3-8b, same canonical slug"


def test_a_model_without_slug_is_looked_for_by_its_id() -> None:
    asked = replace(ASKED, hugging_face_id=None, model_id="qwen/qwen3-8b-04-28")
    assert cross_reference(asked, [REFERENCE], NOW) is not None
    assert cross_reference(replace(asked, model_id="qwen/qwen3-8b"), [REFERENCE], NOW) is None


def test_a_slug_does_not_make_two_repositories_one_model() -> None:
    asked = replace(ASKED, hugging_face_id="Qwen/Other", canonical_slug=REFERENCE.canonical_slug)
    assert cross_reference(asked, [REFERENCE], NOW) is None


def test_names_that_neither_has_are_not_shared() -> None:
    nameless = replace(REFERENCE, hugging_face_id=None, canonical_slug=None)
    asked = replace(ASKED, hugging_face_id=None)
    assert cross_reference(asked, [nameless], NOW) is None


def test_of_several_models_none_serves() -> None:
    assert cross_reference(ASKED, [REFERENCE, OTHER], NOW) is None


@pytest.mark.parametrize("card", [UNPRICED, DYNAMIC, FREE])
def test_a_second_model_makes_it_ambiguous_whatever_it_costs(card: RateCard) -> None:
    assert cross_reference(ASKED, [REFERENCE, replace(OTHER, card=card)], NOW) is None


def test_a_second_model_that_is_no_longer_sold_does_not() -> None:
    assert cross_reference(ASKED, [REFERENCE, replace(OTHER, delisted_at=NOW)], NOW) is not None


VARIANTS = [
    replace(REFERENCE, model_id="qwen/qwen3-8b:free", card=FREE),
    replace(REFERENCE, model_id="qwen/qwen3-8b:batch"),
    replace(REFERENCE, model_id="qwen/qwen3-8b:thinking"),
    replace(REFERENCE, model_id="~qwen/qwen-latest"),
    replace(REFERENCE, model_id="qwen/latest", alias_target="qwen/qwen3-8b"),
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda price: price.model_id)
def test_a_variant_neither_serves_nor_makes_it_ambiguous(variant: Price) -> None:
    assert cross_reference(ASKED, [variant], NOW) is None
    found = cross_reference(ASKED, [variant, REFERENCE], NOW)
    assert found is not None
    assert found.card == CARD


@pytest.mark.parametrize(
    "unusable",
    [
        {"card": UNPRICED},
        {"card": DYNAMIC},
        {"card": FREE},
        {"delisted_at": NOW},
        {"is_listed": False},
        {"provider": "together"},
    ],
    ids=str,
)
def test_only_a_listed_and_priced_model_of_the_reference_seller_serves(
    unusable: dict[str, object],
) -> None:
    assert cross_reference(ASKED, [replace(REFERENCE, **unusable)], NOW) is None  # type: ignore[arg-type]


def test_a_price_that_has_not_begun_serves_once_it_has() -> None:
    rate = Rate(Meter.INPUT_TOKENS, Decimal("0.000001"), Conditions(effective_from=LATER))
    coming = replace(REFERENCE, card=RateCard.of(PriceState.PRICED, [rate]))
    assert cross_reference(ASKED, [coming], NOW) is None
    assert cross_reference(ASKED, [coming], LATER) is not None


@pytest.mark.parametrize(
    "asked",
    [
        replace(ASKED, card=CARD),
        replace(ASKED, card=FREE),
        replace(ASKED, card=DYNAMIC),
        replace(ASKED, delisted_at=NOW),
        replace(ASKED, model_id="Qwen/Qwen3-8B:free"),
        replace(REFERENCE, card=UNPRICED, model_id="qwen/other"),
    ],
    ids=["priced", "free", "dynamic", "delisted", "variant", "of the reference seller"],
)
def test_no_other_model_is_given_a_price(asked: Price) -> None:
    assert cross_reference(asked, [REFERENCE], NOW) is None


@given(st.permutations([REFERENCE, OTHER, *VARIANTS]), st.integers(0, 7))
def test_the_answer_does_not_depend_on_the_order_of_candidates(
    candidates: list[Price], count: int
) -> None:
    chosen = candidates[:count]
    ordered = sorted(chosen, key=lambda price: price.model_id)
    assert cross_reference(ASKED, chosen, NOW) == cross_reference(ASKED, ordered, NOW)


def prices(listing: Listing) -> Sequence[Price]:
    return [
        Price(
            provider=model.provider,
            model_id=model.model_id,
            card=model.card,
            layer=Layer.DATABASE,
            source=model.provider,
            obtained_at=NOW,
            effective_time=NOW,
            hugging_face_id=model.hugging_face_id,
            canonical_slug=model.canonical_slug,
            alias_target=model.alias_target,
        )
        for model in listing.models
    ]


def references(ours: Path, theirs: Path) -> dict[str, Price]:
    asked = prices(featherless.read(decode_json(ours.read_bytes()), NOW))
    candidates = prices(openrouter.read(decode_json(theirs.read_bytes()), NOW))
    found = {price.model_id: cross_reference(price, candidates, NOW) for price in asked}
    return {model_id: price for model_id, price in found.items() if price is not None}


def test_of_the_fixture_only_the_unambiguous_model_is_given_a_price() -> None:
    found = references(FIXTURES / "featherless.json", FIXTURES / "openrouter_counterparts.json")
    assert list(found) == ["Orchard/Apple-8B-Instruct"]


@pytest.mark.recorded
def test_28_of_the_recorded_models_have_a_counterpart_by_hugging_face_id() -> None:
    found = references(recorded("featherless.json"), recorded("openrouter_2026-08-22.json"))
    assert len(found) == 28
    assert all(str(price.detail).endswith("same Hugging Face id") for price in found.values())
    # Of the same slug, but of another repository: not the same model for certain.
    assert "meta-llama/Llama-3.1-8B-Instruct" not in found
