"""Held changes, as a change of prices reads them in its transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState
from pricing_server.domain.held_change import FIRST_SYNC_REASONS, HoldReason, HoldStatus
from pricing_server.domain.names import ModelName
from pricing_server.domain.source import SAYS_NOTHING, Coverage, Source
from pricing_server.domain.source_listing import ListedModel
from pricing_server.postgres.connection import Connection, Row, card_of, only
from pricing_server.postgres.documents import evidence_of
from pricing_server.postgres.statements import statements
from pricing_server.sync.table_state import Holds, OpenFeed, OpenHold, Rejection, StatedHold
from pricing_server.sync.usual_prices import MIN_MODELS, OUTER_SHARE, UsualPrices

_SQL: Final = statements("holds")


async def is_first_sync(connection: Connection, source: Source) -> bool:
    """Whether the source never stated a price that was applied, or waits for its approval."""
    cursor = await connection.execute(
        _SQL["is_first_sync"],
        {
            "source": source.slug,
            "first_sync_reasons": [reason.value for reason in FIRST_SYNC_REASONS],
        },
    )
    return bool(only(await cursor.fetchone())["is_first_sync"])


async def read_holds(connection: Connection, source: Source, providers: Iterable[str]) -> Holds:
    """What is held of a source, and by others of these sellers."""
    feed: OpenFeed | None = None
    rejected_shrinking: list[int] = []
    own: dict[ModelName, OpenHold] = {}
    rejected: dict[ModelName, Rejection] = {}
    async for row in await connection.execute(_SQL["read_holds"], {"source": source.slug}):
        key = (row["provider"], row["model_id"])
        if row["model_id"] is None and row["status"] == HoldStatus.REJECTED:
            rejected_shrinking.append(row["held_change_id"])
        elif row["model_id"] is None:
            feed = OpenFeed(
                row["held_change_id"], HoldReason(row["reason"]), evidence_of(row["evidence"])
            )
        elif row["status"] == HoldStatus.REJECTED:
            rejected[key] = Rejection(row["held_change_id"], row["card_id"])
        else:
            own[key] = OpenHold(
                row["held_change_id"], row["card_id"], row["feed_id"], row["obtained_at"]
            )
    others: dict[ModelName, tuple[StatedHold, ...]] = {}
    values = {"source": source.slug, "providers": list(providers)}
    async for row in await connection.execute(_SQL["read_other_holds"], values):
        key = (row["provider"], row["model_id"])
        others[key] = (*others.get(key, ()), stated_hold(row))
    return Holds(feed, own, rejected, tuple(rejected_shrinking), others)


async def read_other_sellers(
    connection: Connection, listed: Iterable[ListedModel]
) -> Mapping[ModelName, Mapping[Meter, Decimal]]:
    """What other sellers charge for these models: the median by meter, in USD per one."""
    asked = [model for model in listed if model.card.state is PriceState.PRICED]
    if not asked:
        return {}
    cursor = await connection.execute(
        _SQL["read_other_sellers"],
        {
            "providers": [model.provider for model in asked],
            "model_ids": [model.model_id for model in asked],
            "hugging_face_ids": [model.hugging_face_id for model in asked],
            "canonical_slugs": [model.canonical_slug for model in asked],
        },
    )
    found: dict[ModelName, dict[Meter, Decimal]] = {}
    async for row in cursor:
        key = asked[row["position"] - 1].key
        found.setdefault(key, {})[Meter(row["meter"])] = row["price"]
    return found


async def read_usual_prices(connection: Connection) -> Mapping[Meter, UsualPrices]:
    """What listed models cost, of meters that enough of them have."""
    values = {"outer_share": OUTER_SHARE, "min_models": MIN_MODELS}
    cursor = await connection.execute(_SQL["read_usual_prices"], values)
    return {
        Meter(row["meter"]): UsualPrices(row["low"], row["high"], row["models"])
        async for row in cursor
    }


def stated_hold(row: Row) -> StatedHold:
    """A held change with all that it takes to put it in force."""
    return StatedHold(
        held_change_id=row["held_change_id"],
        source=row["source"],
        rank=row["rank"],
        is_own_api=row["own_provider"] == row["provider"],
        card=card_of(row),
        fragment=row["fragment_text"],
        obtained_at=row["obtained_at"],
        last_obtained_at=row["last_obtained_at"],
        last_run=row["last_run"],
        hugging_face_id=row["hugging_face_id"],
        canonical_slug=row["canonical_slug"],
        alias_target=row["alias_target"],
        context_length=row["context_length"],
        coverage=coverage_of(row),
    )


def coverage_of(row: Row) -> Coverage:
    """Where the absence of a rate is a statement of the source."""
    document = row["coverage"]
    return Coverage.from_document(document) if document is not None else SAYS_NOTHING
