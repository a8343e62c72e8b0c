"""What holds for all tests."""

import os

# Before grpc is imported. Its handlers of fork() run in the children of a process that has used
# it, such as a test's Postgres, and may break them before they are what they are to be.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
