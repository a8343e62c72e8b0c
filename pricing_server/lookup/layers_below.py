"""The layers that answer where the price table has no price: the price file, the catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from llmpricing.matching import ClauseIndex, Name, Standing
from pricing_server.domain.price import Layer, Price
from pricing_server.lookup.evaluated_price import EvaluatedPrice, evaluate
from pricing_server.lookup.layers.catalogue import Catalog
from pricing_server.lookup.layers.price_file import ManualPrices
from pricing_server.lookup.price_query import PriceQuery


class LayersBelow:
    """The operator's price file, if there is one, before the bundled catalogue."""

    def __init__(
        self, by_hand: ManualPrices | None, catalogue: Catalog, clock: Callable[[], datetime]
    ) -> None:
        self._by_hand = by_hand
        self._catalogue = catalogue
        self._clock = clock

    async def read(
        self, query: PriceQuery, sellers: Collection[str] | None
    ) -> EvaluatedPrice | None:
        """What the first accepted layer says of the id at each of some sellers, or at all."""
        if sellers is not None and not sellers:
            return None
        prices: Sequence[Price] = ()
        if Layer.MANUAL in query.layers and self._by_hand is not None:
            prices = _at(await self._by_hand.prices_of(query.model_id), sellers)
        stated = {price.provider for price in prices}
        is_complete = stated.issuperset(sellers) if sellers is not None else bool(stated)
        if not is_complete and Layer.CATALOG in query.layers:
            listed = await asyncio.to_thread(self._catalogue.prices_of, query.model_id)
            others = (price for price in _at(listed, sellers) if price.provider not in stated)
            prices = [*prices, *others]
        return evaluate(prices, query.seller, query.instant(self._clock())) if prices else None

    def sells(self, seller: str) -> bool:
        """Whether the price file names the seller (by slug)."""
        return self._by_hand is not None and self._by_hand.sells(seller)

    def names_by_hand(self) -> Sequence[Name]:
        """All names of the price file; the same object as long as it is the same file."""
        return self._by_hand.names() if self._by_hand is not None else ()

    async def names_by_hand_now(self) -> Sequence[Name]:
        """`names_by_hand` of the file as it is now."""
        return await self._by_hand.names_now() if self._by_hand is not None else ()

    def catalogue_standings(self) -> Mapping[Name, Standing]:
        """All names of the catalogue, and whether it has a price; slow when first asked."""
        return self._catalogue.standings()

    def clause_index(self) -> ClauseIndex:
        """By which names the catalogue knows its models; slow when first asked."""
        return self._catalogue.clause_index()


def _at(prices: Sequence[Price], sellers: Collection[str] | None) -> Sequence[Price]:
    if sellers is None:
        return prices
    return [price for price in prices if price.provider in sellers]
