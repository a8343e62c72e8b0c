"""Runs one embedded PostgreSQL server for as long as somebody uses it.

A script of its own, started by `embedded` with a JSON object as its only argument: it must outlive
the process that started it, and it must not import what that process imported.
"""

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def _stop_with_watcher() -> None:
    """Has the kernel shut the server down should the watcher be killed. Linux has this only."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _stop_when_unused(users_lock: str, postmaster: "subprocess.Popen[bytes]") -> None:
    """Waits until no user shares the lock, then shuts down fast.

    The lock is kept until the watcher exits, so that new users wait for the end of the shutdown.
    """
    users = os.open(users_lock, os.O_RDWR)
    fcntl.flock(users, fcntl.LOCK_EX)
    postmaster.send_signal(signal.SIGINT)


def main() -> None:
    """Starts the server and returns once it has ended, for whatever reason."""
    spec = json.loads(sys.argv[1])
    if os.fork():
        os._exit(0)  # The starter waits for this process only; init takes its child.
    # Being its parent, the watcher never mistakes another process for the server. The server and
    # its children inherit the lock that says "some process of this cluster is alive".
    postmaster = subprocess.Popen(
        spec["command"],
        env=spec["environment"],
        user=spec["uid"],
        group=spec["gid"],
        extra_groups=None if spec["uid"] is None else [],
        pass_fds=[spec["server_lock"]],
        preexec_fn=_stop_with_watcher,
    )
    # It obeys the users' lock alone: a service that drains after SIGTERM still needs its database.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    threading.Thread(
        target=_stop_when_unused, args=(spec["users_lock"], postmaster), daemon=True
    ).start()
    postmaster.wait()


if __name__ == "__main__":
    main()
