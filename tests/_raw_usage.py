"""Raw usages of real shape, by hand: what is to be understood of each, and what it costs.

A file of tests/fixtures/usage is one flavour. Of each case `why` is the cost as a sum over
the body, in USD per 1M units: worked out from the body, not from the meters.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from llmpricing.meters import Meter
from llmpricing.rate_card import Conditions, PriceState, Rate, RateCard
from llmpricing.raw_usage import ApiFlavour
from llmpricing.units import EXACT

FOLDER = Path(__file__).parent / "fixtures" / "usage"
MILLION = 6


@dataclass(frozen=True, slots=True)
class UsageCase:
    """One body, and what is true of it. `cost` is USD; `oracle` is (provider, flavour)."""

    name: str
    flavour: ApiFlavour
    body: Any
    usage: Mapping[Meter, Decimal]
    model: str | None
    context: Mapping[str, str]
    unknown: tuple[tuple[str, str], ...]
    card: RateCard
    why: str
    cost: Decimal
    oracle: tuple[str, str] | None
    oracle_differs: Mapping[Meter, str]

    def __str__(self) -> str:
        return f"{self.flavour}: {self.name}"


def usage_cases() -> list[UsageCase]:
    """All cases, in order of their files."""
    return [case for path in sorted(FOLDER.glob("*.json")) for case in _cases_in(path)]


def usd(sum_per_million: str) -> Decimal:
    """The exact value of a sum of products, in USD."""
    return _value(ast.parse(sum_per_million, mode="eval").body).scaleb(-MILLION, context=EXACT)


def _cases_in(path: Path) -> list[UsageCase]:
    document = json.loads(path.read_text(encoding="utf-8"))
    flavour = ApiFlavour(document["flavour"])
    return [
        UsageCase(
            name=case["name"],
            flavour=flavour,
            body=case["body"],
            usage={Meter(meter): Decimal(count) for meter, count in case["usage"].items()},
            model=case["model"],
            context=case["context"],
            unknown=tuple((path, value) for path, value in case["unknown"]),
            card=_card(case["rates"], case.get("rates_when", {})),
            why=case["why"],
            cost=Decimal(case["cost"]),
            oracle=tuple(case["oracle"]) if "oracle" in case else None,
            oracle_differs={
                Meter(meter): reason for meter, reason in case.get("oracle_differs", {}).items()
            },
        )
        for case in document["cases"]
    ]


def _card(rates: Mapping[str, str], rates_when: Mapping[str, Mapping[str, str]]) -> RateCard:
    """Rates for a context come before the standard ones."""
    found = []
    for pair, special in [*rates_when.items(), ("", rates)]:
        key, _, value = pair.partition("=")
        conditions = Conditions(context=((key, value),) if pair else ())
        for meter, price in special.items():
            per_one = Decimal(price).scaleb(-MILLION, context=EXACT)
            found.append(Rate(Meter(meter), per_one, conditions))
    return RateCard.of(PriceState.PRICED, found)


def _value(node: ast.expr) -> Decimal:
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Add):
            return EXACT.add(left, right)
        assert isinstance(node.op, ast.Mult), ast.dump(node)
        return EXACT.multiply(left, right)
    assert isinstance(node, ast.Constant), ast.dump(node)
    return Decimal(str(node.value))
