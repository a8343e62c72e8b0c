"""CalculateCost, BatchCalculateCost and ReplayReceipt: their requests and answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from llmpricing.cost import Cost, CostLine
from llmpricing.meters import Meter
from llmpricing.rate_card import MAX_QUANTITY, PriceState, RateCard
from llmpricing.raw_usage import ApiFlavour, RawUsageError, read_usage
from llmpricing.receipts import RULES
from llmpricing.units import PricingFormat, plain
from llmpricing.usage import MAX_FRACTIONAL_DIGITS, InputConvention, Quantity
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.costs import CostAnswer, CostRequest, Costs, PriceProof, Receipt, Used
from pricing_server.errors import InvalidArgument, PricingError, RulesUnknown
from pricing_server.grpc_api import convert, convert_rates
from pricing_server.grpc_api.batch import check_size, fitting_results, result_error
from pricing_server.grpc_api.convert_held import pending_change
from pricing_server.grpc_api.pricing import asked_of
from pricing_server.grpc_api.read_rates import (
    METERS,
    check_context,
    instant_of,
    known_value,
    rates_of,
)
from pricing_server.grpc_api.requests import check_name
from pricing_server.lookup.price import Head, Layer

_CONVENTIONS: Final[Mapping[int, InputConvention]] = {
    pb.INPUT_CONVENTION_UNSPECIFIED: InputConvention.INCLUSIVE,
    pb.INPUT_CONVENTION_INCLUSIVE: InputConvention.INCLUSIVE,
    pb.INPUT_CONVENTION_EXCLUSIVE: InputConvention.EXCLUSIVE,
}
_CONVENTION_NUMBERS: Final = {
    one: pb.InputConvention.Value(f"INPUT_CONVENTION_{one.name}") for one in InputConvention
}
_PROOFS: Final = {one: pb.PriceProof.Value(f"PRICE_PROOF_{one.name}") for one in PriceProof}
_STATES: Final[Mapping[int, PriceState]] = {
    number: state for state, number in convert_rates.STATES.items()
}
_LAYERS: Final[Mapping[int, Layer]] = {number: layer for layer, number in convert.LAYERS.items()}
_FLAVOURS: Final[Mapping[int, ApiFlavour]] = {
    pb.ApiFlavour.Value(f"API_FLAVOUR_{flavour.name}"): flavour for flavour in ApiFlavour
}
_QUANTITY: Final = re.compile(rf"[0-9]{{1,19}}(\.[0-9]{{1,{MAX_FRACTIONAL_DIGITS}}})?")


async def calculate_cost(
    costs: Costs, request: pb.CalculateCostRequest
) -> pb.CalculateCostResponse:
    """Answer CalculateCost."""
    return _response(await costs.calculate(_request(request)))


async def batch_calculate_cost(
    costs: Costs, request: pb.BatchCalculateCostRequest
) -> pb.BatchCalculateCostResponse:
    """Answer BatchCalculateCost."""
    check_size("requests", request.requests)
    requests: list[CostRequest | PricingError] = []
    for each in request.requests:
        try:
            requests.append(_request(each))
        except PricingError as error:
            requests.append(error)
    answers = await costs.calculate_all(requests)
    # In a thread, so that other calls go on while a thousand receipts are written out.
    return await asyncio.to_thread(_batch_response, answers)


async def replay_receipt(
    costs: Costs, request: pb.ReplayReceiptRequest
) -> pb.ReplayReceiptResponse:
    """Answer ReplayReceipt."""
    receipt = _receipt(request.receipt)
    cost = costs.replay(receipt, _usage(request.usage))
    return pb.ReplayReceiptResponse(
        total=_total(cost),
        currency="USD",
        lines=map(_line, cost.lines),
        unpriced=quantities(cost.unpriced),
        unused_context=dict(cost.unused_context),
        price_proof=_PROOFS[await costs.prove(receipt)],
    )


def _request(request: pb.CalculateCostRequest) -> CostRequest:
    if request.HasField("raw_usage"):
        return _read_request(request)
    return CostRequest(asked_of(request, "at"), used_of(request))


def _read_request(request: pb.CalculateCostRequest) -> CostRequest:
    """A request that has the provider's own account of the call."""
    for field in ("usage", "input_convention"):
        if getattr(request, field):
            raise InvalidArgument(field, "is given beside raw_usage")
    check_context("context", request.context)
    raw = request.raw_usage
    flavour = known_value(raw.api_flavour, _FLAVOURS, "raw_usage.api_flavour")
    try:
        read = read_usage(raw.json, flavour)
    except RawUsageError as error:
        raise InvalidArgument("raw_usage.json", f"cannot be read: {error}") from None
    used = Used(read.usage, InputConvention.INCLUSIVE, {**read.context, **request.context}, read)
    return CostRequest(asked_of(request, "at", read.model), used)


def used_of(request: pb.CalculateCostRequest | pb.ComparePricesRequest) -> Used:
    """The usage in a request, by meters. Raises InvalidArgument."""
    check_context("context", request.context)
    convention = known_value(request.input_convention, _CONVENTIONS, "input_convention")
    return Used(_usage(request.usage), convention, dict(request.context))


def _usage(stated: Iterable[pb.MeterQuantity]) -> dict[Meter, Quantity]:
    usage: dict[Meter, Quantity] = {}
    for at, each in enumerate(stated):
        meter = known_value(each.meter, METERS, f"usage[{at}].meter")
        if meter in usage:
            raise InvalidArgument(f"usage[{at}].meter", "is stated twice")
        if not _QUANTITY.fullmatch(each.quantity):
            raise InvalidArgument(
                f"usage[{at}].quantity",
                f"is no number: digits with at most one point, at most {MAX_FRACTIONAL_DIGITS} "
                "behind it",
            )
        quantity: Quantity = Decimal(each.quantity)
        if quantity > MAX_QUANTITY:
            raise InvalidArgument(f"usage[{at}].quantity", f"is over {MAX_QUANTITY}")
        usage[meter] = int(quantity) if quantity == int(quantity) else quantity
    if not usage:
        raise InvalidArgument("usage", "is empty")
    return usage


def _receipt(message: pb.Receipt) -> Receipt:
    if message.rules > RULES:
        raise RulesUnknown(message.rules, RULES)
    if message.rules != RULES:
        raise InvalidArgument("receipt.rules", "is missing" if not message.rules else "is unknown")
    card_message = message.rate_card
    state = known_value(card_message.state, _STATES, "receipt.rate_card.state")
    try:
        card = RateCard(state, tuple(rates_of(card_message.rates, "receipt.rate_card.rates")))
    except ValueError as error:
        raise InvalidArgument("receipt.rate_card", f"is none: {error}") from None
    if card.card_id != card_message.rate_card_id:
        raise InvalidArgument("receipt.rate_card", "is not the one of its rate_card_id")
    if card_message.currency != "USD":
        raise InvalidArgument("receipt.rate_card.currency", "is not USD")
    if not message.HasField("at"):
        raise InvalidArgument("receipt.at", "is missing")
    check_context("receipt.context", message.context)
    has_head = message.HasField("revision")
    return Receipt(
        provider=check_name("receipt.provider", message.provider),
        model_id=check_name("receipt.model_id", message.model_id),
        card=card,
        layer=known_value(message.pricing_source, _LAYERS, "receipt.pricing_source"),
        at=instant_of(message.at, "receipt.at"),
        head=Head(message.revision, message.epoch) if has_head else None,
        convention=known_value(message.input_convention, _CONVENTIONS, "receipt.input_convention"),
        context=dict(message.context),
    )


def _batch_response(
    answers: Sequence[CostAnswer | PricingError],
) -> pb.BatchCalculateCostResponse:
    def result(answer: CostAnswer | PricingError) -> pb.CostResult:
        if isinstance(answer, PricingError):
            return pb.CostResult(error=result_error(answer))
        return pb.CostResult(cost=_response(answer))

    return pb.BatchCalculateCostResponse(
        results=fitting_results(map(result, answers), lambda error: pb.CostResult(error=error))
    )


def _response(answered: CostAnswer) -> pb.CalculateCostResponse:
    answer, cost = answered.answer, answered.cost
    price = answer.evaluated.price
    response = pb.CalculateCostResponse(
        total=_total(cost),
        currency="USD",
        lines=map(_line, cost.lines),
        unpriced=quantities(cost.unpriced),
        unused_context=dict(cost.unused_context),
        receipt=_receipt_message(answered),
        match=convert.match(answer.evaluated),
        freshness=convert.FRESHNESS[answer.freshness],
        source_detail=answer.source_detail,
    )
    read = answered.request.used.read
    if read is not None:
        response.usage.extend(quantities(read.usage.items()))
        response.unknown_usage.extend(
            pb.StatedValue(path=each.path, value=each.value) for each in read.unknown
        )
    if price.pending is not None:
        pending = pending_change(price.pending, PricingFormat.PER_1M_TOKENS)
        response.pending_change.CopyFrom(pending)
    return response


def _receipt_message(answered: CostAnswer) -> pb.Receipt:
    answer, used = answered.answer, answered.request.used
    price, head, when = answer.evaluated.price, answer.head, answered.request.query.when
    message = pb.Receipt(
        rules=RULES,
        provider=price.provider,
        model_id=price.model_id,
        rate_card=convert_rates.rate_card(price.card),
        pricing_source=convert.LAYERS[price.layer],
        source=price.source,
        revision=head.revision if head else None,
        epoch=head.epoch if head else "",
        input_convention=_CONVENTION_NUMBERS[used.convention],
        context=used.context,
        at=convert_rates.timestamp(answer.at),
        match_rule=convert.MATCH_RULES[answer.evaluated.rule],
    )
    if when is not None and when.known_at is not None:
        message.known_at.FromDatetime(when.known_at)
    return message


def _line(line: CostLine) -> pb.CostLine:
    return pb.CostLine(
        meter=convert_rates.METERS[line.meter],
        quantity=plain(line.quantity),
        rate=convert_rates.rate_message(line.rate),
        condition=convert_rates.condition_text(line.rate.conditions),
        amount=plain(line.amount),
    )


def quantities(stated: Iterable[tuple[Meter, Quantity]]) -> list[pb.MeterQuantity]:
    """Quantities by meter as messages."""
    return [
        pb.MeterQuantity(meter=convert_rates.METERS[meter], quantity=plain(Decimal(quantity)))
        for meter, quantity in stated
    ]


def _total(cost: Cost) -> str | None:
    return None if cost.unpriced and not cost.lines else plain(cost.total)
