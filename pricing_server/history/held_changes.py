"""Held changes, as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pricing_server.domain.held_change import HeldChange, HoldStatus

HeldCursor = tuple[int, int]
"""(1 if it is not open, else 0; id) of the last held change of the previous page."""


@dataclass(frozen=True, slots=True)
class HeldFilter:
    """Which held changes to list; None means any.

    A held feed is one entry; its models are listed only for a `feed_id` or a model.
    """

    statuses: tuple[HoldStatus, ...] = (HoldStatus.OPEN,)
    source: str | None = None
    provider: str | None = None
    model_id: str | None = None
    feed_id: int | None = None


class HeldReader(Protocol):
    """Reads held changes; may raise DatabaseUnavailable."""

    async def held_changes(
        self, criteria: HeldFilter, before: HeldCursor | None, limit: int
    ) -> Sequence[HeldChange]:
        """Open ones first, then newest first, after a cursor."""

    async def held_change(self, held_change_id: int) -> HeldChange | None:
        """One held change or feed, whatever became of it."""
