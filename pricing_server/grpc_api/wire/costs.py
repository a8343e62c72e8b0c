"""Costs and receipts as messages, and usages and receipts of requests as what they say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Final

from llmpricing.cost import Cost, CostLine
from llmpricing.place import with_place
from llmpricing.rate_card import Comparison, Conditions, ThresholdScope, clock_time
from llmpricing.raw_usage import ApiFlavour, RawUsageError, read_usage
from llmpricing.receipts import RULES
from llmpricing.units import PricingFormat, plain
from llmpricing.usage import InputConvention
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.enums import CONVENTION_OF, CONVENTIONS, METERS
from llmpricing.wire.instants import timestamp
from llmpricing.wire.quantities import quantity_messages
from llmpricing.wire.rates import rate_card_message, rate_message
from pricing_server.costs.costs import CostAnswer, PriceProof, Receipt, Used
from pricing_server.domain.errors import InvalidArgument, RulesUnknown
from pricing_server.domain.head import Head
from pricing_server.grpc_api.wire.prices import MATCH_RULES, match_message, pending_change
from pricing_server.grpc_api.wire.reads import FRESHNESS, LAYER_OF, LAYERS, table_of
from pricing_server.grpc_api.wire.requests import (
    check_context,
    check_name,
    cost_basis_of,
    known_value,
    usage_of,
)

PROOFS: Final = {one: pb.PriceProof.Value(f"PRICE_PROOF_{one.name}") for one in PriceProof}
_FLAVOURS: Final[Mapping[int, ApiFlavour]] = {
    pb.ApiFlavour.Value(f"API_FLAVOUR_{flavour.name}"): flavour for flavour in ApiFlavour
}


def used_of(request: pb.CalculateCostRequest | pb.ComparePricesRequest) -> Used:
    """The usage in a request, by meters. Raises InvalidArgument."""
    check_context(request.context, "context")
    convention = known_value(request.input_convention, CONVENTION_OF, "input_convention")
    return Used(usage_of(request.usage), convention, with_place(request.context))


def raw_used_of(request: pb.CalculateCostRequest) -> Used:
    """The usage in a provider's own account of the call. Raises InvalidArgument."""
    for field in ("usage", "input_convention"):
        if getattr(request, field):
            raise InvalidArgument(field, "is given beside raw_usage")
    check_context(request.context, "context")
    raw = request.raw_usage
    flavour = known_value(raw.api_flavour, _FLAVOURS, "raw_usage.api_flavour")
    try:
        read = read_usage(raw.json, flavour)
    except RawUsageError as error:
        raise InvalidArgument("raw_usage.json", f"cannot be read: {error}") from None
    context = with_place({**read.context, **request.context})
    return Used(read.usage, InputConvention.INCLUSIVE, context, read)


def receipt_of(message: pb.Receipt) -> Receipt:
    """A receipt that a caller kept. Raises InvalidArgument, RulesUnknown."""
    if message.rules > RULES:
        raise RulesUnknown(message.rules, RULES)
    if message.rules != RULES:
        raise InvalidArgument("receipt.rules", "is missing" if not message.rules else "is unknown")
    basis = cost_basis_of(message, "receipt")
    table = message.table
    return Receipt(
        provider=check_name("receipt.provider", message.provider),
        model_id=check_name("receipt.model_id", message.model_id),
        card=basis.card,
        layer=known_value(message.pricing_source, LAYER_OF, "receipt.pricing_source"),
        at=basis.as_of,
        head=Head(table.revision, table.epoch) if message.HasField("table") else None,
        convention=basis.convention,
        context=basis.context,
    )


def cost_response(answered: CostAnswer, view: pb.ReceiptView.ValueType) -> pb.CalculateCostResponse:
    """The answer to a single request."""
    response = pb.CalculateCostResponse()
    _fill(response, answered, view)
    return response


def cost_result(answered: CostAnswer, view: pb.ReceiptView.ValueType) -> pb.CostResult:
    """The answer to a request of a batch."""
    result = pb.CostResult()
    _fill(result, answered, view)
    return result


def cost_message(cost: Cost, unknown_usage: Iterable[pb.StatedValue] = ()) -> pb.Cost:
    """A cost, line by line."""
    is_known = cost.lines or not cost.unpriced
    return pb.Cost(
        total=plain(cost.total) if is_known else None,
        currency="USD",
        lines=map(_line, cost.lines),
        unpriced=quantity_messages(cost.unpriced),
        unused_context=dict(cost.unused_context),
        unknown_usage=unknown_usage,
    )


def _fill(
    message: pb.CalculateCostResponse | pb.CostResult,
    answered: CostAnswer,
    view: pb.ReceiptView.ValueType,
) -> None:
    answer, read = answered.answer, answered.request.used.read
    unknown = read.unknown if read is not None else ()
    stated = [pb.StatedValue(path=each.path, value=each.value) for each in unknown]
    message.cost.CopyFrom(cost_message(answered.cost, stated))
    message.match.CopyFrom(match_message(answer.evaluated))
    message.freshness = FRESHNESS[answer.freshness]
    message.source_detail = answer.source_detail
    if (table := table_of(answer.head)) is not None:
        message.table.CopyFrom(table)
    if (pending := answer.evaluated.price.pending) is not None:
        message.pending_change.CopyFrom(pending_change(pending, PricingFormat.PER_1M_TOKENS))
    if read is not None:
        message.usage.extend(quantity_messages(read.usage.items()))
    if view == pb.RECEIPT_VIEW_PLAIN:
        message.receipt.CopyFrom(_receipt_message(answered))


def _receipt_message(answered: CostAnswer) -> pb.Receipt:
    answer, used = answered.answer, answered.request.used
    price, when = answer.evaluated.price, answered.request.query.when
    known_at = when.known_at if when is not None else None
    return pb.Receipt(
        rules=RULES,
        provider=price.provider,
        model_id=price.model_id,
        rate_card=rate_card_message(price.card, price.stated_by),
        pricing_source=LAYERS[price.layer],
        source=price.source,
        table=table_of(answer.head),
        input_convention=CONVENTIONS[used.convention],
        context=used.context,
        as_of=timestamp(answer.at),
        known_at=timestamp(known_at) if known_at is not None else None,
        match_rule=MATCH_RULES[answer.evaluated.rule],
    )


def _line(line: CostLine) -> pb.CostLine:
    return pb.CostLine(
        meter=METERS[line.meter],
        quantity=plain(Decimal(line.quantity)),
        rate=rate_message(line.rate),
        condition=condition_text(line.rate.conditions) or None,
        amount=plain(line.amount),
    )


def condition_text(when: Conditions) -> str:
    """When a rate applies, for people; empty if always."""
    return ", ".join(_condition_parts(when))


def _condition_parts(when: Conditions) -> Iterator[str]:
    threshold = when.threshold
    if threshold is not None:
        size = f"{threshold.quantity} {threshold.meter}"
        if threshold.scope is ThresholdScope.EXCESS:
            yield f"beyond {size}"
        elif threshold.comparison is Comparison.ABOVE:
            yield f"above {size}"
        else:
            yield f"from {size}"
    for key, value in when.context:
        yield f"{key}={value}"
    if when.utc_window is not None:
        window = when.utc_window
        # A comma stands between conditions.
        days = "/".join(day.name[:3].capitalize() for day in window.days)
        hours = f"{clock_time(window.start)} to {clock_time(window.end)} UTC"
        yield f"{hours} on {days}" if days else hours
    if when.effective_from is not None:
        yield f"since {when.effective_from.isoformat()}"
    if when.effective_until is not None:
        yield f"until {when.effective_until.isoformat()}"
