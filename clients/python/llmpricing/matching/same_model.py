"""Whether a name that a catalogue counts as a model can be that model.

A catalogue's clause says what a name costs, often by its beginning alone: "gemini-1.5-flash..." is
also how gemini-1.5-flash-8b begins, at half the price. So whatever distinguishes models has to be
the same in the name and in the id; and what neither of them explains is a different model.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from llmpricing.matching.area import REGIONAL, without_area
from llmpricing.matching.own_price import is_priced_apart
from llmpricing.matching.spelling import dated

_SEPARATORS: Final = re.compile(r"[-_./:@]+")
# ft:<model>:<organisation>:<suffix, perhaps empty>:<id>, and perhaps a checkpoint.
_FINE_TUNED: Final = re.compile(r"(ft:[^:]+):[^:]+:[^:]*:[^:]+(?::[^:]+)?\Z")
_STABLE_GEMINI: Final = re.compile(r"(gemini-.+)-00[1-9]\Z")
_REVISION: Final = re.compile(r"-v([0-9]{1,2}):([0-9]{1,2})\Z")
_FIRST_REVISION: Final = ("1", "0")
# Of Mistral and others (MMDD, YYMM), Cohere (MM-YYYY), Qwen at OpenRouter (MM-DD).
_SHORT_DATE: Final = re.compile(
    r"-((?:0[1-9]|1[0-2])-?(?:0[1-9]|[12][0-9]|3[01])"
    r"|2[2-9](?:0[1-9]|1[0-2])"
    r"|(?:0[1-9]|1[0-2])-20[2-3][0-9])\Z"
)

_VENDORS: Final = frozenset({"amazon", "anthropic", "moonshotai", "openai", "zai"})

_MAY_EXCEED: Final = frozenset({"beta", "open", "system", "ai"})
"""Words that a name which the catalogue spells out may have beside those of the id: xAI's former
names, Mistral's of open models, the namespace of Databricks. Not "latest": such a name moves to
the next model, at its price, before the catalogue says so."""

_MAY_LACK: Final = _VENDORS | {"latest"}
"""Words of an id that its names may do without."""

_KINDS: Final = frozenset(
    {
        *("audio", "chat", "code", "codex", "embed", "embedding", "exp", "extended", "fast"),
        *("flash", "free", "high", "highspeed", "image", "large", "lite", "live", "low", "max"),
        *("medium", "micro", "mini", "nano", "preview", "pro", "realtime", "search", "small"),
        *("thinking", "tts", "turbo", "ultra", "ultrafast", "vision", "fp8"),
    }
)
"""Words that make another model of one: not even an alias that the catalogue spells out may do
without them."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What distinguishes models."""

    words: Counter[str]
    numbers: tuple[str, ...]
    """In order; "5.0" counts as "5"."""
    date: object
    revision: tuple[str, str] | None


def can_be(name: str, model_id: str, *, is_stated: bool) -> bool:
    """Whether a folded name can be the model of a folded id.

    `is_stated` says that the catalogue spells the name out, rather than a part of it: then the
    name may have fewer words than the id, as aliases do, and a short date.
    """
    if is_priced_apart(name) and not is_priced_apart(model_id):
        return False
    if is_stated:
        name, model_id = name.rpartition("/")[2], model_id.rpartition("/")[2]
    takes_short_date = is_stated
    if tuned := _FINE_TUNED.match(name):
        name, takes_short_date = tuned[1], True
    if stable := _STABLE_GEMINI.match(name):
        name = stable[1]
    if model_id.startswith(REGIONAL):
        model_id, name = model_id.removeprefix(REGIONAL), without_area(name)
    own = _parts(model_id, takes_short_date)
    if own.revision == _FIRST_REVISION:
        name = name.removesuffix("-v1")  # What Bedrock's newer ids end in.
    named = _parts(name, takes_short_date)
    if named.revision is not None:
        # Bedrock's ids, which have their vendor in front, may leave the first revision out.
        implied = _FIRST_REVISION if own.words.keys() & _VENDORS else None
        if named.revision != (own.revision or implied):
            return False
    if named.date is not None and own.date is not None and named.date != own.date:
        return False
    if named.numbers != own.numbers:
        return False
    exceeds, lacks = named.words - own.words, own.words - named.words
    if is_stated:
        return exceeds.keys() <= _MAY_EXCEED and not lacks.keys() & _KINDS
    return not exceeds and lacks.keys() <= _MAY_LACK


def _parts(text: str, takes_short_date: bool) -> _Parts:
    revision = None
    if found := _REVISION.search(text):
        text, revision = text[: found.start()], (found[1], found[2])
    date: object = None
    if full := dated(text):
        text, date = full
    elif takes_short_date and (short := _SHORT_DATE.search(text)):
        text, date = text[: short.start()], short[1]
    parts = [part for part in _SEPARATORS.split(text) if part]
    numbers = [part for part in parts if part.isdecimal()]
    while numbers and not numbers[-1].strip("0"):
        numbers.pop()
    words = Counter(part for part in parts if not part.isdecimal())
    return _Parts(words, tuple(numbers), date, revision)
