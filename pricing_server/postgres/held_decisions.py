"""Decisions on held changes in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from pricing_server.errors import HeldChangeNotFound, HeldChangeNotOpen
from pricing_server.fault_points import FaultPoint, pass_fault_point
from pricing_server.postgres.connection import (
    ORIGIN,
    Connection,
    Row,
    connect_writer,
    only,
    translated_errors,
)
from pricing_server.postgres.held_reader import read_held_change
from pricing_server.postgres.holds import stated_hold
from pricing_server.postgres.price_table import (
    known_model,
    read_cards,
    read_quotes,
    write_approval,
)
from pricing_server.postgres.statements import statements
from pricing_server.postgres.validators import drop_validators
from pricing_server.price_change import PriceChange
from pricing_server.sync.held import HoldDecision, HoldStatus, ResolveOutcome, ResolveRequest
from pricing_server.sync.quoted import QuotedModel
from pricing_server.sync.resolution import Resolver

_SQL = statements("holds")
_SYNC_SQL = statements("sync")

_STATUSES: Final = {
    HoldDecision.APPROVE: HoldStatus.APPROVED,
    HoldDecision.REJECT: HoldStatus.REJECTED,
}


async def resolve_held_change(conninfo: str, request: ResolveRequest) -> ResolveOutcome:
    """Approve or reject a held change, of a feed with all its models, in one transaction.

    Raises HeldChangeNotFound, HeldChangeNotOpen, DatabaseUnavailable.
    """
    with translated_errors():
        async with await connect_writer(conninfo) as connection, connection.transaction():
            outcome = await _resolve(connection, request)
            pass_fault_point(FaultPoint.BEFORE_COMMIT)
    pass_fault_point(FaultPoint.AFTER_COMMIT)
    return outcome


async def _resolve(connection: Connection, request: ResolveRequest) -> ResolveOutcome:
    cursor = await connection.execute(_SYNC_SQL["lock_head"])
    head = only(await cursor.fetchone())
    # Critical section: no sync opens or ends a held change until the commit.
    of_this = {"held_change_id": request.held_change_id}
    cursor = await connection.execute(_SQL["lock_hold"], of_this)
    held = await cursor.fetchone()
    if held is None:
        raise HeldChangeNotFound(str(request.held_change_id))
    if held["status"] != HoldStatus.OPEN:
        raise HeldChangeNotOpen(str(request.held_change_id), held["status"])
    changed_at = datetime.now(UTC)
    revision: int = head["revision"]
    changes: tuple[PriceChange, ...] = ()
    if request.decision is HoldDecision.APPROVE:
        cursor = await connection.execute(_SQL["read_decided"], of_this)
        revision, changes = await _approve(
            connection, await cursor.fetchall(), request, revision, changed_at
        )
    await connection.execute(
        _SQL["decide"],
        {
            **of_this,
            "status": _STATUSES[request.decision],
            "changed_at": changed_at,
            "resolved_by": request.resolved_by,
            "note": request.note,
        },
    )
    # Also where no price changed: what was pending of a model no longer is.
    await connection.execute(_SYNC_SQL["notify"], {"origin": ORIGIN})
    decided = await read_held_change(connection, request.held_change_id)
    return ResolveOutcome(decided, revision, head["epoch"], changes)


async def _approve(
    connection: Connection,
    rows: Sequence[Row],
    request: ResolveRequest,
    revision: int,
    changed_at: datetime,
) -> tuple[int, tuple[PriceChange, ...]]:
    """Make the quotes of their sources of these held changes; the revision and what changed."""
    if not rows:
        return revision, ()
    cursor = await connection.execute(
        _SQL["read_decided_models"],
        {
            "providers": [row["provider"] for row in rows],
            "model_ids": [row["model_id"] for row in rows],
        },
    )
    models = {model.key: model async for model in (known_model(row) async for row in cursor)}
    quotes = await read_quotes(connection, models.values())
    card_ids = {model.card_id for model in models.values() if model.card_id is not None}
    card_ids |= {quote.card_id for each in quotes.values() for quote in each}
    cards = await read_cards(connection, card_ids)
    resolver = Resolver(cards, request.origin, changed_at)
    quoted = []
    for row in rows:
        key, hold = (row["provider"], row["model_id"]), stated_hold(row)
        cards.setdefault(hold.card.card_id, hold.card)
        quoted.append(QuotedModel.released(key, hold))
        model = models.get(key)
        if model is None:
            resolver.add(key, [hold.quote])
        else:
            before = {quote.source: quote for quote in quotes.get(model.model_key, ())}
            stated = {hold.source: hold.quote}
            resolver.resolve(model, {**before, **stated}.values(), stated)
    revision += bool(resolver.changes)
    await write_approval(
        connection,
        quoted,
        cards,
        resolver,
        {row["provider"]: row["provider_name"] for row in rows},
        {"revision": revision, "changed_at": changed_at},
    )
    for source in {row["source"] for row in rows}:
        await drop_validators(connection, source)
    if resolver.changes:
        await connection.execute(_SYNC_SQL["advance_head"])
    return revision, tuple(replace(change, revision=revision) for change in resolver.changes)
