"""All models that sellers list, indexed by what identifies them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from llmpricing.matching.spelling import fold
from pricing_server.costs.model_identity import (
    Doubt,
    Identity,
    LeftOutReason,
    Namesakes,
    Offered,
    Same,
    called,
    relation,
)
from pricing_server.costs.model_name import Date, ParsedName, read_name


@dataclass(frozen=True, slots=True)
class FamilyMember:
    """A seller's model that is the one asked for, and how that was found."""

    model: Offered
    identity: Identity


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A model that may be the one asked for, or a name; `message` says why for people."""

    provider: str
    """Empty for a name that led to no model."""
    model_id: str
    reason: LeftOutReason
    message: str


@dataclass(frozen=True, slots=True)
class Family:
    """A model, the same model at other sellers, and what may be the same."""

    found: Sequence[FamilyMember]
    """First the one asked for; at most one model of each other seller."""
    left_out: Sequence[LeftOut]


class Families:
    """Everything that is listed at one state of the price table. Immutable, for any thread."""

    __slots__ = ("_by_key", "_by_stem")

    def __init__(self, models: Iterable[Offered]) -> None:
        """If a model is given twice, the first one counts. Slow for many models."""
        self._by_key: dict[tuple[str, str], Offered] = {}
        self._by_stem: dict[str, list[Offered]] = {}
        for model in models:
            if self._by_key.setdefault((model.provider, model.model_id), model) is model:
                for stem in model.stems:
                    self._by_stem.setdefault(stem, []).append(model)

    def get(self, provider: str, model_id: str) -> Offered | None:
        """A model as its seller lists it."""
        return self._by_key.get((provider, model_id))

    def relation(self, one: Offered, other: Offered) -> Same | Doubt | None:
        """Whether two models are the same, considering everything that is listed."""
        stems = one.stems | other.stems
        return relation(one, other, {stem: self._namesakes(stem) for stem in stems})

    def of(self, asked: Offered, at: datetime) -> Family:
        """The model at everybody who sells it at an instant.

        A seller's closest model is taken: by repository, then slug, then name, then name
        without its date. If two are equally close, neither is taken. Similar models of the
        seller asked for change nothing.
        """
        namesakes = {stem: self._namesakes(stem) for stem in asked.stems}
        others = {
            (model.provider, model.model_id): model
            for stem in asked.stems
            for model in self._by_stem.get(stem, ())
        }
        others.pop((asked.provider, asked.model_id), None)
        same: dict[str, list[tuple[Same, Offered]]] = {}
        left_out: list[LeftOut] = []
        for model in others.values():
            found = relation(asked, model, namesakes)
            if isinstance(found, Doubt):
                left_out.append(_left_out(model, found.reason, found.message))
            elif found is not None:
                if model.delisted_at is not None and model.delisted_at <= at:
                    message = _delisted(model.delisted_at)
                    left_out.append(_left_out(model, LeftOutReason.DELISTED, message))
                elif model.provider == asked.provider:
                    message = f"{asked.model_id} of it was asked for"
                    left_out.append(_left_out(model, LeftOutReason.SAME_SELLER, message))
                else:
                    same.setdefault(model.provider, []).append((found, model))
        chosen = [FamilyMember(asked, Identity.ASKED)]
        for each in same.values():
            closest = min(found.rank for found, _ in each)
            best = [(found, model) for found, model in each if found.rank == closest]
            others_of_it = [model for found, model in each if found.rank != closest]
            if len(best) == 1:
                [(found, model)] = best
                chosen.append(FamilyMember(model, found.identity))
                message = f"{model.model_id} is closer"
                left_out += (
                    _left_out(it, LeftOutReason.LESS_CLOSE, message) for it in others_of_it
                )
            else:
                names = ", ".join(sorted(model.model_id for _, model in best))
                message = f"the seller has several that may be it: {names}"
                left_out += (
                    _left_out(model, LeftOutReason.AMBIGUOUS, message) for _, model in each
                )
        return Family(chosen, sorted(left_out, key=lambda each: (each.provider, each.model_id)))

    def _namesakes(self, stem: str) -> Namesakes:
        """What the models with a stem say about it."""
        makers: set[str] = set()
        dates: set[Date] = set()
        repositories: dict[ParsedName, set[str]] = {}
        for model in self._by_stem.get(stem, ()):
            names = [name for name in model.names if name.stem == stem]
            if not model.name.offers:
                makers.update(name.namespace for name in names if name.has_known_maker)
            if model.name.stem == stem and model.name.date is not None:
                dates.add(model.name.date)
            repository = model.hugging_face_id
            if repository is not None and read_name("", repository).has_known_maker:
                for name in names:
                    if name.has_known_maker or not name.namespace:
                        repositories.setdefault(called(name), set()).add(fold(repository))
        return Namesakes(makers, dates, repositories)


def _left_out(model: Offered, reason: LeftOutReason, message: str) -> LeftOut:
    return LeftOut(model.provider, model.model_id, reason, message)


def _delisted(at: datetime) -> str:
    return f"no longer listed by its seller since {at:%Y-%m-%d}"
