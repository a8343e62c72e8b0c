"""What the change stream needs of the history of prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, Self

from pricing_server.domain.head import Head
from pricing_server.domain.price import PricePage
from pricing_server.domain.price_change import PriceChange
from pricing_server.stream.messages import EVERYTHING, Filter

PAGE_ROWS: Final = 500
READ_SECONDS: Final = 3.0
"""How long reading a page may take before it is tried again."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the history: after one model's change in one revision."""

    revision: int
    model_key: int

    @classmethod
    def after(cls, revision: int) -> Self:
        """The place after a whole revision."""
        return cls(revision, 2**63 - 1)


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Changes in ascending order, and the state of the price table that they were read at."""

    changes: Sequence[PriceChange]
    head: Head
    next: Cursor | None
    """After everything that was looked at, with or without a match; None on the last page."""


class ChangeHistory(Protocol):
    """Reads of bounded work. Each raises DatabaseUnavailable."""

    async def head(self) -> Head:
        """The state of the price table now."""

    async def recent(self, upto: int, changes: int) -> int:
        """The revision after which there are at most `changes` changes up to `upto`."""

    async def changes(
        self, after: Cursor, upto: int, limit: int, criteria: Filter = EVERYTHING
    ) -> ChangePage:
        """The changes after a cursor up to a revision that pass, among the next `limit` rows."""

    async def prices_at(
        self, revision: int, after_model: int, limit: int, criteria: Filter
    ) -> PricePage:
        """The prices of the next `limit` models that pass, as they were at a revision."""


def revision_of(change: PriceChange) -> int:
    """The revision of a change that is in the history."""
    assert change.revision is not None, "only a dry run's changes have none"
    return change.revision
