"""Costs by hand: one small card for each rule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import combinations

import pytest

from llmpricing.compiled_card import REMEMBERED, CompiledCard
from llmpricing.cost import AMOUNT_DIGITS, Cost, NotPriced
from llmpricing.meters import Meter
from llmpricing.rate_card import (
    DYNAMIC,
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
from llmpricing.usage import InputConvention, Quantity, UsageError

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)

INPUT = Rate(Meter.INPUT_TOKENS, Decimal("0.000002"))
OUTPUT = Rate(Meter.OUTPUT_TOKENS, Decimal("0.00001"))
CACHED = Rate(Meter.CACHE_READ_TOKENS, Decimal("0.0000002"))
AUDIO = Rate(Meter.INPUT_AUDIO_TOKENS, Decimal("0.00003"))
REQUEST = Rate(Meter.REQUESTS, Decimal("0.005"))


def priced(*rates: Rate) -> RateCard:
    return RateCard.of(PriceState.PRICED, rates)


def cost(
    card: RateCard,
    usage: Mapping[Meter, Quantity],
    at: datetime = NOW,
    context: Mapping[str, str] | None = None,
    convention: InputConvention = InputConvention.INCLUSIVE,
) -> Cost:
    return CompiledCard(card).evaluate(usage, at=at, context=context or {}, convention=convention)


def lines(cost: Cost) -> list[tuple[str, str, str, str]]:
    """Meter, quantity, the rate's meter, amount."""
    return [
        (line.meter, str(line.quantity), line.rate.meter, f"{line.amount.normalize():f}")
        for line in cost.lines
    ]


def when(threshold: Threshold | None = None, **context: str) -> Conditions:
    return Conditions(threshold, tuple(sorted(context.items())))


def above(
    quantity: int,
    scope: ThresholdScope = ThresholdScope.ALL,
    comparison: Comparison = Comparison.ABOVE,
) -> Threshold:
    return Threshold(Meter.INPUT_TOKENS, comparison, quantity, scope)


# What is charged as what.


def test_cached_tokens_are_charged_once_and_at_their_own_rate() -> None:
    usage = {Meter.INPUT_TOKENS: 1_000, Meter.CACHE_READ_TOKENS: 900, Meter.OUTPUT_TOKENS: 10}
    found = cost(priced(INPUT, OUTPUT, CACHED), usage)
    assert lines(found) == [
        ("input_tokens", "100", "input_tokens", "0.0002"),
        ("output_tokens", "10", "output_tokens", "0.0001"),
        ("cache_read_tokens", "900", "cache_read_tokens", "0.00018"),
    ]
    assert found.total == Decimal("0.00048")
    assert found.unpriced == ()


def test_a_part_without_a_rate_is_a_line_at_the_rate_of_the_whole() -> None:
    found = cost(priced(INPUT), {Meter.INPUT_TOKENS: 100, Meter.INPUT_AUDIO_TOKENS: 10})
    assert lines(found) == [
        ("input_tokens", "90", "input_tokens", "0.00018"),
        ("input_audio_tokens", "10", "input_tokens", "0.00002"),
    ]
    assert found.total == Decimal("0.0002")


def test_the_rate_of_the_nearest_whole_is_taken() -> None:
    usage = {
        Meter.INPUT_TOKENS: 100,
        Meter.CACHE_READ_TOKENS: 50,
        Meter.CACHE_AUDIO_READ_TOKENS: 20,
    }
    assert lines(cost(priced(INPUT, CACHED), usage)) == [
        ("input_tokens", "50", "input_tokens", "0.0001"),
        ("cache_read_tokens", "30", "cache_read_tokens", "0.000006"),
        ("cache_audio_read_tokens", "20", "cache_read_tokens", "0.000004"),
    ]


def test_a_quantity_without_any_rate_is_unpriced_and_not_free() -> None:
    found = cost(priced(INPUT), {Meter.INPUT_TOKENS: 1, Meter.OUTPUT_TOKENS: 7})
    assert found.unpriced == ((Meter.OUTPUT_TOKENS, Decimal(7)),)
    assert found.total == Decimal("0.000002")


def test_only_the_rest_of_an_unpriced_whole_is_unpriced() -> None:
    found = cost(priced(CACHED), {Meter.INPUT_TOKENS: 100, Meter.CACHE_READ_TOKENS: 60})
    assert found.unpriced == ((Meter.INPUT_TOKENS, Decimal(40)),)
    assert lines(found) == [("cache_read_tokens", "60", "cache_read_tokens", "0.000012")]


def test_images_are_not_tokens() -> None:
    usage = {Meter.INPUT_TOKENS: 10, Meter.INPUT_IMAGES: 2, Meter.INPUT_PIXELS: 100}
    assert cost(priced(INPUT), usage).unpriced == (
        (Meter.INPUT_PIXELS, Decimal(100)),
        (Meter.INPUT_IMAGES, Decimal(2)),
    )


def test_an_overlap_of_two_rates_without_its_own_is_unpriced_and_never_charged_twice() -> None:
    usage = {
        Meter.INPUT_TOKENS: 100,
        Meter.CACHE_READ_TOKENS: 50,
        Meter.INPUT_AUDIO_TOKENS: 30,
        Meter.CACHE_AUDIO_READ_TOKENS: 20,
    }
    found = cost(priced(INPUT, CACHED, AUDIO), usage)
    assert lines(found) == [
        ("input_tokens", "40", "input_tokens", "0.00008"),
        ("cache_read_tokens", "30", "cache_read_tokens", "0.000006"),
        ("input_audio_tokens", "10", "input_audio_tokens", "0.0003"),
    ]
    assert found.unpriced == ((Meter.CACHE_AUDIO_READ_TOKENS, Decimal(20)),)


def test_nothing_of_a_meter_is_no_line_and_not_unpriced() -> None:
    nothing = {Meter.INPUT_TOKENS: Decimal(0), Meter.OUTPUT_TOKENS: Decimal("0.0")}
    assert cost(priced(INPUT), nothing) == Cost(Decimal(0))
    assert cost(priced(INPUT), {Meter.INPUT_TOKENS: 0, Meter.WEB_SEARCHES: 0}) == Cost(Decimal(0))
    assert cost(priced(INPUT), {}) == Cost(Decimal(0))


def test_a_free_model_costs_zero_with_lines_that_say_so() -> None:
    free = RateCard.of(PriceState.FREE, [Rate(Meter.INPUT_TOKENS, Decimal(0))])
    found = cost(free, {Meter.INPUT_TOKENS: 5, Meter.OUTPUT_TOKENS: 5})
    assert lines(found) == [("input_tokens", "5", "input_tokens", "0")]
    assert found.unpriced == ((Meter.OUTPUT_TOKENS, Decimal(5)),)


# Requests.


def test_a_call_is_one_request_where_requests_have_a_rate() -> None:
    found = cost(priced(INPUT, REQUEST), {Meter.INPUT_TOKENS: 1_000})
    assert lines(found)[1] == ("requests", "1", "requests", "0.005")
    assert found.total == Decimal("0.007")


@pytest.mark.parametrize(("count", "total"), [(0, "0"), (3, "0.015")])
def test_stated_requests_are_counted_as_stated(count: int, total: str) -> None:
    assert cost(priced(REQUEST), {Meter.REQUESTS: count}).total == Decimal(total)


def test_requests_without_a_rate_are_unpriced_only_if_they_are_stated() -> None:
    assert cost(priced(INPUT), {Meter.INPUT_TOKENS: 1}).unpriced == ()
    assert cost(priced(INPUT), {Meter.REQUESTS: 1}).unpriced == ((Meter.REQUESTS, Decimal(1)),)


# Thresholds.


@pytest.mark.parametrize(
    ("comparison", "tokens", "total"),
    [
        (Comparison.ABOVE, 199, "0.000398"),
        (Comparison.ABOVE, 200, "0.0004"),
        (Comparison.ABOVE, 201, "0.000804"),
        (Comparison.AT_LEAST, 199, "0.000398"),
        (Comparison.AT_LEAST, 200, "0.0008"),
        (Comparison.AT_LEAST, 201, "0.000804"),
    ],
)
def test_a_threshold_changes_the_price_of_all_tokens(
    comparison: Comparison, tokens: int, total: str
) -> None:
    long = Rate(Meter.INPUT_TOKENS, Decimal("0.000004"), when(above(200, comparison=comparison)))
    assert cost(priced(long, INPUT), {Meter.INPUT_TOKENS: tokens}).total == Decimal(total)


def test_cached_tokens_count_toward_the_threshold_of_the_prompt_in_both_conventions() -> None:
    long = Rate(Meter.OUTPUT_TOKENS, Decimal("0.00002"), when(above(200)))
    card = priced(INPUT, CACHED, long, OUTPUT)
    inclusive = {Meter.INPUT_TOKENS: 201, Meter.CACHE_READ_TOKENS: 101, Meter.OUTPUT_TOKENS: 1}
    exclusive = {**inclusive, Meter.INPUT_TOKENS: 100}
    found = cost(card, inclusive)
    assert found.lines[1].rate == long
    assert cost(card, exclusive, convention=InputConvention.EXCLUSIVE) == found
    fewer = {**exclusive, Meter.INPUT_TOKENS: 99}
    assert cost(card, fewer, convention=InputConvention.EXCLUSIVE).lines[1].rate == OUTPUT


def test_graduated_rates_charge_what_lies_beyond_each_threshold() -> None:
    rates = [
        Rate(Meter.INPUT_TOKENS, Decimal(3), when(above(200, ThresholdScope.EXCESS))),
        Rate(Meter.INPUT_TOKENS, Decimal(2), when(above(100, ThresholdScope.EXCESS))),
        Rate(Meter.INPUT_TOKENS, Decimal(1)),
    ]
    found = cost(priced(*rates), {Meter.INPUT_TOKENS: 250})
    assert [(line.rate, line.quantity) for line in found.lines] == [
        (rates[0], Decimal(50)),
        (rates[1], Decimal(100)),
        (rates[2], Decimal(100)),
    ]
    assert found.total == 50 * 3 + 100 * 2 + 100


def test_what_is_cached_is_the_beginning_of_a_prompt_and_fills_its_lower_band() -> None:
    rates = [
        Rate(Meter.INPUT_TOKENS, Decimal(2), when(above(100, ThresholdScope.EXCESS))),
        Rate(Meter.INPUT_TOKENS, Decimal(1)),
    ]
    usage = {Meter.INPUT_TOKENS: 130, Meter.CACHE_READ_TOKENS: 80, Meter.INPUT_AUDIO_TOKENS: 0}
    charged_apart = cost(priced(*rates, CACHED), usage)
    assert lines(charged_apart)[:2] == [
        ("input_tokens", "30", "input_tokens", "60"),
        ("input_tokens", "20", "input_tokens", "20"),
    ]
    charged_together = cost(priced(*rates), usage)
    assert lines(charged_together) == [
        ("input_tokens", "30", "input_tokens", "60"),
        ("input_tokens", "20", "input_tokens", "20"),
        ("cache_read_tokens", "80", "input_tokens", "80"),
    ]


def test_the_more_specific_units_fill_the_lower_band_first() -> None:
    card = priced(
        Rate(Meter.INPUT_TOKENS, Decimal(2), when(above(100, ThresholdScope.EXCESS))),
        Rate(Meter.INPUT_TOKENS, Decimal(1)),
    )
    usage = {
        Meter.INPUT_TOKENS: 160,
        Meter.CACHE_READ_TOKENS: 120,
        Meter.CACHE_AUDIO_READ_TOKENS: 90,
    }
    assert lines(cost(card, usage)) == [
        ("input_tokens", "40", "input_tokens", "80"),
        ("cache_read_tokens", "20", "input_tokens", "40"),
        ("cache_read_tokens", "10", "input_tokens", "10"),
        ("cache_audio_read_tokens", "90", "input_tokens", "90"),
    ]


def test_what_lies_below_a_graduated_rate_without_another_is_unpriced() -> None:
    beyond = Rate(Meter.INPUT_TOKENS, Decimal(2), when(above(100, ThresholdScope.EXCESS)))
    found = cost(priced(beyond), {Meter.INPUT_TOKENS: 130})
    assert lines(found) == [("input_tokens", "30", "input_tokens", "60")]
    assert found.unpriced == ((Meter.INPUT_TOKENS, Decimal(100)),)
    assert cost(priced(beyond), {Meter.INPUT_TOKENS: 90}).unpriced == (
        (Meter.INPUT_TOKENS, Decimal(90)),
    )


def test_what_lies_beyond_a_threshold_is_of_the_meter_of_the_threshold() -> None:
    with pytest.raises(ValueError, match="by the threshold's meter"):
        Rate(Meter.OUTPUT_TOKENS, Decimal(1), when(above(1, ThresholdScope.EXCESS)))


# Minimums.


@pytest.mark.parametrize(
    ("seconds", "charged"), [("0", None), ("0.5", "10"), ("10", "10"), ("10.5", "10.5")]
)
def test_a_request_is_charged_for_the_minimum_at_least(seconds: str, charged: str | None) -> None:
    card = priced(Rate(Meter.AUDIO_SECONDS, Decimal("0.36"), per=3600, minimum=10))
    found = cost(card, {Meter.AUDIO_SECONDS: Decimal(seconds)})
    assert [line.quantity for line in found.lines] == ([Decimal(charged)] if charged else [])
    assert found.total == Decimal(charged or 0) / 10_000


def test_a_minimum_is_of_all_that_is_charged_at_the_rate_together() -> None:
    card = priced(Rate(Meter.AUDIO_SECONDS, Decimal(1), minimum=10))
    found = cost(card, {Meter.AUDIO_SECONDS: 6, Meter.INPUT_AUDIO_SECONDS: 4})
    assert lines(found) == [
        ("audio_seconds", "6", "audio_seconds", "6"),
        ("input_audio_seconds", "4", "audio_seconds", "4"),
    ]
    usage = {Meter.INPUT_AUDIO_SECONDS: 4}
    assert cost(card, usage, convention=InputConvention.EXCLUSIVE).total == 10


def test_a_minimum_is_of_nothing_that_is_charged_at_another_rate() -> None:
    card = priced(
        Rate(Meter.AUDIO_SECONDS, Decimal(1), minimum=10),
        Rate(Meter.INPUT_AUDIO_SECONDS, Decimal(3)),
    )
    found = cost(card, {Meter.AUDIO_SECONDS: 12, Meter.INPUT_AUDIO_SECONDS: 8})
    assert lines(found) == [
        ("audio_seconds", "10", "audio_seconds", "10"),
        ("input_audio_seconds", "8", "input_audio_seconds", "24"),
    ]
    assert cost(card, {Meter.AUDIO_SECONDS: 8, Meter.INPUT_AUDIO_SECONDS: 8}).total == 24


@pytest.mark.parametrize("minimum", [-1, 2**63])
def test_a_minimum_is_a_count(minimum: int) -> None:
    with pytest.raises(ValueError, match="a minimum is not negative"):
        Rate(Meter.AUDIO_SECONDS, Decimal(1), minimum=minimum)


def test_a_minimum_is_part_of_the_card() -> None:
    least = Rate(Meter.AUDIO_SECONDS, Decimal(1), minimum=10)
    card = priced(least)
    assert card.to_document()["rates"] == [{"meter": "audio_seconds", "price": "1", "minimum": 10}]
    assert RateCard.from_document(card.to_document()) == card
    assert not least.same_price_as(Rate(Meter.AUDIO_SECONDS, Decimal(1)))


# Context.


def test_a_rate_needs_all_of_its_context_and_the_first_that_has_it_wins() -> None:
    card = priced(
        Rate(Meter.INPUT_TOKENS, Decimal(5), when(tier="fast", region="eu")),
        Rate(Meter.INPUT_TOKENS, Decimal(4), when(tier="fast")),
        Rate(Meter.INPUT_TOKENS, Decimal(3)),
    )
    usage = {Meter.INPUT_TOKENS: 1}
    for context, total in (
        ({"tier": "fast", "region": "eu"}, 5),
        ({"tier": "fast"}, 4),
        ({}, 3),
    ):
        found = cost(card, usage, context=context)
        assert found.total == total
        assert found.unused_context == ()


def test_a_context_that_chose_no_rate_is_named() -> None:
    card = priced(
        Rate(Meter.INPUT_TOKENS, Decimal(5), when(tier="fast", region="eu")),
        Rate(Meter.INPUT_TOKENS, Decimal(4), when(tier="batch")),
        Rate(Meter.INPUT_TOKENS, Decimal(3)),
    )
    usage = {Meter.INPUT_TOKENS: 1}
    for context, total, unused in (
        ({"zone": "x", "tier": "slow"}, 3, (("tier", "slow"), ("zone", "x"))),
        # Known to the card, but to no rate that applies without the region.
        ({"tier": "fast"}, 3, (("tier", "fast"),)),
        ({"tier": "batch", "region": "eu"}, 4, (("region", "eu"),)),
        ({"tier": "Batch"}, 3, (("tier", "Batch"),)),
    ):
        found = cost(card, usage, context=context)
        assert found.total == total
        assert found.unused_context == unused


def test_a_context_that_is_not_in_effect_yet_is_named() -> None:
    later = Conditions(
        context=(("tier", "batch"),), effective_from=datetime(2026, 12, 1, tzinfo=UTC)
    )
    card = priced(Rate(Meter.INPUT_TOKENS, Decimal(1), later), INPUT)
    asked = {"tier": "batch"}
    found = cost(card, {Meter.INPUT_TOKENS: 1}, context=asked)
    assert (found.total, found.unused_context) == (INPUT.price, (("tier", "batch"),))
    then = datetime(2026, 12, 1, tzinfo=UTC)
    found = cost(card, {Meter.INPUT_TOKENS: 1}, at=then, context=asked)
    assert (found.total, found.unused_context) == (Decimal(1), ())


# Time.


def test_dates_and_times_of_day_choose_the_rate_at_their_edges() -> None:
    start = datetime(2026, 12, 1, tzinfo=UTC)
    card = priced(
        Rate(Meter.INPUT_TOKENS, Decimal(3), Conditions(utc_window=UtcWindow(22 * 60, 2 * 60))),
        Rate(Meter.INPUT_TOKENS, Decimal(2), Conditions(effective_from=start)),
        Rate(Meter.INPUT_TOKENS, Decimal(1), Conditions(effective_until=start)),
    )
    compiled = CompiledCard(card)
    for at, total in (
        ("2026-11-30T21:59:59+00:00", 1),
        ("2026-11-30T22:00:00+00:00", 3),
        ("2026-12-01T00:00:00+00:00", 3),
        ("2026-12-01T01:59:59+00:00", 3),
        ("2026-12-01T02:00:00+00:00", 2),
        ("2026-12-01T03:59:59+02:00", 3),
        ("2026-12-01T04:00:00+02:00", 2),
        ("2026-11-30T23:00:00+01:00", 3),
        ("2026-11-01T12:00:00+00:00", 1),
    ):
        found = compiled.evaluate({Meter.INPUT_TOKENS: 1}, at=datetime.fromisoformat(at))
        assert found.total == total, at


def test_an_instant_has_a_time_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        cost(priced(INPUT), {}, at=datetime(2026, 11, 20))


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (UNPRICED, "the price of the model is unpriced"),
        (DYNAMIC, "the price of the model is dynamic"),
        (
            priced(
                Rate(
                    Meter.INPUT_TOKENS,
                    Decimal(1),
                    Conditions(effective_from=datetime(2027, 1, 1, tzinfo=UTC)),
                )
            ),
            "no rate of the model is in effect at 2026-11-20T12:00:00+00:00",
        ),
    ],
)
def test_a_card_without_a_price_is_an_error_and_not_zero(card: RateCard, message: str) -> None:
    with pytest.raises(NotPriced) as raised:
        cost(card, {Meter.INPUT_TOKENS: 1})
    assert str(raised.value) == message


# Digits.


def test_an_amount_that_no_decimal_states_is_rounded_to_the_declared_digits() -> None:
    card = priced(Rate(Meter.AUDIO_SECONDS, Decimal("0.04"), per=3600))
    third = cost(card, {Meter.AUDIO_SECONDS: 3}).total  # 1 / 30,000
    assert third == Decimal("3." + "3" * (AMOUNT_DIGITS - 1) + "E-5")
    assert cost(card, {Meter.AUDIO_SECONDS: 9}).total == Decimal("0.0001")
    up = cost(card, {Meter.AUDIO_SECONDS: 6}).total
    assert up == Decimal("6." + "6" * (AMOUNT_DIGITS - 2) + "7E-5")


def test_the_widest_accepted_prices_and_quantities_are_summed_exactly() -> None:
    card = priced(
        Rate(Meter.INPUT_TOKENS, Decimal("9." + "9" * 39 + "E9")),
        Rate(Meter.OUTPUT_TOKENS, Decimal("1." + "1" * 39 + "E-40")),
    )
    most = Decimal(2**63 - 1)
    usage = {Meter.INPUT_TOKENS: most, Meter.OUTPUT_TOKENS: Decimal("0." + "0" * 17 + "1")}
    exact = sum(Fraction(rate.price) * Fraction(usage[rate.meter]) for rate in card.rates)
    assert Fraction(cost(card, usage).total) == exact


def test_more_kinds_of_usage_than_are_remembered_change_no_answer() -> None:
    card = priced(INPUT, OUTPUT, CACHED)
    compiled = CompiledCard(card)
    others = [meter for meter in Meter if meter.startswith("output_")]
    usages = [dict.fromkeys((Meter.OUTPUT_TOKENS, *pair), 1) for pair in combinations(others, 2)]
    usages += [{**usage, Meter.INPUT_TOKENS: 1} for usage in usages]
    assert len(usages) > REMEMBERED
    for usage in [*usages, *usages]:
        again = compiled.evaluate(usage, at=NOW, convention=InputConvention.EXCLUSIVE)
        assert again == cost(card, usage, convention=InputConvention.EXCLUSIVE)


def test_usages_that_state_the_same_meters_are_not_taken_for_each_other() -> None:
    long = Rate(Meter.INPUT_TOKENS, Decimal("0.000004"), when(above(200)))
    compiled = CompiledCard(priced(long, INPUT, CACHED, AUDIO))
    usage = {Meter.INPUT_TOKENS: 150, Meter.CACHE_READ_TOKENS: 100, Meter.INPUT_AUDIO_TOKENS: 0}
    below = compiled.evaluate(usage, at=NOW)
    assert below.total == 50 * INPUT.price + 100 * CACHED.price
    above_it = compiled.evaluate({**usage, Meter.INPUT_TOKENS: 250}, at=NOW)
    assert above_it.total == 150 * long.price + 100 * CACHED.price
    disjoint = compiled.evaluate(usage, at=NOW, convention=InputConvention.EXCLUSIVE)
    assert disjoint.total == 150 * long.price + 100 * CACHED.price
    nearer = {**usage, Meter.INPUT_TOKENS: 90}
    disjoint = compiled.evaluate(nearer, at=NOW, convention=InputConvention.EXCLUSIVE)
    assert disjoint.total == 90 * INPUT.price + 100 * CACHED.price
    with pytest.raises(UsageError, match="may overlap"):
        compiled.evaluate({**usage, Meter.INPUT_AUDIO_TOKENS: 10}, at=NOW)
    assert compiled.evaluate(usage, at=NOW) == below


def test_a_usage_that_cannot_be_says_why_in_one_line() -> None:
    with pytest.raises(UsageError) as raised:
        cost(priced(INPUT), {Meter.INPUT_TOKENS: 100, Meter.CACHE_READ_TOKENS: Decimal("1.5E2")})
    assert str(raised.value) == "150 cache_read_tokens are part of only 100 input_tokens"
