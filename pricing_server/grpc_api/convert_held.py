"""A held change as the model's answer shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from llmpricing.schedule import headline
from llmpricing.units import PricingFormat, format_price
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.sync.held import HoldReason, PendingChange

REASONS: Final = {
    reason: pb.HoldReason.Value(f"HOLD_REASON_{reason.name}") for reason in HoldReason
}


def pending_change(pending: PendingChange, per: PricingFormat) -> pb.PendingChange:
    """A held change with the headline that it would bring now."""
    message = pb.PendingChange(
        held_change_id=str(pending.held_change_id),
        source=pending.source,
        reason=REASONS[pending.reason],
    )
    message.held_since.FromDatetime(pending.held_since)
    shown = headline(pending.card, datetime.now(UTC))
    if shown.prompt is not None:
        message.prompt = format_price(shown.prompt, per)
    if shown.completion is not None:
        message.completion = format_price(shown.completion, per)
    return message
