"""Reads of the evidence behind prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, Final

from llmpricing.meters import Meter
from llmpricing.rate_card import DayOfWeek, clock_time
from pricing_server.domain.head import Head
from pricing_server.domain.override import OverrideEnd, OverrideState, PriceOverride
from pricing_server.domain.price_change import ChangeOrigin, OriginKind
from pricing_server.domain.quote import MISSING_SYNCS_TO_DELIST
from pricing_server.history.evidence import (
    Discrepancy,
    DiscrepancyCursor,
    DiscrepancyFilter,
    OverrideFilter,
    PriceEvidence,
    StatedQuote,
)
from pricing_server.postgres.connection import Connection, Pool, Row, card_of, translated_errors
from pricing_server.postgres.readers.audit_reader import change_of
from pricing_server.postgres.statements import statements
from pricing_server.runtime.breaker import Breaker, slow_read

ANSWER_SECONDS: Final = 5.0
"""How long a caller waits for the database; what it is asked ends before by itself."""

LIST_TIMEOUT_MS: Final = 4_000
"""For the one statement that compares all quotes; look-ups have a second."""

_SQL = statements("evidence")


class PostgresEvidenceReader:
    """See `pricing_server.history.evidence.EvidenceReader`."""

    def __init__(self, pool: Pool, breaker: Breaker) -> None:
        self._pool = pool
        self.breaker = breaker

    @slow_read(ANSWER_SECONDS)
    async def evidence(self, provider: str, model_id: str) -> PriceEvidence:
        """What the price table has of a model, all of it of one state."""
        names = {"provider": provider, "model_id": model_id}
        with translated_errors():
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                (head,) = await _rows(connection, statements("lookup")["read_head"], {})
                quotes = await _rows(connection, _SQL["quotes_of"], names)
                overrides = await _rows(connection, _SQL["override_of"], names)
                changes = await _rows(connection, _SQL["newest_change_of"], names)
        return PriceEvidence(
            head=Head(head["revision"], head["epoch"]),
            quotes=[_quote(row) for row in quotes],
            price_override=_override(provider, model_id, overrides[0]) if overrides else None,
            last_change=change_of(changes[0]) if changes else None,
        )

    @slow_read(ANSWER_SECONDS)
    async def discrepancies(
        self, criteria: DiscrepancyFilter, after: DiscrepancyCursor | None, limit: int
    ) -> Sequence[Discrepancy]:
        """The models on which sources disagree, by falling ratio."""
        at = criteria.at.astimezone(UTC)
        today = DayOfWeek(at.isoweekday())
        values = {
            "at": at,
            "clock": clock_time(at.hour * 60 + at.minute),
            "today": today.name.lower(),
            "yesterday": today.day_before.name.lower(),
            "min_ratio": criteria.min_ratio,
            "provider": criteria.provider,
            "delisted": MISSING_SYNCS_TO_DELIST,
            "after_ratio": after.ratio if after else None,
            "after_provider": after.provider if after else None,
            "after_model": after.model_id if after else None,
            "limit": limit,
        }
        with translated_errors():
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute(f"SET LOCAL statement_timeout = {LIST_TIMEOUT_MS}")
                rows = await _rows(connection, _SQL["discrepancies"], values)
        return [
            Discrepancy(
                provider=row["provider"],
                model_id=row["model_id"],
                meter=Meter(row["meter"]),
                source=row["source"],
                price=row["price"],
                other_source=row["other_source"],
                other_price=row["other_price"],
                ratio=row["ratio"],
                since=row["since"],
            )
            for row in rows
        ]

    @slow_read(ANSWER_SECONDS)
    async def overrides(
        self, criteria: OverrideFilter, before: int | None, limit: int
    ) -> Sequence[PriceOverride]:
        """Overrides, those set last first."""
        values = {
            "provider": criteria.provider,
            "model_id": criteria.model_id,
            "in_force": OverrideState.IN_FORCE in criteria.states,
            "past": OverrideState.PAST in criteria.states,
            "before": before,
            "limit": limit,
        }
        with translated_errors():
            async with self._pool.connection() as connection:
                rows = await _rows(connection, _SQL["list_overrides"], values)
        return [_override(row["provider"], row["model_id"], row) for row in rows]


async def _rows(connection: Connection, statement: Any, values: Mapping[str, Any]) -> Sequence[Row]:
    cursor = await connection.execute(statement, values)
    return await cursor.fetchall()


def _quote(row: Row) -> StatedQuote:
    return StatedQuote(
        source=row["source"],
        rank=row["rank"],
        is_in_force=row["is_in_force"],
        card=card_of(row),
        fragment=row["fragment"],
        obtained_at=row["obtained_at"],
        stated_since=row["stated_since"],
        is_confirmed=row["is_confirmed"],
        sync_run_id=row["sync_run_id"],
        payload_url=row["payload_url"],
        payload_sha256=row["payload_sha256"],
        stated_as=row["stated_as"],
        is_inferred=row["is_inferred"],
    )


def _override(provider: str, model_id: str, row: Row) -> PriceOverride:
    return PriceOverride(
        override_id=row["override_id"],
        provider=provider,
        model_id=model_id,
        card=card_of(row),
        replace_card=row["replace_card"],
        percent=row["percent"],
        reason=row["reason"],
        set_by=row["set_by"],
        set_at=row["set_at"],
        until=row["until"],
        end=_end(row),
    )


def _end(row: Row) -> OverrideEnd | None:
    if row["cleared_at"] is None:
        return None
    kind = OriginKind(row["cleared_kind"])
    origin = ChangeOrigin(kind, row["cleared_actor"], row["cleared_by"])
    return OverrideEnd(origin, row["cleared_at"])
