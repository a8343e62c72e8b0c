"""Whether a name that a catalogue counts as a model can be that model.

A catalogue's clause says what a name costs, often by its beginning alone: "gemini-1.5-flash..." is
also how gemini-1.5-flash-8b begins, at half the price. So whatever tells models apart has to be
the same in the name and in the id; and what neither of them explains is a different model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from llmpricing.matching.spelling import dated

_SEPARATORS: Final = re.compile(r"[-_./:@]+")
_FINE_TUNED: Final = re.compile(r"(ft:[^:]+)(?::[^:]*){1,4}\Z")
_STABLE_GEMINI: Final = re.compile(r"(gemini-.+)-00[1-9]\Z")
_REVISION: Final = re.compile(r"-v([0-9]{1,2}):([0-9]{1,2})\Z")
_FIRST_REVISION: Final = ("1", "0")
# Of Mistral and others (MMDD, YYMM), Cohere (MM-YYYY), Qwen at OpenRouter (MM-DD).
_SHORT_DATE: Final = re.compile(
    r"-((?:0[1-9]|1[0-2])-?(?:0[1-9]|[12][0-9]|3[01])"
    r"|2[2-9](?:0[1-9]|1[0-2])"
    r"|(?:0[1-9]|1[0-2])-20[2-3][0-9])\Z"
)

_STATED_WORDS: Final = frozenset({"latest", "beta", "open", "system", "ai"})
"""Words by which a name that the catalogue spells out may exceed the id: a moving alias, xAI's
former names, Mistral's of open models, the namespace of Databricks."""

_VENDORS: Final = frozenset({"amazon", "anthropic", "moonshotai", "openai", "zai"})
_REGIONAL: Final = "regional"
_REGIONS: Final = frozenset({"apac", "au", "ca", "eu", "in", "jp", "us"})
"""Areas of Bedrock's inference profiles that the catalogue counts as "regional". Not here: "gov",
which is priced apart, and regions such as us-east-1."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What tells models apart."""

    words: frozenset[str]
    numbers: tuple[str, ...]
    """In order; "5.0" counts as "5"."""
    date: object
    revision: tuple[str, str] | None


def can_be(name: str, model_id: str, *, is_stated: bool) -> bool:
    """Whether a folded name can be the model of a folded id.

    `is_stated` says that the catalogue spells the name out, rather than a part of it: then the
    name may say less than the id, as aliases do.
    """
    if is_stated:
        name, model_id = name.rpartition("/")[2], model_id.rpartition("/")[2]
    if tuned := _FINE_TUNED.match(name):
        name = tuned[1]
    if stable := _STABLE_GEMINI.match(name):
        name = stable[1]
    own = _parts(model_id)
    if own.revision == _FIRST_REVISION:
        name = name.removesuffix("-v1")  # What Bedrock's newer ids end in.
    named = _parts(name)
    if named.revision is not None and named.revision != (own.revision or _FIRST_REVISION):
        return False
    if named.date is not None and own.date is not None and named.date != own.date:
        return False
    is_alias = is_stated and not named.numbers and named.date is None
    if named.numbers != own.numbers and not is_alias:
        return False
    exceeds, lacks = named.words - own.words, own.words - named.words
    allowed = _REGIONS | _VENDORS if _REGIONAL in own.words else frozenset()
    if is_stated:
        return exceeds <= allowed | _STATED_WORDS
    return exceeds <= allowed and lacks <= _VENDORS | {_REGIONAL, "latest"}


def _parts(text: str) -> _Parts:
    revision = None
    if found := _REVISION.search(text):
        text, revision = text[: found.start()], (found[1], found[2])
    date: object = None
    if full := dated(text):
        text, date = full
    elif short := _SHORT_DATE.search(text):
        text, date = text[: short.start()], short[1]
    parts = [part for part in _SEPARATORS.split(text) if part]
    numbers = [part for part in parts if part.isdecimal()]
    while numbers and not numbers[-1].strip("0"):
        numbers.pop()
    words = frozenset(part for part in parts if not part.isdecimal())
    return _Parts(words, tuple(numbers), date, revision)
