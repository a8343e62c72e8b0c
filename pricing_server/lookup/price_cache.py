"""The cache of look-ups.

It holds what was read at one state of the price table, and all of it goes when that
state ends. A load that began before a clear is never stored after it, and nobody who
asks after the clear is given its result. Names that the table does not list have a small
cache of their own, so that a scan of made-up names cannot push prices out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Hashable
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

from cachetools import TLRUCache, TTLCache

from pricing_server.domain.head import Head
from pricing_server.runtime.clock import utc_now
from pricing_server.runtime.single_flight import SingleFlight

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
U = TypeVar("U")

Loader: TypeAlias = Callable[[], Coroutine[Any, Any, tuple[Head, V | None]]]


class PriceCache(Generic[K, V, U]):
    """Values by key until a TTL, an instant of their own, or the next clear.

    `V` are found values, `U` what is kept of unknown keys. `ends_at` gives the instant
    at which a value changes by itself. Not thread-safe: for one event loop.
    """

    def __init__(
        self,
        *,
        size: int,
        unknown_size: int,
        ttl_seconds: float,
        ends_at: Callable[[V], datetime | None],
        timer: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._ends_at = ends_at
        self._clock = clock
        self._ttl = ttl_seconds
        self._found: TLRUCache[K, V] = TLRUCache(size, ttu=self._time_to_use, timer=timer)
        self._unknown: TTLCache[K, U] = TTLCache(unknown_size, ttl_seconds, timer=timer)
        self._loads: SingleFlight[K, tuple[Head, V | None]] = SingleFlight()
        self._head: Head | None = None

    @property
    def head(self) -> Head | None:
        """The state of the price table that the cache reflects; None before the first load."""
        return self._head

    def get(self, key: K) -> V | None:
        """A value that still holds, or None."""
        value = self._found.get(key)
        if value is None:
            return None
        ends_at = self._ends_at(value)
        return value if ends_at is None or self._clock() < ends_at else None

    def put(self, key: K, value: V, head: Head) -> None:
        """Store what was read of a key at a state of the price table, unless that has ended."""
        self.see(head)
        if head == self._head:
            self._found[key] = value

    def unknown(self, key: K) -> U | None:
        """What was kept of a key that was not found, or None."""
        return self._unknown.get(key)

    def remember_unknown(self, key: K, value: U, head: Head) -> None:
        """Keep that a key was not found at a state of the price table."""
        if head == self._head:
            self._unknown[key] = value

    def clear(self, head: Head) -> None:
        """Forget everything: the price table is at `head` now."""
        if self._is_news(head):
            self._head = head
        self._found.clear()
        self._unknown.clear()
        # Whoever waits for one of these keeps waiting; whoever comes now loads anew.
        self._loads.forget()

    def see(self, head: Head) -> None:
        """The price table was seen at `head`: forget everything if that is news."""
        if self._head is None:
            self._head = head  # Nothing was read before it that could be older.
        elif self._is_news(head):
            self.clear(head)

    async def load(self, key: K, loader: Loader[V]) -> tuple[Head, V | None]:
        """Load a key once for all who ask at the same time, and store what was found.

        A caller that is cancelled does not cancel the load for the others.
        """
        return await self._loads.get(key, partial(self._load, key, loader))

    async def _load(self, key: K, loader: Loader[V]) -> tuple[Head, V | None]:
        head, value = await loader()
        # Nothing but the order of arrival says which of two epochs is newer: a load that a clear
        # has overtaken may bring a later revision of the same epoch, never another epoch.
        is_current = self._loads.is_current(key)
        if self._head is None:
            self._head = head  # The first load of all: nothing is older than it.
        elif self._is_news(head) and (is_current or head.epoch == self._head.epoch):
            # Another process changed the table and this load is the first to see it.
            self.clear(head)
            is_current = True
        if value is not None and is_current and head == self._head:
            self._found[key] = value
        return head, value

    def _is_news(self, head: Head) -> bool:
        return (
            self._head is None
            or head.epoch != self._head.epoch
            or head.revision > self._head.revision
        )

    def _time_to_use(self, _key: K, value: V, now: float) -> float:
        ends_at = self._ends_at(value)
        if ends_at is None:
            return now + self._ttl
        return now + min(self._ttl, (ends_at - self._clock()).total_seconds())
