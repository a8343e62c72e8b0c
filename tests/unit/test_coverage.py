"""How much is priced offline, that the units are right, and that no seller has two names.

`make coverage` prints the figures.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping
from decimal import Decimal
from itertools import combinations
from math import log10

import pytest

from llmpricing.schedule import Headline, headline
from pricing_server.domain.sellers import ALIASES, ANSWERS_LAST, canonical
from tests._coverage import NOW, Coverage, coverage, listings, table

pytestmark = pytest.mark.recorded

CATALOGUES = ("genai-prices", "models-dev", "portkey", "litellm")


@pytest.fixture(scope="module")
def found() -> dict[str, Coverage]:
    return coverage()


@pytest.fixture(scope="module")
def headlines() -> Mapping[str, Mapping[tuple[str, str], Headline]]:
    return {
        slug: {model.key: headline(model.card, NOW) for model in listing.models}
        for slug, listing in listings()
    }


def test_6000_models_of_60_sellers_are_priced_offline(found: dict[str, Coverage]) -> None:
    print(table(found))
    together = found["all sources"]
    assert len(together.priced) >= 8_551 > 6_000
    assert len(together.sellers) >= 175 > 60
    assert {slug: len(found[slug].priced) for slug in CATALOGUES} == {
        "genai-prices": 2_151,
        "models-dev": 4_065,
        "portkey": 326,
        "litellm": 3_661,
    }


def test_a_seller_has_one_slug_whichever_source_names_it(found: dict[str, Coverage]) -> None:
    sellers = {seller for seller, _ in found["all sources"].listed}
    assert sellers & ALIASES.keys() == set()
    assert {canonical(seller) for seller in sellers} == sellers


def test_no_two_sellers_differ_in_spelling_alone(found: dict[str, Coverage]) -> None:
    def bare(seller: str) -> str:
        return re.sub(r"[^a-z0-9]|ai$", "", re.sub(r"[^a-z0-9]", "", seller))

    sellers = sorted({seller for seller, _ in found["all sources"].listed})
    alike = {pair for pair in combinations(sellers, 2) if bare(pair[0]) == bare(pair[1])}
    # Azure's own models and others' at Foundry; Stepfun's API and its plan.
    assert alike == {("azure", "azure-ai"), ("stepfun", "stepfun-ai")}


def test_sellers_without_prices_have_hardly_any(found: dict[str, Coverage]) -> None:
    together = found["all sources"]
    for seller in ANSWERS_LAST:
        listed = sum(each == seller for each, _ in together.listed)
        priced = sum(each == seller for each, _ in together.priced)
        assert listed, seller
        assert priced <= listed / 20, seller


@pytest.mark.parametrize("one", CATALOGUES[1:])
@pytest.mark.parametrize("name", ["prompt", "completion"])
def test_a_catalogue_has_the_units_of_the_bundled_one(
    headlines: Mapping[str, Mapping[tuple[str, str], Headline]], one: str, name: str
) -> None:
    ratios = []
    for key, shown in headlines[one].items():
        reference = headlines["genai-prices"].get(key)
        ours = getattr(shown, name)
        theirs: Decimal | None = getattr(reference, name) if reference else None
        if ours and theirs:
            ratios.append(log10(ours / theirs))
    close = sum(abs(ratio) < log10(1.01) for ratio in ratios)
    print(f"{one} {name}: {len(ratios)} models, median {statistics.median(ratios)}, {close} close")
    assert len(ratios) >= 16
    assert statistics.median(ratios) == 0
    assert close / len(ratios) > 0.8
    assert max(map(abs, ratios)) < log10(30)
