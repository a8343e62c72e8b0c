"""Rate cards as messages of the contract."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    ALWAYS,
    Comparison,
    Conditions,
    DayOfWeek,
    PriceState,
    Rate,
    RateCard,
    ThresholdScope,
    UtcWindow,
    clock_time,
)
from llmpricing.units import plain
from llmpricing.v1 import pricing_pb2 as pb

METERS: Final = {meter: pb.Meter.Value(f"METER_{meter.name}") for meter in Meter}
STATES: Final = {state: pb.PriceState.Value(f"PRICE_STATE_{state.name}") for state in PriceState}
COMPARISONS: Final = {one: pb.Comparison.Value(f"COMPARISON_{one.name}") for one in Comparison}
SCOPES: Final = {
    scope: pb.ThresholdScope.Value(f"THRESHOLD_SCOPE_{scope.name}") for scope in ThresholdScope
}
DAYS: Final = {day: pb.DayOfWeek.Value(f"DAY_OF_WEEK_{day.name}") for day in DayOfWeek}


def rate_card(card: RateCard) -> pb.RateCard:
    """A whole card."""
    return pb.RateCard(
        rate_card_id=card.card_id,
        state=STATES[card.state],
        currency="USD",
        rates=[rate_message(rate) for rate in card.rates],
    )


def rate_message(rate: Rate) -> pb.Rate:
    """A rate of a card; without conditions if it always applies."""
    return pb.Rate(
        meter=METERS[rate.meter],
        price=plain(rate.price),
        per=rate.per,
        minimum=rate.minimum,
        conditions=conditions(rate.conditions),
    )


def conditions(when: Conditions) -> pb.Conditions | None:
    """Conditions, or None for those that always hold."""
    if when == ALWAYS:
        return None
    message = pb.Conditions(context=dict(when.context))
    if when.threshold is not None:
        message.threshold.meter = METERS[when.threshold.meter]
        message.threshold.comparison = COMPARISONS[when.threshold.comparison]
        message.threshold.quantity = when.threshold.quantity
        message.threshold.scope = SCOPES[when.threshold.scope]
    if when.utc_window is not None:
        message.utc_window.CopyFrom(_utc_window(when.utc_window))
    if when.effective_from is not None:
        message.effective_from.FromDatetime(when.effective_from)
    if when.effective_until is not None:
        message.effective_until.FromDatetime(when.effective_until)
    return message


def _utc_window(window: UtcWindow) -> pb.UtcWindow:
    return pb.UtcWindow(
        start=clock_time(window.start),
        end=clock_time(window.end),
        days=[DAYS[day] for day in window.days],
    )


def condition_text(when: Conditions) -> str:
    """When a rate applies, for people; empty if always."""
    return ", ".join(_condition_parts(when))


def _condition_parts(when: Conditions) -> Iterator[str]:
    threshold = when.threshold
    if threshold is not None:
        size = f"{threshold.quantity} {threshold.meter}"
        if threshold.scope is ThresholdScope.EXCESS:
            yield f"beyond {size}"
        elif threshold.comparison is Comparison.ABOVE:
            yield f"above {size}"
        else:
            yield f"from {size}"
    for key, value in when.context:
        yield f"{key}={value}"
    if when.utc_window is not None:
        window = when.utc_window
        # A comma stands between conditions.
        days = "/".join(day.name[:3].capitalize() for day in window.days)
        hours = f"{clock_time(window.start)} to {clock_time(window.end)} UTC"
        yield f"{hours} on {days}" if days else hours
    if when.effective_from is not None:
        yield f"since {when.effective_from.isoformat()}"
    if when.effective_until is not None:
        yield f"until {when.effective_until.isoformat()}"


def timestamp(instant: datetime) -> Timestamp:
    """An instant as a message."""
    message = Timestamp()
    message.FromDatetime(instant)
    return message
