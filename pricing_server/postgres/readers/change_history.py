"""Reads of the history for the change stream."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from typing import Any

from llmpricing.rate_card import RateCard
from pricing_server.domain.head import Head
from pricing_server.domain.price import PricePage
from pricing_server.postgres.connection import Pool, Row, only, translated_errors
from pricing_server.postgres.readers.audit_reader import change_of
from pricing_server.postgres.readers.price_reader import price_of, read_head
from pricing_server.postgres.statements import statements
from pricing_server.stream.change_history import ChangePage, Cursor
from pricing_server.stream.messages import EVERYTHING, Filter

_SQL = statements("stream")


class PostgresChangeHistory:
    """See `pricing_server.stream.change_history.ChangeHistory`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def head(self) -> Head:
        """The state of the price table now."""
        with translated_errors():
            async with self._pool.connection() as connection:
                return await read_head(connection)

    async def recent(self, upto: int, changes: int) -> int:
        """The revision behind which at most so many changes lie up to another one."""
        with translated_errors():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(
                    _SQL["recent_revision"], {"upto": upto, "changes": changes}
                )
                revision: int = only(await cursor.fetchone())["revision"]
                return revision

    async def changes(
        self, after: Cursor, upto: int, limit: int, criteria: Filter = EVERYTHING
    ) -> ChangePage:
        """The changes behind a cursor up to a revision that pass, among the next `limit` rows."""
        values = {"revision": after.revision, "model_key": after.model_key, "upto": upto}
        head, rows = await self._read("read_changes", values, limit, criteria)
        rows = [row for row in rows if row["page_revision"] is not None]
        last = rows[-1] if len(rows) == limit else None
        return ChangePage(
            changes=[change_of(row) for row in rows if row["provider"] is not None],
            head=head,
            next=Cursor(last["page_revision"], last["page_model_key"]) if last else None,
        )

    async def prices_at(
        self,
        revision: int,
        after_model: int,
        limit: int,
        criteria: Filter = EVERYTHING,
        cards: MutableMapping[str, RateCard] | None = None,
    ) -> PricePage:
        """The prices as they were at a revision, of the next `limit` models that pass.

        `cards` are those that are there already, by id; others are added.
        """
        values = {"revision": revision, "after_model": after_model}
        head, rows = await self._read("read_prices_at", values, limit, criteria)
        rows = [row for row in rows if row["model_key"] is not None]
        return PricePage(
            # In a thread, so that look-ups go on while hundreds of cards are read.
            prices=await asyncio.to_thread(lambda: [price_of(row, cards) for row in rows]),
            head=head,
            next=rows[-1]["model_key"] if len(rows) == limit else None,
        )

    async def _read(
        self, statement: str, values: Mapping[str, int], limit: int, criteria: Filter
    ) -> tuple[Head, Sequence[Row]]:
        filters: dict[str, Any] = {
            "providers": _names(criteria.providers),
            "model_ids": _names(criteria.model_ids),
            "limit": limit,
        }
        with translated_errors():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_SQL[statement], {**values, **filters})
                rows = await cursor.fetchall()
        head = Head(rows[0]["head_revision"], rows[0]["head_epoch"])
        return head, rows


def _names(names: Collection[str]) -> list[str] | None:
    return list(names) or None
