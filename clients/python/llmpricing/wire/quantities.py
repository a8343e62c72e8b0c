"""Quantities by meter as messages, and messages as a usage."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import MAX_QUANTITY
from llmpricing.units import plain
from llmpricing.usage import MAX_FRACTIONAL_DIGITS, Quantity
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.enums import METER_OF, METERS, known_value
from llmpricing.wire.fault import WireFault

_QUANTITY: Final = re.compile(rf"[0-9]{{1,19}}(\.[0-9]{{1,{MAX_FRACTIONAL_DIGITS}}})?")


def quantity_messages(stated: Iterable[tuple[Meter, Quantity]]) -> list[pb.MeterQuantity]:
    """Quantities by meter."""
    return [
        pb.MeterQuantity(meter=METERS[meter], quantity=plain(Decimal(quantity)))
        for meter, quantity in stated
    ]


def usage_of(stated: Iterable[pb.MeterQuantity], field: str = "usage") -> dict[Meter, Quantity]:
    """What was used, by meter. Raises WireFault."""
    usage: dict[Meter, Quantity] = {}
    for at, each in enumerate(stated):
        meter = known_value(each.meter, METER_OF, f"{field}[{at}].meter")
        if meter in usage:
            raise WireFault(f"{field}[{at}].meter", "is stated twice")
        if not _QUANTITY.fullmatch(each.quantity):
            raise WireFault(
                f"{field}[{at}].quantity",
                "is not a number: digits with at most one point, at most "
                f"{MAX_FRACTIONAL_DIGITS} behind it",
            )
        quantity: Quantity = Decimal(each.quantity)
        if quantity > MAX_QUANTITY:
            raise WireFault(f"{field}[{at}].quantity", f"is over {MAX_QUANTITY}")
        usage[meter] = int(quantity) if quantity == int(quantity) else quantity
    if not usage:
        raise WireFault(field, "is empty")
    return usage
