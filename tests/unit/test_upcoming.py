"""What is ahead of the price table: what is listed, when, and that pages are the whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from llmpricing.meters import Meter
from llmpricing.rate_card import Conditions, Rate, RateCard, UtcWindow
from llmpricing.schedule import by_date, dated_changes, rate_differences
from pricing_server.domain.price import Layer, Price
from pricing_server.listing.upcoming import (
    UpcomingChange,
    UpcomingKind,
    UpcomingLister,
    UpcomingPosition,
    upcoming,
)
from tests.unit._listed_table import ListedTable, price_lists
from tests.unit._price_table import NOON, Clock, price, priced
from tests.unit._strategies import cards, dates, few, many

DAY = timedelta(days=1)
MONTH = 30 * DAY


def dearer(at: datetime, cost: str = "2") -> Rate:
    return Rate(Meter.INPUT_TOKENS, Decimal(cost), Conditions(effective_from=at))


def overridden(card: RateCard, until: datetime | None, beneath: Price) -> Price:
    return replace(
        beneath, card=card, layer=Layer.OVERRIDE, source="override", until=until, stated=beneath
    )


def told(*prices: Price, within: timedelta = MONTH) -> list[tuple[datetime, str, UpcomingKind]]:
    found = upcoming(prices, NOON, NOON + within)
    return [(change.at, change.model_id, change.kind) for change in found]


def prices_of(change: UpcomingChange) -> list[tuple[Decimal | None, Decimal | None]]:
    return [
        (one.old.price if one.old else None, one.new.price if one.new else None)
        for one in change.changes
    ]


def test_dated_rates_ends_of_overrides_and_retirements_are_listed_in_order_of_time() -> None:
    dated = price("acme", "dated", priced("1", dearer(NOON + 2 * DAY)))
    ending = overridden(priced("5"), NOON + 3 * DAY, price("acme", "ending"))
    retiring = replace(price("acme", "retiring"), retirement_time=NOON + DAY)
    assert told(dated, ending, retiring) == [
        (NOON + DAY, "retiring", UpcomingKind.RETIREMENT),
        (NOON + 2 * DAY, "dated", UpcomingKind.RATES),
        (NOON + 3 * DAY, "ending", UpcomingKind.OVERRIDE_END),
    ]
    (_, change, end) = upcoming([dated, ending, retiring], NOON, NOON + MONTH)
    assert prices_of(change) == [(Decimal(1), Decimal(2))]
    assert prices_of(end) == [(Decimal(5), Decimal(1))]


def test_what_is_past_too_far_ahead_or_of_a_delisted_model_is_not_listed() -> None:
    at = NOON + MONTH
    last = replace(price("acme", "last"), retirement_time=at)
    assert told(
        last,
        replace(price("acme", "past"), retirement_time=NOON),
        replace(price("acme", "far"), retirement_time=at + timedelta.resolution),
        replace(price("acme", "gone"), retirement_time=at, delisted_at=NOON),
    ) == [(at, "last", UpcomingKind.RETIREMENT)]


def test_beneath_an_override_dated_rates_count_from_its_end_on() -> None:
    beneath = price("acme", "m", priced("1", dearer(NOON + DAY), dearer(NOON + 5 * DAY, "3")))
    assert (
        told(overridden(priced("9"), NOON + 2 * DAY, beneath))
        == [
            (NOON + 2 * DAY, "m", UpcomingKind.OVERRIDE_END),
            (NOON + 5 * DAY, "m", UpcomingKind.RATES),
        ]
        or told(overridden(priced("9"), None, beneath)) == []
    )


def test_an_open_override_hides_what_is_beneath_it() -> None:
    beneath = price("acme", "m", priced("1", dearer(NOON + DAY)))
    assert told(overridden(priced("9"), None, beneath)) == []


def test_an_override_that_has_ended_counts_no_more() -> None:
    beneath = price("acme", "m", priced("1", dearer(NOON + DAY)))
    ended = overridden(priced("9"), NOON - DAY, beneath)
    assert told(ended) == [(NOON + DAY, "m", UpcomingKind.RATES)]


def test_hours_of_the_day_are_no_upcoming_change() -> None:
    night = Rate(Meter.INPUT_TOKENS, Decimal("0.5"), Conditions(utc_window=UtcWindow(0, 360)))
    assert told(price("acme", "m", priced("1", night))) == []


@many
@given(cards, dates, st.timedeltas(timedelta(0), 10_000 * DAY))
def test_the_dated_changes_lead_from_one_state_to_the_other(
    card: RateCard, since: datetime, ahead: timedelta
) -> None:
    until = since + ahead
    state = dict(by_date(card, since))
    for at, changes in dated_changes(card, since, until):
        assert since < at <= until
        before, state = state, dict(by_date(card, at))
        assert changes == rate_differences(before, state) != ()
    assert rate_differences(state, by_date(card, until)) == ()


@few
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=12, unique=True),
    st.integers(1, 5),
)
async def test_pages_together_are_the_whole(stated: list[tuple[int, int]], limit: int) -> None:
    prices = sorted(
        (
            replace(price(f"seller{seller}", f"m{number}"), retirement_time=NOON + number % 3 * DAY)
            for seller, number in stated
        ),
        key=lambda one: (one.provider, one.model_id),
    )
    lister = UpcomingLister(price_lists(ListedTable(*prices)), clock=Clock())
    found: list[UpcomingChange] = []
    begin = None
    while True:
        page = await lister.page(None, MONTH, begin, limit)
        found += page.changes
        if page.is_last:
            break
        assert len(page.changes) == limit
        begin = UpcomingPosition(page.head, page.at, page.changes[-1].order)
    assert found == upcoming(prices, NOON, NOON + MONTH)
