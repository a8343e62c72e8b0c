"""The areas of Amazon Bedrock's inference profiles: "eu.anthropic.claude-opus-5".

A seller may charge for an area of its own price. Where the areas of a model are listed one by
one, no other price stands for an area that is not among them.
"""

from __future__ import annotations

import re
from typing import Final

REGIONAL: Final = "regional."
"""What the bundled catalogue writes for all areas of one price."""

# Those that the catalogue counts as regional. Not "us-gov", which is priced apart, "global", nor
# regions such as us-east-1.
_AREAS: Final = ("", "apac.", "au.", "ca.", "eu.", "in.", "jp.", "us.")
_AREA: Final = re.compile(r"(?:apac|au|ca|eu|in|jp|us)\.")


def without_area(folded: str) -> str:
    """The name without its area, if it has one."""
    found = _AREA.match(folded)
    return folded[found.end() :] if found else folded


def other_areas(folded: str) -> tuple[str, ...]:
    """The same name with each other area, and with none."""
    rest = without_area(folded)
    return tuple(name for area in _AREAS if (name := area + rest) != folded)
