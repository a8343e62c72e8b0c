"""A guard before the price table: no look-up waits for a database that is known to be down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

import structlog

from pricing_server.bounded import bounded
from pricing_server.errors import DatabaseUnavailable
from pricing_server.lookup.price import Head, Price, PriceReader

T = TypeVar("T")

ANSWER_SECONDS: Final = 1.5
"""How long a look-up waits for the database: thousands of times what it takes."""

PROBE_SECONDS: Final = 0.25
"""How long after a failed probe the next one begins."""

log = structlog.get_logger(__name__)


class GuardedReader:
    """A PriceReader that fails at once while the database is known to be down.

    The first call that fails or is late declares it down; from then on a probe asks until
    it answers, and look-ups go on without it.
    """

    def __init__(
        self,
        reader: PriceReader,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        probe_seconds: float = PROBE_SECONDS,
    ) -> None:
        self._reader = reader
        self._answer_seconds = answer_seconds
        self._probe_seconds = probe_seconds
        self._probe: asyncio.Task[None] | None = None

    @property
    def is_down(self) -> bool:
        """Whether the database is known to be down."""
        return self._probe is not None

    async def find(self, model_id: str, provider: str | None) -> tuple[Head, Sequence[Price]]:
        """See PriceReader."""
        return await self._ask(lambda: self._reader.find(model_id, provider))

    async def names(self) -> Sequence[tuple[str, str]]:
        """See PriceReader."""
        return await self._ask(self._reader.names)

    async def head(self) -> Head:
        """See PriceReader."""
        return await self._ask(self._reader.head)

    async def find_references(
        self, model_id: str, provider: str, reference_provider: str
    ) -> tuple[Head, Price | None, Sequence[Price]]:
        """See PriceReader."""
        return await self._ask(
            lambda: self._reader.find_references(model_id, provider, reference_provider)
        )

    async def aclose(self) -> None:
        """Stop probing."""
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)

    async def _ask(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._probe is not None:
            raise DatabaseUnavailable
        try:
            return await self._in_time(ask)
        except DatabaseUnavailable:
            if self._probe is None:
                log.warning("database.down")
                self._probe = asyncio.create_task(self._probe_until_up(), name="database probe")
            raise

    async def _in_time(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            return await bounded(ask(), self._answer_seconds)
        except TimeoutError:
            raise DatabaseUnavailable from None

    async def _probe_until_up(self) -> None:
        is_told = False
        while True:
            try:
                await self._in_time(self._reader.head)
                break
            except Exception as error:
                if not isinstance(error, DatabaseUnavailable) and not is_told:
                    # A defect is no reason to keep the database shut out for ever.
                    log.error("database.probe_broken", exc_info=error)
                    is_told = True
                await asyncio.sleep(self._probe_seconds)
        self._probe = None
        log.info("database.up")
