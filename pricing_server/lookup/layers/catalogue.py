"""The bundled catalogue as a layer of its own, for when the price table cannot answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from llmpricing.matching import ClauseIndex, Name, Standing
from llmpricing.matching.clause import ModelClause
from llmpricing.rate_card import PriceState
from pricing_server.domain.price import Layer, Price
from pricing_server.domain.source import Release, Source


class Catalog:
    """A bundled catalogue in memory, loaded once, when it is first asked. For any thread."""

    def __init__(
        self, source: Source, clauses: Callable[[object], Iterable[ModelClause]] | None = None
    ) -> None:
        """`clauses` reads from the source's document by which names it knows its models."""
        self._source = source
        self._clauses = clauses
        self._by_model_id: dict[str, list[Price]] | None = None
        self._clause_index: ClauseIndex | None = None
        self._loading = threading.Lock()

    def prices_of(self, model_id: str) -> Sequence[Price]:
        """The prices of exactly this id at all sellers."""
        return self._prices().get(model_id, ())

    def standings(self) -> Mapping[Name, Standing]:
        """Every model, and whether it has a price."""
        return {
            (price.provider, price.model_id): Standing.UNPRICED
            if price.card.state is PriceState.UNPRICED
            else Standing.PRICED
            for prices in self._prices().values()
            for price in prices
        }

    def clauses(self) -> Iterable[ModelClause]:
        """By which names the catalogue knows its models."""
        return self._clauses(self._release().load()) if self._clauses is not None else ()

    def clause_index(self) -> ClauseIndex:
        """The clauses, arranged for looking up names; made once."""
        with self._loading:
            if self._clause_index is None:
                self._clause_index = ClauseIndex(self.clauses())
            return self._clause_index

    def _prices(self) -> dict[str, list[Price]]:
        with self._loading:
            if self._by_model_id is None:
                self._by_model_id = self._load()
            return self._by_model_id

    def _load(self) -> dict[str, list[Price]]:
        release = self._release()
        listing = self._source.read(release.load(), release.released_at)
        by_model_id: dict[str, list[Price]] = {}
        for model in listing.models:
            by_model_id.setdefault(model.model_id, []).append(
                Price(
                    provider=model.provider,
                    model_id=model.model_id,
                    card=model.card,
                    layer=Layer.CATALOG,
                    source=self._source.slug,
                    obtained_at=listing.obtained_at,
                    effective_time=listing.obtained_at,
                    context_length=model.context_length,
                )
            )
        return by_model_id

    def _release(self) -> Release:
        assert self._source.release is not None, "a catalogue layer has a release"
        return self._source.release
