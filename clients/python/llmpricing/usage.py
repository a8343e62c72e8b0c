"""What a request used: quantities by meter, checked, and separated where meters overlap."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import combinations
from typing import Final

from llmpricing.meter_tree import ANCESTORS, GENERAL_FIRST, join
from llmpricing.meters import Meter
from llmpricing.rate_card import MAX_QUANTITY

MAX_FRACTIONAL_DIGITS: Final = 18
"""Decimal places of a quantity, such as seconds of audio."""

Quantity = int | Decimal
Usage = Mapping[Meter, Quantity]
"""How many units of each meter. A meter that is not stated has no units."""


class InputConvention(StrEnum):
    """How quantities of overlapping meters are stated.

    INCLUSIVE: each counts all of its units, so cached tokens are part of input_tokens.
    EXCLUSIVE: each unit is stated once, at the most specific meter that counts it, so
    input_tokens are those that no other stated meter counts.
    """

    INCLUSIVE = "inclusive"
    EXCLUSIVE = "exclusive"


class UsageError(ValueError):
    """An impossible usage. The message is one line, with the meters and their quantities."""


@dataclass(frozen=True, slots=True)
class Division:
    """How the INCLUSIVE quantities of some stated meters are divided into disjoint ones.

    `parts` are the meters that are separated, the most specific first, each with those
    inside it. `merged` are meters whose overlap with another one is not stated, so they
    cannot be separated; they have no rate of their own, so they need not be. They stay in
    what they are part of and are only checked, against what is inside them and what they
    are inside of.
    """

    parts: tuple[tuple[Meter, tuple[Meter, ...]], ...]
    merged: tuple[tuple[Meter, tuple[Meter, ...], tuple[Meter, ...]], ...] = ()

    def own_quantities(self, usage: Usage) -> dict[Meter, Quantity]:
        """For each part the units that no more specific part counts. Raises UsageError.

        To be called in a decimal context that does not round.
        """
        own: dict[Meter, Quantity] = {}
        for meter, inside in self.parts:
            own[meter] = _remainder(usage, meter, inside, own) if inside else usage[meter]
        for meter, inside, wholes in self.merged:
            _remainder(usage, meter, inside, own)
            for whole in wholes:
                _remainder(usage, whole, (meter,), usage)
        return own


def zero_meters(usage: Usage) -> tuple[Meter, ...]:
    """The meters with a quantity of zero. Raises UsageError for an invalid quantity."""
    zeros: tuple[Meter, ...] = ()
    for meter, quantity in usage.items():
        if type(quantity) is not int:
            _check_number(meter, quantity)
        if quantity < 0:
            raise UsageError(f"{meter} are negative")
        if quantity > MAX_QUANTITY:
            raise UsageError(f"{meter} are more than {MAX_QUANTITY}")
        if not quantity:
            zeros += (meter,)
    return zeros


def divide(usage: Usage, rated: Collection[Meter], counted: Collection[Meter] = ()) -> Division:
    """The division of an INCLUSIVE usage, to be charged by rates of the `rated` meters.

    It depends only on which meters are stated and which of them are zero. `counted` meters
    decide which rates apply. Raises UsageError if a part is stated without what it is part
    of, as far as that is charged or counted, or if two meters with rates may overlap: then
    the usage has to state the overlap, even if it is zero.
    """
    for meter in filter(usage.get, _ordered(usage)):
        for whole in _ordered(ANCESTORS[meter]):
            if whole not in usage and (whole in rated or whole in counted or not ANCESTORS[whole]):
                raise UsageError(f"{_stated(usage, meter)} without {whole}, of which they are part")
    apart = _ordered(usage)
    merged = []
    while overlap := _unstated_overlap(usage, apart):
        merged.append(_mergeable(usage, *overlap, rated))
        apart.remove(merged[-1])
    return Division(
        tuple((meter, _inside(meter, apart)) for meter in reversed(apart)),
        tuple(
            (
                meter,
                _inside(meter, apart),
                tuple(each for each in usage if each in ANCESTORS[meter]),
            )
            for meter in merged
        ),
    )


def total(usage: Usage, meter: Meter, convention: InputConvention) -> Quantity:
    """The units that count for a meter, with all that is part of it.

    To be called in a decimal context that does not round.
    """
    if convention is InputConvention.INCLUSIVE:
        return usage.get(meter, 0)
    inside = (each for each in usage if each == meter or meter in ANCESTORS[each])
    return sum((usage[each] for each in inside), start=0)


def _unstated_overlap(usage: Usage, apart: Sequence[Meter]) -> tuple[Meter, Meter] | None:
    """Pairs of meters that may have units in common, where their number is not stated."""
    for one, other in combinations(filter(usage.get, apart), 2):
        both = join(one, other)
        if both is not None and both not in apart:
            return one, other
    return None


def _mergeable(usage: Usage, one: Meter, other: Meter, rated: Collection[Meter]) -> Meter:
    """Which of two overlapping meters need not be separated, the later if neither need be.

    It has no rate of its own, so its units are charged at the rates of other meters.
    """
    for meter in (other, one):
        if meter not in rated:
            return meter
    raise UsageError(
        f"{_stated(usage, one)} and {_stated(usage, other)} may overlap: "
        f"state {join(one, other)}, 0 if they do not"
    )


def _remainder(
    usage: Usage, meter: Meter, inside: Sequence[Meter], own: Mapping[Meter, Quantity]
) -> Quantity:
    left = usage[meter]
    for part in inside:
        left -= own[part]
    if left < 0:
        parts = " and ".join(_stated(usage, part) for part in inside if own[part])
        raise UsageError(f"{parts} are part of only {_stated(usage, meter)}")
    return left


def _inside(meter: Meter, apart: Iterable[Meter]) -> tuple[Meter, ...]:
    return tuple(each for each in apart if meter in ANCESTORS[each])


def _ordered(meters: Iterable[Meter]) -> list[Meter]:
    """A meter comes after all meters that it is part of."""
    return sorted(meters, key=GENERAL_FIRST.__getitem__)


def _check_number(meter: Meter, quantity: object) -> None:
    if isinstance(quantity, bool) or not isinstance(quantity, (int, Decimal)):
        raise UsageError(f"{meter} are no integer or decimal number")
    if isinstance(quantity, Decimal):
        exponent = quantity.as_tuple().exponent
        if not isinstance(exponent, int):
            raise UsageError(f"{meter} are not a finite number")
        if exponent < -MAX_FRACTIONAL_DIGITS:
            raise UsageError(f"{meter} have more than {MAX_FRACTIONAL_DIGITS} fractional digits")


def _stated(usage: Usage, meter: Meter) -> str:
    return f"{Decimal(usage[meter]):f} {meter}"
