"""ListPricing through the real server: what GetPricing answers, page by page, at one revision."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from llmpricing.v1 import pricing_pb2 as pb
from tests._recorded import recorded
from tests.integration._database import rows
from tests.integration._feed import Feed, payload, recording, row
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
                accept_sources=TABLE_LAYERS,
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


async def test_every_price_is_the_answer_of_get_pricing(server: Server, feed: Feed) -> None:
    """Of the bundled catalogue and a recorded day, with an override, a held change, models
    that are missing, delisted or listed without a price."""
    day = json.loads(recorded("openrouter_2026-08-22.json").read_bytes())
    feed.answer(day)
    await server.synced()
    later = datetime.fromisoformat(day["fetchedAt"]) + timedelta(days=1)
    gone, missing, held, unstated, *_ = (
        each for each in day["data"] if Decimal(each["pricing"]["prompt"]) > 0
    )
    for days in range(3):
        kept = [each for each in day["data"] if each is not gone]
        if days == 2:
            kept = [each for each in kept if each is not missing]
            for changed, prompt in ((held, "100"), (unstated, "0")):
                prices = changed["pricing"] | {"prompt": prompt}
                kept = [
                    each | {"pricing": prices} if each is changed else each for each in kept
                ]
        feed.answer(recording((later + timedelta(days=days)).isoformat(), *kept))
        await server.synced()
    await override(server, prompt="7")
    await override(
        server, model_id="until", prompt="8", until=datetime.now(UTC) + timedelta(hours=1)
    )
    found = {
        name_of(each): each
        for each in await listed(server, view=pb.PRICING_VIEW_FULL, include_delisted=True)
    }
    expected = await got(server, table_names(server, delisted=True))
    assert found.keys() == expected.keys()
    for name, pricing in expected.items():
        assert found[name] == pricing, name
    # Each kind is among them.
    assert found["openrouter", gone["id"]].HasField("delisted_time")
    assert found["openrouter", missing["id"]].freshness == pb.FRESHNESS_UNCONFIRMED
    assert found["openrouter", held["id"]].HasField("pending_change")
    assert found["openrouter", unstated["id"]].freshness == pb.FRESHNESS_UNCONFIRMED
    assert found["openai", "until"].HasField("valid_until")
    assert {each.state for each in found.values()} >= {
        pb.PRICE_STATE_PRICED,
        pb.PRICE_STATE_FREE,
        pb.PRICE_STATE_DYNAMIC,
        pb.PRICE_STATE_UNPRICED,
    }
    assert sum(each.HasField("context_length") for each in found.values()) > 1000


async def override(server: Server, **fields: Any) -> pb.SetPriceOverrideResponse:
    names = {"provider": "openai", "model_id": "gpt-4o", "reason": "test"}
    request = pb.SetPriceOverrideRequest(**(names | fields))
    return await server.stub.SetPriceOverride(request, timeout=CALL_SECONDS)
