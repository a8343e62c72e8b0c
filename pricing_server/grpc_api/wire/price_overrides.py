"""Overrides as messages of the contract."""

from __future__ import annotations

from typing import Final

from llmpricing.units import plain
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.instants import timestamp
from llmpricing.wire.quantities import quantity_messages
from llmpricing.wire.rates import rate_card_message
from pricing_server.costs.sample import sample_cost, sample_usage
from pricing_server.domain.head import Head
from pricing_server.domain.override import (
    OVERRIDE,
    OverrideEnd,
    OverrideOutcome,
    OverridePreview,
    OverrideState,
    PriceOverride,
)
from pricing_server.grpc_api.wire.costs import cost_message
from pricing_server.grpc_api.wire.price_changes import ORIGIN_KINDS, price_change
from pricing_server.grpc_api.wire.reads import table_of

OVERRIDE_STATES: Final = {
    state: pb.PriceOverrideState.Value(f"PRICE_OVERRIDE_STATE_{state.name}")
    for state in OverrideState
}


def price_override_message(override: PriceOverride) -> pb.PriceOverride:
    """An override, with its end if it has ended."""
    return pb.PriceOverride(
        override_id=str(override.override_id),
        provider=override.provider,
        model_id=override.model_id,
        rate_card=rate_card_message(override.card, [OVERRIDE] * len(override.card.rates)),
        reason=override.reason,
        set_by=override.set_by,
        set_time=timestamp(override.set_at),
        until_time=timestamp(override.until) if override.until else None,
        state=OVERRIDE_STATES[override.state],
        end=_end(override.end) if override.end else None,
        replace_card=override.replace_card,
        percent=plain(override.percent) if override.percent is not None else None,
    )


def _end(end: OverrideEnd) -> pb.PriceOverrideEnd:
    return pb.PriceOverrideEnd(
        kind=ORIGIN_KINDS[end.origin.kind],
        actor=end.origin.actor,
        note=end.origin.note or None,
        end_time=timestamp(end.at),
    )


def set_response(
    outcome: OverrideOutcome, view: pb.ChangeView.ValueType
) -> pb.SetPriceOverrideResponse:
    """What an override changed."""
    made = outcome.price_override
    return pb.SetPriceOverrideResponse(
        price_change=price_change(outcome.change, view) if outcome.change else None,
        price_override=price_override_message(made) if made is not None else None,
        covered_model_ids=outcome.covered_model_ids,
        table=table_of(Head(outcome.revision, outcome.epoch)),
        preview=_preview(outcome.preview) if outcome.preview else None,
    )


def clear_response(
    outcome: OverrideOutcome, view: pb.ChangeView.ValueType
) -> pb.ClearPriceOverrideResponse:
    """What the end of an override changed."""
    return pb.ClearPriceOverrideResponse(
        price_change=price_change(outcome.change, view) if outcome.change else None,
        table=table_of(Head(outcome.revision, outcome.epoch)),
        preview=_preview(outcome.preview) if outcome.preview else None,
    )


def _preview(preview: OverridePreview) -> pb.PriceOverridePreview:
    old, new, at = preview.old, preview.new, preview.at
    usage = sample_usage([card for card in (old, new) if card is not None])
    before = sample_cost(old, usage, at) if old is not None else None
    after = sample_cost(new, usage, at)
    return pb.PriceOverridePreview(
        old_rate_card=rate_card_message(old, preview.old_sources) if old is not None else None,
        new_rate_card=rate_card_message(new, preview.new_sources),
        sample_usage=quantity_messages(usage.items()),
        old_cost=cost_message(before) if before is not None else None,
        new_cost=cost_message(after) if after is not None else None,
        needs_confirm=preview.needs_confirm,
    )
