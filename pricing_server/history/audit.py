"""The sync log, the audit trail and the coverage, as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from pricing_server.domain.price_change import ChangeKind, PriceChange
from pricing_server.domain.source_log import SourceLog
from pricing_server.domain.sync_run import SyncRun


@dataclass(frozen=True, slots=True)
class ProviderCoverage:
    """One seller and what is known about its models."""

    provider: str
    display_name: str
    aliases: Sequence[str]
    models_listed: int
    models_priced: int
    models_free: int
    models_dynamic: int
    models_unpriced: int
    models_delisted: int
    models_held: int


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """One source and how its syncs went."""

    source: str
    display_name: str
    provider: str | None
    rank: int
    last_run: SyncRun | None
    last_success_time: datetime | None
    models_quoted: int
    log: SourceLog
    recent_runs: int = 0
    """Runs of the last 30 days that have ended."""
    recent_successes: int = 0
    models_held: int = 0
    """Models with an open held change; each model of a held feed counts."""


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Which changes to list; None means any."""

    provider: str | None = None
    model_id: str | None = None
    sync_run_id: int | None = None
    after_time: datetime | None = None
    """Written then or later."""
    before_time: datetime | None = None
    """Written before."""
    kind: ChangeKind | None = None
    source: str | None = None
    """That states the price after."""
    actor: str | None = None
    least_change: Decimal | None = None
    """By which share of its price before some rate moved at least; one that is new, gone or
    charged otherwise moved by more than any."""


ChangeCursor = tuple[int, int]
"""(revision, model key) of the last change of the page before."""


class AuditReader(Protocol):
    """Reads pages that begin after a cursor; each method may raise DatabaseUnavailable."""

    async def run(self, sync_run_id: int) -> SyncRun | None:
        """One row of the sync log."""

    async def runs(self, source: str | None, before: int | None, limit: int) -> Sequence[SyncRun]:
        """The sync log, newest first."""

    async def changes(
        self, criteria: ChangeFilter, before: ChangeCursor | None, limit: int
    ) -> Sequence[tuple[ChangeCursor, PriceChange]]:
        """The audit trail, newest revision first, each change with its cursor."""

    async def providers(self, after: str | None, limit: int) -> Sequence[ProviderCoverage]:
        """The sellers by name."""

    async def sources(self) -> Sequence[SourceHealth]:
        """All sources by rank."""
