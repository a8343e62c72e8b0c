"""How quantities are charged, once the stated meters and the rates that hold are known."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from llmpricing.meter_tree import ANCESTORS, GENERAL_FIRST, closest
from llmpricing.meters import METER_ORDER, Meter
from llmpricing.rate_card import Rate
from llmpricing.usage import Division, InputConvention, Quantity, Usage, divide

Rates = Mapping[Meter, tuple[Rate, ...]]
"""The rates that hold, by meter in order of precedence; graduated ones before the last."""

Share = tuple[Meter, Rate | None, Quantity]
"""Units of a meter and the rate that they are charged at; None if no rate covers them."""


@dataclass(frozen=True, slots=True)
class Charge:
    """The charges of all usages that state the same meters, at the same rates.

    `division` is None for EXCLUSIVE quantities, which are disjoint already.
    """

    division: Division | None
    plain: tuple[tuple[Meter, Rate | None], ...]
    banded: tuple[_Banded, ...]
    counts_request: bool

    @classmethod
    def of(
        cls, usage: Usage, convention: InputConvention, rates: Rates, counted: Collection[Meter]
    ) -> Self:
        """How to charge such a usage; `counted` are meters that decided which rates hold.

        A meter without a rate of its own is charged as the nearest meter that it is part of.
        Raises UsageError if no usage that states these meters can be charged.
        """
        meters = list(usage)
        division = None
        if convention is InputConvention.INCLUSIVE:
            division = divide(usage, rates.keys(), counted)
            meters = [meter for meter, _ in division.parts]
        counts_request = Meter.REQUESTS in rates and Meter.REQUESTS not in usage
        if counts_request:
            meters.append(Meter.REQUESTS)
        meters.sort(key=METER_ORDER.__getitem__)
        charged_as = {meter: _charged_as(meter, rates) for meter in meters}
        banded = {meter for meter in rates if _is_banded(rates[meter])}
        return cls(
            division,
            plain=tuple(
                (meter, rates[rated][0] if rated else None)
                for meter, rated in charged_as.items()
                if rated not in banded
            ),
            banded=tuple(
                _Banded.of(meter, rates[meter], charged_as)
                for meter in rates
                if meter in banded and meter in charged_as.values()
            ),
            counts_request=counts_request,
        )

    def shares(self, usage: Usage) -> list[Share]:
        """Charge every unit once, in the order of meters. Raises UsageError.

        To be called in a decimal context that does not round.
        """
        own = self.division.own_quantities(usage) if self.division else usage
        if self.counts_request:
            own = {**own, Meter.REQUESTS: 1}
        shares = [(meter, rate, own[meter]) for meter, rate in self.plain]
        if not self.banded:
            return shares
        return _in_order([*shares, *(share for each in self.banded for share in each.shares(own))])


@dataclass(frozen=True, slots=True)
class _Banded:
    """Meters that are charged together, at rates that depend on how many units there are.

    `meter` is the one that has the rates. `before` are the parts of it that are charged
    as something else. `charged` are its other parts, with `meter` itself as the last.
    """

    meter: Meter
    rates: tuple[Rate, ...]
    before: tuple[Meter, ...]
    charged: tuple[Meter, ...]

    @classmethod
    def of(
        cls, meter: Meter, rates: tuple[Rate, ...], charged_as: Mapping[Meter, Meter | None]
    ) -> Self:
        """The units that are charged at the rates of a meter."""
        inside = [each for each in charged_as if meter in ANCESTORS[each]]
        inside.sort(key=GENERAL_FIRST.__getitem__, reverse=True)
        return cls(
            meter,
            rates,
            before=tuple(each for each in inside if charged_as[each] != meter),
            charged=(*(each for each in inside if charged_as[each] == meter), meter),
        )

    def shares(self, own: Usage) -> Iterator[Share]:
        """The units in the order in which they fill the bands, the more specific ones first.

        A prompt fills them like this: what is read from a cache is its beginning.
        """
        start = filled = sum((own[meter] for meter in self.before), start=0)
        for meter in self.charged:
            end = top = filled + own.get(meter, 0)
            for rate in self.rates:
                bottom = max(filled, rate.charged_after)
                if bottom < top:
                    yield meter, rate, top - bottom
                    top = bottom
            yield meter, None, top - filled
            filled = end
        missing = start + self.rates[-1].minimum - filled
        if filled > start and missing > 0:
            yield self.meter, self.rates[-1], missing


def _charged_as(meter: Meter, rates: Rates) -> Meter | None:
    """Whose rates apply to a meter; None if no meter's do, or if two meters could be meant."""
    found = closest(meter, rates.keys())
    return found[0] if len(found) == 1 else None


def _is_banded(rates: tuple[Rate, ...]) -> bool:
    return bool(rates[0].charged_after or rates[0].minimum)


def _in_order(shares: Iterable[Share]) -> list[Share]:
    """In the order of meters, the units of a meter at one rate together."""
    together: dict[tuple[Meter, Rate | None], Quantity] = {}
    for meter, rate, quantity in shares:
        together[meter, rate] = together.get((meter, rate), 0) + quantity
    return sorted(
        ((meter, rate, quantity) for (meter, rate), quantity in together.items()),
        key=lambda share: METER_ORDER[share[0]],
    )
