"""Prices are read and written exactly, or refused."""

from __future__ import annotations

import re
from decimal import ROUND_DOWN, Context, Decimal, Inexact, localcontext
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmpricing.units import (
    EXACT,
    PriceError,
    PricingFormat,
    canonical,
    format_price,
    normalize_to_per_token,
    parse_price,
    plain,
    same_price,
)
from tests.unit._strategies import many, prices

UNITS = st.sampled_from(PricingFormat)


@pytest.mark.parametrize(
    ("stated", "unit", "per_token"),
    [
        ("2.50", PricingFormat.PER_1M_TOKENS, "0.0000025"),
        (0.00125, PricingFormat.PER_1K_TOKENS, "0.00000125"),
        ("0.0000025", PricingFormat.PER_TOKEN, "0.0000025"),
        (3, PricingFormat.PER_1M_TOKENS, "0.000003"),
        (Decimal("0.90"), PricingFormat.PER_1M_TOKENS, "9E-7"),
        (0.1, PricingFormat.PER_TOKEN, "0.1"),
        (1e-7, PricingFormat.PER_TOKEN, "1E-7"),
        ("8.333333333333334E-8", PricingFormat.PER_TOKEN, "8.333333333333334E-8"),
        (
            "0.0000000208333333333333",
            PricingFormat.PER_TOKEN,
            "2.08333333333333E-8",
        ),
        (" 1.5 ", PricingFormat.PER_1K_TOKENS, "0.0015"),
        ("+1e3", PricingFormat.PER_1M_TOKENS, "0.001"),
        ("0", PricingFormat.PER_1M_TOKENS, "0"),
        ("-0.0", PricingFormat.PER_TOKEN, "0"),
        ("0e-999999999", PricingFormat.PER_TOKEN, "0"),
    ],
)
def test_a_stated_price_becomes_exact_usd_per_token(
    stated: object, unit: PricingFormat, per_token: str
) -> None:
    found = normalize_to_per_token(stated, unit)
    assert type(found) is Decimal
    assert str(found) == str(Decimal(per_token))


def test_the_units_are_those_of_the_contract_and_none_is_the_default() -> None:
    assert {unit: unit.power_of_ten for unit in PricingFormat} == {
        PricingFormat.PER_TOKEN: 0,
        PricingFormat.PER_1K_TOKENS: 3,
        PricingFormat.PER_1M_TOKENS: 6,
    }
    with pytest.raises(TypeError):
        normalize_to_per_token("1")  # type: ignore[call-arg]


@given(prices(zero=True), UNITS)
@many
def test_what_is_written_in_a_unit_reads_back_as_the_same_price(
    price: Decimal, unit: PricingFormat
) -> None:
    assert normalize_to_per_token(price, PricingFormat.PER_TOKEN) == price
    assert Fraction(format_price(price, unit)) == Fraction(price) * 10**unit.power_of_ten
    if price.adjusted() + unit.power_of_ten <= 9:
        written = format_price(price, unit)
        if len(written) <= 100:
            assert normalize_to_per_token(written, unit) == price


@given(prices(zero=True), UNITS)
@example(Decimal("0.0000009"), PricingFormat.PER_1M_TOKENS)
@many
def test_a_written_price_has_at_least_two_decimals_and_no_exponent_or_spare_zero(
    price: Decimal, unit: PricingFormat
) -> None:
    written = format_price(price, unit)
    assert re.fullmatch(r"(0|[1-9][0-9]*)\.[0-9]{2}([0-9]*[1-9])?", written)


@pytest.mark.parametrize(
    ("per_token", "unit", "written"),
    [
        ("0.0000009", PricingFormat.PER_1M_TOKENS, "0.90"),
        ("0.0000025", PricingFormat.PER_1M_TOKENS, "2.50"),
        ("0.00000125", PricingFormat.PER_1K_TOKENS, "0.00125"),
        ("3E-6", PricingFormat.PER_1M_TOKENS, "3.00"),
        ("3E-6", PricingFormat.PER_TOKEN, "0.000003"),
        ("0", PricingFormat.PER_1M_TOKENS, "0.00"),
        ("2.08333333333333E-8", PricingFormat.PER_1M_TOKENS, "0.0208333333333333"),
        ("1E+3", PricingFormat.PER_TOKEN, "1000.00"),
    ],
)
def test_prices_are_written_as_old_consumers_expect(
    per_token: str, unit: PricingFormat, written: str
) -> None:
    assert format_price(Decimal(per_token), unit) == written


@given(prices(zero=True), st.integers(0, 40))
@many
def test_the_plain_and_the_canonical_form_do_not_depend_on_how_a_price_was_written(
    price: Decimal, zeros: int
) -> None:
    sign, digits, exponent = price.as_tuple()
    assert isinstance(exponent, int)
    longer = Decimal((sign, (*digits, *[0] * zeros), exponent - zeros))
    assert longer == price
    assert plain(longer) == plain(price)
    assert canonical(longer).as_tuple() == canonical(price).as_tuple()
    assert Decimal(plain(price)) == canonical(price) == price
    assert "E" not in plain(price)


@pytest.mark.parametrize(
    "refused",
    [
        "NaN",
        "sNaN",
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("-sNaN123"),
        float("nan"),
        "inf",
        "-Infinity",
        float("inf"),
        Decimal("Infinity"),
        "-1",
        "-0.0000001",
        -1,
        -0.5,
        "abc",
        "",
        " ",
        "$2.50",
        "2,50",
        "0x10",
        "1_000",
        "1e",
        "\uff11.\uff15",
        "\u0663",
        "1\u00a0",
        "\ud800",
        "1\x00",
        "1e400",
        "1e-999999999",
        "1e99999999999999999999",
        "1e10",
        1e300,
        10**11,
        10**4000,
        Decimal("1E-41"),
        "9" * 101,
        "0." + "0" * 30 + "1" * 41,
        "1" * 1_000_000,
        True,
        False,
        None,
        b"1",
        [1],
        {"price": "1"},
        1j,
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_is_no_price_is_refused_with_one_short_safe_line(refused: object) -> None:
    with pytest.raises(PriceError) as caught:
        parse_price(refused)
    message = str(caught.value)
    assert message.isprintable()
    assert message.isascii()
    assert len(message) < 120
    for unit in PricingFormat:
        with pytest.raises(PriceError):
            normalize_to_per_token(refused, unit)


@given(st.text() | st.floats() | st.decimals() | st.integers())
@many
def test_any_value_is_an_exact_price_or_refused(value: str | float | Decimal) -> None:
    try:
        price = parse_price(value)
    except PriceError:
        return
    assert type(price) is Decimal
    assert price.is_finite()
    assert price >= 0
    stated = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    assert price == stated


@given(prices(), UNITS)
@many
def test_a_caller_s_decimal_context_rounds_nothing(price: Decimal, unit: PricingFormat) -> None:
    exact = (normalize_to_per_token(price, unit), format_price(price, unit), plain(price))
    with localcontext(Context(prec=3, rounding=ROUND_DOWN, traps=[])):
        coarse = (normalize_to_per_token(price, unit), format_price(price, unit), plain(price))
        assert same_price(price, price)
        with pytest.raises(PriceError):
            parse_price("abc")
    assert coarse == exact


def test_a_result_that_would_need_rounding_raises_and_is_not_rounded() -> None:
    with pytest.raises(Inexact):
        plain(Decimal("1" * (EXACT.prec + 1)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("8.333333333333334E-8", "8.33333333333333E-8"),
        ("8.333333333334E-8", "8.33333333333400000001E-8"),
        ("0.0000000833333333333333", "8.333333333333334E-8"),
        ("0.3", "0.30000000000000004"),
        ("1", "1.00000000000001"),
        ("1", "1.0000000000000100000000000001"),  # Of the larger.
        ("0", "0"),
        ("0.10", "1E-1"),
    ],
)
def test_binary_noise_is_no_difference(one: str, other: str) -> None:
    assert same_price(Decimal(one), Decimal(other))
    assert same_price(Decimal(other), Decimal(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.0000000000001"),  # 1e-13
        ("8.333333333334E-8", "8.333333333333E-8"),
        ("0.0000025", "0.0000025000000000001"),
        ("0", "1E-40"),
        ("9999999999", "9999999999.001"),
        ("0.0000001", "0.0000002"),
    ],
)
def test_any_larger_difference_is_a_difference(one: str, other: str) -> None:
    assert not same_price(Decimal(one), Decimal(other))
    assert not same_price(Decimal(other), Decimal(one))


@given(prices(zero=True), prices(zero=True))
@many
def test_two_prices_are_the_same_within_1e_14_of_the_larger(one: Decimal, other: Decimal) -> None:
    expected = abs(Fraction(one) - Fraction(other)) <= max(Fraction(one), Fraction(other)) / 10**14
    assert same_price(one, other) is expected
    assert same_price(other, one) is expected
    assert same_price(one, one)


@given(prices(), st.sampled_from(["1E-15", "9.9E-15", "1.1E-14", "1E-13", "1E-3"]))
@many
def test_the_tolerance_is_relative_at_every_magnitude(price: Decimal, change: str) -> None:
    factor = 1 + Fraction(change)
    moved = Fraction(price) * factor
    digits = Context(prec=100).divide(Decimal(moved.numerator), Decimal(moved.denominator))
    # Of the larger of the two, which lets 1E-14 itself pass.
    assert same_price(price, digits) is (Fraction(change) < Fraction("1E-14"))
