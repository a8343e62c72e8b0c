"""Rate cards as messages, and messages as rate cards.

Nothing is guessed: what the contract does not know, or a price that is not exactly one, is
refused with the path of its field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from llmpricing.names import name_fault
from llmpricing.rate_card import (
    ALWAYS,
    Conditions,
    Rate,
    RateCard,
    Threshold,
    UtcWindow,
    clock_time,
)
from llmpricing.units import PricingFormat, normalize_to_per_token, parse_price, plain
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.enums import (
    COMPARISON_OF,
    COMPARISONS,
    DAY_OF,
    DAYS,
    METER_OF,
    METERS,
    SCOPE_OF,
    SCOPES,
    STATE_OF,
    STATES,
    known_value,
)
from llmpricing.wire.fault import WireFault
from llmpricing.wire.instants import instant_of, timestamp

MAX_CONTEXT: Final = 16
"""Keys of a rate's context. The bundled catalogue has up to two."""

DECIMAL: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
"""How the contract writes exact numbers."""

_CLOCK_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def rate_card_message(card: RateCard, sources: Sequence[str] = ()) -> pb.RateCard:
    """A whole card; `sources` are who states each of its rates, where that is to be told."""
    return pb.RateCard(
        rate_card_id=card.card_id,
        state=STATES[card.state],
        currency="USD",
        rates=rate_messages(card, sources),
    )


def rate_messages(card: RateCard, sources: Sequence[str] = ()) -> list[pb.Rate]:
    """The rates of a card; `sources` are who states each of them, where that is to be told."""
    if not sources:
        return [rate_message(rate) for rate in card.rates]
    return [rate_message(rate, source) for rate, source in zip(card.rates, sources, strict=True)]


def rate_message(rate: Rate, source: str | None = None) -> pb.Rate:
    """A rate of a card; without conditions if it always applies."""
    return pb.Rate(
        meter=METERS[rate.meter],
        price=plain(rate.price),
        per=rate.per,
        minimum=rate.minimum or None,
        conditions=conditions_message(rate.conditions),
        source=source,
    )


def conditions_message(when: Conditions) -> pb.Conditions | None:
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
        message.utc_window.CopyFrom(_utc_window_message(when.utc_window))
    if when.effective_from is not None:
        message.effective_from_time.CopyFrom(timestamp(when.effective_from))
    if when.effective_until is not None:
        message.effective_until_time.CopyFrom(timestamp(when.effective_until))
    return message


def _utc_window_message(window: UtcWindow) -> pb.UtcWindow:
    return pb.UtcWindow(
        start=clock_time(window.start),
        end=clock_time(window.end),
        days=[DAYS[day] for day in window.days],
    )


def rate_card_of(message: pb.RateCard, field: str) -> RateCard:
    """The card of a message, whose id proves it. Raises WireFault."""
    state = known_value(message.state, STATE_OF, f"{field}.state")
    rates = rates_of(message.rates, f"{field}.rates")
    try:
        card = RateCard(state, tuple(rates))
    except ValueError as error:
        raise WireFault(field, f"is not a rate card: {error}") from None
    if card.card_id != message.rate_card_id:
        raise WireFault(field, "is not the one of its rate_card_id")
    if message.currency != "USD":
        raise WireFault(f"{field}.currency", "is not USD")
    return card


def rates_of(messages: Sequence[pb.Rate], field: str) -> list[Rate]:
    """The rates of a card in their order. Raises WireFault."""
    rates: list[Rate] = []
    known: set[object] = set()
    for at, message in enumerate(messages):
        rate = rate_of(message, f"{field}[{at}]")
        if rate.key in known:
            raise WireFault(f"{field}[{at}]", "repeats a meter under the same conditions")
        known.add(rate.key)
        rates.append(rate)
    return rates


def rate_of(message: pb.Rate, field: str) -> Rate:
    """A rate; `per` left out is 1. Raises WireFault."""
    meter = known_value(message.meter, METER_OF, f"{field}.meter")
    price = price_of(f"{field}.price", message.price)
    per = message.per if message.HasField("per") else 1
    if per < 1:
        raise WireFault(f"{field}.per", "is not above zero")
    if message.minimum < 0:
        raise WireFault(f"{field}.minimum", "is negative")
    when = conditions_of(message.conditions, f"{field}.conditions")
    try:
        return Rate(meter, price, when, per=per, minimum=message.minimum)
    except ValueError as error:
        raise WireFault(field, f"is not a rate: {error}") from None


def price_of(field: str, text: str, unit: PricingFormat | None = None) -> Decimal:
    """A price as the contract writes money: in USD per one, or per token if `unit` is given.

    Raises WireFault.
    """
    if not DECIMAL.fullmatch(text):
        raise WireFault(field, "is not a price: digits with at most one point")
    try:
        return parse_price(text) if unit is None else normalize_to_per_token(text, unit)
    except ValueError as error:
        raise WireFault(field, f"is not a price: {error}") from None


def conditions_of(message: pb.Conditions, field: str) -> Conditions:
    """Conditions; those that always hold for an empty message. Raises WireFault."""
    check_context(message.context, f"{field}.context")
    threshold = window = start = end = None
    if message.HasField("threshold"):
        threshold = _threshold(message.threshold, f"{field}.threshold")
    if message.HasField("utc_window"):
        window = _utc_window(message.utc_window, f"{field}.utc_window")
    if message.HasField("effective_from_time"):
        start = instant_of(message.effective_from_time, f"{field}.effective_from_time")
    if message.HasField("effective_until_time"):
        end = instant_of(message.effective_until_time, f"{field}.effective_until_time")
        if start is not None and start >= end:
            raise WireFault(f"{field}.effective_until_time", "is not after effective_from_time")
    when = Conditions(threshold, tuple(sorted(message.context.items())), window, start, end)
    return ALWAYS if when == ALWAYS else when


def check_context(context: Mapping[str, str], field: str) -> None:
    """What a call says of itself. Raises WireFault."""
    if len(context) > MAX_CONTEXT:
        raise WireFault(field, f"has more than {MAX_CONTEXT} keys")
    for key, value in context.items():
        # An empty value is a value as any other.
        fault = name_fault(key) or (name_fault(value) if value else None)
        if fault:
            raise WireFault(field, fault)


def _threshold(message: pb.Threshold, field: str) -> Threshold:
    if message.quantity < 0:
        raise WireFault(f"{field}.quantity", "is negative")
    return Threshold(
        meter=known_value(message.meter, METER_OF, f"{field}.meter"),
        comparison=known_value(message.comparison, COMPARISON_OF, f"{field}.comparison"),
        quantity=message.quantity,
        scope=known_value(message.scope, SCOPE_OF, f"{field}.scope"),
    )


def _utc_window(message: pb.UtcWindow, field: str) -> UtcWindow:
    start, end = _minute(message.start, f"{field}.start"), _minute(message.end, f"{field}.end")
    days = [
        known_value(day, DAY_OF, f"{field}.days[{position}]")
        for position, day in enumerate(message.days)
    ]
    if len(set(days)) != len(days):
        raise WireFault(f"{field}.days", "states a day twice")
    if start == end and len(days) in (0, len(DAY_OF)):
        raise WireFault(f"{field}.end", "is the start: no window, or the whole day")
    return UtcWindow(start, end, tuple(days))


def _minute(text: str, field: str) -> int:
    matched = _CLOCK_TIME.fullmatch(text)
    if matched is None:
        raise WireFault(field, "is not a time of day such as 09:30")
    return int(matched[1]) * 60 + int(matched[2])
