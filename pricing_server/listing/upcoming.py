"""What is known to happen to models: dated rates, ends of overrides, and retirements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import TypeAlias

from llmpricing.rate_card import RateDifference
from llmpricing.schedule import by_date, dated_changes, rate_differences
from pricing_server.domain.head import Head
from pricing_server.domain.price import Price
from pricing_server.listing.price_list import PriceLists
from pricing_server.runtime.clock import utc_now


class UpcomingKind(IntEnum):
    """What is going to happen, in the order in which it is listed at one instant."""

    RATES = 1
    OVERRIDE_END = 2
    RETIREMENT = 3


UpcomingOrder: TypeAlias = tuple[datetime, str, str, UpcomingKind]
"""When, to which seller's model, and what: no two changes have the same."""


@dataclass(frozen=True, slots=True)
class UpcomingChange:
    """One thing that is known to happen to a model."""

    at: datetime
    provider: str
    model_id: str
    kind: UpcomingKind
    source: str
    """Who states it; of rates and overrides the source in force until then."""
    changes: tuple[RateDifference, ...] = ()
    successor: str | None = None

    @property
    def order(self) -> UpcomingOrder:
        """Its place in a list."""
        return self.at, self.provider, self.model_id, self.kind


@dataclass(frozen=True, slots=True)
class UpcomingPosition:
    """Where a page begins: behind a change, in the list of a revision, seen from an instant."""

    head: Head
    at: datetime
    behind: UpcomingOrder


@dataclass(frozen=True, slots=True)
class UpcomingPage:
    """Changes in order, and the revision and instant that they are of."""

    changes: Sequence[UpcomingChange]
    head: Head
    at: datetime
    is_last: bool


class UpcomingLister:
    """Lists what is ahead of the price table, for one process."""

    def __init__(self, lists: PriceLists, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._lists = lists
        self._clock = clock

    async def page(
        self,
        provider: str | None,
        within: timedelta,
        begin: UpcomingPosition | None,
        limit: int,
    ) -> UpcomingPage:
        """The next changes, at most `limit`. Raises what `PriceLists.at` does."""
        price_list = await self._lists.at(begin.head if begin else None)
        at = begin.at if begin else self._clock()
        prices = (
            price for price in price_list.prices if provider is None or price.provider == provider
        )
        found = upcoming(prices, at, at + within)
        if begin is not None:
            found = [change for change in found if change.order > begin.behind]
        return UpcomingPage(found[:limit], price_list.head, at, len(found) <= limit)


def upcoming(prices: Iterable[Price], since: datetime, until: datetime) -> Sequence[UpcomingChange]:
    """What happens to listed models after `since` and up to `until`, in order of time."""
    found = (
        change
        for price in prices
        if price.delisted_at is None
        for change in _of_price(price, since, until)
    )
    return sorted(found, key=lambda change: change.order)


def _of_price(price: Price, since: datetime, until: datetime) -> Iterator[UpcomingChange]:
    names = price.provider, price.model_id
    in_force = price.at(since)
    end = in_force.until
    for one, begin, last in _spans(in_force, since, until):
        for at, changes in dated_changes(one.card, begin, last):
            if at != end:
                yield UpcomingChange(at, *names, UpcomingKind.RATES, one.source, changes)
    if end is not None and since < end <= until:
        after = by_date(in_force.without_override.card, end)
        changes = rate_differences(by_date(in_force.card, end - timedelta.resolution), after)
        yield UpcomingChange(end, *names, UpcomingKind.OVERRIDE_END, in_force.source, changes)
    retires = price.retirement_time
    if retires is not None and since < retires <= until:
        yield UpcomingChange(
            retires,
            *names,
            UpcomingKind.RETIREMENT,
            price.retirement_source or price.source,
            successor=price.successor,
        )


def _spans(
    price: Price, since: datetime, until: datetime
) -> Iterator[tuple[Price, datetime, datetime]]:
    """The prices in force one after the other, each from an instant to one."""
    if price.until is None or price.until > until:
        yield price, since, until
    else:
        yield price, since, price.until
        yield price.without_override, price.until, until
