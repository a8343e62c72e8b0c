"""Sync runs, and what they and their reverts changed, as messages of the contract."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.instants import timestamp
from pricing_server.domain.head import Head
from pricing_server.domain.revert import RefusalReason, Refused, RevertOutcome
from pricing_server.domain.source_listing import Fault, Notice
from pricing_server.domain.sync_run import SyncOutcome, SyncRun, SyncStatus
from pricing_server.grpc_api.wire.price_changes import price_changes
from pricing_server.grpc_api.wire.reads import table_of

MAX_ERROR_DETAILS: Final = 1_000

SYNC_STATUSES: Final = {
    status: pb.SyncStatus.Value(f"SYNC_STATUS_{status.name}") for status in SyncStatus
}
REFUSAL_REASONS: Final = {
    reason: pb.RefusedRevertReason.Value(f"REFUSED_REVERT_REASON_{reason.name}")
    for reason in RefusalReason
}


def sync_run_message(run: SyncRun, *, with_details: bool = True) -> pb.SyncRun:
    """A row of the sync log, with or without what it says of single models."""
    message = _run_message(run, run.triggered_by)
    if run.duration_ms is not None:
        message.duration_ms = run.duration_ms
    if not with_details:
        message.ClearField("error_details")
        message.ClearField("notices")
    return message


def sync_provider_response(
    outcome: SyncOutcome, triggered_by: str, view: pb.ChangeView.ValueType
) -> pb.SyncProviderResponse:
    """The outcome of a run that somebody asked for, with the changes that fit."""
    changes = price_changes(outcome.changes, view)
    return pb.SyncProviderResponse(
        price_changes=changes,
        price_changes_truncated=len(changes) < len(outcome.changes),
        dry_run=outcome.dry_run,
        run=_outcome_message(outcome, triggered_by),
    )


def revert_sync_run_response(
    outcome: RevertOutcome, view: pb.ChangeView.ValueType
) -> pb.RevertSyncRunResponse:
    """What a revert changed and refused, with the changes that fit."""
    changes = price_changes(outcome.changes, view)
    return pb.RevertSyncRunResponse(
        price_changes=changes,
        price_changes_truncated=len(changes) < len(outcome.changes),
        refused=map(_refused, outcome.refused),
        dry_run=outcome.request.dry_run,
        sync_run_id=str(outcome.request.sync_run_id),
        table=table_of(Head(outcome.revision, outcome.epoch)),
        models_reverted=len(outcome.changes),
        quotes_unconfirmed=outcome.unconfirmed,
    )


def _outcome_message(outcome: SyncOutcome, triggered_by: str) -> pb.SyncRun:
    message = _run_message(outcome, triggered_by)
    duration = outcome.completed_at - outcome.started_at
    # Half a millisecond is rounded up, as the log does.
    message.duration_ms = max(0, (duration // timedelta(microseconds=1) + 500) // 1000)
    return message


def _run_message(run: SyncRun | SyncOutcome, triggered_by: str) -> pb.SyncRun:
    message = pb.SyncRun(
        sync_run_id=str(run.sync_run_id) if run.sync_run_id is not None else None,
        source=run.source,
        triggered_by=triggered_by,
        started_time=timestamp(run.started_at),
        completed_time=timestamp(run.completed_at) if run.completed_at is not None else None,
        error_details=_error_details(run.faults),
        notices=_notices(run.notices),
        status=SYNC_STATUSES[run.status],
        error_message=run.error_message or None,
        revision=run.revision,
    )
    for name, count in run.counts.items():
        setattr(message, name, count)
    return message


def _refused(refused: Refused) -> pb.RefusedRevert:
    return pb.RefusedRevert(
        provider=refused.provider,
        model_id=refused.model_id,
        revision=refused.revision,
        reason=REFUSAL_REASONS[refused.reason],
        message=refused.message,
    )


def _error_details(faults: Iterable[Fault]) -> list[pb.ErrorDetail]:
    return [
        pb.ErrorDetail(model_id=fault.model_id, message=fault.message)
        for fault in list(faults)[:MAX_ERROR_DETAILS]
    ]


def _notices(notices: Iterable[Notice]) -> list[pb.Notice]:
    return [
        pb.Notice(
            code=notice.code, message=notice.message, models=notice.models, example=notice.example
        )
        for notice in notices
    ]
