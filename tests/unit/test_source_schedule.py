"""Which sources a process syncs by itself, and when their data is too old."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from pricing_server.domain.source import KeyUse, Release, Source, SourceEvidence
from pricing_server.domain.source_listing import Listing
from pricing_server.domain.source_log import SourceLog
from pricing_server.scheduler.sync_schedule import Schedule

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def read(document: object, received_at: datetime) -> Listing:
    raise NotImplementedError


ACME = Source(
    "acme", "Acme", 100, read, SourceEvidence.RECORDED, "acme", "https://acme.test/models"
)
WISHES_KEY = replace(ACME, slug="wishes-key", key_use=KeyUse.OPTIONAL)
NEEDS_KEY = replace(ACME, slug="needs-key", key_use=KeyUse.REQUIRED)
HOMELESS = replace(ACME, slug="homeless", endpoint=None)
BUNDLED = replace(ACME, slug="bundled", endpoint=None, release=Release("1.0", NOON, lambda: []))
SOURCES = {each.slug: each for each in (ACME, WISHES_KEY, NEEDS_KEY, HOMELESS, BUNDLED)}


@dataclass
class Operator:
    """What the operator set."""

    urls: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    interval: timedelta | None = 6 * HOUR
    intervals: Mapping[str, timedelta | None] = field(default_factory=dict)

    def url_of(self, source: Source) -> str | None:
        return self.urls.get(source.slug, source.endpoint)

    def key_of(self, source: Source) -> str | None:
        return self.keys.get(source.slug)

    def interval_of(self, source: Source) -> timedelta | None:
        return self.intervals.get(source.slug, self.interval)


def schedule(operator: Operator | None = None) -> Schedule:
    return Schedule(operator or Operator(), SOURCES, NOON)


def obtained(age: timedelta, source: str = "acme") -> SourceLog:
    at = NOON - age
    return SourceLog(source, 1, at, good_started_at=at, good_obtained_at=at)


def test_only_sources_that_can_be_synced_are_scheduled() -> None:
    assert set(schedule().intervals) == {"acme", "wishes-key"}


def test_a_key_and_an_address_put_a_source_on_the_schedule() -> None:
    operator = Operator(urls={"homeless": "http://127.0.0.1/"}, keys={"needs-key": "sk"})
    assert set(schedule(operator).intervals) == {"acme", "wishes-key", "needs-key", "homeless"}


def test_a_source_that_is_off_is_never_due_and_says_so() -> None:
    off = schedule(Operator(intervals={"acme": None}))
    assert set(off.intervals) == {"wishes-key"}
    assert off.next_due(SourceLog("acme")) is None
    assert not off.due(SourceLog("acme"), NOON + 1_000 * HOUR)


def test_what_is_shown_as_next_due_is_when_it_is_due() -> None:
    log = obtained(HOUR)
    due = schedule().next_due(log)
    assert due is not None
    assert not schedule().due(log, due - timedelta(microseconds=1))
    assert schedule().due(log, due)


def test_the_bundled_catalogue_is_left_to_the_start() -> None:
    assert not schedule().due(SourceLog("bundled"), NOON + 1_000 * HOUR)


@pytest.mark.parametrize(
    ("interval", "age", "is_stale"),
    [
        (6 * HOUR, 24 * HOUR, False),
        (6 * HOUR, 25 * HOUR, True),
        # Data that is fetched once in a while is not older than expected when it is that old.
        (48 * HOUR, 95 * HOUR, False),
        (48 * HOUR, 97 * HOUR, True),
        (None, 24 * HOUR, False),
        (None, 25 * HOUR, True),
    ],
)
def test_data_is_stale_when_it_is_older_than_expected(
    interval: timedelta | None, age: timedelta, is_stale: bool
) -> None:
    assert schedule(Operator(interval=interval)).is_stale(obtained(age), NOON) is is_stale


def test_without_data_a_source_is_stale_if_it_is_synced() -> None:
    assert schedule().is_stale(SourceLog("acme"), NOON)
    assert not schedule().is_stale(SourceLog("homeless"), NOON)


def test_a_source_that_this_build_does_not_know_is_neither_synced_nor_stale() -> None:
    log = obtained(1_000 * HOUR, "retired")
    assert not schedule().is_stale(log, NOON)
    assert schedule().next_due(log) is None
