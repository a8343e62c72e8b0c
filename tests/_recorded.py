"""Recorded payloads of price APIs, which are not part of the repository."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


class RecordingMissing(Exception):
    """A recorded file is not where it is looked for."""


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
    shared = Path(os.environ.get("PRICING_TEST_SHARED") or ROOT.parent / "shared")
    path = shared / "recorded" / name
    if not path.is_file():
        raise RecordingMissing(f"{path} is missing; PRICING_TEST_SHARED says where it is")
    return path
