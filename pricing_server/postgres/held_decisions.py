"""Decisions on held changes in Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
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
from pricing_server.sync.coverage import Covers, with_coverage
from pricing_server.sync.held import HoldDecision, HoldStatus, ResolveOutcome, ResolveRequest
from pricing_server.sync.quoted import QuotedModel
from pricing_server.sync.resolution import Resolver
from pricing_server.sync.table_state import KnownModel, ModelName, Quote, TableState

_SQL = statements("holds")
_SYNC_SQL = statements("sync")

_STATUSES: Final = {
    HoldDecision.APPROVE: HoldStatus.APPROVED,
    HoldDecision.REJECT: HoldStatus.REJECTED,
}


async def resolve_held_change(
    conninfo: str, request: ResolveRequest, covers: Mapping[str, Covers]
) -> ResolveOutcome:
    """Approve or reject a held change, of a feed with all its models, in one transaction.

    Raises HeldChangeNotFound, HeldChangeNotOpen, DatabaseUnavailable.
    """
    with translated_errors():
        async with await connect_writer(conninfo) as connection, connection.transaction():
            outcome = await _resolve(connection, request, covers)
            pass_fault_point(FaultPoint.BEFORE_COMMIT)
    pass_fault_point(FaultPoint.AFTER_COMMIT)
    return outcome


async def _resolve(
    connection: Connection, request: ResolveRequest, covers: Mapping[str, Covers]
) -> ResolveOutcome:
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
            connection, await cursor.fetchall(), request, covers, revision, changed_at
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
    covers: Mapping[str, Covers],
    revision: int,
    changed_at: datetime,
) -> tuple[int, tuple[PriceChange, ...]]:
    """Make the quotes of their sources of these held changes; the revision and what changed."""
    if not rows:
        return revision, ()
    source: str = rows[0]["source"]  # A feed is of one source, as a model is.
    decided = [(row["provider"], row["model_id"]) for row in rows]
    state = await _read_state(connection, decided, source, covers)
    cards = await read_cards(
        connection,
        {model.card_id for model in state.models.values() if model.card_id is not None}
        | {quote.card_id for each in state.quotes.values() for quote in each},
    )
    resolver = Resolver(cards, request.origin, changed_at)
    quoted, covered, uncovered = [], [], []
    approved: dict[ModelName, Quote] = {}
    for row in rows:
        key, hold = (row["provider"], row["model_id"]), stated_hold(row)
        cards.setdefault(hold.card.card_id, hold.card)
        quoted.append(QuotedModel.released(key, hold))
        approved[key] = hold.quote
        covered += [(key, one) for one in state.covered.get(key, ())]
        before = {quote.source: quote for quote in state.quotes_for(key)}
        quotes = {**before, source: hold.quote}
        model = state.models.get(key)
        if model is None:
            resolver.add(key, quotes.values())
            continue
        if source in before and before[source].stated_as is not None:
            uncovered.append(model.model_key)
        resolver.resolve(model, quotes.values(), {source})
    for key, model in state.models.items():
        quotes = {quote.source: quote for quote in state.quotes_of(model)}
        own = quotes.get(source)
        covering = approved.get((key[0], own.stated_as)) if own and own.stated_as else None
        if own is not None and covering is not None and key not in approved:
            covering = replace(covering, stated_as=own.stated_as, is_inferred=own.is_inferred)
            resolver.resolve(model, {**quotes, source: covering}.values(), {source})
    revision += bool(resolver.changes)
    await write_approval(
        connection,
        quoted,
        covered,
        cards,
        resolver,
        {row["provider"]: row["provider_name"] for row in rows},
        {
            "revision": revision,
            "changed_at": changed_at,
            "source": source,
            "uncovered": uncovered,
        },
    )
    await drop_validators(connection, source)
    if resolver.changes:
        await connection.execute(_SYNC_SQL["advance_head"])
    return revision, tuple(replace(change, revision=revision) for change in resolver.changes)


async def _read_state(
    connection: Connection,
    decided: Sequence[ModelName],
    source: str,
    covers: Mapping[str, Covers],
) -> TableState:
    """The decided models, those that they cover, and those that cover them at other sources."""
    covers = {slug: look for slug, look in covers.items() if slug != source}
    covering = await asyncio.to_thread(_covering, decided, covers)
    models = await _read_models(connection, [*decided, *covering])
    keys = [models[key].model_key for key in decided if key in models]
    cursor = await connection.execute(_SYNC_SQL["read_covered"], {"model_keys": keys})
    models |= {model.key: model async for model in (known_model(row) async for row in cursor)}
    state = TableState(models, await read_quotes(connection, models.values()))
    return with_coverage(state, decided, source, covers)


def _covering(decided: Sequence[ModelName], covers: Mapping[str, Covers]) -> list[ModelName]:
    return [
        (key[0], found.stated_as)
        for key in decided
        for look in covers.values()
        if (found := look(*key)) is not None
    ]


async def _read_models(
    connection: Connection, names: Sequence[ModelName]
) -> dict[ModelName, KnownModel]:
    cursor = await connection.execute(
        _SQL["read_decided_models"],
        {
            "providers": [provider for provider, _ in names],
            "model_ids": [model_id for _, model_id in names],
        },
    )
    return {model.key: model async for model in (known_model(row) async for row in cursor)}
