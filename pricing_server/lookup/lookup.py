"""Look-ups: the price table first, then the layers for what it has no price of.

A look-up takes these steps: the price table is read, then the layers below it, then another
seller's price of the same model; the first of them with a price answers. If none has one, the
name is matched to a model that has; if that fails, the answer is that there is no price.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from llmpricing.matching import Explanation, Match, NoMatch
from pricing_server.domain.errors import (
    DatabaseUnavailable,
    ModelNotFound,
    PricingError,
    ProviderNotFound,
    RevisionNotReached,
)
from pricing_server.domain.head import Head
from pricing_server.domain.price import Layer, Price
from pricing_server.domain.source import Source
from pricing_server.lookup.answer import Answer, answer_of
from pricing_server.lookup.batch import Batch, read_batch
from pricing_server.lookup.evaluated_price import EvaluatedPrice
from pricing_server.lookup.layers.catalogue import Catalog
from pricing_server.lookup.layers.price_file import ManualPrices
from pricing_server.lookup.layers_below import LayersBelow
from pricing_server.lookup.matching.matcher import Matcher, is_exact, later_matches
from pricing_server.lookup.price_query import PriceQuery
from pricing_server.lookup.price_table import PriceTable
from pricing_server.lookup.snapshot import TableRead, TableSnapshot
from pricing_server.lookup.unknown_names import UnknownNames
from pricing_server.runtime.clock import utc_now


class Lookup:
    """Answers prices for one process."""

    def __init__(
        self,
        table: PriceTable,
        manual: ManualPrices | None,
        catalog: Catalog,
        sources: Mapping[str, Source],
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._table = table
        self._below = LayersBelow(manual, catalog, clock)
        self._matcher = Matcher(table, self._below)
        self._unknown_names = UnknownNames(table, self._below)
        self._sources = sources
        self._clock = clock

    async def answer(self, query: PriceQuery, batch: Batch | None = None) -> Answer:
        """The price of a model, in effect now or at another time. Only the price table knows
        what was known at another time.

        A name that no layer lists is matched by the rules of `llmpricing.matching`, unless
        exact ids alone are asked for; so is one that is asked for without a seller, and that no
        seller of exactly this id has a price for.

        Raises ModelNotFound, ProviderNotFound, RevisionNotReached, or DatabaseUnavailable
        when the database cannot be asked and no other accepted layer knows the model.
        """
        answer = await self._try_exact(query, batch)
        if not query.exact_only and not _is_final(answer, query):
            match = await self._match(query, batch)
            answer = await self._follow(match, query, answer, batch)
        if isinstance(answer, PricingError):
            raise answer
        return answer

    async def answer_all(
        self, queries: Sequence[PriceQuery | PricingError]
    ) -> Sequence[Answer | PricingError]:
        """What `answer` returns or raises, for each; the price table at one revision of it.

        An error in the place of a query stays. While the database is down, each is
        answered as `answer` does.
        """
        asked = [query for query in queries if isinstance(query, PriceQuery)]
        batch = await read_batch(self._table, self._matcher, asked)
        answers: list[Answer | PricingError] = []
        for query in queries:
            if isinstance(query, PricingError):
                answers.append(query)
                continue
            try:
                answers.append(await self.answer(query, batch))
            except PricingError as error:
                answers.append(error)
        return answers

    async def explain_match(self, name: str, provider: str | None) -> Explanation:
        """How a name leads to a model, or does not. Raises DatabaseUnavailable."""
        query = PriceQuery(name, provider, exact_only=True)
        explained = await self._matcher.explain(name, query.seller)
        if isinstance(explained.result, NoMatch) or not is_exact(explained.result):
            return explained
        # Of several sellers of the id, who answers also depends on who still lists it.
        evaluated = (await self.answer(query)).evaluated
        match = Match(evaluated.price.provider, evaluated.price.model_id, evaluated.rule)
        return replace(explained, result=match)

    async def error_of(self, provider: str, model_id: str) -> ModelNotFound | ProviderNotFound:
        """Why a name is unknown to the price table, with names that look like it."""
        return await self._unknown_names.error_of(PriceQuery(model_id, provider), None)

    async def names_by_hand(self) -> Sequence[tuple[str, str]]:
        """(provider, model id) of all in the price file; the same object for the same file."""
        return await self._below.names_by_hand_now()

    def catalogue_names(self) -> Collection[tuple[str, str]]:
        """(provider, model id) of all in the bundled catalogue; slow when first asked."""
        return self._below.catalogue_standings()

    async def in_history(
        self, provider: str, model_id: str, at: datetime, revision: int
    ) -> tuple[Head, Price | None]:
        """The price of a model in effect at an instant, as a revision knew it, and the state of
        the price table up to which that is; None if it did not list it.

        Raises DatabaseUnavailable.
        """
        return await self._table.past.in_history(provider, model_id, at, revision)

    async def _match(self, query: PriceQuery, batch: Batch | None) -> Match | NoMatch:
        if batch is not None:
            return batch.matches[query.name]
        return await self._matcher.match(*query.name)

    async def _follow(
        self,
        match: Match | NoMatch,
        query: PriceQuery,
        exact: Answer | PricingError,
        batch: Batch | None,
    ) -> Answer | PricingError:
        """The price of the model that a name was matched to, and what there is without it."""
        best = exact
        for found in later_matches(match):
            answer = await self._try_exact(query.of_model(found.provider, found.model_id), batch)
            if isinstance(answer, Answer):
                answer = replace(answer, evaluated=replace(answer.evaluated, rule=found.rule))
                if _has_own_price(answer):
                    return answer
            best = _better(best, answer)
        if isinstance(match, NoMatch) and isinstance(best, ModelNotFound):
            return best.suggesting(match.suggestions)
        return best

    async def _try_exact(self, query: PriceQuery, batch: Batch | None) -> Answer | PricingError:
        """The price of exactly this id, or why there is none that another name might lead to."""
        try:
            return await self._exact(query, batch.snapshot if batch is not None else None)
        except (ModelNotFound, DatabaseUnavailable) as error:
            return error

    async def _exact(self, query: PriceQuery, snapshot: TableSnapshot | None) -> Answer:
        """The price of exactly this id: the steps in order, each with what came before it."""
        table = await self._read_table(query, snapshot)
        below = await self._read_below(query, table)
        if below is not None and below.has_price:
            return self._answer(query, below, None, is_down=table.is_down)
        if table.has_price:
            return self._answer(query, table.price, table.head, is_down=table.is_down)
        reference = await self._read_reference(query, table, snapshot)
        if reference.has_price:
            return self._answer(query, reference.price, reference.head, is_down=reference.is_down)
        return await self._unpriced(query, table, below, reference.outage)

    async def _read_table(self, query: PriceQuery, snapshot: TableSnapshot | None) -> _TableAnswer:
        """What the price table says, without an override where none is accepted."""
        if not query.reads_table:
            if query.min_revision is not None:
                raise RevisionNotReached(None, query.min_revision)  # Files have no revision.
            return _TableAnswer()
        try:
            read = await self._table.read(query, snapshot)
        except DatabaseUnavailable as error:
            return _TableAnswer(outage=error)
        price = read.price
        if price is not None and price.price.layer is Layer.OVERRIDE:
            price = price if Layer.OVERRIDE in query.layers else price.stated
        is_accepted = price is not None and price.price.layer in query.layers
        return _TableAnswer(read, price, is_accepted)

    async def _read_below(self, query: PriceQuery, table: _TableAnswer) -> EvaluatedPrice | None:
        """What the layers below say, for sellers that state no price in the table."""
        if query.min_revision is not None:
            return None  # They have no revision.
        below = await self._below.read(query, table.sellers_without_price(query))
        if below is None or table.price is None:
            return below
        listed = table.price.price
        if below.price.provider != listed.provider:
            return below
        return replace(below, price=replace(below.price, pending=listed.pending))

    async def _read_reference(
        self, query: PriceQuery, table: _TableAnswer, snapshot: TableSnapshot | None
    ) -> _TableAnswer:
        """Another seller's price of the same model, for one that is listed without a price."""
        listed = table.price
        if listed is None or listed.has_price or Layer.CROSS_REFERENCE not in query.layers:
            return _TableAnswer(outage=table.outage)
        try:
            read = await self._table.read_reference(query, listed, snapshot)
        except DatabaseUnavailable as error:
            return _TableAnswer(outage=error)
        return _TableAnswer(
            replace(read, is_last_good=read.is_last_good or table.is_down),
            read.price,
            is_accepted=read.price is not None,
        )

    async def _unpriced(
        self,
        query: PriceQuery,
        table: _TableAnswer,
        below: EvaluatedPrice | None,
        outage: DatabaseUnavailable | None,
    ) -> Answer:
        """No layer has a price: the first that lists the model says so.

        Raises ModelNotFound, ProviderNotFound, DatabaseUnavailable.
        """
        is_down = table.is_down or outage is not None
        if table.is_accepted:
            return self._answer(query, table.price, table.head, is_down=is_down)
        if below is not None:
            return self._answer(query, below, None, is_down=is_down)
        if outage is not None:
            raise outage
        # What the table has, and this request does not accept or is too early for, is not unknown.
        is_missed = table.read is not None and table.read.price is None and query.when is None
        raise await self._unknown_names.error_of(query, table.head if is_missed else None)

    def _answer(
        self, query: PriceQuery, price: EvaluatedPrice | None, head: Head | None, *, is_down: bool
    ) -> Answer:
        assert price is not None, "an answer has what was found"
        is_down = is_down or self._table.is_down
        now = self._clock()
        return answer_of(price, head, self._sources, now, query.when, is_down=is_down)


@dataclass(frozen=True, slots=True)
class _TableAnswer:
    """What the price table says of exactly one id, as far as a query accepts it."""

    read: TableRead | None = None
    """None if it was not asked, or cannot be."""
    price: EvaluatedPrice | None = None
    is_accepted: bool = False
    """Whether the price is of a layer that may answer."""
    outage: DatabaseUnavailable | None = None

    @property
    def has_price(self) -> bool:
        """Whether there is a price that may answer."""
        return self.is_accepted and self.price is not None and self.price.has_price

    @property
    def head(self) -> Head | None:
        """The state that it says it at."""
        return self.read.head if self.read is not None else None

    @property
    def is_down(self) -> bool:
        """Whether the database could not be asked for it."""
        return self.outage is not None or (self.read is not None and self.read.is_last_good)

    def sellers_without_price(self, query: PriceQuery) -> Collection[str] | None:
        """At which sellers the layers below are asked for a price; None for all."""
        if self.price is None:
            return None if query.seller is None else (query.seller,)
        others = self.price.without_price
        return others if self.has_price else (self.price.price.provider, *others)


def _is_final(answer: Answer | PricingError, query: PriceQuery) -> bool:
    """Whether no match of the name may answer in its place."""
    if not isinstance(answer, Answer) or answer.evaluated.price.is_left:
        return False
    return query.provider is not None or _has_own_price(answer)


def _has_own_price(answer: Answer) -> bool:
    evaluated = answer.evaluated
    return evaluated.has_price and evaluated.price.layer is not Layer.CROSS_REFERENCE


def _better(one: Answer | PricingError, other: Answer | PricingError) -> Answer | PricingError:
    """An answer before an outage before a miss; the first of two alike."""
    if isinstance(one, Answer) or isinstance(other, ModelNotFound):
        return one
    if isinstance(other, Answer) or isinstance(one, ModelNotFound):
        return other
    return one
