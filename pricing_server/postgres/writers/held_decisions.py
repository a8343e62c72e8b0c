"""What decisions on held changes read and write in Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from llmpricing.rate_card import RateCard
from pricing_server.domain.head import Head
from pricing_server.domain.held_change import HeldChange, HoldStatus, ResolveRequest
from pricing_server.domain.names import ModelName
from pricing_server.postgres.connection import (
    ORIGIN,
    Connection,
    connect_writer,
    translated_errors,
)
from pricing_server.postgres.readers.held_reader import read_held_change
from pricing_server.postgres.readers.holds import stated_hold
from pricing_server.postgres.readers.table_state import known_model, read_cards, read_quotes
from pricing_server.postgres.statements import statements
from pricing_server.postgres.writers.price_table import lock_head, write_approval
from pricing_server.postgres.writers.validators import drop_validators
from pricing_server.sync.approval_plan import ApprovalPlan, DecidedHold
from pricing_server.sync.table_state import KnownModel, TableState

_SQL = statements("holds")
_SYNC_SQL = statements("sync")


@asynccontextmanager
async def deciding(conninfo: str) -> AsyncIterator[PostgresDecisionWork]:
    """See `pricing_server.sync.decision.DecisionStore`."""
    with translated_errors():
        async with await connect_writer(conninfo) as connection, connection.transaction():
            # From here on no sync opens or ends a held change either.
            yield PostgresDecisionWork(connection, await lock_head(connection))


class PostgresDecisionWork:
    """See `pricing_server.sync.decision.DecisionWork`."""

    def __init__(self, connection: Connection, head: Head) -> None:
        self._connection = connection
        self.head = head

    async def status(self, held_change_id: int) -> HoldStatus | None:
        """Where a held change stands; None if there is none."""
        cursor = await self._connection.execute(
            _SQL["lock_hold"], {"held_change_id": held_change_id}
        )
        row = await cursor.fetchone()
        return HoldStatus(row["status"]) if row is not None else None

    async def decided(self, held_change_id: int) -> Sequence[DecidedHold]:
        """What a decision is about: the held change of a model, or all open ones of a feed."""
        cursor = await self._connection.execute(
            _SQL["read_decided"], {"held_change_id": held_change_id}
        )
        return [
            DecidedHold((row["provider"], row["model_id"]), row["provider_name"], stated_hold(row))
            async for row in cursor
        ]

    async def state(
        self, decided: Sequence[ModelName], covering: Sequence[ModelName]
    ) -> TableState:
        """The known ones of these models and of those that the decided ones cover."""
        models = await self._models([*decided, *covering])
        keys = [models[key].model_key for key in decided if key in models]
        cursor = await self._connection.execute(_SYNC_SQL["read_covered"], {"model_keys": keys})
        models |= {model.key: model async for model in (known_model(row) async for row in cursor)}
        return TableState(models, await read_quotes(self._connection, models.values()))

    async def cards(self, card_ids: Collection[str]) -> Mapping[str, RateCard]:
        """Stored cards by id."""
        return await read_cards(self._connection, card_ids)

    async def approve(self, plan: ApprovalPlan) -> Head:
        """Write an approval; the state of the price table after it."""
        head = replace(self.head, revision=self.head.revision + bool(plan.changes))
        await write_approval(self._connection, plan, head.revision)
        await drop_validators(self._connection, plan.source)
        if plan.changes:
            await self._connection.execute(_SYNC_SQL["advance_head"])
        return head

    async def believe_shrunk_feed(self, held_change_id: int) -> None:
        """See `pricing_server.sync.decision.DecisionWork`."""
        await self._connection.execute(
            _SQL["believe_shrunk_feed"], {"held_change_id": held_change_id}
        )

    async def decide(
        self, request: ResolveRequest, status: HoldStatus, decided_at: datetime
    ) -> HeldChange:
        """Write the decision; what it is about as it stands then."""
        await self._connection.execute(
            _SQL["decide"],
            {
                "held_change_id": request.held_change_id,
                "status": status,
                "changed_at": decided_at,
                "resolved_by": request.resolved_by,
                "note": request.note,
            },
        )
        # Also where no price changed: what was pending of a model no longer is.
        await self._connection.execute(_SYNC_SQL["notify"], {"origin": ORIGIN})
        return await read_held_change(self._connection, request.held_change_id)

    async def _models(self, names: Sequence[ModelName]) -> dict[ModelName, KnownModel]:
        cursor = await self._connection.execute(
            _SQL["read_decided_models"],
            {
                "providers": [provider for provider, _ in names],
                "model_ids": [model_id for _, model_id in names],
            },
        )
        return {model.key: model async for model in (known_model(row) async for row in cursor)}
