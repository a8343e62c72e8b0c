"""The evidence of a price: what each source stated, and where sources of one seller disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final, Protocol

from llmpricing.meters import Meter
from llmpricing.rate_card import RateCard
from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.domain.head import Head
from pricing_server.domain.override import OVERRIDE, OverrideState, PriceOverride
from pricing_server.domain.price_change import PriceChange
from pricing_server.domain.source import SAYS_NOTHING, Coverage
from pricing_server.lookup.answer import Answer
from pricing_server.lookup.lookup import Lookup
from pricing_server.lookup.price_query import PriceQuery
from pricing_server.sync.completion import StatedCard, UnfilledRate, completed

ATTEMPTS: Final = 3
"""How often to try to read a price and its evidence at one state of the price table."""


@dataclass(frozen=True, slots=True)
class StatedQuote:
    """What one source states about a model, and where that was read."""

    source: str
    rank: int
    is_in_force: bool
    card: RateCard
    fragment: str
    """The source's own statement, JSON text."""
    obtained_at: datetime
    stated_since: datetime
    is_confirmed: bool
    sync_run_id: int | None
    """The run that last read it; None for an override."""
    payload_url: str | None
    payload_sha256: str | None
    stated_as: str | None = None
    """The id under which the source states it, if that is another id of the model."""
    is_inferred: bool = False
    """Whether it is our inference that the two ids are one model."""


@dataclass(frozen=True, slots=True)
class PriceEvidence:
    """Everything in the price table about one model, and the state that it was read at."""

    head: Head
    quotes: Sequence[StatedQuote] = ()
    """The one in force first, then by rank."""
    price_override: PriceOverride | None = None
    last_change: PriceChange | None = None


@dataclass(frozen=True, slots=True)
class ExplainedPrice:
    """An answer with its evidence."""

    answer: Answer
    evidence: PriceEvidence


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A model on whose headline price two sources of one seller disagree.

    Prices are in USD per one of the meter.
    """

    provider: str
    model_id: str
    meter: Meter
    source: str
    """It ranks before the other source."""
    price: Decimal
    other_source: str
    other_price: Decimal
    ratio: Decimal
    """The higher price divided by the lower one, as exact as the database divides."""
    since: datetime


@dataclass(frozen=True, slots=True)
class DiscrepancyCursor:
    """A place in a list of discrepancies: after one of this ratio and model."""

    ratio: Decimal
    provider: str
    model_id: str


@dataclass(frozen=True, slots=True)
class DiscrepancyFilter:
    """Which discrepancies to list, as they are at one instant."""

    at: datetime
    min_ratio: Decimal
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class OverrideFilter:
    """Which overrides to list."""

    states: frozenset[OverrideState]
    provider: str | None = None
    model_id: str | None = None


class EvidenceReader(Protocol):
    """Reads of the price table. Each raises DatabaseUnavailable."""

    async def evidence(self, provider: str, model_id: str) -> PriceEvidence:
        """What the price table has about a model."""

    async def discrepancies(
        self, criteria: DiscrepancyFilter, after: DiscrepancyCursor | None, limit: int
    ) -> Sequence[Discrepancy]:
        """The models on which sources disagree, the highest ratio first."""

    async def overrides(
        self, criteria: OverrideFilter, before: int | None, limit: int
    ) -> Sequence[PriceOverride]:
        """Overrides, those set last first; behind the one with the id `before`."""


class Explainer:
    """Finds the evidence of a price."""

    def __init__(self, lookup: Lookup, reader: EvidenceReader) -> None:
        self._lookup = lookup
        self._reader = reader

    async def explain(self, query: PriceQuery) -> ExplainedPrice:
        """What GetPricing answers, with the evidence at the same state of the price table.

        If the answer refers to another seller's price, the evidence is that of the price
        referred to. Raises what `Lookup.answer` does, and DatabaseUnavailable whenever the
        database cannot be reached, since the evidence is there.
        """
        for _ in range(ATTEMPTS):
            answer = await self._lookup.answer(query)
            evidence = await self._reader.evidence(*_priced_model(answer))
            if answer.head is None or answer.head == evidence.head:
                return ExplainedPrice(answer, evidence)
            if answer.head.revision < evidence.head.revision:
                # A cached answer: this process has not heard of the change yet.
                await self._lookup.answer(replace(query, min_revision=evidence.head.revision))
        raise DatabaseUnavailable


def unfilled_rates(
    quotes: Sequence[StatedQuote], coverage: Mapping[str, Coverage], at: datetime
) -> Mapping[str, Sequence[UnfilledRate]]:
    """By source what it states and the card in force lacks. `coverage` is by source."""
    winner = next((quote for quote in quotes if quote.is_in_force), None)
    if winner is None or winner.source == OVERRIDE:
        return {}
    others = [StatedCard(quote.source, quote.card) for quote in quotes if quote is not winner]
    stated = StatedCard(winner.source, winner.card, coverage.get(winner.source, SAYS_NOTHING))
    found: dict[str, list[UnfilledRate]] = {}
    for one in completed(stated, others, at).unfilled:
        found.setdefault(one.source, []).append(one)
    return found


def _priced_model(answer: Answer) -> tuple[str, str]:
    price = answer.evaluated.price
    return price.referred or (price.provider, price.model_id)
