"""Which prices of an override are asked about once more, and what a sample costs."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given

from llmpricing.meters import Meter
from llmpricing.rate_card import UNPRICED, Conditions, PriceState, Rate, RateCard
from pricing_server.costs.sample import sample_cost, sample_usage
from pricing_server.sync.override_leap import FAR_OFF, Leap, first_leap
from tests.unit._price_table import priced
from tests.unit._strategies import many, prices

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
FREE = RateCard.of(PriceState.FREE, [Rate(Meter.INPUT_TOKENS, Decimal(0))])


def card(*rates: Rate) -> RateCard:
    return RateCard.of(PriceState.PRICED, rates)


@many
@given(prices(), prices())
def test_a_price_leaps_alike_in_both_directions_and_only_beyond_the_limit(
    one: Decimal, other: Decimal
) -> None:
    found = first_leap(priced(str(one)), priced(str(other)), NOW)
    back = first_leap(priced(str(other)), priced(str(one)), NOW)
    assert (found is None) == (back is None)
    assert (found is None) == (one <= other * FAR_OFF and other <= one * FAR_OFF)


def test_to_free_and_from_free_is_far() -> None:
    assert first_leap(FREE, priced("0.000001"), NOW) == Leap("prompt", "0.00", "1.00")
    assert first_leap(priced("0.000001"), FREE, NOW) == Leap("prompt", "1.00", "0.00")


def test_what_one_card_does_not_price_is_not_compared() -> None:
    image = card(Rate(Meter.INPUT_IMAGES, Decimal(1)))
    for other in (UNPRICED, image):
        assert first_leap(priced("1"), other, NOW) is None
    cheap = card(Rate(Meter.INPUT_IMAGES, Decimal("0.05")))
    assert first_leap(image, cheap, NOW) == Leap("image", "1.00", "0.05")


def test_the_price_in_effect_is_compared_and_no_other() -> None:
    later = Conditions(effective_from=datetime(2027, 1, 1, tzinfo=UTC))
    flex = Conditions(context=(("service_tier", "flex"),))
    dated = card(
        Rate(Meter.INPUT_TOKENS, Decimal(900), conditions=later),
        Rate(Meter.INPUT_TOKENS, Decimal(900), conditions=flex),
        *priced("1").rates,
    )
    assert first_leap(dated, priced("1"), NOW) is None
    assert first_leap(dated, priced("1"), datetime(2027, 1, 2, tzinfo=UTC)) is not None


def test_a_sample_has_tokens_and_one_of_each_other_thing_that_a_card_prices() -> None:
    images = card(
        Rate(Meter.INPUT_IMAGES, Decimal("0.5")),
        Rate(Meter.AUDIO_SECONDS, Decimal("0.25")),
        Rate(Meter.INPUT_AUDIO_SECONDS, Decimal("0.1")),
    )
    usage = sample_usage([images])
    assert usage == {Meter.AUDIO_SECONDS: 1, Meter.INPUT_IMAGES: 1}
    cost = sample_cost(images, usage, NOW)
    assert cost is not None
    assert cost.total == Decimal("0.75")
    assert set(sample_usage([images, priced("1")])) > set(usage)
    assert sample_usage([UNPRICED]) == {}


@pytest.mark.parametrize("cached", [None, "0.1"])
def test_a_lost_rate_for_what_is_read_from_a_cache_shows(cached: str | None) -> None:
    rates = [Rate(Meter.INPUT_TOKENS, Decimal(1)), Rate(Meter.OUTPUT_TOKENS, Decimal(2))]
    if cached is not None:
        rates.append(Rate(Meter.CACHE_READ_TOKENS, Decimal(cached)))
    cost = sample_cost(card(*rates), sample_usage([card(*rates)]), NOW)
    assert cost is not None
    assert cost.total == (3_000 if cached is None else 2_100)


def test_what_states_no_price_has_no_sample_cost() -> None:
    assert sample_cost(UNPRICED, sample_usage([priced("1")]), NOW) is None
