"""Look-ups in the price table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from llmpricing.matching import Standing
from llmpricing.rate_card import UNPRICED, RateCard
from pricing_server.domain.disagreement import Disagreement
from pricing_server.domain.head import Head
from pricing_server.domain.held_change import HoldReason, PendingChange
from pricing_server.domain.override import OVERRIDE
from pricing_server.domain.price import Layer, Name, Price, When
from pricing_server.postgres.connection import (
    Connection,
    Pool,
    Row,
    card_of,
    only,
    translated_errors,
)
from pricing_server.postgres.statements import statements
from pricing_server.runtime.breaker import Breaker, quick_read

_SQL = statements("lookup")
_STANDINGS: Final = {
    (True, True): Standing.PRICED,
    (True, False): Standing.UNPRICED,
    (False, True): Standing.DELISTED,
    (False, False): Standing.DELISTED_UNPRICED,
}
"""By whether the seller still lists the model, and whether a price is known."""


class PostgresPriceReader:
    """See `pricing_server.lookup.price_reader.PriceReader`. For all who read behind one breaker."""

    def __init__(self, pool: Pool, breaker: Breaker) -> None:
        self._pool = pool
        self.breaker = breaker

    @quick_read
    async def find(self, model_id: str, provider: str | None) -> tuple[Head, Sequence[Price]]:
        """The prices of exactly this id, at one seller or at all, and the head they hold at."""
        with translated_errors():
            async with self._pool.connection() as connection:
                head, [prices] = await _find(connection, [(provider, model_id)])
        return head, prices

    @quick_read
    async def find_many(
        self,
        names: Sequence[Name],
        reference_provider: str,
        needs_reference: Callable[[Sequence[Price]], Price | None],
    ) -> tuple[Head, Sequence[Sequence[Price]], Mapping[Name, Sequence[Price]]]:
        """The prices of names, and what may stand in for those without; at one head."""
        references: Mapping[Name, Sequence[Price]] = {}
        with translated_errors():
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                head, found = await _find(connection, names)
                asked = [price for prices in found if (price := needs_reference(prices))]
                if asked:
                    wanted = list({(price.provider, price.model_id): None for price in asked})
                    _, references = await _find_references(connection, wanted, reference_provider)
        return head, found, references

    @quick_read
    async def find_at(
        self, asked: Sequence[tuple[Name, When]], revision: int | None = None
    ) -> Sequence[tuple[Head, Sequence[Price]]]:
        """The prices of other times, each with the last revision that was known then."""
        values = {
            **_arrays([name for name, _ in asked]),
            "as_of": [when.as_of for _, when in asked],
            "known_at": [when.known_at for _, when in asked],
            "revision": revision,
        }
        with translated_errors():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_SQL["find_pricing_at"], values)
                rows = await cursor.fetchall()
        heads: dict[int, Head] = {}
        found: list[list[Price]] = [[] for _ in asked]
        for row in rows:
            position = row["position"] - 1
            heads[position] = Head(row["head_revision"], row["head_epoch"])
            if row["provider"] is not None:
                found[position].append(price_of(row))
        return [(heads[position], prices) for position, prices in enumerate(found)]

    @quick_read
    async def head(self) -> Head:
        """The state of the whole price table."""
        return await head_of(self._pool)

    @quick_read
    async def names(self) -> Mapping[tuple[str, str], Standing]:
        """(provider, model id) of every model, and what its listing is worth."""
        with translated_errors():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_SQL["list_names"])
                return {
                    (row["provider"], row["model_id"]): _STANDINGS[
                        row["is_listed"], row["has_price"]
                    ]
                    async for row in cursor
                }

    @quick_read
    async def find_references(
        self, model_id: str, provider: str, reference_provider: str
    ) -> tuple[Head, Price | None, Sequence[Price]]:
        """A seller's model, and those of another seller that may be the same; with the head."""
        name = (provider, model_id)
        with translated_errors():
            async with self._pool.connection() as connection:
                head, found = await _find_references(connection, [name], reference_provider)
        prices = list(found.get(name, ()))
        asked = next((price for price in prices if (price.provider, price.model_id) == name), None)
        return head, asked, [price for price in prices if price is not asked]


async def _find(
    connection: Connection, names: Sequence[Name]
) -> tuple[Head, Sequence[Sequence[Price]]]:
    cursor = await connection.execute(_SQL["find_pricing"], _arrays(names))
    rows = await cursor.fetchall()
    found: list[list[Price]] = [[] for _ in names]
    for row in rows:
        if row["provider"] is not None:
            found[row["position"] - 1].append(price_of(row))
    return Head(rows[0]["head_revision"], rows[0]["head_epoch"]), found


async def _find_references(
    connection: Connection, names: Sequence[Name], reference_provider: str
) -> tuple[Head, Mapping[Name, Sequence[Price]]]:
    """For each name the model itself and what may be the same at the other seller."""
    values = {**_arrays(names), "reference_provider": reference_provider}
    cursor = await connection.execute(_SQL["find_references"], values)
    rows = await cursor.fetchall()
    found: dict[Name, list[Price]] = {}
    for row in rows:
        if row["provider"] is not None:
            found.setdefault(names[row["position"] - 1], []).append(price_of(row))
    return Head(rows[0]["head_revision"], rows[0]["head_epoch"]), found


def _arrays(names: Sequence[Name]) -> dict[str, object]:
    return {
        "model_ids": [model_id for _, model_id in names],
        "providers": [provider for provider, _ in names],
    }


async def head_of(pool: Pool) -> Head:
    """The state of the whole price table: the cheapest question, by which a breaker probes."""
    with translated_errors():
        async with pool.connection() as connection:
            return await read_head(connection)


async def read_head(connection: Connection) -> Head:
    """The state of the whole price table."""
    cursor = await connection.execute(_SQL["read_head"])
    row = only(await cursor.fetchone())
    return Head(row["revision"], row["epoch"])


def price_of(row: Row, cards: MutableMapping[str, RateCard] | None = None) -> Price:
    """The price in a row of the price table; of an override also what would be without it.

    `cards` are those that are there already, by id; others are added.
    """
    card = cards.get(row["card_id"]) if cards is not None else None
    if card is None:
        card = card_of(row)
        if cards is not None:
            cards[row["card_id"]] = card
    price = Price(
        provider=row["provider"],
        model_id=row["model_id"],
        card=card,
        layer=Layer.DATABASE,
        source=row["source"],
        obtained_at=row["obtained_at"],
        effective_time=row["effective_time"],
        is_listed=row["missing_syncs"] == 0,
        is_confirmed=row["is_confirmed"],
        price_revision=row["price_revision"],
        hugging_face_id=row["hugging_face_id"],
        alias_target=row["alias_target"],
        delisted_at=row["delisted_at"],
        canonical_slug=row.get("canonical_slug"),
        context_length=row["context_length"],
        retirement_time=row.get("retirement_time"),
        retirement_source=row.get("retirement_source"),
        successor=row.get("successor"),
        stated_as=row.get("stated_as"),
        rate_sources=tuple(row["rate_sources"]),
        disagreements=tuple(map(Disagreement.from_document, row.get("disagreements") or ())),
        pending=_pending(row),
        rejected_id=row.get("rejected_id"),
        superseded_at=row.get("superseded_at"),
    )
    # What is left of an ended override is no override: it has no price.
    if price.source != OVERRIDE or price.is_left:
        return price
    return replace(
        price,
        layer=Layer.OVERRIDE,
        is_listed=True,
        is_confirmed=True,
        detail=override_detail(row.get("set_by"), row.get("reason")),
        until=row.get("until"),
        stated=_stated(price, row.get("beneath")),
    )


def _pending(row: Row) -> PendingChange | None:
    if row.get("pending_id") is None:
        return None
    return PendingChange(
        held_change_id=row["pending_id"],
        source=row["pending_source"],
        reason=HoldReason(row["pending_reason"]),
        card=card_of(row, "pending_"),
        held_since=row["pending_since"],
    )


def override_detail(set_by: str | None, reason: str | None) -> str:
    """Who set an override and why; of one in the past neither is at hand."""
    return "override" if set_by is None else f"override by {set_by}: {reason}"


def _stated(price: Price, stated: Row | None) -> Price:
    """The price without its override, by the quote that would be in force."""
    if stated is None:
        return replace(price, card=UNPRICED, rate_sources=(), stated_as=None, price_revision=None)
    return replace(
        price,
        card=card_of(stated),
        rate_sources=tuple(stated["rate_sources"]),
        source=stated["source"],
        obtained_at=datetime.fromisoformat(stated["obtained_at"]),
        effective_time=datetime.fromisoformat(stated["stated_since"]),
        stated_as=stated["stated_as"],
        is_listed=stated["missing_syncs"] == 0,
        is_confirmed=stated["is_confirmed"],
        price_revision=None,  # It is not in force, and has none of its own.
    )
