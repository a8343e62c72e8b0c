"""Whether a name that a catalogue counts as a model can be that model.

A catalogue's clause says what a name costs, often by its beginning alone: "gemini-1.5-flash..." is
also how gemini-1.5-flash-8b begins, at half the price. So whatever tells models apart has to be
the same in the name and in the id; and what neither of them explains is a different model.
"""

from __future__ import annotations

import re
from typing import Final

from llmpricing.matching.spelling import dated

_SEPARATORS: Final = re.compile(r"[-_./:@]+")
_REVISION: Final = re.compile(r"-v([0-9]{1,2})(?::[0-9]{1,2})?\Z")
_FINE_TUNED: Final = re.compile(r"(ft:[^:]+)(?::[^:]*){1,4}\Z")
# MMDD or YYMM: "0613", "2507".
_SHORT_DATE: Final = re.compile(
    r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])\Z|2[2-9](?:0[1-9]|1[0-2])\Z"
)
_STABLE_GEMINI: Final = re.compile(r"(gemini-.+)-00[1-9]\Z")

_STATED_WORDS: Final = frozenset({"latest", "beta", "open", "system", "ai"})
"""Words by which a name that the catalogue spells out may exceed the id: a moving alias, xAI's
former names, Mistral's of open models, the namespace of Databricks."""

_VENDORS: Final = frozenset({"amazon", "anthropic", "moonshotai", "openai", "zai"})
_REGIONAL: Final = "regional"
_REGIONS: Final = frozenset({"apac", "au", "ca", "eu", "in", "jp", "us"})
"""Areas of Bedrock's inference profiles that the catalogue counts as "regional". Not here: "gov",
which is priced apart, and regions such as us-east-1."""


def can_be(name: str, model_id: str, *, is_stated: bool) -> bool:
    """Whether a folded name can be the model of a folded id.

    `is_stated` says that the catalogue spells the name out, rather than a part of it: then the
    name may be shorter than the id, as aliases are.
    """
    if is_stated:
        name, model_id = name.rpartition("/")[2], model_id.rpartition("/")[2]
    if tuned := _FINE_TUNED.match(name):
        name = tuned[1]
    if stable := _STABLE_GEMINI.match(name):
        name = stable[1]
    name, *version = _without_version(name)
    model_id, *own_version = _without_version(model_id)
    if any(one != two for one, two in zip(version, own_version, strict=True) if one and two):
        return False
    words, numbers = _parts(name)
    own_words, own_numbers = _parts(model_id)
    if numbers != own_numbers:
        numbers, own_numbers = _without_short_dates(numbers), _without_short_dates(own_numbers)
        if numbers != own_numbers and (numbers or not is_stated):
            return False
    allowed, lacking = _STATED_WORDS, own_words
    if not is_stated:
        allowed = _REGIONS | _VENDORS if _REGIONAL in own_words else frozenset()
        lacking = _VENDORS | {_REGIONAL, "latest"}
    return words - own_words <= allowed and own_words - words <= lacking


def _without_version(text: str) -> tuple[str, str | None, tuple[str, str, str] | None]:
    """The text without revision and full date at its end, and these."""
    revision = _REVISION.search(text)
    if revision:
        text = text[: revision.start()]
    parts = dated(text)
    if parts:
        return parts[0], revision and revision[1], parts[1]
    return text, revision and revision[1], None


def _parts(text: str) -> tuple[frozenset[str], list[str]]:
    """The words of a text, and its numbers in order; "5.0" counts as "5"."""
    parts = [part for part in _SEPARATORS.split(text) if part]
    numbers = [part for part in parts if part.isdecimal()]
    while numbers and not numbers[-1].strip("0"):
        numbers.pop()
    return frozenset(part for part in parts if not part.isdecimal()), numbers


def _without_short_dates(numbers: list[str]) -> list[str]:
    return [number for number in numbers if not _SHORT_DATE.match(number)]
