"""Work that takes long, done once for all who ask for it meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SingleFlight(Generic[K, T]):
    """Work under way, by key. For one event loop."""

    def __init__(self) -> None:
        self._flights: dict[K, asyncio.Task[T]] = {}

    async def get(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the work that is under way for a key; it begins if there is none.

        A caller that is cancelled does not stop it for the others.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(work())
            flight.add_done_callback(partial(self._landed, key))
        return await asyncio.shield(flight)

    def is_current(self, key: K) -> bool:
        """Whether the work that asks this is what the next caller would be given."""
        return self._flights.get(key) is asyncio.current_task()

    def forget(self) -> None:
        """Let whoever comes now begin anew. Those who wait already go on waiting."""
        self._flights.clear()

    async def aclose(self) -> None:
        """Stop all work."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _landed(self, key: K, flight: asyncio.Task[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # Everyone who waited may be gone; the error is then nobody's.


@dataclass(frozen=True, slots=True)
class _Made(Generic[T]):
    parts: tuple[object, ...]
    value: T


class NewestValue(Generic[T]):
    """The newest value of some parts: made anew of other parts, or if making it failed.

    Parts are the same as long as they are the same objects. For one event loop.
    """

    def __init__(self) -> None:
        self._making: SingleFlight[tuple[int, ...], T] = SingleFlight()
        self._wanted: tuple[object, ...] = ()
        self._made: _Made[T] | None = None

    @property
    def parts(self) -> tuple[object, ...]:
        """What the newest value is made of; empty if there is none."""
        return self._made.parts if self._made is not None else ()

    @property
    def value(self) -> T | None:
        """The newest value, whatever it is made of; None if there is none."""
        return self._made.value if self._made is not None else None

    async def get(self, *parts: object, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The value of these parts. A caller that is cancelled does not stop it for the others."""
        if self._made is not None and _are_same(self._made.parts, parts):
            return self._made.value
        # Kept, so that no other object takes the identity of one of these.
        self._wanted = parts
        return await self._making.get(tuple(map(id, parts)), partial(self._make, parts, make))

    async def _make(
        self, parts: tuple[object, ...], make: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        value = await make()
        if _are_same(self._wanted, parts):
            self._made = _Made(parts, value)
        return value


def _are_same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return len(one) == len(other) and all(map(_is, one, other))


def _is(one: object, other: object) -> bool:
    return one is other
