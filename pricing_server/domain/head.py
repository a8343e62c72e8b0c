"""The state of the whole price table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Head:
    """The state of the whole price table."""

    revision: int
    epoch: str
