"""Look-ups under load cost the database what they must, and lists come whole, page by page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.lookup.layers.catalogue import Catalog
from pricing_server.providers import SOURCES, genai_prices
from tests.integration._database import rows, value, wait_for_sessions_to_end
from tests.integration._feed import Feed, payload, row
from tests.integration._server import Server, in_process_server

CALLERS = 200


def look_ups(conninfo: str) -> int:
    """How often Postgres has scanned the models: once in each look-up's query.

    Counts what sessions that have ended did: they hand in their statistics by then.
    """
    for application in ("pricing-read", "pricing-sync"):
        wait_for_sessions_to_end(conninfo, application)
    scans: int = value(
        conninfo,
        "SELECT seq_scan + coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'models'",
    )
    return scans


async def scans_while(conninfo: str, feed: Feed, ask: Callable[[Server], Awaitable[None]]) -> int:
    """How often a server that starts, is asked and stops scans the models."""
    before = look_ups(conninfo)
    # Without the change stream's own reads of the history, which would be counted, too.
    async with in_process_server(conninfo, feed, stream_buffer_bytes=0) as server:
        await ask(server)
    return look_ups(conninfo) - before


@pytest.mark.parametrize("models", [1, 5])
async def test_many_first_look_ups_of_a_model_at_once_make_one_query(
    database: str, feed: Feed, models: int
) -> None:
    names = [
        each["model_id"]
        for each in rows(
            database,
            "SELECT model_id FROM models WHERE provider = 'openai' ORDER BY model_id LIMIT 5",
        )
    ][:models]

    async def nothing(_: Server) -> None:
        """A start and a stop alone."""

    async def all_at_once(server: Server) -> None:
        answers = await asyncio.gather(
            *(server.get(name, "openai") for name in names * (CALLERS // models))
        )
        assert len(answers) == CALLERS
        assert {answer.pricing.model_id for answer in answers} == set(names)
        assert {answer.pricing.pricing_source for answer in answers} == {pb.PRICING_SOURCE_DATABASE}

    await scans_while(database, feed, nothing)  # The first start of all does more.
    idle = await scans_while(database, feed, nothing)
    assert await scans_while(database, feed, all_at_once) - idle == models


async def test_later_look_ups_make_no_query_until_a_sync(database: str, feed: Feed) -> None:
    feed.answer(payload(row("acme/one")))

    async def once(server: Server) -> None:
        await server.get("gpt-oss-120b", "openai")

    async def often(server: Server) -> None:
        for _ in range(50):
            await server.get("gpt-oss-120b", "openai")

    await scans_while(database, feed, once)
    assert await scans_while(database, feed, often) == await scans_while(database, feed, once)


async def test_names_that_nobody_knows_push_no_price_out_and_are_asked_once(
    database: str, feed: Feed
) -> None:
    """With room for 100 prices, a scan of 300 names goes by."""

    async def look_up_scan_and_look_up(server: Server) -> None:
        await server.get("gpt-oss-120b", "openai")
        made_up = [server.get(f"made-up-{n}") for n in range(300)]
        outcomes = await asyncio.gather(*made_up, return_exceptions=True)
        assert all(isinstance(outcome, Exception) for outcome in outcomes)
        await server.get("gpt-oss-120b", "openai")

    async def look_up_scan(server: Server) -> None:
        made_up = [server.get(f"made-up-{n}") for n in range(300)]
        await asyncio.gather(*made_up, return_exceptions=True)
        await server.get("gpt-oss-120b", "openai")

    async def counted(ask: Callable[[Server], Awaitable[None]]) -> int:
        before = look_ups(database)
        async with in_process_server(
            database, feed, cache_size=100, stream_buffer_bytes=0
        ) as server:
            await ask(server)
        return look_ups(database) - before

    await counted(look_up_scan)
    assert await counted(look_up_scan_and_look_up) == await counted(look_up_scan)


async def test_the_bundled_catalogue_is_loaded_once_for_all_who_ask_at_once() -> None:
    bundled = genai_prices.SOURCE.release
    assert bundled
    loads = []

    def load() -> object:
        loads.append(1)
        time.sleep(0.1)  # Long enough for the others to come.
        return bundled.load()

    catalog = Catalog(replace(genai_prices.SOURCE, release=replace(bundled, load=load)))
    found = await asyncio.gather(
        *(asyncio.to_thread(catalog.prices_of, "gpt-4o") for _ in range(20))
    )
    for prices in found:
        assert [price.provider for price in prices].count("openai") == 1
    assert len(loads) == 1


# Pages -------------------------------------------------------------------------------------------


async def all_pages(
    page: Callable[[str], Awaitable[tuple[Sequence[object], str]]], size: int
) -> list[object]:
    """Everything on all pages, each of which but the last is full."""
    found: list[object] = []
    token, is_last = "", False
    while not is_last:
        items, token = await page(token)
        is_last = not token
        assert len(items) == size or (is_last and len(items) <= size)
        found += items
    return found


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
async def test_pages_of_sync_runs_are_complete_and_newest_first(
    server: Server, feed: Feed, size: int
) -> None:
    for _ in range(6):
        feed.answer(payload(row("acme/one")))
        await server.synced()

    async def page(token: str) -> tuple[Sequence[object], str]:
        request = pb.ListSyncRunsRequest(page_size=size, page_token=token)
        response = await server.stub.ListSyncRuns(request)
        return [int(run.sync_run_id) for run in response.runs], response.next_page_token

    expected = [
        each["sync_run_id"]
        for each in rows(
            server.conninfo, "SELECT sync_run_id FROM pricing_sync_log ORDER BY sync_run_id DESC"
        )
    ]
    assert len(expected) == 7
    assert await all_pages(page, size) == expected


async def test_a_run_that_begins_between_two_pages_shifts_nothing(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(row("acme/one")))
    for _ in range(4):
        await server.synced()
    first = await server.stub.ListSyncRuns(pb.ListSyncRunsRequest(page_size=3))
    await server.synced()
    request = pb.ListSyncRunsRequest(page_size=3, page_token=first.next_page_token)
    second = await server.stub.ListSyncRuns(request)
    listed = [int(run.sync_run_id) for run in (*first.runs, *second.runs)]
    assert listed == list(range(max(listed), 0, -1))


@pytest.mark.parametrize("size", [100, 999])
async def test_pages_of_price_changes_are_complete_and_newest_first(
    server: Server, feed: Feed, size: int
) -> None:
    for price in ("0.000001", "0.000002", "0.000003"):
        feed.answer(payload(*(row(f"acme/{n}", price) for n in range(120))))
        await server.synced()

    async def page(token: str) -> tuple[Sequence[object], str]:
        request = pb.ListPriceChangesRequest(page_size=size, page_token=token)
        response = await server.stub.ListPriceChanges(request)
        return (
            [(each.revision, each.provider, each.model_id) for each in response.changes],
            response.next_page_token,
        )

    expected = [
        (each["revision"], each["provider"], each["model_id"])
        for each in rows(
            server.conninfo,
            "SELECT revision, provider, model_id FROM model_pricing_history"
            " JOIN models USING (model_key) ORDER BY revision DESC, model_key DESC",
        )
    ]
    found = await all_pages(page, size)
    assert found == expected
    assert len(found) > 2000


async def test_price_changes_are_narrowed_by_seller_model_and_run(
    server: Server, feed: Feed
) -> None:
    for price in ("0.000001", "0.000002"):
        feed.answer(payload(*(row(f"acme/{n}", price) for n in range(10))))
        last = await server.synced()

    async def narrowed(**filters: Any) -> list[pb.PriceChange]:
        request = pb.ListPriceChangesRequest(page_size=1000, **filters)
        return list((await server.stub.ListPriceChanges(request)).changes)

    by_model = await narrowed(provider="OpenRouter", model_id="acme/3")
    assert [change.kind for change in by_model] == [pb.CHANGE_KIND_CHANGED, pb.CHANGE_KIND_ADDED]
    assert by_model[0].old_input == "1.00"
    by_run = await narrowed(sync_run_id=last.run.sync_run_id)
    assert {change.model_id for change in by_run} == {f"acme/{n}" for n in range(10)}
    assert {change.origin.sync_run_id for change in by_run} == {last.run.sync_run_id}
    by_alias = await narrowed(provider="bedrock")
    assert {change.provider for change in by_alias} == {"aws"}
    assert await narrowed(model_id="acme/none") == []


@pytest.mark.parametrize("size", [1, 10, 1000])
async def test_pages_of_providers_are_complete_by_name(server: Server, size: int) -> None:
    async def page(token: str) -> tuple[Sequence[object], str]:
        request = pb.ListProvidersRequest(page_size=size, page_token=token)
        response = await server.stub.ListProviders(request)
        return [each.provider for each in response.providers], response.next_page_token

    expected = [
        each["provider"]
        for each in rows(
            server.conninfo, 'SELECT provider FROM providers ORDER BY provider COLLATE "C"'
        )
    ]
    assert await all_pages(page, size) == expected


async def test_all_sources_are_listed_once_by_rank(server: Server) -> None:
    listed = await server.stub.ListSources(pb.ListSourcesRequest())
    assert [each.source for each in listed.sources] == sorted(
        SOURCES, key=lambda slug: (SOURCES[slug].rank, slug)
    )


async def test_providers_tell_their_coverage_and_sources_their_health(
    server: Server, feed: Feed
) -> None:
    feed.answer(
        payload(row("acme/one"), row("acme/gift:free", "0", "0"), row("acme/router", "-1", "-1"))
    )
    done = await server.synced()
    listed = await server.stub.ListProviders(pb.ListProvidersRequest(page_size=1000))
    for seller in listed.providers:
        (counted,) = rows(
            server.conninfo,
            """
            SELECT count(*) FILTER (WHERE is_active) AS listed,
                   count(*) FILTER (WHERE is_active AND state = 'priced') AS priced,
                   count(*) FILTER (WHERE is_active AND state = 'free') AS free,
                   count(*) FILTER (WHERE is_active AND state = 'dynamic') AS dynamic,
                   count(*) FILTER (WHERE is_active AND state = 'unpriced') AS unpriced
            FROM models JOIN model_pricing USING (model_key) JOIN rate_cards USING (card_id)
            WHERE provider = %(provider)s
            """,
            provider=seller.provider,
        )
        assert counted == {
            "listed": seller.models_listed,
            "priced": seller.models_priced,
            "free": seller.models_free,
            "dynamic": seller.models_dynamic,
            "unpriced": seller.models_unpriced,
        }
    (router,) = [each for each in listed.providers if each.provider == "openrouter"]
    assert router.models_free >= 1
    assert router.models_dynamic >= 1
    sources = (await server.stub.ListSources(pb.ListSourcesRequest())).sources
    (api,) = [each for each in sources if each.source == "openrouter"]
    assert api.models_quoted == 3
    assert api.url == feed.url
    assert api.last_run.sync_run_id == done.run.sync_run_id
    assert api.last_success_time == done.run.completed_time
    assert not api.key_required
    (bundled,) = [each for each in sources if each.source == "genai-prices"]
    assert not bundled.HasField("url")
    assert not bundled.HasField("key_variable")
    assert bundled.HasField("verified_time")
