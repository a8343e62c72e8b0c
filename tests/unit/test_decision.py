"""A decision on a held change is one transaction: it reads, plans, and writes all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from llmpricing.rate_card import RateCard
from pricing_server.domain.errors import HeldChangeNotFound, HeldChangeNotOpen
from pricing_server.domain.head import Head
from pricing_server.domain.held_change import (
    HeldChange,
    HoldDecision,
    HoldReason,
    HoldStatus,
    ResolveOutcome,
    ResolveRequest,
)
from pricing_server.domain.names import ModelName
from pricing_server.sync.approval_plan import ApprovalPlan, DecidedHold
from pricing_server.sync.decision import decide
from pricing_server.sync.table_state import StatedHold, TableState
from tests.unit._price_table import priced

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
CARD = priced("1")
HEAD = Head(4, "epoch")
HOLD = StatedHold(7, "api", 10, True, CARD, "{}", NOON, NOON, last_run=3)


@dataclass
class Work:
    """Notes what is written; see `pricing_server.sync.decision.DecisionWork`."""

    head: Head = HEAD
    stands: HoldStatus | None = HoldStatus.OPEN
    holds: Sequence[DecidedHold] = (DecidedHold(("acme", "one"), "Acme", HOLD),)
    approved: list[ApprovalPlan] = field(default_factory=list)
    decisions: list[HoldStatus] = field(default_factory=list)
    believed: list[int] = field(default_factory=list)
    is_committed: bool = False

    async def status(self, held_change_id: int) -> HoldStatus | None:
        return self.stands

    async def decided(self, held_change_id: int) -> Sequence[DecidedHold]:
        return self.holds

    async def state(
        self, decided: Sequence[ModelName], covering: Sequence[ModelName]
    ) -> TableState:
        return TableState({}, {})

    async def cards(self, card_ids: Collection[str]) -> Mapping[str, RateCard]:
        return {}

    async def approve(self, plan: ApprovalPlan) -> Head:
        self.approved.append(plan)
        return Head(self.head.revision + 1, self.head.epoch)

    async def believe_shrunk_feed(self, held_change_id: int) -> None:
        self.believed.append(held_change_id)

    async def decide(
        self, request: ResolveRequest, status: HoldStatus, decided_at: datetime
    ) -> HeldChange:
        self.decisions.append(status)
        return HeldChange(
            held_change_id=request.held_change_id,
            source="api",
            provider="acme",
            model_id="one",
            feed_id=None,
            models=1,
            reason=HoldReason.RATIO_TO_PAST,
            evidence=(),
            old=None,
            new=CARD,
            fragment="{}",
            status=status,
            held_since=NOON,
            last_stated=NOON,
            last_run_id=3,
            resolved_at=decided_at,
            resolved_by=request.resolved_by,
            note=request.note,
        )

    @asynccontextmanager
    async def deciding(self) -> AsyncIterator[Work]:
        yield self
        self.is_committed = True

    async def resolve(self, decision: HoldDecision) -> ResolveOutcome:
        return await decide(self, ResolveRequest(7, decision), {})


async def test_an_approval_writes_its_plan_and_the_decision_at_the_next_revision() -> None:
    work = Work()
    outcome = await work.resolve(HoldDecision.APPROVE)
    assert [plan.changes[0].new for plan in work.approved] == [CARD]
    assert (work.decisions, work.believed, work.is_committed) == ([HoldStatus.APPROVED], [7], True)
    assert (outcome.revision, outcome.epoch) == (5, "epoch")
    assert [change.revision for change in outcome.changes] == [5]
    assert outcome.changes[0].origin == ResolveRequest(7, HoldDecision.APPROVE).origin


async def test_a_rejection_writes_the_decision_alone() -> None:
    work = Work()
    outcome = await work.resolve(HoldDecision.REJECT)
    assert (work.approved, work.believed, work.decisions) == ([], [], [HoldStatus.REJECTED])
    assert (outcome.revision, outcome.changes, work.is_committed) == (4, (), True)


async def test_a_feed_without_any_open_model_is_approved_without_a_change() -> None:
    work = Work(holds=())
    outcome = await work.resolve(HoldDecision.APPROVE)
    assert (work.approved, work.decisions) == ([], [HoldStatus.APPROVED])
    assert (outcome.revision, outcome.changes) == (4, ())


@pytest.mark.parametrize(
    ("stands", "refusal"),
    [(None, HeldChangeNotFound), (HoldStatus.EXPIRED, HeldChangeNotOpen)],
)
async def test_what_is_not_there_or_not_open_is_refused_and_nothing_is_written(
    stands: HoldStatus | None, refusal: type[Exception]
) -> None:
    work = Work(stands=stands)
    with pytest.raises(refusal):
        await work.resolve(HoldDecision.APPROVE)
    assert (work.approved, work.decisions, work.is_committed) == ([], [], False)
