"""Setting and ending overrides: transactions that read, plan and write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Protocol, TypeAlias

from llmpricing.rate_card import PriceState, RateCard
from pricing_server.domain.errors import (
    ConfirmRequired,
    InvalidArgument,
    ModelNotFound,
    ModelNotPriced,
    OverrideNotFound,
)
from pricing_server.domain.head import Head
from pricing_server.domain.names import ModelName
from pricing_server.domain.override import (
    ClearRequest,
    OverrideOutcome,
    OverridePreview,
    OverrideRequest,
    PriceOverride,
)
from pricing_server.domain.price_change import SERVER, ChangeOrigin, OriginKind
from pricing_server.domain.quote import Covered
from pricing_server.sync.coverage import Covers
from pricing_server.sync.override_leap import Leap, first_leap
from pricing_server.sync.patching import scaled
from pricing_server.sync.settlement import (
    ConcernedModel,
    Settlement,
    Turn,
    card_without_override,
    cards_to_settle,
    plan_settlement,
)

ENDED: Final = ChangeOrigin(OriginKind.OVERRIDE_ENDED, SERVER)
"""Where a change comes from when an override ends by itself."""


@dataclass(frozen=True, slots=True)
class StandingOverride:
    """An override in force."""

    override_id: int
    model_key: int
    until: datetime | None


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A model that the price table has."""

    model_key: int
    is_left: bool
    """Whether only an override that has ended ever priced it."""


@dataclass(frozen=True, slots=True)
class EndedOverrides:
    """How many overrides had reached their end, and the state of the price table after it."""

    count: int
    head: Head


class OverrideWork(Protocol):
    """The price table in one transaction that has locked its head: nothing that is read here
    changes before the commit, and what is written comes with it or not at all."""

    @property
    def head(self) -> Head:
        """The state of the price table before it."""

    async def registered(self, key: ModelName) -> RegisteredModel | None:
        """A model of the price table; None if nobody knows it."""

    async def register(self, key: ModelName, covered: Sequence[Covered]) -> int:
        """Make a model known, with the sources that may state it under another id; its key."""

    async def put(self, model_key: int, request: OverrideRequest, at: datetime) -> int:
        """Write an override in place of the one before, if there is one; its id."""

    async def of_model(self, key: ModelName) -> Sequence[StandingOverride]:
        """The override in force of one model, if there is one."""

    async def due(self) -> Sequence[StandingOverride]:
        """The overrides that have reached their end."""

    async def end(self, model_keys: Sequence[int], origin: ChangeOrigin, at: datetime) -> None:
        """End the overrides of these models. What is left of their quotes states no price."""

    async def concerned(self, model_keys: Sequence[int]) -> Sequence[ConcernedModel]:
        """These models and those that they cover."""

    async def cards(self, card_ids: Collection[str]) -> Mapping[str, RateCard]:
        """Stored cards by id."""

    async def settle(self, settlement: Settlement) -> Head:
        """Write what is in force now; the state of the price table after it."""


OpenOverrideWork: TypeAlias = Callable[[bool], AbstractAsyncContextManager[OverrideWork]]
"""Begins one transaction, which is committed at its end, or rolled back in a dry run (True).
Raises DatabaseUnavailable."""


async def set_override(
    open_work: OpenOverrideWork, request: OverrideRequest, covers: Mapping[str, Covers]
) -> OverrideOutcome:
    """Put a price in force.

    `covers` are the ids that sources, by slug, state without listing them. Raises
    InvalidArgument if it ends before it begins; ModelNotFound if nobody knows the model;
    ModelNotPriced if there is nothing to take a percent of; ConfirmRequired;
    DatabaseUnavailable.
    """
    key = (request.provider, request.model_id)
    async with open_work(request.dry_run) as work:
        at = datetime.now(UTC)
        if request.until is not None and request.until <= at:
            raise InvalidArgument("until", "is not in the future")
        model_key = await _model_key(work, request, covers)
        if request.percent is not None:
            stated = await _stated(work, model_key, at)
            if stated is None or stated.state is not PriceState.PRICED:
                state = stated.state if stated is not None else PriceState.UNPRICED
                raise ModelNotPriced(*key, state)
            request = replace(request, card=scaled(stated, request.percent))
        override_id = await work.put(model_key, request, at)
        named = None if request.dry_run else override_id
        turn = Turn(at, replace(request.origin, override_id=named))
        settled = await _planned(work, {model_key: turn}, at)
        leap = _leap(settled, key, at)
        if request.dry_run:
            outcome = _outcome(settled, key, work.head, dry_run=True)
            preview = _preview(settled, key, at, needs_confirm=leap is not None)
            covered = settled.covered_by(key)
            return replace(outcome, covered_model_ids=covered, preview=preview)
        if leap is not None and not request.confirm:
            raise ConfirmRequired(key, leap.price, leap.override_price, leap.stated_price)
        head = await work.settle(settled)
    return replace(
        _outcome(settled, key, head),
        price_override=PriceOverride(
            override_id=override_id,
            provider=request.provider,
            model_id=request.model_id,
            card=request.card,
            replace_card=request.replace_card,
            percent=request.percent,
            reason=request.reason,
            set_by=request.set_by,
            set_at=at,
            until=request.until,
        ),
        covered_model_ids=settled.covered_by(key),
    )


async def clear_override(open_work: OpenOverrideWork, request: ClearRequest) -> OverrideOutcome:
    """End an override. Raises OverrideNotFound, DatabaseUnavailable."""
    key = (request.provider, request.model_id)
    async with open_work(request.dry_run) as work:
        standing = await work.of_model(key)
        if not standing:
            raise OverrideNotFound(*key)
        at = datetime.now(UTC)
        settled = await _ended(work, standing, request.origin, at)
        if request.dry_run:
            preview = _preview(settled, key, at, needs_confirm=False)
            return replace(_outcome(settled, key, work.head, dry_run=True), preview=preview)
        head = await work.settle(settled)
    return _outcome(settled, key, head)


async def end_due_overrides(open_work: OpenOverrideWork) -> EndedOverrides | None:
    """End the overrides that have reached their end, as one revision; None if there are none.

    However many processes try at once, one of them does it. Raises DatabaseUnavailable.
    """
    async with open_work(False) as work:
        standing = await work.due()
        if not standing:
            return None
        head = await work.settle(await _ended(work, standing, ENDED, datetime.now(UTC)))
    return EndedOverrides(len(standing), head)


async def _model_key(
    work: OverrideWork, request: OverrideRequest, covers: Mapping[str, Covers]
) -> int:
    """The key of the model, which is registered if it may be. Raises ModelNotFound."""
    key = (request.provider, request.model_id)
    known = await work.registered(key)
    if (known is None or known.is_left) and not request.register:
        raise ModelNotFound(request.model_id, request.provider)
    if known is not None:
        return known.model_key
    # In a thread, so that look-ups go on.
    return await work.register(key, await asyncio.to_thread(_covered, key, covers))


async def _ended(
    work: OverrideWork,
    standing: Sequence[StandingOverride],
    origin: ChangeOrigin,
    at: datetime,
) -> Settlement:
    turns = {
        one.model_key: Turn(
            min(at, one.until) if one.until is not None else at,
            replace(origin, override_id=one.override_id),
        )
        for one in standing
    }
    await work.end(list(turns), origin, at)
    return await _planned(work, turns, at)


async def _stated(work: OverrideWork, model_key: int, at: datetime) -> RateCard | None:
    """The card of a model without an override; None if no source states anything of it."""
    for one in await work.concerned([model_key]):
        if one.model.model_key == model_key:
            cards = await work.cards(cards_to_settle([one]))
            return card_without_override(one, cards, at)
    return None


async def _planned(work: OverrideWork, turns: Mapping[int, Turn], at: datetime) -> Settlement:
    concerned = await work.concerned(list(turns))
    cards = await work.cards(cards_to_settle(concerned))
    return plan_settlement(concerned, cards, turns, at)


def _leap(settled: Settlement, key: ModelName, at: datetime) -> Leap | None:
    stated = settled.card_beneath(key)
    return first_leap(settled.card_of(key), stated, at) if stated is not None else None


def _preview(
    settled: Settlement, key: ModelName, at: datetime, *, needs_confirm: bool
) -> OverridePreview:
    change, found = settled.change_of(key), settled.in_force[key]
    new, sources = found.card, found.completed.sources
    # Without a change the price is the same, whoever states it now.
    old, old_sources = (change.old, change.old_sources) if change is not None else (new, sources)
    return OverridePreview(old, old_sources, new, sources, needs_confirm, at)


def _outcome(
    settled: Settlement, key: ModelName, head: Head, *, dry_run: bool = False
) -> OverrideOutcome:
    change = settled.change_of(key)
    if change is not None and not dry_run:
        change = replace(change, revision=head.revision)
    return OverrideOutcome(head.revision, head.epoch, change)


def _covered(key: ModelName, covers: Mapping[str, Covers]) -> list[Covered]:
    return [found for look in covers.values() if (found := look(*key)) is not None]
