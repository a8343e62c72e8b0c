"""What holds for every usage in the inclusive convention: parts do not exceed the whole."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from llmpricing.meters import Meter
from llmpricing.raw_usage.result import RawUsageError
from llmpricing.units import EXACT

_MODALITIES: Final = ("text", "audio", "image", "video")


def _laws() -> tuple[tuple[Meter, tuple[Meter, ...]], ...]:
    found = [
        (Meter.INPUT_TOKENS, (Meter.CACHE_READ_TOKENS, Meter.CACHE_WRITE_TOKENS)),
        (Meter.INPUT_TOKENS, (Meter.INPUT_TOOL_TOKENS,)),
        (Meter.INPUT_TOKENS, tuple(Meter(f"input_{one}_tokens") for one in _MODALITIES)),
        (Meter.OUTPUT_TOKENS, (Meter.OUTPUT_REASONING_TOKENS,)),
        (Meter.OUTPUT_TOKENS, tuple(Meter(f"output_{one}_tokens") for one in _MODALITIES)),
        (Meter.CACHE_READ_TOKENS, tuple(Meter(f"cache_{one}_read_tokens") for one in _MODALITIES)),
        (Meter.CACHE_WRITE_TOKENS, (Meter.CACHE_WRITE_5M_TOKENS, Meter.CACHE_WRITE_1H_TOKENS)),
        (Meter.INPUT_TOOL_TOKENS, tuple(Meter(f"input_{one}_tool_tokens") for one in _MODALITIES)),
        (Meter.INPUT_DOCUMENT_PAGES, (Meter.INPUT_ANNOTATED_DOCUMENT_PAGES,)),
        (Meter.AUDIO_SECONDS, (Meter.INPUT_AUDIO_SECONDS,)),
    ]
    for one in _MODALITIES:
        whole = Meter(f"input_{one}_tokens")
        found += [
            (whole, (Meter(f"cache_{one}_read_tokens"),)),
            (whole, (Meter(f"input_{one}_tool_tokens"),)),
        ]
    return tuple(found)


LAWS: Final = _laws()
"""(whole, parts that share no unit) for every meter that a usage is read to."""


def check(usage: Mapping[Meter, Decimal]) -> None:
    """Raise RawUsageError if parts exceed their whole, or if the whole is missing."""
    for whole, parts in LAWS:
        stated = [part for part in parts if usage.get(part)]
        total = Decimal(0)
        for part in stated:
            total = EXACT.add(total, usage[part])
        if total > usage.get(whole, Decimal(0)):
            named = " and ".join(f"{part.value} {usage[part]:f}" for part in stated)
            raise RawUsageError(
                f"contradictory counts: {named} of {whole.value} {usage.get(whole, 0):f}"
            )
