"""Sets and clears overrides, detached from whoever asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import structlog

from pricing_server.domain.errors import ShuttingDown
from pricing_server.domain.head import Head
from pricing_server.domain.override import ClearRequest, OverrideOutcome, OverrideRequest

log = structlog.get_logger(__name__)


class OverrideStore(Protocol):
    """Where overrides are kept. Each method raises DatabaseUnavailable."""

    async def set(self, request: OverrideRequest) -> OverrideOutcome:
        """Put a price in force. Raises as `pricing_server.sync.overriding.set_override`."""

    async def clear(self, request: ClearRequest) -> OverrideOutcome:
        """End an override. Raises OverrideNotFound."""


class OverrideRunner:
    """Changes overrides as tasks of their own: a caller that goes away does not stop one that
    may be committed already.

    `committed(head)` is called before one is reported, so that the process serves it by then.
    """

    def __init__(self, store: OverrideStore, committed: Callable[[Head], None]) -> None:
        self._store = store
        self._committed = committed
        self._tasks: set[asyncio.Task[OverrideOutcome]] = set()
        self._draining = False

    async def set(self, request: OverrideRequest) -> OverrideOutcome:
        """Put a price in force. Raises as the store does, and ShuttingDown."""
        if request.dry_run:
            return await self._store.set(request)
        outcome = await self._detached(self._store.set(request))
        log.info(
            "override.set",
            provider=request.provider,
            model=request.model_id,
            set_by=request.set_by,
            until=request.until.isoformat() if request.until else None,
            revision=outcome.revision,
        )
        return outcome

    async def clear(self, request: ClearRequest) -> OverrideOutcome:
        """End an override. Raises OverrideNotFound, DatabaseUnavailable, ShuttingDown."""
        if request.dry_run:
            return await self._store.clear(request)
        outcome = await self._detached(self._store.clear(request))
        log.info(
            "override.cleared",
            provider=request.provider,
            model=request.model_id,
            cleared_by=request.cleared_by,
            revision=outcome.revision,
        )
        return outcome

    async def drain(self, grace_seconds: float) -> None:
        """Take no more, and give those under way some time."""
        self._draining = True
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=grace_seconds)

    async def _detached(self, work: Coroutine[Any, Any, OverrideOutcome]) -> OverrideOutcome:
        if self._draining:
            work.close()
            raise ShuttingDown("the server is shutting down and changes no price")
        task = asyncio.create_task(self._announced(work), name="override")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def _announced(self, work: Coroutine[Any, Any, OverrideOutcome]) -> OverrideOutcome:
        outcome = await work
        self._committed(Head(outcome.revision, outcome.epoch))
        return outcome

    def _done(self, task: asyncio.Task[OverrideOutcome]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # Whoever waited may be gone; the error is then nobody's.
