"""What names the state of a source's data in Postgres, in its caller's transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from pricing_server.domain.payload import Validators
from pricing_server.domain.quote import MISSING_SYNCS_TO_DELIST
from pricing_server.domain.source import Source
from pricing_server.domain.source_listing import Notice
from pricing_server.domain.sync_run import NO_COUNTS
from pricing_server.postgres.connection import Connection, only
from pricing_server.postgres.statements import statements
from pricing_server.sync.sync_plan import Plan
from pricing_server.sync.sync_store import LastAnswer, Named

FULL_READ_AFTER: Final = timedelta(hours=24)
"""An answer may be confirmed for so long; then it is read again as a whole."""

NOT_MODIFIED: Final = "not_modified"

_SQL = statements("validators")


async def read_validators(connection: Connection, source: Source, asked: str) -> LastAnswer | None:
    """What a 304 would confirm, if it could confirm anything."""
    cursor = await connection.execute(
        _SQL["read_validators"],
        {"source": source.slug, "asked": asked, "full_read_after": FULL_READ_AFTER},
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    return LastAnswer(row["sync_run_id"], Validators(row["etag"], row["last_modified"]))


async def keep_validators(
    connection: Connection, source: Source, named: Named | None, plan: Plan, sync_run_id: int
) -> None:
    """Keep what names the state of an answer, if all of it was applied; forget that of older ones.

    A row that could not be read, was skipped or held is not applied: an unchanged answer
    would still state it.
    """
    await drop_validators(connection, source.slug)
    counts = plan.counts
    left_out = counts["errors"] or counts["models_skipped"] or counts["models_held"]
    left_out = left_out or plan.holding.feed is not None
    if named is None or named.validators is None or left_out:
        return
    await connection.execute(
        _SQL["keep_validators"],
        {
            "source": source.slug,
            "asked": named.asked,
            "etag": named.validators.etag,
            "last_modified": named.validators.last_modified,
            "sync_run_id": sync_run_id,
            "missing_syncs_to_delist": MISSING_SYNCS_TO_DELIST,
        },
    )


async def drop_validators(connection: Connection, source: str | None = None) -> None:
    """Let the next sync of a source, or of all, read everything."""
    await connection.execute(_SQL["drop_validators"], {"source": source})


async def confirm_quotes(
    connection: Connection, source: Source, last: LastAnswer, obtained_at: datetime, run_id: int
) -> Plan | None:
    """Confirm what the last answer stated, as of now; None if it was changed since."""
    values = {"source": source.slug, "last_run_id": last.sync_run_id}
    cursor = await connection.execute(_SQL["confirmable"], values)
    before = await cursor.fetchone()
    if before is None:
        await drop_validators(connection, source.slug)
        return None
    values |= {"sync_run_id": run_id, "obtained_at": obtained_at}
    cursor = await connection.execute(_SQL["confirm_quotes"], values)
    found = only(await cursor.fetchone())
    await connection.execute(_SQL["move_validators"], values)
    unchanged = Notice(
        NOT_MODIFIED,
        "the source says that nothing changed since it was last read; what was noticed then holds",
        found["listed"],
        found["example"] or "",
    )
    notices = [Notice(**one) for one in before["notices"] if one["code"] != NOT_MODIFIED]
    listed = {"models_fetched": found["listed"], "models_unchanged": found["listed"]}
    return Plan(
        quoted=(),
        missing=(),
        unreadable=(),
        changes=(),
        attributions={},
        cards={},
        changed_at=datetime.now(UTC),
        counts={**NO_COUNTS, **listed, "models_missing": found["missing"]},
        notices=(*notices, unchanged),
    )
