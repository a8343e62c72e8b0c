"""A declared unit, applied exactly."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.meters import Meter
from llmpricing.units import PriceError
from pricing_server.domain.price_field import HOUR, MILLION, THOUSAND, US_CENT, USD, Field
from tests.unit._strategies import many, prices

PER = st.sampled_from([1, 10, THOUSAND, MILLION, 1_000 * MILLION, 60, HOUR])
MONEY = st.sampled_from([USD, US_CENT, Decimal("1E-4")])


@given(prices(zero=True), PER, MONEY)
@many
def test_a_rate_is_exactly_what_is_stated(stated: Decimal, per: int, usd: Decimal) -> None:
    rate = Field(Meter.AUDIO_SECONDS, per, usd).rate(stated)
    assert Fraction(rate.price) / rate.per == Fraction(stated) * Fraction(usd) / per
    assert rate.per == (per if per in (60, HOUR) else 1)


@pytest.mark.parametrize("stated", ["2.5", 2.5, Decimal("2.5")])
def test_a_unit_applies_to_every_type_of_number(stated: object) -> None:
    assert Field(Meter.INPUT_TOKENS, MILLION).read(stated) == Decimal("0.0000025")


@pytest.mark.parametrize("stated", [None, True, "", "abc", "NaN", Decimal("Infinity"), -1, [], {}])
def test_what_is_no_price_is_refused(stated: object) -> None:
    with pytest.raises(PriceError):
        Field(Meter.INPUT_TOKENS, 1, US_CENT).read(stated)


@pytest.mark.parametrize(
    ("field", "unit"),
    [
        (Field(Meter.INPUT_TOKENS, 1), "USD per token"),
        (Field(Meter.INPUT_TOKENS, 1, US_CENT), "US cents per token"),
        (Field(Meter.OUTPUT_TOKENS, MILLION, Decimal("0.0001")), "1E-4 USD per 1M tokens"),
        (Field(Meter.WEB_SEARCHES, 1), "USD per search"),
        (Field(Meter.REQUESTS, THOUSAND), "USD per 1K requests"),
        (Field(Meter.AUDIO_SECONDS, HOUR), "USD per hour"),
        (Field(Meter.AUDIO_SECONDS, 60), "USD per 60 seconds"),
        (Field(Meter.INPUT_PIXELS, 1_000 * MILLION), "USD per 1G pixels"),
    ],
)
def test_a_unit_is_told_in_words(field: Field, unit: str) -> None:
    assert field.unit == unit


@pytest.mark.parametrize(("per", "usd"), [(0, "1"), (-1, "1"), (1, "0"), (1, "-1"), (1, "NaN")])
def test_a_unit_of_nothing_is_no_unit(per: int, usd: str) -> None:
    with pytest.raises(ValueError, match="some money for one or more"):
        Field(Meter.INPUT_TOKENS, per, Decimal(usd))
