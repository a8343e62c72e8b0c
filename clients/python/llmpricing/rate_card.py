"""A rate card: everything a seller charges for one model, with the conditions of each rate.

A card is immutable and content-addressed: `RateCard.card_id` is the SHA-256 of its
canonical JSON document, so equal cards have equal ids everywhere and for ever.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from functools import cached_property
from typing import Any, Self

from llmpricing.meters import METER_ORDER, Meter
from llmpricing.units import plain, same_price

MINUTES_PER_DAY = 24 * 60
MAX_QUANTITY = 2**63 - 1
"""What the contract's int64 can carry."""


class PriceState(StrEnum):
    """What is known of a model's price."""

    PRICED = "priced"
    FREE = "free"
    DYNAMIC = "dynamic"
    UNPRICED = "unpriced"


class Comparison(StrEnum):
    """How a quantity is compared with a threshold."""

    ABOVE = "above"
    AT_LEAST = "at_least"


class ThresholdScope(StrEnum):
    """What a rate behind a threshold is charged on: the whole quantity, or what lies beyond.

    Only a rate for the threshold's own meter can have EXCESS. Units of more specific meters
    come first: what is read from a cache is the beginning of a prompt and fills its lower
    bands.
    """

    ALL = "all"
    EXCESS = "excess"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A request size from which a rate applies; `quantity` is in units of `meter`."""

    meter: Meter
    comparison: Comparison
    quantity: int
    scope: ThresholdScope = ThresholdScope.ALL

    def __post_init__(self) -> None:
        if not 0 <= self.quantity <= MAX_QUANTITY:
            raise ValueError("a threshold is not negative, and fits in 64 bits")

    def reached_by(self, quantity: int | Decimal) -> bool:
        """Whether a request of this many units gets the rate."""
        if self.comparison is Comparison.ABOVE:
            return quantity > self.quantity
        return quantity >= self.quantity


class DayOfWeek(IntEnum):
    """A day of the week in UTC, by its ISO number."""

    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6
    SUNDAY = 7

    @property
    def day_before(self) -> DayOfWeek:
        """The day that ends when this one begins."""
        return DayOfWeek((self - 2) % 7 + 1)


@dataclass(frozen=True, slots=True)
class UtcWindow:
    """A time of day on days of the week: minutes after 00:00 UTC, start included, end excluded.

    An end that is not after the start passes midnight. `days` are those on which the window
    starts, from Monday on; empty is every day, and all seven are kept as that. Where days are
    stated, an end that is the start is a whole day from then.
    """

    start: int
    end: int
    days: tuple[DayOfWeek, ...] = ()

    def __post_init__(self) -> None:
        if not (0 <= self.start < MINUTES_PER_DAY and 0 <= self.end < MINUTES_PER_DAY):
            raise ValueError("a UTC window lies within one day")
        days = tuple(sorted({DayOfWeek(day) for day in self.days}))
        # One meaning is one value, so that it has one card id.
        object.__setattr__(self, "days", () if len(days) == len(DayOfWeek) else days)
        if self.start == self.end and not self.days:
            raise ValueError("a UTC window that ends when it starts is ambiguous")

    def contains(self, at: datetime) -> bool:
        """Whether the instant lies in the window."""
        at = at.astimezone(UTC)
        minute = at.hour * 60 + at.minute
        if self.start < self.end:
            return self.start <= minute < self.end and self._starts_on(at)
        if minute >= self.start:
            return self._starts_on(at)
        return minute < self.end and self._starts_on_day_before(at)

    def _starts_on(self, at: datetime) -> bool:
        return not self.days or at.isoweekday() in self.days

    def _starts_on_day_before(self, at: datetime) -> bool:
        return not self.days or DayOfWeek(at.isoweekday()).day_before in self.days


@dataclass(frozen=True, slots=True)
class Conditions:
    """When a rate applies: all that is set must hold. `context` is sorted (key, value) pairs."""

    threshold: Threshold | None = None
    context: tuple[tuple[str, str], ...] = ()
    utc_window: UtcWindow | None = None
    effective_from: datetime | None = None
    effective_until: datetime | None = None

    def __post_init__(self) -> None:
        if list(self.context) != sorted(dict(self.context).items()):
            raise ValueError("context keys are unique and sorted")
        for name in ("effective_from", "effective_until"):
            instant = getattr(self, name)
            if instant is None:
                continue
            if instant.utcoffset() is None:
                raise ValueError("dates of a rate carry a time zone")
            if not 1970 <= instant.year < 9_999:
                raise ValueError("dates of a rate lie between 1970 and 9998")
            # One instant is one value, whatever zone it was written in.
            object.__setattr__(self, name, instant.astimezone(UTC))
        if (
            self.effective_from is not None
            and self.effective_until is not None
            and self.effective_from >= self.effective_until
        ):
            raise ValueError("a rate ends after it begins")

    @property
    def is_lowest_band(self) -> bool:
        """Whether the smallest request has the rate, as far as its size goes."""
        return self.threshold is None or self.threshold.reached_by(0)

    def in_effect(self, at: datetime) -> bool:
        """Whether date and time of day hold at the instant."""
        return self.holds_by_date(at) and (self.utc_window is None or self.utc_window.contains(at))

    def holds_by_date(self, at: datetime) -> bool:
        """Whether the date holds at the instant, whatever the time of day."""
        return (self.effective_from is None or self.effective_from <= at) and (
            self.effective_until is None or at < self.effective_until
        )


ALWAYS = Conditions()


@dataclass(frozen=True, slots=True)
class Rate:
    """`price` USD for `per` units of `meter`, under `conditions`.

    `per` is 1 except for units that do not divide exactly: a price per hour is kept as USD
    per 3600 seconds. `minimum` is the smallest quantity billed for a request that uses the
    meter.
    """

    meter: Meter
    price: Decimal
    conditions: Conditions = ALWAYS
    per: int = 1
    minimum: int = 0

    def __post_init__(self) -> None:
        if not self.price.is_finite() or self.price.is_signed():
            raise ValueError("a price is finite and not negative")
        if not 1 <= self.per <= MAX_QUANTITY:
            raise ValueError("a rate is per one or more units, and that fits in 64 bits")
        if not 0 <= self.minimum <= MAX_QUANTITY:
            raise ValueError("a minimum is not negative, and fits in 64 bits")
        threshold = self.conditions.threshold
        if threshold is not None and threshold.scope is ThresholdScope.EXCESS:
            if threshold.meter is not self.meter:
                raise ValueError("what lies beyond a threshold is charged by the threshold's meter")
            if self.minimum:
                raise ValueError("what lies beyond a threshold has no minimum")

    @property
    def charged_after(self) -> int:
        """How many units of the meter are not charged: the threshold if its scope is EXCESS."""
        threshold = self.conditions.threshold
        if threshold is None or threshold.scope is ThresholdScope.ALL:
            return 0
        return threshold.quantity

    @property
    def threshold_of_all(self) -> Threshold | None:
        """The threshold from which it is charged on the whole quantity, if it has one."""
        threshold = self.conditions.threshold
        if threshold is None or threshold.scope is ThresholdScope.EXCESS:
            return None
        return threshold

    @property
    def key(self) -> tuple[Meter, Conditions]:
        """What makes it this rate of a card, whatever its price."""
        return self.meter, self.conditions

    def same_price_as(self, other: Rate) -> bool:
        """Whether the two charge the same, apart from binary noise."""
        return (
            self.per == other.per
            and self.minimum == other.minimum
            and same_price(self.price, other.price)
        )


@dataclass(frozen=True)
class RateCard:
    """State and rates of one model at one seller, in USD.

    Rates are in order of precedence: for a meter, the first rate whose conditions
    hold applies. Use `RateCard.of`, which brings meters into one order and keeps
    the order within a meter, so that equal cards are equal.
    """

    state: PriceState
    rates: tuple[Rate, ...] = field(default=())

    def __post_init__(self) -> None:
        if len({rate.key for rate in self.rates}) != len(self.rates):
            raise ValueError("two rates of a card have the same meter and conditions")
        if self.state in (PriceState.DYNAMIC, PriceState.UNPRICED) and self.rates:
            raise ValueError("a card without a known price has no rates")
        if self.state is PriceState.FREE and (
            not self.rates or any(rate.price for rate in self.rates)
        ):
            raise ValueError("a free card has rates, and all of them are zero")
        if self.state is PriceState.PRICED and not any(rate.price for rate in self.rates):
            raise ValueError("a priced card has a rate above zero")

    @classmethod
    def of(cls, state: PriceState, rates: Iterable[Rate] = ()) -> Self:
        """Build a card from rates in order of precedence. Raises ValueError if they contradict."""
        return cls(state, tuple(sorted(rates, key=lambda rate: METER_ORDER[rate.meter])))

    @cached_property
    def card_id(self) -> str:
        """SHA-256 of the canonical document, 64 hexadecimal digits."""
        text = json.dumps(
            self.to_document(), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def same_prices_as(self, other: RateCard) -> bool:
        """Whether the cards are equal, apart from binary noise in prices."""
        return (
            self.state is other.state
            and len(self.rates) == len(other.rates)
            and all(
                one.key == two.key and one.same_price_as(two)
                for one, two in zip(self.rates, other.rates, strict=True)
            )
        )

    def to_document(self) -> dict[str, Any]:
        """The card as plain JSON; prices are decimal strings."""
        return {
            "currency": "USD",
            "state": self.state.value,
            "rates": [_rate_document(rate) for rate in self.rates],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_document` wrote. Raises ValueError or KeyError if it is no card."""
        if document["currency"] != "USD":
            raise ValueError("rate cards are in USD")
        return cls(
            PriceState(document["state"]),
            tuple(_rate_from_document(rate) for rate in document["rates"]),
        )


UNPRICED = RateCard(PriceState.UNPRICED)
DYNAMIC = RateCard(PriceState.DYNAMIC)


@dataclass(frozen=True, slots=True)
class RateDifference:
    """A rate in which two cards differ; None on the side of a card that lacks it."""

    old: Rate | None
    new: Rate | None

    @property
    def rate(self) -> Rate:
        """Either side, for what both share: meter and conditions."""
        rate = self.new or self.old
        assert rate is not None, "a difference has at least one side"
        return rate


def differences(old: RateCard | None, new: RateCard) -> tuple[RateDifference, ...]:
    """The rates in which two cards differ by more than binary noise, in the order of the cards.

    Empty for cards that differ in state or in the precedence of their rates alone.
    """
    before = {rate.key: rate for rate in old.rates} if old else {}
    after = {rate.key: rate for rate in new.rates}
    found = []
    for key in [*after, *(key for key in before if key not in after)]:
        one, two = before.get(key), after.get(key)
        if one is None or two is None or not one.same_price_as(two):
            found.append(RateDifference(one, two))
    return tuple(found)


def clock_time(minute: int) -> str:
    """Minutes after midnight as "HH:MM"."""
    return f"{minute // 60:02}:{minute % 60:02}"


def _rate_document(rate: Rate) -> dict[str, Any]:
    document: dict[str, Any] = {"meter": rate.meter.value, "price": plain(rate.price)}
    if rate.per != 1:
        document["per"] = rate.per
    if rate.minimum:
        document["minimum"] = rate.minimum
    conditions = rate.conditions
    if conditions.threshold is not None:
        document["threshold"] = {
            "meter": conditions.threshold.meter.value,
            "comparison": conditions.threshold.comparison.value,
            "quantity": conditions.threshold.quantity,
            "scope": conditions.threshold.scope.value,
        }
    if conditions.context:
        document["context"] = dict(conditions.context)
    if conditions.utc_window is not None:
        window = conditions.utc_window
        document["utc_window"] = [clock_time(window.start), clock_time(window.end)]
        if window.days:
            document["utc_days"] = [day.name.lower() for day in window.days]
    if conditions.effective_from is not None:
        document["effective_from"] = _instant_text(conditions.effective_from)
    if conditions.effective_until is not None:
        document["effective_until"] = _instant_text(conditions.effective_until)
    return document


def _rate_from_document(document: Mapping[str, Any]) -> Rate:
    threshold = document.get("threshold")
    start = document.get("effective_from")
    until = document.get("effective_until")
    return Rate(
        meter=Meter(document["meter"]),
        price=Decimal(document["price"]),
        per=document.get("per", 1),
        minimum=document.get("minimum", 0),
        conditions=Conditions(
            threshold=Threshold(
                meter=Meter(threshold["meter"]),
                comparison=Comparison(threshold["comparison"]),
                quantity=threshold["quantity"],
                scope=ThresholdScope(threshold["scope"]),
            )
            if threshold
            else None,
            context=tuple(sorted(document.get("context", {}).items())),
            utc_window=_window_from_document(document),
            effective_from=datetime.fromisoformat(start) if start else None,
            effective_until=datetime.fromisoformat(until) if until else None,
        ),
    )


def _window_from_document(document: Mapping[str, Any]) -> UtcWindow | None:
    window, days = document.get("utc_window"), document.get("utc_days", ())
    if window is None:
        if days:
            raise ValueError("days of the week are those of a UTC window")
        return None
    start, end = map(_minute, window)
    return UtcWindow(start, end, tuple(DayOfWeek[day.upper()] for day in days))


def _instant_text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _minute(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)
