"""How names are compared that are written in different ways."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_ASCII_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}

# Both numbers have at most two digits, and the second is a whole word: "4-6", "3.5-turbo"; not a
# size ("3-8b" is no 3.8b), a context ("4-32k"), a year ("2024-08") or a date ("4-0613").
_BETWEEN_NUMBERS: Final = re.compile(r"(?<![0-9])([0-9]{1,2})\.(?=[0-9]{1,2}(?![0-9a-z]))")

_TAG: Final = re.compile(r"(?::latest|@default)\Z")
_REVISION: Final = re.compile(r"-v([0-9]{1,2})(:[0-9]{1,2})\Z")
_DATE: Final = re.compile(r"[-@](20[2-3][0-9])(-?)(0[1-9]|1[0-2])\2(0[1-9]|[12][0-9]|3[01])\Z")


def fold(text: str) -> str:
    """The text with ASCII letters in lower case; all else stays, so that no look-alike of
    another alphabet becomes a Latin letter."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


def punctuation_key(folded: str) -> str:
    """A folded name with a dash for each dot that stands between the numbers of a version."""
    return _BETWEEN_NUMBERS.sub(r"\1-", folded) if "." in folded else folded


@dataclass(frozen=True, slots=True)
class Shortened:
    """A name without (part of) what names its version."""

    text: str
    drops_date: bool = False
    """Whether it names no date any more: what was dropped may have had a price of its own."""
    drops_revision: bool = False
    """Whether a revision was dropped: only sellers who write them mean the model without."""


def dated(text: str) -> tuple[str, tuple[str, str, str]] | None:
    """What precedes a full date at the end of a name, and the date; None if it ends in none."""
    found = _DATE.search(text)
    if found is None or found.start() == 0:
        return None
    return text[: found.start()], (found[1], found[3], found[4])


def dated_parts(folded: str) -> tuple[str, tuple[str, str, str]] | None:
    """As `dated`, of an id that may have a revision behind the date."""
    if revision := _REVISION.search(folded):
        folded = folded[: revision.start()]
    return dated(folded)


def date_writings(text: str) -> tuple[str, ...]:
    """The other ways to write the full date at the end of a name: -20250929, -2025-09-29, or
    @20250929; none if it does not end in a date."""
    parts = dated(text)
    if parts is None:
        return ()
    base, (year, month, day) = parts
    writings = (
        f"{base}-{year}{month}{day}",
        f"{base}-{year}-{month}-{day}",
        f"{base}@{year}{month}{day}",
    )
    return tuple(writing for writing in writings if writing != text)


def shortened(text: str) -> Iterator[Shortened]:
    """A folded name without its version, less of it each time.

    Dropped are, in this order: the tag that stands for the version by default (":latest",
    "@default"); Bedrock's first revision ("-v1:0", of any "-v2:0" only what follows the colon,
    since "-v2" is another model there); a date in full. Short dates ("-0613", "-2507"),
    "-latest", "-002" and the like name models of their own.
    """
    if (tag := _TAG.search(text)) and tag.start():
        text = text[: tag.start()]
        yield Shortened(text)
    yield from (Shortened(writing) for writing in date_writings(text))
    is_revised = False
    if (revision := _REVISION.search(text)) and revision.start():
        if revision[2] != ":0":
            return
        yield Shortened(text[: revision.start(2)], drops_revision=True)
        if revision[1] != "1":
            return
        text, is_revised = text[: revision.start()], True
        for short in (text, *date_writings(text)):
            yield Shortened(short, drops_revision=True)
    if parts := dated(text):
        yield Shortened(parts[0], drops_date=True, drops_revision=is_revised)


def has_revision(folded: str) -> bool:
    """Whether an id ends in a revision as Bedrock writes it: "-v1:0"."""
    return _REVISION.search(folded) is not None
