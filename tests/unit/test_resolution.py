"""Which quote is in force, and who completes its card."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState, Rate, RateCard
from pricing_server.domain.price_change import ADMIN, ChangeOrigin, OriginKind
from pricing_server.domain.quote import MISSING_SYNCS_TO_DELIST, Quote
from pricing_server.sync.resolution import InForce, Resolver, in_force
from pricing_server.sync.table_state import KnownModel

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
EARLIER = datetime(2026, 11, 1, tzinfo=UTC)
LATER = datetime(2026, 11, 10, tzinfo=UTC)


def card(cached: str | None = None) -> RateCard:
    rates = [Rate(Meter.INPUT_TOKENS, Decimal(1))]
    if cached is not None:
        rates.append(Rate(Meter.CACHE_READ_TOKENS, Decimal(cached)))
    return RateCard.of(PriceState.PRICED, rates)


POOR, TENTH, FIFTH = card(), card("0.1"), card("0.2")
CARDS = {one.card_id: one for one in (POOR, TENTH, FIFTH)}
FIRST = Quote("first", 1000, False, POOR.card_id, PriceState.PRICED, NOW, stated_since=EARLIER)
SECOND = replace(FIRST, source="second", rank=1100, card_id=TENTH.card_id, stated_since=LATER)
THIRD = replace(FIRST, source="third", rank=1200, card_id=FIFTH.card_id)
GONE = replace(SECOND, missing_syncs=MISSING_SYNCS_TO_DELIST)


def found(*quotes: Quote, filling: Collection[str] = ()) -> InForce:
    return in_force(quotes, CARDS, NOW, filling)


def test_the_order_of_quotes_does_not_matter() -> None:
    assert found(FIRST, SECOND, THIRD) == found(THIRD, SECOND, FIRST)
    assert found(FIRST, SECOND, THIRD).completed.sources == ("first", "second")


def test_a_completed_card_is_in_effect_since_the_last_of_its_rates_was_stated() -> None:
    assert found(FIRST, SECOND).since == LATER
    assert found(FIRST, replace(SECOND, card_id=POOR.card_id)).since == EARLIER


def test_a_source_that_lists_a_model_no_more_keeps_the_rates_that_it_filled() -> None:
    assert found(FIRST, GONE).card == POOR
    assert found(FIRST, GONE, filling={"second"}).card == TENTH
    assert found(FIRST, GONE, THIRD, filling={"second"}).card == TENTH
    assert found(FIRST, GONE, THIRD).card == FIFTH


def test_what_completes_a_card_is_a_change_and_who_states_the_same_is_none() -> None:
    model = KnownModel(1, "acme", "one", True, POOR.card_id, found(FIRST).attribution)
    resolver = Resolver(dict(CARDS), ChangeOrigin(OriginKind.SYNC, ADMIN), NOW)
    assert resolver.resolve(model, [FIRST, SECOND], {"second"})
    (change,) = resolver.changes
    assert (change.old, change.new, change.source) == (POOR, TENTH, "first")
    assert (change.new_sources, change.stated_card_id) == (("first", "second"), POOR.card_id)
    assert change.effective_time == LATER
    known = replace(model, card_id=TENTH.card_id, attribution=found(FIRST, SECOND).attribution)
    other = replace(SECOND, source="other", rank=1050)
    resolver = Resolver(dict(CARDS), ChangeOrigin(OriginKind.SYNC, ADMIN), NOW)
    assert not resolver.resolve(known, [FIRST, SECOND, other], {"other"})
    assert not resolver.changes
    assert resolver.attributions[model.key].rate_sources == ("first", "other")
