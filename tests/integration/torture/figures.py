"""What happened in a run, counted, so that none passes in which nothing happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import psycopg

from tests.integration.torture.history import History
from tests.integration.torture.log import Event, Log

REQUIRED = (
    # Writers.
    "revisions",
    "kind added",
    "kind changed",
    "kind delisted",
    "kind restored",
    "reverts",
    "runs succeeded",
    "runs failed",
    "runs failed: the source",
    "runs failed: rolled back",
    "runs failed: declared dead",
    "rows that fault",
    "inversions of runs",
    # Chaos.
    "server killed",
    "server drained",
    "postgres killed",
    "sessions ended",
    # Subscribers.
    "streams from a snapshot",
    "streams from 0",
    "streams from now",
    "resumes at the same server",
    "resumes at another server",
    "left in a split revision",
    "split revisions",
    "progress past what does not pass",
    "ended UNAVAILABLE",
    "ended SHUTTING_DOWN",
    "ended SLOW_READER",
    "ended TOO_MANY_STREAMS",
)
"""What must have happened for a run to say anything."""

_FAILED = """
SELECT CASE WHEN error_message LIKE '%declared dead%' THEN 'declared dead'
            WHEN error_message LIKE 'the process that ran%' THEN 'the process ended'
            WHEN error_message LIKE 'internal fault%' OR error_message LIKE 'the price database%'
                 THEN 'rolled back'
            ELSE 'the source' END AS why, count(*)
FROM pricing_sync_log WHERE status = 'failed' GROUP BY 1
"""


class Figures(Counter[str]):
    """How often each thing happened."""

    def missing(self) -> list[str]:
        """What did not happen and should have."""
        return [name for name in REQUIRED if not self[name]]

    def count_database(self, conninfo: str, history: History) -> None:
        with psycopg.connect(conninfo) as connection:
            for why, count in connection.execute(_FAILED):
                self[f"runs failed: {why}"] += count
            for status, count, errors in connection.execute(
                "SELECT status, count(*), sum(errors) FROM pricing_sync_log GROUP BY 1"
            ):
                self["runs succeeded" if status == "success" else "runs failed"] += count
                self["rows that fault"] += errors
            for (source,) in connection.execute(
                "SELECT source FROM pricing_sync_log WHERE status = 'success' GROUP BY 1"
            ):
                self[f"source {source}"] += 1
        self["revisions"] = history.head
        self["changes"] = len(history.changes)
        self["inversions of runs"] = history.inversions
        self["reverts"] = len(
            {one.revision for one in history.changes if one.origin.startswith("revert|")}
        )
        for kind, count in history.kinds.items():
            self[f"kind {kind}"] += count

    def count_logs(self, logs: Sequence[Log]) -> None:
        for log in logs:
            self["logs"] += 1
            server = ""
            is_resumed = False
            for stream in log.streams:
                self["streams"] += 1
                self["messages"] += len(stream.messages)
                self[f"ended {stream.end}"] += 1
                if is_resumed and stream.after_revision is not None and stream.messages:
                    where = "the same" if stream.server == server else "another"
                    self[f"resumes at {where} server"] += 1
                server, is_resumed = stream.server, stream.saved is not None
                told = stream.start
                for message in stream.messages:
                    self["changes received"] += len(message.changes)
                    self["prices received"] += len(message.prices)
                    self["fragments"] += not message.is_last
                    if message.event is Event.CHANGES:
                        self["split revisions"] += not message.is_last
                    if message.event is Event.PROGRESS:
                        self["progress"] += 1
                        self["progress past what does not pass"] += message.revision != told
                    told = message.revision
            first = log.streams[0] if log.streams else None
            if log.cursor is not None and first is not None:
                begin = "now" if first.after_revision is None else f"{first.after_revision}"
                self[f"streams from {'a snapshot' if first.snapshot else begin}"] += 1

    def __str__(self) -> str:
        return "\n".join(f"{name:36} {count:>9,}" for name, count in sorted(self.items()))
