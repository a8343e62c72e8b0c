"""Whether the models of two sellers are the same, by what each seller states."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import product

from llmpricing.matching.spelling import fold
from pricing_server.costs.model_name import Date, ParsedName, read_name


class Identity(StrEnum):
    """How two models were found to be the same."""

    ASKED = "asked"
    HUGGING_FACE_ID = "hugging_face_id"
    CANONICAL_SLUG = "canonical_slug"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Offered:
    """A model as a seller lists it, with everything that identifies it."""

    provider: str
    model_id: str
    hugging_face_id: str | None = None
    canonical_slug: str | None = None
    alias_target: str | None = None
    delisted_at: datetime | None = None
    name: ParsedName = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", read_name(self.provider, self.model_id))

    @property
    def names(self) -> Iterator[ParsedName]:
        """Its own name, and that of its repository."""
        yield self.name
        if self.hugging_face_id is not None:
            yield read_name("", self.hugging_face_id)

    @property
    def stems(self) -> frozenset[str]:
        """The same model at another seller has one of these stems, too."""
        slug = () if self.canonical_slug is None else (read_name("", self.canonical_slug),)
        return frozenset(name.stem for name in (*self.names, *slug))


@dataclass(frozen=True, slots=True)
class Same:
    """Two models are the same; the lower the rank, the closer they are."""

    identity: Identity
    rank: int


class LeftOutReason(StrEnum):
    """Why a model is not compared."""

    UNKNOWN = "unknown"
    DELISTED = "delisted"
    SAME_SELLER = "same_seller"
    LESS_CLOSE = "less_close"
    AMBIGUOUS = "ambiguous"
    ALIAS = "alias"
    OTHER_REPOSITORY = "other_repository"
    SOLD_APART = "sold_apart"
    MOVING_NAME = "moving_name"
    UNCERTAIN_MAKER = "uncertain_maker"
    SNAPSHOT = "snapshot"
    USAGE = "usage"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Two models may be the same; `message` explains to people why that is uncertain."""

    reason: LeftOutReason
    message: str


@dataclass(frozen=True, slots=True)
class Namesakes:
    """What all sellers together state about one stem, which may mean several models."""

    makers: Collection[str] = ()
    """Known makers of models of this stem."""
    dates: Collection[Date] = ()
    """Dates that models of this stem are listed with."""
    repositories: Mapping[ParsedName, Collection[str]] = field(default_factory=dict)
    """By whole name (`called`), the makers' repositories that it stands for anywhere."""


def relation(
    one: Offered, other: Offered, namesakes: Mapping[str, Namesakes]
) -> Same | Doubt | None:
    """Whether two models are the same; None if nothing suggests that.

    Symmetric, apart from the words of a doubt. Each pair is judged alone, even if both are
    the same as a third model.

    - If both have a Hugging Face id, it decides: another repository is another model. An id
      that equals the other's Hugging Face id names the repository, too.
    - The same canonical slug, or a slug that equals the other's name, means the same model.
    - So does the same name, if nobody makes another model of that name.
    - What is sold apart (":free", "eu.", "-fp8") is another offer. An alias is not a model.
    """
    found = _evidence(one, other, namesakes)
    if not isinstance(found, Same):
        return found
    for each in (one, other):
        if each.alias_target is not None:
            message = f"{each.model_id} is an alias, of {each.alias_target} now"
            return Doubt(LeftOutReason.ALIAS, message)
    if one.name.offers != other.name.offers:
        return _sold_apart(one.name, other.name)
    return found


def _evidence(
    one: Offered, other: Offered, namesakes: Mapping[str, Namesakes]
) -> Same | Doubt | None:
    ids = (one.hugging_face_id, other.hugging_face_id)
    if ids[0] is not None and ids[1] is not None:
        if fold(ids[0]) == fold(ids[1]):
            return Same(Identity.HUGGING_FACE_ID, 0)
        if _is_alike(one.name, other.name):
            message = f"of the same name, but another repository: {ids[1]}, not {ids[0]}"
            return Doubt(LeftOutReason.OTHER_REPOSITORY, message)
        return None
    if _names_repository(one, other) or _names_repository(other, one):
        return Same(Identity.HUGGING_FACE_ID, 0)
    if _has_slug(one, other, namesakes) or _has_slug(other, one, namesakes):
        return Same(Identity.CANONICAL_SLUG, 1)
    doubts: list[Doubt] = []
    for name, another in product(one.names, other.names):
        found = _by_name(name, another, namesakes.get(name.stem, Namesakes()))
        if isinstance(found, Same):
            return found
        if found is not None:
            doubts.append(found)
    return doubts[0] if doubts else None


def _names_repository(one: Offered, other: Offered) -> bool:
    repository = other.hugging_face_id
    return repository is not None and fold(one.model_id) == fold(repository)


def _has_slug(one: Offered, other: Offered, namesakes: Mapping[str, Namesakes]) -> bool:
    slug = one.canonical_slug
    if slug is None:
        return False
    if other.canonical_slug is not None:
        return fold(slug) == fold(other.canonical_slug)
    named = read_name("", slug)
    found = _by_name(named, other.name, namesakes.get(named.stem, Namesakes()))
    return isinstance(found, Same) and named.date == other.name.date


def _is_alike(one: ParsedName, other: ParsedName) -> bool:
    return one.stem == other.stem


def _by_name(one: ParsedName, other: ParsedName, known: Namesakes) -> Same | Doubt | None:
    if not _is_alike(one, other):
        return None
    dates = {date for date in (one.date, other.date) if date is not None}
    if len(dates) == 2:
        return None
    if one.offers != other.offers:
        return _sold_apart(one, other)
    if one.is_moving or other.is_moving:
        message = "of the same name, which makers give to newer models"
        return Doubt(LeftOutReason.MOVING_NAME, message)
    if (doubt := _namespace_doubt(one, other, known)) is not None:
        return doubt
    repositories = {
        each for name in (one, other) for each in known.repositories.get(called(name), ())
    }
    if len(repositories) > 1:
        message = f"of the same name as several repositories: {', '.join(sorted(repositories))}"
        return Doubt(LeftOutReason.OTHER_REPOSITORY, message)
    if one.date == other.date:
        return Same(Identity.NAME, 2)
    if dates.issuperset(known.dates):
        return Same(Identity.NAME, 3)
    message = "one is a snapshot by date, of which the model has several"
    return Doubt(LeftOutReason.SNAPSHOT, message)


def _sold_apart(one: ParsedName, other: ParsedName) -> Doubt:
    apart = sorted(set(one.offers) ^ set(other.offers))
    message = f"sold apart as another offer: {', '.join(apart)}"
    return Doubt(LeftOutReason.SOLD_APART, message)


def _namespace_doubt(one: ParsedName, other: ParsedName, known: Namesakes) -> Doubt | None:
    if one.namespace == other.namespace and one.namespace:
        return None
    if one.namespace and other.namespace:
        message = f"of the same name under {other.namespace}/, not {one.namespace}/"
        return Doubt(LeftOutReason.UNCERTAIN_MAKER, message)
    named = one if one.namespace else other
    if named.namespace and not named.has_known_maker:
        message = f"of the same name under {named.namespace}/, which is no known maker"
        return Doubt(LeftOutReason.UNCERTAIN_MAKER, message)
    if len(known.makers) > 1:
        message = f"of a name that several makers use: {', '.join(sorted(known.makers))}"
        return Doubt(LeftOutReason.UNCERTAIN_MAKER, message)
    return None


def called(name: ParsedName) -> ParsedName:
    """The name without its maker."""
    return ParsedName(name.stem, "", name.date, name.offers, name.is_moving)
