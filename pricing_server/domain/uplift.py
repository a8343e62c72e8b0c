"""Multipliers that a source states for a whole card, as exact rates in their context."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import Rate
from llmpricing.units import EXACT, canonical

MAX_MULTIPLIER_DIGITS: Final = 12
"""One with more is no number that anybody states."""

FLAT: Final = frozenset(
    {
        Meter.WEB_SEARCHES,
        Meter.SOCIAL_SEARCHES,
        Meter.STORAGE_SEARCHES,
        Meter.CODE_EXECUTIONS,
    }
)
"""Calls of tools cost the same everywhere: sellers state an uplift for their models only."""


def with_uplift(
    rates: Iterable[Rate], multiplier: Decimal, context: Mapping[str, str]
) -> tuple[Rate, ...]:
    """The rates, before which come those of requests with this context: all of them multiplied.

    So a request with the context costs exactly `multiplier` times what it costs without, in
    whatever tier, mode, window or period, but for calls of tools. Rates that already depend
    on a key of the context are not multiplied. `rates` are in order of precedence.
    """
    stated = tuple(rates)
    return (*uplifted(stated, multiplier, context), *stated)


def uplifted(
    rates: Iterable[Rate], multiplier: Decimal, context: Mapping[str, str]
) -> Iterator[Rate]:
    """Only the multiplied rates, in the order of `rates`."""
    for rate in rates:
        own = dict(rate.conditions.context)
        if rate.meter in FLAT or own.keys() & context.keys():
            continue
        yield replace(
            rate,
            price=canonical(EXACT.multiply(rate.price, multiplier)),
            conditions=replace(rate.conditions, context=tuple(sorted({**own, **context}.items()))),
        )
