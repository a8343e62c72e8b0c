"""A guard before the price table: no look-up waits for a database that is known to be down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from llmpricing.matching import Standing
from pricing_server.breaker import ANSWER_SECONDS, PROBE_SECONDS, Breaker
from pricing_server.lookup.price import Head, Name, Price, PriceReader, When


class GuardedReader:
    """A PriceReader that fails at once while the database is known to be down."""

    def __init__(
        self,
        reader: PriceReader,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        probe_seconds: float = PROBE_SECONDS,
    ) -> None:
        self._reader = reader
        self.breaker = Breaker(
            reader.head, answer_seconds=answer_seconds, probe_seconds=probe_seconds
        )
        """For all who ask the same database."""

    @property
    def is_down(self) -> bool:
        """Whether the database is known to be down."""
        return self.breaker.is_down

    async def find(self, model_id: str, provider: str | None) -> tuple[Head, Sequence[Price]]:
        """See PriceReader."""
        return await self.breaker.ask(lambda: self._reader.find(model_id, provider))

    async def find_many(
        self,
        names: Sequence[Name],
        reference_provider: str,
        needs_reference: Callable[[Sequence[Price]], Price | None],
    ) -> tuple[Head, Sequence[Sequence[Price]], Mapping[Name, Sequence[Price]]]:
        """See PriceReader."""
        return await self.breaker.ask(
            lambda: self._reader.find_many(names, reference_provider, needs_reference)
        )

    async def find_at(
        self, asked: Sequence[tuple[Name, When]], revision: int | None = None
    ) -> Sequence[tuple[Head, Sequence[Price]]]:
        """See PriceReader."""
        return await self.breaker.ask(lambda: self._reader.find_at(asked, revision))

    async def names(self) -> Mapping[tuple[str, str], Standing]:
        """See PriceReader."""
        return await self.breaker.ask(self._reader.names)

    async def head(self) -> Head:
        """See PriceReader."""
        return await self.breaker.ask(self._reader.head)

    async def find_references(
        self, model_id: str, provider: str, reference_provider: str
    ) -> tuple[Head, Price | None, Sequence[Price]]:
        """See PriceReader."""
        return await self.breaker.ask(
            lambda: self._reader.find_references(model_id, provider, reference_provider)
        )

    async def aclose(self) -> None:
        """Stop probing."""
        await self.breaker.aclose()
