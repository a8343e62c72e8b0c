"""Waiting for what happens elsewhere: asked again and again until a deadline, never slept."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE = 0.02
_DEADLINE = 90.0
"""Ends what hangs. A test that promises a time says its own."""


def until(happened: Callable[[], T], what: str, seconds: float = _DEADLINE) -> T:
    """The first true answer. Fails with `what` after the deadline."""
    deadline = time.monotonic() + seconds
    while not (answer := happened()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(_PAUSE)
    return answer


async def eventually(
    happened: Callable[[], Awaitable[T]], what: str, seconds: float = _DEADLINE
) -> T:
    """The first true answer of something that is awaited. Fails with `what` after the deadline."""
    deadline = time.monotonic() + seconds
    while not (answer := await happened()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(_PAUSE)
    return answer
