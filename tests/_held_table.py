"""The price table in memory, with what is held: applies plans as the database does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

from llmpricing.meters import Meter
from llmpricing.rate_card import ALWAYS, PriceState, RateCard
from pricing_server.domain.held_change import FIRST_SYNC_REASONS, HoldReason, HoldStatus, Suspicion
from pricing_server.domain.names import ModelName
from pricing_server.domain.price_change import ADMIN, ChangeKind, ChangeOrigin, OriginKind
from pricing_server.domain.quote import Quote
from pricing_server.domain.source import Source
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.sync.sync_plan import ListingTerms, Plan, make_plan
from pricing_server.sync.table_state import (
    Holds,
    KnownModel,
    OpenFeed,
    OpenHold,
    Rejection,
    StatedHold,
    TableState,
    cards_to_compare,
)
from pricing_server.sync.usual_prices import UsualPrices, usual_prices

WRITTEN = datetime(2026, 12, 24, tzinfo=UTC)
ORIGIN = ChangeOrigin(OriginKind.SYNC, ADMIN)


@dataclass(slots=True)
class Entry:
    """One held change."""

    number: int
    source: Source
    suspicion: Suspicion
    obtained_at: datetime
    last_obtained_at: datetime
    listed: ListedModel | None = None
    """None for a feed."""
    card: RateCard | None = None
    feed: int | None = None
    status: HoldStatus = HoldStatus.OPEN
    has_lapsed: bool = False

    @property
    def reason(self) -> HoldReason:
        return self.suspicion.reason


@dataclass(slots=True)
class HeldTable:
    """Models, quotes, cards and held changes."""

    models: dict[ModelName, KnownModel] = field(default_factory=dict)
    quotes: dict[int, dict[str, Quote]] = field(default_factory=dict)
    cards: dict[str, RateCard] = field(default_factory=dict)
    entries: dict[int, Entry] = field(default_factory=dict)
    usual: dict[str, Mapping[Meter, UsualPrices]] = field(default_factory=dict)
    """What models cost, by source that is left out of it; "" for none."""
    named: dict[str, set[ModelName]] = field(default_factory=lambda: defaultdict(set))

    def sync(self, source: Source, data: Listing, *, register_unknown: bool = True) -> Plan:
        """Plan a listing and apply it."""
        plan = self.plan(source, data, register_unknown=register_unknown)
        self.apply(plan, source, data)
        return plan

    def plan(
        self,
        source: Source,
        data: Listing,
        *,
        register_unknown: bool = True,
        without_own: bool = False,
    ) -> Plan:
        """Plan a listing; perhaps as if it were the first of its source."""
        state = self.state(source, data, without_own=without_own)
        return self.plan_of(state, source, data, register_unknown=register_unknown)

    def plan_of(
        self, state: TableState, source: Source, data: Listing, *, register_unknown: bool = True
    ) -> Plan:
        """Plan against a state with exactly the cards that are asked for."""
        needed = cards_to_compare(state, data, source)
        return make_plan(
            state,
            data,
            source,
            {card_id: self.cards[card_id] for card_id in needed},
            ListingTerms(replace(ORIGIN, note=source.slug), WRITTEN, register_unknown),
        )

    def state(self, source: Source, data: Listing, *, without_own: bool = False) -> TableState:
        sellers = {model.provider for model in data.models}
        models = {key: model for key, model in self.models.items() if key[0] in sellers}
        return self._state(source, data, models, without_own)

    def state_of(self, source: Source, listed: ListedModel, *, without_own: bool) -> TableState:
        """The state that one row may touch."""
        models = {listed.key: self.models[listed.key]} if listed.key in self.models else {}
        data = Listing((listed,), (), (), WRITTEN)
        return self._state(source, data, models, without_own)

    def _state(
        self,
        source: Source,
        data: Listing,
        models: dict[ModelName, KnownModel],
        without_own: bool,
    ) -> TableState:
        quotes: dict[int, tuple[Quote, ...]] = {}
        for key, model in list(models.items()):
            found = self.quotes.get(model.model_key, {}).values()
            kept = tuple(q for q in found if not (without_own and q.source == source.slug))
            if not kept:
                del models[key]
            quotes[model.model_key] = kept
        own_quotes = {
            key
            for key, model in models.items()
            if any(quote.source == source.slug for quote in quotes[model.model_key])
        }
        is_priced = any(
            quote.source == source.slug and quote.state is not PriceState.UNPRICED
            for found in quotes.values()
            for quote in found
        )
        new = [model for model in data.models if model.key not in own_quotes]
        return TableState(
            models,
            quotes,
            None,
            self._is_first(source, is_priced),
            Holds() if without_own else self._holds(source),
            {model.key: self.other_sellers(model) for model in new},
            self.usual_prices(source.slug if without_own else ""),
        )

    def usual_prices(self, without: str) -> Mapping[Meter, UsualPrices]:
        """As the statement in SQL; perhaps without what one source alone states."""
        if without not in self.usual:
            self.usual[without] = usual_prices(
                self.cards[model.card_id]
                for model in self.models.values()
                if model.card_id is not None
                and model.is_active
                and self.quotes[model.model_key].keys() - {without}
            )
        return self.usual[without]

    def _is_first(self, source: Source, is_priced: bool) -> bool:
        feeds = [
            each for each in self.entries.values() if each.source is source and not each.listed
        ]
        if any(feed.status is HoldStatus.APPROVED for feed in feeds):
            return False
        waiting = [feed for feed in feeds if feed.reason in FIRST_SYNC_REASONS][-1:]
        return not is_priced or any(
            feed.status in (HoldStatus.OPEN, HoldStatus.REJECTED) for feed in waiting
        )

    def _holds(self, source: Source) -> Holds:
        feed, own, rejected = None, {}, {}
        shrinking = tuple(
            each.number
            for each in self.entries.values()
            if each.source is source
            and each.listed is None
            and each.reason is HoldReason.FEED_SHRUNK
            and each.status is HoldStatus.REJECTED
            and not each.has_lapsed
        )
        others: dict[ModelName, tuple[StatedHold, ...]] = {}
        for each in self.entries.values():
            if each.listed is None:
                if each.source is source and each.status is HoldStatus.OPEN:
                    feed = OpenFeed(each.number, each.reason, each.suspicion.evidence)
                continue
            assert each.card is not None
            key = each.listed.key
            if each.source is source and each.status is HoldStatus.OPEN:
                own[key] = OpenHold(each.number, each.card.card_id, each.feed, each.obtained_at)
            elif each.source is source and each.status is HoldStatus.REJECTED:
                if not each.has_lapsed:
                    rejected[key] = Rejection(each.number, each.card.card_id)
            elif each.source is not source and each.status is HoldStatus.OPEN and not each.feed:
                others[key] = (*others.get(key, ()), self._stated(each))
        return Holds(feed, own, rejected, shrinking, others)

    @staticmethod
    def _stated(each: Entry) -> StatedHold:
        assert each.listed is not None
        assert each.card is not None
        return StatedHold(
            each.number,
            each.source.slug,
            each.source.rank,
            each.source.provider == each.listed.provider,
            each.card,
            each.listed.fragment,
            each.obtained_at,
            each.last_obtained_at,
            last_run=1,
        )

    def other_sellers(self, listed: ListedModel) -> Mapping[Meter, Decimal]:
        """As the statement in SQL: the middle unconditional price of other sellers, by meter."""
        found: dict[Meter, list[Decimal]] = defaultdict(list)
        same = {key for name in names(listed) for key in self.named.get(name, ())}
        for key in same:
            card_id = self.models[key].card_id
            card = self.cards[card_id] if card_id is not None else None
            if key[0] == listed.provider or card is None or card.state is not PriceState.PRICED:
                continue
            for rate in card.rates:
                if rate.conditions == ALWAYS and rate.per == 1 and rate.price:
                    found[rate.meter].append(rate.price)
        return {meter: sorted(prices)[(len(prices) - 1) // 2] for meter, prices in found.items()}

    def apply(self, plan: Plan, source: Source, data: Listing) -> None:
        self.cards |= plan.cards
        self.usual.clear()
        for quoted in plan.quoted:
            key = quoted.listed.key
            if key not in self.models:
                self.models[key] = KnownModel(len(self.models) + 1, *key, True, None, None)
            for name in names(quoted.listed):
                self.named[name].add(key)
            told_by = self._source_of(quoted.sync_run_id, quoted.source, source)
            self.quotes.setdefault(self.models[key].model_key, {})[told_by.slug] = Quote(
                told_by.slug,
                told_by.rank,
                told_by.provider == key[0],
                quoted.card_id,
                self.cards[quoted.card_id].state,
                quoted.obtained_at,
            )
        for model_key, missed in (
            *((key, True) for key in plan.missing),
            *((key, False) for key in plan.held),
        ):
            quotes = self.quotes[model_key]
            before = quotes[source.slug]
            count = before.missing_syncs + 1 if missed else 0
            quotes[source.slug] = replace(before, missing_syncs=count)
        for change in plan.changes:
            key = (change.provider, change.model_id)
            self.models[key] = replace(
                self.models[key],
                card_id=change.new.card_id,
                is_active=change.kind is not ChangeKind.DELISTED,
            )
        for key, attribution in plan.attributions.items():
            self.models[key] = replace(self.models[key], attribution=attribution)
        self._apply_holding(plan, source, data)

    def _apply_holding(self, plan: Plan, source: Source, data: Listing) -> None:
        holding = plan.holding
        for status, numbers in (
            (HoldStatus.EXPIRED, holding.expired),
            (HoldStatus.RELEASED, holding.released),
        ):
            for number in numbers:
                assert self.entries[number].status is HoldStatus.OPEN
                self.entries[number].status = status
        for number in holding.lapsed:
            assert self.entries[number].status is HoldStatus.REJECTED
            self.entries[number].has_lapsed = True
        for number in holding.again:
            assert self.entries[number].status is HoldStatus.OPEN
            self.entries[number].last_obtained_at = data.obtained_at
        feed = holding.same_feed
        if holding.feed is not None and feed is None:
            feed = self._open(source, holding.feed, data).number
        for opened in holding.opened:
            each = self._open(source, opened.suspicion, data)
            each.listed, each.card = opened.listed, self.cards[opened.card_id]
            each.feed = feed if opened.is_of_feed else None
        self._check()

    def _open(self, source: Source, suspicion: Suspicion, data: Listing) -> Entry:
        number = len(self.entries) + 1
        entry = Entry(number, source, suspicion, data.obtained_at, data.obtained_at)
        self.entries[number] = entry
        return entry

    def _check(self) -> None:
        """What the unique indexes of the database hold."""
        keys = [
            (each.source.slug, each.listed.key if each.listed else None) for each in self.open()
        ]
        assert len(set(keys)) == len(keys), "one open entry of a model and a source"
        feeds = {each.number for each in self.open() if each.listed is None}
        assert {each.feed for each in self.open() if each.feed} <= feeds

    def _source_of(self, run: int | None, slug: str | None, source: Source) -> Source:
        if slug is None:
            return source
        return next(each.source for each in self.entries.values() if each.source.slug == slug)

    def decide(self, number: int, status: HoldStatus) -> None:
        """Reject, of a feed with all its models."""
        for each in self.open():
            if number in (each.number, each.feed):
                each.status = status

    def open(self) -> list[Entry]:
        return [each for each in self.entries.values() if each.status is HoldStatus.OPEN]

    def price_of(self, model_id: str, provider: str = "acme") -> RateCard | None:
        model = self.models.get((provider, model_id))
        return self.cards[model.card_id] if model and model.card_id else None


def names(listed: ListedModel) -> Iterable[str]:
    """By which a model of another seller is the same."""
    for name in (listed.model_id, listed.hugging_face_id):
        if name:
            yield name.lower()
    if listed.canonical_slug:
        yield f"slug {listed.canonical_slug}"
