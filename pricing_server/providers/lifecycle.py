"""When a model retires, where a source states it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from pricing_server.providers.listing_builder import ListingBuilder

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}(T.+)?")


def retirement_time(
    stated: object, field: str, listing: ListingBuilder, model_id: str
) -> datetime | None:
    """The stated instant, None if there is none; a date is the beginning of that day in UTC.

    `field` is its path in the row. It decides no price: a value that is no date is named, and
    no fault of its row.
    """
    if stated is None:
        return None
    if isinstance(stated, str) and _DATE.fullmatch(stated):
        try:
            instant = datetime.fromisoformat(stated)
            if instant.tzinfo is None:
                instant = instant.replace(tzinfo=UTC)
            instant = instant.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        else:
            if 1970 <= instant.year < 9_999:
                return instant
    listing.notice(f"retirement:{field}", "no date, not read", model_id)
    return None
