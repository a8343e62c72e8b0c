"""Reverting a sync run: one transaction that reads, plans and writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol, TypeAlias

from pricing_server.domain.errors import RunNotRevertible, SyncRunNotFound
from pricing_server.domain.head import Head
from pricing_server.domain.names import ModelName
from pricing_server.domain.revert import RevertOutcome, RevertRequest
from pricing_server.domain.sync_run import SyncStatus
from pricing_server.sync.revert_plan import (
    RevertPlan,
    RunChange,
    RunStatement,
    StatedUnder,
    attributions_of,
    make_revert_plan,
)
from pricing_server.sync.table_state import Attribution


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """A run, as the log has it."""

    sync_run_id: int
    source: str
    status: SyncStatus


class RevertWork(Protocol):
    """The price table in one transaction: of a dry run at one state, else with its head locked,
    so that nothing that is read here changes before the commit."""

    @property
    def head(self) -> Head:
        """The state of the price table before it."""

    async def run(self, sync_run_id: int) -> LoggedRun | None:
        """A run of the log; None if there is none."""

    async def changes(self, run: LoggedRun) -> Sequence[RunChange]:
        """What a run changed, with what the price table says of each model now."""

    async def statements(self, run: LoggedRun) -> Sequence[RunStatement]:
        """The prices that a run was the first to state."""

    async def stated_under(self, names: Sequence[ModelName]) -> StatedUnder:
        """Under which other ids sources state these models."""

    async def write(
        self, run: LoggedRun, plan: RevertPlan, attributions: Mapping[ModelName, Attribution]
    ) -> Head:
        """Write a revert; the state of the price table after it."""


OpenRevertWork: TypeAlias = Callable[[bool], AbstractAsyncContextManager[RevertWork]]
"""Begins one transaction, which is committed at its end; of a dry run, which is the argument, it
is read-only. Raises DatabaseUnavailable."""


async def revert(open_work: OpenRevertWork, request: RevertRequest) -> RevertOutcome:
    """Restore the prices before a run in one transaction; a dry run only reads.

    Raises SyncRunNotFound, RunNotRevertible, DatabaseUnavailable.
    """
    async with open_work(request.dry_run) as work:
        run = await work.run(request.sync_run_id)
        if run is None:
            raise SyncRunNotFound(str(request.sync_run_id))
        if run.status is not SyncStatus.SUCCESS:
            raise RunNotRevertible(str(request.sync_run_id), run.status)
        changes = await work.changes(run)
        statements = await work.statements(run)
        plan = make_revert_plan(changes, statements, run.source, request, datetime.now(UTC))
        head, is_written = work.head, plan.is_any and not request.dry_run
        if is_written:
            names = [(change.provider, change.model_id) for change in plan.changes]
            attributions = attributions_of(plan, await work.stated_under(names))
            head = await work.write(run, plan, attributions)
    revision = head.revision if is_written else None
    return RevertOutcome(
        request,
        head.revision,
        head.epoch,
        tuple(replace(change, revision=revision) for change in plan.changes),
        plan.refused,
        unconfirmed=len(plan.unconfirmed),
        is_written=is_written,
    )
