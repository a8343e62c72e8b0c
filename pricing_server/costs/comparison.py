"""What a usage costs with the same model at every seller, or with several models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final, Protocol

from llmpricing.cost import Cost
from llmpricing.rate_card import PriceState
from pricing_server.costs.costs import Costs, Used
from pricing_server.costs.families import Families, LeftOut
from pricing_server.costs.model_identity import Identity, LeftOutReason, Offered
from pricing_server.domain.errors import (
    DatabaseUnavailable,
    EpochChanged,
    InvalidArgument,
    ModelNotFound,
    ModelNotPriced,
    PricingError,
    ProviderNotFound,
)
from pricing_server.domain.head import Head
from pricing_server.domain.price import Layer, Price, When
from pricing_server.domain.sellers import answer_order
from pricing_server.lookup.answer import Answer, Freshness
from pricing_server.lookup.evaluated_price import EvaluatedPrice
from pricing_server.lookup.lookup import Lookup
from pricing_server.lookup.price_query import PriceQuery
from pricing_server.runtime.clock import utc_now
from pricing_server.runtime.single_flight import NewestValue

_MISSING: Final = (ModelNotFound, ProviderNotFound, DatabaseUnavailable)
"""Why one of several models cannot be compared, while the others can."""


class TablePrices(Protocol):
    """The prices of the price table at one of its states."""

    @property
    def head(self) -> Head:
        """That state."""

    @property
    def prices(self) -> Sequence[Price]:
        """The price of every model, delisted ones included."""


class TablePricesReader(Protocol):
    """Reads the prices of the price table."""

    async def at(self, head: Head | None = None) -> TablePrices:
        """The prices at a state, by default the newest: the same object as long as the state
        is the same. Raises DatabaseUnavailable."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What the usage costs at one seller."""

    answer: Answer
    identity: Identity
    cost: Cost | None
    """None if no price is known, or none in advance; `state` says which."""
    state: PriceState

    @property
    def total(self) -> Decimal | None:
        """In USD, without what is unpriced; None if nothing has a price."""
        if self.cost is None or (self.cost.unpriced and not self.cost.lines):
            return None
        return self.cost.total

    @property
    def order(self) -> tuple[bool, int, Decimal, tuple[int, int, str], str]:
        """Sort key: first what is still sold; then complete totals, totals with something
        unpriced, no total; then the cheapest; then the order in which sellers answer."""
        price = self.answer.evaluated.price
        is_whole = self.cost is not None and not self.cost.unpriced
        return (
            price.delisted_at is not None and price.delisted_at <= self.answer.at,
            2 if self.total is None else 0 if is_whole else 1,
            self.total or Decimal(0),
            answer_order(price.provider, price.model_id),
            price.model_id,
        )


@dataclass(frozen=True, slots=True)
class PriceComparison:
    """What was compared, the cheapest first, and what was not."""

    compared: Sequence[Compared]
    left_out: Sequence[LeftOut]
    match: EvaluatedPrice | None
    """What the name led to, if the sellers of one model are compared."""
    head: Head | None
    """The state of the price table that all its prices come from; None if none do."""


class Comparisons:
    """Compares prices for one process. For one event loop."""

    def __init__(
        self,
        lookup: Lookup,
        costs: Costs,
        price_lists: TablePricesReader,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._lookup = lookup
        self._costs = costs
        self._price_lists = price_lists
        self._clock = clock
        self._known: NewestValue[Families] = NewestValue()

    async def at_sellers(self, asked: PriceQuery, used: Used) -> PriceComparison:
        """The usage with one model at everybody who sells it.

        Raises what `Lookup.answer` does, and InvalidArgument if no seller can charge the usage.
        """
        asked = _own(asked)
        [answer] = await self._lookup.answer_all([asked])
        if isinstance(answer, PricingError):
            raise answer
        now = self._clock()
        price = answer.evaluated.price
        families = await self._families()
        model = families.get(price.provider, price.model_id) or _offered(price)
        family = await asyncio.to_thread(families.of, model, _instant(asked.when, now))
        identities = {
            (found.model.provider, found.model.model_id): found.identity for found in family.found
        }
        answers = await self._lookup.answer_all(
            [
                replace(asked, model_id=model_id, provider=provider, exact_only=True)
                for provider, model_id in identities
            ]
        )
        return self._compared(
            zip(identities, answers, strict=True),
            identities,
            family.left_out,
            used,
            _instant(asked.when, now),
            answer.evaluated,
        )

    async def of_models(self, asked: Sequence[PriceQuery], used: Used) -> PriceComparison:
        """The usage with each of several models, at the seller that answers for its name.

        A name that leads nowhere is left out. Raises what `at_sellers` does if all are.
        """
        answers = await self._lookup.answer_all([_own(each) for each in asked])
        left_out: list[LeftOut] = []
        found: dict[tuple[str, str], Answer] = {}
        for each, answer in zip(asked, answers, strict=True):
            if isinstance(answer, Answer):
                price = answer.evaluated.price
                found.setdefault((price.provider, price.model_id), answer)
            elif isinstance(answer, _MISSING):
                left_out.append(LeftOut("", each.model_id, LeftOutReason.UNKNOWN, str(answer)))
            else:
                raise answer
        if not found:
            raise next(answer for answer in answers if isinstance(answer, PricingError))
        at = _instant(asked[0].when, self._clock())
        identities = dict.fromkeys(found, Identity.ASKED)
        return self._compared(found.items(), identities, left_out, used, at, None)

    def _compared(
        self,
        answers: Iterable[tuple[tuple[str, str], Answer | PricingError]],
        identities: Mapping[tuple[str, str], Identity],
        left_out: Sequence[LeftOut],
        used: Used,
        at: datetime,
        match: EvaluatedPrice | None,
    ) -> PriceComparison:
        compared: list[Compared] = []
        not_compared = list(left_out)
        refused: InvalidArgument | None = None
        for (provider, model_id), answer in answers:
            if isinstance(answer, PricingError):
                if not isinstance(answer, _MISSING):
                    raise answer
                not_compared.append(LeftOut(provider, model_id, LeftOutReason.UNKNOWN, str(answer)))
                continue
            try:
                compared.append(self._evaluated(answer, identities[provider, model_id], used, at))
            except InvalidArgument as error:
                refused = refused or error
                not_compared.append(LeftOut(provider, model_id, LeftOutReason.USAGE, str(error)))
        if refused is not None and not any(each.cost for each in compared):
            raise refused
        heads = {each.answer.head for each in compared} - {None}
        is_down = any(each.answer.freshness is Freshness.DATABASE_DOWN for each in compared)
        return PriceComparison(
            sorted(compared, key=lambda each: each.order),
            not_compared,
            match,
            heads.pop() if len(heads) == 1 and not is_down else None,
        )

    def _evaluated(self, answer: Answer, identity: Identity, used: Used, at: datetime) -> Compared:
        try:
            cost = self._costs.at_price(answer.evaluated.price, used, at)
        except ModelNotPriced as error:
            return Compared(answer, identity, None, PriceState(error.state))
        return Compared(answer, identity, cost, answer.evaluated.headline.state)

    async def _families(self) -> Families:
        """Everything that any layer knows, made once for each state; while the database is
        down, what was known last."""
        by_hand = await self._lookup.names_by_hand()
        listed: TablePrices | None = None
        try:
            listed = await self._price_lists.at()
        except (DatabaseUnavailable, EpochChanged):
            known = self._known.value
            if known is not None and self._known.parts[0] is not None:
                return known
        return await self._known.get(
            listed, by_hand, make=lambda: asyncio.to_thread(self._make, listed, by_hand)
        )

    def _make(self, listed: TablePrices | None, by_hand: Sequence[tuple[str, str]]) -> Families:
        models = map(_offered, listed.prices if listed is not None else ())
        below = (Offered(*name) for name in (*by_hand, *self._lookup.catalogue_names()))
        return Families([*models, *below])


def _offered(price: Price) -> Offered:
    return Offered(
        price.provider,
        price.model_id,
        price.hugging_face_id,
        price.canonical_slug,
        price.alias_target,
        price.delisted_at,
    )


def _own(asked: PriceQuery) -> PriceQuery:
    """The query without prices taken from another seller, which compare nothing."""
    return replace(asked, accept=asked.accept - {Layer.CROSS_REFERENCE})


def _instant(when: When | None, now: datetime) -> datetime:
    return when.as_of if when is not None else now
