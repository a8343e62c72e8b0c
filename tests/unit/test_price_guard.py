"""Which stated prices are suspicious, and what becomes of those that were held."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    DYNAMIC,
    UNPRICED,
    Comparison,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    Threshold,
)
from pricing_server.domain.held_change import HoldReason, HoldStatus
from pricing_server.domain.price_change import ChangeKind
from pricing_server.domain.source import CATALOGUE_RANK, OWN_API_RANK, Source, SourceEvidence
from pricing_server.domain.source_listing import Fault, ListedModel, Listing
from pricing_server.sync.guard.rules import Opinion, Row, feed_medians, judge_feed, judge_row
from tests._held_table import ORIGIN, HeldTable
from tests.unit._strategies import few, many, prices

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LONG = Conditions(threshold=Threshold(Meter.INPUT_TOKENS, Comparison.AT_LEAST, 200_000))


def unread(document: object, received_at: datetime) -> Listing:
    raise NotImplementedError


ACME = Source("acme", "Acme", OWN_API_RANK, unread, SourceEvidence.RECORDED, provider="acme")
FIRST = Source("first", "First", CATALOGUE_RANK, unread, SourceEvidence.RECORDED, proven_units=True)
SECOND = Source(
    "second", "Second", CATALOGUE_RANK + 1, unread, SourceEvidence.RECORDED, proven_units=True
)
PROVEN = replace(ACME, proven_units=True)
PAPER = replace(ACME, evidence=SourceEvidence.DOCUMENTED)


def card(prompt: str, *others: Rate) -> RateCard:
    return RateCard.of(PriceState.PRICED, [Rate(Meter.INPUT_TOKENS, Decimal(prompt)), *others])


def rate(price: str, meter: Meter = Meter.OUTPUT_TOKENS, when: Conditions | None = None) -> Rate:
    return Rate(meter, Decimal(price), when or Conditions())


FREE = RateCard.of(PriceState.FREE, [Rate(Meter.INPUT_TOKENS, Decimal(0))])


def reason(row: Row) -> HoldReason | None:
    found = judge_row(row, "acme", NOON)
    return found.reason if found else None


# Rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "is_held"),
    [
        ("1", "30", False),
        ("1", "30.0000000000000000000000000000000000001", True),
        ("30", "1", False),
        ("30.0000000000000000000000000000000000001", "1", True),
        ("0.00000003", "0.000003", True),
        ("1", "23", False),
    ],
)
def test_the_border_of_the_row_rule_is_exact(before: str, now: str, is_held: bool) -> None:
    row = Row(card(now), before=card(before))
    assert reason(row) == (HoldReason.RATIO_TO_PAST if is_held else None)


@given(prices(), st.sampled_from([2, 3, 6, -2, -3, -6]), prices())
@many
def test_an_error_of_unit_against_the_past_is_held_whatever_the_magnitude(
    price: Decimal, power: int, other: Decimal
) -> None:
    wrong = card(str(price.scaleb(power)))
    assert reason(Row(wrong, before=card(str(price)))) is HoldReason.RATIO_TO_PAST
    opinion = Opinion("first", card(str(price)))
    assert reason(Row(wrong, opinions=(opinion,))) is HoldReason.RATIO_TO_OTHER_SOURCE
    assert reason(Row(wrong, other_sellers={Meter.INPUT_TOKENS: other})) is None


def test_every_rate_is_compared_under_its_conditions_or_with_the_standard_one() -> None:
    before = card("1", rate("2"), rate("4", when=LONG))
    assert reason(Row(card("1", rate("2"), rate("4.4", when=LONG)), before=before)) is None
    assert reason(Row(card("1", rate("2"), rate("400", when=LONG)), before=before))
    assert reason(Row(card("1", rate("200"), rate("4", when=LONG)), before=before))
    new_tier = card("1", rate("2"), rate("200", Meter.INPUT_TOKENS, LONG))
    assert reason(Row(new_tier, before=before)) is HoldReason.RATIO_TO_PAST
    new_meter = card("1", rate("500", Meter.WEB_SEARCHES))
    assert reason(Row(new_meter, before=before)) is None


def test_another_number_of_units_is_no_error_of_unit() -> None:
    before = card("1", rate("0.1", Meter.AUDIO_SECONDS))
    hourly = Rate(Meter.AUDIO_SECONDS, Decimal(360), per=3_600)
    assert reason(Row(card("1", hourly), before=before)) is None
    assert reason(Row(card("1", replace(hourly, per=1)), before=before))


def test_deep_discounts_of_cache_reads_begin_and_end() -> None:
    before = card("1", rate("0.01", Meter.CACHE_READ_TOKENS))
    assert reason(Row(card("1", rate("0.5", Meter.CACHE_READ_TOKENS)), before=before)) is None
    assert reason(Row(card("1", rate("1", Meter.CACHE_READ_TOKENS)), before=before))


def test_a_zero_is_no_reference_and_a_declared_free_price_is_believed() -> None:
    assert reason(Row(card("5"), before=FREE)) is None
    assert reason(Row(FREE, before=card("5"))) is None
    assert reason(Row(DYNAMIC, before=card("5"))) is None
    opinion = Opinion("first", card("0.01"))
    assert reason(Row(card("5"), before=FREE, opinions=(opinion,))) is (
        HoldReason.RATIO_TO_OTHER_SOURCE
    )


def test_a_zero_beside_prices_is_suspicious_where_a_price_was() -> None:
    before = card("1", rate("2"))
    assert reason(Row(card("1", rate("0")), before=before)) is HoldReason.RATIO_TO_PAST


def test_the_past_is_believed_over_opinions_which_may_confirm() -> None:
    far = Opinion("first", card("900"))
    assert reason(Row(card("1.1"), before=card("1"), opinions=(far,))) is None
    assert reason(Row(card("1000"), before=card("1"), opinions=(far,))) is None
    assert reason(Row(card("1351"), before=card("1"), opinions=(far,)))


def test_one_of_several_opinions_confirms_and_one_alone_makes_suspicious() -> None:
    near, far = Opinion("first", card("1")), Opinion("second", card("100"))
    assert reason(Row(card("1.4"), opinions=(far, near))) is None
    assert reason(Row(card("2"), opinions=(near, far))) is HoldReason.RATIO_TO_OTHER_SOURCE


def test_evidence_names_both_numbers_and_where_they_are_from() -> None:
    found = judge_row(Row(card("100"), before=card("3")), "acme", NOON)
    assert found is not None
    (one,) = found.evidence
    assert (one.stated, one.reference) == (Decimal(100), Decimal(3))
    assert one.meter is Meter.INPUT_TOKENS
    assert (one.ratio, one.reference_source, one.references) == (Decimal("33.3333"), "acme", 1)


# Feeds ----------------------------------------------------------------------------------------


def verdict(rows: Iterable[Row], source: Source = ACME, *, is_first: bool = False) -> object:
    found = judge_feed(
        list(rows),
        is_first=is_first,
        is_recorded=source.evidence is SourceEvidence.RECORDED,
        is_proven=source.proven_units,
        at=NOON,
    )
    return found.reason if found else None


def against_others(*ratios: str) -> list[Row]:
    return [Row(card(ratio), other_sellers={Meter.INPUT_TOKENS: Decimal(1)}) for ratio in ratios]


def test_a_feed_is_held_when_its_median_is_over_ten_times_off() -> None:
    assert verdict(against_others("10", "10", "10", "1", "1")) is None
    assert verdict(against_others("10.01", "10.01", "10.01", "1", "1")) is HoldReason.FEED_SHIFTED
    assert verdict(against_others("0.09", "0.09", "0.09", "1", "1")) is HoldReason.FEED_SHIFTED
    assert verdict(against_others("100", "100", "1", "1")) is None, "too few to say"
    # Of six, the two in the middle: their geometric mean decides, exactly.
    assert verdict(against_others("1", "1", "4", "25", "50", "50")) is None
    assert verdict(against_others("1", "1", "4", "25.01", "50", "50")) is HoldReason.FEED_SHIFTED


def test_unchanged_rows_count_as_references_that_agree() -> None:
    same = [Row(card("1"), is_unchanged=True)] * 5
    assert verdict([*same, *against_others(*["1000"] * 5)]) is HoldReason.FEED_SHIFTED
    assert verdict([*same, *same, *against_others(*["1000"] * 5)]) is None


def test_one_meter_alone_holds_the_feed() -> None:
    rows = [
        Row(card("1", rate("200")), before=card("1", rate("2"))),
        *[Row(card("1", rate("300")), before=card("1", rate("3")))] * 4,
    ]
    assert verdict(rows) is HoldReason.FEED_SHIFTED
    found = feed_medians(rows, NOON)
    assert {meter: (one.ratio, one.references) for meter, one in found.items()} == {
        Meter.INPUT_TOKENS: (Decimal(1), 5),
        Meter.OUTPUT_TOKENS: (Decimal(100), 5),
    }


def test_a_feed_that_turns_free_is_held_though_no_single_model_is() -> None:
    rows = [Row(FREE, before=card("1"))] * 5
    assert verdict(rows) is HoldReason.FEED_SHIFTED
    given_away = [Row(FREE, other_sellers={Meter.INPUT_TOKENS: Decimal(1)})] * 9
    assert verdict(given_away) is None, "what one gives away others may sell"


def test_first_syncs_need_proof_or_references_or_no_price() -> None:
    assert verdict(against_others(*"1111"), is_first=True) is HoldReason.FEW_REFERENCES
    assert verdict(against_others(*"11111"), is_first=True) is None
    assert verdict(against_others(*"1"), PROVEN, is_first=True) is None
    assert verdict(against_others(*"11111"), PAPER, is_first=True) is HoldReason.UNPROVEN_SOURCE
    assert verdict(against_others(*"1"), PAPER) is None
    assert verdict([Row(UNPRICED)] * 3, PAPER, is_first=True) is None


@given(st.lists(prices(), min_size=5, max_size=9), st.sampled_from([2, 3, 6, -2, -3, -6]))
@many
def test_a_whole_feed_in_a_wrong_unit_is_shifted(true: list[Decimal], power: int) -> None:
    rows = [Row(card(str(each.scaleb(power))), before=card(str(each))) for each in true]
    assert verdict(rows) is HoldReason.FEED_SHIFTED
    assert verdict([Row(card(str(each)), before=card(str(each))) for each in true]) is None


# What becomes of held changes -----------------------------------------------------------------


def listed(model_id: str, what: RateCard | str, *, alias_target: str | None = None) -> ListedModel:
    stated = card(what) if isinstance(what, str) else what
    return ListedModel("acme", model_id, stated, "{}", alias_target=alias_target)


def listing(*models: ListedModel, day: int = 0, faults: Iterable[Fault] = ()) -> Listing:
    return Listing(models, tuple(faults), (), NOON + day * DAY)


@pytest.fixture
def table() -> HeldTable:
    made = HeldTable()
    made.sync(PROVEN, listing(listed("a", "1"), listed("b", "2")))
    return made


def statuses(table: HeldTable) -> list[str]:
    return [entry.status.value for entry in table.entries.values()]


def test_a_held_row_leaves_its_quote_and_touches_no_other(table: HeldTable) -> None:
    plan = table.sync(
        PROVEN, listing(listed("a", "100"), listed("b", "3"), listed("c", "9"), day=1)
    )
    assert (plan.counts["models_held"], plan.counts["models_updated"]) == (1, 1)
    assert plan.counts["models_registered"] == 1
    assert (table.price_of("a"), table.price_of("b")) == (card("1"), card("3"))
    assert plan.held == (1,)
    assert statuses(table) == ["open"]


def test_a_held_row_is_listed_and_does_not_wait_to_be_delisted(table: HeldTable) -> None:
    for day in (1, 2, 3):
        plan = table.sync(PROVEN, listing(listed("a", "100"), listed("b", "2"), day=day))
        assert (plan.missing, plan.changes, plan.counts["models_missing"]) == ((), (), 0)
    assert table.models["acme", "a"].is_active
    assert statuses(table) == ["open"], "the same finding"


def test_binary_noise_is_the_same_finding_and_the_same_rejected_price(table: HeldTable) -> None:
    table.sync(PROVEN, listing(listed("a", "100"), listed("b", "2"), day=1))
    noisy = listing(listed("a", "100.0000000000000001"), listed("b", "2"), day=2)
    assert table.sync(PROVEN, noisy).holding.again == (1,)
    table.decide(1, HoldStatus.REJECTED)
    plan = table.sync(PROVEN, noisy)
    assert (plan.holding.opened, plan.counts["models_held"]) == ((), 1)
    assert statuses(table) == ["rejected"]


def test_an_unreadable_row_leaves_its_finding_and_a_dropped_one_ends_it(table: HeldTable) -> None:
    table.sync(PROVEN, listing(listed("a", "100"), listed("b", "2"), day=1))
    fault = Fault("a", "broken", ("acme", "a"))
    table.sync(PROVEN, listing(listed("b", "2"), day=2, faults=[fault]))
    assert statuses(table) == ["open"]
    table.sync(PROVEN, listing(listed("b", "2"), day=3))
    assert statuses(table) == ["expired"]


def test_two_sources_that_state_the_same_new_price_release_each_other(table: HeldTable) -> None:
    table.sync(FIRST, listing(listed("a", "1.1")))
    table.sync(PROVEN, listing(listed("a", "100"), listed("b", "2"), day=1))
    plan = table.sync(FIRST, listing(listed("a", "110"), day=1))
    assert statuses(table) == ["released"]
    assert (plan.counts["models_held"], table.price_of("a")) == (0, card("100"))
    (change,) = plan.changes
    assert (change.source, change.origin) == ("acme", replace(ORIGIN, note="first"))
    assert change.effective_time == NOON + DAY
    again = table.sync(PROVEN, listing(listed("a", "100"), listed("b", "2"), day=2))
    assert (again.changes, again.counts["models_unchanged"]) == ((), 2)


def test_a_new_model_that_two_sources_state_alike_is_registered_by_the_better(
    table: HeldTable,
) -> None:
    table.sync(SECOND, listing(listed("n", "1")))
    assert table.sync(PROVEN, listing(listed("n", "500"), listed("b", "2"), day=1)).changes == ()
    table.sync(FIRST, listing(listed("n", "510"), day=2))
    assert (table.price_of("n"), statuses(table)) == (card("500"), ["released"])


def test_another_source_that_is_wrong_too_in_another_way_confirms_nothing(
    table: HeldTable,
) -> None:
    table.sync(FIRST, listing(listed("a", "1.1")))
    table.sync(PROVEN, listing(listed("a", "100"), listed("b", "2"), day=1))
    table.sync(FIRST, listing(listed("a", "1000"), day=1))
    assert statuses(table) == ["open", "open"]
    assert table.price_of("a") == card("1")


def test_an_alias_costs_what_it_stands_for_now(table: HeldTable) -> None:
    table.sync(FIRST, listing(listed("~latest", "0.01")))
    alias = listed("~latest", "2", alias_target="b")
    plan = table.sync(PROVEN, listing(alias, listed("b", "2"), day=1))
    assert (plan.counts["models_held"], table.price_of("~latest")) == (0, card("2"))
    wrong = listed("~latest", "200", alias_target="b")
    plan = table.sync(PROVEN, listing(wrong, listed("b", "2"), day=2))
    assert plan.counts["models_held"] == 1


def test_an_alias_of_a_held_model_is_held_with_it(table: HeldTable) -> None:
    alias = listed("~latest", "2", alias_target="b")
    table.sync(PROVEN, listing(alias, listed("b", "2"), day=1))
    wrong = listed("~latest", "200", alias_target="b")
    plan = table.sync(PROVEN, listing(wrong, listed("b", "200"), day=2))
    assert plan.counts["models_held"] == 2


def test_the_first_feed_of_an_unproven_source_is_one_entry_with_its_models() -> None:
    table = HeldTable()
    plan = table.sync(PAPER, listing(listed("a", "1"), listed("b", UNPRICED)))
    assert (plan.counts["models_held"], plan.changes, table.models) == (2, (), {})
    assert {entry.feed for entry in table.entries.values()} == {None, 1}
    again = table.sync(PAPER, listing(listed("a", "1"), listed("b", UNPRICED), day=1))
    assert (again.holding.again, again.holding.opened) == ((2, 3, 1), ())


@pytest.mark.parametrize(
    ("stated", "is_same"),
    [
        ([listed("a", "1"), listed("b", "2")], True),
        ([listed("a", "1.4"), listed("b", "2")], True),
        ([listed("a", "1")], True),
        ([listed("a", "1.6"), listed("b", "2")], False),
        ([listed("a", "1000000"), listed("b", "2000000")], False),
        ([listed("a", card("1", rate("5"))), listed("b", "2")], False),
        ([listed("a", UNPRICED), listed("b", "2")], False),
        ([listed("a", "1"), listed("b", "2"), listed("c", "3")], False),
    ],
)
def test_an_entry_of_a_feed_holds_no_prices_but_about_those_that_were_looked_at(
    stated: list[ListedModel], is_same: bool
) -> None:
    table = HeldTable()
    table.sync(PAPER, listing(listed("a", "1"), listed("b", "2")))
    table.sync(PAPER, listing(*stated, day=1))
    (feed,) = (each for each in table.open() if each.listed is None)
    assert (feed.number == 1) is is_same
    assert {each.feed for each in table.open() if each is not feed} == {feed.number}
    assert len(table.open()) == 1 + len(stated)


def test_of_a_feed_that_is_another_finding_nothing_stays_behind() -> None:
    table = HeldTable()
    table.sync(PAPER, listing(listed("a", "1"), listed("b", "2")))
    fault = Fault("b", "broken", ("acme", "b"))
    table.sync(PAPER, listing(listed("a", "1"), day=1, faults=[fault]))
    assert statuses(table) == ["open"] * 3
    table.sync(PAPER, listing(listed("a", "100"), day=2, faults=[fault]))
    assert statuses(table) == ["expired"] * 3 + ["open"] * 2


def test_a_rejected_feed_is_not_asked_about_again_for_its_models_without_a_price() -> None:
    table = HeldTable()
    models = [listed("a", "1"), listed("b", UNPRICED)]
    table.sync(PAPER, listing(*models))
    table.decide(1, HoldStatus.REJECTED)
    plan = table.sync(PAPER, listing(*models, day=1))
    assert (plan.counts["models_held"], plan.holding.opened) == (2, ())
    plan = table.sync(PAPER, listing(listed("a", "1"), listed("b", "2"), day=2))
    assert [each.listed.model_id for each in plan.holding.opened] == ["b"]


def test_a_held_feed_delists_nothing_and_confirms_nothing() -> None:
    table = HeldTable()
    models = [listed(f"m{at}", "1") for at in range(6)]
    table.sync(PROVEN, listing(*models, listed("gone", "1")))
    wrong = [listed(f"m{at}", "100") for at in range(6)]
    for day in (1, 2, 3):
        plan = table.sync(PROVEN, listing(*wrong, day=day))
        assert (plan.counts["models_held"], plan.counts["models_missing"]) == (6, 1)
        assert (plan.changes, plan.missing, plan.unreadable) == ((), (), (7,))
    for day in (4, 5):
        plan = table.sync(PROVEN, listing(*models, day=day))
    assert [change.kind for change in plan.changes] == [ChangeKind.DELISTED]


def test_a_feed_that_gets_references_is_released_by_itself() -> None:
    table = HeldTable()
    models = [listed(f"m{at}", "1") for at in range(5)]
    assert table.sync(ACME, listing(*models)).counts["models_held"] == 5
    table.sync(FIRST, listing(*models))
    plan = table.sync(ACME, listing(*models, day=1))
    assert (plan.counts["models_held"], set(statuses(table))) == (0, {"released"})


# Prices that nothing else can judge -------------------------------------------------------------


def many_models(seller: str, prices: Iterable[str]) -> list[ListedModel]:
    """Models of a seller with these prices, above the least number that says what is usual."""
    found = list(prices)
    return [
        replace(listed(f"{seller}-{at}", found[at % len(found)]), provider=seller)
        for at in range(40)
    ]


@pytest.fixture
def market() -> HeldTable:
    """A table in which usual prices are from 1 to 100, so that 0.01 to 10,000 are plausible."""
    made = HeldTable()
    made.sync(FIRST, listing(*many_models("market", ["1", "10", "100"])))
    return made


@pytest.mark.parametrize(
    ("price", "is_held"),
    [
        ("10000", False),
        ("10000.01", True),
        ("0.01", False),
        ("0.00999", True),
        ("2500000", True),
        ("7", False),
    ],
)
def test_a_new_price_far_outside_what_models_cost_is_implausible(
    market: HeldTable, price: str, is_held: bool
) -> None:
    plan = market.sync(PROVEN, listing(listed("new", price)))
    assert (market.price_of("new") is None) is is_held
    if is_held:
        (opened,) = plan.holding.opened
        assert opened.suspicion.reason is HoldReason.IMPLAUSIBLE
        assert [
            (one.meter, one.stated, one.reference, one.references)
            for one in opened.suspicion.evidence
        ] == [
            (Meter.INPUT_TOKENS, Decimal(price), bound, 40)
            for bound in (Decimal("0.01"), Decimal(10000))
        ]


def test_a_rate_that_is_new_on_a_known_card_is_judged_by_what_models_cost(
    market: HeldTable,
) -> None:
    searches = [
        replace(listed(f"s{at}", card("10", rate("0.01", Meter.WEB_SEARCHES))), provider="search")
        for at in range(30)
    ]
    market.sync(SECOND, listing(*searches))
    market.sync(PROVEN, listing(listed("a", "7"), listed("b", "8")))
    wrong = card("7", rate("35", Meter.WEB_SEARCHES))
    right = card("8", rate("0.035", Meter.WEB_SEARCHES))
    plan = market.sync(PROVEN, listing(listed("a", wrong), listed("b", right), day=1))
    assert [each.listed.model_id for each in plan.holding.opened] == ["a"]
    assert (market.price_of("a"), market.price_of("b")) == (card("7"), right)


def test_other_sellers_and_sources_can_confirm_a_price_that_is_unlike_all_others(
    market: HeldTable,
) -> None:
    elsewhere = replace(listed("rare", "10000"), provider="else")
    market.sync(SECOND, listing(elsewhere))
    plan = market.sync(PROVEN, listing(listed("rare", "20000"), listed("new", "20000")))
    assert [each.listed.model_id for each in plan.holding.opened] == ["new"]
    market.sync(SECOND, listing(elsewhere, listed("new", "20010"), day=1))
    assert market.price_of("new") == card("20000"), "two sources state it alike"
    assert statuses(market) == ["released"]


def test_few_models_do_not_say_what_is_usual(market: HeldTable) -> None:
    pages = Meter.INPUT_DOCUMENT_PAGES
    few_of_them = [listed(f"p{at}", card("10", rate("0.01", pages))) for at in range(10)]
    far_off = listed("new", card("10", rate("1000000", pages)))
    assert market.plan(PROVEN, listing(*few_of_them, far_off)).holding.opened == ()


def test_a_feed_itself_says_what_is_usual_of_a_meter_that_the_table_does_not_know() -> None:
    table = HeldTable()
    plan = table.sync(PROVEN, listing(*many_models("acme", ["1", "2"]), listed("new", "2000000")))
    assert [each.listed.model_id for each in plan.holding.opened] == ["new"]


def areas(**prices: str) -> list[ListedModel]:
    return [
        listed(
            f"{area}.anthropic.claude-opus-4-6-v1"
            if area != "none"
            else "anthropic.claude-opus-4-6-v1:0",
            price,
        )
        for area, price in prices.items()
    ]


@pytest.mark.parametrize(
    ("known", "price", "is_held"),
    [
        ({"us": "5", "none": "5"}, "16.5", True),
        ({"regional": "5.5", "global": "5"}, "16.5", True),
        ({"us": "5"}, "1.6", True),
        ({"us": "5", "none": "5"}, "5.5", False),
        ({"us": "5", "none": "15"}, "16.5", False),
        ({"us": "5", "none": "15"}, "50", False),
        ({}, "16.5", False),
    ],
)
def test_a_new_id_of_a_known_family_is_compared_with_its_siblings_unless_they_differ(
    known: dict[str, str], price: str, is_held: bool
) -> None:
    table = HeldTable()
    table.sync(FIRST, listing(*areas(**known), listed("anthropic.claude-opus-4-5-v1", "5")))
    plan = table.sync(PROVEN, listing(*areas(au=price)))
    reasons = [each.suspicion.reason for each in plan.holding.opened]
    assert reasons == [HoldReason.IMPLAUSIBLE] * is_held
    if is_held:
        (one,) = plan.holding.opened[0].suspicion.evidence
        assert (one.reference_source, one.references) == ("first", len(known))


# Feeds that shrink ------------------------------------------------------------------------------


def models(*numbers: int, price: str = "1") -> list[ListedModel]:
    return [listed(f"m{at:02}", price) for at in numbers]


@pytest.fixture
def twenty() -> HeldTable:
    made = HeldTable()
    made.sync(PROVEN, listing(*models(*range(20))))
    return made


@pytest.mark.parametrize(
    ("kept", "is_held"), [([0], True), (range(9), True), (range(10), False), (range(20), False)]
)
def test_a_feed_that_lists_less_than_half_is_held_as_a_whole_and_delists_nobody(
    twenty: HeldTable, kept: Iterable[int], is_held: bool
) -> None:
    for day in (1, 2, 3):
        plan = twenty.sync(PROVEN, listing(*models(*kept), day=day))
        assert (plan.holding.feed is not None) is is_held
    assert [each.reason for each in twenty.open()] == [HoldReason.FEED_SHRUNK] * is_held
    gone = [each.model_id for each in twenty.models.values() if not each.is_active]
    assert len(gone) == (0 if is_held else 20 - len(list(kept)))
    noticed = [each for each in plan.notices if each.code == "feed_shrunk"]
    assert [(each.models, each.example) for each in noticed] == (
        [(20 - len(list(kept)), f"m{len(list(kept)):02}")] if is_held else []
    )


def test_a_feed_that_lists_as_many_others_has_not_shrunk(twenty: HeldTable) -> None:
    for day in (1, 2):
        plan = twenty.sync(PROVEN, listing(*models(*range(50, 60)), day=day))
        assert plan.holding.feed is None
    assert [change.kind for change in plan.changes] == [ChangeKind.DELISTED] * 20


def test_the_evidence_of_a_feed_that_shrank_is_the_share_that_is_left(twenty: HeldTable) -> None:
    feed = twenty.plan(PROVEN, listing(*models(0), day=1)).holding.feed
    assert feed is not None
    (evidence,) = feed.evidence
    assert (evidence.meter, evidence.ratio, evidence.references) == (None, Decimal("0.05"), 20)


def test_what_changes_in_a_feed_that_shrank_is_held_with_it_until_it_grows_again(
    twenty: HeldTable,
) -> None:
    plan = twenty.sync(PROVEN, listing(*models(0, price="2"), *models(1), day=1))
    assert (plan.counts["models_held"], plan.counts["models_unchanged"]) == (1, 1)
    assert twenty.price_of("m00") == card("1")
    plan = twenty.sync(PROVEN, listing(*models(0, price="2"), *models(*range(1, 20)), day=2))
    assert (plan.counts["models_updated"], twenty.open()) == (1, [])
    assert statuses(twenty) == ["expired", "released"]


def test_of_a_small_feed_half_is_a_handful() -> None:
    table = HeldTable()
    table.sync(PROVEN, listing(*models(*range(9))))
    for day in (1, 2):
        plan = table.sync(PROVEN, listing(*models(0), day=day))
    assert [change.kind for change in plan.changes] == [ChangeKind.DELISTED] * 8


def test_rows_that_cannot_be_read_are_listed_where_they_name_a_model(twenty: HeldTable) -> None:
    named = [Fault(f"m{at:02}", "broken", ("acme", f"m{at:02}")) for at in range(1, 10)]
    nameless = [Fault("", "no name")] * 19
    assert twenty.plan(PROVEN, listing(*models(0), day=1, faults=nameless)).holding.feed is not None
    plan = twenty.sync(PROVEN, listing(*models(0), day=1, faults=[*named, nameless[0]]))
    assert (plan.holding.feed, len(plan.unreadable), len(plan.missing)) == (None, 9, 10)


def test_a_feed_without_any_price_may_not_shrink_either() -> None:
    table = HeldTable()
    names = [listed(f"m{at}", UNPRICED) for at in range(20)]
    table.sync(PROVEN, listing(*names))
    assert table.plan(PROVEN, listing(names[0], day=1)).holding.feed is not None


def test_a_feed_that_shrinks_on_is_another_finding_and_one_that_grows_is_the_same(
    twenty: HeldTable,
) -> None:
    for day, kept in enumerate((5, 7, 4), start=1):
        twenty.sync(PROVEN, listing(*models(*range(kept)), day=day))
    assert statuses(twenty) == ["expired", "open"]


def test_a_rejected_shrinking_holds_without_another_entry_until_the_feed_grows_again(
    twenty: HeldTable,
) -> None:
    twenty.sync(PROVEN, listing(*models(0), day=1))
    twenty.decide(1, HoldStatus.REJECTED)
    for day in (2, 3, 4):
        plan = twenty.sync(PROVEN, listing(*models(0), day=day))
        assert (plan.missing, plan.changes, twenty.open()) == ((), (), [])
    twenty.sync(PROVEN, listing(*models(*range(20)), day=5))
    assert twenty.entries[1].has_lapsed
    twenty.sync(PROVEN, listing(*models(0), day=6))
    assert [each.reason for each in twenty.open()] == [HoldReason.FEED_SHRUNK]


# Laws -----------------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from([PROVEN, FIRST, SECOND]),
        st.dictionaries(
            st.sampled_from("abc"),
            st.sampled_from(["1", "1.2", "40", "50", "3000", "-"]),
            min_size=1,
        ),
        st.sampled_from([None, HoldStatus.REJECTED]),
    ),
    min_size=1,
    max_size=8,
)


@given(steps)
@few
def test_whatever_is_stated_a_price_moves_far_only_where_two_sources_agree(
    history: list[tuple[Source, dict[str, str], HoldStatus | None]],
) -> None:
    table = HeldTable()
    for day, (source, stated, decision) in enumerate(history):
        models = [
            listed(name, UNPRICED if price == "-" else price) for name, price in stated.items()
        ]
        data = listing(*models, day=day)
        plan = table.sync(source, data)
        told = dict(plan.counts)
        fetched = told.pop("models_fetched")
        told.pop("models_missing")
        assert sum(told.values()) == fetched
        for change in plan.changes:
            if change.old is None or not (change.old.rates and change.new.rates):
                continue
            before, after = change.old.rates[0].price, change.new.rates[0].price
            if not Decimal(1) / 30 <= after / before <= 30:
                model_key = table.models["acme", change.model_id].model_key
                near = [
                    quote.source
                    for quote in table.quotes[model_key].values()
                    if (found := table.cards[quote.card_id]).rates
                    and Decimal(2) / 3 <= found.rates[0].price / after <= Decimal(3) / 2
                ]
                assert len(near) >= 2, "another source confirms, or it would be held"
        if decision is not None and table.open():
            table.decide(table.open()[0].number, decision)
        again = table.plan(source, data)
        assert [each for each in again.changes if each.kind is not ChangeKind.DELISTED] == []
        assert again.counts["models_held"] == plan.counts["models_held"]
