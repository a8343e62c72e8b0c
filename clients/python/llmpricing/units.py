"""Exact prices: reading what a source states, and writing what a caller reads.

Prices are `decimal.Decimal` in USD. Every operation here is exact: the context
traps `Inexact`, so a result that would need rounding raises instead of rounding.
"""

from __future__ import annotations

import reprlib
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from enum import Enum
from typing import Final

EXACT: Final = Context(
    prec=160,
    traps=[Inexact, InvalidOperation, DivisionByZero, Overflow],
)
"""Wide enough for every product, quotient and sum of prices and quantities; rounds nothing."""

MAX_DIGITS: Final = 40
"""Significant digits of an accepted price. Recorded feeds have up to 19."""

SMALLEST_EXPONENT: Final = -40
LARGEST_EXPONENT: Final = 9
"""Accepted prices lie in 1E-40 .. 1E10: generous on both sides of any real price."""

SAME_PRICE_TOLERANCE: Final = Decimal("1E-14")
"""Relative. Feeds carry binary noise: 8.333333333333334E-8, the next day 8.33333333333333E-8."""


class PriceError(ValueError):
    """A value that cannot be a price. The message is one line, safe to show."""


class PricingFormat(Enum):
    """The unit of one field of one endpoint: declared, never guessed; there is no default."""

    PER_TOKEN = 0
    PER_1K_TOKENS = 3
    PER_1M_TOKENS = 6

    @property
    def power_of_ten(self) -> int:
        """How many tokens the price buys, as a power of ten."""
        return self.value


def parse_price(value: object) -> Decimal:
    """Read a stated price: a decimal string, an int, a Decimal, or a float by its shortest form.

    Returns the value in the unit it was stated in, finite and not negative.
    Raises PriceError for anything else: "abc", NaN, infinities, negatives, booleans,
    and magnitudes or precisions that no price has.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal, float)):
        raise PriceError(f"not a number: {_shown(value)}")
    if isinstance(value, str) and (len(value) > 100 or not value.isascii() or "_" in value):
        raise PriceError(f"not a number: {_shown(value)}")
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, ValueError, OverflowError):
        raise PriceError(f"not a number: {_shown(value)}") from None
    if not number.is_finite():
        raise PriceError(f"not a finite number: {_shown(value)}")
    if number == 0:
        return Decimal(0)
    if number < 0:
        raise PriceError(f"negative: {_shown(value)}")
    if len(number.as_tuple().digits) > MAX_DIGITS:
        raise PriceError(f"more than {MAX_DIGITS} digits: {_shown(value)}")
    if not SMALLEST_EXPONENT <= number.adjusted() <= LARGEST_EXPONENT:
        raise PriceError(f"out of range for a price: {_shown(value)}")
    return number


def normalize_to_per_token(value: object, unit: PricingFormat) -> Decimal:
    """Convert a stated price (what `parse_price` reads) to exact USD per token.

    >>> normalize_to_per_token("2.50", PricingFormat.PER_1M_TOKENS)
    Decimal('0.0000025')

    Raises PriceError if the value is no price.
    """
    return canonical(parse_price(value).scaleb(-unit.power_of_ten, context=EXACT))


def canonical(price: Decimal) -> Decimal:
    """The same number without trailing zeros and with a non-positive exponent."""
    price = price.normalize(context=EXACT)
    exponent = price.as_tuple().exponent
    assert isinstance(exponent, int), "prices are finite"
    return price.quantize(Decimal(1), context=EXACT) if exponent > 0 else price


def plain(price: Decimal) -> str:
    """Exact digits without exponent or trailing zeros: "0.0000025", "3", "0"."""
    return format(canonical(price), "f")


def format_price(price: Decimal, unit: PricingFormat = PricingFormat.PER_TOKEN) -> str:
    """Write USD per token as USD per `unit`: at least two decimals, else exact, no exponent.

    >>> format_price(Decimal("0.0000009"), PricingFormat.PER_1M_TOKENS)
    '0.90'

    With the default unit it writes a price per one (request, image) as it is.
    """
    digits = plain(price.scaleb(unit.power_of_ten, context=EXACT))
    whole, _, decimals = digits.partition(".")
    return f"{whole}.{decimals.ljust(2, '0')}"


def same_price(one: Decimal, other: Decimal) -> bool:
    """Whether two prices differ by no more than binary noise (relative 1e-14)."""
    if one == other:
        return True
    difference = EXACT.abs(EXACT.subtract(one, other))
    return difference <= EXACT.multiply(SAME_PRICE_TOLERANCE, max(one, other))


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 1_000:
        return "an integer of hundreds of digits"  # which Python may refuse to write out
    # reprlib bounds depth and length: a hostile value can be nested too deep for repr.
    text = str(value) if isinstance(value, Decimal) else reprlib.repr(value)
    text = text.encode("ascii", "backslashreplace").decode("ascii")
    return text if len(text) <= 60 else f"{text[:57]}..."
