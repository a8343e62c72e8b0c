"""What reverting a sync run changes in the price table: a pure function of the run's history.

The rules:

- A model whose price changed again after the run is refused and left as it is.
- An override is never touched. Of a model that was overridden after the run, the quote beneath
  is reverted, so that the end of the override does not bring the run's price back; overrides
  that have ended since are no reason to refuse.
- Else the card before the run is in force again. A model that the run added has none:
  it stays registered, and its price is not known.
- A model that the run delisted is listed again, and the other way round.
- A model that the run was the first to list, and that another source prices under another id,
  keeps that price.
- The quote of the run's source follows, so that a sync of another source does not bring
  the reverted price back: it points to the restored card if that was this source's, else
  to no known price, which yields to the source that told the restored card.
- What the run newly stated and did not bring into force (beneath an override or another
  source) has no row in the history, and what the source stated before is not kept: such a
  quote stays, and nothing confirms it any more. Where it may come into force unseen, beneath
  an override, or came into force since, the model is refused.

The next sync of the same source states its price again, and then that is in force.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, assert_never

from llmpricing.rate_card import UNPRICED, RateCard
from pricing_server.domain.names import ModelName
from pricing_server.domain.override import OVERRIDE
from pricing_server.domain.price_change import (
    ChangeKind,
    PriceChange,
)
from pricing_server.domain.quote import MISSING_SYNCS_TO_DELIST
from pricing_server.domain.revert import RefusalReason, Refused, RevertRequest
from pricing_server.sync.table_state import Attribution


@dataclass(frozen=True, slots=True)
class Told:
    """Which source told a card, and when its data first stated it."""

    source: str
    effective_time: datetime
    stated_card: str | None = None
    """The id of the card that the source itself stated, which others may complete."""


@dataclass(frozen=True, slots=True)
class RunChange:
    """One change that the run made, with what the price table says of the model now."""

    model_key: int
    provider: str
    model_id: str
    kind: ChangeKind
    source: str
    """That told the card after the change; not always the source of the run."""
    old: RateCard | None
    new: RateCard
    before: Told | None
    """Of the card before the change; None for the model's first."""
    later_revision: int | None
    """Of the model's newest change after the run that is not by an override; None if none."""
    missing_syncs: int
    """Of the quote of the run's source."""
    override_revision: int | None = None
    """Of the newest change after the run by which an override began or ended."""
    is_overridden: bool = False
    card_in_force: str | None = None
    """The id of the card; None where nothing changed it after the run."""
    quoted_card: str | None = None
    """The id of the card that the run's source quotes now."""
    is_covered: bool = False
    """Whether the source that told the card states it under another id."""
    stated_card: str | None = None
    """The id of the card that `source` itself stated, which others may complete."""
    old_sources: tuple[str, ...] = ()
    """Who stated each rate of the old card."""
    new_sources: tuple[str, ...] = ()
    """Who stated each rate of the new card."""


@dataclass(frozen=True, slots=True)
class RunStatement:
    """A price that the run was the first to state, as the quote of its source still has it,
    with what is in force of the model now."""

    model_key: int
    provider: str
    model_id: str
    is_confirmed: bool
    is_overridden: bool
    is_in_force_since: bool
    """Whether it came into force after the run, as what was in force before it lapsed."""
    price_revision: int
    """Of the price in force."""


@dataclass(frozen=True, slots=True)
class QuoteReset:
    """What the quote of the run's source becomes. None leaves a card and its time as they are."""

    model_key: int
    card_id: str | None
    obtained_at: datetime | None
    missing_syncs: int


@dataclass(frozen=True, slots=True)
class RestoredBeneath:
    """The card that is in force again as soon as the override of a model ends."""

    model_key: int
    card_id: str
    rate_sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RevertPlan:
    """Everything that a revert writes."""

    changes: tuple[PriceChange, ...]
    resets: tuple[QuoteReset, ...]
    refused: tuple[Refused, ...]
    unconfirmed: tuple[int, ...] = ()
    """Model keys whose quote of the run's source stays and is confirmed no more."""
    beneath: tuple[RestoredBeneath, ...] = ()

    @property
    def is_any(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.changes or self.resets or self.unconfirmed)


StatedUnder: TypeAlias = Mapping[tuple[str, str, str], str]
"""By (provider, model id, source) the other id under which the source states the model."""


def make_revert_plan(
    run_changes: Sequence[RunChange],
    statements: Sequence[RunStatement],
    run_source: str,
    request: RevertRequest,
    changed_at: datetime,
) -> RevertPlan:
    """Plan the revert of a run of `run_source` that made these changes and statements."""
    changes: list[PriceChange] = []
    resets: list[QuoteReset] = []
    refused: list[Refused] = []
    beneath: list[RestoredBeneath] = []
    for change in run_changes:
        if change.later_revision is not None:
            refused.append(Refused(change.provider, change.model_id, change.later_revision))
            continue
        if _is_covered_by_another(change, run_source) or _is_of_patch(change):
            continue
        kind = _opposite(change.kind)
        card = UNPRICED if change.old is None else change.old
        if change.override_revision is not None and not _is_still_in_force(change):
            if _is_beneath_override(change, run_source):
                told = change.before or Told(change.source, changed_at)
                resets.append(_reset(change, kind, card, told, run_source))
                beneath.append(RestoredBeneath(change.model_key, card.card_id, change.old_sources))
            else:
                refused.append(Refused(change.provider, change.model_id, change.override_revision))
            continue
        if kind is ChangeKind.CHANGED and card.card_id == change.new.card_id:
            continue  # Added without a price: nothing to take back.
        told = change.before or Told(change.source, changed_at)
        changes.append(
            PriceChange(
                kind=kind,
                provider=change.provider,
                model_id=change.model_id,
                old=change.new,
                new=card,
                source=told.source,
                effective_time=told.effective_time,
                changed_at=changed_at,
                origin=request.origin,
                old_sources=change.new_sources,
                new_sources=change.old_sources,
                stated_card_id=told.stated_card or card.card_id,
            )
        )
        resets.append(_reset(change, kind, card, told, run_source))
    restored = {reset.model_key for reset in resets if reset.card_id is not None}
    left = [one for one in statements if one.model_key not in restored]
    return RevertPlan(
        tuple(changes),
        tuple(resets),
        _with_statements(refused, left, run_source),
        tuple(one.model_key for one in left if one.is_confirmed),
        tuple(beneath),
    )


def attributions_of(plan: RevertPlan, stated_under: StatedUnder) -> Mapping[ModelName, Attribution]:
    """Whose the restored prices are. Who disagrees with them is found by the next sync."""
    return {
        (change.provider, change.model_id): Attribution(
            change.source,
            stated_under.get((change.provider, change.model_id, change.source)),
            change.new_sources,
        )
        for change in plan.changes
    }


def beneath_override(source: str) -> str:
    """Why a model is refused whose override hides what the run stated, and what to do."""
    return (
        "the price that the run stated stays beneath the override, unconfirmed, as the one "
        f"before it is not kept: sync {source} again before clearing the override"
    )


def _with_statements(
    refused: Sequence[Refused], left: Sequence[RunStatement], run_source: str
) -> tuple[Refused, ...]:
    """The refused models, each once, with those of which a statement of the run may come, or
    came, into force unseen."""
    found = {(one.provider, one.model_id): one for one in refused}
    for one in left:
        key = (one.provider, one.model_id)
        if one.is_overridden:
            revision = found[key].revision if key in found else one.price_revision
            message = beneath_override(run_source)
            found[key] = Refused(*key, revision, RefusalReason.BENEATH_OVERRIDE, message)
        elif one.is_in_force_since:
            found.setdefault(key, Refused(*key, one.price_revision))
    return tuple(found.values())


def _is_covered_by_another(change: RunChange, run_source: str) -> bool:
    """Whether the run only was the first to list an id that another source prices under another
    id: that price does not come from the run."""
    return change.kind is ChangeKind.ADDED and change.source != run_source and change.is_covered


def _is_of_patch(change: RunChange) -> bool:
    """Whether the run moved rates that an override leaves as the sources state them. What the run
    stated stays there, unconfirmed: only the price in force of before is kept, and not what the
    run's source stated then."""
    is_moved = change.kind is ChangeKind.CHANGED and change.source == OVERRIDE
    return is_moved and change.is_overridden


def _is_still_in_force(change: RunChange) -> bool:
    return not change.is_overridden and change.card_in_force == change.new.card_id


def _is_beneath_override(change: RunChange, run_source: str) -> bool:
    return (
        change.is_overridden
        and change.kind in (ChangeKind.ADDED, ChangeKind.CHANGED)
        and change.source == run_source
        and change.quoted_card == (change.stated_card or change.new.card_id)
    )


def _opposite(kind: ChangeKind) -> ChangeKind:
    match kind:
        case ChangeKind.ADDED | ChangeKind.CHANGED:
            return ChangeKind.CHANGED
        case ChangeKind.DELISTED:
            return ChangeKind.RESTORED
        case ChangeKind.RESTORED:
            return ChangeKind.DELISTED
    assert_never(kind)


def _reset(
    change: RunChange, kind: ChangeKind, card: RateCard, told: Told, run_source: str
) -> QuoteReset:
    missing_syncs = (
        max(change.missing_syncs, MISSING_SYNCS_TO_DELIST)
        if kind is ChangeKind.DELISTED
        else min(change.missing_syncs, MISSING_SYNCS_TO_DELIST - 1)
    )
    if told.source == run_source:
        # When the card was last stated is not known: not before it was first stated.
        obtained_at = told.effective_time if change.old is not None else None
        stated = told.stated_card or card.card_id
        return QuoteReset(change.model_key, stated, obtained_at, missing_syncs)
    if run_source in (change.source, *change.new_sources):
        return QuoteReset(change.model_key, UNPRICED.card_id, None, missing_syncs)
    return QuoteReset(change.model_key, None, None, missing_syncs)
