"""The outcome of a revert as a message of the contract."""

from __future__ import annotations

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.grpc_api.convert import fitting, price_change
from pricing_server.sync.revert import RevertOutcome


def revert_sync_run_response(outcome: RevertOutcome) -> pb.RevertSyncRunResponse:
    """What a revert changed and refused, with the changes that fit."""
    changes = fitting(map(price_change, outcome.changes))
    return pb.RevertSyncRunResponse(
        sync_run_id=str(outcome.request.sync_run_id),
        dry_run=outcome.request.dry_run,
        revision=outcome.revision,
        models_reverted=len(outcome.changes),
        price_changes=changes,
        price_changes_truncated=len(changes) < len(outcome.changes),
        refused=[
            pb.RefusedRevert(
                provider=refused.provider,
                model_id=refused.model_id,
                revision=refused.revision,
                reason=refused.reason,
            )
            for refused in outcome.refused
        ],
        quotes_unconfirmed=outcome.unconfirmed,
    )
