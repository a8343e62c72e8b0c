"""The service of the contract: each method, with what it asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1 import pricing_pb2_grpc
from pricing_server.costs.comparison import Comparisons
from pricing_server.costs.costs import Costs
from pricing_server.domain.source import Source
from pricing_server.grpc_api.methods.comparison import compare_prices
from pricing_server.grpc_api.methods.costs import (
    batch_calculate_cost,
    calculate_cost,
    replay_receipt,
)
from pricing_server.grpc_api.methods.evidence import explain_price, list_discrepancies
from pricing_server.grpc_api.methods.held_changes import (
    get_held_change,
    list_held_changes,
    resolve_held_change,
)
from pricing_server.grpc_api.methods.listing import list_pricing
from pricing_server.grpc_api.methods.matching import explain_match
from pricing_server.grpc_api.methods.price_changes import list_price_changes
from pricing_server.grpc_api.methods.price_overrides import (
    clear_price_override,
    list_price_overrides,
    set_price_override,
)
from pricing_server.grpc_api.methods.price_stream import serve_stream, stream_request
from pricing_server.grpc_api.methods.pricing import batch_get_pricing, get_pricing
from pricing_server.grpc_api.methods.sources import list_providers, list_sources
from pricing_server.grpc_api.methods.sync_runs import (
    get_sync_run,
    list_sync_runs,
    revert_sync_run,
    sync_provider,
)
from pricing_server.grpc_api.methods.upcoming_changes import list_upcoming_changes
from pricing_server.history.audit import AuditReader
from pricing_server.history.evidence import EvidenceReader, Explainer
from pricing_server.history.held_changes import HeldReader
from pricing_server.listing.listing import PriceLister
from pricing_server.listing.price_list import PriceLists
from pricing_server.listing.upcoming import UpcomingLister
from pricing_server.lookup.lookup import Lookup
from pricing_server.scheduler.sync_schedule import Schedule
from pricing_server.stream.change_streams import ChangeStreams
from pricing_server.sync.override_runner import OverrideRunner
from pricing_server.sync.runner import SyncRunner


@dataclass(frozen=True, slots=True)
class Backend:
    """What the methods ask."""

    lookup: Lookup
    lists: PriceLists
    syncs: SyncRunner
    price_overrides: OverrideRunner
    streams: ChangeStreams
    audit: AuditReader
    evidence: EvidenceReader
    held: HeldReader
    schedule: Schedule
    sources: Mapping[str, Source]
    url_of: Callable[[Source], str | None]


class PricingService(pricing_pb2_grpc.PricingServiceServicer):
    """Serves the contract. Errors are those of `pricing_server.domain.errors`."""

    def __init__(self, backend: Backend, *, stream_write_seconds: float) -> None:
        self._backend = backend
        self._costs = Costs(backend.lookup)
        self._lister = PriceLister(backend.lists, backend.sources)
        self._upcoming = UpcomingLister(backend.lists)
        self._comparisons = Comparisons(backend.lookup, self._costs, backend.lists)
        self._explainer = Explainer(backend.lookup, backend.evidence)
        self._stream_write_seconds = stream_write_seconds

    async def GetPricing(
        self, request: pb.GetPricingRequest, context: Any
    ) -> pb.GetPricingResponse:
        return await get_pricing(self._backend.lookup, request)

    async def BatchGetPricing(
        self, request: pb.BatchGetPricingRequest, context: Any
    ) -> pb.BatchGetPricingResponse:
        return await batch_get_pricing(self._backend.lookup, request)

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
        return await explain_match(self._backend.lookup, request)

    async def ComparePrices(
        self, request: pb.ComparePricesRequest, context: Any
    ) -> pb.ComparePricesResponse:
        return await compare_prices(self._comparisons, request)

    async def SyncProvider(
        self, request: pb.SyncProviderRequest, context: Any
    ) -> pb.SyncProviderResponse:
        return await sync_provider(self._backend.syncs, request)

    async def RevertSyncRun(
        self, request: pb.RevertSyncRunRequest, context: Any
    ) -> pb.RevertSyncRunResponse:
        return await revert_sync_run(self._backend.syncs, request)

    async def GetSyncRun(
        self, request: pb.GetSyncRunRequest, context: Any
    ) -> pb.GetSyncRunResponse:
        return await get_sync_run(self._backend.audit, request)

    async def ListSyncRuns(
        self, request: pb.ListSyncRunsRequest, context: Any
    ) -> pb.ListSyncRunsResponse:
        return await list_sync_runs(self._backend.audit, request)

    async def ListPriceChanges(
        self, request: pb.ListPriceChangesRequest, context: Any
    ) -> pb.ListPriceChangesResponse:
        return await list_price_changes(self._backend.audit, request)

    async def ListProviders(
        self, request: pb.ListProvidersRequest, context: Any
    ) -> pb.ListProvidersResponse:
        return await list_providers(self._backend.audit, request)

    async def ListSources(
        self, request: pb.ListSourcesRequest, context: Any
    ) -> pb.ListSourcesResponse:
        backend = self._backend
        return await list_sources(backend.audit, backend.sources, backend.url_of, backend.schedule)

    async def ListHeldChanges(
        self, request: pb.ListHeldChangesRequest, context: Any
    ) -> pb.ListHeldChangesResponse:
        return await list_held_changes(self._backend.held, request)

    async def GetHeldChange(
        self, request: pb.GetHeldChangeRequest, context: Any
    ) -> pb.GetHeldChangeResponse:
        return await get_held_change(self._backend.held, request)

    async def ResolveHeldChange(
        self, request: pb.ResolveHeldChangeRequest, context: Any
    ) -> pb.ResolveHeldChangeResponse:
        return await resolve_held_change(self._backend.syncs, request)

    async def SetPriceOverride(
        self, request: pb.SetPriceOverrideRequest, context: Any
    ) -> pb.SetPriceOverrideResponse:
        backend = self._backend
        return await set_price_override(backend.price_overrides, backend.lookup, request)

    async def ClearPriceOverride(
        self, request: pb.ClearPriceOverrideRequest, context: Any
    ) -> pb.ClearPriceOverrideResponse:
        return await clear_price_override(self._backend.price_overrides, request)

    async def ListPriceOverrides(
        self, request: pb.ListPriceOverridesRequest, context: Any
    ) -> pb.ListPriceOverridesResponse:
        return await list_price_overrides(self._backend.evidence, request)

    async def ListPricing(
        self, request: pb.ListPricingRequest, context: Any
    ) -> pb.ListPricingResponse:
        return await list_pricing(self._lister, request)

    async def ListUpcomingChanges(
        self, request: pb.ListUpcomingChangesRequest, context: Any
    ) -> pb.ListUpcomingChangesResponse:
        return await list_upcoming_changes(self._upcoming, request)

    async def ListDiscrepancies(
        self, request: pb.ListDiscrepanciesRequest, context: Any
    ) -> pb.ListDiscrepanciesResponse:
        return await list_discrepancies(request, self._backend.evidence)

    async def ExplainPrice(
        self, request: pb.ExplainPriceRequest, context: Any
    ) -> pb.ExplainPriceResponse:
        backend = self._backend
        return await explain_price(request, self._explainer, backend.held, backend.sources)

    # Not a generator, as the stubs have it: only so a write can be given up.
    async def StreamPriceChanges(  # type: ignore[override]
        self, request: pb.StreamPriceChangesRequest, context: Any
    ) -> None:
        await serve_stream(
            self._backend.streams, stream_request(request), context, self._stream_write_seconds
        )
