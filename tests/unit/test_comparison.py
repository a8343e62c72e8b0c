"""What a usage costs at every seller: in which order, and of what state of the price table."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.cost import Cost, CostLine
from llmpricing.meters import Meter
from llmpricing.rate_card import DYNAMIC, UNPRICED, Conditions, PriceState, Rate, RateCard
from llmpricing.units import plain
from llmpricing.usage import InputConvention
from pricing_server.costs.comparison import Compared, Comparisons, PriceComparison
from pricing_server.costs.costs import Costs, Used
from pricing_server.costs.model_identity import Identity
from pricing_server.domain.errors import DatabaseUnavailable, InvalidArgument, ModelNotFound
from pricing_server.domain.head import Head
from pricing_server.domain.price import Layer, Price, When
from pricing_server.domain.source import Release, Source, SourceEvidence
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.lookup.answer import Answer, Freshness
from pricing_server.lookup.evaluated_price import evaluate
from pricing_server.lookup.layers.catalogue import Catalog
from pricing_server.lookup.layers.price_file import ManualPrices
from pricing_server.lookup.lookup import Lookup
from pricing_server.lookup.price_query import PriceQuery
from tests.unit._price_table import (
    HOUR,
    NOON,
    Clock,
    Table,
    new_price_table,
    price,
    priced,
)
from tests.unit._strategies import many

TOKENS = Used({Meter.INPUT_TOKENS: 1_000}, InputConvention.INCLUSIVE, {})
FREE = RateCard.of(PriceState.FREE, [Rate(Meter.INPUT_TOKENS, Decimal(0))])
LINE = CostLine(Meter.INPUT_TOKENS, Decimal(1), Rate(Meter.INPUT_TOKENS, Decimal(1)), Decimal(1))
API = Source(
    "api", "The API", 100, lambda document, at: Listing((), (), (), at), SourceEvidence.RECORDED
)


@dataclass
class Lists:
    """All prices of a price table in memory."""

    table: Table
    read: int = 0

    def __post_init__(self) -> None:
        self._kept: Lists.Kept | None = None

    @dataclass(frozen=True)
    class Kept:
        head: Head
        prices: Sequence[Price]

    async def at(self, head: Head | None = None) -> Kept:
        if self.table.is_down:
            raise DatabaseUnavailable
        if self._kept is None or self._kept.head != self.table.at:
            self.read += 1
            self._kept = Lists.Kept(self.table.at, list(self.table.prices))
        return self._kept


@pytest.fixture
async def table() -> AsyncIterator[Table]:
    table = Table()
    yield table
    await table.breaker.aclose()


def bundled(*names: tuple[str, str]) -> Catalog:
    models = tuple(ListedModel(at, name, priced("7"), "{}") for at, name in names)
    source = replace(
        API,
        slug="bundled",
        read=lambda document, at: Listing(models, (), (), at),
        release=Release("1.0", NOON, lambda: None),
    )
    return Catalog(source)


def comparisons(
    table: Table,
    *names: tuple[str, str],
    manual: ManualPrices | None = None,
) -> Comparisons:
    clock = Clock()
    lookup = Lookup(
        new_price_table(table, clock), manual, bundled(*names), {"api": API}, clock=clock
    )
    return Comparisons(lookup, Costs(lookup), Lists(table), clock=clock)


def told(comparison: PriceComparison) -> list[tuple[str, str | None]]:
    return [
        (each.answer.evaluated.price.provider, None if each.total is None else plain(each.total))
        for each in comparison.compared
    ]


def write_prices(file: Path, seller: str, model_id: str) -> None:
    entries = {model_id: {"prompt": "0.5"}}
    file.write_text(json.dumps({"_metadata": {"unit": "per_1m_tokens"}, seller: entries}))


# At sellers --------------------------------------------------------------------------------


async def test_the_cheapest_comes_first_and_free_is_free(table: Table) -> None:
    for_images = RateCard.of(PriceState.PRICED, [Rate(Meter.REQUESTS, Decimal("0.0000001"))])
    table.commit(
        price("openai", "one", priced("3")),
        price("aws", "openai.one-1:0", priced("1")),
        price("groq", "openai/one", FREE),
        price("azure", "one", UNPRICED),
        price("router", "openai/one", DYNAMIC),
        price("together", "One", priced("2")),
        price("by-request", "one", for_images),
        price("other", "two", priced("1")),
    )
    compared = await comparisons(table).at_sellers(PriceQuery("one"), TOKENS)
    assert told(compared) == [
        ("groq", "0"),
        ("aws", "1000"),
        ("together", "2000"),
        ("openai", "3000"),
        ("by-request", "0.0000001"),  # Its total knows nothing of the tokens.
        ("azure", None),
        ("router", None),
    ]
    assert [each.state for each in compared.compared[-2:]] == [
        PriceState.UNPRICED,
        PriceState.DYNAMIC,
    ]
    assert compared.head == table.at
    assert compared.match is not None
    assert (compared.match.price.provider, compared.match.rule) == ("openai", "exact_at_maker")


async def test_another_sellers_price_stands_in_for_none(table: Table) -> None:
    reference = replace(price("openrouter", "openai/one"), hugging_face_id="openai/One")
    subscription = price("featherless", "openai/One", UNPRICED)
    table.commit(reference, replace(subscription, hugging_face_id="openai/One"))
    asked = comparisons(table)
    compared = await asked.at_sellers(PriceQuery("openai/One", "featherless"), TOKENS)
    assert told(compared) == [("openrouter", "1000"), ("featherless", None)]
    assert {each.answer.evaluated.price.layer for each in compared.compared} == {Layer.DATABASE}


async def test_the_layers_below_the_price_table_are_compared_too(
    table: Table, tmp_path: Path
) -> None:
    file = tmp_path / "prices.json"
    write_prices(file, "byhand", "openai/one")
    manual = ManualPrices(file)
    table.commit(price("openai", "one", priced("3")), price("aws", "one", UNPRICED))
    asked = comparisons(
        table, ("bundled-only", "one"), ("aws", "one"), ("openai", "one"), manual=manual
    )
    compared = await asked.at_sellers(PriceQuery("one", "openai"), TOKENS)
    assert told(compared) == [
        ("byhand", "0.0005"),
        ("openai", "3000"),
        ("aws", "7000"),
        ("bundled-only", "7000"),
    ]
    assert compared.head == table.at


async def test_a_new_seller_in_the_price_file_is_compared_once_the_file_is_looked_at(
    table: Table, tmp_path: Path
) -> None:
    file = tmp_path / "prices.json"
    write_prices(file, "byhand", "two")
    passed = iter(range(0, 1_000_000, 10))
    manual = ManualPrices(file, timer=lambda: float(next(passed)))
    table.commit(price("openai", "one", priced("3")))
    asked = comparisons(table, manual=manual)
    assert told(await asked.at_sellers(PriceQuery("one"), TOKENS)) == [("openai", "3000")]
    write_prices(file, "another", "openai/one")
    compared = await asked.at_sellers(PriceQuery("one"), TOKENS)
    assert told(compared) == [("another", "0.0005"), ("openai", "3000")]


async def test_what_is_new_in_the_price_table_is_compared_at_once(table: Table) -> None:
    table.commit(price("openai", "one"))
    asked = comparisons(table)
    assert len((await asked.at_sellers(PriceQuery("one", "openai"), TOKENS)).compared) == 1
    table.commit(price("groq", "one"))
    assert len((await asked.at_sellers(PriceQuery("one", "openai"), TOKENS)).compared) == 2


async def test_without_the_database_what_was_known_last_is_compared(table: Table) -> None:
    table.commit(price("openai", "one", priced("3")), price("groq", "one", priced("2")))
    asked = comparisons(table, ("bundled-only", "one"))
    before = await asked.at_sellers(PriceQuery("one", "openai"), TOKENS)
    table.is_down = True
    after = await asked.at_sellers(PriceQuery("one", "openai"), TOKENS)
    assert told(after) == told(before)
    # A server that never saw the table has the layers below.
    fresh = comparisons(table, ("openai", "one"), ("bundled-only", "one"))
    compared = await fresh.at_sellers(PriceQuery("one"), TOKENS)
    assert told(compared) == [("openai", "7000"), ("bundled-only", "7000")]
    assert compared.head is None
    assert {each.answer.freshness for each in compared.compared} == {Freshness.DATABASE_DOWN}


async def test_a_delisted_model_that_is_asked_for_comes_last(table: Table) -> None:
    delisted = replace(price("openai", "one", priced("1")), delisted_at=NOON - HOUR)
    table.commit(
        delisted,
        price("groq", "one", priced("2")),
        replace(price("aws", "one"), delisted_at=NOON - HOUR),
    )
    compared = await comparisons(table).at_sellers(PriceQuery("one", "openai"), TOKENS)
    assert told(compared) == [("groq", "2000"), ("openai", "1000")]
    assert [each.provider for each in compared.left_out] == ["aws"]
    earlier = When(NOON - 2 * HOUR)
    compared = await comparisons(table).at_sellers(
        PriceQuery("one", "openai", when=earlier), TOKENS
    )
    assert told(compared) == [("openai", "1000"), ("aws", "1000"), ("groq", "2000")]


async def test_all_are_evaluated_at_one_instant(table: Table) -> None:
    later = NOON + HOUR
    card = RateCard.of(
        PriceState.PRICED,
        [
            Rate(Meter.INPUT_TOKENS, Decimal(9), Conditions(effective_from=later)),
            Rate(Meter.INPUT_TOKENS, Decimal(1), Conditions(effective_until=later)),
        ],
    )
    table.commit(price("openai", "one", card), price("groq", "one", priced("2")))
    asked = comparisons(table)
    now = await asked.at_sellers(PriceQuery("one", "openai"), TOKENS)
    then = await asked.at_sellers(PriceQuery("one", "openai", when=When(later)), TOKENS)
    assert told(now) == [("openai", "1000"), ("groq", "2000")]
    assert told(then) == [("groq", "2000"), ("openai", "9000")]


async def test_a_usage_that_contradicts_itself_is_refused(table: Table) -> None:
    table.commit(price("openai", "one"), price("groq", "one", UNPRICED))
    usage = {Meter.INPUT_TOKENS: 1, Meter.CACHE_READ_TOKENS: 2}
    with pytest.raises(InvalidArgument) as refused:
        await comparisons(table).at_sellers(
            PriceQuery("one", "openai"), replace(TOKENS, usage=usage)
        )
    assert refused.value.field == "usage"


async def test_a_usage_that_one_seller_cannot_charge_leaves_that_seller_out(table: Table) -> None:
    by_part = RateCard.of(
        PriceState.PRICED,
        [
            Rate(Meter.INPUT_AUDIO_TOKENS, Decimal(1)),
            Rate(Meter.CACHE_READ_TOKENS, Decimal(1)),
            Rate(Meter.INPUT_TOKENS, Decimal(1)),
        ],
    )
    table.commit(price("openai", "one"), price("groq", "one", by_part))
    usage = {Meter.INPUT_TOKENS: 9, Meter.INPUT_AUDIO_TOKENS: 2, Meter.CACHE_READ_TOKENS: 3}
    compared = await comparisons(table).at_sellers(
        PriceQuery("one", "openai"), replace(TOKENS, usage=usage)
    )
    assert told(compared) == [("openai", "9")]
    [left_out] = compared.left_out
    assert left_out.provider == "groq"
    assert "may overlap" in left_out.message


# Several models ----------------------------------------------------------------------------


async def test_names_that_lead_nowhere_are_left_out_of_several(table: Table) -> None:
    table.commit(price("openai", "one", priced("3")), price("groq", "two", priced("2")))
    asked = comparisons(table)
    names = [PriceQuery("one"), PriceQuery("nobody's"), PriceQuery("two"), PriceQuery("one")]
    compared = await asked.of_models(names, TOKENS)
    assert told(compared) == [("groq", "2000"), ("openai", "3000")]
    assert [(each.provider, each.model_id) for each in compared.left_out] == [("", "nobody's")]
    assert compared.match is None
    with pytest.raises(ModelNotFound):
        await asked.of_models([PriceQuery("nobody's")], TOKENS)


# Order -------------------------------------------------------------------------------------


@st.composite
def compared(draw: st.DrawFn) -> Compared:
    provider = draw(st.sampled_from(["openai", "openrouter", "aws", "zeta", "alpha", "groq"]))
    delisted = draw(st.sampled_from([None, None, NOON]))
    listed = replace(price(provider, draw(st.sampled_from(["m", "n"]))), delisted_at=delisted)
    quote = evaluate([listed], provider, NOON)
    answer = Answer(quote, Freshness.FRESH, "", None, NOON)
    lines = draw(st.sampled_from([(), (LINE,)]))
    unpriced = draw(st.sampled_from([(), ((Meter.REQUESTS, Decimal(1)),)]))
    total = draw(st.sampled_from([Decimal(0), Decimal("0.1"), Decimal("1E-30"), Decimal(9)]))
    cost = draw(st.sampled_from([None, Cost(total if lines else Decimal(0), lines, unpriced)]))
    return Compared(answer, Identity.NAME, cost, PriceState.PRICED)


@many
@given(st.lists(compared(), max_size=12))
def test_the_order_is_by_cost_of_what_is_whole(all_compared: list[Compared]) -> None:
    ordered = sorted(all_compared, key=lambda each: each.order)

    def group(each: Compared) -> int:
        if each.answer.evaluated.price.delisted_at is not None:
            return 3
        if each.total is None:
            return 2
        assert each.cost is not None
        return 1 if each.cost.unpriced else 0

    for one, other in itertools.pairwise(ordered):
        assert group(one) <= group(other)
        if group(one) == group(other) < 2:
            assert one.total is not None
            assert other.total is not None
            assert one.total <= other.total
    names = [
        (each.answer.evaluated.price.provider, each.answer.evaluated.price.model_id)
        for each in all_compared
    ]
    if len(set(names)) == len(names):  # As in every comparison.
        assert len({each.order for each in all_compared}) == len(names), "a tie is left to chance"
    assert all(each.cost is not None for each in all_compared if each.total is not None)
