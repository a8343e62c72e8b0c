"""When models retire, on the way from several sources to every answer."""

from __future__ import annotations

from llmpricing.v1 import pricing_pb2 as pb
from tests.integration._database import rows
from tests.integration._feed import Feed, payload, row
from tests.integration._server import CALL_SECONDS, Server, in_process_server

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
