"""What a usage costs: a look-up, and the evaluation of the rate card that it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cachetools import LRUCache

from llmpricing.compiled_card import CompiledCard
from llmpricing.cost import Cost, NotPriced
from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState, RateCard
from llmpricing.raw_usage import ReadUsage
from llmpricing.usage import InputConvention, Quantity, UsageError
from pricing_server.domain.errors import (
    DatabaseUnavailable,
    InvalidArgument,
    ModelNotPriced,
    PricingError,
)
from pricing_server.domain.head import Head
from pricing_server.domain.price import Layer, Price
from pricing_server.lookup.answer import Answer
from pricing_server.lookup.lookup import Lookup
from pricing_server.lookup.price_query import PriceQuery

COMPILED_CARDS = 4_096


@dataclass(frozen=True, slots=True)
class Used:
    """What a call of a model used, and the context that it stated."""

    usage: Mapping[Meter, Quantity]
    convention: InputConvention
    context: Mapping[str, str]
    read: ReadUsage | None = None
    """The provider's own usage object, if the usage was read from one."""


@dataclass(frozen=True, slots=True)
class CostRequest:
    """A request for the cost of one call."""

    query: PriceQuery
    used: Used


@dataclass(frozen=True, slots=True)
class CostAnswer:
    """A cost, and the answer of the look-up that it was computed from."""

    request: CostRequest
    answer: Answer
    cost: Cost


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a cost was computed from: everything that decides the cost or proves it."""

    provider: str
    model_id: str
    card: RateCard
    layer: Layer
    at: datetime
    head: Head | None
    convention: InputConvention
    context: Mapping[str, str]


class PriceProof(StrEnum):
    """Whether the price table confirms a receipt."""

    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    UNKNOWN = "unknown"


class Costs:
    """Computes costs for one process."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._cards: LRUCache[str, CompiledCard] = LRUCache(COMPILED_CARDS)

    async def calculate(self, request: CostRequest) -> CostAnswer:
        """The cost of one call. Raises as `Lookup.answer`, ModelNotPriced and InvalidArgument."""
        return self._answered(request, await self._lookup.answer(request.query))

    async def calculate_all(
        self, requests: Sequence[CostRequest | PricingError]
    ) -> Sequence[CostAnswer | PricingError]:
        """What `calculate` answers or raises, for each, at one revision of the price table."""
        answers = await self._lookup.answer_all(
            [each.query if isinstance(each, CostRequest) else each for each in requests]
        )
        costs: list[CostAnswer | PricingError] = []
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(request, PricingError):
                costs.append(request)
            elif isinstance(answer, PricingError):
                costs.append(answer)
            else:
                try:
                    costs.append(self._answered(request, answer))
                except PricingError as error:
                    costs.append(error)
        return costs

    def at_price(self, price: Price, used: Used, at: datetime) -> Cost:
        """The cost at a price that was looked up. Raises ModelNotPriced and InvalidArgument."""
        return self._cost(price.card, used, at, price.provider, price.model_id)

    def replay(self, receipt: Receipt, usage: Mapping[Meter, Quantity]) -> Cost:
        """The cost of a receipt, computed again. Raises ModelNotPriced and InvalidArgument."""
        used = Used(usage, receipt.convention, receipt.context)
        return self._cost(receipt.card, used, receipt.at, receipt.provider, receipt.model_id)

    async def prove(self, receipt: Receipt) -> PriceProof:
        """Whether the history has the card for the model, at that time as of that revision."""
        if receipt.head is None or receipt.layer not in (Layer.DATABASE, Layer.OVERRIDE):
            return PriceProof.UNKNOWN
        try:
            head, price = await self._lookup.in_history(
                receipt.provider, receipt.model_id, receipt.at, receipt.head.revision
            )
        except DatabaseUnavailable:
            return PriceProof.UNKNOWN
        if head != receipt.head:
            return PriceProof.UNKNOWN
        if price is None:
            return PriceProof.CONTRADICTED
        if price.layer is not receipt.layer:
            # The history does not contain prices beneath an override.
            return PriceProof.UNKNOWN
        is_same = price.card.card_id == receipt.card.card_id
        return PriceProof.CONFIRMED if is_same else PriceProof.CONTRADICTED

    def _answered(self, request: CostRequest, answer: Answer) -> CostAnswer:
        price = answer.evaluated.price
        return CostAnswer(request, answer, self.at_price(price, request.used, answer.at))

    def _cost(self, card: RateCard, used: Used, at: datetime, provider: str, model_id: str) -> Cost:
        compiled = self._cards.get(card.card_id)
        if compiled is None:
            compiled = self._cards[card.card_id] = CompiledCard(card)
        try:
            return compiled.evaluate(
                used.usage, at=at, context=used.context, convention=used.convention
            )
        except UsageError as error:
            raise InvalidArgument("usage", f"is inconsistent: {error}") from None
        except NotPriced:
            is_dynamic = card.state is PriceState.DYNAMIC
            state = PriceState.DYNAMIC if is_dynamic else PriceState.UNPRICED
            raise ModelNotPriced(provider, model_id, state) from None
