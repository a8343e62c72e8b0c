"""What a listing changes in the price table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    ALWAYS,
    DYNAMIC,
    UNPRICED,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    UtcWindow,
)
from pricing_server.domain.price_change import (
    ADMIN,
    ChangeKind,
    ChangeOrigin,
    OriginKind,
    PriceChange,
)
from pricing_server.domain.quote import Quote
from pricing_server.domain.source import CATALOGUE_RANK, OWN_API_RANK, Source, SourceEvidence
from pricing_server.domain.source_listing import Fault, ListedModel, Listing, Notice, PartialPrice
from pricing_server.domain.sync_run import COUNTS
from pricing_server.sync.resolution import in_force as in_force_of
from pricing_server.sync.sync_plan import ListingTerms, Plan, make_plan
from pricing_server.sync.table_state import KnownModel, TableState, cards_to_compare

DAY_0 = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
WRITTEN = datetime(2026, 12, 24, tzinfo=UTC)
ORIGIN = ChangeOrigin(OriginKind.SYNC, ADMIN)


def unread(document: object, received_at: datetime) -> Listing:
    raise AssertionError("a plan is made of what was read")


ACME = Source("acme", "Acme API", OWN_API_RANK, unread, SourceEvidence.RECORDED, provider="acme")
FIRST = Source("first-catalogue", "A catalogue", CATALOGUE_RANK, unread, SourceEvidence.RECORDED)
SECOND = Source(
    "second-catalogue", "Another catalogue", CATALOGUE_RANK + 1, unread, SourceEvidence.RECORDED
)


def priced(prompt: str, *others: Rate) -> RateCard:
    rates = [Rate(Meter.INPUT_TOKENS, Decimal(prompt)), *others]
    return RateCard.of(PriceState.PRICED, rates)


FREE = RateCard.of(PriceState.FREE, [Rate(Meter.INPUT_TOKENS, Decimal(0))])
NIGHT = Conditions(utc_window=UtcWindow(0, 360))
CACHE = Rate(Meter.CACHE_READ_TOKENS, Decimal("0.1"))
ONE, TWO, THREE = priced("1"), priced("2"), priced("3")


def listed(model_id: str, card: RateCard, provider: str = "acme") -> ListedModel:
    return ListedModel(provider, model_id, card, fragment="{}")


def listing(*models: ListedModel, at: datetime = DAY_0, faults: Sequence[Fault] = ()) -> Listing:
    return Listing(models, tuple(faults), (), at)


class Table:
    """The price table in memory: applies plans as the database does."""

    def __init__(self) -> None:
        self.models: dict[tuple[str, str], KnownModel] = {}
        self.quotes: dict[int, dict[str, Quote]] = {}
        self.cards: dict[str, RateCard] = {}
        self.obtained: dict[str, datetime] = {}
        self.confirmed: dict[tuple[str, str, str], bool] = {}
        """By source, provider and model id."""

    def state(self, source: Source) -> TableState:
        return TableState(
            dict(self.models),
            {key: tuple(quotes.values()) for key, quotes in self.quotes.items()},
            self.obtained.get(source.slug),
        )

    def plan(self, source: Source, data: Listing, *, register_unknown: bool = True) -> Plan:
        """Plan with exactly the cards that `cards_to_compare` asks for, and no other."""
        state = self.state(source)
        needed = cards_to_compare(state, data, source)
        stored = {card_id: self.cards[card_id] for card_id in needed}
        return make_plan(
            state,
            data,
            source,
            stored,
            ListingTerms(ORIGIN, WRITTEN, register_unknown),
        )

    def apply(self, plan: Plan, source: Source, data: Listing) -> None:
        self.cards |= plan.cards
        for quoted in plan.quoted:
            key = quoted.listed.key
            if key not in self.models:
                number = len(self.models) + 1
                self.models[key] = KnownModel(number, *key, True, None, None)
            model_key = self.models[key].model_key
            self.quotes.setdefault(model_key, {})[source.slug] = Quote(
                source.slug,
                source.rank,
                source.provider == key[0],
                quoted.card_id,
                self.cards[quoted.card_id].state,
                quoted.obtained_at,
            )
            self.confirmed[(source.slug, *key)] = quoted.is_confirmed
        names = {model.model_key: model.key for model in self.models.values()}
        for model_key in (*plan.missing, *plan.unreadable):
            self.confirmed[(source.slug, *names[model_key])] = False
        for model_key in plan.missing:
            quote = self.quotes[model_key][source.slug]
            self.quotes[model_key][source.slug] = replace(
                quote, missing_syncs=quote.missing_syncs + 1
            )
        for change in plan.changes:
            key = (change.provider, change.model_id)
            assert change.new.card_id in self.cards, "history points to a stored card"
            self.models[key] = replace(
                self.models[key],
                card_id=change.new.card_id,
                is_active=change.kind is not ChangeKind.DELISTED,
            )
        for key, attribution in plan.attributions.items():
            self.models[key] = replace(self.models[key], attribution=attribution)
        self.obtained[source.slug] = data.obtained_at

    def sync(
        self,
        *models: ListedModel,
        source: Source = ACME,
        at: datetime = DAY_0,
        faults: Sequence[Fault] = (),
        register_unknown: bool = True,
    ) -> Plan:
        data = listing(*models, at=at, faults=faults)
        plan = self.plan(source, data, register_unknown=register_unknown)
        self.apply(plan, source, data)
        return plan

    def price_of(self, model_id: str, provider: str = "acme") -> RateCard | None:
        card_id = self.models[provider, model_id].card_id
        return self.cards[card_id] if card_id is not None else None

    def is_active(self, model_id: str) -> bool:
        return self.models["acme", model_id].is_active

    def source_of(self, model_id: str, provider: str = "acme") -> str | None:
        return self.models[provider, model_id].source


@pytest.fixture
def table() -> Table:
    return Table()


def kinds(plan: Plan) -> list[tuple[ChangeKind, str]]:
    return [(change.kind, change.model_id) for change in plan.changes]


def counts(plan: Plan, **expected: int) -> bool:
    """Whether the counts are these and all others zero, but for what was fetched."""
    told = {name.removeprefix("models_"): count for name, count in plan.counts.items()}
    fetched = told.pop("fetched")
    summed = sum(count for name, count in told.items() if name != "missing")
    return fetched == summed and {k: v for k, v in told.items() if v} == expected


# First prices and changes.


def test_the_first_price_is_a_change_too(table: Table) -> None:
    plan = table.sync(listed("a", ONE), listed("b", UNPRICED), listed("c", DYNAMIC), at=DAY_0)
    assert counts(plan, registered=3)
    assert plan.changes[0] == PriceChange(
        kind=ChangeKind.ADDED,
        provider="acme",
        model_id="a",
        old=None,
        new=ONE,
        source="acme",
        effective_time=DAY_0,
        changed_at=WRITTEN,
        origin=ORIGIN,
        new_sources=("acme",) * len(ONE.rates),
        stated_card_id=ONE.card_id,
    )
    assert [(change.kind, change.new) for change in plan.changes[1:]] == [
        (ChangeKind.ADDED, UNPRICED),
        (ChangeKind.ADDED, DYNAMIC),
    ]
    assert plan.cards == {card.card_id: card for card in (ONE, UNPRICED, DYNAMIC)}


def test_the_same_data_again_changes_nothing_and_confirms_every_quote(table: Table) -> None:
    models = [listed("a", ONE), listed("b", UNPRICED), listed("c", DYNAMIC), listed("d", FREE)]
    table.sync(*models)
    plan = table.sync(*models, at=DAY_0 + DAY)
    assert counts(plan, unchanged=4)
    assert (plan.changes, plan.attributions, plan.missing) == ((), {}, ())
    assert {quoted.obtained_at for quoted in plan.quoted} == {DAY_0 + DAY}


@pytest.mark.parametrize(
    ("noisy", "before"),
    [("8.33333333333333E-8", "8.333333333333334E-8"), ("0.30000000000000004", "0.3")],
)
def test_binary_noise_is_no_change_and_keeps_the_stored_card(
    table: Table, noisy: str, before: str
) -> None:
    table.sync(listed("a", priced(before)))
    plan = table.sync(listed("a", priced(noisy)), at=DAY_0 + DAY)
    assert counts(plan, unchanged=1)
    assert plan.changes == ()
    assert plan.quoted[0].card_id == priced(before).card_id
    assert plan.quoted[0].obtained_at == DAY_0 + DAY
    assert priced(noisy).card_id not in plan.cards, "stored for nobody, day after day"


def test_noise_day_after_day_does_not_add_up_to_a_missed_change(table: Table) -> None:
    price = Decimal(1)
    table.sync(listed("a", priced("1")))
    changed_on = []
    for day in range(1, 40):
        price *= 1 + Decimal("6E-15")
        plan = table.sync(listed("a", priced(str(price))), at=DAY_0 + day * DAY)
        if plan.changes:
            changed_on.append(day)
    # Compared with what is in force, not with the day before.
    assert changed_on[0] == 2
    in_force = table.price_of("a")
    assert in_force is not None
    assert abs(in_force.rates[0].price / price - 1) < Decimal("1.1E-14")


CHANGED = [
    ("prompt", priced("1"), priced("1.0000000000001")),
    ("cache only", priced("1", CACHE), priced("1", replace(CACHE, price=Decimal("0.2")))),
    (
        "a condition only",
        priced("1", replace(CACHE, conditions=NIGHT)),
        priced("1", replace(CACHE, conditions=Conditions(utc_window=UtcWindow(0, 300)))),
    ),
    ("a rate less", priced("1", CACHE), priced("1")),
    ("a rate more", priced("1"), priced("1", CACHE)),
    ("another unit", priced("1", CACHE), priced("1", replace(CACHE, per=10))),
    ("free", priced("1"), FREE),
    ("dynamic", priced("1"), DYNAMIC),
    ("priced from dynamic", DYNAMIC, priced("1")),
    ("priced from free", FREE, priced("1")),
    ("priced from unpriced", UNPRICED, priced("1")),
    ("dynamic from unpriced", UNPRICED, DYNAMIC),
]


@pytest.mark.parametrize(
    ("old", "new"), [case[1:] for case in CHANGED], ids=[case[0] for case in CHANGED]
)
def test_any_other_difference_is_a_change(table: Table, old: RateCard, new: RateCard) -> None:
    table.sync(listed("a", old), listed("b", TWO))
    plan = table.sync(listed("a", new), listed("b", TWO), at=DAY_0 + DAY)
    assert counts(plan, updated=1, unchanged=1)
    (change,) = plan.changes
    assert (change.kind, change.old, change.new) == (ChangeKind.CHANGED, old, new)
    assert (change.effective_time, change.changed_at) == (DAY_0 + DAY, WRITTEN)
    assert table.price_of("a") == new


def test_a_model_listed_without_a_price_keeps_the_one_it_had(table: Table) -> None:
    table.sync(listed("a", ONE), listed("b", FREE), listed("c", DYNAMIC))
    plan = table.sync(
        listed("a", UNPRICED), listed("b", UNPRICED), listed("c", UNPRICED), at=DAY_0 + DAY
    )
    assert counts(plan, unchanged=3)
    assert plan.changes == ()
    assert (table.price_of("a"), table.price_of("b")) == (ONE, FREE)
    # The listing confirms the model and not its price.
    assert {quoted.obtained_at for quoted in plan.quoted} == {DAY_0}
    assert plan.notices == (
        Notice(
            "price_no_longer_stated",
            "listed without a price; the last known one is kept, unconfirmed",
            3,
            "a",
        ),
    )
    assert not any(quoted.is_confirmed for quoted in plan.quoted)
    back = table.sync(listed("a", ONE), at=DAY_0 + 2 * DAY)
    assert back.quoted[0].obtained_at == DAY_0 + 2 * DAY
    assert back.quoted[0].is_confirmed


def test_a_listing_without_a_price_is_still_a_listing(table: Table) -> None:
    table.sync(listed("a", ONE), listed("b", ONE))
    table.sync(listed("b", ONE), at=DAY_0 + DAY)
    table.sync(listed("a", UNPRICED), listed("b", ONE), at=DAY_0 + 2 * DAY)
    plan = table.sync(listed("b", ONE), at=DAY_0 + 3 * DAY)
    assert counts(plan, unchanged=1, missing=1)
    assert plan.changes == ()


# Rates in doubt.

OUT = Rate(Meter.OUTPUT_TOKENS, Decimal("2"))


def half(card: RateCard, *in_doubt: Meter, told: RateCard | None = None) -> ListedModel:
    """The model `a` in a row that mentions these meters without a believable price."""
    return replace(listed("a", told or card), partial=PartialPrice(card, in_doubt))


def test_a_rate_that_turns_to_zero_or_dynamic_is_kept_while_the_others_change(
    table: Table,
) -> None:
    table.sync(listed("a", priced("1", OUT)))
    plan = table.sync(half(priced("3"), Meter.OUTPUT_TOKENS), at=DAY_0 + DAY)
    assert counts(plan, updated=1)
    assert table.price_of("a") == priced("3", OUT)
    assert plan.changes[0].effective_time == DAY_0 + DAY
    assert [notice.code for notice in plan.notices] == ["rate_no_longer_stated"]
    assert not table.confirmed["acme", "acme", "a"]
    again = table.sync(half(priced("3"), Meter.OUTPUT_TOKENS), at=DAY_0 + 2 * DAY)
    assert counts(again, unchanged=1)
    assert (again.cards, again.quoted[0].obtained_at) == ({}, DAY_0 + DAY)
    back = table.sync(listed("a", priced("3", OUT)), at=DAY_0 + 3 * DAY)
    assert (back.changes, back.notices) == ((), ())
    assert table.confirmed["acme", "acme", "a"]


def test_a_rate_in_doubt_that_was_never_stated_stays_unknown(table: Table) -> None:
    for day in range(3):
        plan = table.sync(half(ONE, Meter.OUTPUT_TOKENS), at=DAY_0 + day * DAY)
        assert (table.price_of("a"), plan.notices) == (ONE, ())
        assert table.confirmed["acme", "acme", "a"]


def test_a_rate_is_kept_from_the_source_s_own_quote_and_no_other(table: Table) -> None:
    table.sync(listed("a", priced("1", OUT)), source=FIRST)
    for day in (0, 1):
        table.sync(half(ONE, Meter.OUTPUT_TOKENS), at=DAY_0 + day * DAY)
        assert table.price_of("a") == ONE


def test_a_row_that_is_half_a_router_keeps_a_price_and_is_dynamic_without_one(
    table: Table,
) -> None:
    row = half(priced("3"), Meter.OUTPUT_TOKENS, told=DYNAMIC)
    table.sync(row)
    assert table.price_of("a") == DYNAMIC
    table.sync(row, at=DAY_0 + DAY)
    assert table.price_of("a") == DYNAMIC
    table.sync(listed("a", priced("1", OUT)), at=DAY_0 + 2 * DAY)
    table.sync(row, at=DAY_0 + 3 * DAY)
    assert table.price_of("a") == priced("3", OUT)
    table.sync(listed("a", DYNAMIC), at=DAY_0 + 4 * DAY)
    assert table.price_of("a") == DYNAMIC, "a router is what all of its row says"


# Who is believed.


def test_the_seller_s_own_api_beats_a_catalogue_in_either_order(table: Table) -> None:
    table.sync(listed("a", ONE), source=FIRST)
    plan = table.sync(listed("a", TWO), source=ACME)
    assert counts(plan, updated=1)
    assert (table.price_of("a"), table.source_of("a")) == (TWO, "acme")
    plan = table.sync(listed("a", THREE), source=FIRST, at=DAY_0 + DAY)
    assert counts(plan, unchanged=1)
    assert plan.changes == ()
    assert (table.price_of("a"), table.source_of("a")) == (TWO, "acme")


def test_of_two_catalogues_the_first_configured_one_is_believed(table: Table) -> None:
    table.sync(listed("a", ONE), source=SECOND)
    table.sync(listed("a", TWO), source=FIRST)
    table.sync(listed("a", THREE), source=SECOND, at=DAY_0 + DAY)
    assert (table.price_of("a"), table.source_of("a")) == (TWO, FIRST.slug)


def test_a_better_source_with_the_same_price_changes_who_tells_it_and_nothing_else(
    table: Table,
) -> None:
    table.sync(listed("a", priced("0.3")), source=FIRST)
    plan = table.sync(listed("a", priced("0.30000000000000004")), source=ACME)
    assert counts(plan, unchanged=1)
    assert plan.changes == ()
    ((key, attribution),) = plan.attributions.items()
    assert (key[1], attribution.source) == ("a", "acme")
    assert table.models[key].card_id == priced("0.3").card_id
    assert table.plan(ACME, listing(listed("a", priced("0.3")))).attributions == {}


def test_a_source_that_knows_no_price_yields_to_one_that_does(table: Table) -> None:
    table.sync(listed("a", UNPRICED), source=ACME)
    plan = table.sync(listed("a", ONE), source=SECOND)
    assert kinds(plan) == [(ChangeKind.CHANGED, "a")]
    assert (table.price_of("a"), table.source_of("a")) == (ONE, SECOND.slug)
    plan = table.sync(listed("a", TWO), source=ACME, at=DAY_0 + DAY)
    assert (table.price_of("a"), table.source_of("a")) == (TWO, "acme")


def test_dynamic_is_a_known_price_and_is_believed(table: Table) -> None:
    table.sync(listed("a", ONE), source=FIRST)
    plan = table.sync(listed("a", DYNAMIC), source=ACME)
    assert kinds(plan) == [(ChangeKind.CHANGED, "a")]
    assert table.price_of("a") == DYNAMIC


def test_models_of_other_sellers_are_not_touched(table: Table) -> None:
    table.sync(listed("a", ONE), listed("a", TWO, "other"), source=FIRST)
    table.sync(listed("a", THREE), source=ACME)
    assert (table.price_of("a"), table.price_of("a", "other")) == (THREE, TWO)
    plan = table.sync(listed("b", ONE), source=ACME, at=DAY_0 + DAY)
    assert counts(plan, registered=1, missing=1)
    assert table.is_active("a")


# Delisted and restored.


def test_a_model_missing_once_is_kept_and_missing_twice_delisted(table: Table) -> None:
    table.sync(listed("a", ONE), listed("b", TWO))
    once = table.sync(listed("b", TWO), at=DAY_0 + DAY)
    assert counts(once, unchanged=1, missing=1)
    assert once.changes == ()
    assert table.is_active("a")
    twice = table.sync(listed("b", TWO), at=DAY_0 + 2 * DAY)
    assert counts(twice, unchanged=1, missing=1)
    (change,) = twice.changes
    assert (change.kind, change.old, change.new) == (ChangeKind.DELISTED, ONE, ONE)
    assert not table.is_active("a")
    assert table.price_of("a") == ONE
    thrice = table.sync(listed("b", TWO), at=DAY_0 + 3 * DAY)
    assert counts(thrice, unchanged=1, missing=1)
    assert thrice.changes == ()


def test_the_same_data_is_no_second_witness_that_a_model_is_gone(table: Table) -> None:
    table.sync(listed("a", ONE), listed("b", TWO))
    table.sync(listed("b", TWO), at=DAY_0 + DAY)
    for _ in range(3):
        plan = table.sync(listed("b", TWO), at=DAY_0 + DAY)
        assert counts(plan, unchanged=1, missing=1)
        assert (plan.changes, plan.missing) == ((), ())
    assert table.is_active("a")


# Older data.


def test_data_older_than_that_of_the_last_sync_is_applied_and_noted_with_both_times(
    table: Table,
) -> None:
    table.sync(listed("a", ONE), at=DAY_0)
    plan = table.sync(listed("a", TWO), at=DAY_0 - timedelta(milliseconds=1))
    assert kinds(plan) == [(ChangeKind.CHANGED, "a")]
    (notice,) = plan.notices
    assert (notice.code, notice.models, notice.message) == (
        "older_data",
        1,
        "the data is of 2026-11-20T11:59:59.999000Z, "
        "older than that of 2026-11-20T12:00:00Z before",
    )


def test_a_replay_of_the_last_data_and_older_data_of_another_source_are_not_noted(
    table: Table,
) -> None:
    table.sync(listed("a", ONE), at=DAY_0)
    again = table.sync(listed("a", ONE), at=DAY_0)
    assert (again.changes, again.notices) == ((), ())
    other = table.sync(listed("a", ONE), source=FIRST, at=DAY_0 - DAY)
    assert (counts(other, unchanged=1), other.notices) == (True, ())


def test_a_model_that_comes_back_in_between_starts_anew(table: Table) -> None:
    table.sync(listed("a", ONE), listed("b", TWO))
    for day in range(1, 8):
        models = [listed("b", TWO), *([listed("a", ONE)] if day % 2 else [])]
        assert table.sync(*models, at=DAY_0 + day * DAY).changes == ()


@pytest.mark.parametrize("back", [ONE, TWO, DYNAMIC])
def test_a_delisted_model_that_is_listed_again_is_restored(table: Table, back: RateCard) -> None:
    table.sync(listed("a", ONE), listed("b", TWO))
    for day in (1, 2):
        table.sync(listed("b", TWO), at=DAY_0 + day * DAY)
    plan = table.sync(listed("a", back), listed("b", TWO), at=DAY_0 + 3 * DAY)
    assert counts(plan, updated=1, unchanged=1)
    (change,) = plan.changes
    assert (change.kind, change.old, change.new) == (ChangeKind.RESTORED, ONE, back)
    assert table.is_active("a")


def test_a_model_restored_without_a_price_has_its_last_one(table: Table) -> None:
    table.sync(listed("a", ONE), listed("b", TWO))
    for day in (1, 2):
        table.sync(listed("b", TWO), at=DAY_0 + day * DAY)
    plan = table.sync(listed("a", UNPRICED), listed("b", TWO), at=DAY_0 + 3 * DAY)
    (change,) = plan.changes
    assert (change.kind, change.new) == (ChangeKind.RESTORED, ONE)


def test_a_seller_that_dropped_its_model_is_believed_over_a_catalogue(table: Table) -> None:
    table.sync(listed("a", ONE), listed("b", TWO))
    table.sync(listed("a", THREE), source=FIRST)
    for day in (1, 2):
        plan = table.sync(listed("b", TWO), at=DAY_0 + day * DAY)
    assert kinds(plan) == [(ChangeKind.DELISTED, "a")]
    plan = table.sync(listed("a", THREE), source=FIRST, at=DAY_0 + 3 * DAY)
    assert counts(plan, unchanged=1)
    assert plan.changes == ()
    assert (table.price_of("a"), table.is_active("a")) == (ONE, False)


def test_a_model_that_one_catalogue_dropped_is_told_by_the_other(table: Table) -> None:
    table.sync(listed("a", ONE), listed("b", ONE), source=FIRST)
    table.sync(listed("a", TWO), source=SECOND)
    table.sync(listed("b", ONE), source=FIRST, at=DAY_0 + DAY)
    plan = table.sync(listed("b", ONE), source=FIRST, at=DAY_0 + 2 * DAY)
    assert kinds(plan) == [(ChangeKind.CHANGED, "a")]
    assert (table.price_of("a"), table.source_of("a")) == (TWO, SECOND.slug)
    # In force from now on, however long ago the other catalogue stated it.
    assert plan.changes[0].effective_time == WRITTEN
    assert table.is_active("a")


def test_a_model_that_every_catalogue_dropped_is_delisted(table: Table) -> None:
    for source in (FIRST, SECOND):
        table.sync(listed("a", ONE), listed("b", ONE), source=source)
    for source in (FIRST, SECOND):
        for day in (1, 2):
            plan = table.sync(listed("b", ONE), source=source, at=DAY_0 + day * DAY)
    assert kinds(plan) == [(ChangeKind.DELISTED, "a")]


def test_a_faulty_row_is_not_missing_and_keeps_its_price(table: Table) -> None:
    table.sync(listed("a", ONE), listed("b", TWO))
    fault = Fault("a", "pricing.prompt is not a number: 'abc'", ("acme", "a"))
    for day in (1, 2, 3):
        plan = table.sync(listed("b", TWO), at=DAY_0 + day * DAY, faults=[fault])
        assert counts(plan, unchanged=1, errors=1)
        assert (plan.changes, plan.missing) == ((), ())
        assert not table.confirmed["acme", "acme", "a"]
    assert table.price_of("a") == ONE
    table.sync(listed("a", ONE), listed("b", TWO), at=DAY_0 + 4 * DAY)
    assert table.confirmed["acme", "acme", "a"]


# Policy and counts.


def test_unknown_models_are_skipped_if_asked_and_known_ones_are_not(table: Table) -> None:
    table.sync(listed("a", ONE))
    plan = table.sync(listed("a", TWO), listed("b", TWO), at=DAY_0 + DAY, register_unknown=False)
    assert counts(plan, updated=1, skipped=1)
    assert [quoted.listed.model_id for quoted in plan.quoted] == ["a"]
    assert set(plan.cards) == {TWO.card_id}
    assert ("acme", "b") not in table.models


def test_skipped_models_leave_no_cards(table: Table) -> None:
    plan = table.sync(listed("a", ONE), register_unknown=False)
    assert counts(plan, skipped=1)
    assert (plan.cards, plan.quoted, plan.changes) == ({}, (), ())


def test_the_counts_are_those_of_the_log(table: Table) -> None:
    assert set(table.sync(listed("a", ONE)).counts) == set(COUNTS)


def test_the_notices_of_the_listing_are_passed_on(table: Table) -> None:
    notice = Notice("zero:prompt", "zero", 1, "a")
    data = replace(listing(listed("a", ONE)), notices=(notice,))
    assert table.plan(ACME, data).notices == (notice,)


# Laws, over any history.

POOL = [
    ONE,
    TWO,
    priced("1.000000000000001"),
    priced("1.000000000000009"),
    priced("1.000000000000018"),
    priced("1", CACHE),
    priced("1", replace(CACHE, conditions=NIGHT)),
    FREE,
    DYNAMIC,
    UNPRICED,
]
KEYS = [("acme", "a"), ("acme", "b"), ("acme", "c"), ("other", "a")]


@dataclass(frozen=True)
class Sync:
    """One sync of a history."""

    source: Source
    data: Listing
    register_unknown: bool = True


@st.composite
def partial_rows(draw: st.DrawFn, model: ListedModel) -> ListedModel:
    """The row with base rates in doubt, or half a router."""
    meters = st.sampled_from([Meter.INPUT_TOKENS, Meter.CACHE_READ_TOKENS])
    in_doubt = draw(st.sets(meters, min_size=1))
    rates = [
        rate for rate in model.card.rates if rate.meter not in in_doubt or rate.conditions != ALWAYS
    ]
    stated = RateCard.of(PriceState.PRICED, rates) if rates else UNPRICED
    told = draw(st.sampled_from([stated, DYNAMIC]))
    return replace(model, card=told, partial=PartialPrice(stated, tuple(sorted(in_doubt))))


@st.composite
def syncs(draw: st.DrawFn) -> Sync:
    source = draw(st.sampled_from([ACME, FIRST, SECOND]))
    keys = [key for key in KEYS if source.provider in (None, key[0])]
    models, faults = [], []
    for key in keys:
        match draw(st.sampled_from(["listed", "listed", "missing", "faulty"])):
            case "listed":
                card = draw(st.sampled_from(POOL))
                model = listed(key[1], card, key[0])
                if card.state is PriceState.PRICED:
                    model = draw(st.just(model) | partial_rows(model))
                models.append(model)
            case "faulty":
                faults.append(Fault(key[1], "faulty", key))
    faults += draw(st.lists(st.just(Fault("(unreadable)", "no id")), max_size=1))
    return Sync(source, listing(*models, faults=faults), draw(st.integers(0, 3)) > 0)


@st.composite
def chronicles(draw: st.DrawFn) -> list[Sync]:
    """Syncs whose data is as old as that of the one before, or newer."""
    at, history = DAY_0, []
    for sync in draw(st.lists(syncs(), min_size=1, max_size=9)):
        at += draw(st.integers(0, 2)) * DAY
        history.append(replace(sync, data=replace(sync.data, obtained_at=at)))
    return history


histories = chronicles()
law = settings(derandomize=True, deadline=None, max_examples=100)


def replayed(history: Iterable[Sync]) -> Table:
    table = Table()
    for sync in history:
        table.sync(
            *sync.data.models,
            source=sync.source,
            at=sync.data.obtained_at,
            faults=sync.data.faults,
            register_unknown=sync.register_unknown,
        )
    return table


@given(histories)
@law
def test_the_cards_that_are_asked_for_always_suffice(history: list[Sync]) -> None:
    replayed(history)  # `Table.plan` gives no others: a KeyError would fail this.


@given(histories)
@law
def test_counts_add_up_to_what_was_fetched(history: list[Sync]) -> None:
    *before, last = history
    plan = replayed(before).plan(last.source, last.data, register_unknown=last.register_unknown)
    told = dict(plan.counts)
    assert told.pop("models_fetched") == last.data.rows
    told.pop("models_missing")
    assert sum(told.values()) == last.data.rows
    assert plan.counts["errors"] == len(last.data.faults)
    by_kind = [change.kind for change in plan.changes]
    changed = [ChangeKind.CHANGED, ChangeKind.RESTORED]
    named = {(change.provider, change.model_id) for change in plan.changes}
    assert len(named) == len(plan.changes), "one change of a model in one sync"
    stated = {model.key for model in last.data.models}
    assert plan.counts["models_registered"] == by_kind.count(ChangeKind.ADDED)
    assert plan.counts["models_updated"] == sum(
        change.kind in changed and (change.provider, change.model_id) in stated
        for change in plan.changes
    )


@given(histories)
@law
def test_the_same_data_again_changes_nothing(history: list[Sync]) -> None:
    table = replayed(history)
    last = history[-1]
    models, quotes = dict(table.models), {key: dict(of) for key, of in table.quotes.items()}
    plan = table.plan(last.source, last.data, register_unknown=last.register_unknown)
    assert (plan.changes, plan.attributions, plan.missing) == ((), {}, ())
    assert plan.cards.keys() <= table.cards.keys()
    assert plan.counts["models_updated"] == plan.counts["models_registered"] == 0
    table.apply(plan, last.source, last.data)
    assert (table.models, table.quotes) == (models, quotes)


@given(histories)
@law
def test_every_card_of_a_plan_is_one_that_a_quote_or_a_change_points_to(
    history: list[Sync],
) -> None:
    *before, last = history
    plan = replayed(before).plan(last.source, last.data, register_unknown=last.register_unknown)
    pointed = {quoted.card_id for quoted in plan.quoted}
    pointed |= {change.new.card_id for change in plan.changes}
    assert plan.cards.keys() <= pointed
    assert all(card.card_id == card_id for card_id, card in plan.cards.items())


def believed(quotes: Mapping[str, Quote]) -> str:
    """Whose word counts, from the rules as they are written down."""
    trusted = [
        [q for q in quotes.values() if q.state is not PriceState.UNPRICED],
        list(quotes.values()),
    ]
    for some in trusted:
        for group in (
            [q for q in some if q.is_own_api],
            [q for q in some if q.missing_syncs < 2],
            some,
        ):
            if group:
                return min(group, key=lambda quote: quote.rank).source
    raise AssertionError("a model has a quote")


@given(histories)
@law
def test_the_price_in_force_is_the_believed_source_s_but_for_noise(history: list[Sync]) -> None:
    table = replayed(history)
    for model in table.models.values():
        quotes = table.quotes[model.model_key]
        own = [quote for quote in quotes.values() if quote.is_own_api]
        is_listed = any(quote.missing_syncs < 2 for quote in own or quotes.values())
        assert model.is_active is is_listed, model
        assert model.card_id is not None
        in_force = table.cards[model.card_id]
        if in_force.state is PriceState.UNPRICED:
            assert {quote.state for quote in quotes.values()} == {PriceState.UNPRICED}
        if model.is_active:
            assert model.source == believed(quotes)
            stated = table.cards[quotes[model.source].card_id]
            assert in_force.state is stated.state
            told = {rate.key: rate for rate in in_force.rates}
            assert all(told[rate.key].same_price_as(rate) for rate in stated.rates)
            assert model.attribution is not None
            sources = model.attribution.rate_sources
            stated_by_it = [source for source in sources if source == model.source]
            assert len(stated_by_it) == len(stated.rates)
            assert set(sources) <= quotes.keys()
            filling = model.attribution.filling
            derived = in_force_of(quotes.values(), table.cards, WRITTEN, filling)
            assert in_force.same_prices_as(derived.card)


@given(histories)
@law
def test_a_quote_is_confirmed_when_the_last_sync_of_its_source_stated_its_card(
    history: list[Sync],
) -> None:
    table = replayed(history)
    last = {sync.source.slug: sync.data for sync in history}
    stated = {
        (source, *model.key): model.card for source, data in last.items() for model in data.models
    }
    for (source, *key), is_confirmed in table.confirmed.items():
        quote = table.quotes[table.models[key[0], key[1]].model_key][source]
        card = stated.get((source, key[0], key[1]))
        assert is_confirmed is (
            card is not None and card.same_prices_as(table.cards[quote.card_id])
        )


@given(histories)
@law
def test_the_changes_of_a_model_are_a_chain(history: list[Sync]) -> None:
    table, last = Table(), dict[tuple[str, str], RateCard]()
    for sync in history:
        plan = table.plan(sync.source, sync.data, register_unknown=sync.register_unknown)
        for change in plan.changes:
            key = (change.provider, change.model_id)
            assert change.old == last.get(key)
            assert (change.kind is ChangeKind.ADDED) is (change.old is None)
            if change.kind is ChangeKind.CHANGED:
                assert change.old is not None
                assert not change.old.same_prices_as(change.new)
                assert change.new.state is not PriceState.UNPRICED, "unpriced replaces nothing"
            if change.kind is ChangeKind.DELISTED:
                assert change.old == change.new
            last[key] = change.new
        table.apply(plan, sync.source, sync.data)
