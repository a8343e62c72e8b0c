"""What a look-up answers: a price, and how well it is confirmed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pricing_server.domain.head import Head
from pricing_server.domain.price import Layer, Price, When
from pricing_server.domain.source import Source
from pricing_server.lookup.evaluated_price import EvaluatedPrice


class Freshness(StrEnum):
    """How well an answer is confirmed."""

    FRESH = "fresh"
    UNCONFIRMED = "unconfirmed"
    DATABASE_DOWN = "database_down"
    BACKDATED = "backdated"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a look-up found, how good it is, and the state of the table that it reflects."""

    evaluated: EvaluatedPrice
    freshness: Freshness
    source_detail: str
    head: Head | None
    """None for an answer that does not come from the price table."""
    at: datetime
    """The instant whose rates are the answer."""


def answer_of(
    evaluated: EvaluatedPrice,
    head: Head | None,
    sources: Mapping[str, Source],
    now: datetime,
    when: When | None = None,
    *,
    is_down: bool = False,
) -> Answer:
    """A price with what is to be said of it; `is_down`: the database cannot be asked now."""
    at = now
    if when is not None:
        at, now = when.as_of, when.known_at or now
    price = evaluated.price
    source = sources.get(price.source)
    detail = price.detail or (source.display_name if source else price.source)
    if price.stated_as is not None:
        is_override = price.layer is Layer.OVERRIDE
        detail += f"; {'set for' if is_override else 'stated as'} {price.stated_as}"
    if price.doubt is not None:
        detail += f": {price.doubt}"
    # What was in effect until something else took its place needs no later witness.
    overdue = (
        source is not None
        and price.superseded_at is None
        and now - price.obtained_at > source.fresh_for
    )
    if is_down:
        freshness = Freshness.DATABASE_DOWN
        detail += ": the price database cannot be reached"
    elif when is not None and evaluated.is_backdated(at):
        freshness = Freshness.BACKDATED
        detail += ": the first price known, which was stated later"
    elif price.layer is Layer.OVERRIDE:
        freshness = Freshness.FRESH  # Until it is cleared an admin stands by it.
    elif price.doubt is not None:
        freshness = Freshness.UNCONFIRMED
    elif price.delisted_at is not None:
        freshness = Freshness.UNCONFIRMED
        detail += ": no longer listed, last known price"
    elif not price.is_listed:
        freshness = Freshness.UNCONFIRMED
        detail += ": not in its latest data, last known price"
    elif not price.is_confirmed:
        freshness = Freshness.UNCONFIRMED
        detail += f": {_instead(price)}"
    elif overdue:
        freshness = Freshness.UNCONFIRMED
        detail += ": its data is older than expected"
    else:
        freshness = Freshness.FRESH
    return Answer(evaluated, freshness, detail, head, at)


def _instead(price: Price) -> str:
    """What a source states whose latest data does not confirm the price."""
    stated = "its latest data states another price, which"
    if price.pending is not None and price.pending.source == price.source:
        return f"{stated} is held ({price.pending.held_change_id})"
    if price.rejected_id is not None:
        return f"{stated} was rejected ({price.rejected_id})"
    return "not stated by its latest data, last known price"
