"""What setting and ending an override changes, and that no sync touches it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from llmpricing.rate_card import UNPRICED, RateCard
from pricing_server.price_change import ADMIN, ChangeKind, ChangeOrigin, OriginKind
from pricing_server.providers.source import Evidence, ListedModel, Listing, Source
from pricing_server.sync.override import (
    ENDED,
    EndPlan,
    OverrideRequest,
    plan_end,
    plan_set,
)
from pricing_server.sync.plan import (
    OVERRIDE,
    KnownModel,
    Plan,
    Quote,
    TableState,
    make_plan,
    precedence,
)
from tests.unit._price_table import priced

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=9)
ENDED_AT = NOW - timedelta(seconds=2)
MINE, THEIRS, OTHERS = priced("7"), priced("1"), priced("2")
SET = OverrideRequest("acme", "one", MINE, "{}", "a test", "ann")
LISTING = Listing((), (), (), NOW)
API = Source("api", "The API", 100, lambda document, at: LISTING, Evidence.RECORDED, "acme")


def model(
    card: RateCard | None = MINE, source: str = OVERRIDE, *, active: bool = True
) -> KnownModel:
    return KnownModel(1, "acme", "one", active, card.card_id if card else None, source)


def quote(source: str, card: RateCard, rank: int, *, own: bool = False, missing: int = 0) -> Quote:
    return Quote(source, rank, own, card.card_id, card.state, EARLIER, missing)


OVERRIDDEN = quote(OVERRIDE, MINE, 0)
ENDED_OVERRIDE = quote(OVERRIDE, UNPRICED, 0)


def ended(*beneath: tuple[Quote, RateCard], in_force: RateCard = MINE) -> EndPlan:
    quotes = [one for one, _ in beneath]
    cards = {card.card_id: card for _, card in beneath}
    return plan_end(model(in_force), in_force, quotes, cards, NOW, ENDED, ended_at=ENDED_AT)


def synced(
    known: KnownModel, quotes: Sequence[Quote], *listed: RateCard, cards: Sequence[RateCard] = ()
) -> Plan:
    """What a sync of the seller's API plans that lists the model at these prices, or not."""
    models = tuple(ListedModel("acme", "one", card, "{}") for card in listed)
    return make_plan(
        TableState({known.key: known}, {1: tuple(quotes)}),
        replace(LISTING, models=models),
        API,
        {card.card_id: card for card in (MINE, THEIRS, OTHERS, UNPRICED, *cards)},
        register_unknown=True,
        origin=ChangeOrigin(OriginKind.SYNC, ADMIN),
        changed_at=NOW,
    )


# Setting.


def test_a_model_that_nobody_knows_is_added() -> None:
    change = plan_set(None, None, SET, NOW)
    assert change is not None
    assert (change.kind, change.old, change.new) == (ChangeKind.ADDED, None, MINE)
    assert change.source == OVERRIDE
    assert change.origin == ChangeOrigin(OriginKind.OVERRIDE_SET, ADMIN, "ann")
    assert (change.effective_time, change.changed_at) == (NOW, NOW)


def test_a_known_price_changes_also_of_a_delisted_model() -> None:
    for active in (True, False):
        change = plan_set(model(THEIRS, "api", active=active), THEIRS, SET, NOW)
        assert change is not None
        assert (change.kind, change.old, change.new) == (ChangeKind.CHANGED, THEIRS, MINE)


def test_the_same_card_is_no_change_and_one_within_noise_of_it_is() -> None:
    assert plan_set(model(), MINE, SET, NOW) is None
    noisy = priced("7.00000000000000000001")
    assert noisy.same_prices_as(MINE)
    assert plan_set(model(noisy), noisy, SET, NOW) is not None


# Ending.


def test_the_quote_of_the_lowest_rank_is_in_force_since_the_override_ended() -> None:
    plan = ended(
        (quote("catalogue", OTHERS, 1000), OTHERS), (quote("api", THEIRS, 100, own=True), THEIRS)
    )
    assert plan.change is not None
    assert (plan.source, plan.change.source) == ("api", "api")
    assert (plan.change.old, plan.change.new) == (MINE, THEIRS)
    assert (plan.change.kind, plan.change.effective_time) == (ChangeKind.CHANGED, ENDED_AT)


def test_of_a_model_that_no_source_states_nothing_is_known() -> None:
    plan = ended()
    assert plan.change is not None
    assert (plan.change.new, plan.source) == (UNPRICED, OVERRIDE)


def test_the_same_price_beneath_is_told_by_its_source_and_is_no_change() -> None:
    assert ended((quote("api", MINE, 100), MINE)) == EndPlan(None, "api")


# Syncs.


@pytest.mark.parametrize("state", ["own", "catalogue"])
def test_a_sync_keeps_the_quote_beneath_up_to_date_and_changes_no_price(state: str) -> None:
    own = state == "own"
    plan = synced(model(), [OVERRIDDEN, quote("api", OTHERS, 100, own=own)], THEIRS)
    assert not plan.changes
    assert not plan.source_changes
    assert [one.card_id for one in plan.quoted] == [THEIRS.card_id]
    assert (plan.counts["models_unchanged"], plan.counts["models_updated"]) == (1, 0)


def test_an_override_is_never_missing_and_does_not_keep_its_model_listed() -> None:
    plan = synced(model(), [OVERRIDDEN, quote("api", THEIRS, 100, own=True, missing=1)])
    assert plan.missing == (1,)
    (change,) = plan.changes
    assert (change.kind, change.old, change.new) == (ChangeKind.DELISTED, MINE, MINE)
    assert change.source == OVERRIDE
    assert not synced(model(), [OVERRIDDEN]).missing


def test_a_delisted_model_is_restored_with_its_override_in_force() -> None:
    quotes = [OVERRIDDEN, quote("api", THEIRS, 100, own=True, missing=2)]
    (change,) = synced(model(active=False), quotes, THEIRS).changes
    assert (change.kind, change.new, change.source) == (ChangeKind.RESTORED, MINE, OVERRIDE)


def test_what_is_left_of_an_override_yields_to_every_other_quote() -> None:
    for missing in (0, 1, 5):
        for card in (THEIRS, UNPRICED):
            other = quote("api", card, 100, missing=missing)
            assert min([ENDED_OVERRIDE, other], key=precedence) is other
    (change,) = synced(model(UNPRICED), [ENDED_OVERRIDE], THEIRS).changes
    assert (change.new, change.source) == (THEIRS, "api")
