"""Lists of prices: what passes, in which order, and that pages together are the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    ALWAYS,
    DYNAMIC,
    UNPRICED,
    Comparison,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    Threshold,
    UtcWindow,
)
from pricing_server.domain.head import Head
from pricing_server.domain.price import Layer, Price
from pricing_server.listing.in_effect import usd_per_one
from pricing_server.listing.listing import (
    ListedPage,
    Position,
    PriceFilter,
    PriceLister,
    UnknownPosition,
    select,
)
from pricing_server.listing.price_list import PriceList
from pricing_server.runtime.sorted_runs import sorted_in_runs
from tests.unit._listed_table import ListedTable, names, price_lists
from tests.unit._price_table import HOUR, NOON, Clock, price, priced
from tests.unit._strategies import few, many, prices

METERS = [Meter.INPUT_TOKENS, Meter.OUTPUT_TOKENS, Meter.AUDIO_SECONDS, Meter.REQUESTS]
HEAD = Head(1, "epoch")

# The prices, the filters and a plain reading of both --------------------------------------

conditions = st.sampled_from(
    [
        ALWAYS,
        Conditions(utc_window=UtcWindow(60, 720)),
        Conditions(utc_window=UtcWindow(720, 60)),
        Conditions(context=(("service_tier", "flex"),)),
        Conditions(threshold=Threshold(Meter.INPUT_TOKENS, Comparison.ABOVE, 1000)),
        Conditions(threshold=Threshold(Meter.INPUT_TOKENS, Comparison.AT_LEAST, 0)),
        Conditions(effective_from=NOON),
        Conditions(effective_until=NOON),
    ]
)
rates = st.builds(
    Rate,
    st.sampled_from(METERS),
    st.sampled_from([Decimal(text) for text in ("0.3", "0.6", "1", "2", "3600", "7200")]),
    conditions,
    st.sampled_from([1, 2, 3, 3600]),
)
cards = st.one_of(
    st.sampled_from([UNPRICED, DYNAMIC]),
    st.just(RateCard.of(PriceState.FREE, [Rate(Meter.INPUT_TOKENS, Decimal(0))])),
    st.lists(rates, min_size=1, max_size=6, unique_by=lambda rate: rate.key).map(
        lambda listed: RateCard.of(PriceState.PRICED, listed)
    ),
)


@st.composite
def listed_prices(draw: st.DrawFn) -> Price:
    stated = replace(
        price(
            draw(st.sampled_from(["acme", "beta", "ßeller"])),
            draw(st.sampled_from(["One", "one-2", "two", "beta"])),
            draw(cards),
        ),
        context_length=draw(st.none() | st.sampled_from([1, 4096, 131072])),
        hugging_face_id=draw(st.none() | st.sampled_from(["Acme/ONE", "acme/two"])),
        delisted_at=draw(st.none() | st.just(NOON - HOUR)),
    )
    until = draw(st.none() | st.sampled_from([NOON - HOUR, NOON, NOON + HOUR]))
    if until is None:
        return stated
    card = draw(cards)
    return replace(stated, card=card, layer=Layer.OVERRIDE, until=until, stated=stated)


tables = st.lists(listed_prices(), max_size=12, unique_by=lambda one: (one.provider, one.model_id))
instants = st.sampled_from([NOON, NOON - timedelta(microseconds=1), NOON + 13 * HOUR])


@st.composite
def filters(draw: st.DrawFn) -> PriceFilter:
    meter = draw(st.none() | st.sampled_from(METERS))
    bounds = st.none() | st.sampled_from([Decimal(text) for text in ("0", "0.3", "1", "2")])
    lengths = st.none() | st.sampled_from([1, 4096, 10**6])
    return PriceFilter(
        providers=draw(st.frozensets(st.sampled_from(["acme", "beta", "other"]), max_size=2)),
        states=draw(st.frozensets(st.sampled_from(PriceState), max_size=2)),
        meters=draw(st.frozensets(st.sampled_from(METERS), max_size=2)),
        text=draw(st.sampled_from(["", "", "ONE", "acme/", "SSEL", "beta", "2"])),
        price_meter=meter,
        min_price=draw(bounds) if meter else None,
        max_price=draw(bounds) if meter else None,
        min_context_length=draw(lengths),
        max_context_length=draw(lengths),
        is_descending=draw(st.booleans()) if meter else False,
        include_delisted=draw(st.booleans()),
    )


def expected(table: Sequence[Price], criteria: PriceFilter, at: datetime) -> list[tuple[str, str]]:
    """The names that are to be listed, by the contract read word for word."""
    left: list[tuple[tuple[object, ...], tuple[str, str]]] = []
    for one in table:
        stated = one
        if one.until is not None and at >= one.until:
            assert one.stated is not None
            stated = one.stated
        now = [rate for rate in stated.card.rates if rate.conditions.in_effect(at)]
        state = stated.card.state
        if state in (PriceState.PRICED, PriceState.FREE) and not now:
            state = PriceState.UNPRICED
        standard = next(
            (
                Fraction(rate.price) / rate.per
                for rate in now
                if rate.meter is criteria.price_meter
                and not rate.conditions.context
                and (rate.conditions.threshold is None or rate.conditions.threshold.reached_by(0))
            ),
            None,
        )
        texts = [one.model_id, one.provider, one.hugging_face_id or ""]
        passes = [
            one.delisted_at is None or criteria.include_delisted,
            not criteria.providers or one.provider in criteria.providers,
            not criteria.states or state in criteria.states,
            all(any(rate.meter is meter for rate in now) for meter in criteria.meters),
            any(criteria.text.casefold() in text.casefold() for text in texts),
        ]
        for bound, is_least, value in (
            (criteria.min_price, True, standard),
            (criteria.max_price, False, standard),
            (criteria.min_context_length, True, one.context_length),
            (criteria.max_context_length, False, one.context_length),
        ):
            if bound is not None:
                limit = Fraction(bound)
                passes.append(
                    value is not None and (value >= limit if is_least else value <= limit)
                )
        if all(passes):
            sign = -1 if criteria.is_descending else 1
            name = (one.provider, one.model_id)
            left.append(((standard is None, sign * (standard or 0), name), name))
    return [name for _, name in sorted(left)]


def price_list(table: Sequence[Price]) -> PriceList:
    return PriceList(HEAD, sorted(table, key=lambda one: (one.provider, one.model_id)))


# Laws ------------------------------------------------------------------------------------


@given(table=tables, criteria=filters(), at=instants)
@many
def test_what_is_listed_is_what_the_contract_says_and_in_its_order(
    table: Sequence[Price], criteria: PriceFilter, at: datetime
) -> None:
    assert names(select(price_list(table), criteria, at)) == expected(table, criteria, at)


@given(table=tables, criteria=filters(), data=st.data())
@many
def test_a_list_answers_alike_at_any_instant_and_in_any_order_of_questions(
    table: Sequence[Price], criteria: PriceFilter, data: st.DataObject
) -> None:
    """What it remembers of its cards holds at every instant."""
    listed = price_list(table)
    for at in data.draw(st.lists(instants, max_size=4)):
        assert names(select(listed, criteria, at)) == expected(table, criteria, at)


@given(table=tables, criteria=filters(), at=instants, sizes=st.lists(st.integers(1, 4), min_size=1))
@few
async def test_pages_of_any_size_are_the_whole_list_each_once(
    table: Sequence[Price], criteria: PriceFilter, at: datetime, sizes: Sequence[int]
) -> None:
    """Each page at a server that has seen none before, while prices change and time goes on."""
    clock = Clock()
    clock.now = at
    reader = ListedTable(*table)
    found: list[ListedPage] = []
    begin = None
    while not found or not found[-1].is_last:
        lists = price_lists(reader)
        listing = PriceLister(lists, {}, clock=clock)
        found.append(await listing.page(criteria, begin, sizes[len(found) % len(sizes)]))
        if found[-1].answers:
            last = found[-1].answers[-1].evaluated.price
            begin = Position(found[-1].head, found[-1].at, (last.provider, last.model_id))
        await lists.aclose()
        reader.commit(*(replace(one, card=priced(str(len(found)))) for one in table))
        clock.now += HOUR
    told = [answer.evaluated.price for each in found for answer in each.answers]
    assert names(told) == expected(table, criteria, at)
    assert {(each.head, each.at) for each in found} == {(HEAD, at)}


@given(table=tables, criteria=filters(), at=instants, position=st.integers(0, 11))
@many
async def test_what_has_no_revision_may_change_between_pages_and_nothing_comes_twice(
    table: Sequence[Price], criteria: PriceFilter, at: datetime, position: int
) -> None:
    """Such as the context length, also of the very model behind which a page begins."""
    before = expected(table, criteria, at)
    if not before:
        return
    behind = before[position % len(before)]
    changed = [replace(one, context_length=4096) for one in table]
    lists = price_lists(ListedTable(*changed))
    page = await PriceLister(lists, {}).page(criteria, Position(HEAD, at, behind), 100)
    told = names(answer.evaluated.price for answer in page.answers)
    place = before.index(behind)
    assert not set(told) & set(before[: place + 1])
    assert [name for name in before[place + 1 :] if name in told] == [
        name for name in told if name in before
    ]
    await lists.aclose()


@given(
    one=st.tuples(prices(), st.integers(1, 2**63 - 1)),
    two=st.tuples(prices(), st.integers(1, 2**63 - 1)),
)
@many
def test_prices_per_many_are_ordered_exactly(
    one: tuple[Decimal, int], two: tuple[Decimal, int]
) -> None:
    rates = [Rate(Meter.AUDIO_SECONDS, price, per=per) for price, per in (one, two)]
    left, right = map(usd_per_one, rates)
    exact = [Fraction(rate.price) / rate.per for rate in rates]
    assert (left < right, left == right) == (exact[0] < exact[1], exact[0] == exact[1])


@given(st.lists(st.integers(0, 9)), st.integers(1, 5))
@many
def test_sorting_in_runs_is_sorting_and_keeps_the_order_of_equals(
    items: list[int], run: int
) -> None:
    numbered = list(enumerate(items))
    found = sorted_in_runs(numbered, lambda item: item[1], run=run)
    assert found == sorted(numbered, key=lambda item: item[1])


# Pages -----------------------------------------------------------------------------------


async def test_a_page_behind_a_model_that_nobody_lists_is_refused() -> None:
    lists = price_lists(ListedTable(price("a", "one")))
    listing = PriceLister(lists, {})
    for behind in (("a", "two"), ("a", ""), ("z", "one")):
        with pytest.raises(UnknownPosition):
            await listing.page(PriceFilter(), Position(HEAD, NOON, behind), 1)
    await lists.aclose()


async def test_later_pages_are_evaluated_at_the_instant_of_the_first() -> None:
    """Rates, freshness and what a date decides, though a day has passed."""
    timed = RateCard.of(
        PriceState.PRICED,
        [
            Rate(Meter.INPUT_TOKENS, Decimal(9), Conditions(effective_from=NOON + HOUR)),
            Rate(Meter.INPUT_TOKENS, Decimal(1)),
        ],
    )
    lists = price_lists(ListedTable(*(price("a", each, timed) for each in ("one", "two"))))
    clock = Clock()
    listing = PriceLister(lists, {}, clock=clock)
    first = await listing.page(PriceFilter(), None, 1)
    clock.now += 24 * HOUR
    second = await listing.page(PriceFilter(), Position(first.head, first.at, ("a", "one")), 1)
    anew = await listing.page(PriceFilter(), None, 2)
    for page, prompt, at in ((first, 1, NOON), (second, 1, NOON), (anew, 9, clock.now)):
        for answer in page.answers:
            assert answer.evaluated.headline.prompt == prompt
            assert answer.at == at
    assert (first.is_last, second.is_last, anew.is_last) == (False, True, True)
    await lists.aclose()


async def test_a_list_of_nothing_has_one_page() -> None:
    lists = price_lists(ListedTable())
    page = await PriceLister(lists, {}).page(PriceFilter(), None, 10)
    assert page.is_last
    assert not page.answers
    await lists.aclose()
