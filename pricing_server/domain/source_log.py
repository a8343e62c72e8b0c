"""What the log of syncs says of a source."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class SourceLog:
    """What the log says about a source. All instants are the database's."""

    source: str
    newest_run_id: int = 0
    """0 if it has never been synced."""
    newest_started_at: datetime | None = None
    is_in_progress: bool = False
    good_started_at: datetime | None = None
    """When the newest successful run began."""
    good_obtained_at: datetime | None = None
    """When the data that it read was obtained."""
    failures_in_a_row: int = 0
    """Runs that have failed since the newest success, whoever started them."""
    scheduled_failures: int = 0
    """Those of them that the scheduler started."""
    scheduled_failure_at: datetime | None = None
    """When the newest of these ended."""
