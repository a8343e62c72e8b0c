"""Held changes as messages of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmpricing.units import plain
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.enums import METERS, by_number
from llmpricing.wire.instants import timestamp
from llmpricing.wire.rates import rate_card_message
from pricing_server.domain.held_change import HeldChange, HoldDecision, HoldEvidence, HoldStatus
from pricing_server.grpc_api.wire.prices import HOLD_REASONS

STATUSES: Final = {
    status: pb.HoldStatus.Value(f"HOLD_STATUS_{status.name}") for status in HoldStatus
}
STATUS_OF: Final[Mapping[int, HoldStatus]] = by_number(STATUSES)
DECISION_OF: Final[Mapping[int, HoldDecision]] = {
    pb.HoldDecision.Value(f"HOLD_DECISION_{decision.name}"): decision for decision in HoldDecision
}


def held_change_message(held: HeldChange) -> pb.HeldChange:
    """A held change, with the cards before and after."""
    return pb.HeldChange(
        held_change_id=str(held.held_change_id),
        source=held.source,
        provider=held.provider or None,
        model_id=held.model_id or None,
        feed_id=None if held.feed_id is None else str(held.feed_id),
        models=held.models,
        reason=HOLD_REASONS[held.reason],
        evidence=map(_evidence, held.evidence),
        old_rate_card=rate_card_message(held.old) if held.old is not None else None,
        new_rate_card=rate_card_message(held.new) if held.new is not None else None,
        fragment=held.fragment or None,
        status=STATUSES[held.status],
        held_time=timestamp(held.held_since),
        last_stated_time=timestamp(held.last_stated),
        sync_run_id=str(held.last_run_id),
        resolved_time=timestamp(held.resolved_at) if held.resolved_at is not None else None,
        resolved_by=held.resolved_by or None,
        note=held.note or None,
    )


def _evidence(one: HoldEvidence) -> pb.HoldEvidence:
    return pb.HoldEvidence(
        meter=METERS[one.meter] if one.meter is not None else pb.METER_UNSPECIFIED,
        stated=plain(one.stated) if one.stated is not None else None,
        reference=plain(one.reference) if one.reference is not None else None,
        reference_source=one.reference_source or None,
        ratio=plain(one.ratio),
        references=one.references,
    )
