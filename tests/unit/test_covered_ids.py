"""What a source states of an id holds for the ids that this one covers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from llmpricing.meters import Meter
from llmpricing.rate_card import Conditions, PriceState, Rate, RateCard
from pricing_server.domain.disagreement import Disagreement
from pricing_server.domain.names import ModelName
from pricing_server.domain.override import OVERRIDE
from pricing_server.domain.price_change import ADMIN, ChangeKind, ChangeOrigin, OriginKind
from pricing_server.domain.quote import Covered, Quote
from pricing_server.domain.source import Source, SourceEvidence
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.sync.coverage import Covers, with_coverage
from pricing_server.sync.sync_plan import ListingTerms, Plan, make_plan
from pricing_server.sync.table_state import Attribution, KnownModel, TableState, cards_to_compare
from tests.unit._price_table import priced

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BY_HAND = ChangeOrigin(OriginKind.SYNC, ADMIN)
FAMILY: ModelName = ("acme", "opus")
DATED: ModelName = ("acme", "opus-20260101")
CHEAP, DEAR = priced("0.000001"), priced("0.000002")


def batch(card: RateCard) -> RateCard:
    """The same with a batch price of half."""
    half = [
        replace(
            rate, price=rate.price / 2, conditions=Conditions(context=(("processing", "batch"),))
        )
        for rate in card.rates
    ]
    return RateCard.of(PriceState.PRICED, [*half, *card.rates])


RICH = batch(CHEAP)


def source(slug: str, rank: int) -> Source:
    return Source(slug, slug, rank, lambda document, at: listing(), SourceEvidence.RECORDED)


CATALOGUE, FEED = source("catalogue", 1000), source("feed", 1100)


def listing(*models: tuple[ModelName, RateCard], at: datetime = NOW) -> Listing:
    return Listing(tuple(ListedModel(*key, card, "{}") for key, card in models), (), (), at)


def covering(*, is_inferred: bool = False) -> Mapping[str, Covers]:
    """The catalogue states DATED as FAMILY."""
    found = Covered("catalogue", FAMILY[1], is_inferred)
    return {"catalogue": lambda *key: found if key == DATED else None}


class Table:
    """The price table in memory, as far as one run may touch it."""

    def __init__(self, covers: Mapping[str, Covers] | None = None) -> None:
        self.covers = covering() if covers is None else covers
        self.models: dict[ModelName, KnownModel] = {}
        self.quotes: dict[ModelName, dict[str, Quote]] = {}
        self.covered: dict[ModelName, Covered] = {}
        self.cards: dict[str, RateCard] = {}

    def state(self) -> TableState:
        return TableState(
            self.models,
            {model.model_key: tuple(self.quotes_of(key)) for key, model in self.models.items()},
        )

    def quotes_of(self, key: ModelName) -> list[Quote]:
        quotes = dict(self.quotes.get(key, {}))
        covered = self.covered.get(key)
        if covered is not None:
            family = self.quotes[key[0], covered.stated_as]
            quotes["catalogue"] = family["catalogue"].covering(covered)
            if OVERRIDE in family:
                quotes.setdefault(OVERRIDE, family[OVERRIDE].covering(covered))
        return list(quotes.values())

    def sync(self, source: Source, *models: tuple[ModelName, RateCard]) -> Plan:
        data = listing(*models)
        listed = {key for key, _ in models}
        state = with_coverage(self.state(), listed, source.slug, self.covers)
        needed = cards_to_compare(state, data, source)
        plan = make_plan(
            state,
            data,
            source,
            {card_id: self.cards[card_id] for card_id in needed},
            ListingTerms(BY_HAND, NOW, register_unknown=True),
        )
        self.apply(plan, source)
        return plan

    def apply(self, plan: Plan, source: Source) -> None:
        self.cards |= plan.cards
        for quoted in plan.quoted:
            key = quoted.listed.key
            self.models.setdefault(key, KnownModel(len(self.models) + 1, *key, True, None, None))
            self.quotes.setdefault(key, {})[source.slug] = Quote(
                source.slug,
                source.rank,
                False,
                quoted.card_id,
                self.cards[quoted.card_id].state,
                quoted.obtained_at,
            )
        self.covered |= dict(plan.covered)
        names = {model.model_key: key for key, model in self.models.items()}
        for model_key in plan.uncovered:
            del self.covered[names[model_key]]
        for model_key in plan.missing:
            quotes = self.quotes[names[model_key]]
            before = quotes[source.slug]
            quotes[source.slug] = replace(before, missing_syncs=before.missing_syncs + 1)
        for change in plan.changes:
            key = (change.provider, change.model_id)
            self.models[key] = replace(
                self.models[key],
                card_id=change.new.card_id,
                is_active=change.kind is not ChangeKind.DELISTED,
            )
        for key, attribution in plan.attributions.items():
            self.models[key] = replace(self.models[key], attribution=attribution)

    def override(self, key: ModelName, card: RateCard) -> None:
        self.cards[card.card_id] = card
        self.quotes[key][OVERRIDE] = Quote(OVERRIDE, 0, False, card.card_id, card.state, NOW)

    def price(self, key: ModelName) -> RateCard:
        card_id = self.models[key].card_id
        assert card_id is not None
        return self.cards[card_id]

    def attribution(self, key: ModelName) -> Attribution:
        found = self.models[key].attribution
        assert found is not None
        return found


def test_an_id_that_a_lower_source_lists_has_the_better_sources_card() -> None:
    table = Table()
    table.sync(CATALOGUE, (FAMILY, RICH))
    plan = table.sync(FEED, (DATED, CHEAP))
    (change,) = plan.changes
    assert (change.kind, change.model_id, change.new) == (ChangeKind.ADDED, DATED[1], RICH)
    assert table.attribution(DATED) == Attribution(
        "catalogue", FAMILY[1], ("catalogue", "catalogue")
    )


def test_the_order_of_syncs_does_not_matter() -> None:
    table = Table()
    table.sync(FEED, (DATED, CHEAP))
    assert table.price(DATED) == CHEAP
    plan = table.sync(CATALOGUE, (FAMILY, RICH))
    assert {change.model_id: change.new for change in plan.changes} == {
        FAMILY[1]: RICH,
        DATED[1]: RICH,
    }
    assert table.attribution(DATED) == Attribution(
        "catalogue", FAMILY[1], ("catalogue", "catalogue")
    )
    assert table.sync(CATALOGUE, (FAMILY, RICH)).changes == ()
    assert table.sync(FEED, (DATED, CHEAP)).changes == ()


def test_a_change_of_the_covering_id_is_one_of_the_covered_id() -> None:
    table = Table()
    table.sync(CATALOGUE, (FAMILY, RICH))
    table.sync(FEED, (DATED, CHEAP))
    dearer = batch(priced("0.0000015"))
    plan = table.sync(CATALOGUE, (FAMILY, dearer))
    assert {change.model_id: change.new for change in plan.changes} == {
        FAMILY[1]: dearer,
        DATED[1]: dearer,
    }
    assert plan.counts["models_fetched"] == 1
    assert plan.counts["models_updated"] == 1


def test_a_lower_source_that_disagrees_is_named_beside_the_price() -> None:
    table = Table()
    table.sync(CATALOGUE, (FAMILY, RICH))
    table.sync(FEED, (DATED, DEAR))
    assert table.price(DATED) == RICH
    found = table.attribution(DATED).disagreements
    assert found == (
        Disagreement("feed", Meter.INPUT_TOKENS, Decimal("0.000001"), Decimal("0.000002")),
    )
    table.sync(FEED, (DATED, priced("0.000001005")))
    assert table.attribution(DATED).disagreements == ()


def test_an_id_that_the_better_source_prices_apart_stays_apart() -> None:
    table = Table()
    table.sync(CATALOGUE, (FAMILY, RICH))
    table.sync(FEED, (DATED, CHEAP))
    plan = table.sync(CATALOGUE, (FAMILY, RICH), (DATED, DEAR))
    assert table.price(DATED) == DEAR
    assert len(plan.uncovered) == 1
    assert table.attribution(DATED).stated_as is None


def test_a_source_that_covers_an_id_no_more_has_no_word_on_it() -> None:
    table = Table()
    table.sync(CATALOGUE, (FAMILY, RICH))
    table.sync(FEED, (DATED, CHEAP))
    table.covers = {"catalogue": lambda *key: None}
    table.sync(CATALOGUE, (FAMILY, RICH))
    assert (table.price(DATED), table.attribution(DATED)) == (
        CHEAP,
        Attribution("feed", rate_sources=("feed",)),
    )


def test_an_inference_holds_where_the_row_that_lists_the_id_has_the_same_prices() -> None:
    for listed, in_force in ((CHEAP, RICH), (DEAR, DEAR)):
        table = Table(covering(is_inferred=True))
        table.sync(CATALOGUE, (FAMILY, RICH))
        table.sync(FEED, (DATED, listed))
        assert table.price(DATED) == in_force


def test_an_inference_yields_to_a_row_that_differs_in_any_standard_price() -> None:
    def with_audio(price: str) -> RateCard:
        audio = Rate(Meter.INPUT_AUDIO_TOKENS, Decimal(price))
        return RateCard.of(PriceState.PRICED, [*CHEAP.rates, audio])

    table = Table(covering(is_inferred=True))
    table.sync(CATALOGUE, (FAMILY, with_audio("0.000003")))
    table.sync(FEED, (DATED, with_audio("0.00000125")))
    assert table.price(DATED) == with_audio("0.00000125")
    assert table.attribution(DATED) == Attribution("feed", rate_sources=("feed", "feed"))


def test_what_covers_a_model_keeps_it_listed_when_the_lower_source_drops_it() -> None:
    table = Table()
    table.sync(CATALOGUE, (FAMILY, RICH))
    table.sync(FEED, (DATED, CHEAP), (("acme", "other"), DEAR))
    later = replace(FEED)
    for _ in range(3):
        table.sync(later, (("acme", "other"), DEAR))
    assert table.models[DATED].is_active
    assert table.price(DATED) == RICH


def test_a_new_id_takes_the_override_of_the_id_that_covers_it() -> None:
    table = Table()
    table.sync(CATALOGUE, (FAMILY, RICH))
    table.override(FAMILY, DEAR)
    table.models[FAMILY] = replace(
        table.models[FAMILY],
        card_id=DEAR.card_id,
        attribution=Attribution(OVERRIDE, beneath=("catalogue", None)),
    )
    table.sync(FEED, (DATED, CHEAP))
    assert table.price(DATED) == DEAR
    assert table.attribution(DATED) == Attribution(
        OVERRIDE,
        FAMILY[1],
        (OVERRIDE,),
        beneath=("catalogue", FAMILY[1]),
        beneath_card_id=RICH.card_id,
        beneath_rate_sources=("catalogue", "catalogue"),
    )
    assert table.sync(CATALOGUE, (FAMILY, RICH)).changes == ()


def test_a_known_id_takes_the_override_of_the_id_that_begins_to_cover_it() -> None:
    """Though the row of the covering id says what it said, and its cards are not read again."""
    table = Table({})
    table.sync(CATALOGUE, (FAMILY, RICH))
    table.sync(FEED, (DATED, CHEAP))
    table.override(FAMILY, DEAR)
    table.models[FAMILY] = replace(
        table.models[FAMILY],
        card_id=DEAR.card_id,
        attribution=Attribution(OVERRIDE, None, (OVERRIDE,), beneath=("catalogue", None)),
    )
    table.covers = covering()
    table.sync(CATALOGUE, (FAMILY, RICH))
    assert table.price(DATED) == DEAR
