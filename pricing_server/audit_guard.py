"""Guards of the log, the audit trail and the held changes, which are in the same database
as the prices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pricing_server.audit import (
    AuditReader,
    ChangeCursor,
    ChangeFilter,
    ProviderCoverage,
    SourceHealth,
)
from pricing_server.breaker import Breaker
from pricing_server.held_changes import HeldCursor, HeldFilter, HeldReader
from pricing_server.price_change import PriceChange
from pricing_server.sync.held import HeldChange
from pricing_server.sync.run import SyncRun

ANSWER_SECONDS: Final = 5.0
"""How long a list waits for the database; its statements end after a second each."""


class GuardedAuditReader:
    """An AuditReader that fails at once while the database is known to be down."""

    def __init__(
        self, reader: AuditReader, breaker: Breaker, *, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._reader = reader
        self._breaker = breaker
        self._answer_seconds = answer_seconds

    async def run(self, sync_run_id: int) -> SyncRun | None:
        """See AuditReader."""
        return await self._breaker.ask_slow(
            lambda: self._reader.run(sync_run_id), self._answer_seconds
        )

    async def runs(self, source: str | None, before: int | None, limit: int) -> Sequence[SyncRun]:
        """See AuditReader."""
        return await self._breaker.ask_slow(
            lambda: self._reader.runs(source, before, limit), self._answer_seconds
        )

    async def changes(
        self, criteria: ChangeFilter, before: ChangeCursor | None, limit: int
    ) -> Sequence[tuple[ChangeCursor, PriceChange]]:
        """See AuditReader."""
        return await self._breaker.ask_slow(
            lambda: self._reader.changes(criteria, before, limit), self._answer_seconds
        )

    async def providers(self, after: str | None, limit: int) -> Sequence[ProviderCoverage]:
        """See AuditReader."""
        return await self._breaker.ask_slow(
            lambda: self._reader.providers(after, limit), self._answer_seconds
        )

    async def sources(self) -> Sequence[SourceHealth]:
        """See AuditReader."""
        return await self._breaker.ask_slow(self._reader.sources, self._answer_seconds)


class GuardedHeldReader:
    """A HeldReader that fails at once while the database is known to be down."""

    def __init__(
        self, reader: HeldReader, breaker: Breaker, *, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._reader = reader
        self._breaker = breaker
        self._answer_seconds = answer_seconds

    async def held_changes(
        self, criteria: HeldFilter, before: HeldCursor | None, limit: int
    ) -> Sequence[HeldChange]:
        """See HeldReader."""
        return await self._breaker.ask_slow(
            lambda: self._reader.held_changes(criteria, before, limit), self._answer_seconds
        )
