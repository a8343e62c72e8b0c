"""Cerebras: strings in USD per token."""

from __future__ import annotations

import pytest

from llmpricing.rate_card import PriceState
from tests.unit._sources import (
    by_id,
    notices,
    per_million,
    prices,
    read_fixture,
    read_recorded,
)


def test_prices_are_usd_per_token() -> None:
    listing = read_fixture("cerebras")
    assert listing.faults == ()
    assert per_million(listing) == {
        "plain-70b": prices("0.35", "0.75"),
        "big": prices("2.25", "2.75"),
        "zero": PriceState.UNPRICED,
    }
    assert notices(listing) == {
        "zero:pricing.prompt": (1, "zero"),
        "zero:pricing.completion": (1, "zero"),
    }


def test_the_repository_that_the_seller_names_is_kept() -> None:
    models = by_id(read_fixture("cerebras"))
    assert models["plain-70b"].hugging_face_id == "acme/Plain-70B"
    assert models["big"].hugging_face_id is None


@pytest.mark.recorded
def test_all_recorded_prices_checked_by_hand() -> None:
    listing = read_recorded("cerebras", "cerebras_public_2026")
    assert (listing.faults, listing.notices) == ((), ())
    assert per_million(listing) == {
        "gemma-4-31b": prices("0.99", "1.49"),
        "gpt-oss-120b": prices("0.35", "0.75"),
    }
