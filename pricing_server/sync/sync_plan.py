"""What a listing changes in the price table: a pure function of the two.

The rules:

- A quote within binary noise of the one before is the same quote.
- A model without a known price (UNPRICED) never replaces a price: the quote before
  stays, unconfirmed. So does that of a row that could not be read, and so do single
  rates that a row mentions without a believable price.
- A suspicious price is held (`guard.py`): the quote before stays, unconfirmed, and a model
  that was not known stays unknown. One that is no longer suspicious is applied like any other.
- Data older than that of the source's last sync is applied as asked for, and noted.
- Of a model's quotes the one of the source with the lowest rank is in force, but an
  unpriced quote yields to any other, and a catalogue that dropped the model to one
  that has it. An admin's override ranks before every source and says nothing of whether
  a model is listed.
- What a source states of an id it also states of the ids that this one covers (`coverage.py`):
  its quote of those is its quote of the covering id, held, kept and dropped with it.
- A model is delisted after MISSING_SYNCS_TO_DELIST successful syncs of new data in a
  row without it: by its seller's own API if that ever listed it, else by every catalogue. Its last
  price is kept. A feed that is held as a whole delists nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from llmpricing.rate_card import PriceState, RateCard
from pricing_server.domain.held_change import HoldReason, Suspicion
from pricing_server.domain.names import ModelName
from pricing_server.domain.price_change import ChangeOrigin, PriceChange
from pricing_server.domain.quote import Covered, Quote
from pricing_server.domain.source import Source
from pricing_server.domain.source_listing import ListedModel, Listing, Notice
from pricing_server.sync.guard.judge import Candidate, Judge, Verdicts
from pricing_server.sync.guard.ledger import Holding, HoldingPlan
from pricing_server.sync.guard.rules import are_near
from pricing_server.sync.kept_rates import with_kept_rates
from pricing_server.sync.quoted_model import QuotedModel
from pricing_server.sync.resolution import Resolver
from pricing_server.sync.table_state import Attribution, KnownModel, StatedHold, TableState


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run writes; `counts` are those of its log row."""

    quoted: tuple[QuotedModel, ...]
    missing: tuple[int, ...]
    """Model keys whose quote of this source was missing for one more sync."""
    unreadable: tuple[int, ...]
    """Model keys whose quote of this source stays, as the row could not be read, or was missing
    in a feed that is held."""
    changes: tuple[PriceChange, ...]
    attributions: Mapping[ModelName, Attribution]
    """Whose price is in force, of models whose price changes or is attributed anew."""
    cards: Mapping[str, RateCard]
    """The cards that quotes and changes point to and that may not be stored yet."""
    changed_at: datetime
    counts: Mapping[str, int]
    notices: tuple[Notice, ...] = field(default=())
    held: tuple[int, ...] = ()
    """Model keys whose quote of this source stays, as what the row states is held."""
    holding: HoldingPlan = field(default_factory=HoldingPlan)
    covered: tuple[tuple[ModelName, Covered], ...] = ()
    """Ids that are found to be covered, and how."""
    uncovered: tuple[int, ...] = ()
    """Model keys of ids that this source does not state under another id any more."""


@dataclass(frozen=True, slots=True)
class ListingTerms:
    """On what terms a listing is applied."""

    origin: ChangeOrigin
    changed_at: datetime
    register_unknown: bool = True
    """Whether models that are not known yet become known."""


def make_plan(
    state: TableState,
    listing: Listing,
    source: Source,
    stored_cards: Mapping[str, RateCard],
    terms: ListingTerms,
) -> Plan:
    """Plan what a listing of `source` changes.

    `stored_cards` holds at least `cards_to_compare` of the same arguments.
    """
    planner = _Planner(state, listing, source, dict(stored_cards), terms)
    planner.plan_listed(terms.register_unknown)
    planner.plan_missing({fault.key for fault in listing.faults if fault.key})
    planner.plan_covered()
    return planner.plan()


class _Planner:
    def __init__(
        self,
        state: TableState,
        listing: Listing,
        source: Source,
        cards: dict[str, RateCard],
        terms: ListingTerms,
    ) -> None:
        self.state = state
        self.listing = listing
        self.listed = frozenset(model.key for model in listing.models)
        self.source = source
        self.cards = cards
        self.changed_at = terms.changed_at
        self.stored = frozenset(cards)
        self.resolver = Resolver(cards, terms.origin, terms.changed_at)
        self.judge = Judge(state, source, cards, terms.changed_at)
        self.holding = Holding(state.holds, None)
        self.held_feed: Suspicion | None = None
        self.quoted: list[QuotedModel] = []
        self.missing: list[int] = []
        self.missing_count = 0
        self.unreadable: list[int] = []
        self.held: list[int] = []
        self.covered: list[tuple[ModelName, Covered]] = []
        self.uncovered: list[int] = []
        self.quotes_now: dict[ModelName, Quote] = {}
        """What the source states after this run, where that is not as before."""
        self.applied: set[ModelName] = set()
        self.kept_unconfirmed: list[str] = []
        self.kept_in_part: list[str] = []
        self.counts = dict.fromkeys(("registered", "updated", "unchanged", "skipped", "held"), 0)

    def plan_listed(self, register_unknown: bool) -> None:
        candidates, skipped = [], []
        for listed in self.listing.models:
            model = self.state.models.get(listed.key)
            if model is None and not register_unknown:
                skipped.append(listed.key)
            else:
                candidates.append(self._candidate(listed, model))
        verdicts = self.judge.judge(candidates, self.listing)
        self.holding = Holding(self.state.holds, verdicts.feed)
        self.held_feed = verdicts.feed
        for key in skipped:
            self.counts["skipped"] += 1
            self.holding.leave(key)
        for candidate in candidates:
            self._plan(candidate, verdicts)

    def _candidate(self, listed: ListedModel, model: KnownModel | None) -> Candidate:
        self.cards.setdefault(listed.card.card_id, listed.card)
        before = self.state.quote_by(self.source.slug, listed.key)
        if before is not None and self._is_unpriced_now(before, listed):
            # A listing without a price confirms that the model is still sold, not its price.
            self.kept_unconfirmed.append(listed.model_id)
            quote, is_confirmed = replace(before, missing_syncs=0), False
        else:
            quote, is_confirmed = self._stated(listed, before)
        return Candidate(listed, model, before, quote, is_confirmed)

    def _plan(self, candidate: Candidate, verdicts: Verdicts) -> None:
        key = candidate.listed.key
        if self.state.is_as_before(candidate.listed, self.source.slug):
            self._confirm(candidate)
            return
        if candidate.model is not None:
            self._keep_covered(key)
        rejected = self.state.holds.rejected.get(key)
        if rejected is not None:
            # Of a rejected feed also models that are listed without a price: what is not
            # asked about again is all that the admin saw.
            if self.resolver.is_noise(rejected.card_id, candidate.quote.card_id):
                self._hold(candidate)
                return
            if self._is_price(candidate):
                self.holding.lapse(rejected.held_change_id)
        # What changes nothing can be held as little as doubted.
        suspicion = None if candidate.is_unchanged else verdicts.feed or verdicts.rows.get(key)
        if suspicion is not None:
            self._hold(candidate, suspicion)
        else:
            self._apply(candidate)

    def _confirm(self, candidate: Candidate) -> None:
        """Confirm the quote of a row that changes nothing."""
        self.quoted.append(candidate.quoted)
        self.quotes_now[candidate.listed.key] = candidate.quote
        self.applied.add(candidate.listed.key)
        self.counts["unchanged"] += 1

    def _hold(self, candidate: Candidate, suspicion: Suspicion | None = None) -> None:
        """Leave a model's quote as it is; without a suspicion it is as somebody decided."""
        key, before = candidate.listed.key, candidate.before
        card_id = candidate.quote.card_id
        self.counts["held"] += 1
        if suspicion is None:
            self.holding.end(key, is_applied=False)
        else:
            own = self.state.holds.own.get(key)
            is_same = own is not None and self.resolver.is_noise(own.card_id, card_id)
            is_near = own is not None and are_near(
                self.cards[own.card_id], self.cards[card_id], self.changed_at
            )
            self.holding.hold(
                candidate.listed, card_id, suspicion, is_same=is_same, is_near=is_near
            )
        if candidate.model is not None and before is not None:
            quotes = {quote.source: quote for quote in self.state.quotes_of(candidate.model)}
            quotes[self.source.slug] = self.quotes_now[key] = replace(before, missing_syncs=0)
            self.held.append(candidate.model.model_key)
            self.resolver.resolve(candidate.model, quotes.values())

    def _apply(self, candidate: Candidate) -> None:
        listed, model, quote = candidate.listed, candidate.model, candidate.quote
        own = self.state.holds.own.get(listed.key)
        if own is not None:
            is_applied = self._is_price(candidate) and self.resolver.is_noise(
                own.card_id, quote.card_id
            )
            self.holding.end(listed.key, is_applied=is_applied)
            if is_applied:
                quote = replace(quote, stated_since=own.obtained_at)
        quotes = {quote.source: quote}
        self.quoted.append(replace(candidate, quote=quote).quoted)
        self.quotes_now[listed.key] = quote
        self.applied.add(listed.key)
        for hold in self.judge.confirmed(candidate):
            quotes[hold.source] = self._release(listed, hold)
        before = {quote.source: quote for quote in self.state.quotes_for(listed.key)}
        if model is None:
            self.counts["registered"] += 1
            self._keep_covered(listed.key)
            self.resolver.add(listed.key, {**before, **quotes}.values())
            return
        if (was := before.get(self.source.slug)) is not None and was.stated_as is not None:
            self.uncovered.append(model.model_key)
        changed = self.resolver.resolve(model, {**before, **quotes}.values(), quotes)
        self.counts["updated" if changed else "unchanged"] += 1

    def _release(self, listed: ListedModel, hold: StatedHold) -> Quote:
        """The quote that a held change of another source becomes."""
        self.cards.setdefault(hold.card.card_id, hold.card)
        self.holding.release(hold.held_change_id)
        self.quoted.append(QuotedModel.released(listed.key, hold))
        return hold.quote

    def _keep_covered(self, key: ModelName) -> None:
        self.covered += [(key, covered) for covered in self.state.covered.get(key, ())]

    def plan_missing(self, faulty: Collection[tuple[str, str]]) -> None:
        for model in self.state.models.values():
            before = self.state.quote_by(self.source.slug, model.key)
            if before is None or model.key in self.listed:
                continue
            if model.key in faulty:
                self.unreadable.append(model.model_key)
                continue
            self.missing_count += 1
            if self.held_feed is not None:
                # What a feed does not list that is not believed may be there all the same.
                self.unreadable.append(model.model_key)
                continue
            if before.missing_syncs and not self._is_news():
                continue
            self.missing.append(model.model_key)
            now = replace(before, missing_syncs=before.missing_syncs + 1)
            self.quotes_now[model.key] = now
            if model.key not in self.state.covers:
                quotes = {quote.source: quote for quote in self.state.quotes_of(model)}
                self.resolver.resolve(model, {**quotes, now.source: now}.values())
        for key in self.state.holds.own:
            if key in faulty:
                self.holding.leave(key)
            elif key not in self.listed:
                self.holding.end(key, is_applied=False)

    def plan_covered(self) -> None:
        """Let what the source states of an id hold for the ids that it covers."""
        slug = self.source.slug
        for key, covered in self.state.covers.items():
            covering = (key[0], covered.stated_as)
            quote = self.quotes_now.get(covering) or self.state.quote_by(slug, covering)
            if quote is None:
                continue  # What covers it is held.
            model = self.state.models[key]
            quotes = {each.source: each for each in self.state.quotes_of(model)}
            before, quotes[slug] = quotes.get(slug), quote.covering(covered)
            if before is None or not before.is_covered_as(covered):
                self.covered.append((key, covered))
                for override in self.state.covering_overrides(key, covered):
                    quotes[override.source] = override
            stated = {slug} if covering in self.applied else ()
            self.resolver.resolve(model, quotes.values(), stated)
        for key, model in self.state.models.items():
            if key in self.listed or key in self.state.covers:
                continue
            quotes = {each.source: each for each in self.state.quotes_of(model)}
            before = quotes.pop(slug, None)
            if before is not None and before.stated_as is not None and quotes:
                self.uncovered.append(model.model_key)
                self.resolver.resolve(model, quotes.values())

    def plan(self) -> Plan:
        faults = len(self.listing.faults)
        pointed_to = {quoted.card_id for quoted in self.quoted}
        pointed_to |= self.resolver.cards_to_keep
        holding = self.holding.plan()
        pointed_to |= {opened.card_id for opened in holding.opened}
        notices = list(self.listing.notices)
        for code, message, kept in (
            (
                "price_no_longer_stated",
                "listed without a price; the last known one is kept, unconfirmed",
                self.kept_unconfirmed,
            ),
            (
                "rate_no_longer_stated",
                "zero or dynamic where a price was stated; the last known rate is kept, "
                "and the price is unconfirmed",
                self.kept_in_part,
            ),
        ):
            if kept:
                notices.append(Notice(code, message, len(kept), kept[0]))
        notices += self._older_data()
        notices += self._shrunk()
        return Plan(
            quoted=tuple(self.quoted),
            missing=tuple(self.missing),
            unreadable=tuple(self.unreadable),
            held=tuple(self.held),
            changes=tuple(self.resolver.changes),
            attributions=self.resolver.attributions,
            cards={key: self.cards[key] for key in pointed_to - self.stored if key in self.cards},
            changed_at=self.changed_at,
            counts={
                "models_fetched": self.listing.rows,
                **{f"models_{name}": count for name, count in self.counts.items()},
                "models_missing": self.missing_count,
                "errors": faults,
            },
            notices=tuple(notices),
            holding=holding,
            covered=tuple(self.covered),
            uncovered=tuple(self.uncovered),
        )

    def _older_data(self) -> list[Notice]:
        """Notes data from before that of the last sync, such as a recording's."""
        obtained_at, previous = self.listing.obtained_at, self.state.previous_obtained_at
        if previous is None or obtained_at >= previous:
            return []
        message = f"the data is of {_utc(obtained_at)}, older than that of {_utc(previous)} before"
        models = self.listing.models
        return [Notice("older_data", message, len(models), models[0].model_id)]

    def _shrunk(self) -> list[Notice]:
        """Says of a feed that shrank what it does not list, perhaps beside no other finding."""
        if self.held_feed is None or self.held_feed.reason is not HoldReason.FEED_SHRUNK:
            return []
        message = "less than half as many models as before; held as a whole, nothing is delisted"
        missing = sorted(
            model.model_id
            for model in self.state.models.values()
            if model.key not in self.listed
            and self.state.quote_by(self.source.slug, model.key) is not None
        )
        return [Notice("feed_shrunk", message, self.missing_count, missing[0])]

    def _is_news(self) -> bool:
        """Whether the data is newer than that of the last sync; the same data read again
        is no second witness that a model is gone."""
        previous = self.state.previous_obtained_at
        return previous is None or self.listing.obtained_at > previous

    @staticmethod
    def _is_price(candidate: Candidate) -> bool:
        return candidate.listed.card.state is not PriceState.UNPRICED

    def _stated(self, listed: ListedModel, before: Quote | None) -> tuple[Quote, bool]:
        """The quote that a row makes of the one before, and whether the row states all of it."""
        kept = None
        if before is not None and listed.partial is not None:
            kept = with_kept_rates(listed.partial, self.cards[before.card_id])
        if kept is not None:
            self.cards.setdefault(kept.card_id, kept)
            self.kept_in_part.append(listed.model_id)
        quote = self._quote(listed, kept or listed.card)
        if before is not None and self.resolver.is_noise(before.card_id, quote.card_id):
            obtained_at = quote.obtained_at if kept is None else before.obtained_at
            quote = replace(quote, card_id=before.card_id, obtained_at=obtained_at)
        return quote, kept is None

    def _quote(self, listed: ListedModel, card: RateCard) -> Quote:
        return Quote(
            source=self.source.slug,
            rank=self.source.rank,
            is_own_api=self.source.provider == listed.provider,
            card_id=card.card_id,
            state=card.state,
            obtained_at=self.listing.obtained_at,
            coverage=self.source.coverage,
        )

    @staticmethod
    def _is_unpriced_now(before: Quote, listed: ListedModel) -> bool:
        return listed.card.state is PriceState.UNPRICED and before.state is not PriceState.UNPRICED


def _utc(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
