"""When a source is due: never twice for one due time, never not at all, and alike everywhere."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pricing_server.domain.source_log import SourceLog
from pricing_server.scheduler.due import (
    FIRST_BACKOFF,
    FIRST_DELAY,
    JITTER,
    backoff,
    begins_at,
    due_time,
    first_delay,
    is_due,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

intervals = st.timedeltas(timedelta(seconds=1), timedelta(days=366))
instants = st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
slugs = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)


def synced(at: datetime = NOON, source: str = "acme") -> SourceLog:
    """The log after one success."""
    return SourceLog(source, 1, at, good_started_at=at, good_obtained_at=at)


def failed(times: int, at: datetime = NOON, source: str = "acme") -> SourceLog:
    """The log after so many scheduled failures and nothing else."""
    return SourceLog(
        source,
        times,
        at,
        failures_in_a_row=times,
        scheduled_failures=times,
        scheduled_failure_at=at,
    )


# One due time.


@given(slugs, instants, intervals)
def test_after_a_success_the_jitter_takes_a_tenth_of_the_interval_at_most(
    source: str, at: datetime, interval: timedelta
) -> None:
    due = due_time(synced(at, source), interval)
    assert due is not None
    assert interval * (1 - JITTER) <= due - at <= interval


@given(slugs, instants, intervals, st.integers(1, 10_000))
def test_after_a_failure_the_jitter_takes_a_tenth_of_the_backoff_at_most(
    source: str, at: datetime, interval: timedelta, failures: int
) -> None:
    due = due_time(failed(failures, at, source), interval)
    assert due is not None
    delay = backoff(failures, interval)
    assert delay * (1 - JITTER) <= due - at <= delay


@given(st.integers(1, 10_000), intervals)
def test_a_backoff_grows_with_each_failure_until_it_is_the_interval(
    failures: int, interval: timedelta
) -> None:
    now, then = backoff(failures, interval), backoff(failures + 1, interval)
    assert min(FIRST_BACKOFF, interval) <= now <= then <= interval
    assert then in (2 * now, interval)


@given(intervals)
def test_every_backoff_reaches_the_interval(interval: timedelta) -> None:
    assert backoff(20, interval) == interval


@given(slugs, instants, intervals, st.integers(1, 100))
def test_a_jittered_backoff_waits_longer_after_each_failure_until_the_interval_caps_it(
    source: str, at: datetime, interval: timedelta, failures: int
) -> None:
    if backoff(failures + 1, interval) < 2 * backoff(failures, interval):
        return
    now = due_time(failed(failures, at, source), interval)
    then = due_time(failed(failures + 1, at, source), interval)
    assert now is not None
    assert then is not None
    assert now <= then


def test_sources_that_were_synced_together_are_not_due_together() -> None:
    dues = {due_time(synced(source=f"source-{n}"), 6 * HOUR) for n in range(20)}
    assert len(dues) == 20


def test_one_source_is_not_always_early_or_always_late() -> None:
    cuts = {due_time(synced(NOON + n * HOUR), 6 * HOUR) for n in range(20)}
    delays = {due - NOON - n * HOUR for n, due in enumerate(sorted(filter(None, cuts)))}
    assert len(delays) == 20


def test_the_due_time_is_this_one_in_every_process_of_every_build() -> None:
    # A change of the formula would let old and new processes disagree during a deployment.
    assert due_time(synced(), 6 * HOUR) == datetime(2026, 11, 20, 17, 55, 44, 787760, UTC)


def test_a_failure_of_somebody_else_moves_nothing() -> None:
    by_hand = replace(synced(), newest_run_id=2, failures_in_a_row=1)
    assert due_time(by_hand, HOUR) == due_time(synced(), HOUR)
    by_hand = replace(failed(2), newest_run_id=3, failures_in_a_row=3)
    assert due_time(by_hand, HOUR) == due_time(failed(2), HOUR)


def test_a_success_of_anybody_ends_the_backoff() -> None:
    later = NOON + timedelta(minutes=7)
    assert due_time(synced(later), HOUR) == due_time(replace(synced(later), newest_run_id=9), HOUR)


@given(intervals, st.timedeltas(timedelta(0), timedelta(days=3_000)))
def test_a_source_in_progress_is_never_due(interval: timedelta, later: timedelta) -> None:
    for log in (synced(), failed(3), SourceLog("acme")):
        running = replace(log, newest_run_id=7, newest_started_at=NOON, is_in_progress=True)
        assert not is_due(running, interval, NOON - interval, NOON + later)


@given(slugs, intervals)
def test_a_process_leaves_what_is_due_for_a_while_after_its_start_but_not_for_long(
    source: str, interval: timedelta
) -> None:
    begins = begins_at(SourceLog(source), interval, NOON)
    longest = min(FIRST_DELAY, interval)
    assert longest / 6 <= begins - NOON == first_delay(source, interval) <= longest
    overdue = synced(NOON - 100 * interval, source)
    assert begins_at(overdue, interval, NOON) == begins


# Many due times.


@dataclass(frozen=True)
class Process:
    """One that is up for a while and looks every now and then."""

    started_at: datetime
    ended_at: datetime
    looks_every: timedelta


@dataclass(frozen=True)
class Run:
    due: datetime | None
    found_by: Process
    began: datetime
    succeeded: bool


processes = st.builds(
    lambda start, up, look: Process(
        NOON + timedelta(minutes=start),
        NOON + timedelta(minutes=start + up),
        timedelta(seconds=look),
    ),
    st.integers(0, 200),
    st.integers(1, 200),
    st.integers(20, 600),
)


def played(everyone: list[Process], interval: timedelta, outcomes: list[bool]) -> list[Run]:
    """What the processes do, each by what the log says when it looks; a run takes no time."""
    log, runs = SourceLog("acme"), list[Run]()
    looks = sorted(
        (process.started_at + n * process.looks_every, order, process)
        for order, process in enumerate(everyone)
        for n in range((process.ended_at - process.started_at) // process.looks_every + 1)
    )
    for now, _, process in looks:
        if not is_due(log, interval, process.started_at, now):
            continue
        succeeded = outcomes[len(runs) % len(outcomes)]
        runs.append(Run(due_time(log, interval), process, now, succeeded))
        if succeeded:
            log = replace(synced(now), newest_run_id=len(runs))
        else:
            log = replace(
                log,
                newest_run_id=len(runs),
                failures_in_a_row=log.failures_in_a_row + 1,
                scheduled_failures=log.scheduled_failures + 1,
                scheduled_failure_at=now,
            )
    return runs


everyone = st.lists(processes, min_size=1, max_size=4)
outcomes = st.lists(st.booleans(), min_size=1, max_size=7)
usual_intervals = st.timedeltas(timedelta(minutes=1), timedelta(hours=6))


@given(everyone, usual_intervals, outcomes)
def test_no_due_sync_is_repeated_however_many_processes_come_and_go(
    everyone: list[Process], interval: timedelta, outcomes: list[bool]
) -> None:
    runs = played(everyone, interval, outcomes)
    dues = [run.due for run in runs]
    assert len(set(dues)) == len(dues)
    shortest = (1 - JITTER) * min(interval, FIRST_BACKOFF)
    for run, after in itertools.pairwise(runs):
        assert after.due is not None
        assert after.began >= after.due >= run.began + shortest
        if run.succeeded:
            assert after.began >= run.began + (1 - JITTER) * interval


@given(everyone, usual_intervals, outcomes)
def test_no_due_sync_is_skipped_while_any_process_looks(
    everyone: list[Process], interval: timedelta, outcomes: list[bool]
) -> None:
    runs = played(everyone, interval, outcomes)
    for process in everyone:
        longest = first_delay("acme", interval) + interval + process.looks_every
        begun = [run.began for run in runs]
        within = [each for each in begun if process.started_at <= each <= process.ended_at]
        instants = [process.started_at, *within, process.ended_at]
        for before, after in itertools.pairwise(instants):
            assert after - before <= longest
