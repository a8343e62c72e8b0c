"""What changes of prices read from the price table and write to it, in their caller's transaction.

The caller has locked the head first, so nothing read here can change before its commit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from psycopg import sql
from psycopg.types.json import Jsonb

from llmpricing.rate_card import PriceState, RateCard
from llmpricing.schedule import headline
from pricing_server.fault_points import FaultPoint, pass_fault_point
from pricing_server.postgres.connection import Connection, card_of
from pricing_server.postgres.statements import statements
from pricing_server.price_change import PriceChange
from pricing_server.providers.source import Listing, Source
from pricing_server.sync.plan import KnownModel, Plan, Quote, TableState

_SQL = statements("sync")

_APPLY_PLAN: Final = (
    "apply_providers",
    "apply_models",
    "apply_cards",
    "apply_quotes",
    "apply_missing",
    "apply_unreadable",
    "apply_history",
    "apply_prices",
    "apply_sources",
    "apply_activity",
)
_APPLY_CHANGES: Final = ("apply_cards", "apply_history", "apply_prices", "apply_activity")


async def read_state(connection: Connection, source: Source, listing: Listing) -> TableState:
    """The part of the price table that a listing of the source may touch."""
    cursor = await connection.execute(
        _SQL["read_models"],
        {
            "providers": list({model.provider for model in listing.models}),
            "source": source.slug,
        },
    )
    models = {
        model.key: model
        async for model in (
            KnownModel(
                model_key=row["model_key"],
                provider=row["provider"],
                model_id=row["model_id"],
                is_active=row["is_active"],
                card_id=row["card_id"],
                source=row["source"],
            )
            async for row in cursor
        )
    }
    providers = {model.model_key: model.provider for model in models.values()}
    cursor = await connection.execute(_SQL["read_quotes"], {"model_keys": list(providers)})
    quotes: dict[int, list[Quote]] = {}
    async for row in cursor:
        quotes.setdefault(row["model_key"], []).append(
            Quote(
                source=row["source"],
                rank=row["rank"],
                is_own_api=row["own_provider"] == providers[row["model_key"]],
                card_id=row["card_id"],
                state=PriceState(row["state"]),
                obtained_at=row["obtained_at"],
                missing_syncs=row["missing_syncs"],
            )
        )
    cursor = await connection.execute(_SQL["previous_obtained_at"], {"source": source.slug})
    previous = await cursor.fetchone()
    return TableState(
        models,
        {key: tuple(found) for key, found in quotes.items()},
        previous["obtained_at"] if previous else None,
    )


async def read_cards(connection: Connection, card_ids: Collection[str]) -> dict[str, RateCard]:
    """Stored cards by id."""
    cursor = await connection.execute(_SQL["read_cards"], {"card_ids": list(card_ids)})
    return {row["card_id"]: card_of(row) async for row in cursor}


async def write_plan(
    connection: Connection,
    plan: Plan,
    listing: Listing,
    source: Source,
    sync_run_id: int,
    revision: int,
) -> None:
    """Write everything that a run changes but for its row of the log and the head."""
    await _stage(connection, plan.cards, plan.changes, plan.source_changes)
    await _copy(
        connection,
        "staged_models",
        (
            (
                quoted.listed.provider,
                quoted.listed.model_id,
                quoted.listed.hugging_face_id,
                quoted.listed.canonical_slug,
                quoted.listed.alias_target,
            )
            for quoted in plan.quoted
        ),
    )
    await _copy(
        connection,
        "staged_quotes",
        (
            (
                quoted.listed.provider,
                quoted.listed.model_id,
                quoted.card_id,
                quoted.listed.fragment,
                quoted.obtained_at,
                quoted.is_confirmed,
            )
            for quoted in plan.quoted
        ),
    )
    pass_fault_point(FaultPoint.AFTER_STAGE)
    sellers = sorted({model.provider for model in listing.models})
    values = {
        "source": source.slug,
        "sync_run_id": sync_run_id,
        "revision": revision,
        "changed_at": plan.changed_at,
        "changed_by": f"api_sync:{source.slug}",
        "model_keys": list(plan.missing),
        "unreadable": list(plan.unreadable),
        "providers": sellers,
        "display_names": [listing.provider_names.get(name, name) for name in sellers],
    }
    for name in _APPLY_PLAN:
        await connection.execute(_SQL[name], values)


async def write_changes(
    connection: Connection,
    changes: Sequence[PriceChange],
    revision: int,
) -> None:
    """Write changes of known models, all by the same hand, as one revision."""
    cards = {change.new.card_id: change.new for change in changes}
    await _stage(connection, cards, changes)
    values = {
        "sync_run_id": changes[0].sync_run_id,
        "revision": revision,
        "changed_at": changes[0].changed_at,
        "changed_by": changes[0].changed_by,
    }
    for name in _APPLY_CHANGES:
        await connection.execute(_SQL[name], values)


async def _stage(
    connection: Connection,
    cards: Mapping[str, RateCard],
    changes: Iterable[PriceChange],
    source_changes: Iterable[tuple[KnownModel, str, str]] = (),
) -> None:
    for statement in _SQL["stage"].split(";"):
        await connection.execute(statement)
    await _copy(
        connection,
        "staged_cards",
        (
            (card_id, document["state"], document["currency"], Jsonb(document["rates"]))
            for card_id, document in (
                (card_id, card.to_document()) for card_id, card in cards.items()
            )
        ),
    )
    await _copy(connection, "staged_prices", _staged_prices(changes, source_changes))


async def _copy(connection: Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    statement = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            await copy.write_row(row)


def _staged_prices(
    changes: Iterable[PriceChange], source_changes: Iterable[tuple[KnownModel, str, str]]
) -> Iterable[tuple[Any, ...]]:
    for change in changes:
        price = headline(change.new, change.changed_at)
        yield (
            change.provider,
            change.model_id,
            change.kind.value,
            change.new.card_id,
            change.source,
            price.prompt,
            price.completion,
            change.effective_time,
        )
    for model, source, card_id in source_changes:
        yield (model.provider, model.model_id, None, card_id, source, None, None, None)
