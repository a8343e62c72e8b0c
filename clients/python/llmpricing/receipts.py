"""A cost computed again from its receipt, without a server.

request = CalculateCostRequest(..., receipt=RECEIPT_VIEW_PLAIN)
receipt = stub.CalculateCost(request).receipt      # kept with the invoice
replay(receipt, request.usage).total               # years later: the same digits
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from llmpricing.compiled_card import CompiledCard
from llmpricing.cost import Cost
from llmpricing.rate_card import RateCard
from llmpricing.usage import InputConvention
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.enums import CONVENTION_OF, known_value
from llmpricing.wire.fault import WireFault
from llmpricing.wire.instants import instant_of
from llmpricing.wire.quantities import usage_of
from llmpricing.wire.rates import check_context, rate_card_of

RULES: Final = 1
"""The version of the rules of calculation in `llmpricing.compiled_card`. A change to them that
changes any cost makes a new version, and the old version stays for its receipts."""


class ReceiptError(ValueError):
    """A receipt or usage that cannot be computed again. The message is one line."""


@dataclass(frozen=True, slots=True)
class CostBasis:
    """What decides a cost, but for the usage."""

    card: RateCard
    as_of: datetime
    convention: InputConvention
    context: Mapping[str, str]


def replay(receipt: pb.Receipt, usage: Iterable[pb.MeterQuantity]) -> Cost:
    """The cost of a usage by a receipt, in USD: to the digit what the server answered.

    Raises ReceiptError for a receipt that needs newer rules, whose rate card does not have
    the stated id, or that lacks what decides a cost; UsageError for a usage that contradicts
    itself; NotPriced.
    """
    if receipt.rules != RULES:
        raise ReceiptError(f"the receipt is of rules {receipt.rules}, these are {RULES}")
    try:
        basis, used = basis_of(receipt, "receipt"), usage_of(usage)
    except WireFault as fault:
        raise ReceiptError(str(fault)) from None
    return CompiledCard(basis.card).evaluate(
        used, at=basis.as_of, context=basis.context, convention=basis.convention
    )


def basis_of(receipt: pb.Receipt, field: str) -> CostBasis:
    """What a receipt of rules that are known here computes with. Raises WireFault."""
    card = rate_card_of(receipt.rate_card, f"{field}.rate_card")
    if not receipt.HasField("as_of"):
        raise WireFault(f"{field}.as_of", "is missing")
    check_context(receipt.context, f"{field}.context")
    return CostBasis(
        card,
        instant_of(receipt.as_of, f"{field}.as_of"),
        known_value(receipt.input_convention, CONVENTION_OF, f"{field}.input_convention"),
        dict(receipt.context),
    )
