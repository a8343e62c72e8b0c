"""Costs at the cards of the bundled catalogue, against what the package itself calculates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal

import pytest
from genai_prices.data_units import unit_data
from genai_prices.types import Provider
from genai_prices.units import UnitRegistry

from llmpricing.compiled_card import CompiledCard
from llmpricing.cost import Cost, NotPriced
from llmpricing.meter_tree import ANCESTORS, DIMENSIONS, join
from llmpricing.meters import Meter
from llmpricing.units import EXACT
from llmpricing.usage import InputConvention, Quantity, UsageError
from pricing_server.providers.genai_prices import SOURCE, read
from tests._cost_cases import CostCase, Refusal, cost_cases
from tests._genai_edges import NOW

PER_HOUR = Decimal("1E-35")
"""Relative: prices per hour do not divide exactly, and either side rounds them."""

REGISTRY = UnitRegistry(unit_data)


@pytest.fixture(scope="module")
def catalogue() -> list[Provider]:
    assert SOURCE.release is not None
    providers = SOURCE.release.load()
    assert isinstance(providers, list)
    return providers


@pytest.fixture(scope="module")
def cases(catalogue: list[Provider]) -> list[CostCase]:
    return list(cost_cases(catalogue))


@pytest.fixture(scope="module")
def cards(catalogue: list[Provider]) -> Mapping[tuple[str, str], CompiledCard]:
    return {model.key: CompiledCard(model.card) for model in read(catalogue, NOW).models}


def answer(
    card: CompiledCard, case: CostCase, usage: Mapping[Meter, Quantity], convention: InputConvention
) -> Cost | Refusal:
    try:
        return card.evaluate(usage, at=case.at, context=case.context, convention=convention)
    except UsageError:
        return Refusal.USAGE
    except NotPriced:
        return Refusal.NOT_PRICED


def agrees(case: CostCase, got: Cost | Refusal) -> bool:
    if isinstance(case.expected, Refusal) or isinstance(got, Refusal):
        return got is case.expected
    difference = EXACT.abs(EXACT.subtract(got.total, case.expected))
    bound = EXACT.multiply(case.expected, PER_HOUR) if hourly(case) else 0
    return difference <= bound and dict(got.unpriced) == case.unpriced


def hourly(case: CostCase) -> bool:
    return any(meter.endswith("seconds") for meter in case.usage)


def disagreements(
    cards: Mapping[tuple[str, str], CompiledCard],
    cases: list[CostCase],
    convention: InputConvention,
) -> Iterator[tuple[CostCase, Cost | Refusal]]:
    for case in cases:
        usage = case.usage if convention is InputConvention.INCLUSIVE else case.disjoint
        if usage is not None:
            got = answer(cards[case.seller, case.model_id], case, usage, convention)
            if not agrees(case, got):
                yield case, got


def test_every_usage_of_every_model_costs_what_the_package_says(
    cards: Mapping[tuple[str, str], CompiledCard], cases: list[CostCase]
) -> None:
    assert list(disagreements(cards, cases, InputConvention.INCLUSIVE)) == []


def test_the_same_usage_stated_disjoint_costs_the_same(
    cards: Mapping[tuple[str, str], CompiledCard], cases: list[CostCase]
) -> None:
    assert list(disagreements(cards, cases, InputConvention.EXCLUSIVE)) == []


def test_the_cases_are_many_and_of_every_kind(
    catalogue: list[Provider], cases: list[CostCase]
) -> None:
    kinds = Counter(
        case.expected if isinstance(case.expected, Refusal) else "cost" for case in cases
    )
    assert kinds["cost"] >= 12_000
    assert kinds[Refusal.USAGE] >= 1_000
    assert kinds[Refusal.NOT_PRICED] >= 1_000
    models = {(provider.id, model.id) for provider in catalogue for model in provider.models}
    assert {(case.seller, case.model_id) for case in cases} == models
    assert sum(bool(case.unpriced) for case in cases) >= 1_000
    assert sum(bool(case.context) for case in cases) >= 5_000


# The hierarchy of meters.


def test_meters_have_the_dimensions_of_the_unit_registry() -> None:
    ours = {meter.value: dict(DIMENSIONS[meter]) for meter in Meter}
    theirs = {name: dict(unit.dimensions) for name, unit in REGISTRY.units.items()}
    whole_images = {"input_images", "output_images"}
    assert {name: ours[name] for name in ours.keys() - whole_images} == theirs


def test_parts_and_overlaps_are_those_of_the_unit_registry() -> None:
    units = REGISTRY.units
    assert {name: {each.value for each in ANCESTORS[Meter(name)]} for name in units} == {
        name: REGISTRY.ancestor_usage_keys(name) for name in units
    }
    for one in units:
        for other in units:
            theirs = REGISTRY.find_join(units[one], units[other])
            assert join(Meter(one), Meter(other)) == (theirs.usage_key if theirs else None)


def test_a_whole_image_is_part_of_nothing_and_has_no_parts() -> None:
    for meter in (Meter.INPUT_IMAGES, Meter.OUTPUT_IMAGES):
        assert ANCESTORS[meter] == frozenset()
        assert not any(meter in ANCESTORS[each] for each in Meter)


def test_meters_that_can_overlap_have_a_meter_for_the_overlap() -> None:
    for one in Meter:
        for other in Meter:
            merged = {**DIMENSIONS[one], **DIMENSIONS[other]}
            can_overlap = merged == {**DIMENSIONS[other], **DIMENSIONS[one]}
            same_family = DIMENSIONS[one]["family"] == DIMENSIONS[other]["family"]
            assert (join(one, other) is not None) == (can_overlap and same_family)
