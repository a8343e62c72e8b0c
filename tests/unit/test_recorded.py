"""A test that reads recordings says so, or `make test` would depend on them."""

from __future__ import annotations

import pytest

from tests._recorded import recorded


def test_a_test_without_the_marker_reads_no_recording_even_where_there_is_one() -> None:
    with pytest.raises(AssertionError, match=r"reads litellm\.json: mark it"):
        recorded("litellm.json")
