"""Rates of requests become domain objects exactly, or are refused by the name of their field."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.rate_card import Rate
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire import rates as wire_rates
from llmpricing.wire.rates import rate_message
from pricing_server.domain.errors import InvalidArgument
from pricing_server.grpc_api.wire.requests import checked, point_in_time, rates_of
from tests.unit._strategies import many, rates, unique_rates

rate_of = checked(wire_rates.rate_of)
ALWAYS = pb.Rate(meter=pb.METER_INPUT_TOKENS, price="0.000001", per=1)
THRESHOLD = pb.Threshold(
    meter=pb.METER_INPUT_TOKENS,
    comparison=pb.COMPARISON_ABOVE,
    quantity=1,
    scope=pb.THRESHOLD_SCOPE_ALL,
)


@many
@given(rates)
def test_a_rate_that_was_written_is_read_as_the_same_rate(rate: Rate) -> None:
    sent = pb.Rate.FromString(rate_message(rate).SerializeToString())
    read = rate_of(sent, "rate")
    assert read == rate
    assert rate_message(read) == sent


@many
@given(unique_rates(rates))
def test_the_order_of_rates_is_kept(some: list[Rate]) -> None:
    assert rates_of([rate_message(rate) for rate in some]) == some


def test_per_left_out_is_one() -> None:
    assert rate_of(pb.Rate(meter=pb.METER_REQUESTS, price="0.01"), "rate").per == 1


def _rate(**fields: object) -> pb.Rate:
    rate = pb.Rate()
    rate.CopyFrom(ALWAYS)
    rate.MergeFrom(pb.Rate(**fields))  # type: ignore[arg-type]
    return rate


def _when(**fields: object) -> pb.Rate:
    return _rate(conditions=pb.Conditions(**fields))  # type: ignore[arg-type]


def _threshold(**fields: object) -> pb.Rate:
    threshold = pb.Threshold()
    threshold.CopyFrom(THRESHOLD)
    for name, value in fields.items():
        setattr(threshold, name, value)
    return _when(threshold=threshold)


REFUSED = {
    "no meter": (pb.Rate(price="1"), "meter"),
    "unknown meter": (_rate(meter=9_999), "meter"),
    "no price": (pb.Rate(meter=pb.METER_REQUESTS), "price"),
    "per": (_rate(per=-1), "per"),
    "blank context key": (_when(context={" ": "flex"}), "conditions.context"),
    "context value": (_when(context={"tier": "a\nb"}), "conditions.context"),
    "context size": (_when(context={str(key): "" for key in range(17)}), "conditions.context"),
    "threshold meter": (_threshold(meter=0), "conditions.threshold.meter"),
    "threshold comparison": (_threshold(comparison=7), "conditions.threshold.comparison"),
    "threshold scope": (_threshold(scope=0), "conditions.threshold.scope"),
    "threshold quantity": (_threshold(quantity=-1), "conditions.threshold.quantity"),
    "start": (
        _when(utc_window=pb.UtcWindow(start="24:00", end="01:00")),
        "conditions.utc_window.start",
    ),
    "end": (_when(utc_window=pb.UtcWindow(start="23:00", end="1:00")), "conditions.utc_window.end"),
    "whole day": (
        _when(utc_window=pb.UtcWindow(start="23:00", end="23:00")),
        "conditions.utc_window.end",
    ),
    "whole day of all days": (
        _when(utc_window=pb.UtcWindow(start="23:00", end="23:00", days=pb.DayOfWeek.values()[1:])),
        "conditions.utc_window.end",
    ),
    "no day": (
        _when(
            utc_window=pb.UtcWindow(
                start="23:00", end="01:00", days=[pb.DAY_OF_WEEK_MONDAY, pb.DAY_OF_WEEK_UNSPECIFIED]
            )
        ),
        "conditions.utc_window.days[1]",
    ),
    "unknown day": (
        _when(
            utc_window=pb.UtcWindow(start="23:00", end="01:00", days=[pb.DayOfWeek.ValueType(8)])
        ),
        "conditions.utc_window.days[0]",
    ),
    "a day twice": (
        _when(
            utc_window=pb.UtcWindow(start="23:00", end="01:00", days=[pb.DAY_OF_WEEK_FRIDAY] * 2)
        ),
        "conditions.utc_window.days",
    ),
    "nanoseconds": (
        _when(effective_from_time=Timestamp(seconds=1, nanos=1)),
        "conditions.effective_from_time",
    ),
    "before 1970": (
        _when(effective_from_time=Timestamp(seconds=-1)),
        "conditions.effective_from_time",
    ),
    "year 9999": (
        _when(effective_until_time=Timestamp(seconds=253_402_300_799)),
        "conditions.effective_until_time",
    ),
    "no year at all": (
        _when(effective_until_time=Timestamp(seconds=2**62)),
        "conditions.effective_until_time",
    ),
    "ends before it begins": (
        _when(effective_from_time=Timestamp(seconds=2), effective_until_time=Timestamp(seconds=1)),
        "conditions.effective_until_time",
    ),
}


@pytest.mark.parametrize(("rate", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_what_makes_no_sense_is_refused_by_its_field(rate: pb.Rate, field: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        rates_of([_rate(meter=pb.METER_OUTPUT_TOKENS), rate])
    assert error.value.field == f"rates[1].{field}"


@pytest.mark.parametrize(
    "price",
    [
        *("", " 1", "1 ", "-1", "+1", "1e-6", "1E3", ".5", "5.", "1,5", "$1", "1_000", "0x1"),
        *("NaN", "Infinity", "\u0661", "1" * 41, "0." + "0" * 50 + "1", "99999999999"),
    ],
)
def test_a_price_is_plain_digits_of_a_price_or_refused(price: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        rate_of(pb.Rate(meter=pb.METER_REQUESTS, price=price), "rate")
    assert error.value.field == "rate.price"


def test_a_repeated_rate_is_refused() -> None:
    with pytest.raises(InvalidArgument) as error:
        rates_of([ALWAYS, ALWAYS])
    assert error.value.field == "rates[1]"


@many
@given(st.integers(0, 2**31 - 1), st.integers(-(2**63), 2**63 - 1))
def test_no_number_on_the_wire_breaks_the_reader(meter: int, per: int) -> None:
    message = pb.Rate(price="1", per=per)
    message.meter = meter  # type: ignore[assignment]
    try:
        rate = rate_of(message, "rate")
    except InvalidArgument:
        return
    assert rate_message(rate).meter == meter


def test_a_point_in_time_finer_than_a_microsecond_is_that_microsecond() -> None:
    for nanos in (1_000, 1_001, 1_999):
        found = point_in_time(Timestamp(seconds=1, nanos=nanos), "at")
        assert found == datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("nanos", [-1, 10**9, 2**31 - 1])
def test_a_point_in_time_with_more_than_a_second_behind_its_seconds_is_refused(nanos: int) -> None:
    with pytest.raises(InvalidArgument):
        point_in_time(Timestamp(seconds=1, nanos=nanos), "at")
