"""What holds for all tests."""

import os
from collections.abc import Generator

import pytest

from tests._recorded import running

# Before grpc is imported. Its handlers of fork() run in the children of a process that has used
# it, such as a test's Postgres, and may break them before they are what they are to be.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test reads recordings under its marker only."""
    with running(item):
        return (yield)
