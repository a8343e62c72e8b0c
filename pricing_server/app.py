"""One server process: everything wired together, started and stopped in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from llmpricing.v1 import pricing_pb2, pricing_pb2_grpc
from pricing_server.errors import SyncInProgress
from pricing_server.fetch import Fetcher
from pricing_server.grpc_api.boundary import Boundary
from pricing_server.grpc_api.service import PricingService
from pricing_server.lookup.catalog import Catalog
from pricing_server.lookup.lookup import Lookup
from pricing_server.postgres.audit_reader import PostgresAuditReader
from pricing_server.postgres.connection import read_pool
from pricing_server.postgres.price_reader import PostgresPriceReader
from pricing_server.postgres.sync_store import PostgresSyncStore
from pricing_server.providers import SOURCES, genai_prices
from pricing_server.sellers import ALIASES
from pricing_server.settings import Settings, split_address
from pricing_server.sync.run import SyncRequest, SyncStatus
from pricing_server.sync.runner import SyncRunner

SERVICE_NAME: Final = pricing_pb2.DESCRIPTOR.services_by_name["PricingService"].full_name
CALL_GRACE_SECONDS: Final = 3
SYNC_GRACE_SECONDS: Final = 5
BUNDLED_POLL_SECONDS: Final = 0.1

OPTIONS: Final = (
    # A second server on the same port is a mistake, not a way to share load.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 1024 * 1024),
    # A client that pings too often is told to slow down; idle ones may ping.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),
)

log = structlog.get_logger(__name__)


class CannotListen(Exception):
    """The address cannot be bound. The message is one line that names the setting."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers."""

    address: str
    """host:port, with the port that was taken if the setting said 0."""


@asynccontextmanager
async def running_server(
    settings: Settings, conninfo: str, *, on_failure: Callable[[str], None] = lambda _: None
) -> AsyncIterator[RunningServer]:
    """Serve until the context ends; the database has its schema.

    A bundled catalogue that is newer than the one last applied is synced first, so
    that the first answer is complete. `on_failure` is told if that did not work.
    Raises DatabaseUnavailable, CannotListen.
    """
    async with AsyncExitStack() as stack:
        store = PostgresSyncStore(conninfo)
        await store.prepare(SOURCES.values(), ALIASES)
        pool = read_pool(conninfo, size=settings.database_connections)
        await stack.enter_async_context(pool)
        lookup = Lookup(
            PostgresPriceReader(pool),
            Catalog(genai_prices.SOURCE),
            SOURCES,
            cache_size=settings.cache_size,
            cache_ttl_seconds=settings.cache_ttl_seconds,
        )
        fetcher = await stack.enter_async_context(Fetcher())
        syncs = SyncRunner(store, fetcher, settings, SOURCES, lookup.committed)
        stack.push_async_callback(syncs.drain, SYNC_GRACE_SECONDS)
        await _sync_bundled(store, syncs, on_failure)

        token = settings.admin_token
        server = grpc.aio.server(
            interceptors=[Boundary(token.get_secret_value() if token else None)],
            options=OPTIONS,
        )
        audit = PostgresAuditReader(pool)
        pricing_pb2_grpc.add_PricingServiceServicer_to_server(
            PricingService(lookup, syncs, audit, SOURCES, settings.url_of), server
        )
        healthy = health.aio.HealthServicer()  # type: ignore[attr-defined]  # not in the type stubs
        health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
        await healthy.set(SERVICE_NAME, health_pb2.HealthCheckResponse.SERVING)
        await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
        reflection.enable_server_reflection(
            [SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME], server
        )
        host, _ = split_address(settings.listen)
        try:
            port = server.add_insecure_port(settings.listen)
        except RuntimeError:
            raise CannotListen(
                f"PRICING_LISTEN: {settings.listen} cannot be bound; is it in use?"
            ) from None
        await server.start()
        stack.push_async_callback(server.stop, CALL_GRACE_SECONDS)
        stack.push_async_callback(healthy.enter_graceful_shutdown)
        shown = f"[{host}]" if ":" in host else host
        yield RunningServer(f"{shown}:{port}")


async def _sync_bundled(
    store: PostgresSyncStore, syncs: SyncRunner, on_failure: Callable[[str], None]
) -> None:
    for source in SOURCES.values():
        release = source.release
        while release is not None and await store.latest_release(source) != release.version:
            try:
                outcome = await syncs.sync(SyncRequest(source.slug, triggered_by="start"))
            except SyncInProgress:
                # Another process starts on the same database; its sync serves us both.
                await asyncio.sleep(BUNDLED_POLL_SECONDS)
                continue
            if outcome.status is not SyncStatus.SUCCESS:
                on_failure(f"the sync of {source.slug} failed: {outcome.error_message}")
            break
