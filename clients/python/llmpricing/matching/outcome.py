"""What matching answers: by which rule a name led to a model, or what it nearly led to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TypeAlias

Name: TypeAlias = tuple[str, str]
"""(provider, model id): a model as a seller lists it."""


class Standing(IntEnum):
    """What a seller's listing of a model is worth. The seller with the smallest answers."""

    PRICED = 0
    UNPRICED = 1
    """The seller lists the model without a price."""
    DELISTED = 2
    """The seller lists the model no longer; its last price is known."""
    DELISTED_UNPRICED = 3

    @property
    def has_price(self) -> bool:
        """Whether a price is known: free and dynamic count."""
        return self in (Standing.PRICED, Standing.DELISTED)

    @property
    def with_price(self) -> Standing:
        """The standing of the same listing where a price is known besides."""
        return Standing.DELISTED if self >= Standing.DELISTED else Standing.PRICED


class MatchRule(StrEnum):
    """The rules by which a name leads to a model, in the order in which they are tried.

    None leads to a different model. A match by several of them (a seller's prefix, and a version
    suffix of the rest) carries the last of these in this order.
    """

    EXACT = "exact"
    """The provider's own id."""
    EXACT_AT_MAKER = "exact_at_maker"
    """No provider was given; the model's maker lists exactly this id."""
    EXACT_AT_SELLER = "exact_at_seller"
    """No provider was given and no maker has a price for this id; the first other seller."""
    CASE = "case"
    """An id that differs in the case of ASCII letters alone."""
    ALIAS = "alias"
    """Another name of one and the same model at its seller, from a table kept by hand."""
    SELLER_PREFIX = "seller_prefix"
    """The name begins with a seller; the rest is one of its ids by a rule above."""
    VERSION_SUFFIX = "version_suffix"
    """An id without the date or revision that the name ends in, or with it in another writing."""
    CATALOGUE_CLAUSE = "catalogue_clause"
    """The bundled catalogue says that the name is this model."""
    PUNCTUATION = "punctuation"
    """An id that has a dot between two numbers where the name has a dash, or the reverse."""


@dataclass(frozen=True, slots=True)
class Match:
    """The model that a name leads to."""

    provider: str
    model_id: str
    rule: MatchRule
    unpriced: Match | None = None
    """What an earlier rule found, without a price: it answers if this has none either."""


@dataclass(frozen=True, slots=True)
class NoMatch:
    """No rule led to one model."""

    suggestions: tuple[Name, ...] = ()
    """What rules found and did not take: several models at once, or one that may differ."""


class Outcome(StrEnum):
    """What became of what a rule found."""

    NOTHING = "nothing"
    """It found nothing."""
    MATCHED = "matched"
    AMBIGUOUS = "ambiguous"
    """Several models at one seller: the name matches none, by later rules either."""
    REFUSED = "refused"
    """The model found may be a different one: the next rule is tried."""
    UNPRICED = "unpriced"
    """No seller of what it found has a price, or none that still lists it where an earlier rule
    found one that does: the next rule is tried. If none finds a price, what was found first is
    the match."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One rule that was tried, and what it found."""

    rule: MatchRule
    outcome: Outcome
    found: tuple[Name, ...] = ()
    """Best first: at `MATCHED` the first is the match, and the others are who else has it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a name was matched: the rules in order, up to the one that decided."""

    tried: tuple[Tried, ...]
    result: Match | NoMatch
