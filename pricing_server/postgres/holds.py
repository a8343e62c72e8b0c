"""Held changes in Postgres, as a sync reads and writes them in its transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from psycopg.types.json import Jsonb

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState
from llmpricing.units import plain
from pricing_server.postgres.connection import Connection, Row, card_of, only
from pricing_server.postgres.staging import stage_rows
from pricing_server.postgres.statements import statements
from pricing_server.providers.source import ListedModel, Listing, Source
from pricing_server.sync.held import FIRST_SYNC_REASONS, HoldEvidence, HoldReason, HoldStatus
from pricing_server.sync.plan import Plan
from pricing_server.sync.table_state import (
    Holds,
    ModelName,
    OpenFeed,
    OpenHold,
    Rejection,
    StatedHold,
)

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
    own: dict[ModelName, OpenHold] = {}
    rejected: dict[ModelName, Rejection] = {}
    async for row in await connection.execute(_SQL["read_holds"], {"source": source.slug}):
        key = (row["provider"], row["model_id"])
        if row["model_id"] is None:
            feed = OpenFeed(row["held_change_id"], HoldReason(row["reason"]))
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
    return Holds(feed, own, rejected, others)


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


async def write_holds(
    connection: Connection, plan: Plan, listing: Listing, source: Source, sync_run_id: int
) -> None:
    """Open, state again and end held changes. Their cards are stored already."""
    holding = plan.holding
    values: dict[str, Any] = {
        "source": source.slug,
        "sync_run_id": sync_run_id,
        "changed_at": plan.changed_at,
        "obtained_at": listing.obtained_at,
    }

    async def change(statement: str, ids: Iterable[int], **more: object) -> None:
        if found := list(ids):
            await connection.execute(_SQL[statement], {**values, "held_change_ids": found, **more})

    # Before new ones are opened: of a model one entry is open at a time.
    await change("end_holds", holding.expired, status=HoldStatus.EXPIRED)
    await change("end_holds", holding.released, status=HoldStatus.RELEASED)
    await change("lapse_rejections", holding.lapsed)
    await change("state_again", holding.again)
    if plan.held:
        await connection.execute(_SQL["keep_quotes"], {**values, "model_keys": list(plan.held)})
    if not holding.opened:
        return
    feed_id = holding.same_feed
    if holding.feed is not None and feed_id is None:
        cursor = await connection.execute(
            _SQL["open_feed"],
            {
                **values,
                "reason": holding.feed.reason,
                "evidence": evidence_document(holding.feed.evidence),
            },
        )
        feed_id = only(await cursor.fetchone())["held_change_id"]
    await stage_rows(
        connection,
        "holds",
        (
            (
                opened.listed.provider,
                opened.listed.model_id,
                opened.card_id,
                opened.listed.fragment,
                listing.provider_names.get(opened.listed.provider, opened.listed.provider),
                opened.listed.hugging_face_id,
                opened.listed.canonical_slug,
                opened.listed.alias_target,
                opened.listed.context_length,
                opened.suspicion.reason,
                evidence_document(() if opened.is_of_feed else opened.suspicion.evidence),
                feed_id if opened.is_of_feed else None,
            )
            for opened in holding.opened
        ),
    )
    await connection.execute(_SQL["open_holds"], values)


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
    )


def evidence_document(evidence: Iterable[HoldEvidence]) -> Jsonb:
    """Evidence as it is stored: numbers are decimal strings."""
    return Jsonb(
        [
            {
                "meter": one.meter.value,
                "ratio": plain(one.ratio),
                "references": one.references,
                "stated": None if one.stated is None else plain(one.stated),
                "reference": None if one.reference is None else plain(one.reference),
                "reference_source": one.reference_source,
            }
            for one in evidence
        ]
    )


def evidence_of(document: Iterable[Mapping[str, Any]]) -> tuple[HoldEvidence, ...]:
    """What `evidence_document` wrote."""
    return tuple(
        HoldEvidence(
            meter=Meter(one["meter"]),
            ratio=Decimal(one["ratio"]),
            references=one["references"],
            stated=None if one["stated"] is None else Decimal(one["stated"]),
            reference=None if one["reference"] is None else Decimal(one["reference"]),
            reference_source=one["reference_source"],
        )
        for one in document
    )
