"""Sorting in a thread that lets others run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import merge
from typing import Any, Final, TypeVar

T = TypeVar("T")

RUN: Final = 1_000
"""How many items are sorted at a time: a few milliseconds, in which no other thread runs."""


def sorted_in_runs(items: Sequence[T], key: Callable[[T], Any], *, run: int = RUN) -> list[T]:
    """The same list as `sorted` gives. `sorted` holds the interpreter's lock from beginning to
    end, so with tens of thousands of items it would stop an event loop in another thread."""
    runs = [sorted(items[start : start + run], key=key) for start in range(0, len(items), run)]
    return list(merge(*runs, key=key))
