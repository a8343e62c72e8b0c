"""python -m tests.integration.torture [--minutes M] [--seed S]: the change stream under torture.

Prints the seed first and what happened at the end. Exits with 1 if a guarantee was broken.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time

from tests.integration.torture.harness import torture

MINUTES = 0.25
"""Of writing. With start and reckoning, the whole stays under 50 s on two free cores."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    print(f"torture: seed {seed}, {arguments.minutes:g} minutes of writing", flush=True)
    began = time.monotonic()
    record = torture(seed, arguments.minutes * 60)
    print(record.figures)
    try:
        record.check()
    except AssertionError as failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"seed {seed}: every log equals the history, in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
