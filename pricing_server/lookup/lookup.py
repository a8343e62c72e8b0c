"""Look-ups: the price table first, then the layers for what it has no price of."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime

from llmpricing.matching import Explanation, Match, MatchRule, NoMatch
from pricing_server.errors import (
    DatabaseUnavailable,
    ModelNotFound,
    PricingError,
    ProviderNotFound,
    RevisionNotReached,
)
from pricing_server.lookup.answer import Answer, answer_of
from pricing_server.lookup.cache import utc_now
from pricing_server.lookup.catalog import Catalog
from pricing_server.lookup.manual import ManualPrices
from pricing_server.lookup.matcher import Matcher
from pricing_server.lookup.names import NameIndex
from pricing_server.lookup.price import Head, Layer, Name, Price, When
from pricing_server.lookup.quote import Quote, evaluate
from pricing_server.lookup.snapshot import Batch, TableSnapshot
from pricing_server.lookup.table import Found, PriceTable, Unknown
from pricing_server.providers.source import Source
from pricing_server.sellers import canonical

ALL_LAYERS = frozenset(Layer)
_REMEMBERING_LAYERS = frozenset({Layer.OVERRIDE, Layer.DATABASE})
_TABLE_LAYERS = _REMEMBERING_LAYERS | {Layer.CROSS_REFERENCE}
_EXACT_RULES = frozenset({MatchRule.EXACT, MatchRule.EXACT_AT_MAKER, MatchRule.EXACT_AT_SELLER})


@dataclass(frozen=True, slots=True)
class Asked:
    """One look-up: the arguments of `Lookup.get`."""

    model_id: str
    provider: str | None = None
    accept: Set[Layer] = ALL_LAYERS
    min_revision: int | None = None
    when: When | None = None
    exact_only: bool = False


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
        self._manual = manual
        self._catalog = catalog
        self._sources = sources
        self._clock = clock
        self._matcher = Matcher(table, manual, catalog)

    async def get(
        self,
        model_id: str,
        provider: str | None = None,
        accept: Set[Layer] = ALL_LAYERS,
        min_revision: int | None = None,
        when: When | None = None,
        *,
        exact_only: bool = False,
        batch: Batch | None = None,
    ) -> Answer:
        """The price of a model, in effect now or at another time; at or after `min_revision`
        if given. What was known at another time only the price table tells.

        A name that no layer lists is matched by the rules of `llmpricing.matching`, unless
        exact ids alone are asked for; so is one that is asked for without a seller, and that no
        seller of exactly this id has a price for.

        Raises ModelNotFound, ProviderNotFound, RevisionNotReached, or DatabaseUnavailable
        when the database cannot be asked and no other accepted layer knows the model.
        """
        snapshot = batch.snapshot if batch is not None else None
        exact: Answer | None = None
        missed: ModelNotFound | DatabaseUnavailable | None = None
        try:
            exact = await self._get(model_id, provider, accept, min_revision, when, snapshot)
        except (ModelNotFound, DatabaseUnavailable) as error:
            if exact_only:
                raise
            missed = error
        if exact is not None and (exact_only or provider is not None or _has_own_price(exact)):
            return exact
        name = (canonical(provider) if provider is not None else None, model_id)
        match = batch.matches[name] if batch is not None else await self._matcher.match(*name)
        # Without a price of its own it answers only if no later rule finds one.
        unpriced = exact
        for found in _after_exact(match):
            try:
                answer = await self._matched(found, accept, min_revision, when, snapshot)
            except DatabaseUnavailable:
                if unpriced is None:
                    raise
                continue
            if answer is not None and _has_own_price(answer):
                return answer
            unpriced = unpriced or answer
        if unpriced is not None:
            return unpriced
        assert missed is not None, "there is an answer or why there is none"
        if isinstance(match, NoMatch) and isinstance(missed, ModelNotFound):
            missed = missed.suggesting(match.suggestions)
        raise missed

    async def _matched(
        self,
        match: Match,
        accept: Set[Layer],
        min_revision: int | None,
        when: When | None,
        snapshot: TableSnapshot | None,
    ) -> Answer | None:
        """The price of a model that a name was matched to; None if no accepted layer has it."""
        try:
            answer = await self._get(
                match.model_id, match.provider, accept, min_revision, when, snapshot
            )
        except ModelNotFound:
            return None
        return replace(answer, quote=replace(answer.quote, rule=match.rule))

    async def _get(
        self,
        model_id: str,
        provider: str | None,
        accept: Set[Layer],
        min_revision: int | None,
        when: When | None,
        snapshot: TableSnapshot | None,
    ) -> Answer:
        """The price of exactly this id."""
        seller = canonical(provider) if provider is not None else None
        found: Found | None = None
        database_down: DatabaseUnavailable | None = None
        if when is not None and when.known_at is not None:
            accept = accept & _REMEMBERING_LAYERS
        if not accept.isdisjoint(_TABLE_LAYERS):
            try:
                found = await self._find(model_id, seller, min_revision or 0, when, snapshot)
            except DatabaseUnavailable as error:
                database_down = error
        elif min_revision is not None:
            raise RevisionNotReached(None, min_revision)  # Files have no revision to reach.
        listed = _accepted(found.quote, accept) if found is not None else None
        is_down = database_down is not None or (found is not None and found.is_last_good)
        is_table_accepted = listed is not None and listed.price.layer in accept
        is_priced = listed is not None and is_table_accepted and listed.has_price
        later: Quote | None = None
        if min_revision is None:  # The layers below have no revision.
            at = _sellers_below(seller, listed, is_priced=is_priced)
            later = await self._from_files(model_id, at, seller, accept, when)
            if (
                later is not None
                and listed is not None
                and later.price.provider == listed.price.provider
            ):
                pending = listed.price.pending
                later = replace(later, price=replace(later.price, pending=pending))
            if later is not None and later.has_price:
                return self._answer(later, None, when, is_down)
        if found is not None and listed is not None and is_priced:
            return self._answer(listed, found.head, when, is_down)
        if listed is not None and not listed.has_price and Layer.CROSS_REFERENCE in accept:
            try:
                reference = await self._table.find_reference(listed, min_revision or 0, snapshot)
                if when is not None:
                    reference = await self._table.at(reference, when)
                if reference.quote is not None:
                    is_last_good = is_down or reference.is_last_good
                    return self._answer(reference.quote, reference.head, when, is_last_good)
            except DatabaseUnavailable as error:
                database_down, is_down = error, True
        # No layer has a price: the first that lists the model says that it has none.
        if found is not None and listed is not None and is_table_accepted:
            return self._answer(listed, found.head, when, is_down)
        if later is not None:
            return self._answer(later, None, when, is_down)
        if database_down is not None:
            raise database_down
        # What the table has, and this request does not accept or is too early for, is not unknown.
        is_missed = found is not None and found.quote is None and when is None
        missed_at = found.head if found is not None and is_missed else None
        raise await self._not_found(model_id, provider, seller, missed_at)

    async def answer(self, asked: Asked, batch: Batch | None = None) -> Answer:
        """As `get`."""
        return await self.get(
            asked.model_id,
            asked.provider,
            asked.accept,
            asked.min_revision,
            asked.when,
            exact_only=asked.exact_only,
            batch=batch,
        )

    async def get_all(
        self, asked: Sequence[Asked | PricingError]
    ) -> Sequence[Answer | PricingError]:
        """What `get` answers or raises, for each; the price table at one revision of it.

        An error in the place of a request stays. While the database is down, each is
        answered as `get` does.
        """
        batch = await self._batch([each for each in asked if isinstance(each, Asked)])
        answers: list[Answer | PricingError] = []
        for each in asked:
            if isinstance(each, PricingError):
                answers.append(each)
                continue
            try:
                answers.append(await self.answer(each, batch))
            except PricingError as error:
                answers.append(error)
        return answers

    async def _batch(self, asked: Sequence[Asked]) -> Batch:
        index = await self._matcher.index()
        matches: dict[Name, Match | NoMatch] = {}
        names: dict[Name, None] = {}
        other_times: list[tuple[Name, When]] = []
        for each in asked:
            seller = canonical(each.provider) if each.provider is not None else None
            name = (seller, each.model_id)
            match = matches.get(name)
            if match is None:
                match = index.match(each.model_id, seller) if index is not None else NoMatch()
                matches[name] = match
            if each.accept.isdisjoint(_TABLE_LAYERS):
                continue
            looked_up: list[Name] = [name]
            looked_up += ((found.provider, found.model_id) for found in _after_exact(match))
            names |= dict.fromkeys(looked_up)
            if each.when is not None:
                other_times += [(one, each.when) for one in looked_up]
        min_revision = max((each.min_revision or 0 for each in asked), default=0)
        if names:
            with contextlib.suppress(DatabaseUnavailable):
                snapshot = await self._table.snapshot(list(names), min_revision)
                return Batch(await self._table.with_past(snapshot, other_times), matches)
        return Batch(None, matches)

    async def explain_match(self, name: str, provider: str | None) -> Explanation:
        """How a name leads to a model, or does not. Raises DatabaseUnavailable."""
        seller = canonical(provider) if provider is not None else None
        explained = await self._matcher.explain(name, seller)
        if isinstance(explained.result, NoMatch) or explained.result.rule not in _EXACT_RULES:
            return explained
        # Of several sellers of the id, who answers also depends on who still lists it.
        quote = (await self.get(name, provider, exact_only=True)).quote
        match = Match(quote.price.provider, quote.price.model_id, quote.rule)
        return replace(explained, result=match)

    async def names_by_hand(self) -> Sequence[tuple[str, str]]:
        """(provider, model id) of all in the price file; the same object for the same file."""
        return await self._manual.names_now() if self._manual is not None else ()

    def catalogue_names(self) -> Collection[tuple[str, str]]:
        """(provider, model id) of all in the bundled catalogue; slow when first asked."""
        return self._catalog.standings()

    async def in_history(
        self, provider: str, model_id: str, at: datetime, revision: int
    ) -> tuple[Head, Price | None]:
        """The price of a model in effect at an instant, as a revision knew it, and the state of
        the price table up to which that is; None if it did not list it.

        Raises DatabaseUnavailable.
        """
        return await self._table.in_history(provider, model_id, at, revision)

    async def _find(
        self,
        model_id: str,
        seller: str | None,
        min_revision: int,
        when: When | None,
        snapshot: TableSnapshot | None,
    ) -> Found:
        if when is None:
            return await self._table.find(model_id, seller, min_revision, snapshot)
        return await self._table.find_at(model_id, seller, when, min_revision, snapshot)

    async def _from_files(
        self,
        model_id: str,
        at: Collection[str] | None,
        seller: str | None,
        accept: Set[Layer],
        when: When | None,
    ) -> Quote | None:
        """What the price file or else the catalogue says of a model at some sellers, or at all."""
        if at is not None and not at:
            return None
        prices: Sequence[Price] = ()
        if Layer.MANUAL in accept and self._manual is not None:
            prices = _at(await self._manual.find(model_id, None), at)
        by_hand = {price.provider for price in prices}
        is_complete = by_hand.issuperset(at) if at is not None else bool(by_hand)
        if not is_complete and Layer.CATALOG in accept:
            below = await asyncio.to_thread(self._catalog.find, model_id, None)
            others = (price for price in _at(below, at) if price.provider not in by_hand)
            prices = [*prices, *others]
        as_of = when.as_of if when is not None else self._clock()
        return evaluate(prices, seller, as_of) if prices else None

    def _answer(self, quote: Quote, head: Head | None, when: When | None, is_down: bool) -> Answer:
        is_down = is_down or self._table.is_down
        return answer_of(quote, head, self._sources, self._clock(), when, is_down=is_down)

    async def _not_found(
        self, model_id: str, provider: str | None, seller: str | None, missed_at: Head | None
    ) -> ModelNotFound | ProviderNotFound:
        unknown = self._table.unknown(model_id, seller)
        if unknown is None:
            try:
                names = await self._table.names()
            except DatabaseUnavailable:
                names = await asyncio.to_thread(lambda: NameIndex(self._catalog.standings()))
                missed_at = None  # Not all names: nothing to remember.
            unknown = Unknown(
                is_known_provider=seller is None or seller in names.providers,
                near_models=names.near_models(model_id, seller),
                near_providers=names.near_providers(seller) if seller else (),
            )
            if missed_at is not None:
                # Only what the price table was asked for, and at the state it was asked at.
                self._table.remember_unknown(model_id, seller, unknown, missed_at)
        is_known_by_hand = (
            self._manual is not None and seller is not None and self._manual.sells(seller)
        )
        if provider is not None and not unknown.is_known_provider and not is_known_by_hand:
            return ProviderNotFound(provider, unknown.near_providers)
        return ModelNotFound(model_id, provider, unknown.near_models)


def _accepted(quote: Quote | None, accept: Set[Layer]) -> Quote | None:
    """What the price table says, without an override where none is wanted."""
    if quote is None or quote.price.layer is not Layer.OVERRIDE or Layer.OVERRIDE in accept:
        return quote
    return quote.stated


def _after_exact(match: Match | NoMatch) -> Iterator[Match]:
    """What later rules than the exact ones led to: the match, and what has no price before it."""
    if isinstance(match, Match):
        for found in (match, match.unpriced):
            if found is not None and found.rule not in _EXACT_RULES:
                yield found


def _has_own_price(answer: Answer) -> bool:
    return answer.quote.has_price and answer.quote.price.layer is not Layer.CROSS_REFERENCE


def _sellers_below(
    seller: str | None, listed: Quote | None, *, is_priced: bool
) -> Collection[str] | None:
    """At which sellers the layers below the price table are asked for a price; None for all."""
    if listed is None:
        return None if seller is None else (seller,)
    return listed.without_price if is_priced else (listed.price.provider, *listed.without_price)


def _at(prices: Sequence[Price], sellers: Collection[str] | None) -> Sequence[Price]:
    if sellers is None:
        return prices
    return [price for price in prices if price.provider in sellers]
