"""What one source states of one model, and which of several quotes is in force."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from llmpricing.rate_card import PriceState
from pricing_server.domain.override import OVERRIDE
from pricing_server.domain.source import SAYS_NOTHING, Coverage

MISSING_SYNCS_TO_DELIST: Final = 2


@dataclass(frozen=True, slots=True)
class Quote:
    """What one source states of one model."""

    source: str
    rank: int
    is_own_api: bool
    """Whether the source is the API of the model's seller."""
    card_id: str
    state: PriceState
    obtained_at: datetime
    missing_syncs: int = 0
    stated_since: datetime | None = None
    """When the source first stated the card, if that was before `obtained_at`."""
    stated_as: str | None = None
    """The id under which the source states it, if that is another id of the same model."""
    is_inferred: bool = False
    """Whether it is our inference, and not the source's word, that the two ids are one model."""
    is_patch: bool = False
    """Whether it is an override that leaves other rates as the sources state them."""
    is_dated: bool = False
    """Whether a rate of the card begins or ends at a date."""
    percent: Decimal | None = None
    """Set for an override that takes this much of what the sources state, whatever its card."""
    coverage: Coverage = SAYS_NOTHING
    """Where the absence of a rate on the card is a statement of the source."""

    @property
    def since(self) -> datetime:
        """When the source first stated the card, as far as known."""
        return self.stated_since or self.obtained_at

    @property
    def is_listed(self) -> bool:
        """Whether the source still lists the model."""
        return self.missing_syncs < MISSING_SYNCS_TO_DELIST

    def is_own(self, source: str) -> bool:
        """Whether it is what a source states under the model's own id."""
        return self.source == source and self.stated_as is None

    def is_covered_as(self, covered: Covered) -> bool:
        """Whether it is the quote of a covered id, and of the one by which it is covered."""
        return (self.stated_as, self.is_inferred) == (covered.stated_as, covered.is_inferred)

    def covering(self, covered: Covered) -> Quote:
        """The same as the quote of an id that it covers."""
        return replace(self, stated_as=covered.stated_as, is_inferred=covered.is_inferred)

    @property
    def is_ended_override(self) -> bool:
        """Whether it is what is left of an override: no price, and nobody's statement."""
        return self.source == OVERRIDE and self.state is PriceState.UNPRICED


@dataclass(frozen=True, slots=True)
class Covered:
    """A source states this id under another id of the same model."""

    source: str
    stated_as: str
    is_inferred: bool


def precedence(quote: Quote) -> tuple[bool, bool, bool, int, str]:
    """Sort key: of a model's quotes the smallest is in force."""
    return (
        quote.is_ended_override,
        quote.state is PriceState.UNPRICED,
        not quote.is_listed and not quote.is_own_api,
        quote.rank,
        quote.source,
    )
