"""When models retire, on the way from several sources to every answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration

from llmpricing.v1 import pricing_pb2 as pb
from tests.integration._database import rows
from tests.integration._feed import Feed, payload, row
from tests.integration._server import CALL_SECONDS, Server, in_process_server
from tests.integration._status import refused

OTHERS = range(5)
"""Enough models for the guard to know what the prices of a new source are worth."""


def catalogue(date: str | None) -> dict[str, object]:
    price = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    stated: dict[str, object] = {"litellm_provider": "openrouter", "mode": "chat", **price}
    lifecycle: dict[str, object] = {}
    if date is not None:
        lifecycle = {"deprecation_date": date, "metadata": {"successor": "openrouter/acme/new"}}
    others = {f"openrouter/acme/m{at}": stated for at in OTHERS}
    return {"openrouter/acme/old": stated | lifecycle, **others}


async def told(server: Server) -> tuple[str | None, str | None, str | None]:
    """By GetPricing; ListPricing says the same."""
    found = await server.price("acme/old")
    request = pb.ListPricingRequest(providers=["openrouter"], text="acme/old")
    [listed] = (await server.stub.ListPricing(request, timeout=CALL_SECONDS)).pricing
    assert listed.retirement_time == found.retirement_time
    assert listed.successor == found.successor
    retires = found.retirement_time.ToJsonString() if found.HasField("retirement_time") else None
    return (
        retires,
        found.retirement_source if found.HasField("retirement_source") else None,
        found.successor if found.HasField("successor") else None,
    )


async def test_of_several_sources_the_first_in_rank_tells_when_a_model_retires(
    database: str, feed: Feed
) -> None:
    """What a source no longer states is taken back, and is no change of price."""
    stated, *others = [row(f"acme/{name}") for name in ("old", *(f"m{at}" for at in OTHERS))]
    async with in_process_server(database, feed, ["openrouter", "litellm"]) as server:

        async def own(date: str | None) -> int:
            feed.answer(payload(stated | {"expiration_date": date}, *others))
            return (await server.synced("openrouter")).run.revision

        async def lower(date: str | None) -> int:
            feed.answer(catalogue(date))
            return (await server.synced("litellm")).run.revision

        await own(None)
        assert await told(server) == (None, None, None)
        revisions = {await lower("2027-01-31")}
        assert await told(server) == ("2027-01-31T00:00:00Z", "litellm", "acme/new")
        revisions.add(await own("2027-03-01"))
        assert await told(server) == ("2027-03-01T00:00:00Z", "openrouter", "acme/new")
        revisions.add(await lower("2027-02-01"))
        assert await told(server) == ("2027-03-01T00:00:00Z", "openrouter", "acme/new")
        revisions.add(await own(None))
        assert await told(server) == (None, None, "acme/new")
        revisions.add(await lower(None))
        assert await told(server) == (None, None, None)
        assert len(revisions) == 1
        of_models = "SELECT DISTINCT retirement_source, successor_source FROM models"
        assert rows(server.conninfo, of_models) == [
            {"retirement_source": None, "successor_source": None}
        ]


async def test_what_is_ahead_is_listed_in_order_of_time_page_by_page(
    database: str, feed: Feed
) -> None:
    """Dated rates and the end of an override, and a retirement that a sync brings."""
    now = datetime.now(UTC).replace(microsecond=0)
    begins, ends, retires = (now + timedelta(days=days) for days in (3, 5, 9))
    retires = retires.replace(hour=0, minute=0, second=0)
    old, one, two = (row(f"acme/{name}") for name in ("old", "one", "two"))
    feed.answer(payload(old | {"expiration_date": f"{retires:%Y-%m-%d}"}, one, two))
    dearer = pb.Rate(meter=pb.METER_INPUT_TOKENS, price="0.000005")
    dearer.conditions.effective_from_time.FromDatetime(begins)
    base = pb.Rate(meter=pb.METER_INPUT_TOKENS, price="0.000004")
    async with in_process_server(database, feed) as server:
        await server.synced("openrouter")
        override = pb.SetPriceOverrideRequest(
            provider="openrouter", model_id="acme/one", reason="a test", rates=[dearer, base]
        )
        override.until_time.FromDatetime(ends)
        await server.stub.SetPriceOverride(override, timeout=CALL_SECONDS)

        request = pb.ListUpcomingChangesRequest(provider="openrouter", page_size=1)
        listed: list[pb.UpcomingChange] = []
        tokens = 0
        while True:
            page = await server.stub.ListUpcomingChanges(request, timeout=CALL_SECONDS)
            listed += page.upcoming_changes
            if not page.HasField("next_page_token"):
                break
            tokens += 1
            request.page_token = page.next_page_token
        assert tokens == 2
        assert [
            (change.kind, change.change_time.ToDatetime(UTC), change.model_id, change.source)
            for change in listed
        ] == [
            (pb.UPCOMING_KIND_RATES, begins, "acme/one", "override"),
            (pb.UPCOMING_KIND_OVERRIDE_END, ends, "acme/one", "override"),
            (pb.UPCOMING_KIND_RETIREMENT, retires, "acme/old", "openrouter"),
        ]
        [rate] = listed[0].rates
        assert (rate.old_price, rate.new_price) == ("0.000004", "0.000005")
        assert listed[1].rates[0].new_price == "0.000001"

        async def told(**fields: Any) -> list[str]:
            request = pb.ListUpcomingChangesRequest(**fields)
            answer = await server.stub.ListUpcomingChanges(request, timeout=CALL_SECONDS)
            return [change.model_id for change in answer.upcoming_changes]

        four_days = Duration(seconds=4 * 86_400)
        assert await told(provider="openrouter", within=four_days) == ["acme/one"]
        assert await told(provider="nobody") == []
        assert len(await told(provider="OpenRouter")) == 3
        for seconds in (0, -1, 3660 * 86_400 + 1):
            refusal = await refused(
                server.stub.ListUpcomingChanges(
                    pb.ListUpcomingChangesRequest(within=Duration(seconds=seconds))
                )
            )
            assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ("within",))
