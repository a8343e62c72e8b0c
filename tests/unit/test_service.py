"""Methods of the service do what takes long beside the event loop."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState, Rate, RateCard
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.price_change import ChangeKind, ChangeOrigin, OriginKind, PriceChange
from pricing_server.domain.sync_run import SyncRun
from pricing_server.grpc_api.service import Backend, PricingService
from pricing_server.history.audit import (
    AuditReader,
    ChangeCursor,
    ChangeFilter,
    ProviderCoverage,
    SourceHealth,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
CHANGE = PriceChange(
    kind=ChangeKind.ADDED,
    provider="acme",
    model_id="m",
    old=None,
    new=RateCard.of(PriceState.PRICED, [Rate(Meter.INPUT_TOKENS, Decimal("0.000001"))]),
    source="acme",
    effective_time=NOON,
    changed_at=NOON,
    origin=ChangeOrigin(OriginKind.SYNC, "admin", sync_run_id=1),
    revision=1,
)


class Page(list[tuple[ChangeCursor, PriceChange]]):
    """Remembers which threads iterated over it or over a part of it."""

    threads: set[int]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            self.threads.add(threading.get_ident())
        return super().__getitem__(index)


class Trail(AuditReader):
    """An audit trail of three changes."""

    def __init__(self) -> None:
        self.page = Page([((1, 3), CHANGE), ((1, 2), CHANGE), ((1, 1), CHANGE)])
        self.page.threads = set()

    async def changes(
        self, criteria: ChangeFilter, before: ChangeCursor | None, limit: int
    ) -> Sequence[tuple[ChangeCursor, PriceChange]]:
        return self.page

    async def run(self, sync_run_id: int) -> SyncRun | None:
        raise NotImplementedError

    async def runs(self, source: str | None, before: int | None, limit: int) -> Sequence[SyncRun]:
        raise NotImplementedError

    async def providers(self, after: str | None, limit: int) -> Sequence[ProviderCoverage]:
        raise NotImplementedError

    async def sources(self) -> Sequence[SourceHealth]:
        raise NotImplementedError


async def test_a_page_of_changes_is_converted_beside_the_event_loop() -> None:
    trail = Trail()
    unasked = dict.fromkeys(field.name for field in fields(Backend))
    backend = Backend(**cast("dict[str, Any]", unasked | {"audit": trail}))
    service = PricingService(backend, stream_write_seconds=1)
    response = await service.ListPriceChanges(pb.ListPriceChangesRequest(page_size=2), None)
    assert [change.new_input for change in response.changes] == ["1.00", "1.00"]
    assert response.next_page_token
    assert trail.page.threads
    assert threading.get_ident() not in trail.page.threads
