"""Off-peak prices of a row of litellm's price file: by hours in UTC on days of the week.

The rules are those of litellm's cost calculation: `hours_utc` are start and end of a window,
or a list of such; `weekdays` are those of the instant, in `weekday_timezone` (UTC if it is
not stated), from 1 (Monday) to 7 or by name. The price holds in any of the `windows`, and
`hours_utc` beside them are one more.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from llmpricing.rate_card import MINUTES_PER_DAY, Conditions, DayOfWeek, Rate, UtcWindow
from pricing_server.domain.names import printable
from pricing_server.domain.price_field import Field
from pricing_server.providers.listing_builder import RowError

OFF_PEAK: Final = "off_peak_pricing"

_SCHEDULE: Final = frozenset({"hours_utc", "weekdays", "weekday_timezone", "windows"})
_MINUTES_AHEAD: Final[Mapping[object, int]] = {None: 0, "UTC": 0, "Asia/Shanghai": 8 * 60}
"""Time zones that are always as far ahead of UTC. A window cannot follow any other."""
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_DAYS: Final[Mapping[str, DayOfWeek]] = {day.name[:3].lower(): day for day in DayOfWeek}

_Minutes = dict[DayOfWeek, list[tuple[int, int]]]
"""By day in UTC, the ranges of minutes after midnight."""


def off_peak_rates(stated: object, fields: Mapping[str, Field]) -> Iterator[Rate]:
    """The rates that hold off-peak, before all others. Raises RowError."""
    if not isinstance(stated, Mapping):
        raise RowError(f"{OFF_PEAK} is not an object")
    windows = _windows(stated)
    if not windows:
        raise RowError(f"{OFF_PEAK} states no hours")
    for key, value in stated.items():
        if key in _SCHEDULE:
            continue
        if key not in fields:
            raise RowError(f"{OFF_PEAK} has the unknown key {printable(key)}")
        for window in windows:
            try:
                rate = fields[key].rate(value, Conditions(utc_window=window))
            except ValueError as error:
                raise RowError(f"{OFF_PEAK}.{key} is {error}") from None
            if not rate.price:
                # Left out, it would be charged at the price of the peak.
                raise RowError(f"{OFF_PEAK}.{key} is zero")
            yield rate


def _windows(stated: Mapping[str, object]) -> list[UtcWindow]:
    """The windows, each with all days on which it is the same."""
    zone = stated.get("weekday_timezone")
    ahead = _MINUTES_AHEAD.get(zone) if zone is None or isinstance(zone, str) else None
    if ahead is None:
        raise RowError(f"{OFF_PEAK}.weekday_timezone is not always as far from UTC")
    listed = stated.get("windows", [])
    if not isinstance(listed, list) or not all(isinstance(each, Mapping) for each in listed):
        raise RowError(f"{OFF_PEAK}.windows is not a list of objects")
    minutes: _Minutes = defaultdict(list)
    for rule in (*listed, *([stated] if "hours_utc" in stated else [])):
        days = _weekdays(rule.get("weekdays"))
        for start, end in _hours(rule.get("hours_utc")):
            _add(minutes, start, end, days, ahead)
    days_of: dict[tuple[int, int], list[DayOfWeek]] = defaultdict(list)
    for day in sorted(minutes):
        for window in _merged(minutes[day]):
            days_of[window].append(day)
    try:
        return [
            UtcWindow(start, end % MINUTES_PER_DAY, tuple(days_of[start, end]))
            for start, end in sorted(days_of)
        ]
    except ValueError:
        raise RowError(f"{OFF_PEAK} is always") from None


def _add(minutes: _Minutes, start: int, end: int, days: list[DayOfWeek], ahead: int) -> None:
    """Cut a window at midnight in UTC and where the days are stated, since the day counts."""
    midnight_there = MINUTES_PER_DAY - ahead
    ranges = [(start, end)] if start < end else [(start, MINUTES_PER_DAY), (0, end)]
    for first, last in ranges:
        for low, high, is_next in (
            (0, midnight_there, False),
            (midnight_there, MINUTES_PER_DAY, True),
        ):
            begin, until = max(first, low), min(last, high)
            if begin < until:
                for day in days:
                    minutes[day.day_before if is_next else day].append((begin, until))


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _hours(stated: object) -> Iterator[tuple[int, int]]:
    for text in stated if isinstance(stated, list) else [stated]:
        match = _HOURS.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise RowError(f"{OFF_PEAK}.hours_utc is not hours such as 16:30-00:30")
        hours = [int(number) for number in match.groups()]
        yield hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]


def _weekdays(stated: object) -> list[DayOfWeek]:
    if stated is None:
        return list(DayOfWeek)
    days = []
    for day in stated if isinstance(stated, list) else [None]:
        if isinstance(day, str) and day[:3].lower() in _DAYS:
            days.append(_DAYS[day[:3].lower()])
        elif isinstance(day, int) and not isinstance(day, bool) and day in set(DayOfWeek):
            days.append(DayOfWeek(day))
        else:
            raise RowError(f"{OFF_PEAK}.weekdays is not a list of days")
    return days
