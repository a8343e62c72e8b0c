"""Overrides in look-ups: which layer they are, until when they answer, and what is without them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from llmpricing.rate_card import UNPRICED, PriceState
from pricing_server.domain.errors import ModelNotFound
from pricing_server.domain.price import Layer, Price
from pricing_server.domain.source import Release, Source, SourceEvidence
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.lookup.answer import Freshness
from pricing_server.lookup.evaluated_price import evaluate
from pricing_server.lookup.last_good import LastGood
from pricing_server.lookup.layers.catalogue import Catalog
from pricing_server.lookup.layers.cross_reference import cross_reference
from pricing_server.lookup.lookup import Lookup
from tests.unit._price_table import (
    HOUR,
    NOON,
    Clock,
    Table,
    looked_up,
    new_price_table,
    price,
    priced,
    up_again,
)

CATALOGUE = Source(
    "bundled",
    "The bundled catalogue",
    1000,
    lambda document, at: Listing((ListedModel("acme", "one", priced("9"), "{}"),), (), (), at),
    SourceEvidence.RECORDED,
    release=Release("1.0", NOON, lambda: None),
    fresh_for=timedelta(days=30),
)


def overridden(stated: Price | None = None, **fields: object) -> Price:
    """A price of 7 per token, over a stated one of 1."""
    found = stated or price("acme", "one", priced("1"))
    return replace(
        replace(
            found,
            card=priced("7"),
            layer=Layer.OVERRIDE,
            source="override",
            detail="override by ann: a test",
            stated=found,
        ),
        **fields,  # type: ignore[arg-type]
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
async def last_good(tmp_path: Path) -> AsyncIterator[LastGood]:
    async with LastGood(tmp_path / "last_good.sqlite") as last_good:
        yield last_good


@pytest.fixture
def lookup(table: Table, clock: Clock, last_good: LastGood) -> Lookup:
    prices = new_price_table(table, clock, last_good)
    return Lookup(prices, None, Catalog(CATALOGUE), {"bundled": CATALOGUE}, clock=clock)


def asked(answer_price: Price) -> tuple[Layer, str]:
    return answer_price.layer, str(answer_price.card.rates[0].price)


async def test_an_override_is_fresh_however_old_it_is(table: Table, lookup: Lookup) -> None:
    table.prices = [overridden(obtained_at=NOON - 9_999 * HOUR, delisted_at=NOON - HOUR)]
    answer = await looked_up(lookup, "one", "acme")
    assert (answer.freshness, answer.source_detail) == (
        Freshness.FRESH,
        "override by ann: a test",
    )


async def test_without_overrides_the_next_layers_answer(table: Table, lookup: Lookup) -> None:
    table.prices = [overridden()]
    assert asked((await looked_up(lookup, "one", "acme")).evaluated.price) == (Layer.OVERRIDE, "7")
    stated = await looked_up(lookup, "one", "acme", {Layer.DATABASE, Layer.CATALOG})
    assert asked(stated.evaluated.price) == (Layer.DATABASE, "1")


async def test_beneath_an_override_without_a_stated_price_the_files_answer(
    table: Table, lookup: Lookup
) -> None:
    table.prices = [overridden(price("acme", "one", UNPRICED))]
    found = await looked_up(lookup, "one", "acme", {Layer.DATABASE, Layer.CATALOG})
    assert asked(found.evaluated.price) == (Layer.CATALOG, "9")
    only = await looked_up(lookup, "one", "acme", {Layer.DATABASE})
    assert only.evaluated.headline.state is PriceState.UNPRICED


async def test_where_only_overrides_are_accepted_no_other_price_answers(
    table: Table, lookup: Lookup
) -> None:
    table.prices = [overridden(), price("acme", "two")]
    assert asked((await looked_up(lookup, "one", "acme", {Layer.OVERRIDE})).evaluated.price)[0] is (
        Layer.OVERRIDE
    )
    with pytest.raises(ModelNotFound):
        await looked_up(lookup, "two", "acme", {Layer.OVERRIDE})


async def test_an_override_answers_until_its_end_and_not_after_though_nobody_has_written_it(
    table: Table, lookup: Lookup, clock: Clock
) -> None:
    ends = NOON + HOUR
    table.prices = [overridden(until=ends)]
    before = await looked_up(lookup, "one", "acme")
    assert before.evaluated.valid_until == ends
    clock.now = ends - timedelta(microseconds=1)
    assert asked((await looked_up(lookup, "one", "acme")).evaluated.price)[0] is Layer.OVERRIDE
    clock.now = ends
    after = await looked_up(lookup, "one", "acme")
    assert asked(after.evaluated.price) == (Layer.DATABASE, "1")
    assert after.evaluated.valid_until is None


async def test_through_an_outage_it_keeps_its_layer_and_its_end(
    table: Table, lookup: Lookup, clock: Clock
) -> None:
    table.prices = [overridden(until=NOON + HOUR)]
    await looked_up(lookup, "one", "acme")
    clock.now = NOON + 0.5 * HOUR
    table.is_down = True
    lookup._table.clear(table.commit())
    down = await looked_up(lookup, "one", "acme")
    assert asked(down.evaluated.price) == (Layer.OVERRIDE, "7")
    assert down.freshness is Freshness.DATABASE_DOWN
    stated = await looked_up(lookup, "one", "acme", {Layer.DATABASE})
    assert asked(stated.evaluated.price) == (Layer.DATABASE, "1")
    clock.now = NOON + 2 * HOUR
    ended = await looked_up(lookup, "one", "acme")
    assert asked(ended.evaluated.price) == (Layer.DATABASE, "1")
    await up_again(table)


def test_a_cached_answer_also_ends_when_what_is_without_the_override_does() -> None:
    ends = NOON + HOUR
    stated = replace(price("acme", "one"), until=ends)
    quote = evaluate([overridden(stated, until=None)], "acme", NOON)
    assert (quote.valid_until, quote.ends_at) == (None, ends)


def test_a_cross_reference_never_uses_an_override() -> None:
    unpriced = replace(price("seller", "one", UNPRICED), hugging_face_id="Acme/One")
    reference = replace(
        price("openrouter", "acme/one", priced("1")),
        hugging_face_id="acme/one",
    )
    found = cross_reference(unpriced, [overridden(reference)], NOON)
    assert found is not None
    assert asked(found) == (Layer.CROSS_REFERENCE, "1")
    assert found.referred == ("openrouter", "acme/one")
    no_price = replace(reference, card=UNPRICED)
    assert cross_reference(unpriced, [overridden(no_price)], NOON) is None
    assert cross_reference(overridden(unpriced), [reference], NOON) is not None
    assert (
        cross_reference(overridden(replace(unpriced, card=priced("3"))), [reference], NOON) is None
    )
