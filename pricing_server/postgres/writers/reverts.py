"""What reverts of sync runs read and write in Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from llmpricing.rate_card import UNPRICED, RateCard
from pricing_server.domain.head import Head
from pricing_server.domain.names import ModelName
from pricing_server.domain.price_change import ChangeKind
from pricing_server.domain.sync_run import SyncStatus
from pricing_server.postgres.connection import (
    ORIGIN,
    Connection,
    Row,
    connect_writer,
    translated_errors,
)
from pricing_server.postgres.readers.price_reader import read_head
from pricing_server.postgres.readers.table_state import read_cards
from pricing_server.postgres.statements import statements
from pricing_server.postgres.writers.overrides import keep_card
from pricing_server.postgres.writers.price_table import lock_head, write_changes
from pricing_server.postgres.writers.validators import drop_validators
from pricing_server.sync.revert_plan import (
    QuoteReset,
    RevertPlan,
    RunChange,
    RunStatement,
    StatedUnder,
    Told,
)
from pricing_server.sync.reverting import LoggedRun
from pricing_server.sync.table_state import Attribution

_SQL = statements("revert")
_SYNC_SQL = statements("sync")


@asynccontextmanager
async def reverting(conninfo: str, dry_run: bool) -> AsyncIterator[PostgresRevertWork]:
    """One transaction of a revert; of a dry run it is read-only. Raises DatabaseUnavailable."""
    with translated_errors():
        async with await connect_writer(conninfo) as connection, connection.transaction():
            if dry_run:
                await connection.execute(
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
                )
                head = await read_head(connection)
            else:
                head = await lock_head(connection)
            yield PostgresRevertWork(connection, head)


class PostgresRevertWork:
    """See `pricing_server.sync.reverting.RevertWork`."""

    def __init__(self, connection: Connection, head: Head) -> None:
        self._connection = connection
        self.head = head

    async def run(self, sync_run_id: int) -> LoggedRun | None:
        """A run of the log; None if there is none."""
        cursor = await self._connection.execute(_SQL["read_run"], {"sync_run_id": sync_run_id})
        row = await cursor.fetchone()
        if row is None:
            return None
        return LoggedRun(sync_run_id, row["source"], SyncStatus(row["status"]))

    async def changes(self, run: LoggedRun) -> Sequence[RunChange]:
        """What a run changed, with what the price table says of each model now."""
        cursor = await self._connection.execute(
            _SQL["read_run_changes"], {"sync_run_id": run.sync_run_id, "source": run.source}
        )
        rows = await cursor.fetchall()
        ids = {row[name] for row in rows for name in ("previous_card_id", "card_id")}
        cards = await read_cards(self._connection, ids - {None})
        return [_change(row, cards) for row in rows]

    async def statements(self, run: LoggedRun) -> Sequence[RunStatement]:
        """The prices that a run was the first to state."""
        cursor = await self._connection.execute(
            _SQL["read_run_statements"], {"sync_run_id": run.sync_run_id}
        )
        return [RunStatement(**row) async for row in cursor]

    async def stated_under(self, names: Sequence[ModelName]) -> StatedUnder:
        """Under which other ids sources state these models."""
        cursor = await self._connection.execute(
            _SQL["read_covering"],
            {
                "providers": [provider for provider, _ in names],
                "model_ids": [model_id for _, model_id in names],
            },
        )
        return {
            (row["provider"], row["model_id"], row["source"]): row["stated_as"]
            async for row in cursor
        }

    async def write(
        self, run: LoggedRun, plan: RevertPlan, attributions: Mapping[ModelName, Attribution]
    ) -> Head:
        """Write a revert; the state of the price table after it."""
        head = replace(self.head, revision=self.head.revision + bool(plan.changes))
        # The card UNPRICED may be new, and quotes may point to it where no price does.
        await keep_card(self._connection, UNPRICED)
        if plan.changes:
            cards = {change.new.card_id: change.new for change in plan.changes}
            await write_changes(self._connection, plan.changes, attributions, cards, head.revision)
            await self._connection.execute(_SYNC_SQL["advance_head"])
        await self._connection.execute(_SQL["reset_quotes"], _columns(plan.resets, run))
        for one in plan.beneath:
            values = {
                "source": run.source,
                "model_key": one.model_key,
                "card_id": one.card_id,
                "rate_sources": list(one.rate_sources),
            }
            await self._connection.execute(_SQL["restore_beneath"], values)
        await self._connection.execute(
            _SQL["unconfirm_quotes"],
            {"source": run.source, "unconfirmed": list(plan.unconfirmed)},
        )
        # A source that says "unchanged" means what it stated, not what is in force from here on.
        await drop_validators(self._connection)
        await self._connection.execute(_SYNC_SQL["notify"], {"origin": ORIGIN})
        return head


def _change(row: Row, cards: Mapping[str, RateCard]) -> RunChange:
    before = None
    if row["before_source"]:
        before = Told(
            row["before_source"], row["before_effective_time"], row["before_stated_card_id"]
        )
    return RunChange(
        model_key=row["model_key"],
        provider=row["provider"],
        model_id=row["model_id"],
        kind=ChangeKind(row["kind"]),
        source=row["source"],
        old=cards[row["previous_card_id"]] if row["previous_card_id"] else None,
        new=cards[row["card_id"]],
        before=before,
        later_revision=row["later_revision"],
        override_revision=row["override_revision"],
        is_overridden=row["is_overridden"],
        card_in_force=row["card_in_force"],
        quoted_card=row["quoted_card"],
        is_covered=row["is_covered"],
        stated_card=row["stated_card_id"],
        old_sources=tuple(row["previous_rate_sources"]),
        new_sources=tuple(row["rate_sources"]),
        missing_syncs=row["missing_syncs"],
    )


def _columns(resets: tuple[QuoteReset, ...], run: LoggedRun) -> dict[str, object]:
    return {
        "sync_run_id": run.sync_run_id,
        "source": run.source,
        "model_keys": [reset.model_key for reset in resets],
        "card_ids": [reset.card_id for reset in resets],
        "obtained_at": [reset.obtained_at for reset in resets],
        "missing_syncs": [reset.missing_syncs for reset in resets],
    }
