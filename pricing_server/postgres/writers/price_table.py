"""What changes of prices write to the price table, in their caller's transaction.

The caller has locked the head first, so nothing read here can change before its commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from psycopg.types.json import Jsonb

from llmpricing.rate_card import RateCard
from llmpricing.schedule import headline
from pricing_server.domain.head import Head
from pricing_server.domain.names import ModelName
from pricing_server.domain.price_change import ChangeOrigin, PriceChange
from pricing_server.domain.quote import Covered
from pricing_server.domain.source import Source
from pricing_server.domain.source_listing import Listing
from pricing_server.postgres.connection import Connection, only
from pricing_server.postgres.statements import statements
from pricing_server.postgres.writers.holds import write_holds
from pricing_server.postgres.writers.staging import stage_rows
from pricing_server.runtime.fault_points import FaultPoint, pass_fault_point
from pricing_server.sync.approval_plan import ApprovalPlan
from pricing_server.sync.quoted_model import QuotedModel
from pricing_server.sync.sync_plan import Plan
from pricing_server.sync.table_state import Attribution

_SQL = statements("sync")

_APPLY_PLAN: Final = (
    "apply_providers",
    "apply_models",
    "apply_cards",
    "apply_quotes",
    "apply_uncovered",
    "apply_covered",
    "apply_missing",
    "apply_unreadable",
    "apply_history",
    "apply_prices",
    "apply_attributions",
    "apply_activity",
)
_APPLY_APPROVAL: Final = tuple(
    name for name in _APPLY_PLAN if name not in ("apply_missing", "apply_unreadable")
)
_APPLY_CHANGES: Final = (
    "apply_cards",
    "apply_history",
    "apply_prices",
    "apply_attributions",
    "apply_activity",
)


async def lock_head(connection: Connection) -> Head:
    """The state of the price table, which nobody else can change until the commit."""
    cursor = await connection.execute(_SQL["lock_head"])
    row = only(await cursor.fetchone())
    return Head(row["revision"], row["epoch"])


async def write_plan(
    connection: Connection,
    plan: Plan,
    listing: Listing,
    source: Source,
    sync_run_id: int,
    revision: int,
) -> None:
    """Write everything that a run changes but for its row of the log and the head."""
    await _stage(connection, plan.cards, plan.changes, plan.attributions)
    await _stage_covered(connection, plan.covered)
    await _stage_quotes(connection, plan.quoted, source.slug, sync_run_id)
    pass_fault_point(FaultPoint.AFTER_STAGE)
    sellers = sorted({quoted.listed.provider for quoted in plan.quoted})
    values = {
        "source": source.slug,
        "sync_run_id": sync_run_id,
        "revision": revision,
        "changed_at": plan.changed_at,
        "model_keys": list(plan.missing),
        "unreadable": list(plan.unreadable),
        "uncovered": list(plan.uncovered),
        "providers": sellers,
        "display_names": [listing.provider_names.get(name, name) for name in sellers],
    }
    for name in _APPLY_PLAN:
        await connection.execute(_SQL[name], values)
    await write_holds(connection, plan, listing, source, sync_run_id)


async def write_approval(connection: Connection, plan: ApprovalPlan, revision: int) -> None:
    """Write quotes that were held and the changes of prices in force that they bring."""
    await _stage(connection, plan.cards, plan.changes, plan.attributions)
    await _stage_covered(connection, plan.covered)
    await _stage_quotes(connection, plan.quoted)
    pass_fault_point(FaultPoint.AFTER_STAGE)
    sellers = sorted(plan.provider_names)
    values = {
        "source": plan.source,
        "revision": revision,
        "changed_at": plan.changed_at,
        "uncovered": list(plan.uncovered),
        "providers": sellers,
        "display_names": [plan.provider_names[seller] for seller in sellers],
    }
    for name in _APPLY_APPROVAL:
        await connection.execute(_SQL[name], values)


async def write_changes(
    connection: Connection,
    changes: Sequence[PriceChange],
    attributions: Mapping[ModelName, Attribution],
    cards: Mapping[str, RateCard],
    revision: int,
) -> None:
    """Write changes of known models, all of one instant, as one revision.

    `attributions` say of at least these models whose price is in force now; `cards` are those
    that they point to.
    """
    await _stage(connection, cards, changes, attributions)
    values = {
        "revision": revision,
        "changed_at": changes[0].changed_at if changes else None,
    }
    for name in _APPLY_CHANGES:
        await connection.execute(_SQL[name], values)


async def _stage(
    connection: Connection,
    cards: Mapping[str, RateCard],
    changes: Iterable[PriceChange],
    attributions: Mapping[ModelName, Attribution],
) -> None:
    await stage_rows(
        connection,
        "cards",
        (
            (card_id, document["state"], document["currency"], Jsonb(document["rates"]))
            for card_id, document in (
                (card_id, card.to_document()) for card_id, card in cards.items()
            )
        ),
    )
    await stage_rows(connection, "prices", _staged_prices(changes, attributions))


async def _stage_covered(
    connection: Connection, covered: Iterable[tuple[ModelName, Covered]]
) -> None:
    await stage_rows(
        connection,
        "covered",
        ((*key, one.source, one.stated_as, one.is_inferred) for key, one in covered),
    )


async def _stage_quotes(
    connection: Connection,
    quoted: Iterable[QuotedModel],
    source: str | None = None,
    sync_run_id: int | None = None,
) -> None:
    """Stage quotes with their models; those that name no source are of this source and run."""
    quoted = list(quoted)
    # If a model has two quotes, the names in the run's own row are kept, which comes first.
    listed = {one.listed.key: (one.listed, one.source) for one in reversed(quoted)}
    await stage_rows(
        connection,
        "models",
        (
            (
                *key,
                model.hugging_face_id,
                model.canonical_slug,
                model.alias_target,
                model.context_length,
                stated_by or source,
                model.retirement_time,
                model.successor,
                # What was held says nothing of what its source lists now.
                stated_by is None,
            )
            for key, (model, stated_by) in listed.items()
        ),
    )
    await stage_rows(
        connection,
        "quotes",
        (
            (
                one.listed.provider,
                one.listed.model_id,
                one.source or source,
                one.card_id,
                one.listed.fragment,
                one.obtained_at,
                one.stated_since or one.obtained_at,
                one.sync_run_id or sync_run_id,
                one.is_confirmed,
            )
            for one in quoted
        ),
    )


def _staged_prices(
    changes: Iterable[PriceChange], attributions: Mapping[ModelName, Attribution]
) -> Iterable[tuple[Any, ...]]:
    changed = {(change.provider, change.model_id): change for change in changes}
    for key, found in attributions.items():
        change = changed.get(key)
        price = headline(change.new, change.changed_at) if change is not None else None
        yield (
            *key,
            change.kind.value if change is not None else None,
            change.new.card_id if change is not None else None,
            found.source,
            price.prompt if price is not None else None,
            price.completion if price is not None else None,
            change.effective_time if change is not None else None,
            *_origin_columns(change.origin if change is not None else None),
            found.stated_as,
            *(found.beneath or (None, None)),
            found.beneath_card_id,
            list(found.beneath_rate_sources) if found.beneath_rate_sources is not None else None,
            list(found.rate_sources),
            change.stated_card_id if change is not None else None,
            Jsonb([one.to_document() for one in found.disagreements]),
        )


def _origin_columns(origin: ChangeOrigin | None) -> tuple[Any, ...]:
    if origin is None:
        return (None,) * len(fields(ChangeOrigin))
    return (
        origin.kind.value,
        origin.actor,
        origin.note,
        origin.sync_run_id,
        origin.held_change_id,
        origin.override_id,
        origin.reverted_run_id,
    )
