"""One change of one model's price, as the audit trail and its readers see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from llmpricing.rate_card import RateCard


class ChangeKind(StrEnum):
    """What happened to a model's price."""

    ADDED = "added"
    CHANGED = "changed"
    DELISTED = "delisted"
    RESTORED = "restored"


class OriginKind(StrEnum):
    """What makes a change."""

    SYNC = "sync"
    REVERT = "revert"
    APPROVAL = "approval"
    OVERRIDE_SET = "override_set"
    OVERRIDE_CLEARED = "override_cleared"
    OVERRIDE_ENDED = "override_ended"


ADMIN: Final = "admin"
"""`actor` of a call with the admin token."""

SCHEDULER: Final = "scheduler"
"""`actor` of the scheduler's own runs."""

SERVER: Final = "server"
"""`actor` of what the server does by itself."""


@dataclass(frozen=True, slots=True)
class ChangeOrigin:
    """Where a change comes from.

    Of the references a committed change has the one that its kind needs, and no other.
    """

    kind: OriginKind
    actor: str
    """Who is known to have acted."""
    note: str = ""
    """What the caller typed: a name or a reason, which nobody has checked."""
    sync_run_id: int | None = None
    """Of a sync; None in a dry run."""
    held_change_id: int | None = None
    """Of an approval: the held change, or the held feed, that was decided."""
    override_id: int | None = None
    """Of an override that was set, was cleared or ended."""
    reverted_run_id: int | None = None


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A change from `old` (None for the first price) to `new`."""

    kind: ChangeKind
    provider: str
    model_id: str
    old: RateCard | None
    new: RateCard
    source: str
    effective_time: datetime
    """When the source's data first stated the new card."""
    changed_at: datetime
    origin: ChangeOrigin
    old_sources: tuple[str, ...] = ()
    """Who stated each rate of the old card."""
    new_sources: tuple[str, ...] = ()
    """Who states each rate of the new card."""
    stated_card_id: str | None = None
    """The card that `source` itself states, which others may complete; None where not known."""
    revision: int | None = None
    """None while not committed, as in a dry run."""
