"""What the format of the bundled catalogue cannot say, each with its source.

A correction rests on rows of the catalogue as it is bundled; a test holds these rows fast.
A row of another shape is a fault of the row, so that none is corrected by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import DayOfWeek, Rate, UtcWindow
from pricing_server.providers.listing_builder import RowError

Key = tuple[str, str]
"""Seller and model id."""

LEAST_SECONDS: Final = 10
LEAST_BILLED: Final = frozenset({("groq", "whisper-large-v3"), ("groq", "whisper-large-v3-turbo")})
"""Models whose requests are charged for LEAST_SECONDS of audio at least.

Source: the package's own `calc_price`. That is a rule of its code: its data does not state it.
"""


@dataclass(frozen=True, slots=True)
class DaysOfHours:
    """The days of the week on which hours hold that the catalogue states for every day."""

    hours: frozenset[UtcWindow]
    """All that the row states."""
    days: tuple[DayOfWeek, ...]


_DEEPSEEK_PEAK: Final = DaysOfHours(
    hours=frozenset({UtcWindow(1 * 60, 4 * 60), UtcWindow(6 * 60, 10 * 60)}),
    days=(
        DayOfWeek.MONDAY,
        DayOfWeek.TUESDAY,
        DayOfWeek.WEDNESDAY,
        DayOfWeek.THURSDAY,
        DayOfWeek.FRIDAY,
    ),
)

DAYS_OF_HOURS: Final[Mapping[Key, DaysOfHours]] = {
    ("deepseek", "deepseek-flash"): _DEEPSEEK_PEAK,
    ("deepseek", "deepseek-v4-flash"): _DEEPSEEK_PEAK,
    ("deepseek", "deepseek-v4-pro"): _DEEPSEEK_PEAK,
}
"""Peak hours of DeepSeek, Monday to Friday: on other days the off-peak price holds all day.

Source: https://api-docs.deepseek.com/quick_start/pricing, October 2026. China's public
holidays, which it excepts too, are not on the card: no calendar of them is known here. The
hours of `deepseek-chat` and `deepseek-reasoner` are those of a discount of 2025, of every day.
"""


def corrected(key: Key, rates: Iterable[Rate]) -> Iterator[Rate]:
    """The rates of a model in their order, with what its row could not say.

    Raises RowError where the row is not one that the correction is for.
    """
    if key in LEAST_BILLED:
        rates = _with_least_seconds(list(rates))
    if key in DAYS_OF_HOURS:
        rates = _on_days(list(rates), DAYS_OF_HOURS[key])
    yield from rates


def _with_least_seconds(rates: list[Rate]) -> Iterator[Rate]:
    """The rates with LEAST_SECONDS as the minimum of all audio of a request together.

    So seconds of input must not have a minimum of their own: they cost what all audio costs.
    """
    by_key = {rate.key: rate for rate in rates}
    for rate in rates:
        whole = by_key.get((Meter.AUDIO_SECONDS, rate.conditions))
        if rate.meter is Meter.AUDIO_SECONDS:
            yield replace(rate, minimum=LEAST_SECONDS)
        elif rate.meter is not Meter.INPUT_AUDIO_SECONDS:
            yield rate
        elif whole is None or not whole.same_price_as(rate):
            raise RowError("seconds of input have a price of their own beside a minimum for all")


def _on_days(rates: list[Rate], correction: DaysOfHours) -> Iterator[Rate]:
    """The rates, those by time of day on the correction's days alone.

    A rate of the same meter without hours must stand after them, for the other days.
    """
    windows = {rate.conditions.utc_window for rate in rates} - {None}
    if windows != correction.hours:
        raise RowError("the hours are not those of which the days are known")
    always = {rate.meter for rate in rates if rate.conditions.utc_window is None}
    for rate in rates:
        window = rate.conditions.utc_window
        if window is None:
            yield rate
        elif rate.meter not in always:
            raise RowError(f"{rate.meter} have no price on days without these hours")
        else:
            on_days = replace(window, days=correction.days)
            yield replace(rate, conditions=replace(rate.conditions, utc_window=on_days))
