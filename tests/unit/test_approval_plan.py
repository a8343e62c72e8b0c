"""What approving held changes plans: pure, against the part of the price table that it touches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from llmpricing.rate_card import RateCard
from pricing_server.domain.names import ModelName
from pricing_server.domain.override import OVERRIDE
from pricing_server.domain.price_change import ADMIN, ChangeKind, ChangeOrigin, OriginKind
from pricing_server.domain.quote import Covered, Quote
from pricing_server.sync.approval_plan import ApprovalPlan, DecidedHold, cards_of, plan_approval
from pricing_server.sync.table_state import Attribution, KnownModel, StatedHold, TableState
from tests.unit._price_table import priced

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
FIRST_STATED = NOW - timedelta(days=3)
LAST_STATED = NOW - timedelta(days=1)
ORIGIN = ChangeOrigin(OriginKind.APPROVAL, ADMIN, "ann", held_change_id=7)
ONE, OTHER = ("acme", "one"), ("acme", "other")


BEFORE, HELD, THEIRS = priced("1"), priced("100"), priced("2")
CARDS = {card.card_id: card for card in (BEFORE, HELD, THEIRS)}


def held(key: ModelName = ONE, card: RateCard = HELD) -> DecidedHold:
    hold = StatedHold(
        held_change_id=7,
        source="api",
        rank=10,
        is_own_api=True,
        card=card,
        fragment='{"price": 100}',
        obtained_at=FIRST_STATED,
        last_obtained_at=LAST_STATED,
        last_run=3,
        context_length=8_000,
    )
    return DecidedHold(key, "Acme", hold)


def quote(card: RateCard, source: str = "api", rank: int = 10) -> Quote:
    return Quote(
        source=source,
        rank=rank,
        is_own_api=source == "api",
        card_id=card.card_id,
        state=card.state,
        obtained_at=FIRST_STATED,
    )


def known(
    model_key: int,
    key: ModelName,
    card: RateCard,
    source: str = "api",
    stated_as: str | None = None,
) -> KnownModel:
    return KnownModel(model_key, *key, True, card.card_id, Attribution(source, stated_as))


def table(
    models: Sequence[KnownModel],
    quotes: Mapping[int, Sequence[Quote]],
    covered: Mapping[ModelName, tuple[Covered, ...]] | None = None,
) -> TableState:
    return TableState(
        {model.key: model for model in models},
        {key: tuple(each) for key, each in quotes.items()},
        covered=covered or {},
    )


def approved(state: TableState, *decided: DecidedHold) -> ApprovalPlan:
    """The plan with exactly the cards that `cards_of` asks for, and no other."""
    stored = {card_id: CARDS[card_id] for card_id in cards_of(state)}
    return plan_approval(decided, state, stored, ORIGIN, NOW)


def test_what_was_held_is_the_quote_of_its_source_and_in_force_since_it_was_first_stated() -> None:
    plan = approved(table([known(1, ONE, BEFORE)], {1: [quote(BEFORE)]}), held())
    (change,) = plan.changes
    assert (change.kind, change.old, change.new) == (ChangeKind.CHANGED, BEFORE, HELD)
    assert (change.source, change.effective_time) == ("api", FIRST_STATED)
    assert (change.changed_at, change.origin, change.revision) == (NOW, ORIGIN, None)
    (quoted,) = plan.quoted
    assert (quoted.source, quoted.card_id, quoted.sync_run_id) == ("api", HELD.card_id, 3)
    assert (quoted.obtained_at, quoted.stated_since) == (LAST_STATED, FIRST_STATED)
    assert (quoted.listed.context_length, quoted.is_confirmed) == (8_000, True)
    assert plan.cards == {HELD.card_id: HELD}
    assert (plan.source, plan.changed_at) == ("api", NOW)


def test_a_model_that_nobody_knew_is_added() -> None:
    plan = approved(table([], {}), held())
    (change,) = plan.changes
    assert (change.kind, change.old, change.new) == (ChangeKind.ADDED, None, HELD)
    assert plan.provider_names == {"acme": "Acme"}


def test_a_source_that_ranks_before_stays_in_force() -> None:
    state = table(
        [known(1, ONE, THEIRS, "better")], {1: [quote(THEIRS, "better", 5), quote(BEFORE)]}
    )
    plan = approved(state, held())
    assert plan.changes == ()
    assert [one.card_id for one in plan.quoted] == [HELD.card_id]
    # It disagrees from now on, which is told beside the price in force.
    (disagreement,) = plan.attributions[ONE].disagreements
    assert (disagreement.source, disagreement.other_price) == ("api", Decimal("100"))


def test_an_override_stays_in_force_over_what_is_approved_beneath_it() -> None:
    state = table(
        [known(1, ONE, THEIRS, OVERRIDE)], {1: [quote(THEIRS, OVERRIDE, 0), quote(BEFORE)]}
    )
    plan = approved(state, held())
    assert plan.changes == ()
    assert [one.card_id for one in plan.quoted] == [HELD.card_id]


def test_all_models_of_a_feed_are_decided_at_once() -> None:
    state = table([known(1, ONE, BEFORE)], {1: [quote(BEFORE)]})
    plan = approved(state, held(), held(OTHER, THEIRS))
    assert [(change.kind, change.model_id, change.new) for change in plan.changes] == [
        (ChangeKind.CHANGED, "one", HELD),
        (ChangeKind.ADDED, "other", THEIRS),
    ]
    assert {change.origin for change in plan.changes} == {ORIGIN}
    assert set(plan.cards) == {HELD.card_id, THEIRS.card_id}


def test_an_id_that_an_approved_model_covers_follows_it() -> None:
    covering = replace(quote(BEFORE), stated_as="one")
    state = table(
        [known(1, ONE, BEFORE), known(2, OTHER, BEFORE, stated_as="one")],
        {1: [quote(BEFORE)], 2: [covering]},
    )
    plan = approved(state, held())
    assert [(change.model_id, change.new) for change in plan.changes] == [
        ("one", HELD),
        ("other", HELD),
    ]
    assert plan.attributions[OTHER].stated_as == "one"
    assert plan.uncovered == ()


def test_an_approved_id_that_was_stated_under_another_one_has_a_quote_of_its_own() -> None:
    covering = replace(quote(BEFORE), stated_as="one")
    state = table(
        [known(1, ONE, BEFORE), known(2, OTHER, BEFORE, stated_as="one")],
        {1: [quote(BEFORE)], 2: [covering]},
    )
    plan = approved(state, held(OTHER))
    assert [(change.model_id, change.new) for change in plan.changes] == [("other", HELD)]
    assert plan.uncovered == (2,)
    assert plan.attributions[OTHER].stated_as is None


def test_a_new_id_that_a_better_source_states_under_another_one_takes_that_price() -> None:
    covered = Covered("better", "one", is_inferred=False)
    state = table(
        [known(1, ONE, THEIRS, "better")],
        {1: [quote(THEIRS, "better", 5)]},
        {OTHER: (covered,)},
    )
    plan = approved(state, held(OTHER))
    (change,) = plan.changes
    assert (change.kind, change.new, change.source) == (ChangeKind.ADDED, THEIRS, "better")
    assert plan.covered == ((OTHER, covered),)
    assert plan.attributions[OTHER].stated_as == "one"
