"""Without a provider, sellers with a price answer before those that only list the name."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from llmpricing.matching import Match, MatchRule, Outcome
from llmpricing.rate_card import UNPRICED
from pricing_server.domain.errors import ModelNotFound
from pricing_server.domain.price import Layer, Price
from pricing_server.lookup.answer import Answer
from pricing_server.lookup.layers.catalogue import Catalog
from pricing_server.lookup.layers.price_file import ManualPrices
from pricing_server.lookup.lookup import Lookup
from pricing_server.lookup.price_query import ALL_LAYERS, PriceQuery
from tests.unit._price_table import (
    NOON,
    Clock,
    Table,
    looked_up,
    new_price_table,
    price,
    priced,
)
from tests.unit.test_lookup import API, bundled

NAME = "claude-sonnet-4.5"
COPILOT = price("github-copilot", NAME, UNPRICED)
ANTHROPIC = price("anthropic", "claude-sonnet-4-5", priced("3"))


@pytest.fixture
async def table() -> AsyncIterator[Table]:
    table = Table()
    yield table
    await table.breaker.aclose()


def new_lookup(table: Table, manual: ManualPrices | None = None) -> Lookup:
    clock = Clock()
    catalogue = bundled(("google", "only-bundled"), ("baseten", "m"))
    sources = {source.slug: source for source in (API, catalogue)}
    prices = new_price_table(table, clock)
    return Lookup(prices, manual, Catalog(catalogue), sources, clock=clock)


@pytest.fixture
def lookup(table: Table) -> Lookup:
    return new_lookup(table)


def by_hand(directory: Path, seller: str, model_id: str) -> ManualPrices:
    path = directory / "manual_pricing.json"
    unit = {"unit": "per_token"}
    path.write_text(json.dumps({"_metadata": unit, seller: {model_id: {"prompt": "0.000009"}}}))
    return ManualPrices(path, clock=Clock())


def found(answer: object) -> tuple[str, str, MatchRule]:
    assert isinstance(answer, Answer), answer
    quote = answer.evaluated
    return quote.price.provider, quote.price.model_id, quote.rule


async def every_way(lookup: Lookup, name: str) -> tuple[str, str, MatchRule]:
    """What a look-up alone and in a batch answers."""
    alone = await looked_up(lookup, name)
    [batched] = await lookup.answer_all([PriceQuery(name)])
    assert batched == alone
    return found(alone)


async def test_a_later_rules_price_answers_for_an_exact_listing_without_one(
    table: Table, lookup: Lookup
) -> None:
    table.prices = [COPILOT, ANTHROPIC]
    maker = ("anthropic", "claude-sonnet-4-5", MatchRule.PUNCTUATION)
    assert await every_way(lookup, NAME) == maker
    explained = await lookup.explain_match(NAME, None)
    assert explained.tried[1].outcome is Outcome.UNPRICED
    exact = Match("github-copilot", NAME, MatchRule.EXACT_AT_SELLER)
    assert explained.result == Match(*maker, exact)


async def test_with_a_provider_or_exact_only_its_listing_answers(
    table: Table, lookup: Lookup
) -> None:
    table.prices = [COPILOT, ANTHROPIC]
    at = await looked_up(lookup, NAME, "github-copilot")
    assert found(at) == ("github-copilot", NAME, MatchRule.EXACT)
    exact = await looked_up(lookup, NAME, exact_only=True)
    assert found(exact) == ("github-copilot", NAME, MatchRule.EXACT_AT_SELLER)
    asked = [PriceQuery(NAME, "github-copilot"), PriceQuery(NAME, exact_only=True)]
    assert await lookup.answer_all(asked) == [at, exact]


async def test_of_the_sellers_of_an_id_one_with_a_price_answers_whoever_made_the_model(
    table: Table, lookup: Lookup
) -> None:
    table.prices = [price("openai", "m", UNPRICED), price("zebra", "m")]
    assert await every_way(lookup, "m") == ("zebra", "m", MatchRule.EXACT_AT_SELLER)
    gone = replace(price("aws", "m"), delisted_at=NOON)
    table.prices = [gone, price("zebra", "n", UNPRICED), replace(gone, model_id="n")]
    lookup._table.clear(table.commit())
    assert await every_way(lookup, "n") == ("zebra", "n", MatchRule.EXACT_AT_SELLER)
    assert (await looked_up(lookup, "m", accept={Layer.DATABASE})).evaluated.price == gone


async def test_a_later_rules_own_price_comes_before_another_sellers_in_its_place(
    table: Table, lookup: Lookup
) -> None:
    reference = replace(price("openrouter", "acme/one", priced("5")), hugging_face_id="Acme/One")
    listed = replace(price("featherless", "Acme/Other", UNPRICED), hugging_face_id="acme/one")
    table.prices = [reference, listed]
    answer = await looked_up(lookup, "Acme/Other")
    assert answer.evaluated.price.layer is Layer.CROSS_REFERENCE
    lookup._table.clear(table.commit(price("novita", "acme/other", priced("2"))))
    assert await every_way(lookup, "Acme/Other") == ("novita", "acme/other", MatchRule.CASE)
    answer = await looked_up(lookup, "Acme/Other", "featherless")
    assert answer.evaluated.price.layer is Layer.CROSS_REFERENCE


async def test_without_any_price_the_first_finding_answers(table: Table, lookup: Lookup) -> None:
    table.prices = [COPILOT, replace(ANTHROPIC, card=UNPRICED)]
    exact = ("github-copilot", NAME, MatchRule.EXACT_AT_SELLER)
    assert await every_way(lookup, NAME) == exact
    assert await every_way(lookup, "Claude-Sonnet-4.5") == (
        "github-copilot",
        NAME,
        MatchRule.CASE,
    )


@pytest.mark.parametrize("seller", ["github-copilot", "openai"])
async def test_a_price_by_hand_of_an_exact_listing_comes_before_later_rules_and_other_sellers(
    table: Table, tmp_path: Path, seller: str
) -> None:
    table.prices = [price("openai", NAME, UNPRICED), COPILOT, ANTHROPIC]
    lookup = new_lookup(table, by_hand(tmp_path, seller, NAME))
    provider, model_id, _ = await every_way(lookup, NAME)
    assert (provider, model_id) == (seller, NAME)
    table.prices = [price("openai", NAME, UNPRICED), price("zebra", NAME), COPILOT]
    lookup._table.clear(table.commit())
    assert (await every_way(lookup, NAME))[0] == seller
    assert (await looked_up(lookup, NAME)).evaluated.price.layer is Layer.MANUAL


async def test_a_price_of_the_catalogue_serves_a_seller_that_states_none(
    table: Table, lookup: Lookup
) -> None:
    table.prices = [price("baseten", "m", UNPRICED), price("zebra", "m")]
    assert await every_way(lookup, "m") == ("baseten", "m", MatchRule.EXACT_AT_SELLER)
    assert (await looked_up(lookup, "m")).evaluated.price.layer is Layer.CATALOG
    database = await looked_up(lookup, "m", accept={Layer.DATABASE})
    assert found(database) == ("zebra", "m", MatchRule.EXACT_AT_SELLER)


async def test_a_match_that_a_request_does_not_accept_leaves_the_unpriced_listing(
    table: Table, tmp_path: Path
) -> None:
    table.prices = [COPILOT]
    lookup = new_lookup(table, by_hand(tmp_path, "anthropic", "claude-sonnet-4-5"))
    assert (await every_way(lookup, NAME))[0] == "anthropic"
    for name, rule in ((NAME, MatchRule.EXACT_AT_SELLER), (NAME.title(), MatchRule.CASE)):
        accept = ALL_LAYERS - {Layer.MANUAL}
        answer = await looked_up(lookup, name, accept=accept)
        assert found(answer) == ("github-copilot", NAME, rule)
        assert await lookup.answer_all([PriceQuery(name, accept=accept)]) == [answer]
    with pytest.raises(ModelNotFound):
        await looked_up(lookup, NAME, accept={Layer.CATALOG})


async def test_a_new_price_of_the_listing_is_its_own_again(table: Table, lookup: Lookup) -> None:
    table.prices = [COPILOT, ANTHROPIC]
    assert (await every_way(lookup, NAME))[0] == "anthropic"
    own: Price = replace(COPILOT, card=priced("1"))
    lookup._table.clear(table.commit(own))
    assert await every_way(lookup, NAME) == ("github-copilot", NAME, MatchRule.EXACT_AT_SELLER)
