"""The areas of Amazon Bedrock's inference profiles: "eu.anthropic.claude-opus-5".

A seller may charge a price of its own for an area.
"""

from __future__ import annotations

import re
from typing import Final

REGIONAL: Final = "regional."
"""What the bundled catalogue writes for all areas of one price."""

# Those that the catalogue counts as regional. Not "us-gov", which is priced apart, "global", nor
# regions such as us-east-1.
_AREA: Final = re.compile(r"(?:apac|au|ca|eu|in|jp|us)\.")


def without_area(folded: str) -> str:
    """The name without its area, if it has one."""
    found = _AREA.match(folded)
    return folded[found.end() :] if found else folded
