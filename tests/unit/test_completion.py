"""A card completed from several sources: rate by rate, and never a rate that is stated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from llmpricing.compiled_card import CompiledCard
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
    UtcWindow,
)
from pricing_server.domain.source import SAYS_ALL, Coverage
from pricing_server.sync.completion import CompletedCard, StatedCard, UnfilledReason, completed
from tests.unit._strategies import many

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
BATCH = Conditions(context=(("processing", "batch"),))
FLEX = Conditions(context=(("service_tier", "flex"),))
FAST = Conditions(context=(("speed", "fast"),))
PRIORITY = Conditions(context=(("service_tier", "priority"),))
LONG = Conditions(threshold=Threshold(Meter.INPUT_TOKENS, Comparison.ABOVE, 200_000))


def rate(meter: Meter, price: str, when: Conditions = ALWAYS) -> Rate:
    return Rate(meter, Decimal(price), when)


def card(*rates: Rate) -> RateCard:
    return RateCard.of(PriceState.PRICED, rates)


INPUT = rate(Meter.INPUT_TOKENS, "2")
OUTPUT = rate(Meter.OUTPUT_TOKENS, "8")
CACHED = rate(Meter.CACHE_READ_TOKENS, "0.2")
POOR = card(INPUT, OUTPUT)


def stated(source: str, *rates: Rate) -> StatedCard:
    return StatedCard(source, card(*rates))


def by(*others: StatedCard, winner: RateCard = POOR, at: datetime = NOW) -> CompletedCard:
    return completed(StatedCard("first", winner), others, at)


def added(*others: StatedCard, winner: RateCard = POOR) -> dict[Rate, str]:
    """What others add to a card, and who does."""
    found = by(*others, winner=winner)
    stated = set(winner.rates)
    told = zip(found.card.rates, found.sources, strict=True)
    return {rate: source for rate, source in told if rate not in stated}


def test_a_meter_that_the_card_lacks_is_filled_by_the_first_that_states_it() -> None:
    second = stated("second", INPUT, OUTPUT, CACHED)
    third = stated("third", INPUT, OUTPUT, rate(Meter.CACHE_READ_TOKENS, "0.5"))
    assert added(second, third) == {CACHED: "second"}
    assert added(third, second) == {rate(Meter.CACHE_READ_TOKENS, "0.5"): "third"}


def test_nothing_is_filled_where_the_base_prices_differ_or_one_is_not_stated() -> None:
    dearer = rate(Meter.OUTPUT_TOKENS, "8.1")
    assert not added(stated("second", INPUT, dearer, CACHED))
    assert not added(stated("second", INPUT, CACHED))
    assert added(stated("second", INPUT, rate(Meter.OUTPUT_TOKENS, "8.05"), CACHED))
    only_input = card(INPUT)
    assert added(stated("second", INPUT, CACHED), winner=only_input)
    assert not added(stated("second", INPUT, OUTPUT, CACHED), winner=only_input)


def test_of_a_model_without_tokens_all_that_is_stated_must_be_equal() -> None:
    seconds, searches = rate(Meter.AUDIO_SECONDS, "0.1"), rate(Meter.WEB_SEARCHES, "0.01")
    requests = rate(Meter.REQUESTS, "1")
    winner = card(seconds, searches)
    assert added(stated("second", seconds, searches, requests), winner=winner)
    assert not added(stated("second", seconds, requests), winner=winner)
    dearer = rate(Meter.WEB_SEARCHES, "0.02")
    assert not added(stated("second", seconds, dearer, requests), winner=winner)


def test_a_context_is_filled_as_a_whole_and_where_both_state_the_same_of_it() -> None:
    halves = [replace(INPUT, price=Decimal(1), conditions=BATCH)]
    halves.append(replace(OUTPUT, price=Decimal(4), conditions=BATCH))
    assert set(added(stated("second", INPUT, OUTPUT, *halves))) == set(halves)
    mine = card(halves[0], INPUT, OUTPUT)
    assert set(added(stated("second", INPUT, OUTPUT, *halves), winner=mine)) == {halves[1]}
    other = replace(halves[0], price=Decimal("1.2"))
    assert not added(stated("second", INPUT, OUTPUT, other, halves[1]), winner=mine)


def test_a_ladder_is_filled_where_none_stands() -> None:
    long = [rate(Meter.INPUT_TOKENS, "4", LONG), rate(Meter.OUTPUT_TOKENS, "12", LONG)]
    assert set(added(stated("second", INPUT, OUTPUT, *long))) == set(long)
    found = by(stated("second", INPUT, OUTPUT, *long)).card
    assert [one.price for one in found.rates] == [4, 2, 12, 8]
    from_200k = Threshold(Meter.INPUT_TOKENS, Comparison.AT_LEAST, 200_000)
    stands = card(rate(Meter.INPUT_TOKENS, "4", Conditions(threshold=from_200k)), INPUT, OUTPUT)
    assert not added(stated("second", INPUT, OUTPUT, *long), winner=stands)


def test_windows_are_filled_where_the_price_outside_of_them_is_the_same() -> None:
    night = Conditions(utc_window=UtcWindow(0, 360))
    cheap = rate(Meter.INPUT_TOKENS, "1", night)
    assert set(added(stated("second", cheap, INPUT, OUTPUT))) == {cheap}
    only_at_night = card(rate(Meter.INPUT_TOKENS, "1"), OUTPUT)
    assert not added(stated("second", cheap, INPUT, OUTPUT), winner=only_at_night)


def test_a_meter_on_which_the_two_differ_is_filled_in_no_context() -> None:
    mine = card(INPUT, OUTPUT, CACHED)
    theirs = rate(Meter.CACHE_READ_TOKENS, "0.5")
    half = replace(theirs, price=Decimal("0.1"), conditions=BATCH)
    batch = replace(INPUT, price=Decimal(1), conditions=BATCH)
    assert set(added(stated("second", INPUT, OUTPUT, theirs, batch, half), winner=mine)) == {batch}


def test_a_second_unit_of_what_is_priced_already_is_not_filled() -> None:
    for unit in (Meter.INPUT_AUDIO_SECONDS, Meter.INPUT_IMAGES, Meter.INPUT_CHARACTERS):
        assert not added(stated("second", INPUT, OUTPUT, rate(unit, "0.1")))
    seconds = rate(Meter.AUDIO_SECONDS, "0.1")
    also = rate(Meter.INPUT_AUDIO_SECONDS, "0.1")
    assert not added(stated("second", seconds, also), winner=card(seconds))


def test_a_zero_is_not_filled() -> None:
    assert not added(stated("second", INPUT, OUTPUT, rate(Meter.CACHE_READ_TOKENS, "0")))


def test_what_breaks_its_kind_is_not_filled() -> None:
    for when, price in (
        (BATCH, "2.1"),
        (FLEX, "3"),
        (PRIORITY, "1.9"),
        (PRIORITY, "100"),
        (BATCH, "0.01"),
    ):
        assert not added(stated("second", INPUT, OUTPUT, rate(Meter.INPUT_TOKENS, price, when)))
    assert not added(stated("second", INPUT, OUTPUT, rate(Meter.CACHE_READ_TOKENS, "2.5")))
    for when, price in ((BATCH, "1"), (FLEX, "2"), (PRIORITY, "3.6")):
        assert added(stated("second", INPUT, OUTPUT, rate(Meter.INPUT_TOKENS, price, when)))


def test_a_mode_is_not_filled_by_halves() -> None:
    fifty_fold = rate(Meter.INPUT_TOKENS, "100", PRIORITY)
    double = rate(Meter.OUTPUT_TOKENS, "16", PRIORITY)
    found = by(stated("second", INPUT, OUTPUT, fifty_fold, double))
    assert found.card == POOR
    assert {one.reason for one in found.unfilled} == {UnfilledReason.BREAKS_ITS_KIND}


def test_a_filled_rate_holds_while_the_base_price_that_was_compared_does() -> None:
    doubled = replace(ALWAYS, effective_from=DECEMBER)
    mine = card(rate(Meter.INPUT_TOKENS, "4", doubled), INPUT, OUTPUT)
    priority = rate(Meter.INPUT_TOKENS, "3.6", PRIORITY)
    (filled,) = added(stated("second", INPUT, OUTPUT, priority), winner=mine)
    assert filled.conditions == replace(PRIORITY, effective_until=DECEMBER)
    compiled = CompiledCard(by(stated("second", INPUT, OUTPUT, priority), winner=mine).card)
    for at, price in ((NOW, "3.6"), (DECEMBER, "4")):
        context = {"service_tier": "priority"}
        cost = compiled.evaluate({Meter.INPUT_TOKENS: 1}, at=at, context=context)
        assert cost.total == Decimal(price)


def test_where_nobody_states_two_conditions_together_the_dearer_rate_comes_first() -> None:
    mine = card(rate(Meter.INPUT_TOKENS, "4", LONG), INPUT, OUTPUT)
    batch = rate(Meter.INPUT_TOKENS, "1", BATCH)
    assert [
        one.price for one in by(stated("second", INPUT, OUTPUT, batch), winner=mine).card.rates
    ] == [
        4,
        1,
        2,
        8,
    ]
    priority = rate(Meter.INPUT_TOKENS, "5", PRIORITY)
    found = by(stated("second", INPUT, OUTPUT, priority), winner=mine).card
    assert [one.price for one in found.rates] == [5, 4, 2, 8]
    in_batch = card(batch, INPUT, OUTPUT)
    long = rate(Meter.INPUT_TOKENS, "4", LONG)
    found = by(stated("second", INPUT, OUTPUT, long), winner=in_batch).card
    assert [one.price for one in found.rates] == [4, 1, 2, 8]


def costs(
    found: CompletedCard, meter: Meter, context: Mapping[str, str] | None = None, at: datetime = NOW
) -> Decimal:
    """What one unit costs, of a request with one token of input and output."""
    usage = {Meter.INPUT_TOKENS: 1, Meter.OUTPUT_TOKENS: 1, meter: 1}
    cost = CompiledCard(found.card).evaluate(usage, at=at, context=context or {})
    return next(line.amount for line in cost.lines if line.meter is meter)


def test_what_is_stated_for_a_narrower_context_is_not_hidden() -> None:
    half = rate(Meter.CACHE_READ_TOKENS, "0.05", BATCH)
    found = by(stated("second", INPUT, OUTPUT, CACHED), winner=card(half, INPUT, OUTPUT))
    assert costs(found, Meter.CACHE_READ_TOKENS, {"processing": "batch"}) == Decimal("0.05")
    assert costs(found, Meter.CACHE_READ_TOKENS) == Decimal("0.2")
    both = Conditions(context=(("geography", "regional"), ("processing", "batch")))
    mine = card(
        rate(Meter.INPUT_TOKENS, "1.1", both),
        replace(INPUT, conditions=BATCH, price=Decimal(1)),
        INPUT,
        OUTPUT,
    )
    regional = Conditions(context=(("geography", "regional"),))
    theirs = rate(Meter.INPUT_TOKENS, "2.2", regional)
    found = by(stated("second", INPUT, OUTPUT, theirs), winner=mine)
    context = {"geography": "regional", "processing": "batch"}
    assert costs(found, Meter.INPUT_TOKENS, context) == Decimal("1.1")


def test_of_two_contexts_that_nobody_states_together_the_dearer_comes_first() -> None:
    mine = card(rate(Meter.INPUT_TOKENS, "1", BATCH), INPUT, OUTPUT)
    found = by(stated("second", INPUT, OUTPUT, rate(Meter.INPUT_TOKENS, "4", FAST)), winner=mine)
    context = {"speed": "fast", "processing": "batch"}
    assert costs(found, Meter.INPUT_TOKENS, context) == Decimal(4)
    assert costs(found, Meter.INPUT_TOKENS, {"processing": "batch"}) == Decimal(1)


def test_a_place_multiplies_all_of_a_completed_card() -> None:
    mine = card(
        rate(Meter.INPUT_TOKENS, "1", FLEX),
        rate(Meter.INPUT_TOKENS, "4", PRIORITY),
        rate(Meter.INPUT_TOKENS, "3", LONG),
        INPUT,
        OUTPUT,
    )
    regional = Conditions(context=(("geography", "regional"),))
    theirs = [rate(Meter.INPUT_TOKENS, "2.2", regional), rate(Meter.OUTPUT_TOKENS, "8.8", regional)]
    found = by(
        stated("second", INPUT, OUTPUT, *theirs),
        stated("third", INPUT, OUTPUT, CACHED),
        winner=mine,
    )
    for mode in ({}, {"service_tier": "flex"}, {"service_tier": "priority"}):
        for meter in (Meter.INPUT_TOKENS, Meter.OUTPUT_TOKENS, Meter.CACHE_READ_TOKENS):
            there = costs(found, meter, mode | {"geography": "regional"})
            assert there == costs(found, meter, mode) * Decimal("1.1"), (mode, meter)
    halves = [theirs[0], rate(Meter.OUTPUT_TOKENS, "9", regional)]
    assert by(stated("second", INPUT, OUTPUT, *halves), winner=mine).card == mine


def test_rates_that_differ_outside_of_the_compared_period_alone_are_one() -> None:
    later = datetime(2026, 12, 5, tzinfo=UTC)
    base = (
        rate(Meter.INPUT_TOKENS, "4", replace(ALWAYS, effective_from=DECEMBER)),
        rate(Meter.INPUT_TOKENS, "2", replace(ALWAYS, effective_until=DECEMBER)),
        OUTPUT,
    )
    june = datetime(2026, 6, 1, tzinfo=UTC)
    dated = rate(Meter.INPUT_TOKENS, "6", replace(PRIORITY, effective_from=june))
    undated = rate(Meter.INPUT_TOKENS, "5", PRIORITY)
    found = by(stated("second", dated, undated, *base), winner=card(*base), at=later)
    assert costs(found, Meter.INPUT_TOKENS, {"service_tier": "priority"}, later) == 6


def test_nothing_is_filled_where_a_base_price_depends_on_the_time_of_day() -> None:
    night = Conditions(utc_window=UtcWindow(0, 360))
    mine = card(rate(Meter.INPUT_TOKENS, "0.1", night), INPUT, OUTPUT)
    assert not added(stated("second", INPUT, OUTPUT, CACHED), winner=mine)


def test_a_filled_rate_ends_with_the_price_of_its_own_meter() -> None:
    until = rate(Meter.CACHE_READ_TOKENS, "0.2", replace(ALWAYS, effective_until=DECEMBER))
    after = rate(Meter.CACHE_READ_TOKENS, "0.8", replace(ALWAYS, effective_from=DECEMBER))
    cheap = rate(Meter.CACHE_READ_TOKENS, "0.1", BATCH)
    found = by(
        stated("second", INPUT, OUTPUT, CACHED, cheap), winner=card(until, after, INPUT, OUTPUT)
    )
    assert costs(found, Meter.CACHE_READ_TOKENS, {"processing": "batch"}) == Decimal("0.1")
    assert costs(found, Meter.CACHE_READ_TOKENS, {"processing": "batch"}, DECEMBER) == Decimal(
        "0.8"
    )


def test_what_a_meter_will_cost_is_filled_with_what_it_costs() -> None:
    until = rate(Meter.CACHE_READ_TOKENS, "0.2", replace(ALWAYS, effective_until=DECEMBER))
    after = rate(Meter.CACHE_READ_TOKENS, "0.8", replace(ALWAYS, effective_from=DECEMBER))
    assert set(added(stated("second", INPUT, OUTPUT, until, after))) == {until, after}


def test_where_a_source_states_all_that_it_charges_its_silence_is_kept() -> None:
    second = stated("second", INPUT, OUTPUT, CACHED, rate(Meter.INPUT_TOKENS, "1", BATCH))
    assert completed(StatedCard("first", POOR, SAYS_ALL), [second], NOW).card == POOR
    no_cache = Coverage(meters=frozenset({Meter.CACHE_READ_TOKENS}))
    found = completed(StatedCard("first", POOR, no_cache), [second], NOW)
    assert set(found.card.rates) - set(POOR.rates) == {rate(Meter.INPUT_TOKENS, "1", BATCH)}


def test_a_card_without_a_price_is_not_completed_and_completes_nothing() -> None:
    rich = stated("second", INPUT, OUTPUT, CACHED)
    assert completed(StatedCard("first", UNPRICED), [rich], NOW).card == UNPRICED
    assert by(StatedCard("second", UNPRICED), winner=POOR).card == POOR


# Laws, of random sources that share base prices as often as not.

some_meters = st.sampled_from(
    [
        Meter.INPUT_TOKENS,
        Meter.OUTPUT_TOKENS,
        Meter.CACHE_READ_TOKENS,
        Meter.CACHE_WRITE_TOKENS,
        Meter.INPUT_AUDIO_TOKENS,
        Meter.INPUT_AUDIO_SECONDS,
        Meter.WEB_SEARCHES,
    ]
)
some_conditions = st.builds(
    lambda threshold, context, window, dates: Conditions(threshold, context, window, *dates),
    st.none()
    | st.sampled_from([LONG.threshold, Threshold(Meter.INPUT_TOKENS, Comparison.AT_LEAST, 9)]),
    st.sampled_from([(), BATCH.context, FLEX.context, PRIORITY.context]),
    st.sampled_from([None, None, None, UtcWindow(0, 360)]),
    st.sampled_from([(None, None), (None, DECEMBER), (DECEMBER, None)]),
)
some_rates = st.builds(
    Rate,
    some_meters,
    st.sampled_from([Decimal(0), Decimal(1), Decimal(2), Decimal(3)]),
    some_conditions,
)


@st.composite
def cards(draw: st.DrawFn) -> RateCard:
    rates = {one.key: one for one in draw(st.lists(some_rates, max_size=6))}
    base = draw(
        st.sampled_from([(INPUT, OUTPUT), (INPUT,), (INPUT, replace(OUTPUT, price=Decimal(9)))])
    )
    for one in base:
        rates.pop(one.key, None)
    return card(*rates.values(), *base)


sources = st.lists(cards(), max_size=4).map(
    lambda drawn: [StatedCard(f"source-{at}", each) for at, each in enumerate(drawn)]
)


@given(cards(), sources)
@many
def test_no_stated_rate_changes_or_changes_its_place(
    winner: RateCard, others: list[StatedCard]
) -> None:
    found = by(*others, winner=winner)
    told = zip(found.card.rates, found.sources, strict=True)
    assert tuple(one for one, source in told if source == "first") == winner.rates


@given(cards(), sources, st.sampled_from([BATCH, FLEX, PRIORITY, ALWAYS]))
@many
def test_a_meter_in_a_context_that_is_stated_costs_what_it_did(
    winner: RateCard, others: list[StatedCard], when: Conditions
) -> None:
    found = by(*others, winner=winner)
    for meter in {rate.meter for rate in winner.rates}:
        flat = [rate for rate in winner.rates if rate.meter is meter]
        if all(rate.conditions in (ALWAYS, when) for rate in flat) and any(
            rate.conditions == when for rate in flat
        ):
            before = CompletedCard.alone("first", winner)
            context = dict(when.context)
            assert costs(found, meter, context) == costs(before, meter, context)


@given(cards(), sources)
@many
def test_to_complete_again_adds_nothing(winner: RateCard, others: list[StatedCard]) -> None:
    once = by(*others, winner=winner).card
    assert by(*others, winner=once).card == once


@given(cards(), sources, cards())
@many
def test_a_source_below_all_others_changes_and_removes_nothing(
    winner: RateCard, others: list[StatedCard], last: RateCard
) -> None:
    before = by(*others, winner=winner)
    after = by(*others, StatedCard("last", last), winner=winner)
    told = zip(after.card.rates, after.sources, strict=True)
    kept = [(one, source) for one, source in told if source != "last"]
    assert kept == list(zip(before.card.rates, before.sources, strict=True))


@given(cards(), sources)
@many
def test_every_filled_rate_is_one_that_its_source_states(
    winner: RateCard, others: Sequence[StatedCard]
) -> None:
    found = by(*others, winner=winner)
    stating = {other.source: other.card for other in others}
    for one, source in zip(found.card.rates, found.sources, strict=True):
        if source != "first":
            assert any(
                (mine.meter, mine.price, mine.conditions.context, mine.conditions.threshold)
                == (one.meter, one.price, one.conditions.context, one.conditions.threshold)
                for mine in stating[source].rates
            )
