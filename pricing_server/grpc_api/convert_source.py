"""A source as a message of the contract."""

from __future__ import annotations

from datetime import datetime

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.audit import SourceHealth
from pricing_server.grpc_api import convert
from pricing_server.providers.source import KeyUse, Source
from pricing_server.scheduler.schedule import Schedule


def source_message(
    health: SourceHealth, declared: Source | None, url: str, schedule: Schedule, now: datetime
) -> pb.Source:
    """A source with its health, and its declaration and schedule if this server has it."""
    has_key = declared is not None and declared.key_use is not KeyUse.NONE
    message = pb.Source(
        source=health.source,
        display_name=health.display_name,
        provider=health.provider,
        rank=health.rank,
        url=url,
        key_variable=declared.key_variable if declared and has_key else "",
        key_required=declared is not None and declared.key_use is KeyUse.REQUIRED,
        last_run=convert.sync_run(health.last_run, with_details=False) if health.last_run else None,
        models_quoted=health.models_quoted,
        models_held=health.models_held,
        evidence=declared.evidence.value if declared else "",
        failures_in_a_row=health.log.failures_in_a_row,
        success_rate=_share(health.recent_successes, health.recent_runs),
        is_stale=schedule.is_stale(health.log, now),
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
