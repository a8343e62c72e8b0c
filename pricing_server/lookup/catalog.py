"""The bundled catalogue as a layer of its own, for when the price table cannot answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from pricing_server.lookup.price import Layer, Price
from pricing_server.providers.source import Source


class Catalog:
    """A bundled catalogue in memory, loaded once, when it is first asked. For any thread."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._by_model_id: dict[str, list[Price]] | None = None
        self._loading = threading.Lock()

    def find(self, model_id: str, provider: str | None) -> Sequence[Price]:
        """The prices of exactly this id, at one seller or at all of them."""
        return [
            price
            for price in self._prices().get(model_id, ())
            if provider is None or price.provider == provider
        ]

    def names(self) -> Sequence[tuple[str, str]]:
        """(provider, model id) of every model."""
        return [
            (price.provider, price.model_id)
            for prices in self._prices().values()
            for price in prices
        ]

    def _prices(self) -> dict[str, list[Price]]:
        with self._loading:
            if self._by_model_id is None:
                self._by_model_id = self._load()
            return self._by_model_id

    def _load(self) -> dict[str, list[Price]]:
        release = self._source.release
        assert release is not None, "a catalogue layer has a release"
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
