"""Runs syncs and reverts, detached from whoever asked for them."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

import structlog

from pricing_server.errors import (
    DatabaseUnavailable,
    KeyMissing,
    PricingError,
    ShuttingDown,
    SourceNotFound,
)
from pricing_server.fault_points import FaultPoint, pass_fault_point
from pricing_server.fetch import FetchError, Payload, safe_url
from pricing_server.lookup.price import Head
from pricing_server.providers.source import PART, KeyUse, Listing, Source, SourceError
from pricing_server.sync.revert import RevertOutcome, RevertRequest
from pricing_server.sync.run import (
    RunDeclaredDead,
    StartedRun,
    SyncOutcome,
    SyncRequest,
    SyncSession,
    SyncStatus,
    SyncStore,
)

T = TypeVar("T")

CANCEL_SECONDS: Final = 2
"""How long a cancelled run may take to write down that it failed."""

log = structlog.get_logger(__name__)


class JsonFetcher(Protocol):
    """Fetches and decodes a payload; see `pricing_server.fetch`."""

    async def fetch_json(self, url: str, *, api_key: str | None = None) -> Payload:
        """Fetch one document. Raises FetchError."""


class SourceSettings(Protocol):
    """What the operator sets for a source."""

    def url_of(self, source: Source) -> str | None:
        """Where to fetch it from: the setting, else the declared endpoint."""

    def key_of(self, source: Source) -> str | None:
        """Its API key, if one is set."""


class SyncRunner:
    """Runs syncs and reverts as tasks of their own: a caller that goes away does not stop them.

    `committed(head)` is called before one that applied anything is reported, so
    that the process serves the new prices by then.
    """

    def __init__(
        self,
        store: SyncStore,
        fetcher: JsonFetcher,
        settings: SourceSettings,
        sources: Mapping[str, Source],
        committed: Callable[[Head], None],
    ) -> None:
        self._store = store
        self._fetcher = fetcher
        self._settings = settings
        self._sources = sources
        self._committed = committed
        self._tasks: set[asyncio.Task[Any]] = set()
        self._draining = False

    async def sync(self, request: SyncRequest) -> SyncOutcome:
        """Run a sync and wait for its outcome.

        Raises SourceNotFound, KeyMissing, SyncInProgress, DatabaseUnavailable or
        ShuttingDown when no run took place. A run that took place and failed is an outcome.
        """
        source = self._sources.get(request.source)
        if source is None:
            raise SourceNotFound(request.source, sorted(self._sources))
        if source.key_use is KeyUse.REQUIRED and self._settings.key_of(source) is None:
            raise KeyMissing(source.slug, source.key_variable)
        return await self._detached(self._run(source, request), f"sync {source.slug}")

    async def revert(self, request: RevertRequest) -> RevertOutcome:
        """Restore the prices before a run and wait for the outcome.

        Raises SyncRunNotFound, RunNotRevertible, DatabaseUnavailable or ShuttingDown.
        """
        return await self._detached(self._revert(request), f"revert {request.sync_run_id}")

    async def drain(self, grace_seconds: float) -> None:
        """Take no new runs, and give those under way some time before they are cancelled."""
        self._draining = True
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=grace_seconds)
            for task in late:
                task.cancel()
            if late:
                # Not for long: what cannot say that it failed is found dead by any process.
                await asyncio.wait(late, timeout=CANCEL_SECONDS)

    async def _detached(self, work: Coroutine[Any, Any, T], name: str) -> T:
        if self._draining:
            work.close()
            raise ShuttingDown("the server is shutting down and starts no sync")
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The caller may be gone; the log is then the only place that tells.
            reason = str(error) if isinstance(error, PricingError) else type(error).__name__
            log.warning("sync.not_run", task=task.get_name(), error=reason)

    async def _revert(self, request: RevertRequest) -> RevertOutcome:
        outcome = await self._store.revert(request)
        if outcome.changes and not request.dry_run:
            self._committed(Head(outcome.revision, outcome.epoch))
        log.info(
            "sync.reverted",
            run=request.sync_run_id,
            dry_run=request.dry_run,
            revision=outcome.revision,
            models_reverted=len(outcome.changes),
            models_refused=len(outcome.refused),
        )
        return outcome

    async def _run(self, source: Source, request: SyncRequest) -> SyncOutcome:
        started_at = datetime.now(UTC)
        async with self._store.session(source) as session:
            run = None
            if not request.dry_run:
                run = await session.start(request.triggered_by)
                pass_fault_point(FaultPoint.AFTER_START)
                started_at = run.started_at
            log.info("sync.started", source=source.slug, run=run and run.sync_run_id)
            try:
                listing = await self._read(source)
                pass_fault_point(FaultPoint.AFTER_FETCH)
                if run is None:
                    applied = await session.preview(
                        listing, register_unknown=request.register_unknown
                    )
                else:
                    applied = await session.apply(
                        run, listing, register_unknown=request.register_unknown
                    )
                    self._committed(Head(applied.revision, applied.epoch))
            except (FetchError, SourceError, RunDeclaredDead) as error:
                return await self._failed(session, source, request, run, started_at, str(error))
            except asyncio.CancelledError:
                if run is not None:
                    with suppress(RunDeclaredDead, DatabaseUnavailable):
                        await session.fail(run, "the server was shut down during the sync")
                raise
            except Exception as error:
                return await self._broken(session, source, request, run, started_at, error)
        outcome = SyncOutcome(
            source=source.slug,
            status=SyncStatus.SUCCESS,
            dry_run=request.dry_run,
            started_at=started_at,
            completed_at=applied.completed_at,
            revision=applied.revision,
            epoch=applied.epoch,
            sync_run_id=run.sync_run_id if run else None,
            counts=applied.plan.counts,
            changes=applied.plan.changes,
            faults=listing.faults,
            notices=applied.plan.notices,
        )
        log.info(
            "sync.succeeded",
            source=source.slug,
            run=outcome.sync_run_id,
            dry_run=request.dry_run,
            revision=outcome.revision,
            **outcome.counts,
        )
        return outcome

    async def _read(self, source: Source) -> Listing:
        if source.release is not None:
            document = await asyncio.to_thread(source.release.load)
            return await asyncio.to_thread(_listing, source, document, source.release.released_at)
        url = self._settings.url_of(source)
        if url is None:
            raise SourceError(f"no address is known: set {source.url_variable}")
        if source.parts:
            return await self._read_parts(source, url)
        payload = await self._fetcher.fetch_json(url, api_key=self._settings.key_of(source))
        listing = await asyncio.to_thread(_listing, source, payload.document, payload.obtained_at)
        return replace(listing, payload_url=payload.url, payload_sha256=payload.sha256)

    async def _read_parts(self, source: Source, url: str) -> Listing:
        """All documents or none: models of one that is missing would seem to be gone."""
        if PART not in url:
            raise SourceError(f"{source.url_variable} does not say where {PART} goes")
        key = self._settings.key_of(source)
        payloads = {
            # One after the other, to be polite.
            part: await self._fetcher.fetch_json(url.replace(PART, part), api_key=key)
            for part in source.parts
        }
        document = {part: payload.document for part, payload in payloads.items()}
        obtained_at = min(payload.obtained_at for payload in payloads.values())
        listing = await asyncio.to_thread(_listing, source, document, obtained_at)
        hashes = "".join(payloads[part].sha256 for part in sorted(payloads))
        digest = hashlib.sha256(hashes.encode()).hexdigest()
        where = safe_url(url.replace(PART, "PART")).replace("PART", PART)
        return replace(listing, payload_url=where, payload_sha256=digest)

    async def _broken(
        self,
        session: SyncSession,
        source: Source,
        request: SyncRequest,
        run: StartedRun | None,
        started_at: datetime,
        error: Exception,
    ) -> SyncOutcome:
        """A fault that no source is to blame for: the cause stays in the log."""
        if isinstance(error, PricingError) and run is None:
            raise error
        reference = uuid.uuid4().hex[:12]
        log.error("sync.broken", source=source.slug, reference=reference, exc_info=error)
        message = (
            str(error)
            if isinstance(error, PricingError)
            else f"internal fault, reference {reference} in the server's log"
        )
        return await self._failed(session, source, request, run, started_at, message)

    async def _failed(
        self,
        session: SyncSession,
        source: Source,
        request: SyncRequest,
        run: StartedRun | None,
        started_at: datetime,
        message: str,
    ) -> SyncOutcome:
        completed_at = datetime.now(UTC)
        revision, epoch = 0, ""
        try:
            if run is not None:
                try:
                    completed_at = await session.fail(run, message)
                except RunDeclaredDead as error:
                    message = str(error)
            revision, epoch = await session.head()
        except Exception as error:
            # The row stays in progress until the next run of the source closes it.
            log.error(
                "sync.outcome_not_logged",
                source=source.slug,
                run=run and run.sync_run_id,
                exc_info=None if isinstance(error, PricingError) else error,
            )
        log.warning(
            "sync.failed",
            source=source.slug,
            run=run and run.sync_run_id,
            dry_run=request.dry_run,
            error=message,
        )
        return SyncOutcome(
            source=source.slug,
            status=SyncStatus.FAILED,
            dry_run=request.dry_run,
            started_at=started_at,
            completed_at=completed_at,
            revision=revision,
            epoch=epoch,
            sync_run_id=run.sync_run_id if run else None,
            error_message=message,
        )


def _listing(source: Source, document: object, received_at: datetime) -> Listing:
    listing = source.read(document, received_at)
    for model in listing.models:
        # Hashed here, in a thread of its own, and not while the price table is locked.
        _ = model.card.card_id
    return listing
