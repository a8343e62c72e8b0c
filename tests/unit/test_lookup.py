"""Who answers for a model, how sure the answer is, and until when it holds."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from llmpricing.matching import Standing
from llmpricing.matching.outcome import MatchRule
from llmpricing.meters import Meter
from llmpricing.rate_card import (
    DYNAMIC,
    UNPRICED,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    UtcWindow,
)
from pricing_server.domain.errors import (
    DatabaseUnavailable,
    ModelNotFound,
    PricingError,
    ProviderNotFound,
    RevisionNotReached,
)
from pricing_server.domain.head import Head
from pricing_server.domain.price import Key, Layer, Price
from pricing_server.domain.source import Release, Source, SourceEvidence
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.lookup.answer import Freshness
from pricing_server.lookup.last_good import LastGood, LastGoodPrice
from pricing_server.lookup.layers.catalogue import Catalog
from pricing_server.lookup.layers.price_file import ManualPrices
from pricing_server.lookup.lookup import Lookup
from pricing_server.lookup.name_index import NameIndex
from pricing_server.lookup.price_query import ALL_LAYERS
from pricing_server.lookup.price_table import PriceTable
from pricing_server.runtime.breaker import quick_read
from tests.unit._price_table import (
    HOUR,
    NOON,
    PROBE_SECONDS,
    Clock,
    Table,
    looked_up,
    new_price_table,
    price,
    priced,
    up_again,
)

RELEASED = datetime(2026, 11, 10, tzinfo=UTC)
DATABASE_ONLY, CATALOG_ONLY = {Layer.DATABASE}, {Layer.CATALOG}


API = Source(
    "api", "The API", 100, lambda document, at: Listing((), (), (), at), SourceEvidence.RECORDED
)


def bundled(*names: tuple[str, str], card: RateCard | None = None) -> Source:
    """A catalogue that ships with the server and lists these models."""
    models = tuple(ListedModel(at, name, card or priced("7"), "{}") for at, name in names)
    return Source(
        "bundled",
        "The bundled catalogue",
        1000,
        lambda document, at: Listing(models, (), (), at),
        SourceEvidence.RECORDED,
        release=Release("1.0", RELEASED, lambda: None),
        fresh_for=timedelta(days=30),
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def table() -> AsyncIterator[Table]:
    table = Table()
    yield table
    await table.breaker.aclose()


@pytest.fixture
def prices(table: Table, clock: Clock) -> PriceTable:
    return new_price_table(table, clock)


def new_lookup(
    prices: PriceTable,
    clock: Clock,
    catalogue: Source | None = None,
    manual: ManualPrices | None = None,
) -> Lookup:
    catalogue = catalogue or bundled(("google", "only-bundled"))
    sources = {source.slug: source for source in (API, catalogue)}
    return Lookup(prices, manual, Catalog(catalogue), sources, clock=clock)


@pytest.fixture
def lookup(prices: PriceTable, clock: Clock) -> Lookup:
    return new_lookup(prices, clock)


# Layers.


async def test_the_price_table_answers_first_with_its_head(table: Table, lookup: Lookup) -> None:
    table.prices.append(price("google", "only-bundled", priced("1")))
    answer = await looked_up(lookup, "only-bundled")
    assert answer.evaluated.price.layer is Layer.DATABASE
    assert answer.evaluated.headline.prompt == 1
    assert (answer.head, answer.freshness) == (Head(1, "epoch"), Freshness.FRESH)
    assert answer.source_detail == "The API"


async def test_the_catalogue_answers_for_what_the_table_does_not_have(lookup: Lookup) -> None:
    answer = await looked_up(lookup, "only-bundled")
    assert answer.evaluated.price.layer is Layer.CATALOG
    assert (answer.head, answer.freshness) == (None, Freshness.FRESH)
    assert answer.evaluated.price.obtained_at == RELEASED
    assert answer.source_detail == "The bundled catalogue"


async def test_a_model_of_the_catalogue_alone_costs_one_read_of_the_table(
    table: Table, prices: PriceTable, lookup: Lookup
) -> None:
    for _ in range(3):
        assert (await looked_up(lookup, "only-bundled")).evaluated.price.layer is Layer.CATALOG
    assert table.finds == 1
    prices.clear(table.commit(price("google", "only-bundled", priced("7"))))
    answer = await looked_up(lookup, "only-bundled")
    assert (answer.evaluated.price.layer, answer.evaluated.headline.prompt) == (
        Layer.DATABASE,
        Decimal(7),
    )


async def test_a_cached_price_is_not_read_again(table: Table, lookup: Lookup) -> None:
    table.prices.append(price("openai", "gpt-4o"))
    first = await looked_up(lookup, "gpt-4o")
    assert await looked_up(lookup, "gpt-4o") == first
    assert table.finds == 1


async def test_many_first_look_ups_of_one_model_make_one_query(
    table: Table, lookup: Lookup
) -> None:
    table.prices.append(price("openai", "gpt-4o"))
    answers = await asyncio.gather(*(looked_up(lookup, "gpt-4o") for _ in range(200)))
    assert len(set(answers)) == 1
    assert table.finds == 1


async def test_only_accepted_layers_are_asked(table: Table, lookup: Lookup) -> None:
    table.prices.append(price("google", "only-bundled", priced("1")))
    answer = await looked_up(lookup, "only-bundled", accept=CATALOG_ONLY)
    assert (answer.evaluated.price.layer, table.finds) == (Layer.CATALOG, 0)
    answer = await looked_up(lookup, "only-bundled", accept=DATABASE_ONLY)
    assert answer.evaluated.price.layer is Layer.DATABASE
    with pytest.raises(ModelNotFound):
        await looked_up(lookup, "only-bundled", accept={Layer.MANUAL})


async def test_what_one_layer_does_not_know_is_not_unknown_to_the_others(
    table: Table, lookup: Lookup
) -> None:
    table.prices.append(price("openai", "gpt-4o"))
    await looked_up(lookup, "gpt-4o", "openai")  # The table's head is known now.
    with pytest.raises(ModelNotFound):
        await looked_up(lookup, "gpt-4o", accept=CATALOG_ONLY)
    answer = await looked_up(lookup, "gpt-4o")
    assert answer.evaluated.price.layer is Layer.DATABASE


@pytest.mark.parametrize("accept", [{Layer.OVERRIDE}, {Layer.OVERRIDE, Layer.MANUAL}])
async def test_what_a_request_does_not_accept_is_not_unknown_to_others(
    table: Table, lookup: Lookup, accept: set[Layer]
) -> None:
    table.prices.append(price("google", "only-bundled", priced("1")))
    with pytest.raises(ModelNotFound):
        await looked_up(lookup, "only-bundled", "google", accept=accept)
    answer = await looked_up(lookup, "only-bundled", "google")
    assert (answer.evaluated.price.layer, answer.head) == (Layer.DATABASE, table.at)


async def test_without_the_database_the_catalogue_answers_and_says_so(
    table: Table, lookup: Lookup
) -> None:
    table.is_down = True
    answer = await looked_up(lookup, "only-bundled")
    assert (answer.evaluated.price.layer, answer.head) == (Layer.CATALOG, None)
    assert answer.freshness is Freshness.DATABASE_DOWN
    assert "database cannot be reached" in answer.source_detail


async def test_without_the_database_a_model_that_no_other_layer_knows_is_unavailable(
    table: Table, lookup: Lookup
) -> None:
    table.is_down = True
    for accept in (ALL_LAYERS, DATABASE_ONLY):
        with pytest.raises(DatabaseUnavailable):
            await looked_up(lookup, "gpt-4o", accept=accept)
    with pytest.raises(DatabaseUnavailable):
        await looked_up(lookup, "only-bundled", accept=DATABASE_ONLY)
    table.prices.append(price("openai", "gpt-4o"))
    await up_again(table)
    assert (await looked_up(lookup, "gpt-4o")).head == table.at


async def test_a_cached_price_outlives_the_database(table: Table, lookup: Lookup) -> None:
    table.prices.append(price("openai", "gpt-4o"))
    before = await looked_up(lookup, "gpt-4o")
    table.is_down = True
    assert await looked_up(lookup, "gpt-4o") == before


async def test_a_cached_price_says_that_the_database_is_down(table: Table, lookup: Lookup) -> None:
    table.prices.append(price("openai", "gpt-4o"))
    before = await looked_up(lookup, "gpt-4o")
    table.is_down = True
    with pytest.raises(DatabaseUnavailable):
        await looked_up(lookup, "never asked")
    after = await looked_up(lookup, "gpt-4o")
    assert (after.evaluated, after.head) == (before.evaluated, before.head)
    assert after.freshness is Freshness.DATABASE_DOWN
    assert after.source_detail == "The API: the price database cannot be reached"


async def test_what_was_read_last_answers_before_the_layers_below(
    table: Table, prices: PriceTable, lookup: Lookup
) -> None:
    table.prices.append(price("google", "only-bundled", priced("1")))
    before = await looked_up(lookup, "only-bundled")
    prices.clear(Head(2, "epoch"))
    table.is_down = True
    answer = await looked_up(lookup, "only-bundled")
    assert (answer.evaluated, answer.head) == (before.evaluated, Head(1, "epoch"))
    assert answer.freshness is Freshness.DATABASE_DOWN


class FailsOnce(Table):
    """A price table of which one read fails, and which answers everything else at once."""

    def __init__(self) -> None:
        super().__init__()
        self.fails_next = False

    @quick_read
    async def find(self, model_id: str, provider: str | None) -> tuple[Head, Sequence[Price]]:
        if self.fails_next:
            self.fails_next = False
            self.finds += 1
            raise DatabaseUnavailable
        return await super().find(model_id, provider)


class SlowDisk(LastGood):
    """Last good prices that take longer to read than a probe takes to ask."""

    async def recall(self, key: Key) -> LastGoodPrice | None:
        await asyncio.sleep(PROBE_SECONDS * 20)
        return await super().recall(key)


@pytest.mark.parametrize("was_read", [True, False])
async def test_an_answer_given_without_the_database_never_passes_for_fresh(
    clock: Clock, was_read: bool
) -> None:
    # The probe may have the database up again before this look-up has ended.
    table = FailsOnce()
    prices = new_price_table(table, clock, SlowDisk(Path("/nowhere/last_good.sqlite")))
    lookup = new_lookup(prices, clock)
    if was_read:
        table.prices.append(price("google", "only-bundled", priced("1")))
        await looked_up(lookup, "only-bundled")
    head = table.commit(price("google", "only-bundled", priced("2")))
    prices.clear(head)
    table.fails_next = True
    answer = await looked_up(lookup, "only-bundled")
    await table.breaker.aclose()
    if answer.head != head:
        assert answer.freshness is Freshness.DATABASE_DOWN


# The order of the layers.


FREE = RateCard.of(PriceState.FREE, [Rate(Meter.INPUT_TOKENS, Decimal(0))])
UNPRICED_THERE = replace(price("zebra", "m", UNPRICED), hugging_face_id="acme/M")
ELSEWHERE = replace(price("openrouter", "acme/m", priced("4")), hugging_face_id="Acme/m")


@pytest.fixture
def by_hand(tmp_path: Path) -> ManualPrices:
    """The operator's file: zebra's m at 2."""
    path = tmp_path / "manual_pricing.json"
    content = {"_metadata": {"unit": "per_1m_tokens"}, "zebra": {"m": {"prompt": "2"}}}
    path.write_text(json.dumps(content))
    return ManualPrices(path)


@pytest.fixture
def full(prices: PriceTable, clock: Clock, by_hand: ManualPrices) -> Lookup:
    """Look-ups of which every layer has a price of zebra's m: the catalogue at 3."""
    return new_lookup(prices, clock, bundled(("zebra", "m"), card=priced("3")), by_hand)


async def layer_of(lookup: Lookup, *without: Layer, min_revision: int | None = None) -> Layer:
    """Which layer answers for m, and that of all the others none is mixed into it."""
    answer = await looked_up(
        lookup, "m", accept=ALL_LAYERS - set(without), min_revision=min_revision
    )
    assert answer.evaluated.price.provider == "zebra"
    return answer.evaluated.price.layer


async def test_the_layers_answer_in_their_order(table: Table, full: Lookup) -> None:
    table.prices += [replace(UNPRICED_THERE, card=priced("1")), ELSEWHERE]
    assert await layer_of(full) is Layer.DATABASE


async def test_without_a_price_in_the_table_the_file_then_the_catalogue_then_another_seller(
    table: Table, full: Lookup
) -> None:
    table.prices += [UNPRICED_THERE, ELSEWHERE]
    assert await layer_of(full) is Layer.MANUAL
    assert await layer_of(full, Layer.MANUAL) is Layer.CATALOG
    assert await layer_of(full, Layer.MANUAL, Layer.CATALOG) is Layer.CROSS_REFERENCE
    assert (
        await layer_of(full, Layer.MANUAL, Layer.CATALOG, Layer.CROSS_REFERENCE) is Layer.DATABASE
    )


async def test_the_order_holds_for_a_model_that_the_table_does_not_list(full: Lookup) -> None:
    assert await layer_of(full) is Layer.MANUAL
    assert await layer_of(full, Layer.MANUAL) is Layer.CATALOG
    with pytest.raises(ModelNotFound):
        await layer_of(full, Layer.MANUAL, Layer.CATALOG)


async def test_the_order_holds_while_the_database_is_down(table: Table, full: Lookup) -> None:
    table.is_down = True
    for _ in range(2):
        assert await layer_of(full) is Layer.MANUAL
        assert await layer_of(full, Layer.MANUAL) is Layer.CATALOG
        with pytest.raises(DatabaseUnavailable):
            await layer_of(full, Layer.MANUAL, Layer.CATALOG)


async def test_another_seller_answers_without_the_table_s_own_layer_being_accepted(
    table: Table, full: Lookup
) -> None:
    table.prices += [UNPRICED_THERE, ELSEWHERE]
    answer = await looked_up(full, "m", accept={Layer.CROSS_REFERENCE})
    assert answer.evaluated.price.layer is Layer.CROSS_REFERENCE
    assert answer.source_detail == "OpenRouter's price of acme/m, same Hugging Face id"
    assert (answer.head, answer.freshness) == (table.at, Freshness.FRESH)


async def test_the_layers_below_are_asked_of_the_seller_that_lists_the_model(
    table: Table, prices: PriceTable, clock: Clock
) -> None:
    table.prices.append(UNPRICED_THERE)
    lookup = new_lookup(prices, clock, bundled(("google", "m")))
    answer = await looked_up(lookup, "m")
    assert (answer.evaluated.price.provider, answer.evaluated.headline.state) == (
        "zebra",
        PriceState.UNPRICED,
    )


async def test_a_model_without_a_price_anywhere_is_unpriced_and_never_zero(
    table: Table, prices: PriceTable, clock: Clock
) -> None:
    table.prices.append(UNPRICED_THERE)
    lookup = new_lookup(prices, clock, bundled(("zebra", "m"), card=UNPRICED))
    answer = await looked_up(lookup, "m")
    assert (answer.evaluated.price.layer, answer.head) == (Layer.DATABASE, table.at)
    assert (answer.evaluated.headline.state, answer.evaluated.headline.prompt) == (
        PriceState.UNPRICED,
        None,
    )


async def test_unpriced_stands_when_the_reference_cannot_be_read(
    table: Table, prices: PriceTable, full: Lookup
) -> None:
    table.prices += [UNPRICED_THERE, ELSEWHERE]
    await looked_up(full, "m", accept=DATABASE_ONLY)
    table.is_down = True
    answer = await looked_up(full, "m", accept={Layer.DATABASE, Layer.CROSS_REFERENCE})
    assert answer.evaluated.headline.state is PriceState.UNPRICED
    assert answer.freshness is Freshness.DATABASE_DOWN


@pytest.mark.parametrize("card", [DYNAMIC, FREE])
async def test_a_dynamic_or_free_model_has_a_price(
    table: Table, full: Lookup, card: RateCard
) -> None:
    table.prices += [replace(UNPRICED_THERE, card=card), ELSEWHERE]
    assert await layer_of(full) is Layer.DATABASE


# At or after a revision.


async def test_a_layer_without_a_revision_never_answers_for_one(table: Table, full: Lookup) -> None:
    table.prices += [UNPRICED_THERE, ELSEWHERE]
    assert await layer_of(full, min_revision=1) is Layer.CROSS_REFERENCE
    assert await layer_of(full, Layer.CROSS_REFERENCE, min_revision=1) is Layer.DATABASE
    assert await layer_of(full, min_revision=0) is Layer.CROSS_REFERENCE


async def test_a_model_that_only_the_files_know_is_not_found_at_a_revision(full: Lookup) -> None:
    assert await layer_of(full) is Layer.MANUAL
    with pytest.raises(ModelNotFound):
        await looked_up(full, "m", min_revision=1)


async def test_a_revision_that_is_not_reached_is_not_covered_up_by_a_layer_below(
    table: Table, full: Lookup
) -> None:
    table.prices += [UNPRICED_THERE, ELSEWHERE]
    with pytest.raises(RevisionNotReached):
        await looked_up(full, "m", min_revision=2)
    table.is_down = True
    with pytest.raises(DatabaseUnavailable):
        await looked_up(full, "m", min_revision=2)


async def test_layers_without_a_revision_alone_cannot_say_that_a_model_is_unknown_at_one(
    full: Lookup,
) -> None:
    assert await layer_of(full, Layer.DATABASE, Layer.CROSS_REFERENCE) is Layer.MANUAL
    with pytest.raises(RevisionNotReached):
        await looked_up(full, "m", accept={Layer.MANUAL, Layer.CATALOG}, min_revision=1)


# A sync.


async def test_a_price_cached_before_a_sync_is_the_new_one_after_it(
    table: Table, prices: PriceTable, lookup: Lookup
) -> None:
    table.prices.append(price("openai", "gpt-4o", priced("1")))
    assert (await looked_up(lookup, "gpt-4o")).evaluated.headline.prompt == 1
    table.prices.clear()
    head = table.commit(price("openai", "gpt-4o", priced("2")))
    prices.clear(head)
    answer = await looked_up(lookup, "gpt-4o")
    assert (answer.evaluated.headline.prompt, answer.head) == (Decimal(2), head)


async def test_a_model_that_a_sync_adds_is_found_at_once(
    table: Table, prices: PriceTable, lookup: Lookup
) -> None:
    with pytest.raises(ModelNotFound):
        await looked_up(lookup, "gpt-9")
    head = table.commit(price("openai", "gpt-9"))
    prices.clear(head)
    assert (await looked_up(lookup, "gpt-9")).head == head


async def test_a_miss_that_began_before_a_sync_does_not_hide_what_the_sync_adds(
    table: Table, prices: PriceTable, clock: Clock
) -> None:
    asked, may_answer = threading.Event(), threading.Event()

    def load_slowly() -> None:
        asked.set()
        assert may_answer.wait(10)

    slow = replace(bundled(), release=Release("1.0", RELEASED, load_slowly))
    lookup = new_lookup(prices, clock, slow)
    # The table has been asked, and the catalogue is being: now a sync adds the model.
    missed = asyncio.create_task(looked_up(lookup, "gpt-9"))
    assert await asyncio.to_thread(asked.wait, 10)
    head = table.commit(price("openai", "gpt-9"))
    prices.clear(head)
    may_answer.set()
    await asyncio.gather(missed, return_exceptions=True)  # Either answer was true once.
    assert (await looked_up(lookup, "gpt-9")).head == head


# Freshness.


@pytest.mark.parametrize(
    ("change", "freshness", "detail"),
    [
        ({}, Freshness.FRESH, "The API"),
        ({"obtained_at": NOON - 24 * HOUR}, Freshness.FRESH, "The API"),
        (
            {"obtained_at": NOON - 24 * HOUR - timedelta(microseconds=1)},
            Freshness.UNCONFIRMED,
            "The API: its data is older than expected",
        ),
        (
            {"is_listed": False},
            Freshness.UNCONFIRMED,
            "The API: not in its latest data, last known price",
        ),
        (
            {"is_listed": False, "delisted_at": NOON},
            Freshness.UNCONFIRMED,
            "The API: no longer listed, last known price",
        ),
        ({"source": "bundled", "obtained_at": RELEASED}, Freshness.FRESH, "The bundled catalogue"),
        (
            {"source": "bundled", "obtained_at": NOON - timedelta(days=31)},
            Freshness.UNCONFIRMED,
            "The bundled catalogue: its data is older than expected",
        ),
        ({"source": "gone"}, Freshness.FRESH, "gone"),
    ],
)
async def test_an_answer_says_how_well_it_is_confirmed(
    table: Table,
    lookup: Lookup,
    change: dict[str, object],
    freshness: Freshness,
    detail: str,
) -> None:
    table.prices.append(replace(price("openai", "gpt-4o"), **change))  # type: ignore[arg-type]
    answer = await looked_up(lookup, "gpt-4o")
    assert (answer.freshness, answer.source_detail) == (freshness, detail)


async def test_a_cached_answer_ages(table: Table, lookup: Lookup, clock: Clock) -> None:
    table.prices.append(price("openai", "gpt-4o"))
    assert (await looked_up(lookup, "gpt-4o")).freshness is Freshness.FRESH
    clock.now += 24 * HOUR
    assert (await looked_up(lookup, "gpt-4o")).freshness is Freshness.UNCONFIRMED
    assert table.finds == 1


# Who answers.


async def test_the_maker_answers_for_its_model_if_no_provider_is_given(
    table: Table, lookup: Lookup
) -> None:
    table.prices += [price(at, "gpt-4o") for at in ("aws", "azure", "openai", "openrouter")]
    answer = await looked_up(lookup, "gpt-4o")
    assert (answer.evaluated.price.provider, answer.evaluated.rule) == (
        "openai",
        MatchRule.EXACT_AT_MAKER,
    )


async def test_without_a_maker_the_first_configured_seller_answers(
    table: Table, lookup: Lookup
) -> None:
    for seller in ("zebra", "baseten", "aws", "openrouter"):
        table.prices.append(price(seller, f"model at {seller} and before"))
        table.prices += [price(seller, "gpt-oss-120b")]
    answer = await looked_up(lookup, "gpt-oss-120b")
    assert (answer.evaluated.price.provider, answer.evaluated.rule) == (
        "openrouter",
        MatchRule.EXACT_AT_SELLER,
    )


async def test_an_id_with_a_slash_is_the_router_s_own_id(table: Table, lookup: Lookup) -> None:
    table.prices += [price("openai", "gpt-4o", priced("1"))]
    table.prices += [price("openrouter", "openai/gpt-4o", priced("2"))]
    answer = await looked_up(lookup, "openai/gpt-4o")
    assert (answer.evaluated.price.provider, answer.evaluated.headline.prompt) == (
        "openrouter",
        Decimal(2),
    )
    assert answer.evaluated.rule is MatchRule.EXACT_AT_SELLER


async def test_a_seller_that_still_lists_a_model_answers_before_one_that_does_not(
    table: Table, lookup: Lookup
) -> None:
    gone = replace(price("openai", "gpt-4o"), delisted_at=NOON)
    table.prices += [gone, price("zebra", "gpt-4o")]
    assert (await looked_up(lookup, "gpt-4o")).evaluated.price.provider == "zebra"
    assert (await looked_up(lookup, "gpt-4o", "openai")).evaluated.price == gone


async def test_the_answer_does_not_depend_on_the_order_of_the_table(clock: Clock) -> None:
    listed = [price(at, "m") for at in ("zebra", "openai", "aws", "anthropic", "avian")]
    for order in (listed, listed[::-1]):
        prices = new_price_table(Table(order), clock)
        answer = await looked_up(new_lookup(prices, clock), "m")
        assert answer.evaluated.price.provider == "anthropic"


@pytest.mark.parametrize("spelling", ["x-ai", "xai", "XAI", "x_ai"])
async def test_a_provider_answers_to_every_spelling(
    table: Table, lookup: Lookup, spelling: str
) -> None:
    table.prices += [price("x-ai", "grok-4"), price("openrouter", "grok-4")]
    answer = await looked_up(lookup, "grok-4", spelling)
    assert (answer.evaluated.price.provider, answer.evaluated.rule) == ("x-ai", MatchRule.EXACT)
    await looked_up(lookup, "grok-4", "x-ai")
    assert table.finds == 1, "all spellings share one cached price"


async def test_the_provider_asked_for_answers_and_no_other(table: Table, lookup: Lookup) -> None:
    table.prices += [price("openai", "gpt-4o"), price("azure", "gpt-4o-mini")]
    with pytest.raises(ModelNotFound):
        await looked_up(lookup, "gpt-4o", "azure")


# Not found.


async def test_a_model_that_nobody_knows_is_not_found_with_names_that_look_alike(
    table: Table, lookup: Lookup
) -> None:
    table.prices += [
        price("openrouter", "openai/gpt-4o"),
        price("openai", "gpt-4o"),
        price("openai", "gpt-4o-mini"),
        price("anthropic", "claude-fable-5"),
    ]
    with pytest.raises(ModelNotFound) as caught:
        await looked_up(lookup, "gpt4o")
    assert caught.value.near_matches[0] == ("openai", "gpt-4o")
    assert ("anthropic", "claude-fable-5") not in caught.value.near_matches
    assert caught.value.provider is None


async def test_near_matches_at_a_provider_are_that_provider_s(table: Table, lookup: Lookup) -> None:
    table.prices += [price("openai", "gpt-4o"), price("azure", "gpt-4o-2024")]
    with pytest.raises(ModelNotFound) as caught:
        await looked_up(lookup, "gpt-4o", "azure-openai")
    assert caught.value.near_matches == (("azure", "gpt-4o-2024"),)
    assert caught.value.provider == "azure-openai", "as the caller wrote it"


async def test_a_provider_that_nobody_knows_is_told_apart_from_a_model(
    table: Table, lookup: Lookup
) -> None:
    table.prices.append(price("together", "m"))
    with pytest.raises(ProviderNotFound) as caught:
        await looked_up(lookup, "m", "togehter")
    assert (caught.value.provider, caught.value.near_matches) == ("togehter", ("together",))
    with pytest.raises(ModelNotFound):
        await looked_up(lookup, "n", "together")


async def test_the_same_unknown_name_is_asked_once_and_answered_the_same(
    table: Table, lookup: Lookup
) -> None:
    table.prices.append(price("openai", "gpt-4o"))
    told = []
    for _ in range(5):
        with pytest.raises(ModelNotFound) as caught:
            await looked_up(lookup, "gpt4o")
        told.append((str(caught.value), caught.value.near_matches))
    assert len(set(told)) == 1
    assert (table.finds, table.name_reads) == (1, 1)


async def test_a_scan_of_made_up_names_reads_all_names_once_and_costs_no_price(
    table: Table, lookup: Lookup
) -> None:
    table.prices.append(price("openai", "gpt-4o"))
    await looked_up(lookup, "gpt-4o")

    async def miss(number: int) -> None:
        with pytest.raises(ModelNotFound):
            await looked_up(lookup, f"made up {number}")

    await asyncio.gather(*(miss(number) for number in range(500)))
    assert table.name_reads == 1
    finds = table.finds
    await looked_up(lookup, "gpt-4o")
    assert table.finds == finds


async def test_near_matches_know_the_names_of_the_latest_sync(
    table: Table, prices: PriceTable, lookup: Lookup
) -> None:
    table.prices.append(price("openai", "gpt-4o"))
    with pytest.raises(ModelNotFound):
        await looked_up(lookup, "claude-fable")
    head = table.commit(price("anthropic", "claude-fable-5"))
    prices.clear(head)
    with pytest.raises(ModelNotFound) as caught:
        await looked_up(lookup, "claude-fable")
    assert caught.value.near_matches == (("anthropic", "claude-fable-5"),)


async def test_the_names_of_an_outage_are_forgotten_when_the_database_answers(
    table: Table, lookup: Lookup
) -> None:
    table.prices.append(price("featherless", "llama"))
    await looked_up(lookup, "llama")
    table.is_down = True
    with pytest.raises(PricingError):
        await looked_up(lookup, "anything", "google", accept=CATALOG_ONLY)
    assert table.breaker.is_down
    await up_again(table)
    # The catalogue does not know this seller, the price table does.
    with pytest.raises(ModelNotFound) as caught:
        await looked_up(lookup, "llamma", "featherless")
    assert caught.value.near_matches == (("featherless", "llama"),)


async def test_an_unknown_name_is_not_remembered_by_the_names_of_an_outage(
    table: Table, lookup: Lookup
) -> None:
    table.prices.append(price("featherless", "llama"))
    await looked_up(lookup, "llama")
    table.names_are_down = True  # As when only the long read is too late.
    with pytest.raises(PricingError):
        await looked_up(lookup, "llamma", "featherless")
    table.names_are_down = False
    await up_again(table)
    with pytest.raises(ModelNotFound) as caught:
        await looked_up(lookup, "llamma", "featherless")
    assert caught.value.near_matches == (("featherless", "llama"),)


async def test_whoever_gives_up_does_not_take_the_names_from_the_others(
    table: Table, lookup: Lookup
) -> None:
    table.prices.append(price("openai", "gpt-4o"))
    impatient = asyncio.create_task(looked_up(lookup, "gpt4o"))
    await table.names_asked.wait()
    patient = asyncio.create_task(looked_up(lookup, "gpt4o"))
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    with pytest.raises(ModelNotFound):
        await patient
    assert table.name_reads == 1


# Time.


NIGHT = Conditions(utc_window=UtcWindow(13 * 60, 14 * 60))


async def test_an_hourly_price_changes_at_its_hour_although_it_was_cached(
    table: Table, lookup: Lookup, clock: Clock
) -> None:
    hourly = priced("3", Rate(Meter.INPUT_TOKENS, Decimal(1), NIGHT))
    table.prices.append(price("deepseek", "chat", hourly))
    told = []
    for minutes in (0, 59, 60, 119, 120, 60 + 24 * 60):
        clock.now = NOON + timedelta(minutes=minutes)
        quote = (await looked_up(lookup, "chat")).evaluated
        told.append((quote.headline.prompt, quote.effective_time, quote.valid_until))
    yesterday, opens, closes = NOON - 22 * HOUR, NOON + HOUR, NOON + 2 * HOUR
    night, day = Decimal(1), Decimal(3)
    assert told == [
        (day, yesterday, opens),
        (day, yesterday, opens),
        (night, opens, closes),
        (night, opens, closes),
        (day, closes, opens + 24 * HOUR),
        (night, opens + 24 * HOUR, closes + 24 * HOUR),
    ]
    assert table.finds == 4, "once per price"


async def test_a_price_announced_for_a_date_begins_on_it(
    table: Table, lookup: Lookup, clock: Clock
) -> None:
    change = NOON + 48 * HOUR
    later = Rate(Meter.INPUT_TOKENS, Decimal(2), Conditions(effective_from=change))
    table.prices.append(price("google", "gemini-4-argon", priced("1", later)))
    quote = (await looked_up(lookup, "gemini-4-argon")).evaluated
    assert (quote.headline.prompt, quote.valid_until) == (Decimal(1), change)
    assert quote.effective_time == NOON - 24 * HOUR, "when its source first stated it"
    clock.now = change
    quote = (await looked_up(lookup, "gemini-4-argon")).evaluated
    assert (quote.headline.prompt, quote.valid_until) == (Decimal(2), None)
    assert quote.effective_time == change


@pytest.mark.parametrize("card", [DYNAMIC, UNPRICED])
async def test_a_model_without_a_headline_is_an_answer(
    table: Table, lookup: Lookup, card: RateCard
) -> None:
    table.prices.append(price("openrouter", "openrouter/auto", card))
    quote = (await looked_up(lookup, "openrouter/auto")).evaluated
    assert (quote.headline.state, quote.headline.prompt) == (card.state, None)
    assert quote.valid_until is None


# Names that look alike.


def test_the_best_match_comes_first_and_makers_before_others() -> None:
    listed = [("zebra", "gpt-4o"), ("openai", "gpt-4o"), ("openai", "gpt-4o-mini")]
    names = NameIndex(dict.fromkeys([*listed, ("aws", "titan")], Standing.PRICED))
    assert names.near_models("GPT_4o", None) == [
        ("openai", "gpt-4o"),
        ("zebra", "gpt-4o"),
        ("openai", "gpt-4o-mini"),
    ]
    assert names.near_models("gpt-4o", "aws") == []
    assert names.near_models("qqqqqqqq", None) == []
    assert names.near_models("\U0001f600", None) == []
    many = NameIndex({("s", f"model-{n}"): Standing.PRICED for n in range(50)})
    assert len(many.near_models("model", None)) == 5
    assert names.near_providers("openia") == ["openai"]
