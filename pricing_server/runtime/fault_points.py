"""Fault points: named steps of a sync at which a test lets the process be killed.

Nothing happens without the setting PRICING_FAULT_POINT. With it, the process sends
itself SIGKILL when a sync reaches the step: no clean-up runs, as in a power cut.
"""

from __future__ import annotations

import os
import signal
from enum import StrEnum

import structlog

log = structlog.get_logger(__name__)


class FaultPoint(StrEnum):
    """The steps, in the order in which a sync passes them."""

    AFTER_START = "after_start"
    AFTER_FETCH = "after_fetch"
    BEFORE_LOCK_HEAD = "before_lock_head"
    AFTER_STAGE = "after_stage"
    BEFORE_FINISH = "before_finish"
    BEFORE_COMMIT = "before_commit"
    AFTER_COMMIT = "after_commit"


_armed: FaultPoint | None = None


def arm(point: FaultPoint | None) -> None:
    """Have this process killed at a step; None disarms."""
    global _armed
    _armed = point
    if point is not None:
        log.critical("fault_point.armed", point=point.value, setting="PRICING_FAULT_POINT")


def pass_fault_point(point: FaultPoint) -> None:
    """Called at each step. Does not return at the armed one."""
    if point is _armed:
        os.kill(os.getpid(), signal.SIGKILL)
