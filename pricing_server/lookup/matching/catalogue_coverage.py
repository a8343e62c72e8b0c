"""Which ids the bundled catalogue states without listing them."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Final

from llmpricing.matching import MatchRule, ModelIndex, Name, NoMatch
from llmpricing.matching.spelling import fold
from pricing_server.domain.quote import Covered
from pricing_server.lookup.layers.catalogue import Catalog
from pricing_server.lookup.matching.model_index import model_index

REMEMBERED: Final = 65_536
"""Ids. What is known of one is the same for as long as the catalogue is."""

_STATED: Final = frozenset({MatchRule.ALIAS, MatchRule.CATALOGUE_CLAUSE})
"""Rules that are the catalogue's own word. The table of other names counts as that: what it says
of a seller, a row of the catalogue says as well."""


class CatalogueCoverage:
    """How the catalogue states ids that it does not list, by its own names and clauses alone.

    What others list changes nothing in what the catalogue covers. Safe in any thread, and slow
    when it is first asked.
    """

    def __init__(self, source: str, catalog: Catalog) -> None:
        self._source = source
        self._catalog = catalog
        self._index: _Index | None = None
        self._loading = threading.Lock()
        self._found = lru_cache(REMEMBERED)(self._find)

    def covered(self, provider: str, model_id: str) -> Covered | None:
        """How the catalogue states the id; None if it lists it, or states nothing of it."""
        with self._loading:
            if self._index is None:
                self._index = _Index(self._catalog)
        if provider not in self._index.sellers or (provider, model_id) in self._index.names:
            return None
        return self._found(self._index, provider, model_id)

    def _find(self, index: _Index, provider: str, model_id: str) -> Covered | None:
        match = index.models.match(model_id, provider)
        if isinstance(match, NoMatch):
            return None
        is_stated = match.rule in _STATED or index.is_given(
            (match.provider, match.model_id), model_id
        )
        return Covered(self._source, match.model_id, is_inferred=not is_stated)


class _Index:
    """The catalogue's names, and the rules that lead to them."""

    def __init__(self, catalog: Catalog) -> None:
        # Not by its prices: to read all of them takes ten times as long.
        self.names = frozenset((each.provider, each.model_id) for each in catalog.clauses())
        self.sellers = frozenset(seller for seller, _ in self.names)
        self._clauses = catalog.clause_index()
        self.models: ModelIndex = model_index(self.names, self._clauses)

    def is_given(self, covering: Name, model_id: str) -> bool:
        """Whether a clause gives the id to the model that another rule led to as well."""
        said = self._clauses.find(fold(model_id), covering[0], self.names.__contains__)
        return said.accepted == (covering,)
