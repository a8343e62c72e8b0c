"""What the sources price offline: from the recorded payloads and the bundled package.

`make coverage` prints it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

import pytest

from llmpricing.rate_card import PriceState
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.source_listing import Listing
from pricing_server.providers import SOURCES
from pricing_server.providers.portkey import PARTS
from tests._recorded import RecordingMissing, recording

NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)


def _recording(name: str) -> object:
    return decode_json(recording(name).read_bytes())


RECORDINGS: Final[Mapping[str, Callable[[], object]]] = {
    "openrouter": partial(_recording, "openrouter_2026-08-22.json"),
    "deepinfra": partial(_recording, "deepinfra.json"),
    "novita": partial(_recording, "novita.json"),
    "together": partial(_recording, "together.json"),
    "chutes": partial(_recording, "chutes.json"),
    "cerebras": partial(_recording, "cerebras_public_2026.json"),
    "huggingface": partial(_recording, "huggingface.json"),
    "featherless": partial(_recording, "featherless.json"),
    "groq": partial(_recording, "groq.json"),
    "fireworks": partial(_recording, "fireworks.json"),
    "models-dev": partial(_recording, "models_dev_api.json"),
    "portkey": lambda: {part: _recording(f"portkey_{part}.json") for part in PARTS},
    "litellm": partial(_recording, "litellm.json"),
}
"""The newest payload of each source that has one."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The (seller, model) pairs of a source, or of several together."""

    listed: frozenset[tuple[str, str]]
    priced: frozenset[tuple[str, str]]
    """With a price above zero, or declared free."""

    @property
    def sellers(self) -> frozenset[str]:
        """Who sells a model at a known price."""
        return frozenset(seller for seller, _ in self.priced)


def _skip(slug: str, missing: RecordingMissing) -> None:
    pytest.skip(f"NOT TESTED: {slug}: {missing}")


def listings(
    on_missing: Callable[[str, RecordingMissing], None] = _skip,
) -> Iterator[tuple[str, Listing]]:
    """What every source says, in order of their rank, but for those whose recording is missing.

    `on_missing` is told of these; by default it skips the test.
    """
    for slug, source in sorted(SOURCES.items(), key=lambda item: item[1].rank):
        if source.release is not None:
            yield slug, source.read(source.release.load(), source.release.released_at)
        elif slug in RECORDINGS:
            try:
                document = RECORDINGS[slug]()
            except RecordingMissing as missing:
                on_missing(slug, missing)
            else:
                yield slug, source.read(document, NOW)


def coverage(
    on_missing: Callable[[str, RecordingMissing], None] = _skip,
) -> dict[str, Coverage]:
    """By source, and of all of them as "all sources"."""
    found = {
        slug: Coverage(
            frozenset(model.key for model in listing.models),
            frozenset(
                model.key
                for model in listing.models
                if model.card.state in (PriceState.PRICED, PriceState.FREE)
            ),
        )
        for slug, listing in listings(on_missing)
    }
    return {
        **found,
        "all sources": Coverage(
            frozenset().union(*(each.listed for each in found.values())),
            frozenset().union(*(each.priced for each in found.values())),
        ),
    }


def table(found: Mapping[str, Coverage]) -> str:
    """A line for each source."""
    lines = [f"{'source':14}{'listed':>8}{'priced':>8}{'sellers':>9}"]
    for slug, each in found.items():
        lines.append(f"{slug:14}{len(each.listed):8}{len(each.priced):8}{len(each.sellers):9}")
    return "\n".join(lines)


def main() -> int:
    """Print the table. The exit status is 1 where CI=true and a recording is missing."""
    missing: list[str] = []

    def tell(slug: str, skipped: RecordingMissing) -> None:
        missing.append(slug)
        print(f"SKIPPED {slug}: {skipped}", file=sys.stderr)

    print(table(coverage(tell)))
    unrecorded = [slug for slug in SOURCES if slug not in RECORDINGS and SOURCES[slug].endpoint]
    print(f"not counted, for want of a recording: {', '.join([*missing, *unrecorded])}")
    return 1 if missing and os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
