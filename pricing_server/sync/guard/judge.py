"""What the guard says of each row of a listing, and of the listing as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from llmpricing.meters import Meter
from llmpricing.rate_card import RateCard
from pricing_server.domain.held_change import Suspicion
from pricing_server.domain.names import ModelName
from pricing_server.domain.override import OVERRIDE
from pricing_server.domain.quote import Quote
from pricing_server.domain.source import Source, SourceEvidence
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.sync.guard.rules import Opinion, Row, judge_feed, judge_row, judge_size
from pricing_server.sync.quoted_model import QuotedModel
from pricing_server.sync.table_state import KnownModel, StatedHold, TableState
from pricing_server.sync.usual_prices import UsualPrices, usual_prices


@dataclass(frozen=True, slots=True)
class Candidate:
    """A listed model with the quote that it makes of the one before."""

    listed: ListedModel
    model: KnownModel | None
    before: Quote | None
    quote: Quote
    is_confirmed: bool
    """Whether the row states all of the quote's card."""

    @property
    def is_unchanged(self) -> bool:
        """Whether the quote keeps its card."""
        return self.before is not None and self.before.card_id == self.quote.card_id

    @property
    def quoted(self) -> QuotedModel:
        """The row as it is written where it is not held."""
        quote = self.quote
        return QuotedModel(
            self.listed, quote.card_id, quote.obtained_at, self.is_confirmed, quote.stated_since
        )


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Of a whole listing."""

    feed: Suspicion | None
    rows: Mapping[ModelName, Suspicion]
    """Of the suspicious rows alone; empty where the whole feed is held."""


class Judge:
    """Compares candidates with what is known. `cards` holds every card that is compared."""

    def __init__(
        self, state: TableState, source: Source, cards: Mapping[str, RateCard], at: datetime
    ) -> None:
        self._state = state
        self._source = source
        self._cards = cards
        self._at = at
        self._siblings: Mapping[ModelName, list[KnownModel]] = {}
        self._usual_prices: Mapping[Meter, UsualPrices] = {}

    def judge(self, candidates: Sequence[Candidate], listing: Listing) -> Verdicts:
        """What is suspicious in a listing, of whose models the candidates may be applied."""
        self._siblings = self._state.siblings_of(
            {each.listed.key for each in candidates if each.before is None}
        )
        if not all(each.is_unchanged for each in candidates):
            # What too few of the table's models have is known from the listing alone.
            of_listing = usual_prices(self._cards[each.quote.card_id] for each in candidates)
            self._usual_prices = {**of_listing, **self._state.usual_prices}
        rows = {each.listed.key: self._row(each) for each in candidates}
        feed = judge_feed(
            rows.values(),
            is_first=self._state.is_first_sync,
            is_recorded=self._source.evidence is SourceEvidence.RECORDED,
            # A bundled catalogue is the first reference of all others.
            is_proven=self._source.proven_units or self._source.release is not None,
            at=self._at,
        ) or self._shrunk(listing)
        if feed is not None:
            return Verdicts(feed, {})
        found = {
            key: suspicion
            for key, row in rows.items()
            if (suspicion := judge_row(row, self._source.slug, self._at)) is not None
        }
        listed = {key: each.listed for key, each in zip(rows, candidates, strict=True)}
        sound = {key for key in found if self._is_as_its_target(listed[key], rows, found)}
        return Verdicts(None, {key: each for key, each in found.items() if key not in sound})

    def confirmed(self, candidate: Candidate) -> Iterator[StatedHold]:
        """Held changes of other sources that a candidate, which is applied, confirms."""
        if candidate.is_unchanged:
            return  # It was known when they were held.
        key = candidate.listed.key
        for hold in self._state.holds.others.get(key, ()):
            quotes = self._state.quotes_for(key)
            past = next((quote for quote in quotes if quote.source == hold.source), None)
            held = Row(
                card=hold.card,
                before=self._cards[past.card_id] if past else None,
                opinions=self._opinions(quotes, hold.source),
                siblings=self._opinions_of_siblings(key) if past is None else (),
                usual_prices=self._usual_prices,
            )
            with_it = replace(held, witnesses=(self._cards[candidate.quote.card_id],))
            if (
                judge_row(held, hold.source, self._at) is not None
                and judge_row(with_it, hold.source, self._at) is None
            ):
                yield hold

    def _shrunk(self, listing: Listing) -> Suspicion | None:
        """Whether the listing has less than half as many models as the last one that was applied.

        What was missing then is not counted, so that an approval counts as the first of the
        syncs without a model. An id that another one covers was never listed.
        """
        quotes = (self._state.quote_by(self._source.slug, key) for key in self._state.models)
        before = sum(quote is not None and not quote.missing_syncs for quote in quotes)
        # A row that names no model may be any, or none.
        named = len(listing.models) + sum(fault.key is not None for fault in listing.faults)
        return judge_size(before, named)

    def _row(self, candidate: Candidate) -> Row:
        if candidate.is_unchanged:
            return Row(candidate.listed.card, is_unchanged=True)
        key = candidate.listed.key
        before = candidate.before
        return Row(
            card=self._cards[candidate.quote.card_id],
            before=self._cards[before.card_id] if before is not None else None,
            opinions=self._opinions(self._state.quotes_for(key), self._source.slug),
            witnesses=tuple(hold.card for hold in self._state.holds.others.get(key, ())),
            other_sellers=self._state.other_sellers.get(key, {}),
            siblings=self._opinions_of_siblings(key),
            usual_prices=self._usual_prices,
        )

    def _opinions_of_siblings(self, key: ModelName) -> tuple[Opinion, ...]:
        return tuple(
            Opinion(each.source, self._cards[each.card_id])
            for each in self._siblings.get(key, ())
            if each.source is not None and each.card_id is not None
        )

    def _opinions(self, quotes: Iterable[Quote], source: str) -> tuple[Opinion, ...]:
        """What the others state now. What an admin decided is no evidence of what is sold."""
        others = [
            quote for quote in quotes if quote.source not in (source, OVERRIDE) and quote.is_listed
        ]
        return tuple(
            Opinion(quote.source, self._cards[quote.card_id])
            for quote in sorted(others, key=lambda quote: (quote.rank, quote.source))
        )

    def _is_as_its_target(
        self,
        listed: ListedModel,
        rows: Mapping[ModelName, Row],
        found: Mapping[ModelName, Suspicion],
    ) -> bool:
        """Whether an alias costs what the model costs that it stands for now.

        The others may have read it when it stood for another one.
        """
        target = (listed.provider, listed.alias_target or "")
        if target not in rows or target in found:
            return False
        row = replace(rows[listed.key], witnesses=(rows[target].card,))
        return judge_row(row, self._source.slug, self._at) is None
