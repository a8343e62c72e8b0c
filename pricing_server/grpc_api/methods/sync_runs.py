"""SyncProvider, RevertSyncRun, GetSyncRun and ListSyncRuns."""

from __future__ import annotations

import asyncio

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.errors import SyncRunNotFound
from pricing_server.domain.revert import RevertRequest
from pricing_server.domain.sync_run import SyncRequest
from pricing_server.grpc_api.wire.page_tokens import Pages
from pricing_server.grpc_api.wire.price_changes import check_view
from pricing_server.grpc_api.wire.requests import (
    check_enum,
    check_name,
    check_page_size,
    id_of,
    optional_name,
    triggered_by,
)
from pricing_server.grpc_api.wire.sync_runs import (
    revert_sync_run_response,
    sync_provider_response,
    sync_run_message,
)
from pricing_server.history.audit import AuditReader
from pricing_server.sync.runner import SyncRunner


async def sync_provider(
    syncs: SyncRunner, request: pb.SyncProviderRequest
) -> pb.SyncProviderResponse:
    """Answer SyncProvider."""
    check_enum("unknown_models", pb.UnknownModels, request.unknown_models)
    check_view(request.view)
    who = triggered_by(request.triggered_by)
    outcome = await syncs.sync(
        SyncRequest(
            source=check_name("provider", request.provider),
            dry_run=request.dry_run,
            triggered_by=who,
            register_unknown=request.unknown_models != pb.UNKNOWN_MODELS_SKIP,
        )
    )
    # In a thread, so that look-ups go on while thousands of changes are written out.
    return await asyncio.to_thread(sync_provider_response, outcome, who, request.view)


async def revert_sync_run(
    syncs: SyncRunner, request: pb.RevertSyncRunRequest
) -> pb.RevertSyncRunResponse:
    """Answer RevertSyncRun."""
    sync_run_id = id_of(check_name("sync_run_id", request.sync_run_id))
    check_view(request.view)
    who = triggered_by(request.triggered_by)
    if sync_run_id is None:
        raise SyncRunNotFound(request.sync_run_id)
    outcome = await syncs.revert(
        RevertRequest(sync_run_id, dry_run=request.dry_run, triggered_by=who)
    )
    # In a thread, for the same reason.
    return await asyncio.to_thread(revert_sync_run_response, outcome, request.view)


async def get_sync_run(audit: AuditReader, request: pb.GetSyncRunRequest) -> pb.GetSyncRunResponse:
    """Answer GetSyncRun."""
    sync_run_id = id_of(check_name("sync_run_id", request.sync_run_id))
    run = await audit.run(sync_run_id) if sync_run_id is not None else None
    if run is None:
        raise SyncRunNotFound(request.sync_run_id)
    return pb.GetSyncRunResponse(run=sync_run_message(run))


async def list_sync_runs(
    audit: AuditReader, request: pb.ListSyncRunsRequest
) -> pb.ListSyncRunsResponse:
    """Answer ListSyncRuns."""
    source = optional_name(request, "source")
    limit = check_page_size(request.page_size)
    pages = Pages("ListSyncRuns", source)
    cursor = pages.cursor(request.page_token, int)
    before = int(cursor[0]) if cursor else None
    runs = await audit.runs(source, before, limit + 1)
    return pb.ListSyncRunsResponse(
        runs=[sync_run_message(run, with_details=False) for run in runs[:limit]],
        next_page_token=pages.token(runs[limit - 1].sync_run_id) if len(runs) > limit else None,
    )
