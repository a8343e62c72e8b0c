"""What was understood of a raw usage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from llmpricing.meters import Meter


class RawUsageError(ValueError):
    """A body whose usage cannot be read safely. The message is one line, safe to show."""


class Stated(NamedTuple):
    """One value of the body: where it is ("usage.iterations[1].input_tokens"), and its text."""

    path: str
    value: str


@dataclass(frozen=True, slots=True)
class ReadUsage:
    """A usage as meters, in the inclusive convention.

    `usage` has quantities in units of the meter; cached, audio, reasoning, ... tokens are
    part of `input_tokens` or `output_tokens`, and the whole of a part is always there.
    Parts of zero are left out. `model` is the name in the response, None if it states none.
    `context` is how the request was served, as far as that changes the price, in the words
    of rate cards ("service_tier": "flex"); what is standard is left out.
    `unknown` are values that may be charged and were not understood: a cost of `usage`
    alone may be too low. `ignored` are values that restate others, are zero, or say that
    something is standard.
    """

    usage: Mapping[Meter, Decimal]
    model: str | None
    context: Mapping[str, str]
    unknown: tuple[Stated, ...]
    ignored: tuple[Stated, ...]
