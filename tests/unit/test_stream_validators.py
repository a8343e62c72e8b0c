"""Each validator of the torture test passes a faithful log, and catches the defect it is for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.torture.history import History
from tests.integration.torture.log import Change, Event, Held, Log, Message, Model, Narrow
from tests.integration.torture.validators import (
    VALIDATORS,
    Violation,
    check_atomic,
    check_bookmarkable,
    check_ordered,
    check_reliable,
    check_resumable,
    check_snapshot,
    check_true,
    check_unique,
    violations,
)

EPOCH = "epoch"
CHANGES = (
    Change(1, "acme", "one", "added", new_card="a"),
    Change(1, "acme", "two", "added", new_card="a"),
    Change(1, "bolt", "one", "added", new_card="a"),
    Change(2, "acme", "one", "changed", old_card="a", new_card="b"),
    Change(3, "bolt", "one", "delisted", old_card="a", new_card="a"),
    Change(4, "acme", "two", "changed", old_card="a", new_card="c"),
)
HISTORY = History(CHANGES, EPOCH)
ALL = Narrow()
ACME = Narrow(frozenset({"acme"}))


def of(revision: int, criteria: Narrow = ALL) -> tuple[Change, ...]:
    return tuple(HISTORY.between(revision - 1, revision, criteria))


def started(revision: int, *, is_last: bool = True) -> Message:
    return Message(Event.STARTED, revision, EPOCH, is_last)


def progress(revision: int) -> Message:
    return Message(Event.PROGRESS, revision, EPOCH, True)


def changes(revision: int, *told: Change, is_last: bool = True) -> Message:
    return Message(Event.CHANGES, revision, EPOCH, is_last, told or of(revision))


def snapshot(revision: int, prices: dict[Model, Held], *, is_last: bool = True) -> Message:
    return Message(Event.SNAPSHOT, revision, EPOCH, is_last, (), tuple(prices.items()))


def told(*streams: tuple[Message, ...], criteria: Narrow = ALL, snapshot: bool = False) -> Log:
    """The log of a subscriber that was told this on one stream after the other."""
    log = Log("subscriber 7", criteria)
    for messages in streams:
        after = None if snapshot else messages[0].revision
        log.open("somewhere", snapshot=snapshot, after=after)
        for message in messages:
            log.take(message)
        log.end("left")
    return log


WHOLE = (started(0), changes(1), changes(2), changes(3), changes(4))

FAITHFUL = {
    "in one go": told(WHOLE),
    "with progress": told((started(0), progress(0), *WHOLE[1:], progress(4))),
    "resumed": told(WHOLE[:3], (started(2), *WHOLE[3:])),
    "left in a split revision": told(
        (started(0), changes(1, *CHANGES[:2], is_last=False)),
        (started(0), changes(1, *CHANGES[:1], is_last=False), changes(1, *CHANGES[1:3])),
        (started(1), *WHOLE[2:]),
    ),
    "criteria": told(
        (started(0), changes(1, *of(1, ACME)), changes(2), progress(3), changes(4)), criteria=ACME
    ),
    "of nothing": told((started(0), progress(4)), criteria=Narrow(frozenset({"nobody"}))),
    "with a snapshot": told(
        (
            started(2, is_last=False),
            snapshot(2, HISTORY.table_at(2, ALL)),
            changes(3),
            changes(4),
        ),
        snapshot=True,
    ),
}


@pytest.mark.parametrize("log", FAITHFUL.values(), ids=FAITHFUL)
def test_a_faithful_log_passes_every_check(log: Log) -> None:
    assert list(violations(log, HISTORY)) == []


def caught(check: Callable[[Log, History], None], log: Log) -> str:
    with pytest.raises(Violation) as raised:
        check(log, HISTORY)
    return str(raised.value)


def test_ordered_catches_revisions_that_changed_places() -> None:
    log = told((started(0), changes(1), changes(3), changes(2), changes(4)))
    assert "subscriber 7 is not ordered at revision 2" in caught(check_ordered, log)


def test_ordered_catches_a_resumed_stream_that_went_back_behind_what_was_saved() -> None:
    log = told(WHOLE[:4], (started(1), changes(2)))
    assert "is not ordered at revision 2" in caught(check_ordered, log)


def test_unique_catches_a_change_that_comes_twice_on_a_stream() -> None:
    log = told((started(0), changes(1), changes(2), changes(2)))
    assert "is not unique at revision 2" in caught(check_unique, log)


def test_unique_catches_a_change_that_comes_again_after_a_resume() -> None:
    log = told(WHOLE[:3], (started(2), changes(2), changes(3)))
    assert "was saved twice" in caught(check_unique, log)


def test_reliable_catches_a_gap() -> None:
    log = told((started(0), changes(1), changes(2), changes(4)))
    message = caught(check_reliable, log)
    assert "is not reliable at revision 3" in message
    assert "3:bolt:one did not come before 4" in message


def test_reliable_catches_a_gap_at_the_seam_of_two_streams() -> None:
    # The server began the second stream one revision later than it said.
    log = told(WHOLE[:2], (started(1), changes(3), changes(4)))
    assert "is not reliable at revision 2" in caught(check_reliable, log)


def test_reliable_catches_a_missing_end() -> None:
    log = told((*WHOLE[:4], progress(4)))
    assert "is not reliable at revision 4" in caught(check_reliable, log)


def test_true_catches_a_change_that_was_rolled_back() -> None:
    log = told((*WHOLE, changes(5, Change(5, "acme", "one", "changed", "b", "d"))))
    assert "is not true at revision 5" in caught(check_true, log)


def test_true_catches_a_change_that_the_history_tells_otherwise() -> None:
    log = told((started(1), changes(2, CHANGES[3]._replace(new_card="c"))))
    assert "is not true at revision 2" in caught(check_true, log)


def test_true_catches_a_change_that_does_not_pass_the_filters() -> None:
    log = told((started(0), changes(1)), criteria=ACME)
    assert "does not pass the filters" in caught(check_true, log)


def test_atomic_catches_a_revision_that_was_marked_as_whole_too_early() -> None:
    log = told((started(0), changes(1, *CHANGES[:2]), changes(2)))
    assert "is not atomic at revision 1" in caught(check_atomic, log)


def test_atomic_catches_a_fragment_after_the_last_one() -> None:
    log = told((started(0), changes(1, *CHANGES[:2]), changes(1, CHANGES[2])))
    assert "comes after its last fragment" in caught(check_atomic, log)


def test_atomic_catches_a_message_between_two_fragments() -> None:
    first = changes(1, *CHANGES[:2], is_last=False)
    log = told((started(0), first, progress(0), changes(1, CHANGES[2])))
    assert "comes between the fragments of 1" in caught(check_atomic, log)


def test_atomic_catches_two_revisions_in_one_message() -> None:
    log = told((started(0), changes(1), changes(3, CHANGES[3], CHANGES[4])))
    assert "carries changes of another revision" in caught(check_atomic, log)


def test_resumable_catches_a_stream_that_begins_elsewhere() -> None:
    log = told(WHOLE[:3], WHOLE[3:])
    assert "the first message is no start" in caught(check_resumable, log)
    log = told(WHOLE[:3], (started(1), changes(4)))
    assert "it began there and not at 2" in caught(check_resumable, log)


@pytest.mark.parametrize("end", ["EPOCH_CHANGED", "REVISION_COMPACTED", "INTERNAL", "no status"])
def test_resumable_catches_an_end_that_no_outage_is_to_blame_for(end: str) -> None:
    log = told(WHOLE)
    log.end(end)
    assert f"ended with {end}" in caught(check_resumable, log)


def test_resumable_catches_a_subscriber_that_does_not_come_to_the_head() -> None:
    assert "it never came to the head, 4" in caught(check_resumable, told(WHOLE[:4]))


def test_resumable_catches_a_status_that_sends_a_subscriber_past_a_change() -> None:
    log = told(WHOLE[:3], (started(2), *WHOLE[3:]))
    log.streams[0].resume = 3
    assert "it was told to resume at 3, having saved 2" in caught(check_resumable, log)


def test_bookmarkable_catches_a_change_that_comes_after_its_bookmark() -> None:
    log = told((started(0), changes(1), progress(2), changes(2)))
    assert "is not bookmarkable at revision 2" in caught(check_bookmarkable, log)


def test_bookmarkable_catches_a_bookmark_of_what_never_came() -> None:
    log = told((started(0), changes(1), progress(2)))
    assert "with 3 changes of 4" in caught(check_bookmarkable, log)


def test_bookmarkable_catches_a_bookmark_beyond_the_head() -> None:
    assert "beyond the head, 4" in caught(check_bookmarkable, told((*WHOLE, progress(5))))


def test_snapshot_catches_a_price_of_another_revision() -> None:
    table = {**HISTORY.table_at(2, ALL), ("acme", "two"): Held("c", 4, False)}
    log = told((started(2, is_last=False), snapshot(2, table)), snapshot=True)
    assert "subscriber 7 is not a snapshot at revision 2" in caught(check_snapshot, log)


def test_snapshot_catches_a_model_that_is_missing() -> None:
    table = HISTORY.table_at(2, ACME)
    log = told((started(2, is_last=False), snapshot(2, table)), snapshot=True)
    assert "('bolt', 'one')" in caught(check_snapshot, log)


def test_snapshot_catches_changes_that_do_not_lead_on_from_it() -> None:
    table = HISTORY.table_at(2, ALL)
    log = told((started(2, is_last=False), snapshot(2, table), changes(4)), snapshot=True)
    assert "the snapshot and the changes after it" in caught(check_snapshot, log)


def test_a_violation_names_the_subscriber_and_shows_the_last_messages() -> None:
    message = caught(check_reliable, told((started(0), changes(1), changes(2), changes(4))))
    assert message.startswith("subscriber 7 is not reliable at revision 3: ")
    assert "stream 0 at somewhere after 0: changes 4 (1 changes from acme:two on)" in message


def test_no_check_is_without_a_defect_that_it_alone_is_named_after() -> None:
    covered = {name.split("_catches_")[0] for name in globals() if "_catches_" in name}
    assert {check.__name__ for check in VALIDATORS} == {
        f"check_{name.removeprefix('test_')}" for name in covered
    }
