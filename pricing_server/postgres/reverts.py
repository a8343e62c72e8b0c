"""Reverts of sync runs in Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from llmpricing.rate_card import UNPRICED
from pricing_server.errors import RunNotRevertible, SyncRunNotFound
from pricing_server.postgres.connection import (
    ORIGIN,
    Connection,
    connect_writer,
    only,
    translated_errors,
)
from pricing_server.postgres.overrides import keep_card
from pricing_server.postgres.price_table import read_cards, write_changes
from pricing_server.postgres.statements import statements
from pricing_server.postgres.validators import drop_validators
from pricing_server.price_change import ChangeKind
from pricing_server.sync.revert import (
    QuoteReset,
    RevertOutcome,
    RevertPlan,
    RevertRequest,
    RunChange,
    RunStatement,
    Told,
    make_revert_plan,
)
from pricing_server.sync.run import SyncStatus
from pricing_server.sync.table_state import Attribution, ModelName

_SQL = statements("revert")
_SYNC_SQL = statements("sync")


async def revert_run(conninfo: str, request: RevertRequest) -> RevertOutcome:
    """Restore the prices before a run in one transaction; a dry run only reads.

    Raises SyncRunNotFound, RunNotRevertible, DatabaseUnavailable.
    """
    with translated_errors():
        async with await connect_writer(conninfo) as connection, connection.transaction():
            if request.dry_run:
                await connection.execute(
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
                )
                lock_or_read = statements("lookup")["read_head"]
            else:
                lock_or_read = _SYNC_SQL["lock_head"]
            cursor = await connection.execute(lock_or_read)
            head = only(await cursor.fetchone())
            source = await _revertible(connection, request)
            plan = await _plan(connection, request, source)
            revision = head["revision"]
            is_written = (
                bool(plan.changes or plan.resets or plan.unconfirmed) and not request.dry_run
            )
            if is_written:
                revision += bool(plan.changes)
                await _write(connection, plan, request, source, revision)
                plan = replace(
                    plan, changes=tuple(replace(one, revision=revision) for one in plan.changes)
                )
    return RevertOutcome(
        request,
        revision,
        head["epoch"],
        plan.changes,
        plan.refused,
        unconfirmed=len(plan.unconfirmed),
        is_written=is_written,
    )


async def _revertible(connection: Connection, request: RevertRequest) -> str:
    """The source of a run that can be reverted."""
    values = {"sync_run_id": request.sync_run_id}
    cursor = await connection.execute(_SQL["read_run"], values)
    run = await cursor.fetchone()
    if run is None:
        raise SyncRunNotFound(str(request.sync_run_id))
    if run["status"] != SyncStatus.SUCCESS:
        raise RunNotRevertible(str(request.sync_run_id), run["status"])
    source: str = run["source"]
    return source


async def _plan(connection: Connection, request: RevertRequest, source: str) -> RevertPlan:
    cursor = await connection.execute(
        _SQL["read_run_changes"],
        {"sync_run_id": request.sync_run_id, "source": source},
    )
    rows = await cursor.fetchall()
    ids = {row[name] for row in rows for name in ("previous_card_id", "card_id")}
    cards = await read_cards(connection, ids - {None})
    changes = [
        RunChange(
            model_key=row["model_key"],
            provider=row["provider"],
            model_id=row["model_id"],
            kind=ChangeKind(row["kind"]),
            source=row["source"],
            old=cards[row["previous_card_id"]] if row["previous_card_id"] else None,
            new=cards[row["card_id"]],
            before=Told(row["before_source"], row["before_effective_time"])
            if row["before_source"]
            else None,
            later_revision=row["later_revision"],
            override_revision=row["override_revision"],
            is_overridden=row["is_overridden"],
            card_in_force=row["card_in_force"],
            quoted_card=row["quoted_card"],
            is_covered=row["is_covered"],
            missing_syncs=row["missing_syncs"],
        )
        for row in rows
    ]
    statements = await _statements(connection, request)
    return make_revert_plan(changes, statements, source, request, datetime.now(UTC))


async def _statements(connection: Connection, request: RevertRequest) -> list[RunStatement]:
    cursor = await connection.execute(
        _SQL["read_run_statements"], {"sync_run_id": request.sync_run_id}
    )
    return [RunStatement(**row) async for row in cursor]


async def _write(
    connection: Connection, plan: RevertPlan, request: RevertRequest, source: str, revision: int
) -> None:
    # The card UNPRICED may be new, and quotes may point to it where no price does.
    await keep_card(connection, UNPRICED)
    if plan.changes:
        await write_changes(
            connection, plan.changes, await _attributions(connection, plan), revision
        )
        await connection.execute(_SYNC_SQL["advance_head"])
    await connection.execute(_SQL["reset_quotes"], _columns(plan.resets, request, source))
    await connection.execute(
        _SQL["unconfirm_quotes"], {"source": source, "unconfirmed": list(plan.unconfirmed)}
    )
    # A source that says "unchanged" means what it stated, not what is in force from here on.
    await drop_validators(connection)
    await connection.execute(_SYNC_SQL["notify"], {"origin": ORIGIN})


async def _attributions(
    connection: Connection, plan: RevertPlan
) -> Mapping[ModelName, Attribution]:
    """Whose the restored prices are. Who disagrees with them is found by the next sync."""
    cursor = await connection.execute(
        _SQL["read_covering"],
        {
            "providers": [change.provider for change in plan.changes],
            "model_ids": [change.model_id for change in plan.changes],
        },
    )
    stated_as = {
        (row["provider"], row["model_id"], row["source"]): row["stated_as"] async for row in cursor
    }
    return {
        (change.provider, change.model_id): Attribution(
            change.source, stated_as.get((change.provider, change.model_id, change.source))
        )
        for change in plan.changes
    }


def _columns(
    resets: tuple[QuoteReset, ...], request: RevertRequest, source: str
) -> dict[str, object]:
    return {
        "sync_run_id": request.sync_run_id,
        "source": source,
        "model_keys": [reset.model_key for reset in resets],
        "card_ids": [reset.card_id for reset in resets],
        "obtained_at": [reset.obtained_at for reset in resets],
        "missing_syncs": [reset.missing_syncs for reset in resets],
    }
