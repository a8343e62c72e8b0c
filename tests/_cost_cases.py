"""Usages of every model of the package genai-prices, and what the package says that they cost.

The package is asked in a decimal context so wide that it rounds prices per hour alone.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Context as DecimalContext
from decimal import Decimal, localcontext
from enum import Enum
from typing import Final

from genai_prices.data_units import unit_data
from genai_prices.types import ModelInfo, Provider
from genai_prices.types import Usage as PackageUsage

from llmpricing.meters import Meter
from llmpricing.usage import Quantity
from pricing_server.providers.genai_prices_corrections import LEAST_BILLED
from tests._genai_edges import Context, asked_at, contexts, instants, token_counts

USAGES_PER_MODEL: Final = 6
"""At least; of a model with edges one for each, up to MOST_PER_MODEL."""

MOST_PER_MODEL: Final = 60

_WIDE: Final = DecimalContext(prec=80)
_DIMENSIONS: Final[Mapping[Meter, frozenset[tuple[str, str]]]] = {
    Meter(name): frozenset(unit["dimensions"].items()) for name, unit in unit_data.items()
}
_USED: Final[list[Meter]] = [meter for meter in _DIMENSIONS if meter is not Meter.REQUESTS]
"""What a caller of the package states: it counts a request by itself."""

_KEYS: Final = {raw.get("price_key", name): Meter(name) for name, raw in unit_data.items()}


class Refusal(Enum):
    """Why there is no cost."""

    USAGE = "the usage cannot be"
    NOT_PRICED = "the model has no price then"


@dataclass(frozen=True, slots=True)
class CostCase:
    """A usage and what it costs in USD, or why it costs nothing that could be told.

    What it costs is what the package says, but for the instants that `asked_at` names.
    `disjoint` is the same usage stated EXCLUSIVE; None for one that cannot be. `unpriced`
    is the quantity of each meter that the total knows nothing of.
    """

    seller: str
    model_id: str
    usage: Mapping[Meter, Quantity]
    disjoint: Mapping[Meter, Quantity] | None
    at: datetime
    context: Context
    expected: Decimal | Refusal
    unpriced: Mapping[Meter, Quantity]


def cost_cases(providers: Iterable[Provider], seed: int = 0) -> Iterator[CostCase]:
    """Cases of every model: around each edge of its dates, hours and tiers, in each context."""
    for provider in providers:
        for model in provider.models:
            rng = random.Random(f"{seed} {provider.id} {model.id}")
            edges = list(
                itertools.product(
                    sorted(instants(model)), contexts(model), sorted(token_counts(model))
                )
            )
            if len(edges) > MOST_PER_MODEL:
                edges = rng.sample(edges, MOST_PER_MODEL)
            for number in range(max(USAGES_PER_MODEL, len(edges))):
                at, context, size = edges[number % len(edges)]
                yield _case(rng, provider, model, at, context, size or rng.randint(1, 400_000))


def _case(
    rng: random.Random,
    provider: Provider,
    model: ModelInfo,
    at: datetime,
    context: Context,
    size: int,
) -> CostCase:
    said_at = asked_at(model, at)
    rated = _rated(model, said_at, context)
    disjoint = _disjoint_usage(rng, rated, size)
    unpriced = _unpriced_usage(rng, rated)
    usage = _inclusive_usage(rng, rated, disjoint)
    usage |= _inclusive_usage(rng, frozenset(unpriced), unpriced)
    spoils = rng.random() < 0.1 and (provider.id, model.id) not in LEAST_BILLED
    is_spoiled = spoils and _spoil(rng, rated, usage)
    expected = _expected(provider, model, usage, said_at, context)
    return CostCase(
        provider.id,
        model.id,
        usage,
        None if is_spoiled or expected is Refusal.USAGE else disjoint | unpriced,
        at,
        context,
        expected,
        unpriced,
    )


def _rated(model: ModelInfo, at: datetime, context: Context) -> frozenset[Meter]:
    prices = vars(model.get_prices(at, context))
    return frozenset(_KEYS[key] for key, price in prices.items() if price is not None)


def _expected(
    provider: Provider,
    model: ModelInfo,
    usage: Mapping[Meter, Quantity],
    at: datetime,
    context: Context,
) -> Decimal | Refusal:
    # Of a model without a price the package says that it costs nothing.
    if not any(_rated(model, at, each) for each in contexts(model)):
        return Refusal.NOT_PRICED
    stated = PackageUsage(**{meter.value: quantity for meter, quantity in usage.items()})
    try:
        with localcontext(_WIDE):
            return model.calc_price(
                stated, provider, genai_request_timestamp=at, price_context=dict(context)
            ).total_price
    except ValueError:
        return Refusal.USAGE


def _is_part(meter: Meter, whole: Meter) -> bool:
    return _DIMENSIONS[meter] >= _DIMENSIONS[whole]


def _disjoint_usage(
    rng: random.Random, rated: frozenset[Meter], size: int
) -> dict[Meter, Quantity]:
    """Units of meters with rates and of parts of them, `size` input tokens if these have one."""
    kinds = [meter for meter in _USED if any(_is_part(meter, whole) for whole in rated)]
    chosen = {meter for meter in rated if meter in _USED and rng.random() < 0.7}
    chosen |= set(rng.sample(kinds, min(len(kinds), rng.randint(0, 4))))
    usage: dict[Meter, Quantity] = {}
    for meter in sorted(chosen):
        count = rng.choice([0, 1, rng.randint(2, 100), rng.randint(100, 10**6)])
        fraction = meter.endswith("seconds") and rng.random() < 0.7
        usage[meter] = Decimal(rng.randint(1, 40_000)).scaleb(-3) if fraction else count
    if Meter.INPUT_TOKENS in rated:
        left = size
        for meter in usage:
            if _is_part(meter, Meter.INPUT_TOKENS):
                usage[meter] = rng.randint(0, left)
                left -= int(usage[meter])
        usage[Meter.INPUT_TOKENS] = left + usage.get(Meter.INPUT_TOKENS, 0)
    return usage


def _inclusive_usage(
    rng: random.Random, rated: frozenset[Meter], disjoint: Mapping[Meter, Quantity]
) -> dict[Meter, Quantity]:
    """The same units by every meter with a rate, and by some of those without."""
    usage: dict[Meter, Quantity] = {}
    for meter in _USED:
        inside = (disjoint[each] for each in disjoint if _is_part(each, meter))
        quantity = sum(inside, start=Decimal(0))
        whole = int(quantity) if quantity == int(quantity) else quantity
        # One of which there is nothing is sometimes left out, whether it has a rate or not.
        is_stated = (meter in rated and quantity) or rng.random() < 0.5
        if is_stated and (quantity or meter in rated):
            usage[meter] = whole
    return usage


def _unpriced_usage(rng: random.Random, rated: frozenset[Meter]) -> dict[Meter, Quantity]:
    """Now and then some units that have no rate at all, not even as part of something else."""
    kinds = [meter for meter in _USED if not any(_is_part(meter, whole) for whole in rated)]
    if not kinds or rng.random() < 0.7:
        return {}
    kind = rng.choice(kinds)
    root = min((each for each in kinds if _is_part(kind, each)), key=lambda m: len(_DIMENSIONS[m]))
    return {kind: rng.randint(1, 1_000), root: rng.randint(1, 1_000)}


def _spoil(rng: random.Random, rated: frozenset[Meter], usage: dict[Meter, Quantity]) -> bool:
    """Leave out what has parts, or state more of a part than there is of the whole; if any."""
    pairs = [
        (part, whole)
        for part, whole in itertools.permutations(usage, 2)
        if _is_part(part, whole) and whole in rated
    ]
    if not pairs:
        return False
    part, whole = rng.choice(pairs)
    if part in rated and rng.random() < 0.5:
        usage[part] = usage[whole] + 1
    else:
        del usage[whole]
    return True
