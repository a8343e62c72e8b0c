"""Overrides as messages of the contract."""

from __future__ import annotations

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.instants import timestamp
from llmpricing.wire.rates import rate_card_message
from pricing_server.domain.head import Head
from pricing_server.domain.override import OverrideOutcome, PriceOverride
from pricing_server.grpc_api.wire.price_changes import price_change
from pricing_server.grpc_api.wire.reads import table_of


def price_override_message(override: PriceOverride) -> pb.PriceOverride:
    """An override that is in force."""
    return pb.PriceOverride(
        override_id=str(override.override_id),
        provider=override.provider,
        model_id=override.model_id,
        rate_card=rate_card_message(override.card),
        reason=override.reason,
        set_by=override.set_by,
        set_time=timestamp(override.set_at),
        until_time=timestamp(override.until) if override.until else None,
    )


def set_response(
    outcome: OverrideOutcome, view: pb.ChangeView.ValueType
) -> pb.SetPriceOverrideResponse:
    """What an override changed."""
    assert outcome.price_override is not None, "one was set"
    return pb.SetPriceOverrideResponse(
        price_change=price_change(outcome.change, view) if outcome.change else None,
        price_override=price_override_message(outcome.price_override),
        covered_model_ids=outcome.covered_model_ids,
        table=table_of(Head(outcome.revision, outcome.epoch)),
    )


def clear_response(
    outcome: OverrideOutcome, view: pb.ChangeView.ValueType
) -> pb.ClearPriceOverrideResponse:
    """What the end of an override changed."""
    return pb.ClearPriceOverrideResponse(
        price_change=price_change(outcome.change, view) if outcome.change else None,
        table=table_of(Head(outcome.revision, outcome.epoch)),
    )
