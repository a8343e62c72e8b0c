"""How the numbers of a source's statement became rates, by the declared units."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations, islice
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import RateCard
from llmpricing.units import EXACT, PriceError, canonical, parse_price, same_price
from pricing_server.domain.override import OVERRIDE
from pricing_server.domain.price_field import MILLION, THOUSAND, Field
from pricing_server.domain.source import Source

MAX_CONVERSIONS: Final = 1_000

_QUALIFIED: Final = re.compile(r"(?P<path>.+) \((?P<key>\w+) (?P<value>.+)\)")
_WRAPPERS: Final = frozenset({"base", "price", "tiers"})
"""Keys below a declared one under which its price stands, where it has tiers."""

_HEADLINE: Final = {"prompt": Meter.INPUT_TOKENS, "completion": Meter.OUTPUT_TOKENS}
_PER: Final = {"per_token": 1, "per_1k_tokens": THOUSAND, "per_1m_tokens": MILLION}


@dataclass(frozen=True, slots=True)
class Conversion:
    """How one number of a statement is read."""

    path: str
    """Within the statement, as its source names it: "pricing.overrides[0].prompt"."""
    stated: str
    unit: str
    meter: Meter
    price: Decimal | None
    """USD for the rate's `per` units of the meter; None for a number that became no rate."""


@dataclass(frozen=True, slots=True)
class _Leaf:
    path: str
    keys: tuple[str, ...]
    value: str


@dataclass(frozen=True, slots=True)
class _Declared:
    keys: tuple[str, ...]
    condition: tuple[str, str] | None
    field: Field


def conversions_of(
    source: str, declared: Source | None, fragment: str, card: RateCard
) -> Sequence[Conversion]:
    """The numbers of a statement whose units are declared, in the order of the statement.

    This includes prices under conditions and in tiers, with the unit of their field. A number
    that is on no rate of the card, such as a zero that means no price, has no price here. Last
    come products of a price and stated multipliers that are on a rate.
    `declared` is None for a source that this build does not know; the result is empty then.
    """
    document = _statement(fragment)
    if source == OVERRIDE:
        found = _of_override(document)
    else:
        found = _of_source(declared.fields if declared else {}, document, card)
    read = list(islice(found, MAX_CONVERSIONS))
    conversions = [
        Conversion(leaf.path, leaf.value, field.unit, field.meter, _price(leaf, field, card))
        for leaf, field in read
    ]
    multipliers = _multipliers(declared.multipliers if declared else (), document)
    products = _products(read, multipliers, card)
    return [*conversions, *islice(products, MAX_CONVERSIONS - len(conversions))]


def _multipliers(paths: Sequence[str], document: object) -> Sequence[_Leaf]:
    keys = {tuple(path.split(".")) for path in paths}
    return [
        leaf
        for leaf in (_leaves(document) if keys else ())
        if any(leaf.keys[-len(each) :] == each for each in keys)
    ]


def _products(
    read: Sequence[tuple[_Leaf, Field]], multipliers: Sequence[_Leaf], card: RateCard
) -> Iterator[Conversion]:
    """Of each price with one multiplier and with two: a place's comes on top of a mode's."""
    chosen = [*combinations(multipliers, 1), *combinations(multipliers, 2)]
    for leaf, field in read:
        for factors in chosen:
            try:
                price = field.read(leaf.value)
                for factor in factors:
                    price = EXACT.multiply(price, parse_price(factor.value))
            except PriceError:
                continue
            if price and _is_on(card, field, price):
                path, stated = (
                    " * ".join(getattr(each, name) for each in (leaf, *factors))
                    for name in ("path", "value")
                )
                yield Conversion(path, stated, field.unit, field.meter, canonical(price))


def _statement(fragment: str) -> object:
    """The statement with its numbers as written; after a revert, the statement restored."""
    document = json.loads(fragment, parse_float=str, parse_int=str, parse_constant=str)
    if isinstance(document, Mapping) and document.keys() == {"reverted_sync_run_id", "stated"}:
        return document["stated"]
    return document


def _price(leaf: _Leaf, field: Field, card: RateCard) -> Decimal | None:
    try:
        price = field.read(leaf.value)
    except PriceError:
        return None
    return price if _is_on(card, field, price) else None


def _is_on(card: RateCard, field: Field, price: Decimal) -> bool:
    return any(
        rate.meter is field.meter and rate.per == field.rate_per and same_price(rate.price, price)
        for rate in card.rates
    )


def _of_source(
    fields: Mapping[str, Field], document: object, card: RateCard
) -> Iterator[tuple[_Leaf, Field]]:
    declared = [one for path, field in fields.items() for one in _declared(path, field)]
    leaves = list(_leaves(document))
    texts = {(leaf.keys[-1], leaf.value) for leaf in leaves if leaf.keys}
    possible = [one for one in declared if one.condition is None or one.condition in texts]
    for leaf in leaves:
        matching = [one for one in possible if _matches(one.keys, leaf.keys)] or [
            one
            for one in possible
            if _begins(one.keys, leaf.keys) and _price(leaf, one.field, card) is not None
        ]
        if matching:
            best = max(
                matching,
                key=lambda one: (len(one.keys), len(one.keys[-1]), one.condition is not None),
            )
            yield leaf, best.field


def _of_override(document: object) -> Iterator[tuple[_Leaf, Field]]:
    stated = document if isinstance(document, Mapping) else {}
    for key, meter in _HEADLINE.items():
        if isinstance(value := stated.get(key), str):
            yield _Leaf(key, (key,), value), Field(meter, _PER[stated["unit"]])
    for at, rate in enumerate(stated.get("rates", ())):
        leaf = _Leaf(f"rates[{at}].price", ("rates", "price"), rate["price"])
        yield leaf, _RateField(Meter(rate["meter"]), int(rate["per"]))


class _RateField(Field):
    """The price of a rate that was given with its own `per` and keeps it."""

    __slots__ = ()

    @property
    def rate_per(self) -> int:
        return self.per


def _declared(path: str, field: Field) -> Iterator[_Declared]:
    """The path within a whole row, and within an item of a list of the row."""
    qualified = _QUALIFIED.fullmatch(path)
    condition = (qualified["key"], qualified["value"]) if qualified else None
    path = qualified["path"] if qualified else path
    yield _Declared(tuple(path.replace("[]", "").split(".")), condition, field)
    if "[]." in path:
        yield _Declared(tuple(path.rpartition("[].")[2].split(".")), condition, field)


def _matches(declared: Sequence[str], keys: Sequence[str]) -> bool:
    """Whether a path leads to a declared price: through all of its keys in order, and after
    the last one only to its tiers."""
    last = max((at for at, key in enumerate(keys) if key == declared[-1]), default=-1)
    if last < 0 or not _WRAPPERS.issuperset(keys[last + 1 :]):
        return False
    before = iter(keys[:last])
    return all(key in before for key in declared[:-1])


def _begins(declared: Sequence[str], keys: Sequence[str]) -> bool:
    """Whether a key is a declared one with a condition in its name, such as "_above_200k", or
    is in an object of prices under conditions."""
    return declared[-1] in keys or any(key.startswith(f"{declared[-1]}_") for key in keys[-2:])


def _leaves(value: object, path: str = "", keys: tuple[str, ...] = ()) -> Iterator[_Leaf]:
    if isinstance(value, str):
        yield _Leaf(path, keys, value)
    elif isinstance(value, Mapping) and {"amount", "scale"} <= value.keys():
        # One number in two parts, amount / 10^scale.
        yield _Leaf(path, keys, f"{value['amount']}E-{value['scale']}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key, (*keys, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _leaves(item, f"{path}[{at}]", keys)
