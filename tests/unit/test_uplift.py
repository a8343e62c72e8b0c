"""Multipliers of a whole card as rates in their context."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from llmpricing.compiled_card import CompiledCard
from llmpricing.meters import Meter
from llmpricing.rate_card import Comparison, Conditions, PriceState, Rate, RateCard, Threshold
from llmpricing.units import EXACT
from pricing_server.domain.uplift import with_uplift
from tests.unit._strategies import many

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PLACE = {"geography": "regional"}
CONTEXTS: tuple[dict[str, str], ...] = ({}, {"service_tier": "flex"}, {"processing": "batch"})
LONG = Threshold(Meter.INPUT_TOKENS, Comparison.ABOVE, 1_000)

conditions = st.builds(
    Conditions,
    st.sampled_from([None, LONG]),
    st.sampled_from([tuple(context.items()) for context in CONTEXTS]),
)
prices = st.decimals(Decimal("1E-9"), Decimal("1E-3"), places=9)
rates = st.lists(
    st.builds(Rate, st.sampled_from([Meter.INPUT_TOKENS, Meter.OUTPUT_TOKENS]), prices, conditions),
    min_size=1,
    unique_by=lambda rate: rate.key,
)
multipliers = st.decimals(Decimal("0.1"), Decimal("9"), places=3)


@many
@given(rates, multipliers, st.sampled_from(CONTEXTS), st.integers(0, 2_000), st.integers(0, 2_000))
def test_a_request_with_the_context_costs_the_multiple_of_the_same_without_it(
    stated: list[Rate],
    multiplier: Decimal,
    context: dict[str, str],
    input_tokens: int,
    output_tokens: int,
) -> None:
    card = CompiledCard(RateCard.of(PriceState.PRICED, with_uplift(stated, multiplier, PLACE)))
    before = CompiledCard(RateCard.of(PriceState.PRICED, stated))
    usage = {Meter.INPUT_TOKENS: input_tokens, Meter.OUTPUT_TOKENS: output_tokens}
    cost = before.evaluate(usage, at=NOON, context=context)
    same = card.evaluate(usage, at=NOON, context=context)
    assert (same.total, same.unpriced) == (cost.total, cost.unpriced)
    placed = card.evaluate(usage, at=NOON, context={**context, **PLACE})
    assert placed.total == EXACT.multiply(cost.total, multiplier)
    assert placed.unpriced == cost.unpriced


def test_calls_of_tools_cost_the_same_everywhere() -> None:
    search = Rate(Meter.WEB_SEARCHES, Decimal("0.01"))
    assert with_uplift([search], Decimal("1.1"), PLACE) == (search,)


def test_a_rate_of_a_place_is_not_multiplied() -> None:
    placed = Rate(Meter.INPUT_TOKENS, Decimal(1), Conditions(context=(("geography", "global"),)))
    assert with_uplift([placed], Decimal("1.1"), PLACE) == (placed,)
