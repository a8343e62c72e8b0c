"""Applying what a source lists: one transaction that reads, plans and writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol, TypeAlias

from llmpricing.rate_card import RateCard
from pricing_server.domain.head import Head
from pricing_server.domain.price_change import ChangeOrigin
from pricing_server.domain.source import Source
from pricing_server.domain.source_listing import Listing
from pricing_server.runtime.fault_points import FaultPoint, pass_fault_point
from pricing_server.sync.coverage import Covers, with_coverage
from pricing_server.sync.sync_plan import ListingTerms, Plan, make_plan
from pricing_server.sync.sync_store import AppliedPlan
from pricing_server.sync.table_state import TableState, cards_to_compare


@dataclass(frozen=True, slots=True)
class SourceListing:
    """What a source lists now, and what it states without listing it."""

    source: Source
    listing: Listing
    covers: Mapping[str, Covers]
    """By source, of all sources."""
    register_unknown: bool = True
    """Whether models that are not known yet become known."""


@dataclass(frozen=True, slots=True)
class WrittenPlan:
    """The state of the price table after a plan was written, and when its run was finished."""

    head: Head
    completed_at: datetime


class ListingWork(Protocol):
    """The price table in one transaction: of a preview at one state, else with its head locked,
    so that nothing that is read here changes before the commit."""

    @property
    def head(self) -> Head:
        """The state of the price table before it."""

    async def state(self, listing: Listing) -> TableState:
        """The part of the price table that a listing of the source may touch."""

    async def cards(self, card_ids: Collection[str]) -> Mapping[str, RateCard]:
        """Stored cards by id."""

    async def write(self, plan: Plan, listing: Listing) -> WrittenPlan:
        """Write a plan and finish the run. Raises RunDeclaredDead."""


OpenListingWork: TypeAlias = Callable[[], AbstractAsyncContextManager[ListingWork]]
"""Begins one transaction, which is committed at its end. Raises DatabaseUnavailable."""


async def preview_listing(
    open_work: OpenListingWork, listed: SourceListing, origin: ChangeOrigin
) -> AppliedPlan:
    """Plan a listing and write nothing."""
    async with open_work() as work:
        plan = await _planned(work, listed, origin)
        head = work.head
    return AppliedPlan(plan, head.revision, head.epoch, datetime.now(UTC))


async def apply_listing(
    open_work: OpenListingWork, listed: SourceListing, origin: ChangeOrigin
) -> AppliedPlan:
    """Apply a listing and finish its run: all of it or nothing. Raises RunDeclaredDead."""
    async with open_work() as work:
        plan = await _planned(work, listed, origin)
        written = await work.write(plan, listed.listing)
        pass_fault_point(FaultPoint.BEFORE_COMMIT)
    head = written.head
    changes = tuple(replace(change, revision=head.revision) for change in plan.changes)
    return AppliedPlan(
        replace(plan, changes=changes), head.revision, head.epoch, written.completed_at
    )


async def _planned(work: ListingWork, listed: SourceListing, origin: ChangeOrigin) -> Plan:
    source, listing = listed.source, listed.listing
    names = {model.key for model in listing.models}
    state = await work.state(listing)
    # In threads, so that look-ups go on.
    state = await asyncio.to_thread(with_coverage, state, names, source.slug, listed.covers)
    cards = await work.cards(cards_to_compare(state, listing, source))
    # The time is taken with the head locked, so that it grows with the revision.
    terms = ListingTerms(origin, datetime.now(UTC), listed.register_unknown)
    return await asyncio.to_thread(make_plan, state, listing, source, cards, terms)
