"""Whatever breaks, every subscriber sees every change once and in order, and a naive one does not.

A short run; `make torture` runs longer, and repeats one by its seed.
"""

from __future__ import annotations

import secrets

import pytest

from tests.integration.torture.harness import Record, torture
from tests.integration.torture.validators import Violation, check_reliable

SECONDS = 8.0


@pytest.fixture(scope="module")
def record() -> Record:
    seed = secrets.randbelow(1_000_000)
    print(f"torture: seed {seed}")
    return torture(seed, SECONDS, naive=1)


def test_every_log_equals_the_history_through_kills_restarts_and_resumes(record: Record) -> None:
    print(record.figures)
    record.check()


def test_a_reader_that_asks_for_what_is_behind_its_last_id_misses_changes(record: Record) -> None:
    # The ids of runs are not in the order of their commits; or this would prove nothing.
    assert record.history.inversions, f"seed {record.seed}"
    for log in record.naive:
        with pytest.raises(Violation, match="is not reliable"):
            check_reliable(log, record.history)
        saved = {change for one in log.saved for change in one.changes}
        synced = [change for change in record.history.changes if change.sync_run_id]
        missed = len(set(synced) - saved)
        print(f"{log.name} missed {missed} of {len(synced)} changes by syncs")
        assert missed, f"seed {record.seed}: {log.name} missed nothing"
