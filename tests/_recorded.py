"""Recorded payloads of price APIs, which are not part of the repository."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def recorded(name: str) -> Path:
    """The path of a recorded file; skips the test where it is not.

    Looked for in PRICING_TEST_SHARED, else in `shared` beside the working copy.
    """
    shared = Path(os.environ.get("PRICING_TEST_SHARED") or ROOT.parent / "shared")
    path = shared / "recorded" / name
    if not path.is_file():
        pytest.skip(f"NOT TESTED: {path} is missing; PRICING_TEST_SHARED says where it is")
    return path
