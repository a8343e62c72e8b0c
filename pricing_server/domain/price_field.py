"""The declared meaning of a price field: what it meters, in which unit and currency."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import ALWAYS, Conditions, Rate
from llmpricing.units import EXACT, canonical, parse_price

USD: Final = Decimal(1)
US_CENT: Final = Decimal("0.01")
"""In USD."""

THOUSAND: Final = 1_000
MILLION: Final = 1_000_000
HOUR: Final = 3_600
"""In seconds, for meters of seconds."""

_CURRENCIES: Final = {USD: "USD", US_CENT: "US cents"}
_AMOUNTS: Final = {THOUSAND: "1K", MILLION: "1M", 1_000_000_000: "1G"}


@dataclass(frozen=True, slots=True)
class Field:
    """One price field of one endpoint: a stated 1 is `usd` USD for `per` units of `meter`.

    The unit belongs to the field alone, so `per` has no default.
    """

    meter: Meter
    per: int
    usd: Decimal = USD

    def __post_init__(self) -> None:
        if self.per < 1 or not self.usd.is_finite() or self.usd <= 0:
            raise ValueError("a unit is some money for one or more of its meter")

    @property
    def rate_per(self) -> int:
        """The `per` of its rates: 1, but for units whose prices may not divide exactly."""
        return 1 if self._is_power_of_ten else self.per

    def read(self, value: object) -> Decimal:
        """USD for `rate_per` units of the meter. Raises PriceError if the value is no price."""
        price = EXACT.multiply(parse_price(value), self.usd)
        return canonical(EXACT.divide(price, Decimal(self.per // self.rate_per)))

    def rate(self, value: object, conditions: Conditions = ALWAYS) -> Rate:
        """The rate of a stated price. Raises PriceError if the value is no price."""
        return Rate(self.meter, self.read(value), conditions, per=self.rate_per)

    @property
    def unit(self) -> str:
        """The unit in words: "USD per 1M tokens", "US cents per token", "USD per hour"."""
        money = _CURRENCIES.get(self.usd, f"{self.usd:E} USD")
        noun = self.meter.rpartition("_")[2] or self.meter
        if noun == "seconds" and self.per == HOUR:
            return f"{money} per hour"
        if self.per == 1:
            one = noun[:-2] if noun.endswith("searches") else noun.removesuffix("s")
            return f"{money} per {one}"
        return f"{money} per {_AMOUNTS.get(self.per, f'{self.per:,}')} {noun}"

    @property
    def _is_power_of_ten(self) -> bool:
        return str(self.per).rstrip("0") == "1"
