"""When a source is due for a sync: a pure function of its log, so that all processes agree.

After a success a source is due when its interval has passed. After failures of the scheduler
it is due when a backoff has passed, which doubles with each failure up to the interval. Both
are shortened by up to a tenth, so that sources do not stay in step. A failed run that a person
started changes nothing; a successful one does, whoever started it.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Final

from pricing_server.domain.source_log import SourceLog

JITTER: Final = 0.1
"""The share of a delay that may be cut off."""

FIRST_BACKOFF: Final = timedelta(minutes=5)
FIRST_DELAY: Final = timedelta(seconds=60)
"""How soon, at the latest, a process that has just started syncs a source that is due."""

_SOONEST: Final = 1 / 6
_MOST_DOUBLINGS: Final = 20
"""Ten years: beyond any interval, and within what a timedelta holds."""


def due_time(log: SourceLog, interval: timedelta) -> datetime | None:
    """When the source is due next; None means at once, since it has never been tried.

    A run in progress is assumed to succeed.
    """
    if log.is_in_progress and log.newest_started_at is not None:
        return log.newest_started_at + shortened(interval, log.source, log.newest_started_at)
    if log.scheduled_failures and log.scheduled_failure_at is not None:
        delay = backoff(log.scheduled_failures, interval)
        return log.scheduled_failure_at + shortened(delay, log.source, log.scheduled_failure_at)
    if log.good_started_at is not None:
        return log.good_started_at + shortened(interval, log.source, log.good_started_at)
    return None


def begins_at(log: SourceLog, interval: timedelta, started_at: datetime) -> datetime:
    """When a process that has run since `started_at` begins the next sync of the source.

    That is when it is due, but not in the first seconds of the process, so that it delays
    nothing else at start, and not all sources that are due begin at once.
    """
    earliest = started_at + first_delay(log.source, interval)
    due = due_time(log, interval)
    return earliest if due is None else max(due, earliest)


def is_due(log: SourceLog, interval: timedelta, started_at: datetime, now: datetime) -> bool:
    """Whether a process that has run since `started_at` should sync the source now."""
    return not log.is_in_progress and begins_at(log, interval, started_at) <= now


def backoff(failures: int, interval: timedelta) -> timedelta:
    """How long to wait after one or more failures in a row."""
    return min(interval, FIRST_BACKOFF * (1 << min(failures - 1, _MOST_DOUBLINGS)))


def first_delay(source: str, interval: timedelta) -> timedelta:
    """How long after its start a process first syncs a source: 10 to 60 seconds."""
    longest = min(FIRST_DELAY, interval)
    return longest * (_SOONEST + (1 - _SOONEST) * _fraction(source))


def shortened(delay: timedelta, source: str, since: datetime) -> timedelta:
    """The delay without its jitter, which is the same in every process for a source and instant."""
    return delay * (1 - JITTER * _fraction(f"{source} {since.timestamp()}"))


def _fraction(text: str) -> float:
    """A number from 0 up to but not 1 that looks random and is always the same."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48
