"""Held changes, as a sync writes them in its transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pricing_server.domain.held_change import (
    HoldStatus,
)
from pricing_server.domain.source import Source
from pricing_server.domain.source_listing import Listing
from pricing_server.postgres.connection import Connection, only
from pricing_server.postgres.documents import evidence_document
from pricing_server.postgres.statements import statements
from pricing_server.postgres.writers.staging import stage_rows
from pricing_server.sync.sync_plan import Plan

_SQL: Final = statements("holds")


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
    if not holding.opened:
        return
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
