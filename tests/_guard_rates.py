"""What the guard holds of errors that are injected into recorded payloads, and of true changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState, Rate, RateCard
from llmpricing.schedule import standard_rates
from llmpricing.units import EXACT
from pricing_server.domain.held_change import HoldEvidence
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.names import ModelName
from pricing_server.domain.source import Source
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.providers import SOURCES
from pricing_server.sync.guard.rules import MIN_REFERENCES, ROW_RATIO, Opinion, Row, feed_medians
from pricing_server.sync.sync_plan import Plan
from pricing_server.sync.usual_prices import UsualPrices, usual_prices
from tests._coverage import NOW, listings
from tests._held_table import WRITTEN, HeldTable
from tests._recorded import recorded

FACTORS: Final = tuple(Decimal(f"1E{power}") for power in (2, 3, 6, -2, -3, -6))
DISPUTED_RATIO: Final = Decimal(100) / ROW_RATIO
"""Within it, an error of 100x is beyond ROW_RATIO in either direction."""

DAYS: Final = ("2026-06-18", "2026-08-21", "2026-08-22")


@dataclass(slots=True)
class Count:
    """How many of how many were held."""

    held: int = 0
    all: int = 0

    def add(self, is_held: bool) -> None:
        self.held += is_held
        self.all += 1

    def include(self, other: Count) -> None:
        """Count what another one has counted, too."""
        self.held += other.held
        self.all += other.all

    def __str__(self) -> str:
        share = f"{self.held / self.all:.1%}" if self.all else "-"
        return f"{self.held} of {self.all} ({share})"


@cache
def feeds() -> dict[str, Listing]:
    """What every source says that states any price, in order of rank."""
    return {
        slug: listing
        for slug, listing in listings()
        if any(model.card.state is PriceState.PRICED for model in listing.models)
    }


PAST: Final = "its past"
BUNDLED: Final = "bundled catalogue"
ALL: Final = "all others"


@cache
def worlds() -> dict[str, HeldTable]:
    """Tables to judge a feed against: the bundled catalogue alone, all other sources, and its
    own past beside all others."""
    bundled, everything = HeldTable(), HeldTable()
    bundled.sync(SOURCES["genai-prices"], feeds()["genai-prices"])
    for slug, listing in sorted(feeds().items(), key=lambda item: item[0] != "genai-prices"):
        everything.sync(SOURCES[slug], listing)
    return {BUNDLED: bundled, ALL: everything, PAST: everything}


def scaled(card: RateCard, factor: Decimal, meters: frozenset[Meter] | None = None) -> RateCard:
    """The card with its prices, of these meters or all, read in another unit."""
    return RateCard.of(
        card.state,
        (
            replace(rate, price=EXACT.multiply(rate.price, factor))
            if meters is None or rate.meter in meters
            else rate
            for rate in card.rates
        ),
    )


def in_unit(listing: Listing, factor: Decimal, meters: frozenset[Meter] | None = None) -> Listing:
    """The whole feed in another unit."""
    return replace(
        listing,
        models=tuple(
            replace(model, card=scaled(model.card, factor, meters), partial=None)
            if model.card.state is PriceState.PRICED
            else model
            for model in listing.models
        ),
    )


def passed(plan: Plan, true: Listing, wrong: Listing) -> list[str]:
    """The models whose wrong price a plan applies."""
    cards = {model.key: model.card for model in true.models}
    wrongs = {model.key: model.card for model in wrong.models if model.card != cards[model.key]}
    return [
        quoted.listed.model_id
        for quoted in plan.quoted
        if quoted.listed.key in wrongs and quoted.card_id == wrongs[quoted.listed.key].card_id
    ]


def medians(table: HeldTable, source: Source, listing: Listing) -> dict[str, HoldEvidence]:
    """Of the first sync of a feed against a table, by meter."""
    return {meter.value: one for meter, one in _first_medians(table, source, listing).items()}


def _first_medians(
    table: HeldTable, source: Source, listing: Listing
) -> Mapping[Meter, HoldEvidence]:
    state = table.state(source, listing, without_own=True)
    cards = table.cards | {model.card.card_id: model.card for model in listing.models}
    rows = []
    for model in listing.models:
        known = state.models.get(model.key)
        quotes = state.quotes_of(known) if known is not None else ()
        rows.append(
            Row(
                model.card,
                opinions=tuple(
                    Opinion(quote.source, cards[quote.card_id])
                    for quote in sorted(quotes, key=lambda quote: quote.rank)
                ),
                other_sellers=state.other_sellers.get(model.key, {}),
            )
        )
    return feed_medians(rows, WRITTEN)


# Whole feeds ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WrongFeed:
    """A recorded feed, wholly or in one meter in a wrong unit, and what became of it."""

    source: str
    world: str
    """What it is judged against; "its past" where the true feed was synced before."""
    meter: str
    """The one that is wrong; empty for all."""
    factor: Decimal
    passed: int
    """Wrong prices that were applied."""
    held: int
    reasons: frozenset[str]


def wrong_feeds(slug: str, factors: Iterable[Decimal] = FACTORS) -> Iterator[WrongFeed]:
    """Every wrong unit of a feed: of all its meters, and of each that has enough references."""
    source, listing = SOURCES[slug], feeds()[slug]
    for world, table in worlds().items():
        is_past = world == PAST
        enough = {None} | {
            meter
            for meter, one in _first_medians(table, source, listing).items()
            if one.references >= MIN_REFERENCES
        }
        for meter in sorted(enough, key=lambda meter: meter or ""):
            for factor in factors:
                meters = None if meter is None else frozenset({meter})
                wrong = in_unit(listing, factor, meters)
                plan = table.plan(source, wrong, without_own=not is_past)
                reasons = {each.suspicion.reason.value for each in plan.holding.opened}
                yield WrongFeed(
                    slug,
                    world,
                    meter or "",
                    factor,
                    len(passed(plan, listing, wrong)),
                    plan.counts["models_held"],
                    frozenset(reasons),
                )


# Single rows ---------------------------------------------------------------------------------


@dataclass(slots=True)
class WrongRows:
    """Single rows in a wrong unit: how many were held, of those that can be compared."""

    past: Count = field(default_factory=Count)
    opinion: Count = field(default_factory=Count)
    disputed: Count = field(default_factory=Count)
    """With an opinion that is more than DISPUTED_RATIO off the true price already: the error may
    bring the two nearer to each other."""
    rest: Count = field(default_factory=Count)
    """With neither a past nor an opinion on the same seller's model."""
    passed: list[str] = field(default_factory=list)


def wrong_rows(slug: str, factors: Iterable[Decimal] = FACTORS, step: int = 1) -> WrongRows:
    """Every `step`th priced row in turn, all else true."""
    found = WrongRows()
    source, listing = SOURCES[slug], feeds()[slug]
    priced = [model for model in listing.models if model.card.state is PriceState.PRICED]
    for factor in factors:
        for model in priced[::step]:
            wrong = replace(model, card=scaled(model.card, factor), partial=None)
            for world, table in worlds().items():
                _one_row(found, source, listing, model, wrong, table, is_past=world == PAST)
    return found


def _one_row(
    found: WrongRows,
    source: Source,
    listing: Listing,
    true: ListedModel,
    wrong: ListedModel,
    table: HeldTable,
    *,
    is_past: bool,
) -> None:
    """Judge one row by itself: the rest of the feed is as it was and plays no part."""
    data = replace(listing, models=(wrong,), faults=(), notices=())
    full = table.state_of(source, wrong, without_own=not is_past)
    # The feed as a whole is true, and its first sync was let pass.
    state = replace(full, is_first_sync=False)
    plan = table.plan_of(state, source, data)
    is_held = plan.counts["models_held"] == 1
    known = state.models.get(wrong.key)
    quotes = state.quotes_of(known) if known is not None else ()
    if any(quote.source == source.slug and quote.state is PriceState.PRICED for quote in quotes):
        count = found.past
    else:
        ratios = [
            ratio for quote in quotes for ratio in _ratios(true.card, table.cards[quote.card_id])
        ]
        if not ratios:
            count = found.rest
        elif any(ratio < DISPUTED_RATIO for ratio in ratios):
            count = found.opinion
        else:
            count = found.disputed
    count.add(is_held)
    if not is_held and (count is found.past or count is found.opinion):
        found.passed.append(wrong.model_id)


def _ratios(true: RateCard, other: RateCard) -> Iterator[Decimal]:
    """How far apart the standard rates are that both have, but for cache reads."""
    known = standard_rates(other, WRITTEN)
    for meter, rate in standard_rates(true, WRITTEN).items():
        if meter in known and known[meter].price and rate.price and "CACHE" not in meter.name:
            ratio = rate.price / known[meter].price
            yield max(ratio, 1 / ratio)


# New rows ------------------------------------------------------------------------------------


@dataclass(slots=True)
class NewRows:
    """Rows that no past, no other source and no other seller's price can judge."""

    implausible: Count = field(default_factory=Count)
    """A usual price in a unit a million times off."""
    rare: Count = field(default_factory=Count)
    """The same of rows without a usual price: of meters that few models have, or odd in truth."""
    real: Count = field(default_factory=Count)
    passed: list[str] = field(default_factory=list)
    """Implausible ones that were let pass."""
    doubted: list[str] = field(default_factory=list)
    """Real ones that were held."""


IMPLAUSIBLE_FACTORS: Final = (Decimal("1E6"), Decimal("1E-6"))
_AT_ONCE: Final = 50
"""One in so many rows is wrong at a time: the rest of the feed is true."""


def new_rows(slug: str, rounds: int = _AT_ONCE) -> NewRows:
    """The rows of a feed that nothing else prices, as they are, and each of them far off in one
    of _AT_ONCE rounds, of which only the first `rounds` take place."""
    found = NewRows()
    source, listing = SOURCES[slug], feeds()[slug]
    for world, table in worlds().items():
        if world == PAST:
            continue
        # The first sync of the feed was let pass.
        state = replace(table.state(source, listing, without_own=True), is_first_sync=False)
        new = {
            model.key
            for model in listing.models
            if model.card.state is PriceState.PRICED and not state.quotes_for(model.key)
        }
        held = _held(table.plan_of(state, source, listing))
        for key in new:
            found.real.add(key in held)
        found.doubted += [f"{world}: {'/'.join(key)}" for key in new & held]
        listed = usual_prices(model.card for model in listing.models)
        usual = {**listed, **state.usual_prices}
        for factor in IMPLAUSIBLE_FACTORS:
            for turn in range(rounds):
                wrong = {
                    model.key: replace(model, card=scaled(model.card, factor), partial=None)
                    for model in listing.models[turn::_AT_ONCE]
                    if model.key in new
                }
                models = tuple(wrong.get(model.key, model) for model in listing.models)
                held = _held(table.plan_of(state, source, replace(listing, models=models)))
                for model in listing.models[turn::_AT_ONCE]:
                    if model.key not in wrong:
                        continue
                    is_usual = any(_is_usual(rate, usual) for rate in model.card.rates)
                    (found.implausible if is_usual else found.rare).add(model.key in held)
                    if is_usual and model.key not in held:
                        found.passed.append(f"{world}: {'/'.join(model.key)} x{factor:f}")
    return found


def _is_usual(rate: Rate, usual: Mapping[Meter, UsualPrices]) -> bool:
    known = usual.get(rate.meter)
    return known is not None and known.low <= rate.price / rate.per <= known.high


def _held(plan: Plan) -> set[ModelName]:
    """The models that are held by themselves."""
    assert plan.holding.feed is None
    return {opened.listed.key for opened in plan.holding.opened}


# True data -----------------------------------------------------------------------------------


def true_first_syncs() -> Iterator[tuple[str, str, Plan, Mapping[str, HoldEvidence]]]:
    """Source, world, plan and medians of every recorded feed as it is."""
    for slug, listing in feeds().items():
        for world, table in worlds().items():
            if world != PAST:
                plan = table.plan(SOURCES[slug], listing, without_own=True)
                yield slug, world, plan, medians(table, SOURCES[slug], listing)


def true_changes() -> tuple[Count, Count, list[str]]:
    """Of OpenRouter's recorded days, with and without other sources: changes held, and which."""
    source = SOURCES["openrouter"]
    days = [
        source.read(decode_json(recorded(f"openrouter_{day}.json").read_bytes()), NOW)
        for day in DAYS
    ]
    counts = []
    held: list[str] = []
    for before in ((), ("genai-prices",)):
        table = HeldTable()
        for slug in before:
            table.sync(SOURCES[slug], feeds()[slug])
        count = Count()
        table.sync(source, days[0])
        for number, day in enumerate(days[1:], 1):
            known = set(table.models)
            plan = table.sync(source, replace(day, obtained_at=NOW + timedelta(days=number)))
            opened = {each.listed.key for each in plan.holding.opened} & known
            held += [model_id for _, model_id in sorted(opened)]
            changed = {(each.provider, each.model_id) for each in plan.changes} & known
            for key in opened | changed:
                count.add(key in opened)
        counts.append(count)
    return counts[0], counts[1], held
