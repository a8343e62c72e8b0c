"""A better source's word holds for every id of its model, over real gRPC and real Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.postgres.maintenance.verify import verify
from tests.integration._feed import Feed
from tests.integration._poll import eventually
from tests.integration._server import CALL_SECONDS, Server, in_process_server

DATED = "gpt-4o-2024-08-06"
"""That the bundled catalogue states it as gpt-4o, and models.dev lists it by itself."""
APART = "gpt-4o-2024-05-13"
PRICES = {
    "gpt-4o": (2.5, 10),
    "gpt-4o-mini": (0.15, 0.6),
    "gpt-4.1": (2, 8),
    "gpt-4.1-mini": (0.4, 1.6),
    "o3": (2, 8),
    "gpt-5": (1.25, 10),
    APART: (5, 15),
    DATED: (2.5, 10),
}


def feed_of(prices: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """What models.dev lists of OpenAI."""
    models = {
        name: {"id": name, "name": name, "cost": {"input": prompt, "output": completion}}
        for name, (prompt, completion) in prices.items()
    }
    return {"openai": {"id": "openai", "name": "OpenAI", "models": models}}


@pytest.fixture
async def synced(database: str, feed: Feed) -> AsyncIterator[Server]:
    """A server that has synced the catalogue, then models.dev."""
    feed.answer(feed_of(PRICES))
    async with in_process_server(database, feed, ["models-dev"]) as server:
        response = await server.synced("models-dev")
        assert (response.run.models_fetched, response.run.models_held) == (len(PRICES), 0)
        yield server
    assert [str(check) for check in verify(database) if check.broken] == []


def plain(price: pb.ModelPricing) -> list[str]:
    return sorted(str(rate) for rate in price.rates)


async def set_override(server: Server, **fields: Any) -> pb.SetPriceOverrideResponse:
    request = pb.SetPriceOverrideRequest(
        **{"provider": "openai", "prompt": "7", "completion": "9", "reason": "a test"}
        | {"register": True}
        | fields
    )
    return await server.stub.SetPriceOverride(request, timeout=CALL_SECONDS)


async def test_a_listed_id_keeps_the_card_of_the_source_that_covers_it(synced: Server) -> None:
    family, dated = await synced.price("gpt-4o", "openai"), await synced.get(DATED, "openai")
    assert dated.match.rule == pb.MATCH_RULE_EXACT
    assert dated.pricing.model_id == DATED
    assert dated.pricing.stated_as == "gpt-4o"
    assert dated.pricing.source_detail.endswith("; stated as gpt-4o")
    assert plain(dated.pricing) == plain(family)
    assert (await synced.price(APART, "openai")).prompt == "5.00"
    changes = await synced.stub.ListPriceChanges(
        pb.ListPriceChangesRequest(provider="openai", model_id=DATED), timeout=CALL_SECONDS
    )
    assert [(one.kind, one.source) for one in changes.changes] == [
        (pb.CHANGE_KIND_ADDED, "genai-prices")
    ]


async def test_who_disagrees_is_in_the_answer_and_in_the_evidence(
    synced: Server, feed: Feed
) -> None:
    feed.answer(feed_of(PRICES | {DATED: (3, 10)}))
    response = await synced.synced("models-dev")
    assert not response.price_changes
    dated = await synced.price(DATED, "openai")
    assert dated.prompt == "2.50"
    [found] = dated.disagreements
    assert (found.source, found.meter) == ("models-dev", pb.METER_INPUT_TOKENS)
    assert (found.price, found.other_price, found.ratio) == ("0.0000025", "0.000003", "1.2")
    explained = await synced.stub.ExplainPrice(
        pb.ExplainPriceRequest(provider="openai", model_id=DATED), timeout=CALL_SECONDS
    )
    assert [(one.source, one.stated_as, one.is_in_force) for one in explained.quotes] == [
        ("genai-prices", "gpt-4o", True),
        ("models-dev", "", False),
    ]
    listed = await synced.stub.ListDiscrepancies(
        pb.ListDiscrepanciesRequest(provider="openai", min_ratio="1.1"), timeout=CALL_SECONDS
    )
    assert DATED in {one.model_id for one in listed.discrepancies}


async def test_an_override_holds_for_every_id_that_leads_to_its_model(synced: Server) -> None:
    response = await set_override(synced, model_id="gpt-4o")
    assert list(response.covered_model_ids) == [DATED]
    for name in ("gpt-4o", DATED, "gpt-4o-2024-11-20"):
        price = await synced.price(name, "openai")
        assert (price.prompt, price.pricing_source) == ("7.00", pb.PRICING_SOURCE_OVERRIDE)
    assert (await synced.price(APART, "openai")).prompt == "5.00"
    own = await set_override(synced, model_id=DATED, prompt="8")
    assert not own.covered_model_ids
    assert (await synced.price(DATED, "openai")).prompt == "8.00"
    for name in (DATED, "gpt-4o"):
        request = pb.ClearPriceOverrideRequest(provider="openai", model_id=name)
        await synced.stub.ClearPriceOverride(request, timeout=CALL_SECONDS)
        expected = "7.00" if name == DATED else "2.50"
        assert (await synced.price(DATED, "openai")).prompt == expected


async def test_an_override_that_ends_ends_for_the_ids_that_it_covers(synced: Server) -> None:
    until = Timestamp()
    until.FromDatetime(datetime.now(UTC) + timedelta(seconds=1.5))
    await set_override(synced, model_id="gpt-4o", until_time=until)
    assert (await synced.price(DATED, "openai")).prompt == "7.00"

    async def ended() -> bool:
        return (await synced.price(DATED, "openai")).prompt == "2.50"

    await eventually(ended, "the end of the override")


async def test_reverting_the_run_that_first_listed_an_id_leaves_the_covering_price(
    synced: Server,
) -> None:
    [run] = await synced.runs("models-dev")
    response = await synced.stub.RevertSyncRun(
        pb.RevertSyncRunRequest(sync_run_id=run.sync_run_id), timeout=CALL_SECONDS
    )
    assert not response.price_changes
    assert (await synced.price(DATED, "openai")).prompt == "2.50"
