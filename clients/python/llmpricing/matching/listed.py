"""The models that sellers list, findable by their ids in several spellings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from llmpricing.matching.outcome import Name, Standing
from llmpricing.matching.spelling import dated_parts, fold, has_revision, punctuation_key

Order: TypeAlias = Callable[[str, str], Any]
"""Sort key of (provider, model id): of the sellers of a name with equal standing the one with
the smallest answers.
It orders by seller before anything else but what all models of a group of sellers have."""

Standings: TypeAlias = Mapping[Name, Standing]


class ListedModels:
    """Every (provider, model id) that is listed at one state of the price table. Immutable."""

    __slots__ = (
        "_by_fold",
        "_by_key",
        "_dated_at",
        "_dates",
        "_order",
        "_sellers",
        "_standings",
        "_without_price",
        "revising",
        "sellers",
    )

    sellers: Final[frozenset[str]]
    revising: Final[frozenset[str]]
    """Sellers with revisions in their ids ("-v1:0")."""

    def __init__(self, names: Iterable[Name], order: Order, standings: Standings) -> None:
        """`standings` of all names but those that are priced."""
        by_id: dict[str, list[str]] = {}
        for provider, model_id in names:
            by_id.setdefault(model_id, []).append(provider)
        self._order = order
        self._standings = standings
        # Most ids have one seller: one tuple for all ids of the same sellers saves a third of
        # the memory.
        shared: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._sellers: dict[str, tuple[str, ...]] = {}
        by_fold: dict[str, tuple[str, ...]] = {}
        by_key: dict[str, tuple[str, ...]] = {}
        dated_at: dict[str, set[str]] = {}
        dates: set[tuple[str, tuple[str, str, str]]] = set()
        revising: set[str] = set()
        without_price: set[str] = set()
        for model_id, providers in by_id.items():
            if len(providers) == 1:
                sellers: tuple[str, ...] = (providers[0],)
            else:
                names_of_it = ((each, model_id) for each in set(providers))
                sellers = tuple(provider for provider, _ in sorted(names_of_it, key=self._place))
            self._sellers[model_id] = shared.setdefault(sellers, sellers)
            if not self.standing((sellers[0], model_id)).has_price:
                without_price.add(model_id)
            # An id that is spelled like its own key needs no entry.
            folded = fold(model_id)
            if folded != model_id:
                by_fold[folded] = (*by_fold.get(folded, ()), model_id)
            key = punctuation_key(folded)
            if key != folded:
                by_key[key] = (*by_key.get(key, ()), model_id)
            if has_revision(folded):
                revising.update(sellers)
            if (parts := dated_parts(key)) is not None:
                dated_at.setdefault(parts[0], set()).update(sellers)
                dates.add((parts[0].rpartition("/")[2], parts[1]))
        self._by_fold = by_fold
        self._by_key = by_key
        self._dated_at = {base: frozenset(each) for base, each in dated_at.items()}
        self.revising = frozenset(revising)
        self._dates = frozenset(dates)
        self._without_price = frozenset(without_price)
        self.sellers = frozenset(shared_seller for each in shared for shared_seller in each)

    def __contains__(self, name: Name) -> bool:
        provider, model_id = name
        return provider in self._sellers.get(model_id, ())

    def with_id(self, model_id: str) -> tuple[str, ...]:
        """The sellers of exactly this id, the one that answers first."""
        return self._sellers.get(model_id, ())

    def has_price(self, model_id: str) -> bool:
        """Whether the seller that answers for exactly this listed id has a price."""
        return model_id not in self._without_price

    def standing(self, name: Name) -> Standing:
        """What a listing is worth."""
        return self._standings.get(name, Standing.PRICED)

    def spelled_like(self, folded: str) -> Iterator[Name]:
        """Models whose folded id is this."""
        for model_id in self._ids(folded):
            for provider in self._sellers[model_id]:
                yield provider, model_id

    def keyed(self, key: str) -> Iterator[Name]:
        """Models whose id has this punctuation key."""
        yield from self.spelled_like(key)
        for model_id in self._by_key.get(key, ()):
            for provider in self._sellers[model_id]:
                yield provider, model_id

    def has_dates(self, provider: str, key: str) -> bool:
        """Whether the seller lists an id that is this punctuation key and a date."""
        return provider in self._dated_at.get(key, ())

    def has_dated(self, key: str) -> bool:
        """Whether anybody lists the dated id with this punctuation key, in whatever writing of
        the date and with whatever namespace in front ("openai/")."""
        parts = dated_parts(key)
        return parts is not None and (parts[0].rpartition("/")[2], parts[1]) in self._dates

    def in_order(self, found: Iterable[Name]) -> tuple[Name, ...]:
        """The models in the order in which their sellers answer, each once."""
        unique = dict.fromkeys(found)
        if len(unique) < 2:
            return tuple(unique)
        return tuple(sorted(unique, key=self._place))

    def _place(self, name: Name) -> tuple[int, Any, Name]:
        return self.standing(name), self._order(*name), name

    def _ids(self, folded: str) -> tuple[str, ...]:
        spelled = self._by_fold.get(folded, ())
        return (folded, *spelled) if folded in self._sellers else spelled
