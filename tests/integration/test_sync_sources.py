"""The recorded payload of every seller, through the real server into the real Postgres.

The recordings are not part of this repository; without them beside it the tests are skipped.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import grpc
import pytest

from llmpricing.rate_card import PriceState
from llmpricing.schedule import headline
from llmpricing.units import same_price
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.source import KeyUse
from pricing_server.providers import SOURCES
from tests._recorded import recorded
from tests.integration._database import contents, prices_only, tables_only
from tests.integration._feed import Feed
from tests.integration._server import in_process_server
from tests.unit._sources import NOW, by_id

PAYLOADS: Final = {
    "deepinfra": "deepinfra",
    "novita": "novita",
    "together": "together",
    "chutes": "chutes",
    "cerebras": "cerebras_public_2026",
    "huggingface": "huggingface",
    "groq": "groq",
    "fireworks": "fireworks",
}


CATALOGUE: Final = SOURCES["genai-prices"].display_name
KEYED: Final = [slug for slug, source in SOURCES.items() if source.key_use is KeyUse.REQUIRED]


@pytest.mark.parametrize("slug", PAYLOADS)
@pytest.mark.recorded
async def test_a_recorded_payload_is_answered_as_it_is_read_and_changes_nothing_again(
    database: str, feed: Feed, slug: str
) -> None:
    body = recorded(f"{PAYLOADS[slug]}.json").read_bytes()
    source = SOURCES[slug]
    read = source.read(decode_json(body), NOW)
    keys = {slug: "k" * 20} if source.key_use is KeyUse.REQUIRED else {}
    feed.answer(body)
    async with in_process_server(database, feed, [slug], source_keys=keys) as server:
        first = await server.synced(slug)
        assert (first.run.models_fetched, first.run.errors) == (read.rows, 0)
        assert {notice.code for notice in first.run.notices} >= {each.code for each in read.notices}
        for model in by_id(read).values():
            if model.card.state is not PriceState.PRICED:
                continue
            shown = headline(model.card, NOW)
            price = await server.price(model.model_id, slug)
            assert price.source_detail == source.display_name
            for told, stated in (
                (price.prompt, shown.prompt),
                (price.completion, shown.completion),
            ):
                assert bool(told) is bool(stated), model.model_id
                # Within binary noise of the catalogue's price, that one stays.
                assert same_price(Decimal(told or 0), (stated or Decimal(0)) * 1_000_000)

        before = tables_only(prices_only(contents(database)))
        again = await server.synced(slug)
        assert (again.run.models_unchanged, list(again.price_changes)) == (read.rows, [])
        after = tables_only(prices_only(contents(database)))
        before.pop("price_quotes"), after.pop("price_quotes")  # They name the run.
        assert after == before


async def test_a_missing_key_is_told_by_the_name_of_its_variable(database: str, feed: Feed) -> None:
    async with in_process_server(database, feed, KEYED) as server:
        for slug in KEYED:
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await server.sync(slug)
            assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert SOURCES[slug].key_variable in str(failed.value.details())
        assert feed.requests == []


@pytest.mark.recorded
async def test_a_seller_without_prices_is_answered_by_its_catalogue(
    database: str, feed: Feed
) -> None:
    feed.answer(recorded("groq.json").read_bytes())
    async with in_process_server(
        database, feed, ["groq"], source_keys={"groq": "k" * 20}
    ) as server:
        before = await server.price("openai/gpt-oss-120b", "groq")
        await server.synced("groq")
        after = await server.price("openai/gpt-oss-120b", "groq")
        assert (after.prompt, after.completion) == (before.prompt, before.completion)
        assert after.source_detail == before.source_detail == CATALOGUE
        assert after.pricing_source == pb.PRICING_SOURCE_DATABASE
