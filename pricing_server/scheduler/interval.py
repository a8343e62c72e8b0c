"""Intervals as operators write them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

OFF: Final = timedelta(0)
SHORTEST: Final = timedelta(seconds=1)
LONGEST: Final = timedelta(days=366)

_TEXT = re.compile(r"([0-9]{1,8})(s|m|h|d)")
_UNITS: Final = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def parse_interval(value: object) -> timedelta:
    """The interval of a text such as "6h", "30m" or "90s"; OFF for "off" and "0".

    Raises ValueError, also for a number without a unit: hours to one are seconds to another.
    """
    if isinstance(value, timedelta):
        interval = value
    elif found := _TEXT.fullmatch(str(value)):
        interval = int(found[1]) * _UNITS[found[2]]
    elif str(value) in ("off", "0"):
        interval = OFF
    else:
        raise ValueError('is neither an interval such as "6h", "30m" or "90s" nor "off"')
    if interval != OFF and not SHORTEST <= interval <= LONGEST:
        raise ValueError('is under a second or over 366 days; "off" switches it off')
    return interval
