"""Random decisions that a seed reproduces."""

from __future__ import annotations

import random


def dice_of(seed: int, actor: str) -> random.Random:
    """An actor's own: its decisions do not depend on how many others have made meanwhile."""
    return random.Random(f"{seed}/{actor}")
