"""NEAR AI states amount / 10^scale USD per token."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.meters import Meter
from llmpricing.rate_card import UNPRICED, PriceState
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.source_listing import ListedModel, Listing, SourceError
from pricing_server.providers.near_ai import read
from tests._recorded import recorded
from tests.unit._strategies import many

FIXTURE = Path(__file__).parents[1] / "fixtures" / "near_ai.json"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def usd(amount: object, scale: object = 9, currency: object = "USD") -> dict[str, object]:
    return {"amount": amount, "scale": scale, "currency": currency}


def listing_of(**fields: object) -> Listing:
    return read({"models": [{"modelId": "a/b", **fields}, {"modelId": "a/sound"}]}, NOW)


def rates(model: ListedModel) -> Mapping[Meter, Decimal]:
    assert all(rate.per == 1 for rate in model.card.rates)
    return {rate.meter: rate.price for rate in model.card.rates}


def test_the_fixture_is_read_in_usd_per_token_and_per_image() -> None:
    listing = read(decode_json(FIXTURE.read_bytes()), NOW)
    assert not listing.faults
    models = {model.model_id: model for model in listing.models}
    assert rates(models["orchard/apple-8b"]) == {
        Meter.INPUT_TOKENS: Decimal("0.00000085"),
        Meter.OUTPUT_TOKENS: Decimal("0.0000033"),
    }
    assert rates(models["orchard/pear-4b"]) == {
        Meter.INPUT_TOKENS: Decimal("0.000001"),
        Meter.OUTPUT_IMAGES: Decimal("0.04"),
    }
    assert rates(models["orchard/grape-70b"]) == {
        Meter.INPUT_TOKENS: Decimal("0.00000085"),
        Meter.OUTPUT_TOKENS: Decimal("0.0000033"),
        Meter.CACHE_READ_TOKENS: Decimal("0.000000085"),
    }
    for model_id in ("orchard/plum-embedding", "orchard/quince-reranker"):
        assert models[model_id].card == UNPRICED
    assert [notice.code for notice in listing.notices] == ["zero:cacheReadCostPerToken"]


@given(st.integers(1, 10**9), st.integers(0, 30))
@many
def test_a_price_is_the_amount_by_ten_to_the_scale(amount: int, scale: int) -> None:
    (rate,) = listing_of(inputCostPerToken=usd(amount, scale)).models[0].card.rates
    assert Fraction(rate.price) / rate.per == Fraction(amount, 10**scale)


@pytest.mark.parametrize(
    "stated",
    [
        usd(850, currency="EUR"),
        usd(850, currency=None),
        usd(850, scale=None),
        usd(850, scale=-9),
        usd(850, scale=31),
        usd(850, scale="9"),
        usd(850, scale=True),
        usd("850"),
        usd(True),
        usd(None),
        usd(-1),
        usd(Decimal("8.5")),
        usd(Decimal("NaN")),
        usd(10**60),
        850,
        "0.00000085",
        [],
    ],
)
def test_what_is_no_amount_in_usd_is_a_fault_of_its_row(stated: object) -> None:
    listing = listing_of(outputCostPerToken=stated)
    assert [fault.model_id for fault in listing.faults] == ["a/b"]
    assert [model.model_id for model in listing.models] == ["a/sound"]


def test_a_zero_is_no_price() -> None:
    listing = listing_of(inputCostPerToken=usd(0), outputCostPerToken=usd(0))
    assert listing.models[0].card == UNPRICED
    assert {notice.code for notice in listing.notices} == {
        "zero:inputCostPerToken",
        "zero:outputCostPerToken",
    }


def test_a_price_key_without_declared_unit_is_named() -> None:
    listing = listing_of(inputCostPerToken=usd(1), audioCostPerMinute=usd(1), pricing={"x": 1})
    assert {notice.code for notice in listing.notices} == {
        "unknown_key:audioCostPerMinute",
        "unknown_key:pricing",
    }
    assert listing.models[0].card.state is PriceState.PRICED


@pytest.mark.parametrize("document", [None, [], {}, {"models": {}}, {"models": []}, {"data": []}])
def test_a_payload_without_models_is_refused(document: object) -> None:
    with pytest.raises(SourceError):
        read(document, NOW)


@pytest.mark.recorded
def test_the_documented_sample_has_the_prices_that_near_shows() -> None:
    listing = read(decode_json(recorded("nearai_model_list.sample.json").read_bytes()), NOW)
    assert not listing.faults
    stated = {model.model_id: rates(model) for model in listing.models if model.card.rates}
    # NEAR's price table shows $0.85/M and $3.30/M, $0.15/M and $0.55/M.
    assert stated == {
        "zai-org/GLM-5.1-FP8": {
            Meter.INPUT_TOKENS: Decimal("0.00000085"),
            Meter.OUTPUT_TOKENS: Decimal("0.0000033"),
        },
        "openai/gpt-oss-120b": {
            Meter.INPUT_TOKENS: Decimal("0.00000015"),
            Meter.OUTPUT_TOKENS: Decimal("0.00000055"),
        },
        "black-forest-labs/FLUX.2-klein-4B": {
            Meter.INPUT_TOKENS: Decimal("0.000001"),
            Meter.OUTPUT_TOKENS: Decimal("0.000001"),
        },
    }
    assert len(listing.models) == 9
