"""The guard over recorded payloads: errors of unit are held, what is true is not.

A fast part of `benchmarks/guard.py`.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from pricing_server.domain.held_change import HoldReason
from tests._guard_rates import (
    feeds,
    new_rows,
    true_changes,
    true_first_syncs,
    wrong_feeds,
    wrong_rows,
)

CENTS_AND_MILLIONTHS = (Decimal(100), Decimal("1E-6"))

SOURCES_WITH_PRICES = (
    "openrouter",
    "deepinfra",
    "novita",
    "together",
    "chutes",
    "cerebras",
    "huggingface",
    "portkey",
)
"""The small ones; the large catalogues are in the benchmark."""

pytestmark = pytest.mark.recorded


@pytest.mark.parametrize("slug", SOURCES_WITH_PRICES)
def test_a_feed_in_a_wrong_unit_is_held_as_a_whole_or_in_one_meter(slug: str) -> None:
    wrongs = list(wrong_feeds(slug, CENTS_AND_MILLIONTHS))
    assert len(wrongs) >= 6
    assert [wrong for wrong in wrongs if wrong.passed] == []
    shifted = {wrong.reasons == {HoldReason.FEED_SHIFTED} for wrong in wrongs}
    # Of the two models of one feed each is held by itself.
    assert shifted == {slug != "cerebras"}


@pytest.mark.parametrize("slug", SOURCES_WITH_PRICES)
def test_a_row_in_a_wrong_unit_is_held_where_it_has_a_past_or_an_opinion(slug: str) -> None:
    found = wrong_rows(slug, CENTS_AND_MILLIONTHS, step=1 + len(feeds()[slug].models) // 60)
    assert found.passed == []
    assert found.past.held == found.past.all > 0
    assert found.opinion.held == found.opinion.all


@pytest.mark.parametrize("slug", [*SOURCES_WITH_PRICES, "models-dev", "litellm", "genai-prices"])
def test_a_new_row_that_nothing_else_prices_is_held_if_it_is_implausible_and_else_is_not(
    slug: str,
) -> None:
    found = new_rows(slug, rounds=2)
    assert found.passed == []
    # Portkey has a ranker's price per request as one per token.
    assert found.real.held <= (5 if slug == "portkey" else 0.005 * found.real.all)


def test_no_recorded_feed_is_held_and_hardly_a_row() -> None:
    for slug, world, plan, _ in true_first_syncs():
        assert plan.holding.feed is None, (slug, world)
        reasons = Counter(each.suspicion.reason for each in plan.holding.opened)
        # litellm has image models of Fireworks, and two of watsonx and Azure, per token.
        assert reasons.pop(HoldReason.IMPLAUSIBLE, 0) <= (7 if slug == "litellm" else 5)
        assert reasons.total() <= 2, (slug, world)
        assert plan.counts["models_held"] == len(plan.holding.opened)


def test_none_of_the_changes_between_recorded_days_is_held() -> None:
    alone, beside_the_catalogue, held = true_changes()
    assert alone.all > 150
    assert (alone.held, beside_the_catalogue.held, held) == (0, 0, [])
