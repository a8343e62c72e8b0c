"""What is in force where several overrides begin or end at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from llmpricing.rate_card import UNPRICED, RateCard
from pricing_server.domain.override import OVERRIDE
from pricing_server.domain.price_change import ADMIN, SERVER, ChangeKind, ChangeOrigin, OriginKind
from pricing_server.domain.quote import Quote
from pricing_server.sync.settlement import (
    ConcernedModel,
    Turn,
    cards_to_settle,
    plan_settlement,
)
from pricing_server.sync.table_state import Attribution, KnownModel
from tests.unit._price_table import priced

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINE, THEIRS = priced("7"), priced("1")
CARDS = {card.card_id: card for card in (MINE, THEIRS, UNPRICED)}


def known(model_key: int, name: str, card: RateCard, source: str = OVERRIDE) -> KnownModel:
    return KnownModel(model_key, "acme", name, True, card.card_id, Attribution(source))


def quote(source: str, card: RateCard, rank: int, stated_as: str | None = None) -> Quote:
    return Quote(
        source, rank, False, card.card_id, card.state, NOW - timedelta(days=9), stated_as=stated_as
    )


def turn(override_id: int, minutes_ago: int) -> Turn:
    origin = ChangeOrigin(OriginKind.OVERRIDE_ENDED, SERVER, override_id=override_id)
    return Turn(NOW - timedelta(minutes=minutes_ago), origin)


def test_each_price_comes_from_the_override_of_its_own_model() -> None:
    left, theirs = quote(OVERRIDE, UNPRICED, 0), quote("api", THEIRS, 9)
    concerned = [
        ConcernedModel(known(1, "one", MINE), [left, theirs], 1),
        ConcernedModel(known(2, "two", MINE), [left, theirs], 2),
    ]
    turns = {1: turn(11, 1), 2: turn(12, 2)}
    settled = plan_settlement(concerned, CARDS, turns, NOW)
    assert [
        (change.model_id, change.origin, change.effective_time) for change in settled.changes
    ] == [("one", turns[1].origin, turns[1].at), ("two", turns[2].origin, turns[2].at)]
    assert {change.changed_at for change in settled.changes} == {NOW}


def test_the_override_of_a_model_holds_for_the_ids_that_it_covers() -> None:
    set_ = Turn(NOW, ChangeOrigin(OriginKind.OVERRIDE_SET, ADMIN, "ann", override_id=11))
    concerned = [
        ConcernedModel(
            known(1, "one", THEIRS, "api"), [quote(OVERRIDE, MINE, 0), quote("api", THEIRS, 9)], 1
        ),
        ConcernedModel(
            known(2, "one-latest", THEIRS, "api"),
            [quote(OVERRIDE, MINE, 0, "one"), quote("api", THEIRS, 9, "one")],
            1,
        ),
    ]
    settled = plan_settlement(concerned, CARDS, {1: set_}, NOW)
    assert settled.covered_by(("acme", "one")) == ("one-latest",)
    change = settled.change_of(("acme", "one-latest"))
    assert change is not None
    assert (change.kind, change.new, change.origin) == (ChangeKind.CHANGED, MINE, set_.origin)
    assert settled.change_of(("acme", "two")) is None


def test_all_cards_that_are_in_force_or_quoted_are_asked_for() -> None:
    concerned = [ConcernedModel(known(1, "one", MINE), [quote("api", THEIRS, 9)], 1)]
    assert cards_to_settle(concerned) == {MINE.card_id, THEIRS.card_id}
