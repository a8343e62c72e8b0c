"""One server process: everything wired together, started and stopped in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from llmpricing.v1 import pricing_pb2, pricing_pb2_grpc
from pricing_server import fault_points
from pricing_server.audit_guard import GuardedAuditReader, GuardedHeldReader
from pricing_server.bounded import abandoned_work_ended
from pricing_server.errors import DatabaseUnavailable, SyncInProgress
from pricing_server.evidence_guard import GuardedEvidenceReader
from pricing_server.fetch import Fetcher
from pricing_server.grpc_api.boundary import Boundary
from pricing_server.grpc_api.reflection import reflected_pool
from pricing_server.grpc_api.service import PricingService
from pricing_server.grpc_api.stream import MessageEncoder
from pricing_server.lookup.cache import utc_now
from pricing_server.lookup.catalog import Catalog
from pricing_server.lookup.guard import GuardedReader
from pricing_server.lookup.last_good import LastGood
from pricing_server.lookup.lookup import Lookup
from pricing_server.lookup.manual import ManualPrices
from pricing_server.lookup.manual_file import ManualFileError
from pricing_server.lookup.price import Head
from pricing_server.lookup.price_list import PriceLists
from pricing_server.lookup.table import PriceTable
from pricing_server.matching.catalogue import clauses
from pricing_server.matching.covering import CatalogueCoverage
from pricing_server.postgres.audit_reader import PostgresAuditReader
from pricing_server.postgres.change_history import PostgresChangeHistory
from pricing_server.postgres.connection import READER, WRITER, read_pool
from pricing_server.postgres.evidence_reader import PostgresEvidenceReader
from pricing_server.postgres.head_watcher import HeadWatcher
from pricing_server.postgres.held_reader import PostgresHeldReader
from pricing_server.postgres.migrations import (
    DatabaseNotReached,
    MigrationError,
    apply_migrations,
    check_access,
)
from pricing_server.postgres.override_ender import OverrideEnder
from pricing_server.postgres.overrides import PostgresOverrideStore
from pricing_server.postgres.price_reader import PostgresPriceReader
from pricing_server.postgres.pruner import Pruner
from pricing_server.postgres.reaper import Reaper
from pricing_server.postgres.schedule_store import PostgresNoticeStore, PostgresScheduleStore
from pricing_server.postgres.sync_store import PostgresSyncStore
from pricing_server.providers import SOURCES, genai_prices
from pricing_server.scheduler.alerts import Alerts
from pricing_server.scheduler.schedule import Schedule
from pricing_server.scheduler.scheduler import Scheduler
from pricing_server.sellers import ALIASES
from pricing_server.settings import Logins, Settings, SettingsError, split_address
from pricing_server.stream.feed import Feed
from pricing_server.stream.streams import READERS, ChangeStreams
from pricing_server.sync.override_runner import OverrideRunner
from pricing_server.sync.run import SyncRequest, SyncStatus
from pricing_server.sync.runner import SyncRunner
from pricing_server.webhook import HttpWebhook

SERVICE_NAME: Final = pricing_pb2.DESCRIPTOR.services_by_name["PricingService"].full_name
CALL_GRACE_SECONDS: Final = 3
STREAM_GRACE_SECONDS: Final = 1
SYNC_GRACE_SECONDS: Final = 5
BUNDLED_POLL_SECONDS: Final = 0.1
PREPARE_RETRY_SECONDS: Final = 1

OPTIONS: Final = (
    # A second server on the same port is a mistake, not a way to share load.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
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
    settings: Settings, conninfo: str | None, migrations: Path
) -> AsyncIterator[RunningServer]:
    """Serve until the context ends.

    First the schema is brought up to date, and a bundled catalogue that is newer than the
    one last applied is synced, so that the first answer is complete. If the database does
    not answer, that is done once it does, and look-ups are served meanwhile.
    `conninfo` is the owner's, who migrates and does what has no login of its own in the
    settings. Raises SettingsError, MigrationError, CannotListen.
    """
    fault_points.arm(settings.fault_point)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(abandoned_work_ended, CALL_GRACE_SECONDS)
        manual = await asyncio.to_thread(_manual_prices, settings)
        logins = settings.logins(conninfo)
        catalog = Catalog(genai_prices.SOURCE, clauses)
        coverage = CatalogueCoverage(genai_prices.SOURCE.slug, catalog)
        covers = {genai_prices.SOURCE.slug: coverage.covered}
        store = PostgresSyncStore(logins.writer, covers)
        pool = read_pool(logins.reader, size=settings.database_connections)
        await stack.enter_async_context(pool)
        reader = GuardedReader(PostgresPriceReader(pool))
        stack.push_async_callback(reader.aclose)
        last_good = LastGood(settings.data_dir / "last_good.sqlite")
        await stack.enter_async_context(last_good)
        table = PriceTable(
            reader,
            last_good,
            cache_size=settings.cache_size,
            cache_ttl_seconds=settings.cache_ttl_seconds,
            clock=utc_now,
        )
        lookup = Lookup(table, manual, catalog, SOURCES)
        lists = PriceLists(
            PostgresChangeHistory(pool), reader.breaker, ttl_seconds=settings.cache_ttl_seconds
        )
        stack.push_async_callback(lists.aclose)
        fetcher = await stack.enter_async_context(Fetcher())
        stream_pool = read_pool(logins.reader, size=READERS + 1)
        await stack.enter_async_context(stream_pool)
        history = PostgresChangeHistory(stream_pool)
        encoder = MessageEncoder(SOURCES)
        feed = Feed(
            history,
            encoder,
            buffer_bytes=settings.stream_buffer_bytes,
            renew_epoch=store.renew_epoch_behind,
        )
        await stack.enter_async_context(_in_background(feed.run()))
        streams = ChangeStreams(
            feed,
            history,
            encoder,
            max_streams=settings.max_streams,
            horizon=settings.stream_horizon,
        )

        def committed(head: Head) -> None:
            table.clear(head)
            lists.clear()
            feed.announce(head)
            ender.look()

        def head_read(head: Head, notified: bool) -> None:
            table.head_read(head, notified)
            if notified:
                lists.clear()
            feed.announce(head)
            ender.look()

        ender = OverrideEnder(logins.writer, committed)

        syncs = SyncRunner(store, fetcher, settings, SOURCES, committed)
        stack.push_async_callback(syncs.drain, SYNC_GRACE_SECONDS)
        price_overrides = OverrideRunner(PostgresOverrideStore(logins.writer, covers), committed)
        stack.push_async_callback(price_overrides.drain, CALL_GRACE_SECONDS)
        prepared = partial(_prepare, logins, migrations, store, syncs)
        try:
            await prepared()
        except (DatabaseNotReached, DatabaseUnavailable) as error:
            log.error("start.without_database", error=str(error))
            await stack.enter_async_context(_in_background(_until_reached(prepared)))
        await stack.enter_async_context(_in_background(Reaper(logins.writer).run()))
        await stack.enter_async_context(_in_background(ender.run()))
        watcher = HeadWatcher(logins.reader, head_read, reconnected=store.renew_restored_epoch)
        await stack.enter_async_context(_in_background(watcher.run()))
        schedule = Schedule(settings, SOURCES, utc_now())
        await stack.enter_async_context(_maintained(settings, logins.writer, schedule, syncs))

        token = settings.admin_token
        server = grpc.aio.server(
            interceptors=[Boundary(token.get_secret_value() if token else None)],
            options=OPTIONS,
        )
        audit = GuardedAuditReader(PostgresAuditReader(pool), reader.breaker)
        evidence = GuardedEvidenceReader(PostgresEvidenceReader(pool), reader.breaker)
        held = GuardedHeldReader(PostgresHeldReader(pool), reader.breaker)
        pricing_pb2_grpc.add_PricingServiceServicer_to_server(
            PricingService(
                lookup,
                syncs,
                audit,
                SOURCES,
                settings.url_of,
                streams,
                schedule,
                price_overrides,
                evidence,
                held,
                lists,
                stream_write_seconds=settings.stream_write_seconds,
            ),
            server,
        )
        healthy = health.aio.HealthServicer()  # type: ignore[attr-defined]  # not in the type stubs
        health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
        await healthy.set(SERVICE_NAME, health_pb2.HealthCheckResponse.SERVING)
        await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
        reflection.enable_server_reflection(
            [SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME],
            server,
            pool=reflected_pool(),
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
        # Streams have no end of their own: they would take the whole grace of the calls.
        stack.push_async_callback(streams.drain, STREAM_GRACE_SECONDS)
        stack.push_async_callback(healthy.enter_graceful_shutdown)
        shown = f"[{host}]" if ":" in host else host
        yield RunningServer(f"{shown}:{port}")


async def _prepare(
    logins: Logins, migrations: Path, store: PostgresSyncStore, syncs: SyncRunner
) -> None:
    """Bring the database to where this build needs it."""
    if logins.owner is not None:
        for applied in await asyncio.to_thread(apply_migrations, logins.owner, migrations):
            log.info("migration.applied", file=applied)
    for login, role in ((logins.reader, READER), (logins.writer, WRITER)):
        await asyncio.to_thread(check_access, login, role, migrations)
    await store.prepare(SOURCES.values(), ALIASES)
    await _sync_bundled(store, syncs)


async def _until_reached(prepared: Callable[[], Awaitable[None]]) -> None:
    """Prepare the database as soon as it answers."""
    while True:
        await asyncio.sleep(PREPARE_RETRY_SECONDS)
        try:
            await prepared()
            log.info("start.database_prepared")
            return
        except (DatabaseNotReached, DatabaseUnavailable):
            continue
        except MigrationError as error:
            # Nothing but a newer build or a hand will mend it; look-ups still answer.
            log.error("start.not_migrated", error=str(error))
            return
        except Exception as error:
            log.error("start.not_prepared", exc_info=error)
            return


@asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a task for as long as the context lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=CALL_GRACE_SECONDS)


@asynccontextmanager
async def _maintained(
    settings: Settings, writer: str, schedule: Schedule, syncs: SyncRunner
) -> AsyncIterator[None]:
    """Sync sources when they are due, tell of those that fail, and prune the log, meanwhile."""
    async with AsyncExitStack() as stack:
        if settings.sync_log_days:
            pruner = Pruner(writer, settings.sync_log_days)
            await stack.enter_async_context(_in_background(pruner.run()))
        if schedule.intervals:
            webhook = None
            if settings.alert_webhook_url is not None:
                webhook = HttpWebhook(settings.alert_webhook_url.get_secret_value())
                await stack.enter_async_context(webhook)
            store = PostgresScheduleStore(writer)
            alerts = Alerts(
                schedule,
                store,
                PostgresNoticeStore(writer),
                webhook,
                after_failures=settings.alert_after_failures,
            )
            await stack.enter_async_context(_in_background(alerts.deliver()))
            scheduler = Scheduler(schedule, store, syncs, alerts)
            await stack.enter_async_context(_in_background(scheduler.run()))
        yield


async def _sync_bundled(store: PostgresSyncStore, syncs: SyncRunner) -> None:
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
                log.error("start.incomplete", source=source.slug, error=outcome.error_message)
            break


def _manual_prices(settings: Settings) -> ManualPrices | None:
    path = settings.manual_pricing_file
    if path is None:
        return None
    try:
        return ManualPrices(path)
    except ManualFileError as error:
        raise SettingsError(f"PRICING_MANUAL_PRICING_FILE: {path}: {error}") from None
