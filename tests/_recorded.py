"""Recorded payloads of price APIs, which are not part of the repository.

A test that reads one has the marker `recorded`; without it, it fails whether the recordings are
there or not. So `make test`, which leaves the marked ones out, needs nothing and skips nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MARKER = "recorded"

_running: list[pytest.Item] = []


class RecordingMissing(Exception):
    """A recorded file is not where it is looked for."""


@contextmanager
def running(item: pytest.Item) -> Iterator[None]:
    """What is read meanwhile, fixtures included, is read for this test."""
    _running.append(item)
    try:
        yield
    finally:
        _running.pop()


def recorded(name: str) -> Path:
    """The path of a recorded file; skips the test where it is not."""
    try:
        return recording(name)
    except RecordingMissing as missing:
        pytest.skip(f"NOT TESTED: {missing}")


def recording(name: str) -> Path:
    """The path of a recorded file. Raises RecordingMissing.

    Looked for in PRICING_TEST_SHARED, else in `shared` beside the working copy.
    """
    for item in _running:
        assert item.get_closest_marker(MARKER), f"reads {name}: mark it with pytest.mark.{MARKER}"
    path = recordings() / name
    if not path.is_file():
        raise RecordingMissing(f"{path} is missing; PRICING_TEST_SHARED says where it is")
    return path


def recordings() -> Path:
    """The directory of the recorded files, whether it is there or not."""
    shared = Path(os.environ.get("PRICING_TEST_SHARED") or ROOT.parent / "shared")
    return shared / "recorded"
