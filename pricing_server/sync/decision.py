"""Deciding on a held change: one transaction that reads, plans and writes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Protocol

from llmpricing.rate_card import RateCard
from pricing_server.domain.errors import HeldChangeNotFound, HeldChangeNotOpen
from pricing_server.domain.head import Head
from pricing_server.domain.held_change import (
    HeldChange,
    HoldDecision,
    HoldStatus,
    ResolveOutcome,
    ResolveRequest,
)
from pricing_server.domain.names import ModelName
from pricing_server.runtime.fault_points import FaultPoint, pass_fault_point
from pricing_server.sync.approval_plan import ApprovalPlan, DecidedHold, cards_of, plan_approval
from pricing_server.sync.coverage import Covers, with_coverage
from pricing_server.sync.table_state import TableState

_STATUSES: Final = {
    HoldDecision.APPROVE: HoldStatus.APPROVED,
    HoldDecision.REJECT: HoldStatus.REJECTED,
}


class DecisionWork(Protocol):
    """The price table in one transaction that has locked its head: nothing that is read here
    changes before the commit, and what is written comes with it or not at all."""

    @property
    def head(self) -> Head:
        """The state of the price table before it."""

    async def status(self, held_change_id: int) -> HoldStatus | None:
        """Where a held change stands; None if there is none."""

    async def decided(self, held_change_id: int) -> Sequence[DecidedHold]:
        """What a decision is about: the held change of a model, or all open ones of a feed."""

    async def state(
        self, decided: Sequence[ModelName], covering: Sequence[ModelName]
    ) -> TableState:
        """The known ones of these models and of those that the decided ones cover."""

    async def cards(self, card_ids: Collection[str]) -> Mapping[str, RateCard]:
        """Stored cards by id."""

    async def approve(self, plan: ApprovalPlan) -> Head:
        """Write an approval; the state of the price table after it."""

    async def believe_shrunk_feed(self, held_change_id: int) -> None:
        """Count what a held feed does not list as missing once, if it is held as FEED_SHRUNK.

        Before the approval, which quotes what the feed does list.
        """

    async def decide(
        self, request: ResolveRequest, status: HoldStatus, decided_at: datetime
    ) -> HeldChange:
        """Write the decision; what it is about as it stands then."""


class DecisionStore(Protocol):
    """Where decisions are made."""

    def deciding(self) -> AbstractAsyncContextManager[DecisionWork]:
        """One transaction, committed at its end. Raises DatabaseUnavailable."""


async def decide(
    store: DecisionStore, request: ResolveRequest, covers: Mapping[str, Covers]
) -> ResolveOutcome:
    """Approve or reject a held change, of a feed with all its models, in one transaction.

    `covers` are the ids that sources, by slug, state without listing them. Raises
    HeldChangeNotFound, HeldChangeNotOpen, DatabaseUnavailable.
    """
    async with store.deciding() as work:
        status = await work.status(request.held_change_id)
        if status is None:
            raise HeldChangeNotFound(str(request.held_change_id))
        if status is not HoldStatus.OPEN:
            raise HeldChangeNotOpen(str(request.held_change_id), status)
        decided_at = datetime.now(UTC)
        plan, head = None, work.head
        if request.decision is HoldDecision.APPROVE:
            plan = await _planned(work, request, covers, decided_at)
            await work.believe_shrunk_feed(request.held_change_id)
        if plan is not None:
            head = await work.approve(plan)
        held_change = await work.decide(request, _STATUSES[request.decision], decided_at)
        pass_fault_point(FaultPoint.BEFORE_COMMIT)
    pass_fault_point(FaultPoint.AFTER_COMMIT)
    changes = plan.changes if plan is not None else ()
    return ResolveOutcome(
        held_change,
        head.revision,
        head.epoch,
        tuple(replace(change, revision=head.revision) for change in changes),
    )


async def _planned(
    work: DecisionWork,
    request: ResolveRequest,
    covers: Mapping[str, Covers],
    decided_at: datetime,
) -> ApprovalPlan | None:
    """The plan of an approval; None where nothing of a feed is open any more."""
    decided = await work.decided(request.held_change_id)
    if not decided:
        return None
    source, names = decided[0].hold.source, [one.key for one in decided]
    others = {slug: look for slug, look in covers.items() if slug != source}
    # In threads, so that look-ups go on: a feed has thousands of models.
    covering = await asyncio.to_thread(_covering, names, others)
    state = await work.state(names, covering)
    state = await asyncio.to_thread(with_coverage, state, names, source, others)
    cards = await work.cards(cards_of(state))
    return await asyncio.to_thread(plan_approval, decided, state, cards, request.origin, decided_at)


def _covering(names: Sequence[ModelName], covers: Mapping[str, Covers]) -> list[ModelName]:
    return [
        (key[0], found.stated_as)
        for key in names
        for look in covers.values()
        if (found := look(*key)) is not None
    ]
