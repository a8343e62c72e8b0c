"""Enums of the contract and of the domain: numbers by value, and values by number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from llmpricing.meters import Meter
from llmpricing.rate_card import Comparison, DayOfWeek, PriceState, ThresholdScope
from llmpricing.usage import InputConvention
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.fault import WireFault

K = TypeVar("K")
V = TypeVar("V")

METERS: Final = {meter: pb.Meter.Value(f"METER_{meter.name}") for meter in Meter}
STATES: Final = {state: pb.PriceState.Value(f"PRICE_STATE_{state.name}") for state in PriceState}
COMPARISONS: Final = {one: pb.Comparison.Value(f"COMPARISON_{one.name}") for one in Comparison}
SCOPES: Final = {
    scope: pb.ThresholdScope.Value(f"THRESHOLD_SCOPE_{scope.name}") for scope in ThresholdScope
}
DAYS: Final = {day: pb.DayOfWeek.Value(f"DAY_OF_WEEK_{day.name}") for day in DayOfWeek}
CONVENTIONS: Final = {
    one: pb.InputConvention.Value(f"INPUT_CONVENTION_{one.name}") for one in InputConvention
}


def by_number(numbers: Mapping[V, K]) -> Mapping[K, V]:
    """What each number of an enum stands for."""
    return {number: value for value, number in numbers.items()}


METER_OF: Final[Mapping[int, Meter]] = by_number(METERS)
STATE_OF: Final[Mapping[int, PriceState]] = by_number(STATES)
COMPARISON_OF: Final[Mapping[int, Comparison]] = by_number(COMPARISONS)
SCOPE_OF: Final[Mapping[int, ThresholdScope]] = by_number(SCOPES)
DAY_OF: Final[Mapping[int, DayOfWeek]] = by_number(DAYS)
CONVENTION_OF: Final[Mapping[int, InputConvention]] = {
    pb.INPUT_CONVENTION_UNSPECIFIED: InputConvention.INCLUSIVE,
    **by_number(CONVENTIONS),
}


def known_value(number: int, known: Mapping[int, V], field: str) -> V:
    """What a number of an enum stands for: enums are open on the wire. Raises WireFault."""
    if number not in known:
        raise WireFault(field, "is missing" if number == 0 else f"has the unknown value {number}")
    return known[number]
