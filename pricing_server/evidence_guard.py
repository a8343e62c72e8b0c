"""A guard of the evidence, which is in the same database as the prices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pricing_server.breaker import Breaker
from pricing_server.evidence import (
    Discrepancy,
    DiscrepancyCursor,
    DiscrepancyFilter,
    EvidenceReader,
    PriceEvidence,
)

ANSWER_SECONDS: Final = 5.0
"""How long a caller waits for the database; its statements end by themselves before that."""


class GuardedEvidenceReader:
    """An EvidenceReader that fails at once while the database is known to be down."""

    def __init__(self, reader: EvidenceReader, breaker: Breaker) -> None:
        self._reader = reader
        self._breaker = breaker

    async def evidence(self, provider: str, model_id: str) -> PriceEvidence:
        """See EvidenceReader."""
        return await self._breaker.ask_slow(
            lambda: self._reader.evidence(provider, model_id), ANSWER_SECONDS
        )

    async def discrepancies(
        self, criteria: DiscrepancyFilter, after: DiscrepancyCursor | None, limit: int
    ) -> Sequence[Discrepancy]:
        """See EvidenceReader."""
        return await self._breaker.ask_slow(
            lambda: self._reader.discrepancies(criteria, after, limit), ANSWER_SECONDS
        )
