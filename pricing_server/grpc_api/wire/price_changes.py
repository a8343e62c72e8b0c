"""Changes of prices as messages of the contract."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from llmpricing.rate_card import RateDifference, differences
from llmpricing.schedule import headline
from llmpricing.units import PricingFormat, format_price, plain
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.enums import METERS, STATES
from llmpricing.wire.instants import timestamp
from llmpricing.wire.rates import conditions_message, rate_card_message
from pricing_server.domain.override import effective_since
from pricing_server.domain.price_change import ChangeKind, ChangeOrigin, OriginKind, PriceChange
from pricing_server.grpc_api.wire.requests import check_enum
from pricing_server.grpc_api.wire.results import fitting

CHANGE_KINDS: Final = {kind: pb.ChangeKind.Value(f"CHANGE_KIND_{kind.name}") for kind in ChangeKind}
ORIGIN_KINDS: Final = {kind: pb.OriginKind.Value(f"ORIGIN_KIND_{kind.name}") for kind in OriginKind}


def check_view(view: pb.ChangeView.ValueType) -> None:
    """A view that the contract knows. Raises InvalidArgument."""
    check_enum("view", pb.ChangeView, view)


def price_changes(
    changes: Iterable[PriceChange], view: pb.ChangeView.ValueType
) -> list[pb.PriceChange]:
    """The first changes that fit in one answer."""
    return fitting(price_change(change, view) for change in changes)


def price_change(change: PriceChange, view: pb.ChangeView.ValueType) -> pb.PriceChange:
    """A change with both headlines as they were in effect when it was written."""
    at = change.changed_at
    since = effective_since(change.source, change.new, change.effective_time, at)
    after = headline(change.new, at)
    differing = differences(change.old, change.new)
    message = pb.PriceChange(
        kind=CHANGE_KINDS[change.kind],
        provider=change.provider,
        model_id=change.model_id,
        new_state=STATES[after.state],
        meters=dict.fromkeys(METERS[each.rate.meter] for each in differing),
        revision=change.revision,
        changed_time=timestamp(at),
        effective_time=timestamp(since),
        source=change.source,
        origin=_origin(change.origin),
    )
    if after.prompt is not None:
        message.new_input = format_price(after.prompt, PricingFormat.PER_1M_TOKENS)
    if after.completion is not None:
        message.new_output = format_price(after.completion, PricingFormat.PER_1M_TOKENS)
    if change.old is not None:
        before = headline(change.old, at)
        message.old_state = STATES[before.state]
        if before.prompt is not None:
            message.old_input = format_price(before.prompt, PricingFormat.PER_1M_TOKENS)
        if before.completion is not None:
            message.old_output = format_price(before.completion, PricingFormat.PER_1M_TOKENS)
    if view == pb.CHANGE_VIEW_FULL:
        message.rates.extend(map(rate_change, differing))
        message.new_rate_card.CopyFrom(rate_card_message(change.new, change.new_sources))
        if change.old is not None:
            message.old_rate_card.CopyFrom(rate_card_message(change.old, change.old_sources))
    return message


def _origin(origin: ChangeOrigin) -> pb.ChangeOrigin:
    return pb.ChangeOrigin(
        kind=ORIGIN_KINDS[origin.kind],
        actor=origin.actor,
        note=origin.note or None,
        sync_run_id=_id(origin.sync_run_id),
        held_change_id=_id(origin.held_change_id),
        override_id=_id(origin.override_id),
        reverted_run_id=_id(origin.reverted_run_id),
    )


def _id(number: int | None) -> str | None:
    return None if number is None else str(number)


def rate_change(difference: RateDifference) -> pb.RateChange:
    """A rate in which two cards, or two states of one, differ."""
    before, after = difference.old, difference.new
    return pb.RateChange(
        meter=METERS[difference.rate.meter],
        conditions=conditions_message(difference.rate.conditions),
        old_price=plain(before.price) if before else None,
        old_per=before.per if before else None,
        new_price=plain(after.price) if after else None,
        new_per=after.per if after else None,
    )
