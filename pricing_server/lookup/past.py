"""What the price table had, or knew, at another time. Nothing of it is cached."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from pricing_server.domain.head import Head
from pricing_server.domain.price import Layer, Name, Price, When
from pricing_server.lookup.evaluated_price import EvaluatedPrice, evaluate
from pricing_server.lookup.layers.cross_reference import referring
from pricing_server.lookup.price_reader import PriceReader
from pricing_server.lookup.snapshot import TableRead, TableSnapshot


class PastPrices:
    """The history of the price table. Every method raises DatabaseUnavailable."""

    def __init__(self, reader: PriceReader) -> None:
        self._reader: Final = reader

    async def known(self, name: Name, when: When, snapshot: TableSnapshot | None) -> TableRead:
        """The price of a name by what was known at `when.known_at`."""
        head, prices = await self._prices(name, when, None, snapshot)
        return TableRead(head, evaluate(prices, name[0], when.as_of) if prices else None)

    async def at(
        self, read: TableRead, when: When, snapshot: TableSnapshot | None = None
    ) -> TableRead:
        """What was read to be in effect now as it was, or will be, at `when.as_of`."""
        if read.price is None:
            return read
        price, head = read.price.price, read.head
        prices: Sequence[Price] = [price.at(when.as_of)]
        name = _name_in_history(read.price, when)
        if name is not None:
            head, prices = await self._prices(name, when, head.revision, snapshot)
            if price.referred is not None:
                prices = [referring(price, reference) for reference in prices]
        evaluated = evaluate(prices, price.provider, when.as_of) if prices else None
        if evaluated is not None:
            evaluated = replace(
                evaluated, rule=read.price.rule, without_price=read.price.without_price
            )
        return replace(read, head=head, price=evaluated)

    async def extend(
        self, snapshot: TableSnapshot, asked: Iterable[tuple[Name, When]]
    ) -> TableSnapshot:
        """The snapshot with what it lacks of other times, all as its own revision knew it."""
        wanted: dict[tuple[Name, When], None] = {}
        for (seller, model_id), when in asked:
            name: Name | None = (seller, model_id)
            if when.known_at is None:
                now = snapshot.prices[Layer.DATABASE, seller, model_id]
                name = _name_in_history(now, when) if now is not None else None
            if name is not None:
                wanted[name, when] = None
        if not wanted:
            return snapshot
        found = await self._reader.find_at(list(wanted), snapshot.head.revision)
        return replace(snapshot, past=dict(zip(wanted, found, strict=True)))

    async def in_history(
        self, provider: str, model_id: str, at: datetime, revision: int
    ) -> tuple[Head, Price | None]:
        """See `Lookup.in_history`."""
        head, prices = await self._prices((provider, model_id), When(at), revision, None)
        return head, prices[0] if prices else None

    async def _prices(
        self, name: Name, when: When, revision: int | None, snapshot: TableSnapshot | None
    ) -> tuple[Head, Sequence[Price]]:
        if snapshot is not None and (name, when) in snapshot.past:
            return snapshot.past[name, when]
        [found] = await self._reader.find_at([(name, when)], revision)
        return found


def _name_in_history(evaluated: EvaluatedPrice, when: When) -> Name | None:
    """Whose history has the price of an instant; None if the price itself does."""
    price = evaluated.price
    if price.effective_time <= when.as_of:
        return None
    return price.referred or (price.provider, price.model_id)
