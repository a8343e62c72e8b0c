"""A card in time, against a reference that looks at every minute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
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
    DayOfWeek,
    PriceState,
    Rate,
    RateCard,
    Threshold,
    UtcWindow,
)
from llmpricing.schedule import Headline, headline, last_change, next_change, rates_in_effect
from tests.unit._strategies import (
    EPOCH,
    cards,
    dates,
    days_of_week,
    few,
    many,
    priced_cards,
    unique_rates,
)

MINUTE = timedelta(minutes=1)
TICK = timedelta(microseconds=1)
DAY = 24 * 60
WEEK = 7 * DAY
HOUR = timedelta(hours=1)

LONG = Threshold(Meter.INPUT_TOKENS, Comparison.AT_LEAST, 100)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(start: str, end: str) -> UtcWindow:
    opens, closes = (int(text[:2]) * 60 + int(text[3:]) for text in (start, end))
    return UtcWindow(opens, closes)


def rate(price: int | str, conditions: Conditions | None = None, meter: str = "input") -> Rate:
    return Rate(Meter(f"{meter}_tokens"), Decimal(price), conditions or Conditions())


def card(*rates: Rate) -> RateCard:
    return RateCard.of(PriceState.PRICED, rates)


def changes(card: RateCard, since: str, until: str) -> Iterator[datetime]:
    """Every change in a span, by following `next_change`."""
    instant = next_change(card, at(since))
    while instant is not None and instant < at(until):
        yield instant
        instant = next_change(card, instant)


# The reference: minutes since EPOCH as integers, every one of them looked at.


@dataclass(frozen=True)
class PlainRate:
    """A rate with its times as minutes since EPOCH."""

    meter: Meter
    price: int
    threshold: Threshold | None = None
    opens: int | None = None
    closes: int | None = None
    days: tuple[DayOfWeek, ...] = ()
    begins: int | None = None
    ends: int | None = None

    def holds(self, minute: int) -> bool:
        if self.begins is not None and minute < self.begins:
            return False
        if self.ends is not None and minute >= self.ends:
            return False
        if self.opens is None or self.closes is None:
            return True
        # Minute by minute from the opening: no thought of midnight.
        lasts = (self.closes - self.opens) % DAY or DAY
        if not self.days:
            return (minute - self.opens) % DAY < lasts
        # EPOCH is a Friday, and Monday is the first day of the week.
        since_monday = minute + 4 * DAY - self.opens
        return any((since_monday - (day - 1) * DAY) % WEEK < lasts for day in self.days)

    def as_rate(self) -> Rate:
        begins, ends = (
            EPOCH + minute * MINUTE if minute is not None else None
            for minute in (self.begins, self.ends)
        )
        daily = None
        if self.opens is not None and self.closes is not None:
            daily = UtcWindow(self.opens, self.closes, self.days)
        when = Conditions(
            threshold=self.threshold, utc_window=daily, effective_from=begins, effective_until=ends
        )
        return Rate(self.meter, Decimal(self.price), when)


Effect = dict[tuple[Meter, Threshold | None], int]


def effect_of(rates: list[PlainRate], minute: int) -> Effect:
    effect: Effect = {}
    for one in rates:
        if one.holds(minute):
            effect.setdefault((one.meter, one.threshold), one.price)
    return effect


@st.composite
def plain_rates(draw: st.DrawFn) -> PlainRate:
    """Few prices and round times, so that windows meet, overlap and say the same."""
    times = st.integers(0, 5).map(lambda nth: nth * 240) | st.integers(0, DAY - 1)
    opens, closes, days = draw(times), draw(times), draw(st.just(()) | days_of_week)
    if (opens == closes and len(days) in (0, 7)) or draw(st.booleans()):
        daily: tuple[int | None, int | None, tuple[DayOfWeek, ...]] = (None, None, ())
    else:
        daily = (opens, closes, days)
    begins, ends = (draw(st.none() | st.integers(0, 9 * DAY)) for _ in range(2))
    if begins is not None and ends is not None and begins >= ends:
        ends = None
    return PlainRate(
        draw(st.sampled_from([Meter.INPUT_TOKENS, Meter.OUTPUT_TOKENS])),
        draw(st.integers(1, 2)),
        draw(st.sampled_from([None, None, LONG])),
        *daily,
        begins,
        ends,
    )


plain_cards = st.lists(
    plain_rates(), min_size=1, max_size=5, unique_by=lambda one: one.as_rate().key
)


@given(plain_cards, st.integers(-WEEK, 11 * DAY), st.sampled_from([0, 1, 59_999_999]))
@many
def test_changes_are_those_that_looking_at_every_minute_finds(
    rates: list[PlainRate], minute: int, micros: int
) -> None:
    when = EPOCH + minute * MINUTE + timedelta(microseconds=micros)
    now = effect_of(rates, minute)
    # A change may be a week after the last date, or before the first.
    later = (one for one in range(minute + 1, 20 * DAY) if effect_of(rates, one) != now)
    earlier = (one for one in range(minute, -16 * DAY, -1) if effect_of(rates, one - 1) != now)
    expected = [
        EPOCH + found * MINUTE if found is not None else None
        for found in (next(later, None), next(earlier, None))
    ]
    subject = card(*(one.as_rate() for one in rates))
    assert [next_change(subject, when), last_change(subject, when)] == expected


@given(plain_cards, st.integers(-DAY, 10 * DAY))
@few
def test_the_headline_is_the_first_standard_rate_in_effect(
    rates: list[PlainRate], minute: int
) -> None:
    subject = card(*(one.as_rate() for one in rates))
    effect = effect_of(rates, minute)
    shown = headline(subject, EPOCH + minute * MINUTE)
    if not effect:
        assert shown == Headline(PriceState.UNPRICED)
    else:
        assert shown == Headline(
            PriceState.PRICED,
            prompt=effect.get((Meter.INPUT_TOKENS, None)),  # type: ignore[arg-type]
            completion=effect.get((Meter.OUTPUT_TOKENS, None)),  # type: ignore[arg-type]
        )


# Laws of any card.


def read_at(card: RateCard, when: datetime) -> dict[object, object]:
    effect: dict[object, object] = {}
    for one in card.rates:
        if one.conditions.in_effect(when):
            key = (one.meter, one.conditions.threshold, one.conditions.context)
            effect.setdefault(key, (one.price, one.per))
    return effect


@given(cards, dates, st.lists(st.floats(0, 1, exclude_max=True), min_size=8, max_size=8))
@many
def test_nothing_changes_before_the_next_change_and_something_does_at_it(
    card: RateCard, when: datetime, shares: list[float]
) -> None:
    now, change = read_at(card, when), next_change(card, when)
    if change is not None:
        assert change > when
        assert read_at(card, change) != now
        assert read_at(card, change - TICK) == now
        assert last_change(card, change) == change
    until = change or when + timedelta(days=900)
    for share in shares:
        between = min(when + (until - when) * share, until - TICK)
        assert read_at(card, between) == now
        assert next_change(card, between) == change
        if between > when:
            assert last_change(card, between) == last_change(card, when)


@given(cards, dates)
@many
def test_nothing_has_changed_since_the_last_change(card: RateCard, when: datetime) -> None:
    change = last_change(card, when)
    if change is None:
        for days in (1, 2, 3, 4, 5, 6, 1000):
            assert read_at(card, when - timedelta(days=days)) == read_at(card, when)
        return
    assert change <= when
    assert read_at(card, change) == read_at(card, when)
    assert read_at(card, change - TICK) != read_at(card, change)
    after = next_change(card, change - TICK)
    assert after == change
    assert next_change(card, change) == next_change(card, when)


@given(cards, dates)
@few
def test_a_rate_is_in_effect_exactly_while_its_conditions_hold(
    card: RateCard, when: datetime
) -> None:
    assert rates_in_effect(card, when) == tuple(
        one for one in card.rates if one.conditions.in_effect(when)
    )


@given(
    priced_cards(unique_rates(st.builds(Rate, st.sampled_from(Meter), st.just(Decimal(1))))), dates
)
@few
def test_a_card_without_dates_and_times_of_day_never_changes(
    card: RateCard, when: datetime
) -> None:
    assert next_change(card, when) is None
    assert last_change(card, when) is None


# Windows.


def test_a_window_that_passes_midnight_is_one_window() -> None:
    night = card(rate(1, Conditions(utc_window=window("22:00", "02:00"))), rate(3))
    expected = ["2026-11-19 22:00", "2026-11-20 02:00", "2026-11-20 22:00", "2026-11-21 02:00"]
    assert list(changes(night, "2026-11-19 12:00", "2026-11-21 12:00")) == [
        at(text) for text in expected
    ]
    for text, price in (("21:59", 3), ("22:00", 1), ("23:59", 1), ("00:00", 1), ("01:59", 1)):
        assert headline(night, at(f"2026-11-20 {text}")).prompt == price, text
    assert headline(night, at("2026-11-20 02:00")).prompt == 3


def test_a_window_holds_to_its_last_microsecond() -> None:
    night = card(rate(1, Conditions(utc_window=window("22:00", "02:00"))), rate(3))
    end = at("2026-11-20 02:00")
    assert headline(night, end - TICK).prompt == 1
    assert next_change(night, end - TICK) == end
    assert next_change(night, end) == at("2026-11-20 22:00")
    assert last_change(night, end - TICK) == at("2026-11-19 22:00")
    assert last_change(night, end) == end


def test_where_adjacent_windows_charge_the_same_nothing_changes() -> None:
    # As OpenRouter states the hours of deepseek-v4-flash-vision-exp, base price included.
    peak, off = 44, 22
    hours = [("10:00", "01:00", off), ("01:00", "04:00", peak), ("04:00", "06:00", off)]
    windows = [
        rate(price, Conditions(utc_window=window(start, end))) for start, end, price in hours
    ]
    whole = card(*windows, rate(peak))
    split = card(
        rate(off, Conditions(utc_window=window("10:00", "18:00"))),
        rate(off, Conditions(utc_window=window("18:00", "01:00"))),
        *windows[1:],
        rate(peak, Conditions(utc_window=window("06:00", "10:00"))),
    )
    for subject in (whole, split):
        assert [one.hour for one in changes(subject, "2026-11-20 00:00", "2026-11-21 00:00")] == [
            1,
            4,
            6,
            10,
        ]


def test_what_a_rate_of_precedence_hides_changes_nothing() -> None:
    hidden = card(rate(1), rate(2, Conditions(utc_window=window("01:00", "02:00"))))
    assert next_change(hidden, at("2026-11-20 00:00")) is None


def test_hours_begin_with_a_date_and_end_with_one() -> None:
    when = Conditions(
        utc_window=window("22:00", "02:00"),
        effective_from=at("2026-11-20 00:30"),
        effective_until=at("2026-11-21 23:00"),
    )
    subject = card(rate(1, when), rate(3))
    assert list(changes(subject, "2026-01-01", "2027-01-01")) == [
        at(text)
        for text in (
            "2026-11-20 00:30",
            "2026-11-20 02:00",
            "2026-11-20 22:00",
            "2026-11-21 02:00",
            "2026-11-21 22:00",
            "2026-11-21 23:00",
        )
    ]
    assert last_change(subject, at("2030-01-01")) == at("2026-11-21 23:00")
    assert last_change(subject, at("2026-01-01")) is None


def test_hours_that_open_the_day_after_their_date_are_found_from_afar() -> None:
    when = Conditions(utc_window=window("02:00", "04:00"), effective_from=at("2026-11-20 12:00"))
    subject = card(rate(1, when), rate(3))
    assert next_change(subject, at("2026-01-01")) == at("2026-11-21 02:00")
    until = Conditions(utc_window=window("02:00", "04:00"), effective_until=at("2026-11-20 01:00"))
    subject = card(rate(1, until), rate(3))
    assert last_change(subject, at("2026-12-31")) == at("2026-11-19 04:00")


# Days of the week. 2026-11-20 is a Friday.

WORKDAYS = tuple(DayOfWeek)[:5]
WEEKEND = tuple(DayOfWeek)[5:]


def test_hours_of_workdays_do_not_change_a_weekend() -> None:
    peak = UtcWindow(60, 240, WORKDAYS)
    subject = card(rate(2, Conditions(utc_window=peak)), rate(1))
    friday_noon = at("2026-11-20 12:00")
    assert next_change(subject, friday_noon) == at("2026-11-23 01:00")
    assert last_change(subject, at("2026-11-22 23:59")) == at("2026-11-20 04:00")
    for text, price in (
        ("20 01:00", 2),
        ("20 03:59", 2),
        ("20 04:00", 1),
        ("21 02:00", 1),
        ("22 02:00", 1),
        ("23 00:59", 1),
        ("23 01:00", 2),
    ):
        assert headline(subject, at(f"2026-11-{text}")).prompt == price, text


def test_a_window_that_passes_midnight_belongs_to_the_day_it_starts_on() -> None:
    night = UtcWindow(22 * 60, 2 * 60, (DayOfWeek.SUNDAY,))
    subject = card(rate(1, Conditions(utc_window=night)), rate(3))
    assert list(changes(subject, "2026-11-20 00:00", "2026-11-30 00:00")) == [
        at(text) for text in ("2026-11-22 22:00", "2026-11-23 02:00", "2026-11-29 22:00")
    ]
    assert headline(subject, at("2026-11-22 01:00")).prompt == 3


@pytest.mark.parametrize("minute", [0, 360])
def test_a_window_of_days_may_be_the_whole_day(minute: int) -> None:
    weekend = UtcWindow(minute, minute, WEEKEND)
    subject = card(rate(1, Conditions(utc_window=weekend)), rate(3))
    begins, ends = at("2026-11-21") + minute * MINUTE, at("2026-11-23") + minute * MINUTE
    assert next_change(subject, at("2026-11-20 00:00")) == begins
    assert next_change(subject, begins) == ends
    assert last_change(subject, ends - TICK) == begins


def test_a_day_is_that_of_utc_whatever_zone_is_asked_in() -> None:
    subject = card(rate(2, Conditions(utc_window=UtcWindow(60, 240, WORKDAYS))), rate(1))
    beijing = timezone(8 * HOUR)
    # Friday evening in New York is Saturday in UTC.
    assert headline(subject, at("2026-11-21 02:00").astimezone(timezone(-5 * HOUR))).prompt == 1
    assert headline(subject, at("2026-11-20 02:00").astimezone(beijing)).prompt == 2


def test_hours_of_one_day_are_found_a_week_after_their_date() -> None:
    thursday = UtcWindow(120, 240, (DayOfWeek.THURSDAY,))
    when = Conditions(utc_window=thursday, effective_from=at("2026-11-19 04:00"))
    assert next_change(card(rate(1, when), rate(3)), at("2026-01-01")) == at("2026-11-26 02:00")
    until = Conditions(utc_window=thursday, effective_until=at("2026-11-19 02:00"))
    assert last_change(card(rate(1, until), rate(3)), at("2026-12-31")) == at("2026-11-12 04:00")


# Dates.


def test_a_date_counts_to_the_microsecond() -> None:
    change = at("2026-12-01 00:00:00.000001")
    subject = card(
        rate(1, Conditions(effective_until=change)), rate(2, Conditions(effective_from=change))
    )
    assert headline(subject, change - TICK).prompt == 1
    assert headline(subject, change).prompt == 2
    assert next_change(subject, change - TICK) == change
    assert next_change(subject, change) is None
    assert last_change(subject, change - TICK) is None


def test_a_date_on_which_the_price_stays_is_no_change() -> None:
    change = at("2026-12-01")
    subject = card(
        rate(1, Conditions(effective_until=change)), rate(1, Conditions(effective_from=change))
    )
    assert next_change(subject, at("2026-11-20")) is None
    assert last_change(subject, at("2026-12-20")) is None


def test_a_price_that_is_not_in_effect_yet_or_any_more_is_not_known() -> None:
    begins, ends = at("2026-12-01"), at("2026-12-31")
    subject = card(rate(1, Conditions(effective_from=begins, effective_until=ends)))
    assert headline(subject, begins - TICK) == Headline(PriceState.UNPRICED)
    assert headline(subject, begins) == Headline(PriceState.PRICED, prompt=Decimal(1))
    assert headline(subject, ends) == Headline(PriceState.UNPRICED)
    assert next_change(subject, begins - TICK) == begins
    assert next_change(subject, begins) == ends


@pytest.mark.parametrize("year", [1970, 9998])
def test_the_ends_of_the_calendar_are_dates_like_others(year: int) -> None:
    edge = datetime(year, 1, 1, tzinfo=UTC) if year == 1970 else datetime(year, 12, 31, tzinfo=UTC)
    when = Conditions(utc_window=window("22:00", "02:00"))
    subject = card(rate(1, when), rate(2, Conditions(effective_from=edge)))
    assert next_change(subject, at("2026-11-20 12:00")) == at("2026-11-20 22:00")
    assert last_change(subject, at("2026-11-20 12:00")) == at("2026-11-20 02:00")


# UTC, whatever clocks do elsewhere.


class SummerTime(tzinfo):
    """Clocks of Central Europe in 2026, as `zoneinfo` has them where there is a tz database."""

    FORWARD = datetime(2026, 3, 29, 1)
    BACK = datetime(2026, 10, 25, 1)

    def dst(self, when: datetime | None) -> timedelta:
        assert when is not None
        local, hours = when.replace(tzinfo=None, fold=0), 1 + when.fold
        summer = self.FORWARD + (3 - hours) * HOUR <= local < self.BACK + (3 - hours) * HOUR
        return HOUR if summer else timedelta(0)

    def utcoffset(self, when: datetime | None) -> timedelta:
        return HOUR + self.dst(when)

    def tzname(self, when: datetime | None) -> str:
        return "CEST" if self.dst(when) else "CET"

    def fromutc(self, when: datetime) -> datetime:
        utc = when.replace(tzinfo=None)
        local = when + (2 * HOUR if self.FORWARD <= utc < self.BACK else HOUR)
        return local.replace(fold=int(self.BACK <= utc < self.BACK + HOUR))


EUROPE = SummerTime()


@pytest.mark.parametrize("night", ["2026-03-28", "2026-03-29", "2026-10-24", "2026-10-25"])
@pytest.mark.parametrize("opens", ["00:10", "00:50", "01:10", "02:30", "23:40"])
def test_a_caller_s_summer_time_moves_nothing(night: str, opens: str) -> None:
    opening = at(f"2000-01-01 {opens}")
    closing = opening + 10 * MINUTE
    daily = UtcWindow(opening.hour * 60 + opening.minute, closing.hour * 60 + closing.minute)
    subject = card(rate(1, Conditions(utc_window=daily)), rate(2))
    for quarter in range(4 * 24):
        when = at(night) + quarter * 15 * MINUTE
        abroad = when.astimezone(EUROPE)
        assert next_change(subject, abroad) == next_change(subject, when), when
        assert last_change(subject, abroad) == last_change(subject, when), when
        assert headline(subject, abroad) == headline(subject, when), when


def test_a_date_stated_in_summer_time_is_its_instant() -> None:
    # 02:30 happens twice that night; fold tells which one is meant.
    twice = datetime(2026, 10, 25, 2, 30, tzinfo=EUROPE)
    subject = card(rate(1, Conditions(effective_from=twice.replace(fold=1))))
    assert headline(subject, twice).state is PriceState.UNPRICED
    assert headline(subject, twice.astimezone(UTC)).state is PriceState.UNPRICED
    change = next_change(subject, twice)
    assert change is not None
    assert change.astimezone(UTC) == at("2026-10-25 01:30")


# Headlines.


@pytest.mark.parametrize("unknown", [DYNAMIC, UNPRICED])
def test_what_has_no_price_has_no_headline(unknown: RateCard) -> None:
    assert headline(unknown, EPOCH) == Headline(unknown.state)


def test_a_free_model_has_zeros_and_stays_free() -> None:
    free = RateCard.of(PriceState.FREE, [rate(0), rate(0, meter="output")])
    assert headline(free, EPOCH) == Headline(PriceState.FREE, Decimal(0), Decimal(0))


def test_the_headline_is_the_lowest_token_band_in_the_standard_context() -> None:
    above_zero = Threshold(Meter.INPUT_TOKENS, Comparison.ABOVE, 0)
    from_zero = Threshold(Meter.INPUT_TOKENS, Comparison.AT_LEAST, 0)
    subject = card(
        rate(9, Conditions(context=(("processing", "batch"),))),
        rate(8, Conditions(threshold=LONG)),
        rate(7, Conditions(threshold=above_zero)),
        rate(6, Conditions(threshold=from_zero)),
        rate(5),
        Rate(Meter.REQUESTS, Decimal("0.01")),
        Rate(Meter.INPUT_IMAGES, Decimal("0.02")),
        Rate(Meter.AUDIO_SECONDS, Decimal(1), per=3600),
    )
    assert headline(subject, EPOCH) == Headline(
        PriceState.PRICED, prompt=Decimal(6), request=Decimal("0.01"), image=Decimal("0.02")
    )


def test_a_price_for_many_units_is_no_headline() -> None:
    subject = card(Rate(Meter.REQUESTS, Decimal(7), per=1000))
    assert headline(subject, EPOCH) == Headline(PriceState.PRICED)
