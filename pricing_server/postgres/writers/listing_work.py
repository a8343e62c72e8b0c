"""What a sync run reads and writes in Postgres, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from psycopg.types.json import Jsonb

from llmpricing.rate_card import RateCard
from pricing_server.domain.head import Head
from pricing_server.domain.source import Source
from pricing_server.domain.source_listing import Fault, Listing, Notice
from pricing_server.postgres.connection import ORIGIN, Connection
from pricing_server.postgres.readers.table_state import read_cards, read_state
from pricing_server.postgres.statements import statements
from pricing_server.postgres.writers.price_table import write_plan
from pricing_server.postgres.writers.validators import keep_validators
from pricing_server.runtime.fault_points import FaultPoint, pass_fault_point
from pricing_server.sync.applying import WrittenPlan
from pricing_server.sync.sync_plan import Plan
from pricing_server.sync.sync_store import LastAnswer, Named, RunDeclaredDead, StartedRun
from pricing_server.sync.table_state import TableState

MAX_LOGGED_FAULTS: Final = 1_000

_SQL = statements("sync")


@dataclass(frozen=True, slots=True)
class RunEnding:
    """How a run ends in success: with what it read, or with what it confirmed."""

    run: StartedRun
    plan: Plan
    obtained_at: datetime
    revision: int
    listing: Listing | None = None
    confirmed: LastAnswer | None = None


class PostgresListingWork:
    """See `pricing_server.sync.applying.ListingWork`. A preview has no run, and writes nothing."""

    def __init__(
        self,
        connection: Connection,
        source: Source,
        head: Head,
        run: StartedRun | None = None,
        named: Named | None = None,
    ) -> None:
        self._connection = connection
        self._source = source
        self._run = run
        self._named = named
        self.head = head

    async def state(self, listing: Listing) -> TableState:
        """The part of the price table that a listing of the source may touch."""
        return await read_state(self._connection, self._source, listing)

    async def cards(self, card_ids: Collection[str]) -> Mapping[str, RateCard]:
        """Stored cards by id."""
        return await read_cards(self._connection, card_ids)

    async def write(self, plan: Plan, listing: Listing) -> WrittenPlan:
        """Write a plan and finish the run. Raises RunDeclaredDead."""
        run = self._run
        assert run is not None, "a preview writes nothing"
        head = replace(self.head, revision=self.head.revision + bool(plan.changes))
        await write_plan(
            self._connection, plan, listing, self._source, run.sync_run_id, head.revision
        )
        await keep_validators(self._connection, self._source, self._named, plan, run.sync_run_id)
        if plan.changes:
            await self._connection.execute(_SQL["advance_head"])
        pass_fault_point(FaultPoint.BEFORE_FINISH)
        ending = RunEnding(run, plan, listing.obtained_at, head.revision, listing=listing)
        completed_at = await finish_run(self._connection, ending)
        await self._connection.execute(_SQL["notify"], {"origin": ORIGIN})
        return WrittenPlan(head, completed_at)


async def finish_run(connection: Connection, ending: RunEnding) -> datetime:
    """Move a run to success; when it did. Raises RunDeclaredDead."""
    listing, confirmed = ending.listing, ending.confirmed
    cursor = await connection.execute(
        _SQL["finish_run"],
        {
            **ending.plan.counts,
            "sync_run_id": ending.run.sync_run_id,
            "revision": ending.revision,
            "obtained_at": ending.obtained_at,
            "payload_url": listing.payload_url if listing else None,
            "payload_sha256": listing.payload_sha256 if listing else None,
            "confirmed_run_id": confirmed.sync_run_id if confirmed else None,
            "error_details": _faults(listing.faults if listing else ()),
            "notices": _notices(ending.plan.notices),
        },
    )
    row = await cursor.fetchone()
    if row is None:
        raise RunDeclaredDead(ending.run.sync_run_id)
    completed_at: datetime = row["completed_at"]
    return completed_at


def _faults(faults: Sequence[Fault]) -> Jsonb:
    return Jsonb(
        [
            {"model_id": fault.model_id, "message": fault.message}
            for fault in faults[:MAX_LOGGED_FAULTS]
        ]
    )


def _notices(notices: Sequence[Notice]) -> Jsonb:
    return Jsonb(
        [
            {
                "code": notice.code,
                "message": notice.message,
                "models": notice.models,
                "example": notice.example,
            }
            for notice in notices
        ]
    )
