"""Prices as messages of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Context
from typing import Final

from llmpricing.matching.outcome import MatchRule
from llmpricing.schedule import headline
from llmpricing.units import PricingFormat, format_price, plain
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.enums import METERS, STATES
from llmpricing.wire.instants import timestamp
from llmpricing.wire.rates import rate_messages
from pricing_server.domain.disagreement import Disagreement
from pricing_server.domain.held_change import HoldReason, PendingChange
from pricing_server.grpc_api.wire.reads import FRESHNESS, LAYERS, table_of
from pricing_server.lookup.answer import Answer
from pricing_server.lookup.evaluated_price import EvaluatedPrice

MATCH_RULES: Final = {rule: pb.MatchRule.Value(f"MATCH_RULE_{rule.name}") for rule in MatchRule}
HOLD_REASONS: Final = {
    reason: pb.HoldReason.Value(f"HOLD_REASON_{reason.name}") for reason in HoldReason
}
_SIX_DIGITS: Final = Context(prec=6)
UNITS: Final[Mapping[pb.PriceUnit.ValueType, PricingFormat]] = {
    pb.PRICE_UNIT_PER_1M_TOKENS: PricingFormat.PER_1M_TOKENS,
    pb.PRICE_UNIT_PER_1K_TOKENS: PricingFormat.PER_1K_TOKENS,
    pb.PRICE_UNIT_PER_TOKEN: PricingFormat.PER_TOKEN,
}


def format_of(unit: pb.PriceUnit.ValueType) -> PricingFormat:
    """How prices are written in a unit that the contract knows."""
    return UNITS[unit or pb.PRICE_UNIT_PER_1M_TOKENS]


def get_pricing_response(answer: Answer, unit: pb.PriceUnit.ValueType) -> pb.GetPricingResponse:
    """The answer with its headline in `unit`."""
    return pb.GetPricingResponse(
        pricing=model_pricing(answer, unit),
        match=match_message(answer.evaluated),
        table=table_of(answer.head),
    )


def match_message(evaluated: EvaluatedPrice) -> pb.Match:
    """Which model answered and why."""
    return pb.Match(
        provider=evaluated.price.provider,
        model_id=evaluated.price.model_id,
        rule=MATCH_RULES[evaluated.rule],
    )


def model_pricing(
    answer: Answer, unit: pb.PriceUnit.ValueType, *, with_rates: bool = True
) -> pb.ModelPricing:
    """What a model costs, with its headline in `unit`."""
    evaluated = answer.evaluated
    price, shown = evaluated.price, evaluated.headline
    per = format_of(unit)
    pricing = pb.ModelPricing(
        provider=price.provider,
        model_id=price.model_id,
        unit=unit or pb.PRICE_UNIT_PER_1M_TOKENS,
        rates=rate_messages(price.card, price.stated_by) if with_rates else (),
        state=STATES[shown.state],
        pricing_source=LAYERS[price.layer],
        source_detail=answer.source_detail,
        stated_as=price.stated_as,
        currency="USD",
        effective_time=timestamp(evaluated.effective_time),
        verified_time=timestamp(price.obtained_at),
        freshness=FRESHNESS[answer.freshness],
        rate_card_id=price.card.card_id,
        alias_target=price.alias_target,
        hugging_face_id=price.hugging_face_id,
        context_length=price.context_length,
        retirement_source=price.retirement_source,
        successor=price.successor,
        price_revision=price.price_revision,
        disagreements=map(_disagreement, price.disagreements),
    )
    if shown.prompt is not None:
        pricing.prompt = format_price(shown.prompt, per)
    if shown.completion is not None:
        pricing.completion = format_price(shown.completion, per)
    if shown.request is not None:
        pricing.request = format_price(shown.request)
    if shown.image is not None:
        pricing.image = format_price(shown.image)
    if evaluated.valid_until is not None:
        pricing.valid_until_time.FromDatetime(evaluated.valid_until)
    if price.pending is not None:
        pricing.pending_change.CopyFrom(pending_change(price.pending, per))
    if price.retirement_time is not None:
        pricing.retirement_time.FromDatetime(price.retirement_time)
    if price.delisted_at is not None:
        pricing.delisted_time.FromDatetime(price.delisted_at)
    return pricing


def pending_change(pending: PendingChange, per: PricingFormat) -> pb.PendingChange:
    """A held change as the model's answer shows it: with the headline that it would bring now."""
    message = pb.PendingChange(
        held_change_id=str(pending.held_change_id),
        source=pending.source,
        reason=HOLD_REASONS[pending.reason],
        held_time=timestamp(pending.held_since),
    )
    shown = headline(pending.card, datetime.now(UTC))
    if shown.prompt is not None:
        message.prompt = format_price(shown.prompt, per)
    if shown.completion is not None:
        message.completion = format_price(shown.completion, per)
    return message


def _disagreement(found: Disagreement) -> pb.PriceDisagreement:
    lower, higher = sorted((found.price, found.other_price))
    return pb.PriceDisagreement(
        source=found.source,
        meter=METERS[found.meter],
        price=plain(found.price),
        other_price=plain(found.other_price),
        ratio=plain(_SIX_DIGITS.divide(higher, lower)) if lower else None,
    )
