"""What setting and ending an override changes, and that no sync touches it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from llmpricing.meters import Meter
from llmpricing.rate_card import UNPRICED, Rate, RateCard
from pricing_server.domain.override import OVERRIDE, OverrideRequest
from pricing_server.domain.price_change import (
    ADMIN,
    ChangeKind,
    ChangeOrigin,
    OriginKind,
    PriceChange,
)
from pricing_server.domain.quote import Quote, precedence
from pricing_server.domain.source import Source, SourceEvidence
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.sync.overriding import ENDED
from pricing_server.sync.resolution import InForce, Resolver
from pricing_server.sync.sync_plan import ListingTerms, Plan, make_plan
from pricing_server.sync.table_state import Attribution, KnownModel, TableState
from tests.unit._price_table import priced

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=9)
ENDED_AT = NOW - timedelta(seconds=2)
MINE, THEIRS, OTHERS = priced("7"), priced("1"), priced("2")
SET = OverrideRequest("acme", "one", MINE, "{}", "a test", "ann")
LISTING = Listing((), (), (), NOW)
API = Source("api", "The API", 100, lambda document, at: LISTING, SourceEvidence.RECORDED, "acme")


def model(
    card: RateCard | None = MINE, source: str = OVERRIDE, *, active: bool = True
) -> KnownModel:
    return KnownModel(1, "acme", "one", active, card.card_id if card else None, Attribution(source))


def quote(source: str, card: RateCard, rank: int, *, own: bool = False, missing: int = 0) -> Quote:
    return Quote(source, rank, own, card.card_id, card.state, EARLIER, missing)


OVERRIDDEN = quote(OVERRIDE, MINE, 0)
ENDED_OVERRIDE = quote(OVERRIDE, UNPRICED, 0)


def settled(
    known: KnownModel,
    *quotes: Quote,
    cards: Sequence[RateCard] = (),
    since: datetime = NOW,
    origin: ChangeOrigin = SET.origin,
) -> tuple[InForce, PriceChange | None, Attribution | None]:
    """What is in force of a model whose override began or ended, and what that changes."""
    stored = {card.card_id: card for card in (MINE, THEIRS, OTHERS, UNPRICED, *cards)}
    resolver = Resolver(stored, origin, NOW)
    found = resolver.settle(known, quotes, since)
    (change,) = resolver.changes or (None,)
    return found, change, resolver.attributions.get(known.key)


def ended(*beneath: Quote, in_force: RateCard = MINE) -> tuple[PriceChange | None, Attribution]:
    """What the end of an override changes: its price, and whose price is in force then."""
    left = quote(OVERRIDE, UNPRICED, 0)
    _, change, attribution = settled(model(in_force), left, *beneath, since=ENDED_AT, origin=ENDED)
    assert attribution is not None
    return change, attribution


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
        ListingTerms(ChangeOrigin(OriginKind.SYNC, ADMIN), NOW, True),
    )


BENEATH_OVERRIDE = Attribution(
    OVERRIDE,
    None,
    (OVERRIDE,),
    beneath=("api", None),
    beneath_card_id=THEIRS.card_id,
    beneath_rate_sources=("api",),
)


# Setting.


def test_a_model_that_nobody_knows_is_added() -> None:
    unknown = replace(model(None), attribution=None)
    _, change, _ = settled(unknown, OVERRIDDEN)
    assert change is not None
    assert (change.kind, change.old, change.new) == (ChangeKind.ADDED, None, MINE)
    assert change.source == OVERRIDE
    assert change.origin == ChangeOrigin(OriginKind.OVERRIDE_SET, ADMIN, "ann")
    assert (change.effective_time, change.changed_at) == (NOW, NOW)


def test_a_known_price_changes_also_of_a_delisted_model() -> None:
    for active in (True, False):
        theirs = quote("api", THEIRS, 100, missing=0 if active else 5)
        _, change, _ = settled(model(THEIRS, "api", active=active), OVERRIDDEN, theirs)
        assert change is not None
        assert (change.kind, change.old, change.new) == (ChangeKind.CHANGED, THEIRS, MINE)


def test_the_same_card_is_no_change_and_one_within_noise_of_it_is() -> None:
    assert settled(model(), OVERRIDDEN)[1] is None
    noisy = priced("7.00000000000000000001")
    assert noisy.same_prices_as(MINE)
    assert settled(model(noisy, "api"), OVERRIDDEN, cards=[noisy])[1] is not None


def test_what_is_beneath_an_override_is_kept_beside_it() -> None:
    _, _, attribution = settled(model(THEIRS, "api"), OVERRIDDEN, quote("api", THEIRS, 100))
    assert attribution == BENEATH_OVERRIDE


def test_a_patch_is_in_force_with_the_card_beneath_and_each_rate_has_its_source() -> None:
    cached = Rate(Meter.CACHE_READ_TOKENS, Decimal("0.1"))
    theirs = priced("1", cached)
    patch = replace(OVERRIDDEN, is_patch=True)
    found, change, attribution = settled(
        model(theirs, "api"), patch, quote("api", theirs, 100), cards=[theirs]
    )
    assert change is not None
    assert attribution is not None
    assert (change.old, change.new, change.source) == (theirs, priced("7", cached), OVERRIDE)
    assert dict(zip(found.card.rates, attribution.rate_sources, strict=True)) == {
        **dict.fromkeys(MINE.rates, OVERRIDE),
        cached: "api",
    }
    assert attribution.beneath_card_id == theirs.card_id
    alone, _, _ = settled(model(theirs, "api"), patch, cards=[theirs])
    assert alone.card == MINE


# Ending.


def test_the_quote_of_the_lowest_rank_is_in_force_since_the_override_ended() -> None:
    change, attribution = ended(
        quote("catalogue", OTHERS, 1000), quote("api", THEIRS, 100, own=True)
    )
    assert change is not None
    assert (attribution.source, change.source) == ("api", "api")
    assert (change.old, change.new) == (MINE, THEIRS)
    assert (change.kind, change.effective_time) == (ChangeKind.CHANGED, ENDED_AT)


def test_of_a_model_that_no_source_states_nothing_is_known() -> None:
    _, change, attribution = settled(model(), ENDED_OVERRIDE, since=ENDED_AT, origin=ENDED)
    assert change is not None
    assert attribution is not None
    assert (change.new, attribution.source) == (UNPRICED, OVERRIDE)


def test_the_same_price_beneath_is_attributed_to_its_source_and_is_no_change() -> None:
    assert ended(quote("api", MINE, 100)) == (None, Attribution("api", rate_sources=("api",)))


# Covered ids.


def test_an_override_holds_for_an_id_whose_price_is_the_covering_models() -> None:
    catalogue = replace(quote("catalogue", THEIRS, 1000), stated_as="covering")
    covering = replace(OVERRIDDEN, stated_as="covering")
    feed = quote("feed", OTHERS, 1100)
    found, change, attribution = settled(model(THEIRS, "catalogue"), catalogue, feed, covering)
    assert change is not None
    assert (change.new, found.quote, found.beneath) == (MINE, covering, catalogue)
    assert attribution == Attribution(
        OVERRIDE,
        "covering",
        (OVERRIDE,),
        beneath=("catalogue", "covering"),
        beneath_card_id=THEIRS.card_id,
        beneath_rate_sources=("catalogue",),
    )


def test_an_override_does_not_hold_for_an_id_that_its_seller_prices_itself() -> None:
    catalogue = replace(quote("catalogue", THEIRS, 1000), stated_as="covering")
    covering = replace(OVERRIDDEN, stated_as="covering")
    own = quote("api", OTHERS, 100, own=True)
    found, _, _ = settled(model(OTHERS, "api"), catalogue, own, covering)
    assert found.quote == own


# Syncs.


@pytest.mark.parametrize("state", ["own", "catalogue"])
def test_a_sync_keeps_the_quote_beneath_up_to_date_and_changes_no_price(state: str) -> None:
    own = state == "own"
    before = replace(BENEATH_OVERRIDE, beneath_card_id=OTHERS.card_id)
    known = replace(model(), attribution=before)
    plan = synced(known, [OVERRIDDEN, quote("api", OTHERS, 100, own=own)], THEIRS)
    assert not plan.changes
    assert plan.attributions == {known.key: BENEATH_OVERRIDE}
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
