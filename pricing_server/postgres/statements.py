"""The SQL of this package: files of commented statements, each with a name."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString, cast

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def statements(file: str) -> dict[str, LiteralString]:
    """The statements of `sql/<file>.sql` by name."""
    text = files("pricing_server.postgres").joinpath("sql", f"{file}.sql").read_text("utf-8")
    _, *parts = _NAME.split(text)
    # The text ships with the package and holds no value of a caller.
    return cast(
        "dict[str, LiteralString]",
        {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)},
    )
