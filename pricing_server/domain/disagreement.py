"""Where another source states another price of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from llmpricing.meters import Meter
from llmpricing.units import plain


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Another source states another standard price of a model. USD per one of the meter."""

    source: str
    """That states the other price."""
    meter: Meter
    price: Decimal
    """In force."""
    other_price: Decimal

    def to_document(self) -> dict[str, str]:
        """It as plain JSON."""
        return {
            "source": self.source,
            "meter": self.meter.value,
            "price": plain(self.price),
            "other_price": plain(self.other_price),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, str]) -> Self:
        """Read what `to_document` wrote. Raises ValueError or KeyError if it is not one."""
        return cls(
            document["source"],
            Meter(document["meter"]),
            Decimal(document["price"]),
            Decimal(document["other_price"]),
        )
