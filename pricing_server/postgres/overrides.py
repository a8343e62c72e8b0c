"""Prices that admins set, in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from psycopg.types.json import Jsonb

from llmpricing.rate_card import UNPRICED, PriceState, RateCard
from pricing_server.errors import InvalidArgument, OverrideNotFound
from pricing_server.lookup.price import Head
from pricing_server.postgres.connection import (
    ORIGIN,
    Connection,
    Row,
    card_of,
    connect_writer,
    only,
    translated_errors,
)
from pricing_server.postgres.price_table import write_changes
from pricing_server.postgres.statements import statements
from pricing_server.price_change import ChangeOrigin, PriceChange
from pricing_server.sync.override import (
    ENDED,
    ClearRequest,
    EndPlan,
    OverrideOutcome,
    OverrideRequest,
    PriceOverride,
    plan_end,
    plan_set,
)
from pricing_server.sync.plan import OVERRIDE, KnownModel, Quote

_SQL = statements("overrides")
_SYNC_SQL = statements("sync")


@dataclass(frozen=True, slots=True)
class EndedOverrides:
    """How many overrides had reached their end, and the state of the price table after it."""

    count: int
    head: Head


class PostgresOverrideStore:
    """See `pricing_server.sync.override.OverrideStore`."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo

    async def set(self, request: OverrideRequest) -> OverrideOutcome:
        """Put a price in force. Raises InvalidArgument, DatabaseUnavailable."""
        with translated_errors():
            async with (
                await connect_writer(self._conninfo, "pricing-override") as connection,
                connection.transaction(),
            ):
                return await _set(connection, request)

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
                change = changes[0] if changes else None
                return OverrideOutcome(head.revision, head.epoch, change)


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


async def _set(connection: Connection, request: OverrideRequest) -> OverrideOutcome:
    head = await _lock_head(connection)
    # Critical section: no other process can change a price until the commit.
    at = datetime.now(UTC)
    if request.until is not None and request.until <= at:
        raise InvalidArgument("until", "is not in the future")
    names = {"provider": request.provider, "model_id": request.model_id}
    cursor = await connection.execute(_SQL["read_model"], names)
    row = await cursor.fetchone()
    model = _model(row) if row else None
    in_force = card_of(row) if row and row["card_id"] is not None else None
    change = plan_set(model, in_force, request, at)
    if model is None:
        await connection.execute(_SQL["register_provider"], names)
        cursor = await connection.execute(_SQL["register_model"], names)
        model_key: int = only(await cursor.fetchone())["model_key"]
    else:
        model_key = model.model_key
    values = {
        "model_key": model_key,
        "model_keys": [model_key],
        "card_id": request.card.card_id,
        "fragment": request.statement,
        "source": OVERRIDE,
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
    if change is None:
        await connection.execute(_SQL["told_by"], values)
    else:
        change = replace(change, origin=replace(change.origin, override_id=override_id))
    changes, head = await _commit_changes(connection, [change] if change else [], head)
    return OverrideOutcome(
        head.revision,
        head.epoch,
        changes[0] if changes else None,
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
    )


async def _end(
    connection: Connection, overridden: Sequence[Row], head: Head, origin: ChangeOrigin
) -> tuple[Sequence[PriceChange], Head]:
    """End these overrides; the changes of prices, and the head with them."""
    at = datetime.now(UTC)
    model_keys = [row["model_key"] for row in overridden]
    plans = await _end_plans(connection, overridden, at, origin)
    await keep_card(connection, UNPRICED)
    for key, plan in zip(model_keys, plans, strict=True):
        if plan.change is None:
            await connection.execute(_SQL["told_by"], {"model_key": key, "source": plan.source})
    values = {
        "model_keys": model_keys,
        "at": at,
        **_cleared(origin),
        "unpriced": UNPRICED.card_id,
    }
    await connection.execute(_SQL["end_quotes"], values)
    await connection.execute(_SQL["end_overrides"], values)
    return await _commit_changes(connection, [plan.change for plan in plans if plan.change], head)


async def _end_plans(
    connection: Connection, overridden: Sequence[Row], at: datetime, origin: ChangeOrigin
) -> Sequence[EndPlan]:
    cursor = await connection.execute(
        _SQL["read_beneath"], {"model_keys": [row["model_key"] for row in overridden]}
    )
    beneath: dict[int, list[Quote]] = {}
    cards: dict[str, RateCard] = {}
    async for row in cursor:
        beneath.setdefault(row["model_key"], []).append(_beneath(row))
        cards[row["card_id"]] = card_of(row)
    return [
        plan_end(
            _model(row),
            card_of(row),
            beneath.get(row["model_key"], ()),
            cards,
            at,
            replace(origin, override_id=row["override_id"]),
            ended_at=min(at, row["until"]) if row["until"] else at,
        )
        for row in overridden
    ]


async def _commit_changes(
    connection: Connection, changes: Sequence[PriceChange], head: Head
) -> tuple[Sequence[PriceChange], Head]:
    """Write changes as the next revision, and tell all processes even if there are none."""
    if changes:
        head = replace(head, revision=head.revision + 1)
        await write_changes(connection, changes, head.revision)
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


def _model(row: Row) -> KnownModel:
    return KnownModel(
        model_key=row["model_key"],
        provider=row["provider"],
        model_id=row["model_id"],
        is_active=row["is_active"],
        card_id=row["card_id"],
        source=row["source"],
    )


def _beneath(row: Row) -> Quote:
    return Quote(
        source=row["source"],
        rank=row["rank"],
        is_own_api=row["is_own_api"],
        card_id=row["card_id"],
        state=PriceState(row["state"]),
        obtained_at=row["obtained_at"],
        missing_syncs=row["missing_syncs"],
    )
