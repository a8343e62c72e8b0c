"""The error for a name that no layer knows, with names that look like it."""

from __future__ import annotations

import asyncio

from pricing_server.domain.errors import DatabaseUnavailable, ModelNotFound, ProviderNotFound
from pricing_server.domain.head import Head
from pricing_server.lookup.layers_below import LayersBelow
from pricing_server.lookup.name_index import NameIndex
from pricing_server.lookup.price_query import PriceQuery
from pricing_server.lookup.price_table import PriceTable, UnknownName


class UnknownNames:
    """Compares names that nobody knows with those that somebody does."""

    def __init__(self, table: PriceTable, below: LayersBelow) -> None:
        self._table = table
        self._below = below

    async def error_of(
        self, query: PriceQuery, missed_at: Head | None
    ) -> ModelNotFound | ProviderNotFound:
        """Why there is no price. `missed_at` is the state at which the price table did not list
        the name; None if it was not asked for it."""
        unknown = self._table.unknown(query.name)
        if unknown is None:
            unknown = await self._compared(query, missed_at)
        seller = query.seller
        is_known = unknown.is_known_provider or (seller is not None and self._below.sells(seller))
        if query.provider is not None and not is_known:
            return ProviderNotFound(query.provider, unknown.near_providers)
        return ModelNotFound(query.model_id, query.provider, unknown.near_models)

    async def _compared(self, query: PriceQuery, missed_at: Head | None) -> UnknownName:
        try:
            names = await self._table.names()
        except DatabaseUnavailable:
            names = await asyncio.to_thread(lambda: NameIndex(self._below.catalogue_standings()))
            missed_at = None  # Not all names: nothing to remember.
        seller, model_id = query.name
        unknown = UnknownName(
            is_known_provider=seller is None or seller in names.providers,
            near_models=names.near_models(model_id, seller),
            near_providers=names.near_providers(seller) if seller else (),
        )
        if missed_at is not None:
            # Only what the price table was asked for, and at the state it was asked at.
            self._table.remember_unknown(query.name, unknown, missed_at)
        return unknown
