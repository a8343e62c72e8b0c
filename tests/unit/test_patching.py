"""What a patch of an override replaces on a card, and what it leaves as the sources state it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    ALWAYS,
    UNPRICED,
    Comparison,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    Threshold,
    ThresholdScope,
    UtcWindow,
)
from pricing_server.sync.patching import patched, scaled
from tests.unit._strategies import many

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
INPUT, OUTPUT, CACHED = Meter.INPUT_TOKENS, Meter.OUTPUT_TOKENS, Meter.CACHE_READ_TOKENS
BATCH, FLEX = ("processing", "batch"), ("service_tier", "flex")
LARGE = Threshold(INPUT, Comparison.ABOVE, 200_000, ThresholdScope.ALL)
NEXT_YEAR = datetime(2027, 1, 1, tzinfo=UTC)


def rate(meter: Meter, price: str, conditions: Conditions = ALWAYS) -> Rate:
    return Rate(meter, Decimal(price), conditions)


def card(*rates: Rate) -> RateCard:
    return RateCard.of(PriceState.PRICED, rates)


def conditions() -> st.SearchStrategy[Conditions]:
    return st.builds(
        Conditions,
        threshold=st.sampled_from([None, None, LARGE, replace(LARGE, quantity=100_000)]),
        context=st.sets(st.sampled_from([BATCH, FLEX])).map(lambda pairs: tuple(sorted(pairs))),
        utc_window=st.sampled_from([None, None, UtcWindow(11 * 60, 13 * 60), UtcWindow(0, 60)]),
        effective_from=st.sampled_from([None, None, NOW, NEXT_YEAR]),
    )


def cards() -> st.SearchStrategy[RateCard]:
    rates = st.builds(
        Rate,
        meter=st.sampled_from([INPUT, OUTPUT, CACHED]),
        price=st.integers(1, 9).map(Decimal),
        conditions=conditions(),
    )
    listed = st.lists(rates, min_size=1, max_size=9, unique_by=lambda one: one.key)
    return listed.map(lambda found: card(*found))


def charged(one: RateCard, meter: Meter, context: set[tuple[str, str]], size: int) -> Rate | None:
    """The rate of a meter that a request of this context and size is charged at now."""
    for each in one.rates:
        when = each.conditions
        is_reached = when.threshold is None or when.threshold.reached_by(size)
        holds = is_reached and when.in_effect(NOW) and context >= set(when.context)
        if each.meter is meter and holds:
            return each
    return None


# Laws.


@many
@given(cards(), cards(), st.sampled_from([0, 150_000, 300_000]))
def test_what_a_patch_states_holds_whatever_the_card(
    beneath: RateCard, patch: RateCard, size: int
) -> None:
    found = patched(beneath, patch)
    for stated in patch.rates:
        context = set(stated.conditions.context)
        wanted = charged(patch, stated.meter, context, size)
        if wanted is not None and set(wanted.conditions.context) == context:
            assert charged(found, stated.meter, context, size) == wanted
    assert set(patch.rates) <= set(found.rates)


@many
@given(cards(), cards())
def test_what_a_patch_does_not_name_is_untouched(beneath: RateCard, patch: RateCard) -> None:
    found = patched(beneath, patch)
    assert set(found.rates) <= {*patch.rates, *beneath.rates}
    named = {(one.meter, one.conditions.context) for one in patch.rates}
    groups = {(one.meter, one.conditions.context) for one in beneath.rates} - named
    for group in groups:
        before, after = (
            [one for one in each.rates if (one.meter, one.conditions.context) == group]
            for each in (beneath, found)
        )
        assert before == after
    for meter in {one.meter for one in beneath.rates} - {one.meter for one in patch.rates}:
        assert [one for one in beneath.rates if one.meter is meter] == [
            one for one in found.rates if one.meter is meter
        ]


@many
@given(cards(), cards())
def test_to_patch_twice_is_to_patch_once(beneath: RateCard, patch: RateCard) -> None:
    once = patched(beneath, patch)
    assert patched(once, patch) == once


@many
@given(cards(), st.decimals(Decimal("0.01"), 1_000, places=2))
def test_a_percent_is_taken_of_every_rate(beneath: RateCard, percent: Decimal) -> None:
    found = scaled(beneath, percent)
    assert [one.key for one in found.rates] == [one.key for one in beneath.rates]
    for one, other in zip(found.rates, beneath.rates, strict=True):
        assert one.price * 100 == other.price * percent
    assert scaled(beneath, Decimal(100)) == beneath


# Cases.


def test_a_price_of_tokens_leaves_cache_rates_and_modes_as_they_are() -> None:
    batch = Conditions(context=(BATCH,))
    beneath = card(
        rate(INPUT, "6", Conditions(threshold=LARGE)),
        rate(INPUT, "1.5", batch),
        rate(INPUT, "3"),
        rate(OUTPUT, "15"),
        rate(CACHED, "0.6", Conditions(threshold=LARGE)),
        rate(CACHED, "0.3"),
    )
    assert patched(beneath, card(rate(INPUT, "2"))) == card(
        rate(INPUT, "1.5", batch),
        rate(INPUT, "2"),
        rate(OUTPUT, "15"),
        rate(CACHED, "0.6", Conditions(threshold=LARGE)),
        rate(CACHED, "0.3"),
    )


def test_a_price_of_a_mode_comes_before_tiers_of_the_standard_price() -> None:
    batch = Conditions(context=(BATCH,))
    tier = rate(INPUT, "6", Conditions(threshold=LARGE))
    beneath = card(tier, rate(INPUT, "1.5", batch), rate(INPUT, "3"))
    assert patched(beneath, card(rate(INPUT, "1", batch))) == card(
        rate(INPUT, "1", batch), tier, rate(INPUT, "3")
    )


def test_a_tier_or_a_date_leaves_the_price_without_it() -> None:
    later = Conditions(effective_from=NEXT_YEAR)
    for when in (later, Conditions(threshold=LARGE)):
        beneath = card(rate(INPUT, "9", when), rate(INPUT, "3"))
        found = patched(beneath, card(rate(INPUT, "4", when)))
        assert found == card(rate(INPUT, "4", when), rate(INPUT, "3"))
        assert patched(card(rate(INPUT, "3")), card(rate(INPUT, "4", when))) == found


def test_there_is_nothing_to_patch_on_a_card_without_prices() -> None:
    free = RateCard.of(PriceState.FREE, [rate(INPUT, "0"), rate(OUTPUT, "0")])
    patch = card(rate(INPUT, "2"))
    for beneath in (UNPRICED, free):
        assert patched(beneath, patch) == patch
    assert patched(patch, free) == free
