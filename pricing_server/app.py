"""One server process: everything wired together, started and stopped in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import structlog

from pricing_server.domain.errors import DatabaseUnavailable, SyncInProgress
from pricing_server.domain.head import Head
from pricing_server.domain.price_change import SERVER
from pricing_server.domain.sellers import ALIASES
from pricing_server.domain.sync_run import SyncRequest, SyncStatus
from pricing_server.fetch.fetcher import Fetcher
from pricing_server.fetch.webhook import HttpWebhook
from pricing_server.grpc_api.methods.price_stream import MessageEncoder
from pricing_server.grpc_api.server import CALL_GRACE_SECONDS, serving
from pricing_server.grpc_api.service import Backend, PricingService
from pricing_server.listing.price_list import PriceLists
from pricing_server.lookup.last_good import LastGood
from pricing_server.lookup.layers.catalogue import Catalog
from pricing_server.lookup.layers.price_file import ManualPrices
from pricing_server.lookup.layers.price_file_format import ManualFileError
from pricing_server.lookup.lookup import Lookup
from pricing_server.lookup.matching.catalogue_clauses import clauses
from pricing_server.lookup.matching.catalogue_coverage import CatalogueCoverage
from pricing_server.lookup.price_table import PriceTable
from pricing_server.postgres.connection import READER, WRITER, Pool, read_pool
from pricing_server.postgres.maintenance.migrations import (
    DatabaseNotReached,
    MigrationError,
    apply_migrations,
    check_access,
)
from pricing_server.postgres.maintenance.override_ender import OverrideEnder
from pricing_server.postgres.maintenance.pruner import Pruner
from pricing_server.postgres.maintenance.reaper import Reaper
from pricing_server.postgres.readers.audit_reader import PostgresAuditReader
from pricing_server.postgres.readers.change_history import PostgresChangeHistory
from pricing_server.postgres.readers.evidence_reader import PostgresEvidenceReader
from pricing_server.postgres.readers.head_watcher import HeadWatcher
from pricing_server.postgres.readers.held_reader import PostgresHeldReader
from pricing_server.postgres.readers.price_reader import PostgresPriceReader, head_of
from pricing_server.postgres.writers.overrides import PostgresOverrideStore
from pricing_server.postgres.writers.schedule_store import (
    PostgresNoticeStore,
    PostgresScheduleStore,
)
from pricing_server.postgres.writers.sync_store import PostgresSyncStore
from pricing_server.providers import SOURCES, genai_prices
from pricing_server.runtime import fault_points
from pricing_server.runtime.bounded import abandoned_work_ended
from pricing_server.runtime.breaker import Breaker
from pricing_server.runtime.clock import utc_now
from pricing_server.scheduler.alerts import Alerts
from pricing_server.scheduler.scheduler import Scheduler
from pricing_server.scheduler.sync_schedule import Schedule
from pricing_server.settings import Logins, Settings, SettingsError
from pricing_server.stream.change_streams import READERS, ChangeStreams
from pricing_server.stream.feed import Feed
from pricing_server.sync.override_runner import OverrideRunner
from pricing_server.sync.runner import SyncRunner

SYNC_GRACE_SECONDS: Final = 5
BUNDLED_POLL_SECONDS: Final = 0.1
PREPARE_RETRY_SECONDS: Final = 1

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers."""

    address: str
    """host:port, with the port that was bound if the setting said 0."""


class HeadNews:
    """Passes each sight of the price table's head on to everyone who keeps prices of it."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[Head, bool], None]] = []

    def subscribe(self, subscriber: Callable[[Head, bool], None]) -> None:
        """Call `subscriber(head, is_new)` from now on; `is_new` is as for `seen`."""
        self._subscribers.append(subscriber)

    def seen(self, head: Head, is_new: bool) -> None:
        """The head was read; `is_new` if something was committed, with or without a new price."""
        for subscriber in self._subscribers:
            subscriber(head, is_new)

    def committed(self, head: Head) -> None:
        """This process has committed something."""
        self.seen(head, True)


@dataclass(frozen=True, slots=True)
class _Reads:
    """What answers look-ups and lists, all on one pool and behind one breaker."""

    pool: Pool
    breaker: Breaker
    lookup: Lookup
    lists: PriceLists


@asynccontextmanager
async def running_server(
    settings: Settings, conninfo: str | None, migrations: Path
) -> AsyncIterator[RunningServer]:
    """Serve until the context ends.

    First the schema is brought up to date, and a bundled catalogue that is newer than the
    one last applied is synced, so that the first answer is complete. If the database does
    not answer, this happens as soon as it does, and look-ups are served meanwhile.
    `conninfo` is the owner's, who migrates and does what has no login of its own in the
    settings. Raises SettingsError, MigrationError, CannotListen.
    """
    fault_points.arm(settings.fault_point)
    logins = settings.logins(conninfo)
    heads = HeadNews()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(abandoned_work_ended, CALL_GRACE_SECONDS)
        catalog, coverage = bundled_catalogue()
        covers = {genai_prices.SOURCE.slug: coverage.covered}
        reads = await _start_reads(stack, settings, logins, catalog, heads)
        store = PostgresSyncStore(logins.writer, covers)
        streams = await _start_streams(stack, settings, logins, store, heads)
        fetcher = await stack.enter_async_context(Fetcher())
        syncs = SyncRunner(store, fetcher, settings, SOURCES, heads.committed)
        stack.push_async_callback(syncs.drain, SYNC_GRACE_SECONDS)
        price_overrides = OverrideRunner(
            PostgresOverrideStore(logins.writer, covers), heads.committed
        )
        stack.push_async_callback(price_overrides.drain, CALL_GRACE_SECONDS)
        await _prepare_or_retry(stack, partial(_prepare, logins, migrations, store, syncs))
        await _start_watching(stack, logins, store, heads)
        schedule = Schedule(settings, SOURCES, utc_now())
        await _start_schedule(stack, settings, logins, schedule, syncs)
        backend = Backend(
            lookup=reads.lookup,
            lists=reads.lists,
            syncs=syncs,
            price_overrides=price_overrides,
            streams=streams,
            audit=PostgresAuditReader(reads.pool, reads.breaker),
            evidence=PostgresEvidenceReader(reads.pool, reads.breaker),
            held=PostgresHeldReader(reads.pool, reads.breaker),
            schedule=schedule,
            sources=SOURCES,
            url_of=settings.url_of,
        )
        service = PricingService(backend, stream_write_seconds=settings.stream_write_seconds)
        yield RunningServer(await stack.enter_async_context(serving(service, settings, streams)))


@cache
def bundled_catalogue() -> tuple[Catalog, CatalogueCoverage]:
    """The bundled catalogue and what it covers: of the release that is installed, so that nothing
    in it changes, and servers of one process share it."""
    catalog = Catalog(genai_prices.SOURCE, clauses)
    return catalog, CatalogueCoverage(genai_prices.SOURCE.slug, catalog)


async def _start_reads(
    stack: AsyncExitStack, settings: Settings, logins: Logins, catalog: Catalog, heads: HeadNews
) -> _Reads:
    manual = await asyncio.to_thread(_manual_prices, settings)
    pool = await stack.enter_async_context(
        read_pool(logins.reader, size=settings.database_connections)
    )
    breaker = Breaker(partial(head_of, pool), turns=settings.database_connections)
    stack.push_async_callback(breaker.aclose)
    last_good = await stack.enter_async_context(LastGood(settings.data_dir / "last_good.sqlite"))
    table = PriceTable(
        PostgresPriceReader(pool, breaker),
        breaker,
        last_good,
        cache_size=settings.cache_size,
        cache_ttl_seconds=settings.cache_ttl_seconds,
        clock=utc_now,
    )
    heads.subscribe(table.head_read)
    lists = PriceLists(PostgresChangeHistory(pool), breaker, ttl_seconds=settings.cache_ttl_seconds)
    stack.push_async_callback(lists.aclose)
    heads.subscribe(lambda _, is_new: lists.clear() if is_new else None)
    lookup = Lookup(table, manual, catalog, SOURCES)
    return _Reads(pool, breaker, lookup, lists)


async def _start_streams(
    stack: AsyncExitStack,
    settings: Settings,
    logins: Logins,
    store: PostgresSyncStore,
    heads: HeadNews,
) -> ChangeStreams:
    pool = await stack.enter_async_context(read_pool(logins.reader, size=READERS + 1))
    history = PostgresChangeHistory(pool)
    encoder = MessageEncoder(SOURCES)
    feed = Feed(
        history,
        encoder,
        buffer_bytes=settings.stream_buffer_bytes,
        renew_epoch=store.renew_epoch_behind,
    )
    heads.subscribe(lambda head, _: feed.announce(head))
    await _start(stack, feed.run())
    return ChangeStreams(
        feed,
        history,
        encoder,
        max_streams=settings.max_streams,
        horizon=settings.stream_horizon,
    )


async def _prepare_or_retry(stack: AsyncExitStack, prepare: Callable[[], Awaitable[None]]) -> None:
    """Prepare the database; if it does not answer, as soon as it does."""
    try:
        await prepare()
    except (DatabaseNotReached, DatabaseUnavailable) as error:
        log.error("start.without_database", error=str(error))
        await _start(stack, _until_reached(prepare))


async def _start_watching(
    stack: AsyncExitStack, logins: Logins, store: PostgresSyncStore, heads: HeadNews
) -> None:
    """Close runs of dead processes, end overrides in time, and follow the head."""
    await _start(stack, Reaper(logins.writer).run())
    ender = OverrideEnder(logins.writer, heads.committed)
    heads.subscribe(lambda *_: ender.look())
    await _start(stack, ender.run())
    watcher = HeadWatcher(logins.reader, heads.seen, reconnected=store.renew_restored_epoch)
    await _start(stack, watcher.run())


async def _start_schedule(
    stack: AsyncExitStack,
    settings: Settings,
    logins: Logins,
    schedule: Schedule,
    syncs: SyncRunner,
) -> None:
    """Prune the sync log, sync sources when they are due, and alert when they fail."""
    if settings.sync_log_days:
        await _start(stack, Pruner(logins.writer, settings.sync_log_days).run())
    if not schedule.intervals:
        return
    webhook = None
    if settings.alert_webhook_url is not None:
        webhook = HttpWebhook(settings.alert_webhook_url.get_secret_value())
        await stack.enter_async_context(webhook)
    store = PostgresScheduleStore(logins.writer)
    alerts = Alerts(
        schedule,
        store,
        PostgresNoticeStore(logins.writer),
        webhook,
        after_failures=settings.alert_after_failures,
    )
    await _start(stack, alerts.deliver())
    await _start(stack, Scheduler(schedule, store, syncs, alerts).run())


async def _prepare(
    logins: Logins, migrations: Path, store: PostgresSyncStore, syncs: SyncRunner
) -> None:
    """Bring the database into the state that this build needs."""
    if logins.owner is not None:
        for applied in await asyncio.to_thread(apply_migrations, logins.owner, migrations):
            log.info("migration.applied", file=applied)
    for login, role in ((logins.reader, READER), (logins.writer, WRITER)):
        await asyncio.to_thread(check_access, login, role, migrations)
    await store.prepare(SOURCES.values(), ALIASES)
    await _sync_bundled(store, syncs)


async def _until_reached(prepare: Callable[[], Awaitable[None]]) -> None:
    """Prepare the database as soon as it answers."""
    while True:
        await asyncio.sleep(PREPARE_RETRY_SECONDS)
        try:
            await prepare()
            log.info("start.database_prepared")
            return
        except (DatabaseNotReached, DatabaseUnavailable):
            continue
        except MigrationError as error:
            # Only a newer build or an operator can repair it; look-ups still answer.
            log.error("start.not_migrated", error=str(error))
            return
        except Exception as error:
            log.error("start.not_prepared", exc_info=error)
            return


async def _start(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Run a task until the stack is closed."""
    task = asyncio.create_task(work)

    async def stop() -> None:
        task.cancel()
        await asyncio.wait({task}, timeout=CALL_GRACE_SECONDS)

    stack.push_async_callback(stop)


async def _sync_bundled(store: PostgresSyncStore, syncs: SyncRunner) -> None:
    for source in SOURCES.values():
        release = source.release
        while release is not None and await store.latest_release(source) != release.version:
            try:
                outcome = await syncs.sync(
                    SyncRequest(source.slug, triggered_by="start", actor=SERVER)
                )
            except SyncInProgress:
                # Another process starts on the same database; its sync serves both.
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
