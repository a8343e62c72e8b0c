"""Messages of the change stream as logs keep them."""

from __future__ import annotations

from llmpricing.v1 import pricing_pb2 as pb
from tests.integration.torture.log import Change, Event, Held, Message, Model

_EVENTS = {pb.StreamEvent.Value(f"STREAM_EVENT_{event.name}"): event for event in Event}
_KINDS = {
    number: name.removeprefix("CHANGE_KIND_").lower() for name, number in pb.ChangeKind.items()
}


class Decoder:
    """Keeps each change once, however many subscribers it reaches."""

    def __init__(self) -> None:
        self._known: dict[Change, Change] = {}

    def message(self, response: pb.StreamPriceChangesResponse) -> Message:
        known = self._known
        changes = map(_change, response.changes)
        return Message(
            _EVENTS[response.event],
            response.table.revision,
            response.table.epoch,
            response.last_fragment,
            tuple(known.setdefault(change, change) for change in changes),
            tuple(map(_held, response.prices)),
        )


def _change(change: pb.PriceChange) -> Change:
    return Change(
        change.revision,
        change.provider,
        change.model_id,
        _KINDS[change.kind],
        change.source,
        _origin(change.origin),
        change.origin.sync_run_id,
        _card(change.old_rate_card.rate_card_id, change.old_rate_card),
        _card(change.new_rate_card.rate_card_id, change.new_rate_card),
        change.old_input,
        change.new_input,
    )


def _origin(origin: pb.ChangeOrigin) -> str:
    kind = pb.OriginKind.Name(origin.kind).removeprefix("ORIGIN_KIND_").lower()
    references = origin.held_change_id, origin.override_id, origin.reverted_run_id
    return "|".join((kind, origin.actor, origin.note, *references))


def _card(card_id: str, card: pb.RateCard) -> str:
    """The id, of a card that came in full; else what no history has."""
    return card_id if card.rate_card_id == card_id else f"{card_id} and the card {card}"


def _held(price: pb.ModelPricing) -> tuple[Model, Held]:
    held = Held(price.rate_card_id, price.price_revision, price.HasField("delisted_time"))
    return (price.provider, price.model_id), held
