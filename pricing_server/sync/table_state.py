"""The part of the price table that a change of prices is planned against."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from llmpricing.meters import Meter
from llmpricing.rate_card import RateCard
from pricing_server.domain.disagreement import Disagreement
from pricing_server.domain.held_change import HoldEvidence, HoldReason
from pricing_server.domain.names import ModelName
from pricing_server.domain.override import OVERRIDE
from pricing_server.domain.quote import Covered, Quote
from pricing_server.domain.source import SAYS_NOTHING, Coverage, Source
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.sync.usual_prices import UsualPrices, area_of


@dataclass(frozen=True, slots=True)
class Attribution:
    """Whose price is in force."""

    source: str
    stated_as: str | None = None
    """The id under which the source states it, if that is another id of the model."""
    rate_sources: tuple[str, ...] = ()
    """Who states each rate of the card in force."""
    beneath: tuple[str, str | None] | None = None
    """The same as `source` and `stated_as` of what would be in force without an override."""
    beneath_card_id: str | None = None
    """The card that would be in force without an override."""
    beneath_rate_sources: tuple[str, ...] | None = None
    """Who states each rate of that card."""
    disagreements: tuple[Disagreement, ...] = ()

    @property
    def filling(self) -> frozenset[str]:
        """Who completes the card, or the one beneath an override."""
        return frozenset((*self.rate_sources, *(self.beneath_rate_sources or ())))

    @property
    def is_completed(self) -> bool:
        """Whether others state a part of the card."""
        return any(source != self.source for source in self.rate_sources)


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model in the price table, and the card in force (None before its first price)."""

    model_key: int
    provider: str
    model_id: str
    is_active: bool
    card_id: str | None
    attribution: Attribution | None
    is_reverted: bool = False
    """Whether a revert put the price in force, which is then not what the quotes say."""

    @property
    def key(self) -> ModelName:
        """What makes it this model."""
        return self.provider, self.model_id

    @property
    def source(self) -> str | None:
        """Whose price is in force."""
        return self.attribution.source if self.attribution is not None else None

    @property
    def is_completed(self) -> bool:
        """Whether others than its source state a part of the card in force."""
        return self.attribution is not None and self.attribution.is_completed

    def is_quoted_by(self, quote: Quote) -> bool:
        """Whether this quote of the model was in force."""
        found = self.attribution
        return found is not None and (found.source, found.stated_as) == (
            quote.source,
            quote.stated_as,
        )


@dataclass(frozen=True, slots=True)
class OpenHold:
    """An open held change of a model, of the source that is synced."""

    held_change_id: int
    card_id: str
    feed_id: int | None
    obtained_at: datetime
    """When the data that first stated it was obtained."""


@dataclass(frozen=True, slots=True)
class OpenFeed:
    """The open held feed of the source that is synced."""

    held_change_id: int
    reason: HoldReason
    evidence: tuple[HoldEvidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """A decision that still binds: this card of the source is not to be asked about again."""

    held_change_id: int
    card_id: str


@dataclass(frozen=True, slots=True)
class StatedHold:
    """An open held change of a model with all that it takes to put it in force."""

    held_change_id: int
    source: str
    rank: int
    is_own_api: bool
    card: RateCard
    fragment: str
    obtained_at: datetime
    last_obtained_at: datetime
    last_run: int
    hugging_face_id: str | None = None
    canonical_slug: str | None = None
    alias_target: str | None = None
    context_length: int | None = None
    coverage: Coverage = SAYS_NOTHING

    @property
    def quote(self) -> Quote:
        """What the source's quote becomes when it comes into force."""
        return Quote(
            source=self.source,
            rank=self.rank,
            is_own_api=self.is_own_api,
            card_id=self.card.card_id,
            state=self.card.state,
            obtained_at=self.last_obtained_at,
            stated_since=self.obtained_at,
            coverage=self.coverage,
        )


@dataclass(frozen=True, slots=True)
class Holds:
    """What is held now, as far as a listing may touch it."""

    feed: OpenFeed | None = None
    own: Mapping[ModelName, OpenHold] = field(default_factory=dict)
    rejected: Mapping[ModelName, Rejection] = field(default_factory=dict)
    rejected_shrinking: tuple[int, ...] = ()
    """Held feeds that somebody rejected as FEED_SHRUNK, and that did not grow again since."""
    others: Mapping[ModelName, tuple[StatedHold, ...]] = field(default_factory=dict)
    """Of other sources, and of no held feed: what is listed may confirm these."""


@dataclass(frozen=True, slots=True)
class TableState:
    """The part of the price table that a listing may touch."""

    models: Mapping[ModelName, KnownModel]
    quotes: Mapping[int, tuple[Quote, ...]]
    """By model key."""
    previous_obtained_at: datetime | None = None
    """When the data of the source's last successful sync was obtained."""
    is_first_sync: bool = False
    """Whether the source never stated a price that was applied, or waits for its approval."""
    holds: Holds = field(default_factory=Holds)
    other_sellers: Mapping[ModelName, Mapping[Meter, Decimal]] = field(default_factory=dict)
    """Of listed models that no source of the same seller has: the median of what other sellers
    charge for the same model, in USD per one."""
    usual_prices: Mapping[Meter, UsualPrices] = field(default_factory=dict)
    """What listed models cost, of meters that enough of them have; may be empty where a listing
    changes nothing."""
    covered: Mapping[ModelName, tuple[Covered, ...]] = field(default_factory=dict)
    """Listed ids that other sources state under another id, as far as that is not known yet."""
    covers: Mapping[ModelName, Covered] = field(default_factory=dict)
    """All known ids that the synced source states under another id that it lists."""

    def quotes_of(self, model: KnownModel) -> tuple[Quote, ...]:
        """The quotes of a known model, in no particular order."""
        return (*self.quotes.get(model.model_key, ()), *self._newly_covering(model.key))

    def quotes_for(self, key: ModelName) -> tuple[Quote, ...]:
        """The quotes of a model, known or not; of an unknown one those under other ids."""
        model = self.models.get(key)
        return self.quotes_of(model) if model is not None else tuple(self._newly_covering(key))

    def quote_by(self, source: str, key: ModelName) -> Quote | None:
        """What a source states of a model under its own id."""
        model = self.models.get(key)
        quotes = self.quotes.get(model.model_key, ()) if model is not None else ()
        return next((each for each in quotes if each.is_own(source)), None)

    def is_as_before(self, listed: ListedModel, source: str) -> bool:
        """Whether a row states what its source's quote says already, and nothing else can have
        changed the price in force since it was planned: no card needs to be read for it."""
        key = listed.key
        model = self.models.get(key)
        if model is None or not model.is_active or model.card_id is None or model.is_reverted:
            return False
        own = self.quote_by(source, key)
        held = (self.holds.own, self.holds.rejected, self.holds.others, self.covered)
        return (
            own is not None
            and own.card_id == listed.card.card_id
            and not own.missing_syncs
            and listed.partial is None
            and not any(key in each for each in held)
            and not any(quote.is_dated for quote in self.quotes[model.model_key])
        )

    def siblings_of(self, keys: Collection[ModelName]) -> Mapping[ModelName, list[KnownModel]]:
        """Listed models of the same seller that are the same model under another area's id, with
        a price that a source states."""
        areas = {key: area_of(key[1]) for key in keys}
        wanted = {(key[0], area.family) for key, area in areas.items()}
        families: dict[tuple[str, str], list[tuple[str, KnownModel]]] = {}
        for model in self.models.values() if wanted else ():
            area = area_of(model.model_id)
            name = (model.provider, area.family)
            if name in wanted and model.is_active and model.source not in (None, OVERRIDE):
                families.setdefault(name, []).append((area.name, model))
        return {
            key: [
                model
                for name, model in families.get((key[0], area.family), ())
                if name != area.name
            ]
            for key, area in areas.items()
        }

    def _newly_covering(self, key: ModelName) -> Iterator[Quote]:
        for covered in self.covered.get(key, ()):
            quote = self.quote_by(covered.source, (key[0], covered.stated_as))
            if quote is not None:
                yield quote.covering(covered)
                yield from self.covering_overrides(key, covered)

    def covering_overrides(self, key: ModelName, covered: Covered) -> Iterator[Quote]:
        """The override of the covering id, if there is one and the covered id has none."""
        own = self.quote_by(OVERRIDE, key)
        override = self.quote_by(OVERRIDE, (key[0], covered.stated_as))
        if own is not None and not own.is_ended_override:
            return
        if override is not None and not override.is_ended_override:
            yield override.covering(covered)


def cards_to_compare(state: TableState, listing: Listing, source: Source) -> set[str]:
    """The stored cards that `make_plan` needs in full: those of models with any difference."""
    needed: set[str] = set()
    listed = {model.key: model for model in listing.models}
    for key, model in state.models.items():
        quotes = state.quotes_of(model)
        own = next((quote for quote in quotes if quote.source == source.slug), None)
        stated = listed.get(key)
        if stated is None and own is None and key not in state.covers:
            continue
        card_ids = {quote.card_id for quote in quotes}
        if model.card_id is not None:
            card_ids.add(model.card_id)
        if stated is None or not state.is_as_before(stated, source.slug):
            needed |= card_ids
    for key, covered in state.covers.items():
        needed |= {quote.card_id for quote in state.covering_overrides(key, covered)}
    for key in listed.keys() - state.models.keys():
        needed |= {quote.card_id for quote in state.quotes_for(key)}
    new = {key for key in listed if state.quote_by(source.slug, key) is None}
    for siblings in state.siblings_of(new).values():
        needed |= {each.card_id for each in siblings if each.card_id is not None}
    for kept in (state.holds.own, state.holds.rejected):
        for key, hold in kept.items():
            stated = listed.get(key)
            if stated is not None and stated.card.card_id != hold.card_id:
                needed.add(hold.card_id)  # Perhaps the same price, but for binary noise.
    return needed
