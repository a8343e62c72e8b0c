"""Which sources this process syncs automatically, how often, and when next."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Protocol

from pricing_server.domain.source import KeyUse, Source
from pricing_server.domain.source_log import SourceLog
from pricing_server.scheduler.due import begins_at, is_due

_ALLOWED_MISSES: Final = 2
"""How many intervals old data may be, if that is longer than it counts as fresh."""


class ScheduleSettings(Protocol):
    """What the operator sets for a source."""

    def url_of(self, source: Source) -> str | None:
        """Where to fetch it from: the setting, else the declared endpoint."""

    def key_of(self, source: Source) -> str | None:
        """Its API key, if one is set."""

    def interval_of(self, source: Source) -> timedelta | None:
        """How often it is synced; None: never."""


class Schedule:
    """The sync intervals of all sources.

    A bundled catalogue is not on the schedule: its data changes only with the server, which
    syncs it at start.
    """

    def __init__(
        self, settings: ScheduleSettings, sources: Mapping[str, Source], started_at: datetime
    ) -> None:
        """`started_at` is when this process began; see `due.begins_at`."""
        self._sources = sources
        self._started_at = started_at
        self.intervals: Mapping[str, timedelta] = {
            slug: interval
            for slug, source in sources.items()
            if _can_be_synced(source, settings)
            and (interval := settings.interval_of(source)) is not None
        }
        """By source, for all sources that are synced."""

    def begin(self, started_at: datetime) -> None:
        """Correct when this process began, by the clock of the database."""
        self._started_at = started_at

    def due(self, log: SourceLog, now: datetime) -> bool:
        """Whether a sync of the source is to begin."""
        interval = self.intervals.get(log.source)
        return interval is not None and is_due(log, interval, self._started_at, now)

    def next_due(self, log: SourceLog) -> datetime | None:
        """When the next sync of the source begins; None if it is not synced."""
        interval = self.intervals.get(log.source)
        return None if interval is None else begins_at(log, interval, self._started_at)

    def stale_after(self, source: str) -> timedelta:
        """How old its data may be: as long as it counts as fresh, but at least two intervals."""
        declared = self._sources.get(source)
        fresh_for = declared.fresh_for if declared is not None else timedelta.max
        interval = self.intervals.get(source)
        return fresh_for if interval is None else max(fresh_for, _ALLOWED_MISSES * interval)

    def is_stale(self, log: SourceLog, now: datetime) -> bool:
        """Whether its data is older than `stale_after`, or missing although it is synced."""
        if log.good_obtained_at is None:
            return log.source in self.intervals
        return now - log.good_obtained_at > self.stale_after(log.source)


def _can_be_synced(source: Source, settings: ScheduleSettings) -> bool:
    if source.release is not None or settings.url_of(source) is None:
        return False
    return source.key_use is not KeyUse.REQUIRED or settings.key_of(source) is not None
