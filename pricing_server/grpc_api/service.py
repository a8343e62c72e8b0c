"""The methods of the contract: check the request, ask the application, convert the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1 import pricing_pb2_grpc
from pricing_server.audit import AuditReader, ChangeFilter
from pricing_server.comparison.comparison import Comparisons
from pricing_server.costs import Costs
from pricing_server.errors import InvalidArgument, SyncRunNotFound
from pricing_server.evidence import EvidenceReader, Explainer
from pricing_server.fetch import safe_url
from pricing_server.grpc_api import convert, overrides
from pricing_server.grpc_api.comparison import compare_prices
from pricing_server.grpc_api.convert_revert import revert_sync_run_response
from pricing_server.grpc_api.convert_source import source_message
from pricing_server.grpc_api.cost import batch_calculate_cost, calculate_cost, replay_receipt
from pricing_server.grpc_api.evidence import explain_price, list_discrepancies
from pricing_server.grpc_api.held_changes import list_held_changes, resolve_held_change
from pricing_server.grpc_api.listing import list_pricing
from pricing_server.grpc_api.matching import explain_match
from pricing_server.grpc_api.pricing import batch_get_pricing, get_pricing
from pricing_server.grpc_api.requests import Pages, check_enum, check_name, check_page_size
from pricing_server.grpc_api.stream import serve_stream, stream_request
from pricing_server.held_changes import HeldReader
from pricing_server.listing import PriceLister
from pricing_server.lookup.cache import utc_now
from pricing_server.lookup.lookup import Lookup
from pricing_server.lookup.price_list import PriceLists
from pricing_server.price_change import SCHEDULER
from pricing_server.providers.source import Source
from pricing_server.scheduler.schedule import Schedule
from pricing_server.sellers import canonical
from pricing_server.stream.streams import ChangeStreams
from pricing_server.sync.override_runner import OverrideRunner
from pricing_server.sync.revert import RevertRequest
from pricing_server.sync.run import SyncRequest
from pricing_server.sync.runner import SyncRunner

MAX_TRIGGERED_BY: Final = 200


class PricingService(pricing_pb2_grpc.PricingServiceServicer):
    """Serves the contract. Errors are those of `pricing_server.errors`."""

    def __init__(
        self,
        lookup: Lookup,
        syncs: SyncRunner,
        audit: AuditReader,
        sources: Mapping[str, Source],
        url_of: Callable[[Source], str | None],
        streams: ChangeStreams,
        schedule: Schedule,
        price_overrides: OverrideRunner,
        evidence: EvidenceReader,
        held: HeldReader,
        lists: PriceLists,
        *,
        stream_write_seconds: float,
    ) -> None:
        self._lookup = lookup
        self._syncs = syncs
        self._audit = audit
        self._held = held
        self._sources = sources
        self._url_of = url_of
        self._streams = streams
        self._schedule = schedule
        self._price_overrides = price_overrides
        self._evidence = evidence
        self._costs = Costs(lookup)
        self._listing = PriceLister(lists, sources)
        self._comparisons = Comparisons(lookup, self._costs, lists)
        self._explainer = Explainer(lookup, evidence)
        self._stream_write_seconds = stream_write_seconds

    async def GetPricing(
        self, request: pb.GetPricingRequest, context: Any
    ) -> pb.GetPricingResponse:
        return await get_pricing(self._lookup, request)

    async def BatchGetPricing(
        self, request: pb.BatchGetPricingRequest, context: Any
    ) -> pb.BatchGetPricingResponse:
        return await batch_get_pricing(self._lookup, request)

    async def CalculateCost(
        self, request: pb.CalculateCostRequest, context: Any
    ) -> pb.CalculateCostResponse:
        return await calculate_cost(self._costs, request)

    async def BatchCalculateCost(
        self, request: pb.BatchCalculateCostRequest, context: Any
    ) -> pb.BatchCalculateCostResponse:
        return await batch_calculate_cost(self._costs, request)

    async def ReplayReceipt(
        self, request: pb.ReplayReceiptRequest, context: Any
    ) -> pb.ReplayReceiptResponse:
        return await replay_receipt(self._costs, request)

    async def ExplainMatch(
        self, request: pb.ExplainMatchRequest, context: Any
    ) -> pb.ExplainMatchResponse:
        return await explain_match(self._lookup, request)

    async def ComparePrices(
        self, request: pb.ComparePricesRequest, context: Any
    ) -> pb.ComparePricesResponse:
        return await compare_prices(self._comparisons, request)

    async def SyncProvider(
        self, request: pb.SyncProviderRequest, context: Any
    ) -> pb.SyncProviderResponse:
        check_enum("unknown_models", pb.UnknownModels, request.unknown_models)
        triggered_by = _triggered_by(request.triggered_by)
        outcome = await self._syncs.sync(
            SyncRequest(
                source=check_name("provider", request.provider),
                dry_run=request.dry_run,
                triggered_by=triggered_by,
                register_unknown=request.unknown_models != pb.UNKNOWN_MODELS_SKIP,
            )
        )
        # In a thread, so that look-ups go on while thousands of changes are written out.
        return await asyncio.to_thread(convert.sync_provider_response, outcome)

    async def RevertSyncRun(
        self, request: pb.RevertSyncRunRequest, context: Any
    ) -> pb.RevertSyncRunResponse:
        sync_run_id = _sync_run_id(check_name("sync_run_id", request.sync_run_id))
        triggered_by = _triggered_by(request.triggered_by)
        if sync_run_id is None:
            raise SyncRunNotFound(request.sync_run_id)
        outcome = await self._syncs.revert(
            RevertRequest(sync_run_id, dry_run=request.dry_run, triggered_by=triggered_by)
        )
        return await asyncio.to_thread(revert_sync_run_response, outcome)

    async def GetSyncRun(
        self, request: pb.GetSyncRunRequest, context: Any
    ) -> pb.GetSyncRunResponse:
        sync_run_id = _sync_run_id(check_name("sync_run_id", request.sync_run_id))
        run = await self._audit.run(sync_run_id) if sync_run_id is not None else None
        if run is None:
            raise SyncRunNotFound(request.sync_run_id)
        return pb.GetSyncRunResponse(run=convert.sync_run(run))

    async def ListSyncRuns(
        self, request: pb.ListSyncRunsRequest, context: Any
    ) -> pb.ListSyncRunsResponse:
        source = _optional_name(request, "provider")
        limit = check_page_size(request.page_size)
        pages = Pages("ListSyncRuns", source)
        cursor = pages.cursor(request.page_token, int)
        before = int(cursor[0]) if cursor else None
        runs = await self._audit.runs(source, before, limit + 1)
        return pb.ListSyncRunsResponse(
            runs=[convert.sync_run(run, with_details=False) for run in runs[:limit]],
            next_page_token=pages.token(runs[limit - 1].sync_run_id) if len(runs) > limit else "",
        )

    async def ListPriceChanges(
        self, request: pb.ListPriceChangesRequest, context: Any
    ) -> pb.ListPriceChangesResponse:
        provider = _optional_name(request, "provider")
        run_name = _optional_name(request, "sync_run_id")
        sync_run_id = _sync_run_id(run_name) if run_name is not None else None
        if run_name is not None and sync_run_id is None:
            raise SyncRunNotFound(run_name)
        narrow = ChangeFilter(
            provider=canonical(provider) if provider is not None else None,
            model_id=_optional_name(request, "model_id"),
            sync_run_id=sync_run_id,
        )
        limit = check_page_size(request.page_size)
        pages = Pages("ListPriceChanges", narrow.provider, narrow.model_id, narrow.sync_run_id)
        cursor = pages.cursor(request.page_token, int, int)
        before = (int(cursor[0]), int(cursor[1])) if cursor else None
        found = await self._audit.changes(narrow, before, limit + 1)
        # In a thread, for the same reason as in SyncProvider.
        changes = await asyncio.to_thread(
            lambda: convert.fitting(convert.price_change(change) for _, change in found[:limit])
        )
        return pb.ListPriceChangesResponse(
            changes=changes,
            next_page_token=pages.token(*found[len(changes) - 1][0])
            if len(found) > len(changes)
            else "",
        )

    async def ListProviders(
        self, request: pb.ListProvidersRequest, context: Any
    ) -> pb.ListProvidersResponse:
        limit = check_page_size(request.page_size)
        pages = Pages("ListProviders")
        cursor = pages.cursor(request.page_token, str)
        after = str(cursor[0]) if cursor else None
        found = await self._audit.providers(after, limit + 1)
        sources = await self._audit.sources() if after is None else ()
        now = utc_now()
        return pb.ListProvidersResponse(
            providers=[convert.provider(coverage) for coverage in found[:limit]],
            sources=[
                source_message(health, declared, self._shown_url(declared), self._schedule, now)
                for health, declared in (
                    (health, self._sources.get(health.source)) for health in sources
                )
            ],
            next_page_token=pages.token(found[limit - 1].provider) if len(found) > limit else "",
        )

    async def ListHeldChanges(
        self, request: pb.ListHeldChangesRequest, context: Any
    ) -> pb.ListHeldChangesResponse:
        return await list_held_changes(self._held, request)

    async def ResolveHeldChange(
        self, request: pb.ResolveHeldChangeRequest, context: Any
    ) -> pb.ResolveHeldChangeResponse:
        return await resolve_held_change(self._syncs, request)

    async def SetPriceOverride(
        self, request: pb.SetPriceOverrideRequest, context: Any
    ) -> pb.SetPriceOverrideResponse:
        outcome = await self._price_overrides.set(overrides.override_request(request))
        return overrides.set_response(outcome)

    async def ClearPriceOverride(
        self, request: pb.ClearPriceOverrideRequest, context: Any
    ) -> pb.ClearPriceOverrideResponse:
        outcome = await self._price_overrides.clear(overrides.clear_request(request))
        return overrides.clear_response(outcome)

    async def ListPricing(
        self, request: pb.ListPricingRequest, context: Any
    ) -> pb.ListPricingResponse:
        return await list_pricing(self._listing, request)

    async def ListDiscrepancies(
        self, request: pb.ListDiscrepanciesRequest, context: Any
    ) -> pb.ListDiscrepanciesResponse:
        return await list_discrepancies(request, self._evidence)

    async def ExplainPrice(
        self, request: pb.ExplainPriceRequest, context: Any
    ) -> pb.ExplainPriceResponse:
        return await explain_price(request, self._explainer, self._held, self._sources)

    # Not a generator, as the stubs have it: only so a write can be given up.
    async def StreamPriceChanges(  # type: ignore[override]
        self, request: pb.StreamPriceChangesRequest, context: Any
    ) -> None:
        await serve_stream(
            self._streams, stream_request(request), context, self._stream_write_seconds
        )

    def _shown_url(self, source: Source | None) -> str:
        # Without user and query, which may hold a key.
        url = self._url_of(source) if source is not None else None
        return safe_url(url) if url is not None else ""


def _optional_name(request: Any, field: str) -> str | None:
    return check_name(field, getattr(request, field)) if request.HasField(field) else None


def _triggered_by(text: str) -> str:
    if text:
        check_name("triggered_by", text)
    if len(text) > MAX_TRIGGERED_BY:
        raise InvalidArgument("triggered_by", f"is over {MAX_TRIGGERED_BY} characters")
    if text == SCHEDULER:
        # When a source is due goes by it.
        raise InvalidArgument("triggered_by", "is kept for the scheduler's own runs")
    return text or "grpc"


def _sync_run_id(text: str) -> int | None:
    """The id as a number, None for a text that was never issued as one."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
