"""A value that takes long to make, made once for all who ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class MadeOnce(Generic[T]):
    """The newest value of some parts: made anew of other parts, or if making it failed.

    Parts are the same as long as they are the same objects. For one event loop.
    """

    def __init__(self) -> None:
        self._parts: tuple[object, ...] = ()
        self._task: asyncio.Task[T] | None = None

    @property
    def parts(self) -> tuple[object, ...]:
        """What the newest value is made of; empty if there is none, or making it failed."""
        return () if self._task is None or _has_failed(self._task) else self._parts

    async def of(self, *parts: object, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The value of these parts. A caller that is cancelled does not stop it for the others."""
        task = self._task
        if task is None or not _are_same(self.parts, parts):
            task = self._task = asyncio.create_task(make())
            self._parts = parts
        return await asyncio.shield(task)

    async def newest(self) -> T | None:
        """The newest value, whatever it is made of; None if there is none."""
        if self._task is None or _has_failed(self._task):
            return None
        return await asyncio.shield(self._task)


def _are_same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return len(one) == len(other) and all(map(_is, one, other))


def _is(one: object, other: object) -> bool:
    return one is other


def _has_failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
