"""ListPricing through the real server: what GetPricing answers, page by page, at one revision."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from psycopg import sql

from llmpricing.v1 import pricing_pb2 as pb
from tests._recorded import recorded
from tests.integration._database import connected, rows
from tests.integration._feed import Feed, payload, recording, row
from tests.integration._poll import eventually
from tests.integration._server import CALL_SECONDS, Server, in_process_server
from tests.integration._status import refused

UNKNOWN: Any = 999
TABLE_LAYERS = (pb.PRICING_SOURCE_OVERRIDE, pb.PRICING_SOURCE_DATABASE)
ModelName = tuple[str, str]


async def page(server: Server, **fields: Any) -> pb.ListPricingResponse:
    return await server.stub.ListPricing(pb.ListPricingRequest(**fields), timeout=CALL_SECONDS)


async def pages(server: Server, **fields: Any) -> AsyncIterator[pb.ListPricingResponse]:
    """All pages of a list, the later ones by their tokens."""
    token = ""
    while True:
        found = await page(server, **fields, page_token=token)
        yield found
        if not (token := found.next_page_token):
            return


async def listed(server: Server, **fields: Any) -> list[pb.ModelPricing]:
    fields = {"page_size": 1000} | fields
    return [pricing async for each in pages(server, **fields) for pricing in each.pricing]


def name_of(pricing: pb.ModelPricing) -> ModelName:
    return pricing.provider, pricing.model_id


def table_names(server: Server, *, delisted: bool = False) -> list[ModelName]:
    found = rows(server.conninfo, "SELECT provider, model_id, is_active FROM models")
    return sorted(
        (each["provider"], each["model_id"]) for each in found if each["is_active"] or delisted
    )


async def got(server: Server, names: Iterable[ModelName]) -> dict[ModelName, pb.ModelPricing]:
    """What GetPricing answers for each, from the price table alone."""
    found: dict[ModelName, pb.ModelPricing] = {}
    asked = list(names)
    for start in range(0, len(asked), 500):
        part = asked[start : start + 500]
        requests = [
            pb.GetPricingRequest(
                model_id=model_id,
                provider=provider,
                read=pb.ReadOptions(accept_sources=TABLE_LAYERS),
                unit=pb.PRICE_UNIT_PER_1M_TOKENS,
            )
            for provider, model_id in part
        ]
        answered = await server.stub.BatchGetPricing(
            pb.BatchGetPricingRequest(requests=requests), timeout=CALL_SECONDS
        )
        for result, name in zip(answered.results, part, strict=True):
            assert result.HasField("pricing"), (name, result.error)
            found[name] = result.pricing.pricing
    return found


# What GetPricing answers -----------------------------------------------------------------


@pytest.mark.recorded
async def test_every_price_is_the_answer_of_get_pricing(server: Server, feed: Feed) -> None:
    """Of the bundled catalogue and a recorded day, with overrides, a held change, and models
    that are missing, delisted or listed without a price."""
    day = json.loads(recorded("openrouter_2026-08-22.json").read_bytes())
    feed.answer(day)
    await server.synced()
    gone, missing, held, unstated, *_ = (
        each for each in day["data"] if Decimal(each["pricing"]["prompt"]) > 0
    )
    there = [each for each in day["data"] if each is not gone]
    last = [each for each in there if each not in (missing, held, unstated)]
    for each, prompt in ((held, "100"), (unstated, "0")):
        last.append(each | {"pricing": each["pricing"] | {"prompt": prompt}})
    fetched_at = datetime.fromisoformat(day["fetchedAt"])
    for days, kept in enumerate((there, there, last), 1):
        feed.answer(recording((fetched_at + timedelta(days=days)).isoformat(), *kept))
        await server.synced()
    await override(server, prompt="7")
    end = datetime.now(UTC) + timedelta(hours=1)
    await override(server, model_id="until", prompt="8", until_time=end)
    names = table_names(server, delisted=True)
    while True:
        hour = datetime.now(UTC).hour
        found = {
            name_of(each): each
            for each in await listed(server, view=pb.PRICING_VIEW_FULL, include_delisted=True)
        }
        expected = await got(server, names)
        if datetime.now(UTC).hour == hour:
            break  # No price by time of day has changed between the two.
    assert found.keys() == expected.keys()
    for name, pricing in expected.items():
        assert found[name] == pricing, name
    # Each kind is among them.
    assert found["openrouter", gone["id"]].HasField("delisted_time")
    assert found["openrouter", missing["id"]].freshness == pb.FRESHNESS_UNCONFIRMED
    assert found["openrouter", held["id"]].HasField("pending_change")
    assert found["openrouter", unstated["id"]].freshness == pb.FRESHNESS_UNCONFIRMED
    assert found["openai", "until"].HasField("valid_until_time")
    assert found["openai", "gpt-4o"].source_detail == "override by grpc: test"
    assert {each.state for each in found.values()} == set(pb.PriceState.values()[1:])
    assert sum(each.HasField("context_length") for each in found.values()) > 1000


async def override(server: Server, **fields: Any) -> pb.SetPriceOverrideResponse:
    names: dict[str, Any] = {"provider": "openai", "model_id": "gpt-4o", "reason": "test"}
    names["register"] = True
    request = pb.SetPriceOverrideRequest(**(names | fields))
    return await server.stub.SetPriceOverride(request, timeout=CALL_SECONDS)


async def test_the_headline_view_is_all_but_the_rates_and_prices_are_in_the_unit_asked_for(
    server: Server,
) -> None:
    only: dict[str, Any] = {"providers": ["Google"], "page_size": 1000}
    full = (await page(server, **only, view=pb.PRICING_VIEW_FULL)).pricing
    headlines = (await page(server, **only)).pricing
    assert any(each.rates for each in full)
    for each in full:
        del each.rates[:]
    assert list(full) == list(headlines)
    per_token = (await page(server, **only, unit=pb.PRICE_UNIT_PER_TOKEN)).pricing
    for token, million in zip(per_token, headlines, strict=True):
        assert token.unit == pb.PRICE_UNIT_PER_TOKEN
        assert token.HasField("prompt") == million.HasField("prompt")
        if token.HasField("prompt"):
            assert Decimal(token.prompt) * 10**6 == Decimal(million.prompt)


async def test_a_sync_that_confirms_prices_is_told_without_a_new_revision(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(row("acme/one")))
    synced = await server.synced()
    [before] = await listed(server, text="acme/one")
    again = await server.synced()
    assert again.run.revision == synced.run.revision
    [after] = await listed(server, text="acme/one")
    assert after.verified_time.ToDatetime() > before.verified_time.ToDatetime()
    assert after.price_revision == before.price_revision


# Pages -----------------------------------------------------------------------------------


def at_revision(server: Server, revision: int) -> dict[ModelName, tuple[str, str]]:
    """Card and kind of the last change of each model at a revision, from the history itself."""
    found = rows(
        server.conninfo,
        """
        SELECT DISTINCT ON (model_key) provider, model_id, card_id, kind
        FROM model_pricing_history JOIN models USING (model_key)
        WHERE revision <= %(revision)s
        ORDER BY model_key, revision DESC
        """,
        revision=revision,
    )
    return {(each["provider"], each["model_id"]): (each["card_id"], each["kind"]) for each in found}


def assert_complete(server: Server, found: Sequence[pb.ListPricingResponse]) -> None:
    """All pages are of one revision, which has these prices and no others, each once."""
    [(revision, _)] = {(each.table.revision, each.table.epoch) for each in found}
    told = [pricing for each in found for pricing in each.pricing]
    expected = at_revision(server, revision)
    assert len(told) == len({name_of(each) for each in told}) == len(expected)
    for each in told:
        card_id, kind = expected[name_of(each)]
        assert each.rate_card_id == card_id
        assert each.HasField("delisted_time") == (kind == "delisted")


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"price_meter": pb.METER_INPUT_TOKENS},
        {"price_meter": pb.METER_OUTPUT_TOKENS, "descending": True},
    ],
    ids=["by name", "by price", "highest first"],
)
async def test_pages_are_complete_and_of_one_revision_while_syncs_go_on(
    database: str, feed: Feed, order: dict[str, Any]
) -> None:
    """Two servers answer in turn, and each page is read after another sync: models are added
    and change their price, and so their place in the order."""
    async with (
        in_process_server(database, feed) as first,
        in_process_server(database, feed) as second,
    ):
        revisions: list[int] = []

        async def sync() -> None:
            step = len(revisions)
            models = [
                row(f"acme/{number:03}", f"0.0000{(number * 7 + step * 31) % 89 + 10}")
                for number in range(100 + 10 * step)
            ]
            feed.answer(payload(*models))
            revisions.append((await first.synced()).run.revision)

        await sync()
        found: list[pb.ListPricingResponse] = []
        token = ""
        while not found or token:
            server = (first, second)[len(found) % 2]
            fields: dict[str, Any] = {**order, "page_size": 400, "include_delisted": True}
            found.append(await page(server, **fields, page_token=token))
            token = found[-1].next_page_token
            await sync()
        assert len(found) > 5
        assert len(set(revisions)) == len(revisions) == len(found) + 1
        assert found[0].table.revision == revisions[0]
        assert_complete(first, found)
        assert_in_order([each for one in found for each in one.pricing], **order)


def assert_in_order(
    found: Sequence[pb.ModelPricing], price_meter: int = 0, descending: bool = False
) -> None:
    def key(pricing: pb.ModelPricing) -> tuple[object, ...]:
        if not price_meter:
            return name_of(pricing)
        stated = pricing.prompt if price_meter == pb.METER_INPUT_TOKENS else pricing.completion
        if not stated:
            return True, Decimal(0), name_of(pricing)
        price = Decimal(stated)
        return False, -price if descending else price, name_of(pricing)

    assert list(found) == sorted(found, key=key)


async def test_a_list_goes_on_at_a_server_that_was_started_meanwhile(
    database: str, feed: Feed
) -> None:
    """And what overrides and prices were is told of the revision, not of now."""
    feed.answer(payload(*(row(f"acme/{number}") for number in range(30))))
    only: dict[str, Any] = {"providers": ["openrouter"], "text": "acme/", "page_size": 20}
    async with in_process_server(database, feed) as server:
        await server.synced()
        names: dict[str, Any] = {"provider": "openrouter", "model_id": "acme/9"}
        await override(server, **names, prompt="5")
        begun = await page(server, **only)
        await server.stub.ClearPriceOverride(
            pb.ClearPriceOverrideRequest(**names), timeout=CALL_SECONDS
        )
        feed.answer(payload(*(row(f"acme/{number}", "0.000009") for number in range(40))))
        await server.synced()
    async with in_process_server(database, feed) as server:
        ended = await page(server, **only, page_token=begun.next_page_token)
        assert not ended.next_page_token
        assert (ended.table.revision, ended.table.epoch) == (
            begun.table.revision,
            begun.table.epoch,
        )
        found = [*begun.pricing, *ended.pricing]
        assert [each.model_id for each in found] == sorted(f"acme/{each}" for each in range(30))
        assert {each.prompt for each in found if each.model_id != "acme/9"} == {"1.00"}
        [overridden] = [each for each in found if each.model_id == "acme/9"]
        assert (overridden.prompt, overridden.source_detail) == ("5.00", "override")
        assert overridden.pricing_source == pb.PRICING_SOURCE_OVERRIDE
        now = await listed(server, **only)
        assert {each.prompt for each in now} == {"9.00"}
        assert len(now) == 40


async def test_a_page_is_cut_where_it_would_be_too_large_and_nothing_is_lost(
    server: Server, feed: Feed
) -> None:
    steps = [
        {"min_prompt_tokens": step * 1000, "prompt": f"0.0000{1000 + step}"}
        for step in range(1, 200)
    ]
    feed.answer(payload(*(row(f"acme/{number:04}", overrides=steps) for number in range(550))))
    await server.synced()
    fields: dict[str, Any] = {"view": pb.PRICING_VIEW_FULL, "text": "acme/", "page_size": 1000}
    found = [each async for each in pages(server, **fields)]
    assert len(found) > 1
    assert all(each.ByteSize() < 3.1 * 1024 * 1024 for each in found)
    told = [pricing.model_id for each in found for pricing in each.pricing]
    assert told == [f"acme/{number:04}" for number in range(550)]


async def test_a_restored_price_table_refuses_the_tokens_of_before(server: Server) -> None:
    begun = await page(server)
    with connected(server.conninfo) as connection:
        connection.execute("UPDATE price_table_head SET epoch = gen_random_uuid()")
    error = await refused(page(server, page_token=begun.next_page_token))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "EPOCH_CHANGED")
    assert error.metadata["epoch"] != begun.table.epoch
    again = await page(server)
    assert again.table.epoch == error.metadata["epoch"]
    assert again.pricing == begun.pricing


async def test_lists_are_unavailable_while_the_database_is_down(
    cluster: str, database: str
) -> None:
    """Also those that this process has in memory: nobody could say if they are still right."""
    async with in_process_server(database) as server:
        begun = await page(server)
        name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        with psycopg.connect(cluster, autocommit=True) as connection:
            connection.execute(allow.format(sql.Identifier(str(name)), sql.Literal(False)))
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            for token in ("", begun.next_page_token):
                error = await refused(page(server, page_token=token))
                assert (error.code, error.reason) == ("UNAVAILABLE", "DATABASE_UNAVAILABLE")
            connection.execute(allow.format(sql.Identifier(str(name)), sql.Literal(True)))

        async def is_up() -> bool:
            found = await server.get("gpt-4o", "openai")
            return found.pricing.freshness != pb.FRESHNESS_DATABASE_DOWN

        await eventually(is_up, "a database that is up")
        assert (await page(server, page_token=begun.next_page_token)).pricing


# Filters ---------------------------------------------------------------------------------


async def test_filters_leave_what_they_say(server: Server, feed: Feed) -> None:
    """Each against the same question asked of the whole list; the laws are in the unit tests."""
    feed.answer(payload(row("acme/long"), row("acme/short:free", "0", "0")))
    await server.synced()
    everything = await listed(server, view=pb.PRICING_VIEW_FULL)

    async def assert_left(expected: Iterable[pb.ModelPricing], **fields: Any) -> None:
        found = await listed(server, view=pb.PRICING_VIEW_FULL, **fields)
        assert list(map(name_of, found)) == list(map(name_of, expected))
        assert 0 < len(found) < len(everything)

    await assert_left(
        (each for each in everything if each.provider in ("google", "aws")),
        providers=["Google", "aws", "nobody"],
    )
    states = [pb.PRICE_STATE_FREE, pb.PRICE_STATE_UNPRICED]
    await assert_left((each for each in everything if each.state in states), states=states)
    meters = [pb.METER_CACHE_READ_TOKENS, pb.METER_INPUT_AUDIO_TOKENS]
    await assert_left(
        (each for each in everything if {*meters} <= {rate.meter for rate in each.rates}),
        meters=meters,
    )
    await assert_left(
        (
            each
            for each in everything
            if "LLAMA" in f"{each.model_id} {each.hugging_face_id}".upper()
        ),
        text="LLaMA",
    )
    await assert_left(
        (each for each in everything if 200_000 <= each.context_length <= 1_000_000),
        min_context_length=200_000,
        max_context_length=1_000_000,
    )
    await assert_left(
        sorted(
            (
                each
                for each in everything
                if each.HasField("completion")
                and Decimal("0.5") <= Decimal(each.completion) <= Decimal("2.5")
            ),
            key=lambda each: (Decimal(each.completion), name_of(each)),
        ),
        price_meter=pb.METER_OUTPUT_TOKENS,
        min_price="0.0005",
        max_price="0.0025",
        unit=pb.PRICE_UNIT_PER_1K_TOKENS,
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"providers": ["openai", ""]}, "providers[1]"),
        ({"providers": ["x"] * 1001}, "providers"),
        ({"states": [pb.PRICE_STATE_FREE, UNKNOWN]}, "states[1]"),
        ({"states": [pb.PRICE_STATE_UNSPECIFIED]}, "states[0]"),
        ({"meters": [UNKNOWN]}, "meters[0]"),
        ({"meters": [pb.METER_UNSPECIFIED]}, "meters[0]"),
        ({"text": " "}, "text"),
        ({"text": "a\x00"}, "text"),
        ({"text": "x" * 513}, "text"),
        ({"price_meter": UNKNOWN}, "price_meter"),
        ({"min_price": "1"}, "min_price"),
        ({"max_price": "1"}, "max_price"),
        ({"descending": True}, "descending"),
        ({"price_meter": pb.METER_REQUESTS, "min_price": "-1"}, "min_price"),
        ({"price_meter": pb.METER_REQUESTS, "max_price": "1e3"}, "max_price"),
        ({"price_meter": pb.METER_REQUESTS, "min_price": "2", "max_price": "1.5"}, "max_price"),
        ({"min_context_length": -1}, "min_context_length"),
        ({"max_context_length": -1}, "max_context_length"),
        ({"min_context_length": 2, "max_context_length": 1}, "max_context_length"),
        ({"unit": UNKNOWN}, "unit"),
        ({"view": UNKNOWN}, "view"),
        ({"page_size": -1}, "page_size"),
        ({"page_token": "made-up"}, "page_token"),
        ({"read": pb.ReadOptions(min_revision=-1)}, "read.min_revision"),
        ({"read": pb.ReadOptions(exact_only=True)}, "read.exact_only"),
        ({"read": pb.ReadOptions(accept_sources=TABLE_LAYERS)}, "read.accept_sources"),
        ({"read": pb.ReadOptions(as_of=Timestamp(seconds=1))}, "read.as_of"),
        ({"read": pb.ReadOptions(known_at=Timestamp(seconds=1))}, "read.known_at"),
    ],
    ids=str,
)
async def test_a_request_that_makes_no_sense_is_refused_with_its_field(
    server: Server, fields: dict[str, Any], field: str
) -> None:
    error = await refused(page(server, **fields))
    assert (error.code, error.fields) == ("INVALID_ARGUMENT", (field,))


async def test_a_list_is_at_or_after_the_revision_asked_for(server: Server, feed: Feed) -> None:
    feed.answer(payload(row("acme/one")))
    revision = (await server.synced()).run.revision
    reached = pb.ReadOptions(min_revision=revision)
    begun = await page(server, text="acme/", page_size=1, read=reached)
    assert begun.table.revision == revision
    error = await refused(page(server, read=pb.ReadOptions(min_revision=revision + 1)))
    assert (error.code, error.reason) == ("UNAVAILABLE", "REVISION_NOT_REACHED")
    assert error.metadata == {"revision": str(revision), "min_revision": str(revision + 1)}


async def test_a_page_token_serves_the_same_filters_only(server: Server) -> None:
    begun = await page(server, text="gpt")
    for other in ({"text": "claude"}, {"text": "gpt", "view": pb.PRICING_VIEW_FULL}, {}):
        error = await refused(page(server, **other, page_token=begun.next_page_token))
        assert (error.code, error.fields) == ("INVALID_ARGUMENT", ("page_token",))
    # The size of a page is no filter.
    assert (await page(server, text="gpt", page_size=3, page_token=begun.next_page_token)).pricing
