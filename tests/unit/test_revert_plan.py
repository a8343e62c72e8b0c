"""What a revert plans, case by case."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from llmpricing.meters import Meter
from llmpricing.rate_card import UNPRICED, PriceState, Rate, RateCard
from pricing_server.domain.price_change import ADMIN, ChangeKind, ChangeOrigin, OriginKind
from pricing_server.domain.revert import RefusalReason, Refused, RevertRequest
from pricing_server.sync.revert_plan import (
    QuoteReset,
    RevertPlan,
    RunChange,
    RunStatement,
    Told,
    beneath_override,
    make_revert_plan,
)

NOW = datetime(2026, 11, 23, tzinfo=UTC)
EARLIER = datetime(2026, 11, 1, tzinfo=UTC)
BEFORE = Told("api", EARLIER)


def card(price: int) -> RateCard:
    return RateCard.of(PriceState.PRICED, [Rate(Meter.INPUT_TOKENS, Decimal(price))])


def change(kind: ChangeKind = ChangeKind.CHANGED, **fields: Any) -> RunChange:
    """By default: the source "api" changed its own price from 1 to 2."""
    usual: dict[str, Any] = {
        "model_key": 7,
        "provider": "acme",
        "model_id": "one",
        "source": "api",
        "old": card(1),
        "new": card(2),
        "before": BEFORE,
        "later_revision": None,
        "missing_syncs": 0,
    }
    return RunChange(kind=kind, **(usual | fields))


def statement(**fields: Any) -> RunStatement:
    """By default: the source "api" newly stated a price of a model that another source tells."""
    usual: dict[str, Any] = {
        "model_key": 7,
        "provider": "acme",
        "model_id": "one",
        "is_confirmed": True,
        "is_overridden": False,
        "is_in_force_since": False,
        "price_revision": 4,
    }
    return RunStatement(**(usual | fields))


def plan(*changes: RunChange, stated: Sequence[RunStatement] = ()) -> RevertPlan:
    return make_revert_plan(changes, stated, "api", RevertRequest(3, triggered_by="ann"), NOW)


def test_a_changed_price_goes_back_to_the_card_its_source_and_its_time() -> None:
    made = plan(change())
    (back,) = made.changes
    assert (back.kind, back.old, back.new) == (ChangeKind.CHANGED, card(2), card(1))
    assert (back.source, back.effective_time) == ("api", EARLIER)
    assert back.changed_at == NOW
    assert back.origin == ChangeOrigin(OriginKind.REVERT, ADMIN, "ann", reverted_run_id=3)
    assert back.revision is None
    assert made.resets == (QuoteReset(7, card(1).card_id, EARLIER, 0),)
    assert made.refused == ()


def test_a_model_that_changed_since_is_refused_with_that_revision() -> None:
    made = plan(change(later_revision=12), change(model_key=8, model_id="two"))
    assert made.refused == (Refused("acme", "one", 12),)
    assert [one.model_id for one in made.changes] == ["two"]
    assert [reset.model_key for reset in made.resets] == [8]


def test_an_added_model_has_no_known_price_after() -> None:
    made = plan(change(ChangeKind.ADDED, old=None, before=None))
    (back,) = made.changes
    assert (back.kind, back.new) == (ChangeKind.CHANGED, UNPRICED)
    assert (back.source, back.effective_time) == ("api", NOW)
    assert made.resets == (QuoteReset(7, UNPRICED.card_id, None, 0),)


def test_a_model_that_was_added_without_a_price_stays_as_it_is() -> None:
    assert plan(change(ChangeKind.ADDED, old=None, new=UNPRICED, before=None)) == RevertPlan(
        (), (), ()
    )


def test_a_delisted_model_is_restored_and_its_quote_lists_it() -> None:
    made = plan(change(ChangeKind.DELISTED, new=card(1), missing_syncs=3))
    (back,) = made.changes
    assert (back.kind, back.new) == (ChangeKind.RESTORED, card(1))
    assert made.resets[0].missing_syncs == 1


def test_a_restored_model_is_delisted_at_the_card_before_and_its_quote_lists_it_no_more() -> None:
    made = plan(change(ChangeKind.RESTORED))
    (back,) = made.changes
    assert (back.kind, back.new) == (ChangeKind.DELISTED, card(1))
    assert made.resets == (QuoteReset(7, card(1).card_id, EARLIER, 2),)


def test_the_quote_of_a_source_that_took_over_yields_to_the_one_that_told_the_card_before() -> None:
    made = plan(change(before=Told("catalogue", EARLIER)))
    assert made.changes[0].source == "catalogue"
    assert made.resets == (QuoteReset(7, UNPRICED.card_id, None, 0),)


def test_the_quote_of_a_source_that_lost_to_another_is_restored() -> None:
    made = plan(change(source="catalogue", missing_syncs=2))
    assert made.changes[0].source == "api"
    assert made.resets == (QuoteReset(7, card(1).card_id, EARLIER, 1),)


def test_a_quote_that_told_neither_card_keeps_what_it_states() -> None:
    made = plan(change(source="catalogue", before=Told("other", EARLIER)))
    assert made.changes[0].source == "other"
    assert made.resets == (QuoteReset(7, None, None, 0),)


@pytest.mark.parametrize("kind", ChangeKind)
def test_every_kind_has_an_opposite(kind: ChangeKind) -> None:
    assert len(plan(change(kind)).changes) == 1


def test_beneath_an_override_the_quote_alone_is_reverted() -> None:
    overridden = change(
        override_revision=12,
        is_overridden=True,
        card_in_force=card(9).card_id,
        quoted_card=card(2).card_id,
    )
    made = plan(overridden)
    assert (made.changes, made.refused) == ((), ())
    assert made.resets == plan(change()).resets


def test_a_quote_beneath_an_override_that_moved_since_is_refused() -> None:
    moved = change(
        override_revision=12,
        is_overridden=True,
        card_in_force=card(9).card_id,
        quoted_card=card(3).card_id,
    )
    assert plan(moved) == RevertPlan((), (), (Refused("acme", "one", 12),))


def test_an_override_that_has_ended_since_is_no_reason_to_refuse() -> None:
    ended = change(override_revision=12, card_in_force=card(2).card_id)
    assert plan(ended) == plan(change())
    moved = change(override_revision=12, card_in_force=card(3).card_id)
    assert plan(moved).refused == (Refused("acme", "one", 12),)


def test_a_statement_beneath_another_source_is_confirmed_no_more_and_nothing_else() -> None:
    assert plan(stated=[statement()]) == RevertPlan((), (), (), unconfirmed=(7,))


def refused_beneath(revision: int) -> Refused:
    message = beneath_override("api")
    return Refused("acme", "one", revision, RefusalReason.BENEATH_OVERRIDE, message)


def test_a_statement_beneath_an_override_is_refused_with_what_to_do() -> None:
    made = plan(stated=[statement(is_overridden=True)])
    assert made == RevertPlan((), (), (refused_beneath(4),), unconfirmed=(7,))
    assert "sync api again before clearing the override" in made.refused[0].message


def test_a_statement_that_came_into_force_since_is_refused_as_a_later_change() -> None:
    made = plan(stated=[statement(is_in_force_since=True)])
    assert made == RevertPlan((), (), (Refused("acme", "one", 4),), unconfirmed=(7,))


def test_a_statement_whose_quote_is_restored_is_nothing_more_to_revert() -> None:
    for also in ({}, {"is_overridden": True}):
        assert plan(change(), stated=[statement(**also)]) == plan(change())


def test_a_statement_whose_quote_keeps_what_it_states_is_confirmed_no_more() -> None:
    kept = change(source="catalogue", before=Told("other", EARLIER))
    made = plan(kept, stated=[statement()])
    assert made.resets == (QuoteReset(7, None, None, 0),)
    assert made.unconfirmed == (7,)


def test_a_refused_model_is_named_once_and_with_what_to_do_beneath_an_override() -> None:
    changed_since = change(later_revision=12)
    beneath = statement(is_overridden=True)
    assert plan(changed_since, stated=[beneath]).refused == (refused_beneath(12),)
    surfaced = statement(is_in_force_since=True)
    assert plan(changed_since, stated=[surfaced]).refused == (Refused("acme", "one", 12),)


def test_what_is_unconfirmed_already_is_left_and_named_all_the_same() -> None:
    made = plan(stated=[statement(is_overridden=True, is_confirmed=False)])
    assert made.unconfirmed == ()
    assert len(made.refused) == 1


def test_a_source_that_completed_a_card_in_the_run_states_nothing_until_its_next_sync() -> None:
    """Else the next sync of any other source would bring the reverted rates back."""
    told = Told("catalogue", EARLIER, card(1).card_id)
    made = plan(
        change(
            source="catalogue",
            before=told,
            old_sources=("catalogue",),
            new_sources=("catalogue", "api"),
            stated_card=card(1).card_id,
        )
    )
    (back,), (reset,) = made.changes, made.resets
    assert (back.source, back.new_sources) == ("catalogue", ("catalogue",))
    assert back.stated_card_id == card(1).card_id
    assert (reset.card_id, reset.obtained_at) == (UNPRICED.card_id, None)


def test_a_source_that_others_completed_states_its_own_card_again() -> None:
    own = RateCard.of(PriceState.PRICED, [Rate(Meter.INPUT_TOKENS, Decimal(9))])
    told = Told("api", EARLIER, own.card_id)
    made = plan(change(before=told, old_sources=("api", "catalogue"), new_sources=("api",)))
    (back,), (reset,) = made.changes, made.resets
    assert (back.new, back.new_sources) == (card(1), ("api", "catalogue"))
    assert reset.card_id == own.card_id
