"""The names that real sellers list, and matching over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from llmpricing.matching import ClauseIndex, Match, ModelIndex, Name, NoMatch, Standing
from llmpricing.rate_card import PriceState, RateCard
from pricing_server.lookup.matching.catalogue_clauses import clauses
from pricing_server.lookup.matching.model_index import model_index
from pricing_server.providers import SOURCES
from tests._coverage import listings
from tests._recorded import RecordingMissing

CASES_FILE: Final = Path(__file__).parents[1] / "fixtures" / "matching_cases.txt"
MUST_NOT_MATCH: Final = "MUST NOT MATCH"


@dataclass(frozen=True, slots=True)
class Case:
    """A name, and what it leads to: "provider:model_id rule", or "-"."""

    section: str
    name: str
    seller: str | None
    alone: str
    """With the bundled catalogue alone."""
    recorded: str
    """With all recordings."""


def cases() -> list[Case]:
    """All lines of the table."""
    found = []
    section = ""
    for line in CASES_FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line and not line.startswith("#"):
            name, seller, alone, recorded = line.split(" | ")
            recorded = alone if recorded == "=" else recorded
            found.append(Case(section, name, seller or None, alone, recorded))
    return found


def shown(result: Match | NoMatch) -> str:
    """A result as the table writes it."""
    if isinstance(result, NoMatch):
        return "-"
    return f"{result.provider}:{result.model_id} {result.rule}"


@cache
def catalogue_document() -> object:
    """The bundled catalogue as its package has it."""
    release = SOURCES["genai-prices"].release
    assert release is not None
    return release.load()


@cache
def catalogue_clauses() -> ClauseIndex:
    """The bundled catalogue's clauses."""
    return ClauseIndex(clauses(catalogue_document()))


@cache
def catalogue_cards() -> Mapping[Name, Mapping[str, RateCard]]:
    """What each model of the bundled catalogue costs there."""
    source = SOURCES["genai-prices"]
    assert source.release is not None
    listing = source.read(catalogue_document(), source.release.released_at)
    return {model.key: {source.slug: model.card} for model in listing.models}


@cache
def catalogue_names() -> frozenset[Name]:
    """What the bundled catalogue lists."""
    return frozenset(catalogue_cards())


@cache
def catalogue_index() -> ModelIndex:
    """All that the bundled catalogue lists."""
    return model_index(catalogue_names(), catalogue_clauses())


@cache
def _all_cards() -> tuple[Mapping[Name, Mapping[str, RateCard]], RecordingMissing | None]:
    missing: list[RecordingMissing] = []
    found: dict[Name, dict[str, RateCard]] = {}
    for source, listing in listings(lambda _, error: missing.append(error)):
        for model in listing.models:
            found.setdefault(model.key, {})[source] = model.card
    return found, missing[0] if missing else None


def cards() -> Mapping[Name, Mapping[str, RateCard]]:
    """What each model costs by each source that has a recording."""
    return _all_cards()[0]


def recorded_names() -> frozenset[Name]:
    """What all sources list together; skips the test where a recording is missing."""
    found, missing = _all_cards()
    if missing is not None:
        pytest.skip(f"NOT TESTED: {missing}")
    return frozenset(found)


def standings(names: Iterable[Name]) -> Mapping[Name, Standing]:
    """Those of the names that no source has a price of."""
    return {name: Standing.UNPRICED for name in names if not _is_priced(cards()[name])}


def _is_priced(cards: Mapping[str, RateCard]) -> bool:
    return any(card.state is not PriceState.UNPRICED for card in cards.values())


@cache
def _recorded_index() -> ModelIndex:
    names = recorded_names()
    return model_index(names, catalogue_clauses(), standings=standings(names))


def recorded_index() -> ModelIndex:
    """All that is listed together; skips the test where a recording is missing."""
    recorded_names()
    return _recorded_index()


UNIVERSES: Final[Mapping[str, tuple[Callable[[], frozenset[Name]], Callable[[], ModelIndex]]]] = {
    "catalogue": (catalogue_names, catalogue_index),
    "recordings": (recorded_names, recorded_index),
}
