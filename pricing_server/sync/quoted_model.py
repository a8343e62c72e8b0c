"""A quote that is to be written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from pricing_server.domain.names import ModelName
from pricing_server.domain.source_listing import ListedModel
from pricing_server.sync.table_state import StatedHold


@dataclass(frozen=True, slots=True)
class QuotedModel:
    """A listed model with the card that its quote is to have, and when that was stated."""

    listed: ListedModel
    card_id: str
    obtained_at: datetime
    is_confirmed: bool = True
    """Whether the listing states this card."""
    stated_since: datetime | None = None
    """When the source first stated the card, if that was before `obtained_at`."""
    source: str | None = None
    """Of a quote of another source than the run's, and the run that read it."""
    sync_run_id: int | None = None

    @classmethod
    def released(cls, key: ModelName, hold: StatedHold) -> Self:
        """What is to be written of a held change that comes into force."""
        listed = ListedModel(
            *key,
            hold.card,
            hold.fragment,
            hugging_face_id=hold.hugging_face_id,
            canonical_slug=hold.canonical_slug,
            alias_target=hold.alias_target,
            context_length=hold.context_length,
        )
        return cls(
            listed,
            hold.card.card_id,
            hold.last_obtained_at,
            stated_since=hold.obtained_at,
            source=hold.source,
            sync_run_id=hold.last_run,
        )
