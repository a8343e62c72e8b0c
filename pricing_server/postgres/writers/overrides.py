"""What overrides read and write in Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from psycopg.types.json import Jsonb

from llmpricing.rate_card import UNPRICED, RateCard
from pricing_server.domain.head import Head
from pricing_server.domain.names import ModelName
from pricing_server.domain.override import ClearRequest, OverrideOutcome, OverrideRequest
from pricing_server.domain.price_change import ChangeOrigin
from pricing_server.domain.quote import Covered
from pricing_server.postgres.connection import (
    ORIGIN,
    Connection,
    Row,
    connect_writer,
    only,
    translated_errors,
)
from pricing_server.postgres.readers.table_state import known_model, read_cards, read_quotes
from pricing_server.postgres.statements import statements
from pricing_server.postgres.writers.price_table import lock_head, write_changes
from pricing_server.sync.coverage import NOTHING_COVERED, Covers
from pricing_server.sync.overriding import (
    RegisteredModel,
    StandingOverride,
    clear_override,
    set_override,
)
from pricing_server.sync.settlement import ConcernedModel, Settlement

_SQL = statements("overrides")
_SYNC_SQL = statements("sync")


class PostgresOverrideStore:
    """See `pricing_server.sync.override_runner.OverrideStore`."""

    def __init__(self, conninfo: str, covers: Mapping[str, Covers] = NOTHING_COVERED) -> None:
        """`covers` are the ids that sources, by slug, state without listing them."""
        self._conninfo = conninfo
        self._covers = covers

    async def set(self, request: OverrideRequest) -> OverrideOutcome:
        """Put a price in force. Raises as `pricing_server.sync.overriding.set_override`."""
        return await set_override(self._overriding, request, self._covers)

    async def clear(self, request: ClearRequest) -> OverrideOutcome:
        """End an override. Raises OverrideNotFound, DatabaseUnavailable."""
        return await clear_override(self._overriding, request)

    @asynccontextmanager
    async def _overriding(self, dry_run: bool) -> AsyncIterator[PostgresOverrideWork]:
        connection = await connect_writer(self._conninfo, "pricing-override")
        with translated_errors():
            async with connection, overriding(connection, dry_run) as work:
                yield work


@asynccontextmanager
async def overriding(connection: Connection, dry_run: bool) -> AsyncIterator[PostgresOverrideWork]:
    """One transaction of overrides on this connection, rolled back in a dry run.

    Raises DatabaseUnavailable.
    """
    with translated_errors():
        async with connection.transaction(force_rollback=dry_run):
            yield PostgresOverrideWork(connection, await lock_head(connection))


async def seconds_to_next_end(connection: Connection) -> float | None:
    """Until the next override ends by itself; None if none does. Raises DatabaseUnavailable."""
    with translated_errors():
        cursor = await connection.execute(_SQL["next_end"])
        seconds: float | None = only(await cursor.fetchone())["seconds"]
        return seconds


class PostgresOverrideWork:
    """See `pricing_server.sync.overriding.OverrideWork`."""

    def __init__(self, connection: Connection, head: Head) -> None:
        self._connection = connection
        self.head = head

    async def registered(self, key: ModelName) -> RegisteredModel | None:
        """A model of the price table; None if nobody knows it."""
        cursor = await self._connection.execute(_SQL["read_model"], _names(key))
        row = await cursor.fetchone()
        return RegisteredModel(**row) if row is not None else None

    async def register(self, key: ModelName, covered: Sequence[Covered]) -> int:
        """Make a model known, with the sources that may state it under another id; its key."""
        await self._connection.execute(_SQL["register_provider"], _names(key))
        cursor = await self._connection.execute(_SQL["register_model"], _names(key))
        model_key: int = only(await cursor.fetchone())["model_key"]
        for one in covered:
            await self._connection.execute(
                _SQL["keep_covered"],
                {
                    "model_key": model_key,
                    "source": one.source,
                    "provider": key[0],
                    "stated_as": one.stated_as,
                    "is_inferred": one.is_inferred,
                },
            )
        return model_key

    async def put(self, model_key: int, request: OverrideRequest, at: datetime) -> int:
        """Write an override in place of the one before, if there is one; its id."""
        values = {
            "model_key": model_key,
            "model_keys": [model_key],
            "card_id": request.card.card_id,
            "fragment": request.statement,
            "replace_card": request.replace_card,
            "percent": request.percent,
            "reason": request.reason,
            "set_by": request.set_by,
            "until": request.until,
            "at": at,
            **_cleared(request.origin),
        }
        await keep_card(self._connection, request.card)
        await self._connection.execute(_SQL["keep_quote"], values)
        await self._connection.execute(_SQL["end_overrides"], values)
        cursor = await self._connection.execute(_SQL["keep_override"], values)
        override_id: int = only(await cursor.fetchone())["override_id"]
        return override_id

    async def of_model(self, key: ModelName) -> Sequence[StandingOverride]:
        """The override in force of one model, if there is one."""
        cursor = await self._connection.execute(_SQL["read_standing"], _names(key))
        return [StandingOverride(**row) async for row in cursor]

    async def due(self) -> Sequence[StandingOverride]:
        """The overrides that have reached their end."""
        cursor = await self._connection.execute(_SQL["read_due"])
        return [StandingOverride(**row) async for row in cursor]

    async def end(self, model_keys: Sequence[int], origin: ChangeOrigin, at: datetime) -> None:
        """End the overrides of these models. What is left of their quotes states no price."""
        values = {
            "model_keys": model_keys,
            "at": at,
            "unpriced": UNPRICED.card_id,
            **_cleared(origin),
        }
        await keep_card(self._connection, UNPRICED)
        await self._connection.execute(_SQL["end_quotes"], values)
        await self._connection.execute(_SQL["end_overrides"], values)

    async def concerned(self, model_keys: Sequence[int]) -> Sequence[ConcernedModel]:
        """These models and those that they cover."""
        cursor = await self._connection.execute(_SQL["read_concerned"], {"model_keys": model_keys})
        found = [(known_model(row), row["concerned_by"]) async for row in cursor]
        quotes = await read_quotes(self._connection, [model for model, _ in found])
        return [
            ConcernedModel(model, quotes.get(model.model_key, ()), turned_key)
            for model, turned_key in found
        ]

    async def cards(self, card_ids: Collection[str]) -> Mapping[str, RateCard]:
        """Stored cards by id."""
        return await read_cards(self._connection, card_ids)

    async def settle(self, settlement: Settlement) -> Head:
        """Write what is in force now, and notify all processes even without any change."""
        changes = settlement.changes
        head = replace(self.head, revision=self.head.revision + bool(changes))
        if settlement.attributions:
            await write_changes(
                self._connection,
                changes,
                settlement.attributions,
                settlement.cards,
                head.revision,
            )
        if changes:
            await self._connection.execute(_SYNC_SQL["advance_head"])
        await self._connection.execute(_SYNC_SQL["notify"], {"origin": ORIGIN})
        return head


async def keep_card(connection: Connection, card: RateCard) -> None:
    """Store a card, unless it is."""
    document = card.to_document()
    await connection.execute(
        _SQL["keep_card"], {**document, "card_id": card.card_id, "rates": Jsonb(document["rates"])}
    )


def _names(key: ModelName) -> dict[str, str]:
    return {"provider": key[0], "model_id": key[1]}


def _cleared(origin: ChangeOrigin) -> Row:
    """Where the end of an override comes from, as its columns say."""
    return {
        "cleared_kind": origin.kind.value,
        "cleared_actor": origin.actor,
        "cleared_by": origin.note,
    }
