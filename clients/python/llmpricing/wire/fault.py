"""What is wrong with a message."""

from __future__ import annotations


class WireFault(ValueError):
    """A field of a message makes no sense. The message is one line."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field} {description}")
        self.field = field
        self.description = description
