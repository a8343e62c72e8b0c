"""Sellers and sources as messages of the contract."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.source import KeyUse, Source, SourceEvidence
from pricing_server.grpc_api.wire.sync_runs import sync_run_message
from pricing_server.history.audit import ProviderCoverage, SourceHealth
from pricing_server.scheduler.sync_schedule import Schedule

EVIDENCE: Final = {
    one: pb.SourceEvidence.Value(f"SOURCE_EVIDENCE_{one.name}") for one in SourceEvidence
}


def provider_message(coverage: ProviderCoverage) -> pb.Provider:
    """A seller with its coverage."""
    return pb.Provider(
        provider=coverage.provider,
        display_name=coverage.display_name,
        aliases=coverage.aliases,
        models_listed=coverage.models_listed,
        models_priced=coverage.models_priced,
        models_free=coverage.models_free,
        models_dynamic=coverage.models_dynamic,
        models_unpriced=coverage.models_unpriced,
        models_delisted=coverage.models_delisted,
        models_held=coverage.models_held,
    )


def source_message(
    health: SourceHealth,
    declared: Source | None,
    url: str | None,
    schedule: Schedule,
    now: datetime,
) -> pb.Source:
    """A source with its health, and its declaration and schedule if this server has it."""
    has_key = declared is not None and declared.key_use is not KeyUse.NONE
    run = health.last_run
    message = pb.Source(
        source=health.source,
        display_name=health.display_name,
        provider=health.provider,
        rank=health.rank,
        url=url,
        key_variable=declared.key_variable if declared and has_key else None,
        key_required=declared is not None and declared.key_use is KeyUse.REQUIRED,
        evidence=EVIDENCE[declared.evidence] if declared else None,
        last_run=sync_run_message(run, with_details=False) if run is not None else None,
        success_rate=_share(health.recent_successes, health.recent_runs),
        is_stale=schedule.is_stale(health.log, now),
        failures_in_a_row=health.log.failures_in_a_row,
        models_quoted=health.models_quoted,
        models_held=health.models_held,
    )
    if health.last_success_time is not None:
        message.last_success_time.FromDatetime(health.last_success_time)
    if health.log.good_obtained_at is not None:
        message.verified_time.FromDatetime(health.log.good_obtained_at)
    if (interval := schedule.intervals.get(health.source)) is not None:
        message.sync_interval.FromTimedelta(interval)
    if (due := schedule.next_due(health.log)) is not None:
        message.next_due_time.FromDatetime(due)
    return message


def _share(part: int, whole: int) -> str | None:
    """Rounded down, so that "1.00" is said of all only; None of nothing."""
    hundredths = part * 100 // whole if whole else 0
    return f"{hundredths // 100}.{hundredths % 100:02}" if whole else None
