"""What a listing changes in the price table: a pure function of the two.

The rules:

- A quote within binary noise of the one before is the same quote.
- A model without a known price (UNPRICED) never replaces a price: the quote before
  stays, unconfirmed. So does that of a row that could not be read, and so do single
  rates that a row mentions without a believable price.
- Data older than that of the source's last sync is applied as asked for, and noted.
- Of a model's quotes the one of the source with the lowest rank is in force, but an
  unpriced quote yields to any other, and a catalogue that dropped the model to one
  that has it. An admin's override ranks before every source and says nothing of whether
  a model is listed.
- A model is delisted after MISSING_SYNCS_TO_DELIST successful syncs of new data in a
  row without it: by its seller's own API if that ever listed it, else by every catalogue. Its last
  price is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from llmpricing.rate_card import PriceState, RateCard
from pricing_server.price_change import ChangeKind, PriceChange
from pricing_server.providers.source import ListedModel, Listing, Notice, Source
from pricing_server.sync.kept_rates import with_kept_rates

MISSING_SYNCS_TO_DELIST: Final = 2

OVERRIDE: Final = "override"
"""The source of prices that admins set. It ranks before all others and lists no model."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model in the price table, and the card in force (None before its first price)."""

    model_key: int
    provider: str
    model_id: str
    is_active: bool
    card_id: str | None
    source: str | None

    @property
    def key(self) -> tuple[str, str]:
        """What makes it this model."""
        return self.provider, self.model_id


@dataclass(frozen=True, slots=True)
class Quote:
    """What one source states of one model."""

    source: str
    rank: int
    is_own_api: bool
    """Whether the source is the API of the model's seller."""
    card_id: str
    state: PriceState
    obtained_at: datetime
    missing_syncs: int = 0

    @property
    def is_listed(self) -> bool:
        """Whether the source still lists the model."""
        return self.missing_syncs < MISSING_SYNCS_TO_DELIST

    @property
    def is_ended_override(self) -> bool:
        """Whether it is what is left of an override: no price, and nobody's statement."""
        return self.source == OVERRIDE and self.state is PriceState.UNPRICED


@dataclass(frozen=True, slots=True)
class TableState:
    """The part of the price table that a listing may touch."""

    models: Mapping[tuple[str, str], KnownModel]
    quotes: Mapping[int, tuple[Quote, ...]]
    """By model key."""
    previous_obtained_at: datetime | None = None
    """When the data of the source's last successful sync was obtained."""

    def quotes_of(self, model: KnownModel) -> tuple[Quote, ...]:
        """The quotes of a model, in no particular order."""
        return self.quotes.get(model.model_key, ())


@dataclass(frozen=True, slots=True)
class QuotedModel:
    """A listed model with the card that its quote is to have, and when that was stated."""

    listed: ListedModel
    card_id: str
    obtained_at: datetime
    is_confirmed: bool = True
    """Whether the listing states this card."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run writes; `counts` are those of its log row."""

    quoted: tuple[QuotedModel, ...]
    missing: tuple[int, ...]
    """Model keys whose quote of this source was missing for one more sync."""
    unreadable: tuple[int, ...]
    """Model keys whose quote of this source stays, as the row could not be read."""
    changes: tuple[PriceChange, ...]
    source_changes: tuple[tuple[KnownModel, str, str], ...]
    """Models whose price stays and is told by another source: (model, source, card id)."""
    cards: Mapping[str, RateCard]
    """The cards that quotes and changes point to and that may not be stored yet."""
    changed_at: datetime
    counts: Mapping[str, int]
    notices: tuple[Notice, ...] = field(default=())


def cards_to_compare(state: TableState, listing: Listing, source: Source) -> set[str]:
    """The stored cards that `make_plan` needs in full: those of models with any difference."""
    needed: set[str] = set()
    listed = {model.key: model for model in listing.models}
    for key, model in state.models.items():
        quotes = state.quotes_of(model)
        own = next((quote for quote in quotes if quote.source == source.slug), None)
        stated = listed.get(key)
        if stated is None and own is None:
            continue
        card_ids = {quote.card_id for quote in quotes}
        if model.card_id is not None:
            card_ids.add(model.card_id)
        if stated is None or not model.is_active or card_ids != {stated.card.card_id}:
            needed |= card_ids
    return needed


def make_plan(
    state: TableState,
    listing: Listing,
    source: Source,
    stored_cards: Mapping[str, RateCard],
    *,
    register_unknown: bool,
    changed_at: datetime,
) -> Plan:
    """Plan what a listing of `source` changes.

    `stored_cards` holds at least `cards_to_compare` of the same arguments.
    """
    planner = _Planner(state, listing, source, dict(stored_cards), changed_at)
    for listed in listing.models:
        planner.plan_listed(listed, register_unknown)
    planner.plan_missing({fault.key for fault in listing.faults if fault.key})
    return planner.plan()


class _Planner:
    def __init__(
        self,
        state: TableState,
        listing: Listing,
        source: Source,
        cards: dict[str, RateCard],
        changed_at: datetime,
    ) -> None:
        self.state = state
        self.listing = listing
        self.source = source
        self.cards = cards
        self.changed_at = changed_at
        self.stored = frozenset(cards)
        self.quoted: list[QuotedModel] = []
        self.missing: list[int] = []
        self.missing_count = 0
        self.unreadable: list[int] = []
        self.changes: list[PriceChange] = []
        self.source_changes: list[tuple[KnownModel, str, str]] = []
        self.kept_unconfirmed: list[str] = []
        self.kept_in_part: list[str] = []
        self.counts = dict.fromkeys(("registered", "updated", "unchanged", "skipped"), 0)

    def plan_listed(self, listed: ListedModel, register_unknown: bool) -> None:
        model = self.state.models.get(listed.key)
        if model is None and not register_unknown:
            self.counts["skipped"] += 1
            return
        card_id = listed.card.card_id
        self.cards.setdefault(card_id, listed.card)
        if model is None:
            self.counts["registered"] += 1
            self.quoted.append(QuotedModel(listed, card_id, self.listing.obtained_at))
            self._change(ChangeKind.ADDED, listed.key, None, self._quote(listed, listed.card))
            return
        quotes = {quote.source: quote for quote in self.state.quotes_of(model)}
        before = quotes.get(self.source.slug)
        if before is not None and self._is_unpriced_now(before, listed):
            # A listing without a price confirms that the model is still sold, not its price.
            self.kept_unconfirmed.append(listed.model_id)
            quotes[self.source.slug] = replace(before, missing_syncs=0)
            self.quoted.append(
                QuotedModel(listed, before.card_id, before.obtained_at, is_confirmed=False)
            )
        else:
            quote, is_confirmed = self._stated(listed, before)
            quotes[self.source.slug] = quote
            self.quoted.append(QuotedModel(listed, quote.card_id, quote.obtained_at, is_confirmed))
        changed = self._resolve(model, quotes.values())
        self.counts["updated" if changed else "unchanged"] += 1

    def plan_missing(self, faulty: Collection[tuple[str, str]]) -> None:
        listed = {model.key for model in self.listing.models}
        for model in self.state.models.values():
            quotes = {quote.source: quote for quote in self.state.quotes_of(model)}
            before = quotes.get(self.source.slug)
            if before is None or model.key in listed:
                continue
            if model.key in faulty:
                self.unreadable.append(model.model_key)
                continue
            self.missing_count += 1
            if before.missing_syncs and not self._is_news():
                continue
            self.missing.append(model.model_key)
            quotes[self.source.slug] = replace(before, missing_syncs=before.missing_syncs + 1)
            self._resolve(model, quotes.values())

    def plan(self) -> Plan:
        faults = len(self.listing.faults)
        pointed_to = {quoted.card_id for quoted in self.quoted}
        pointed_to |= {change.new.card_id for change in self.changes}
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
        return Plan(
            quoted=tuple(self.quoted),
            missing=tuple(self.missing),
            unreadable=tuple(self.unreadable),
            changes=tuple(self.changes),
            source_changes=tuple(self.source_changes),
            cards={key: self.cards[key] for key in pointed_to - self.stored if key in self.cards},
            changed_at=self.changed_at,
            counts={
                "models_fetched": self.listing.rows,
                **{f"models_{name}": count for name, count in self.counts.items()},
                "models_missing": self.missing_count,
                "models_held": 0,
                "errors": faults,
            },
            notices=tuple(notices),
        )

    def _older_data(self) -> list[Notice]:
        """Notes data from before that of the last sync, such as a recording's."""
        obtained_at, previous = self.listing.obtained_at, self.state.previous_obtained_at
        if previous is None or obtained_at >= previous:
            return []
        message = f"the data is of {_utc(obtained_at)}, older than that of {_utc(previous)} before"
        models = self.listing.models
        return [Notice("older_data", message, len(models), models[0].model_id)]

    def _is_news(self) -> bool:
        """Whether the data is newer than that of the last sync; the same data read again
        is no second witness that a model is gone."""
        previous = self.state.previous_obtained_at
        return previous is None or self.listing.obtained_at > previous

    def _resolve(self, model: KnownModel, quotes: Collection[Quote]) -> bool:
        """Plan the price in force of a known model; whether it changes."""
        is_active = _is_listed(quotes)
        if not is_active:
            if model.is_active and model.card_id is not None:
                kept = min(quotes, key=precedence)
                self._change(ChangeKind.DELISTED, model.key, model.card_id, kept, keep=True)
            return False
        winner = min(quotes, key=precedence)
        if not model.is_active:
            self._change(ChangeKind.RESTORED, model.key, model.card_id, winner)
        elif model.card_id is None:
            self._change(ChangeKind.ADDED, model.key, None, winner)
        elif not self._is_noise(model.card_id, winner.card_id):
            self._change(ChangeKind.CHANGED, model.key, model.card_id, winner)
        else:
            if model.source != winner.source:
                self.source_changes.append((model, winner.source, model.card_id))
            return False
        return True

    def _change(
        self,
        kind: ChangeKind,
        key: tuple[str, str],
        old_card_id: str | None,
        quote: Quote,
        *,
        keep: bool = False,
    ) -> None:
        new_card_id = old_card_id if keep and old_card_id is not None else quote.card_id
        self.changes.append(
            PriceChange(
                kind=kind,
                provider=key[0],
                model_id=key[1],
                old=self.cards[old_card_id] if old_card_id is not None else None,
                new=self.cards[new_card_id],
                source=quote.source,
                effective_time=quote.obtained_at,
                changed_at=self.changed_at,
                changed_by=f"api_sync:{self.source.slug}",
            )
        )

    def _stated(self, listed: ListedModel, before: Quote | None) -> tuple[Quote, bool]:
        """The quote that a row makes of the one before, and whether the row states all of it."""
        kept = None
        if before is not None and listed.partial is not None:
            kept = with_kept_rates(listed.partial, self.cards[before.card_id])
        if kept is not None:
            self.cards.setdefault(kept.card_id, kept)
            self.kept_in_part.append(listed.model_id)
        quote = self._quote(listed, kept or listed.card)
        if before is not None and self._is_noise(before.card_id, quote.card_id):
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
        )

    def _is_noise(self, old_card_id: str, new_card_id: str) -> bool:
        return old_card_id == new_card_id or self.cards[old_card_id].same_prices_as(
            self.cards[new_card_id]
        )

    @staticmethod
    def _is_unpriced_now(before: Quote, listed: ListedModel) -> bool:
        return listed.card.state is PriceState.UNPRICED and before.state is not PriceState.UNPRICED


def _utc(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _is_listed(quotes: Collection[Quote]) -> bool:
    stated = [quote for quote in quotes if quote.source != OVERRIDE]
    own = [quote for quote in stated if quote.is_own_api]
    return any(quote.is_listed for quote in own or stated)


def precedence(quote: Quote) -> tuple[bool, bool, bool, int, str]:
    """Sort key: of a model's quotes the smallest is in force."""
    return (
        quote.is_ended_override,
        quote.state is PriceState.UNPRICED,
        not quote.is_listed and not quote.is_own_api,
        quote.rank,
        quote.source,
    )
