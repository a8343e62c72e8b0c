"""The extractors of genai-prices, as far as they go, read the same from the same bodies."""

from __future__ import annotations

from decimal import Decimal

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.data_units import unit_data

from llmpricing.meters import Meter
from llmpricing.raw_usage import ApiFlavour, read_usage
from tests._raw_usage import UsageCase, usage_cases

CASES = [case for case in usage_cases() if case.oracle]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_oracle_differs_only_where_a_reason_is_given(case: UsageCase) -> None:
    model, oracle = _extracted(case)
    read = read_usage(case.body, case.flavour)
    ours = {meter: quantity for meter, quantity in read.usage.items() if quantity}
    differing = {meter for meter in {*ours, *oracle} if ours.get(meter, 0) != oracle.get(meter, 0)}
    assert differing == set(case.oracle_differs)
    assert model in (None, read.model)


def test_the_oracle_is_asked_about_every_flavour() -> None:
    assert {case.flavour for case in CASES} == set(ApiFlavour)
    assert len(CASES) >= 60


def _extracted(case: UsageCase) -> tuple[str | None, dict[Meter, Decimal]]:
    assert case.oracle is not None
    seller, flavour = case.oracle
    providers = {provider.id: provider for provider in get_snapshot().providers}
    extractors = {one.api_flavor: one for one in providers[seller].extractors or []}
    model, usage = extractors[flavour].extract(case.body)
    quantities = {Meter(unit): getattr(usage, unit, None) for unit in unit_data}
    return model, {
        meter: Decimal(str(quantity)) for meter, quantity in quantities.items() if quantity
    }
