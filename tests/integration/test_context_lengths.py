"""Context lengths on their way from several sources to every answer."""

from __future__ import annotations

from llmpricing.v1 import pricing_pb2 as pb
from tests.integration._database import rows, value
from tests.integration._feed import Feed, payload, row
from tests.integration._server import CALL_SECONDS, Server, in_process_server


async def test_of_several_sources_the_first_in_rank_tells_the_context_length(
    server: Server, feed: Feed
) -> None:
    """A catalogue's stays where the seller says nothing, and never replaces the seller's own. A
    change of it is no change of price."""
    known, *_ = rows(
        server.conninfo,
        """
        SELECT model_id, context_length, price_per_input_token AS prompt
        FROM models JOIN model_pricing USING (model_key)
        WHERE provider = 'openrouter' AND context_length IS NOT NULL
          AND price_per_input_token > 0
        ORDER BY model_id
        """,
    )
    model, by_catalogue = known["model_id"], known["context_length"]
    stated = row(model, f"{known['prompt']:f}")

    async def told(context_length: object) -> int:
        feed.answer(payload(stated | {"context_length": context_length}))
        response = await server.synced()
        revisions.add(response.run.revision)
        request = pb.ListPricingRequest(providers=["openrouter"], text=model)
        [found] = (await server.stub.ListPricing(request, timeout=CALL_SECONDS)).pricing
        assert found == await headline(server, model)
        notices = {notice.code for notice in response.run.notices}
        assert ("context_length:context_length" in notices) == (context_length in (0, "long", -7))
        return found.context_length

    revisions: set[int] = set()
    assert await told(None) == by_catalogue
    assert await told("long") == by_catalogue
    revisions.clear()
    assert await told(by_catalogue + 1) == by_catalogue + 1
    await server.synced("genai-prices")
    assert (await server.price(model)).context_length == by_catalogue + 1
    assert await told(4096) == 4096
    for nonsense in (None, 0, -7, "long"):
        assert await told(nonsense) == 4096
    assert len(revisions) == 1
    teller = value(
        server.conninfo,
        "SELECT context_length_source FROM models"
        " WHERE provider = 'openrouter' AND model_id = %(model)s",
        model=model,
    )
    assert teller == "openrouter"


async def headline(server: Server, model_id: str) -> pb.ModelPricing:
    pricing = await server.price(model_id)
    del pricing.rates[:]
    return pricing


async def test_an_approved_price_brings_the_context_length_that_was_stated_with_it(
    database: str, feed: Feed
) -> None:
    price = {"amount": 150, "scale": 9, "currency": "USD"}
    feed.answer(
        {
            "models": [
                {
                    "modelId": "acme/held",
                    "inputCostPerToken": price,
                    "metadata": {"contextLength": 131072},
                }
            ]
        }
    )
    async with in_process_server(database, feed, ["near-ai"]) as server:
        assert (await server.synced("near-ai")).run.models_held == 1
        held = await server.stub.ListHeldChanges(
            pb.ListHeldChangesRequest(source="near-ai"), timeout=CALL_SECONDS
        )
        [change] = held.held_changes
        await server.stub.ResolveHeldChange(
            pb.ResolveHeldChangeRequest(
                held_change_id=change.held_change_id, decision=pb.HOLD_DECISION_APPROVE
            ),
            timeout=CALL_SECONDS,
        )
        assert (await server.price("acme/held", "near-ai")).context_length == 131072
