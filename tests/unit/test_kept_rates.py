"""What is kept of rates that a newer row mentions without a believable price."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    ALWAYS,
    DYNAMIC,
    UNPRICED,
    Comparison,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    Threshold,
    UtcWindow,
)
from llmpricing.schedule import headline
from pricing_server.domain.source_listing import PartialPrice
from pricing_server.sync.kept_rates import with_kept_rates
from tests.unit._strategies import many

NIGHT = Conditions(utc_window=UtcWindow(0, 360))
LONG = Conditions(threshold=Threshold(Meter.INPUT_TOKENS, Comparison.AT_LEAST, 200_000))
LONGER = Conditions(threshold=Threshold(Meter.INPUT_TOKENS, Comparison.AT_LEAST, 400_000))
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def rate(meter: Meter, price: str, conditions: Conditions = ALWAYS) -> Rate:
    return Rate(meter, Decimal(price), conditions)


def prompt(price: str, conditions: Conditions = ALWAYS) -> Rate:
    return rate(Meter.INPUT_TOKENS, price, conditions)


def completion(price: str, conditions: Conditions = ALWAYS) -> Rate:
    return rate(Meter.OUTPUT_TOKENS, price, conditions)


def card(*rates: Rate) -> RateCard:
    return RateCard.of(PriceState.PRICED, rates)


def kept(stated: RateCard, before: RateCard) -> RateCard | None:
    """With the completion in doubt."""
    return with_kept_rates(PartialPrice(stated, (Meter.OUTPUT_TOKENS,)), before)


def test_the_last_base_rate_is_kept_beside_what_the_row_states() -> None:
    assert kept(card(prompt("3")), card(prompt("1"), completion("2"))) == card(
        prompt("3"), completion("2")
    )


def test_nothing_is_kept_of_what_had_no_base_rate() -> None:
    stated = card(prompt("3"))
    for before in (UNPRICED, DYNAMIC, card(prompt("1")), card(prompt("1"), completion("2", LONG))):
        assert kept(stated, before) is None


def test_a_zero_is_not_kept() -> None:
    free = RateCard.of(PriceState.FREE, [prompt("0"), completion("0")])
    assert kept(card(prompt("3")), free) is None
    assert kept(card(prompt("3")), card(prompt("1"), completion("0"))) is None


def test_a_meter_of_which_the_row_states_nothing_keeps_its_conditions_too() -> None:
    before = card(prompt("1"), completion("4", LONG), completion("2"))
    assert kept(card(prompt("3")), before) == card(
        prompt("3"), completion("4", LONG), completion("2")
    )


def test_a_stated_override_wins_over_the_kept_one() -> None:
    before = card(prompt("1"), completion("4", LONG), completion("2"))
    stated = card(prompt("3"), completion("5", LONG), completion("6", LONGER))
    assert kept(stated, before) == card(*stated.rates, completion("2"))


def test_a_base_rate_is_not_kept_where_it_would_apply_more_often_than_it_did() -> None:
    before = card(prompt("1"), completion("1", NIGHT), completion("2"))
    assert kept(card(prompt("3"), completion("5", LONG)), before) is None


def test_a_free_row_with_a_kept_price_is_priced() -> None:
    free = RateCard.of(PriceState.FREE, [prompt("0")])
    assert kept(free, card(prompt("0"), completion("2"))) == card(prompt("0"), completion("2"))


METERS = [Meter.INPUT_TOKENS, Meter.OUTPUT_TOKENS, Meter.CACHE_READ_TOKENS]
rates = st.builds(
    rate,
    st.sampled_from(METERS),
    st.sampled_from(["0", "1", "2"]),
    st.sampled_from([ALWAYS, NIGHT, LONG, LONGER]),
)


def sound(rates: list[Rate]) -> RateCard:
    if not rates:
        return UNPRICED
    is_priced = any(rate.price for rate in rates)
    return RateCard.of(PriceState.PRICED if is_priced else PriceState.FREE, rates)


cards = st.lists(rates, max_size=8, unique_by=lambda rate: rate.key).map(sound)


@given(cards, cards, st.sets(st.sampled_from(METERS), min_size=1))
@many
def test_every_rate_is_as_stated_or_as_it_was_and_none_is_lost(
    stated: RateCard, before: RateCard, in_doubt: set[Meter]
) -> None:
    # A meter in doubt has no base rate in the row.
    stated = sound(
        [rate for rate in stated.rates if rate.meter not in in_doubt or rate.conditions != ALWAYS]
    )
    made = with_kept_rates(PartialPrice(stated, tuple(in_doubt)), before)
    if made is None:
        return
    new = {rate.key: rate for rate in stated.rates}
    old = {rate.key: rate for rate in before.rates}
    assert made.state is PriceState.PRICED
    assert new.keys() <= {rate.key for rate in made.rates}
    for rate in made.rates:
        expected = new.get(rate.key, old.get(rate.key))
        assert rate == expected
        assert rate.key in new or rate.meter in in_doubt
    # Again, from what was made: nothing moves, and nothing piles up.
    assert with_kept_rates(PartialPrice(stated, tuple(in_doubt)), made) == made
    # Of the plain headline at any time nothing is told that neither of the two told.
    for hour in range(24):
        at = NOON + timedelta(hours=hour)
        for name in ("prompt", "completion"):
            one, two, shown = (getattr(headline(one, at), name) for one in (stated, before, made))
            assert shown in (one, two)
