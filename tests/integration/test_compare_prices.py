"""Comparisons of prices through the real server, against the catalogue's package by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, localcontext
from pathlib import Path
from typing import Any, Final

import pytest
from genai_prices.types import Usage

from llmpricing.meters import Meter
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.enums import METERS
from tests.integration._catalogue import model_of, provider_of, sellers_of
from tests.integration._feed import Feed, payload, recording, row
from tests.integration._grpcurl import Grpcurl
from tests.integration._server import CALL_SECONDS, Server, ServerProcess, in_process_server
from tests.integration._status import refused

UNKNOWN: Any = 999
WIDE: Final = Context(prec=80)

# Everybody whom the bundled catalogue knows to sell it, read by hand.
GPT_OSS_120B: Final = {
    ("aws", "openai.gpt-oss-120b-1:0"),
    ("baseten", "openai/gpt-oss-120b"),
    ("cerebras", "gpt-oss-120b"),
    ("cloudflare", "@cf/openai/gpt-oss-120b"),
    ("databricks", "databricks-gpt-oss-120b"),
    ("fireworks", "gpt-oss-120b"),
    ("groq", "openai/gpt-oss-120b"),
    ("huggingface_cerebras", "openai/gpt-oss-120b"),
    ("huggingface_fireworks-ai", "openai/gpt-oss-120b"),
    ("huggingface_groq", "openai/gpt-oss-120b"),
    ("huggingface_hyperbolic", "openai/gpt-oss-120b"),
    ("huggingface_nebius", "openai/gpt-oss-120b"),
    ("huggingface_novita", "openai/gpt-oss-120b"),
    ("huggingface_nscale", "openai/gpt-oss-120b"),
    ("huggingface_ovhcloud", "openai/gpt-oss-120b"),
    ("huggingface_sambanova", "openai/gpt-oss-120b"),
    ("huggingface_together", "openai/gpt-oss-120b"),
    ("novita", "openai/gpt-oss-120b"),
    ("openai", "gpt-oss-120b"),
    ("openrouter", "openai/gpt-oss-120b"),
    ("ovhcloud", "gpt-oss-120b"),
    ("quicksilverpro", "gpt-oss-120b"),
    ("together", "openai/gpt-oss-120b"),
}
SOLD_APART: Final = {
    ("openrouter", "openai/gpt-oss-120b:batch"),
    ("openrouter", "openai/gpt-oss-120b:free"),
}

# Not the snapshot -0731, which is sold and priced beside it.
DEEPSEEK_V4_FLASH: Final = {
    ("avian", "deepseek/deepseek-v4-flash"),
    ("deepseek", "deepseek-v4-flash"),
    ("doubleword", "deepseek-ai/DeepSeek-V4-Flash"),
    ("fireworks", "deepseek-v4-flash"),
    ("openrouter", "deepseek/deepseek-v4-flash"),
    ("quicksilverpro", "deepseek-v4-flash"),
}

Row = tuple[str, str, Decimal | None]


def request(
    usage: Mapping[str, int], at: datetime | None = None, **fields: Any
) -> pb.ComparePricesRequest:
    stated = [
        pb.MeterQuantity(meter=METERS[Meter(name)], quantity=str(count))
        for name, count in usage.items()
    ]
    message = pb.ComparePricesRequest(usage=stated, **fields)
    if at is not None:
        message.read.as_of.FromDatetime(at)
    return message


async def compare(server: Server, message: pb.ComparePricesRequest) -> pb.ComparePricesResponse:
    return await server.stub.ComparePrices(message, timeout=CALL_SECONDS)


def rows(response: pb.ComparePricesResponse) -> list[Row]:
    return [
        (
            each.provider,
            each.model_id,
            Decimal(each.cost.total) if each.cost.HasField("total") else None,
        )
        for each in response.prices
    ]


def left_out(response: pb.ComparePricesResponse) -> set[tuple[str, str]]:
    return {(each.provider, each.model_id) for each in response.left_out}


def reference(
    models: Iterable[tuple[str, str]],
    usage: Mapping[str, int],
    at: datetime,
    context: Mapping[str, str],
) -> set[Row]:
    """What the package itself says that the usage costs at each."""
    found: set[Row] = set()
    for seller, model_id in models:
        with localcontext(WIDE):
            price = model_of(seller, model_id).calc_price(
                Usage(**usage),
                provider_of(seller),
                genai_request_timestamp=at,
                price_context=dict(context),
            )
        found.add((seller, model_id, price.total_price))
    return found


# Against the catalogue -------------------------------------------------------------------

PLAIN: Final = {"input_tokens": 1_000, "output_tokens": 500}
CACHED: Final = {"input_tokens": 100_000, "cache_read_tokens": 90_000, "output_tokens": 1_000}
LONG: Final = {"input_tokens": 300_000, "output_tokens": 4_000}
BATCH: Final = {"processing": "batch"}
NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
# Fireworks, OpenRouter and QuicksilverPro have another price from this day on.
CHANGE: Final = datetime(2026, 10, 19, tzinfo=UTC)


def test_the_list_is_all_that_the_catalogue_has() -> None:
    listed = {(seller, model.id) for seller, model in sellers_of("gpt-oss-120b")}
    assert listed == GPT_OSS_120B | SOLD_APART


@pytest.mark.parametrize("usage", [PLAIN, CACHED, LONG], ids=["plain", "cached", "long"])
@pytest.mark.parametrize("context", [{}, BATCH], ids=["standard", "batch"])
@pytest.mark.parametrize("at", [NOW, CHANGE, CHANGE - timedelta(seconds=1)], ids=str)
async def test_a_model_costs_at_every_seller_what_the_catalogue_says(
    server: Server, usage: Mapping[str, int], context: Mapping[str, str], at: datetime
) -> None:
    expected = reference(GPT_OSS_120B, usage, at, context)
    for provider, model_id in [(None, "gpt-oss-120b"), *sorted(GPT_OSS_120B)]:
        asked = request(usage, at, model=model_id, provider=provider, context=context)
        response = await compare(server, asked)
        assert set(rows(response)) == expected
        assert len(response.prices) == len(expected)
        totals = [total for _, _, total in rows(response) if total is not None]
        assert totals == sorted(totals)
        assert left_out(response) == SOLD_APART
        assert response.table.revision > 0
        assert response.table.epoch
        [own] = [each for each in response.prices if each.identity == pb.MODEL_IDENTITY_ASKED]
        assert (own.provider, own.model_id) == (response.match.provider, response.match.model_id)


async def test_each_is_told_as_get_pricing_and_calculate_cost_tell_it(server: Server) -> None:
    asked = request(CACHED, NOW, model="gpt-oss-120b", context=BATCH)
    response = await compare(server, asked)
    for each in response.prices:
        get = pb.GetPricingRequest(provider=each.provider, model_id=each.model_id)
        get.read.as_of.FromDatetime(NOW)
        pricing = (await server.stub.GetPricing(get, timeout=CALL_SECONDS)).pricing
        cost_of = pb.CalculateCostRequest(
            provider=each.provider, model_id=each.model_id, usage=asked.usage, context=BATCH
        )
        cost_of.read.as_of.FromDatetime(NOW)
        cost = await server.stub.CalculateCost(cost_of, timeout=CALL_SECONDS)
        assert (each.cost.total, each.cost.unused_context) == (
            cost.cost.total,
            cost.cost.unused_context,
        )
        for field in ("state", "freshness", "source_detail", "rate_card_id", "pricing_source"):
            assert getattr(each, field) == getattr(pricing, field), field
    used_by = {each.provider for each in response.prices if not each.cost.unused_context}
    assert used_by == {"groq"}


async def test_an_hourly_price_changes_the_order_at_its_edge(server: Server) -> None:
    """DeepSeek asks more for it in some hours; the others do not."""
    asked = {"model": "deepseek-v4-flash", "provider": "deepseek"}
    edge = datetime(2026, 11, 20, 4, tzinfo=UTC)
    places = []
    for at in (edge - timedelta(seconds=1), edge):
        response = await compare(server, request(CACHED, at, **asked))
        assert set(rows(response)) == reference(DEEPSEEK_V4_FLASH, CACHED, at, {})
        places.append([each.provider for each in response.prices].index("deepseek"))
    assert places[0] != places[1]


async def test_several_models_are_compared_each_at_who_answers_for_it(server: Server) -> None:
    names = ["gpt-4o", "GPT-4o-mini", "claude-sonnet-4-5", "gemini-2.5-flash", "no such model"]
    response = await compare(server, request(PLAIN, NOW, models=[*names, "gpt-4o"]))
    expected = reference(
        [
            ("openai", "gpt-4o"),
            ("openai", "gpt-4o-mini"),
            ("anthropic", "claude-sonnet-4-5"),
            ("google", "gemini-2.5-flash"),
        ],
        PLAIN,
        NOW,
        {},
    )
    assert set(rows(response)) == expected
    assert len(response.prices) == 4
    totals = [total for _, _, total in rows(response) if total is not None]
    assert totals == sorted(totals)
    assert {each.identity for each in response.prices} == {pb.MODEL_IDENTITY_ASKED}
    assert left_out(response) == {("", "no such model")}
    assert not response.HasField("match")
    exact = request(PLAIN, NOW, models=names, read=pb.ReadOptions(exact_only=True))
    assert left_out(await compare(server, exact)) == {("", "no such model"), ("", "GPT-4o-mini")}


async def test_a_seller_without_a_rate_for_all_of_it_comes_behind(server: Server) -> None:
    usage = {**PLAIN, "web_searches": 3}
    response = await compare(server, request(usage, NOW, model="claude-sonnet-4-5"))
    whole = [not each.cost.unpriced for each in response.prices]
    assert True in whole
    assert False in whole
    assert whole == sorted(whole, reverse=True)


# What changes ----------------------------------------------------------------------------


def named(file: Path, **sellers: Mapping[str, Mapping[str, str]]) -> Path:
    file.write_text(json.dumps({"_metadata": {"unit": "per_1m_tokens"}, **sellers}))
    return file


async def test_two_models_of_a_seller_by_one_repository_are_both_said(
    database: str, feed: Feed, tmp_path: Path
) -> None:
    file = named(tmp_path / "prices.json", acme={"Acme/one": {"prompt": "1", "completion": "2"}})
    async with in_process_server(database, feed, manual_pricing_file=file) as server:
        feed.answer(payload(row("acme/one", "0.000003")))
        await server.synced()
        asked = request(PLAIN, model="Acme/one", provider="acme")
        response = await compare(server, asked)
        assert rows(response) == [
            ("acme", "Acme/one", Decimal("0.002")),
            ("openrouter", "acme/one", Decimal("0.004")),
        ]
        assert [each.identity for each in response.prices] == [
            pb.MODEL_IDENTITY_ASKED,
            pb.MODEL_IDENTITY_HUGGING_FACE_ID,
        ]
        assert [each.pricing_source for each in response.prices] == [
            pb.PRICING_SOURCE_MANUAL,
            pb.PRICING_SOURCE_DATABASE,
        ]
        again = row("else/renamed", "0.000003") | {"hugging_face_id": "Acme/one"}
        feed.answer(payload(row("acme/one", "0.000003"), again))
        await server.synced()
        response = await compare(server, asked)
        assert [each.provider for each in response.prices] == ["acme"]
        assert left_out(response) == {("openrouter", "acme/one"), ("openrouter", "else/renamed")}
        assert {each.reason for each in response.left_out} == {pb.LEFT_OUT_REASON_AMBIGUOUS}
        assert len({each.message for each in response.left_out}) == 1


async def test_what_the_seller_no_longer_lists_is_left_out_unless_it_was_asked_for(
    database: str, feed: Feed, tmp_path: Path
) -> None:
    file = named(tmp_path / "prices.json", acme={"Acme/one": {"prompt": "1", "completion": "2"}})
    async with in_process_server(database, feed, manual_pricing_file=file) as server:
        feed.answer(payload(row("acme/one"), row("acme/two")))
        await server.synced()
        feed.answer(payload(row("acme/two")))
        await server.synced()
        await server.synced()
        response = await compare(server, request(PLAIN, model="Acme/one", provider="acme"))
        assert [each.provider for each in response.prices] == ["acme"]
        assert [each.provider for each in response.left_out] == ["openrouter"]
        assert response.left_out[0].reason == pb.LEFT_OUT_REASON_DELISTED
        assert "no longer listed" in response.left_out[0].message
        asked = request(PLAIN, model="acme/one", provider="openrouter")
        response = await compare(server, asked)
        assert [each.provider for each in response.prices] == ["acme", "openrouter"]
        assert response.prices[1].HasField("delisted_time")
        assert response.prices[1].freshness == pb.FRESHNESS_UNCONFIRMED


async def test_the_past_is_compared_by_what_was_in_effect_then(server: Server, feed: Feed) -> None:
    before = datetime(2026, 6, 1, tzinfo=UTC)
    for at, prompt in ((before, "0.000003"), (before + timedelta(days=9), "0.000001")):
        feed.answer(recording(at.isoformat(), row("acme/one", prompt), row("acme/two")))
        await server.synced()
    usage = {"input_tokens": 1_000_000}
    names = ["acme/one", "acme/two"]
    instants: list[tuple[datetime | None, str]] = [
        (before, "3"),
        (before + timedelta(days=8), "3"),
        (None, "1"),
    ]
    for instant, expected in instants:
        response = await compare(server, request(usage, instant, models=names))
        assert Decimal(expected) in [total for _, _, total in rows(response)]
        assert response.HasField("table")
    early = await compare(server, request(usage, before - timedelta(days=1), models=names))
    assert {each.freshness for each in early.prices} == {pb.FRESHNESS_BACKDATED}


async def test_a_comparison_is_of_one_revision_while_prices_change(
    server: Server, feed: Feed
) -> None:
    names = [f"acme/{number}" for number in range(60)]

    def answer(step: int) -> None:
        feed.answer(payload(*(row(name, f"0.00000{step}") for name in names)))

    answer(1)
    await server.synced()
    done = asyncio.Event()

    async def keep_changing() -> None:
        for step in range(2, 10):
            answer(step)
            await server.synced()
        done.set()

    async def keep_comparing() -> int:
        count = 0
        while not done.is_set():
            response = await compare(server, request({"input_tokens": 1_000}, models=names))
            assert len({each.cost.total for each in response.prices}) == 1
            assert len(response.prices) == len(names)
            assert response.HasField("table")
            count += 1
        return count

    _, count = await asyncio.gather(keep_changing(), keep_comparing())
    assert count


async def test_without_a_database_the_catalogue_is_compared() -> None:
    nowhere = "host=127.0.0.1 port=1 dbname=nowhere user=nobody connect_timeout=1"
    async with in_process_server(nowhere) as server:
        response = await compare(server, request(PLAIN, NOW, model="gpt-oss-120b"))
        assert set(rows(response)) == reference(GPT_OSS_120B, PLAIN, NOW, {})
        assert not response.HasField("table")
        assert {each.freshness for each in response.prices} == {pb.FRESHNESS_DATABASE_DOWN}


# Wrong input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"model": ""}, "model"),
        ({"model": "a\0b"}, "model"),
        ({"model": "x" * 513}, "model"),
        ({"model": "gpt-4o", "provider": ""}, "provider"),
        ({"model": "gpt-4o", "models": ["gpt-4o"]}, "models"),
        ({"models": ["gpt-4o"], "provider": "openai"}, "provider"),
        ({"models": ["gpt-4o", ""]}, "models[1]"),
        ({"models": ["gpt-4o"] * 101}, "models"),
        ({"model": "gpt-4o", "input_convention": UNKNOWN}, "input_convention"),
        ({"model": "gpt-4o", "context": {"": "x"}}, "context"),
    ],
)
async def test_a_comparison_that_cannot_be_is_refused(
    server: Server, fields: dict[str, Any], field: str
) -> None:
    refusal = await refused(compare(server, request(PLAIN, **fields)))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", (field,))


async def test_a_usage_that_cannot_be_is_refused(server: Server) -> None:
    tokens = pb.METER_INPUT_TOKENS
    for usage, field in (
        ([], "usage"),
        ([pb.MeterQuantity(meter=UNKNOWN, quantity="1")], "usage[0].meter"),
        ([pb.MeterQuantity(meter=tokens, quantity="-1")], "usage[0].quantity"),
        ([pb.MeterQuantity(meter=tokens, quantity="1")] * 2, "usage[1].meter"),
    ):
        message = pb.ComparePricesRequest(model="gpt-oss-120b", usage=usage)
        refusal = await refused(compare(server, message))
        assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", (field,))
    contradiction = {"input_tokens": 1, "cache_read_tokens": 2}
    for names in ({"model": "gpt-oss-120b"}, {"models": ["gpt-4o", "gpt-oss-120b"]}):
        refusal = await refused(compare(server, request(contradiction, **names)))
        assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ("usage",))


async def test_an_unknown_model_is_not_found(server: Server) -> None:
    for fields in ({"model": "no such model"}, {"models": ["no such model", "nor this"]}):
        refusal = await refused(compare(server, request(PLAIN, **fields)))
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", "MODEL_NOT_FOUND")
    refusal = await refused(compare(server, request(PLAIN, model="gpt-4o", provider="nobody")))
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "PROVIDER_NOT_FOUND")


async def test_prices_are_compared_as_they_are_to_be_read(server: Server, feed: Feed) -> None:
    feed.answer(payload(row("openai/gpt-4o", "0.000003")))
    run = (await server.synced()).run
    known = run.completed_time
    feed.answer(payload(row("openai/gpt-4o", "0.000004")))
    await server.synced()

    async def openrouters(**read: Any) -> str:
        message = request({"input_tokens": 1_000_000}, model="gpt-4o", read=pb.ReadOptions(**read))
        found = await compare(server, message)
        return {each.provider: each.cost.total for each in found.prices}["openrouter"]

    assert await openrouters() == "4"
    assert await openrouters(known_at=known) == "3"
    assert await openrouters(min_revision=run.revision) == "4"
    catalogue = pb.ReadOptions(accept_sources=[pb.PRICING_SOURCE_CATALOG])
    found = await compare(server, request(PLAIN, model="gpt-4o", read=catalogue))
    assert {each.pricing_source for each in found.prices} == {pb.PRICING_SOURCE_CATALOG}
    assert not found.HasField("table")


async def test_what_compares_nothing_is_refused(server: Server) -> None:
    other = pb.ReadOptions(accept_sources=[pb.PRICING_SOURCE_CROSS_REFERENCE])
    refusal = await refused(compare(server, request(PLAIN, model="gpt-4o", read=other)))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ("read.accept_sources",))
    later = pb.ReadOptions(min_revision=1_000)
    refusal = await refused(compare(server, request(PLAIN, model="gpt-4o", read=later)))
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "REVISION_NOT_REACHED")


def test_the_example_of_the_readme_answers(public_server: ServerProcess, grpcurl: Grpcurl) -> None:
    asked: dict[str, Any] = {
        "model": "gpt-oss-120b",
        "usage": [
            {"meter": "METER_INPUT_TOKENS", "quantity": "300000"},
            {"meter": "METER_OUTPUT_TOKENS", "quantity": "4000"},
        ],
    }
    answer = grpcurl.call(public_server.address, "ComparePrices", **asked).answer
    assert answer["prices"][0]["identity"].startswith("MODEL_IDENTITY_")
    assert len(answer["prices"]) == len(GPT_OSS_120B)
