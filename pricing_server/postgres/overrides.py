"""Prices that admins set, in Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from psycopg.types.json import Jsonb

from llmpricing.rate_card import UNPRICED, RateCard
from pricing_server.errors import InvalidArgument, OverrideNotFound
from pricing_server.lookup.price import Head
from pricing_server.postgres.connection import (
    ORIGIN,
    Connection,
    Row,
    connect_writer,
    only,
    translated_errors,
)
from pricing_server.postgres.price_table import (
    known_model,
    read_cards,
    read_quotes,
    write_changes,
)
from pricing_server.postgres.statements import statements
from pricing_server.price_change import ChangeOrigin, PriceChange
from pricing_server.sync.coverage import NOTHING_COVERED, Covers
from pricing_server.sync.override import (
    ENDED,
    ClearRequest,
    OverrideOutcome,
    OverrideRequest,
    PriceOverride,
)
from pricing_server.sync.resolution import InForce, Resolver
from pricing_server.sync.table_state import OVERRIDE, Attribution, ModelName

_SQL = statements("overrides")
_SYNC_SQL = statements("sync")


@dataclass(frozen=True, slots=True)
class EndedOverrides:
    """How many overrides had reached their end, and the state of the price table after it."""

    count: int
    head: Head


class PostgresOverrideStore:
    """See `pricing_server.sync.override.OverrideStore`."""

    def __init__(self, conninfo: str, covers: Mapping[str, Covers] = NOTHING_COVERED) -> None:
        """`covers` tells by source which ids it states without listing them."""
        self._conninfo = conninfo
        self._covers = covers

    async def set(self, request: OverrideRequest) -> OverrideOutcome:
        """Put a price in force. Raises InvalidArgument, DatabaseUnavailable."""
        with translated_errors():
            async with (
                await connect_writer(self._conninfo, "pricing-override") as connection,
                connection.transaction(),
            ):
                return await _set(connection, request, self._covers)

    async def clear(self, request: ClearRequest) -> OverrideOutcome:
        """End an override. Raises OverrideNotFound, DatabaseUnavailable."""
        with translated_errors():
            async with (
                await connect_writer(self._conninfo, "pricing-override") as connection,
                connection.transaction(),
            ):
                head = await _lock_head(connection)
                overridden = await _read_overridden(connection, request.provider, request.model_id)
                if not overridden:
                    raise OverrideNotFound(request.provider, request.model_id)
                changes, head = await _end(connection, overridden, head, request.origin)
                key = (request.provider, request.model_id)
                return OverrideOutcome(head.revision, head.epoch, _change_of(changes, key))


async def end_due(connection: Connection) -> EndedOverrides | None:
    """End the overrides that have reached their end, as one revision; None if there are none.

    However many processes try at once, one of them does it. Raises DatabaseUnavailable.
    """
    with translated_errors():
        async with connection.transaction():
            head = await _lock_head(connection)
            overridden = await _read_overridden(connection)
            if not overridden:
                return None
            _, head = await _end(connection, overridden, head, ENDED)
            return EndedOverrides(len(overridden), head)


async def seconds_to_next_end(connection: Connection) -> float | None:
    """Until the next override ends by itself; None if none does. Raises DatabaseUnavailable."""
    with translated_errors():
        cursor = await connection.execute(_SQL["next_end"])
        seconds: float | None = only(await cursor.fetchone())["seconds"]
        return seconds


async def _set(
    connection: Connection, request: OverrideRequest, covers: Mapping[str, Covers]
) -> OverrideOutcome:
    head = await _lock_head(connection)
    # Critical section: no other process can change a price until the commit.
    at = datetime.now(UTC)
    if request.until is not None and request.until <= at:
        raise InvalidArgument("until", "is not in the future")
    model_key = await _registered(connection, request, covers)
    values = {
        "model_key": model_key,
        "model_keys": [model_key],
        "card_id": request.card.card_id,
        "fragment": request.statement,
        "reason": request.reason,
        "set_by": request.set_by,
        "until": request.until,
        "at": at,
        **_cleared(request.origin),
    }
    await keep_card(connection, request.card)
    await connection.execute(_SQL["keep_quote"], values)
    await connection.execute(_SQL["end_overrides"], values)
    cursor = await connection.execute(_SQL["keep_override"], values)
    override_id: int = only(await cursor.fetchone())["override_id"]
    begun = _Turn(at, replace(request.origin, override_id=override_id))
    settled = await _settle(connection, {model_key: begun}, at)
    changes, head = await _commit_changes(connection, settled, head)
    key = (request.provider, request.model_id)
    return OverrideOutcome(
        head.revision,
        head.epoch,
        _change_of(changes, key),
        PriceOverride(
            override_id=override_id,
            provider=request.provider,
            model_id=request.model_id,
            card=request.card,
            reason=request.reason,
            set_by=request.set_by,
            set_at=at,
            until=request.until,
        ),
        covered_model_ids=settled.covered_by(key),
    )


def _change_of(changes: Sequence[PriceChange], key: ModelName) -> PriceChange | None:
    return next((one for one in changes if (one.provider, one.model_id) == key), None)


async def _registered(
    connection: Connection, request: OverrideRequest, covers: Mapping[str, Covers]
) -> int:
    """The key of a model, registered if nobody knows it, with what covers it."""
    names = {"provider": request.provider, "model_id": request.model_id}
    cursor = await connection.execute(_SQL["read_model"], names)
    if (row := await cursor.fetchone()) is not None:
        known: int = row["model_key"]
        return known
    await connection.execute(_SQL["register_provider"], names)
    cursor = await connection.execute(_SQL["register_model"], names)
    model_key: int = only(await cursor.fetchone())["model_key"]
    for look in covers.values():
        found = await asyncio.to_thread(look, request.provider, request.model_id)
        if found is not None:
            await connection.execute(
                _SQL["keep_covered"],
                {
                    "model_key": model_key,
                    "source": found.source,
                    "provider": request.provider,
                    "stated_as": found.stated_as,
                    "is_inferred": found.is_inferred,
                },
            )
    return model_key


async def _end(
    connection: Connection, overridden: Sequence[Row], head: Head, origin: ChangeOrigin
) -> tuple[Sequence[PriceChange], Head]:
    """End these overrides; the changes of prices, and the head with them."""
    at = datetime.now(UTC)
    ended = {
        row["model_key"]: _Turn(
            min(at, row["until"]) if row["until"] else at,
            replace(origin, override_id=row["override_id"]),
        )
        for row in overridden
    }
    values = {
        "model_keys": list(ended),
        "at": at,
        **_cleared(origin),
        "unpriced": UNPRICED.card_id,
    }
    await keep_card(connection, UNPRICED)
    await connection.execute(_SQL["end_quotes"], values)
    await connection.execute(_SQL["end_overrides"], values)
    settled = await _settle(connection, ended, at)
    return await _commit_changes(connection, settled, head)


@dataclass(frozen=True, slots=True)
class _Turn:
    """When an override begins or ends, and where that comes from."""

    at: datetime
    origin: ChangeOrigin


@dataclass(frozen=True, slots=True)
class _Settled:
    """What is in force of the models that an override concerns."""

    changes: Sequence[PriceChange]
    attributions: Mapping[ModelName, Attribution]
    in_force: Mapping[ModelName, InForce]

    def covered_by(self, key: ModelName) -> tuple[str, ...]:
        """The other ids for which the override of a model holds."""
        return tuple(
            sorted(
                model_id
                for (provider, model_id), found in self.in_force.items()
                if (found.quote.source, provider, found.quote.stated_as) == (OVERRIDE, *key)
            )
        )


async def _settle(connection: Connection, turns: Mapping[int, _Turn], at: datetime) -> _Settled:
    """Put in force what the quotes of these models, by key, now say, and of those that they
    cover."""
    cursor = await connection.execute(_SQL["read_concerned"], {"model_keys": list(turns)})
    concerned = [(known_model(row), turns[row["concerned_by"]]) async for row in cursor]
    quotes = await read_quotes(connection, [model for model, _ in concerned])
    card_ids = {quote.card_id for each in quotes.values() for quote in each}
    card_ids |= {model.card_id for model, _ in concerned if model.card_id is not None}
    cards = await read_cards(connection, card_ids)
    changes: list[PriceChange] = []
    attributions: dict[ModelName, Attribution] = {}
    in_force: dict[ModelName, InForce] = {}
    for model, turn in concerned:
        resolver = Resolver(cards, turn.origin, at)
        in_force[model.key] = resolver.settle(model, quotes[model.model_key], turn.at)
        changes += resolver.changes
        attributions |= resolver.attributions
    return _Settled(changes, attributions, in_force)


async def _commit_changes(
    connection: Connection, settled: _Settled, head: Head
) -> tuple[Sequence[PriceChange], Head]:
    """Write changes as the next revision, and notify all processes even if there are none."""
    changes = settled.changes
    revision = head.revision + bool(changes)
    if changes or settled.attributions:
        await write_changes(connection, changes, settled.attributions, revision)
    if changes:
        head = replace(head, revision=revision)
        await connection.execute(_SYNC_SQL["advance_head"])
    await connection.execute(_SYNC_SQL["notify"], {"origin": ORIGIN})
    return [replace(change, revision=head.revision) for change in changes], head


async def _lock_head(connection: Connection) -> Head:
    cursor = await connection.execute(_SYNC_SQL["lock_head"])
    row = only(await cursor.fetchone())
    return Head(row["revision"], row["epoch"])


async def _read_overridden(
    connection: Connection, provider: str | None = None, model_id: str | None = None
) -> Sequence[Row]:
    """The overrides that have reached their end, or that of one model."""
    cursor = await connection.execute(
        _SQL["read_overridden"], {"provider": provider, "model_id": model_id}
    )
    return await cursor.fetchall()


def _cleared(origin: ChangeOrigin) -> Row:
    """Where the end of an override comes from, as its columns say."""
    return {
        "cleared_kind": origin.kind.value,
        "cleared_actor": origin.actor,
        "cleared_by": origin.note,
    }


async def keep_card(connection: Connection, card: RateCard) -> None:
    """Store a card, unless it is."""
    document = card.to_document()
    await connection.execute(
        _SQL["keep_card"], {**document, "card_id": card.card_id, "rates": Jsonb(document["rates"])}
    )
