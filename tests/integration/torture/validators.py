"""The guarantees of the change stream, one check for each.

Each takes the log of one subscriber and the history in the database, and raises Violation
with the subscriber, the revision and the last messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NoReturn

from tests.integration.torture.history import History
from tests.integration.torture.log import Change, Event, Held, Log, Message

SHOWN = 6

HARMLESS = frozenset(
    {
        "left",
        "silent",
        "UNAVAILABLE",
        "DATABASE_UNAVAILABLE",
        "SHUTTING_DOWN",
        "SLOW_READER",
        "TOO_MANY_STREAMS",
    }
)
"""How a stream may end in spite of all guarantees."""


class Violation(AssertionError):
    """A guarantee that was broken."""


def check_ordered(log: Log, history: History) -> None:
    """Revisions come in ascending order, on each stream and in what was saved."""
    for number, stream in enumerate(log.streams):
        for at, (before, after) in enumerate(pairwise(stream.messages)):
            if after.revision < before.revision:
                what = f"it comes after {before.revision}"
                _fail("ordered", log, after.revision, what, number, at + 1)
    for one, two in pairwise(log.saved):
        if two.revision <= one.revision:
            _fail("ordered", log, two.revision, f"it was saved after {one.revision}")


def check_unique(log: Log, history: History) -> None:
    """No change comes twice on a stream, nor twice to a subscriber that resumes."""
    for number, stream in enumerate(log.streams):
        seen: set[tuple[int, str, str]] = set()
        for at, message in enumerate(stream.messages):
            for change in message.changes:
                if change[:3] in seen:
                    _fail("unique", log, change.revision, f"{_shown(change)} again", number, at)
                seen.add(change[:3])
    saved: set[tuple[int, str, str]] = set()
    for one in log.saved:
        for change in one.changes:
            if change[:3] in saved:
                _fail("unique", log, change.revision, f"{_shown(change)} was saved twice")
            saved.add(change[:3])


def check_reliable(log: Log, history: History) -> None:
    """If a change comes, every earlier one has come; all that was saved is all there was."""
    for number, stream in enumerate(log.streams):
        if (start := stream.start) is None:
            continue
        came = [change for message in stream.messages for change in message.changes]
        newest = max((change.revision for change in came), default=start)
        missing = set(history.between(start, newest - 1, log.criteria)).difference(came)
        if missing:
            first = min(missing)
            what = f"{_shown(first)} did not come before {newest}"
            at = next(
                at
                for at, one in enumerate(stream.messages)
                if one.changes and one.revision > first.revision
            )
            _fail("reliable", log, first.revision, what, number, at)
    if log.began is None or log.cursor is None:
        return
    saved = [change for one in log.saved for change in one.changes]
    expected = history.between(log.began, log.cursor, log.criteria)
    if missing := set(expected).difference(saved):
        first = min(missing)
        what = f"{_shown(first)} is missing, the first of {len(missing)} of {len(expected)}"
        _fail("reliable", log, first.revision, what)


def check_true(log: Log, history: History) -> None:
    """Nothing comes that is not in the history exactly so, or does not pass the filters."""
    for number, stream in enumerate(log.streams):
        for at, message in enumerate(stream.messages):
            if message.epoch != history.epoch:
                _fail("true", log, message.revision, f"epoch {message.epoch}", number, at)
            for change in message.changes:
                if change not in history.known:
                    same = next((one for one in history.changes if one[:3] == change[:3]), None)
                    what = f"{change} is not in the history, but {same}"
                    _fail("true", log, change.revision, what, number, at)
                if not log.criteria.passes(change.model):
                    what = f"{_shown(change)} does not pass the filters"
                    _fail("true", log, change.revision, what, number, at)


def check_atomic(log: Log, history: History) -> None:
    """A revision comes whole: its fragments follow each other, and only the last is marked."""
    for number, stream in enumerate(log.streams):
        complete: set[tuple[Event, int]] = set()
        for at, message in enumerate(stream.messages):
            before = stream.messages[at - 1] if at else None
            what = _split(before, message, complete)
            if what is not None:
                _fail("atomic", log, message.revision, what, number, at)
            if message.is_last and message.event in (Event.CHANGES, Event.SNAPSHOT):
                complete.add((message.event, message.revision))
    for one in log.saved:
        got = {change for change in one.changes if change.revision == one.revision}
        expected = set(history.between(one.revision - 1, one.revision, log.criteria))
        if len(got) != len(one.changes):
            _fail("atomic", log, one.revision, "it was saved with changes of another revision")
        if missing := expected - got:
            what = f"it was saved without {_shown(min(missing))} ({len(missing)} are missing)"
            _fail("atomic", log, one.revision, what)


def _split(
    before: Message | None, message: Message, complete: set[tuple[Event, int]]
) -> str | None:
    if any(change.revision != message.revision for change in message.changes):
        return "a message carries changes of another revision"
    if (message.event, message.revision) in complete:
        return "another message of it comes after its last fragment"
    if message.event is not Event.CHANGES and message.changes:
        return f"changes come in a message that is {message.event}"
    if before is None or before.is_last:
        return None
    if before.event is Event.STARTED:
        return None if message.event is Event.SNAPSHOT else f"{message} comes before the snapshot"
    if (message.event, message.revision) != (before.event, before.revision):
        return f"{message} comes between the fragments of {before.revision}"
    return None


def check_resumable(log: Log, history: History) -> None:
    """Each stream begins at once, where the one before was saved; and none is refused."""
    saved: int | None = None
    for number, stream in enumerate(log.streams):
        # gRPC cancels a call that reaches a stopping server, and one that takes no message.
        is_cut = stream.end == "CANCELLED" and (log.is_slow or not stream.messages)
        if stream.end not in HARMLESS and not is_cut:
            _fail("resumable", log, saved, f"the stream ended with {stream.end}", number)
        if saved is not None and stream.after_revision != saved:
            _fail("resumable", log, saved, f"it asked for {stream.after_revision}", number)
        if stream.messages:
            first = stream.messages[0]
            asked = stream.after_revision
            if first.event is not Event.STARTED or first.is_last is stream.snapshot:
                _fail("resumable", log, first.revision, "the first message is no start", number, 0)
            if asked is not None and first.revision != asked:
                what = f"it began there and not at {asked}"
                _fail("resumable", log, first.revision, what, number, 0)
        saved = stream.saved
        if stream.resume is not None and saved is not None:
            # Everything up to there was sent before the status, says the contract.
            unsent = history.between(saved, stream.resume, log.criteria)
            if stream.resume < saved or unsent:
                what = f"it was told to resume at {stream.resume}, having saved {saved}"
                _fail("resumable", log, saved, what, number)
    if not log.is_over and (log.cursor is None or log.cursor < history.head):
        _fail("resumable", log, log.cursor, f"it never came to the head, {history.head}")


def check_bookmarkable(log: Log, history: History) -> None:
    """Whoever is told a revision has all up to it: nothing is still to come, nothing was left."""
    for number, stream in enumerate(log.streams):
        if (start := stream.start) is None:
            continue
        told = start
        come = 0
        for at, message in enumerate(stream.messages):
            if message.changes and message.event is Event.CHANGES and message.revision <= told:
                what = f"{_shown(message.changes[0])} comes after the bookmark {told}"
                _fail("bookmarkable", log, message.revision, what, number, at)
            come += len(message.changes)
            if message.is_last:
                expected = history.count(start, message.revision, log.criteria)
                if come < expected:
                    what = f"the bookmark came with {come} changes of {expected} told"
                    _fail("bookmarkable", log, message.revision, what, number, at)
                if message.revision > history.head:
                    what = f"the bookmark is beyond the head, {history.head}"
                    _fail("bookmarkable", log, message.revision, what, number, at)
                told = max(told, message.revision)


def check_snapshot(log: Log, history: History) -> None:
    """A snapshot and the changes after it are what replaying the history gives."""
    for number, stream in enumerate(log.streams):
        if any(message.prices for message in stream.messages) and not stream.snapshot:
            _fail("a snapshot", log, stream.start, "prices came unasked", number)
    if log.snapshot is None or log.began is None or log.cursor is None:
        return
    table = dict(log.snapshot)
    _compare(log, log.began, "the snapshot has", table, history)
    for saved in log.saved:
        table.update((change.model, Held.after(change)) for change in saved.changes)
    _compare(log, log.cursor, "the snapshot and the changes after it give", table, history)


def _compare(
    log: Log, revision: int, what: str, table: dict[tuple[str, str], Held], history: History
) -> None:
    expected = history.table_at(revision, log.criteria)
    for model in sorted(table.keys() | expected.keys()):
        if table.get(model) != expected.get(model):
            _fail(
                "a snapshot",
                log,
                revision,
                f"{what} {table.get(model)} for {model}, the history {expected.get(model)}",
            )


VALIDATORS: Sequence[Callable[[Log, History], None]] = (
    check_ordered,
    check_unique,
    check_reliable,
    check_true,
    check_atomic,
    check_resumable,
    check_bookmarkable,
    check_snapshot,
)


def violations(log: Log, history: History) -> Iterator[Violation]:
    """What each validator has to say of a log."""
    for check in VALIDATORS:
        try:
            check(log, history)
        except Violation as violation:
            yield violation


def _shown(change: Change) -> str:
    return f"{change.revision}:{change.provider}:{change.model_id}"


def _fail(
    guarantee: str,
    log: Log,
    revision: int | None,
    what: str,
    number: int | None = None,
    at: int | None = None,
) -> NoReturn:
    """`at` is the message of the stream of that number; without, its last or the log's."""
    streams = log.streams if number is None else log.streams[: number + 1]
    shown = [
        f"  stream {index} at {stream.server} after {stream.after_revision}: {message}"
        for index, stream in enumerate(streams)
        for message in stream.messages[: at + 1 if at is not None and index == number else None][
            -SHOWN:
        ]
    ][-SHOWN:]
    ended = f" (stream {number} ended: {streams[-1].end})" if number is not None else ""
    raise Violation(
        f"{log.name} is not {guarantee} at revision {revision}: {what}{ended}; "
        f"filters {sorted(log.criteria.providers)} {sorted(log.criteria.model_ids)[:5]}; "
        "the last messages:\n" + "\n".join(shown or ["  none"])
    )
