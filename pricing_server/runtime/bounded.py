"""Waiting with a bound that holds whatever the other side does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_abandoned: set[asyncio.Task[Any]] = set()


async def bounded(
    work: Coroutine[Any, Any, T],
    seconds: float,
    *,
    discard: Callable[[T], None] | None = None,
) -> T:
    """The result of `work`, or TimeoutError after `seconds`.

    `asyncio.timeout` waits until the cancelled work has ended. Work on a frozen database
    does not end until the database thaws, since the driver first asks it to cancel the
    query. So late work is cancelled and left to end by itself; if it still has a result,
    `discard` takes it.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        _abandon(task, discard)
        raise
    if not done:
        _abandon(task, discard)
        raise TimeoutError
    return task.result()


async def abandoned_work_ended(seconds: float) -> None:
    """Wait for work that was left to end by itself, at most for `seconds`."""
    if _abandoned:
        await asyncio.wait(set(_abandoned), timeout=seconds)


def _abandon(task: asyncio.Task[T], discard: Callable[[T], None] | None) -> None:
    task.cancel()
    _abandoned.add(task)
    task.add_done_callback(partial(_ended, discard))


def _ended(discard: Callable[[T], None] | None, task: asyncio.Task[T]) -> None:
    _abandoned.discard(task)
    # Nobody waits for the result any more.
    if not task.cancelled() and task.exception() is None and discard is not None:
        discard(task.result())
