"""A cost computed again from its receipt, without a server.

receipt = stub.CalculateCost(request).receipt      # kept with the invoice
replay(receipt, request.usage).total               # years later: the same digits
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from llmpricing.compiled_card import CompiledCard
from llmpricing.cost import Cost
from llmpricing.meters import Meter
from llmpricing.rate_card import (
    Comparison,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    Threshold,
    ThresholdScope,
    UtcWindow,
)
from llmpricing.usage import InputConvention, Quantity
from llmpricing.v1 import pricing_pb2 as pb

RULES: Final = 1
"""The version of the rules of calculation in `llmpricing.compiled_card`. A change to them that
changes any cost makes a new version, and the old version stays for its receipts."""

_CONVENTIONS: Final[Mapping[int, InputConvention]] = {
    pb.INPUT_CONVENTION_INCLUSIVE: InputConvention.INCLUSIVE,
    pb.INPUT_CONVENTION_EXCLUSIVE: InputConvention.EXCLUSIVE,
}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ReceiptError(ValueError):
    """A receipt or usage that cannot be computed again. The message is one line."""


def replay(receipt: pb.Receipt, usage: Iterable[pb.MeterQuantity]) -> Cost:
    """The cost of a usage by a receipt, in USD: to the digit what the server answered.

    Raises ReceiptError for a receipt that needs newer rules, whose rate card does not have
    the stated id, or that lacks what decides a cost; UsageError for a usage that contradicts
    itself; NotPriced.
    """
    if receipt.rules != RULES:
        raise ReceiptError(f"the receipt is of rules {receipt.rules}, these are {RULES}")
    card = rate_card(receipt.rate_card)
    if card.card_id != receipt.rate_card.rate_card_id:
        raise ReceiptError("the rate card of the receipt is not the one of its rate_card_id")
    if receipt.rate_card.currency != "USD":
        raise ReceiptError("the rate card of the receipt is not in USD")
    if not receipt.HasField("at"):
        raise ReceiptError("the receipt has no time")
    convention = _CONVENTIONS.get(receipt.input_convention)
    if convention is None:
        raise ReceiptError(f"the convention {receipt.input_convention} is not known here")
    return CompiledCard(card).evaluate(
        quantities(usage),
        at=instant(receipt.at),
        context=dict(receipt.context),
        convention=convention,
    )


def rate_card(message: pb.RateCard) -> RateCard:
    """A rate card of an answer as what `CompiledCard` evaluates. Raises ReceiptError."""
    try:
        state = PriceState(_name(pb.PriceState.Name(message.state), "PRICE_STATE_"))
        return RateCard(state, tuple(map(_rate, message.rates)))
    except (ValueError, ArithmeticError) as error:
        raise ReceiptError(f"not a rate card: {error}") from None


def quantities(usage: Iterable[pb.MeterQuantity]) -> Mapping[Meter, Quantity]:
    """A usage of a request as what `CompiledCard` evaluates. Raises ReceiptError."""
    found: dict[Meter, Quantity] = {}
    for each in usage:
        try:
            meter, quantity = _meter(each.meter), Decimal(each.quantity)
        except (ValueError, ArithmeticError):
            raise ReceiptError(f"not a quantity of a meter: {each.quantity[:40]!r}") from None
        if meter in found:
            raise ReceiptError(f"{meter} are stated twice")
        found[meter] = quantity
    return found


def instant(message: Timestamp) -> datetime:
    """A time of an answer, to the microsecond."""
    return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1_000)


def _rate(message: pb.Rate) -> Rate:
    return Rate(
        meter=_meter(message.meter),
        price=Decimal(message.price),
        conditions=_conditions(message.conditions),
        per=message.per or 1,
        minimum=message.minimum,
    )


def _conditions(message: pb.Conditions) -> Conditions:
    window = message.utc_window
    return Conditions(
        threshold=_threshold(message.threshold) if message.HasField("threshold") else None,
        context=tuple(sorted(message.context.items())),
        utc_window=UtcWindow(_minute(window.start), _minute(window.end))
        if message.HasField("utc_window")
        else None,
        effective_from=instant(message.effective_from)
        if message.HasField("effective_from")
        else None,
        effective_until=instant(message.effective_until)
        if message.HasField("effective_until")
        else None,
    )


def _threshold(message: pb.Threshold) -> Threshold:
    return Threshold(
        meter=_meter(message.meter),
        comparison=Comparison(_name(pb.Comparison.Name(message.comparison), "COMPARISON_")),
        quantity=message.quantity,
        scope=ThresholdScope(_name(pb.ThresholdScope.Name(message.scope), "THRESHOLD_SCOPE_")),
    )


def _meter(number: pb.Meter.ValueType) -> Meter:
    return Meter(_name(pb.Meter.Name(number), "METER_"))


def _name(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()


def _minute(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)
