"""A revert is one transaction: it reads, plans, and writes all of it; a dry run only reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from pricing_server.domain.errors import RunNotRevertible, SyncRunNotFound
from pricing_server.domain.head import Head
from pricing_server.domain.names import ModelName
from pricing_server.domain.price_change import ChangeKind
from pricing_server.domain.revert import RevertOutcome, RevertRequest
from pricing_server.domain.sync_run import SyncStatus
from pricing_server.sync.revert_plan import RevertPlan, RunChange, RunStatement, StatedUnder, Told
from pricing_server.sync.reverting import LoggedRun, revert
from pricing_server.sync.table_state import Attribution
from tests.unit._price_table import priced

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HEAD = Head(4, "epoch")
RUN = LoggedRun(3, "api", SyncStatus.SUCCESS)
CHANGE = RunChange(
    model_key=1,
    provider="acme",
    model_id="one",
    kind=ChangeKind.CHANGED,
    source="api",
    old=priced("1"),
    new=priced("2"),
    before=Told("api", NOON),
    later_revision=None,
    missing_syncs=0,
)


@dataclass
class Work:
    """Notes what is written; see `pricing_server.sync.reverting.RevertWork`."""

    head: Head = HEAD
    logged: LoggedRun | None = RUN
    changed: Sequence[RunChange] = (CHANGE,)
    opened: list[bool] = field(default_factory=list)
    written: list[tuple[RevertPlan, Mapping[ModelName, Attribution]]] = field(default_factory=list)

    async def run(self, sync_run_id: int) -> LoggedRun | None:
        return self.logged

    async def changes(self, run: LoggedRun) -> Sequence[RunChange]:
        return self.changed

    async def statements(self, run: LoggedRun) -> Sequence[RunStatement]:
        return ()

    async def stated_under(self, names: Sequence[ModelName]) -> StatedUnder:
        return {(*name, "api"): "one-latest" for name in names}

    async def write(
        self, run: LoggedRun, plan: RevertPlan, attributions: Mapping[ModelName, Attribution]
    ) -> Head:
        self.written.append((plan, attributions))
        return Head(self.head.revision + 1, self.head.epoch)

    @asynccontextmanager
    async def opening(self, dry_run: bool) -> AsyncIterator[Work]:
        self.opened.append(dry_run)
        yield self

    async def reverted(self, *, dry_run: bool = False) -> RevertOutcome:
        return await revert(self.opening, RevertRequest(3, dry_run=dry_run))


async def test_a_revert_writes_its_plan_at_the_next_revision() -> None:
    work = Work()
    outcome = await work.reverted()
    ((plan, attributions),) = work.written
    assert [change.new for change in plan.changes] == [priced("1")]
    assert attributions == {("acme", "one"): Attribution("api", "one-latest")}
    assert (outcome.revision, outcome.epoch, outcome.is_written) == (5, "epoch", True)
    assert [change.revision for change in outcome.changes] == [5]
    assert work.opened == [False]


async def test_a_dry_run_writes_nothing_and_shows_the_same_changes() -> None:
    work = Work()
    outcome = await work.reverted(dry_run=True)
    assert (work.opened, work.written) == ([True], [])
    assert (outcome.revision, outcome.is_written) == (4, False)
    assert [(change.new, change.revision) for change in outcome.changes] == [(priced("1"), None)]


async def test_a_revert_that_changes_nothing_writes_nothing() -> None:
    work = Work(changed=())
    outcome = await work.reverted()
    assert (work.written, outcome.changes, outcome.is_written) == ([], (), False)


@pytest.mark.parametrize(
    ("logged", "refusal"),
    [
        (None, SyncRunNotFound),
        (LoggedRun(3, "api", SyncStatus.FAILED), RunNotRevertible),
        (LoggedRun(3, "api", SyncStatus.IN_PROGRESS), RunNotRevertible),
    ],
)
async def test_only_a_run_that_succeeded_is_reverted(
    logged: LoggedRun | None, refusal: type[Exception]
) -> None:
    work = Work(logged=logged)
    with pytest.raises(refusal):
        await work.reverted()
    assert work.written == []
