"""Names that callers have, through the real server: the rule is told, and no near miss matches."""

from __future__ import annotations

from typing import Any

import pytest

from llmpricing.v1 import pricing_pb2 as pb
from tests.integration._feed import Feed, payload, row
from tests.integration._server import CALL_SECONDS, Server
from tests.integration._status import refused


async def rule_of(server: Server, name: str, provider: str | None = None) -> tuple[str, str, str]:
    match = (await server.get(name, provider)).match
    return match.provider, match.model_id, pb.MatchRule.Name(match.rule)[11:]


@pytest.mark.parametrize(
    ("name", "provider", "expected"),
    [
        ("gpt-4o", "openai", ("openai", "gpt-4o", "EXACT")),
        ("gpt-4o", None, ("openai", "gpt-4o", "EXACT_AT_MAKER")),
        # OpenRouter lists exactly this id, and a rule that finds it comes first.
        ("openai/gpt-4o", None, ("openrouter", "openai/gpt-4o", "EXACT_AT_SELLER")),
        ("GPT-4o", None, ("openai", "gpt-4o", "CASE")),
        ("models/gemini-2.5-flash", None, ("google", "gemini-2.5-flash", "SELLER_PREFIX")),
        ("gemini/gemini-2.5-flash", None, ("google", "gemini-2.5-flash", "SELLER_PREFIX")),
        ("gemini-2.0-flash-001", "google", ("google", "gemini-2.0-flash", "ALIAS")),
    ],
)
async def test_a_name_leads_to_its_model_by_the_rule_that_is_told(
    server: Server, name: str, provider: str | None, expected: tuple[str, str, str]
) -> None:
    assert await rule_of(server, name, provider) == expected


@pytest.mark.parametrize(
    ("name", "provider"),
    [("gpt-4o-nano-ultra", None), ("o1-previewx", "openai"), ("claude-9-7-sonnet", "anthropic")],
)
async def test_a_near_miss_is_an_error_with_suggestions(
    server: Server, name: str, provider: str | None
) -> None:
    refusal = await refused(server.get(name, provider))
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "MODEL_NOT_FOUND")
    assert refusal.metadata["near_matches"]


async def test_who_asks_for_exact_ids_gets_no_other(server: Server) -> None:
    request = pb.GetPricingRequest(model_id="GPT-4o", read=pb.ReadOptions(exact_only=True))
    refusal = await refused(server.stub.GetPricing(request, timeout=CALL_SECONDS))
    assert refusal.reason == "MODEL_NOT_FOUND"
    batch = await server.stub.BatchGetPricing(
        pb.BatchGetPricingRequest(requests=[request, pb.GetPricingRequest(model_id="GPT-4o")]),
        timeout=CALL_SECONDS,
    )
    assert batch.results[0].error.reason == pb.ERROR_REASON_MODEL_NOT_FOUND
    assert batch.results[1].pricing.match.rule == pb.MATCH_RULE_CASE
    assert batch.results[1].pricing == await server.get("GPT-4o")


async def test_a_new_model_is_matched_once_it_is_synced(server: Server, feed: Feed) -> None:
    refusal = await refused(server.get("ACME/One", "openrouter"))
    assert refusal.reason == "MODEL_NOT_FOUND"
    feed.answer(payload(row("acme/one")))
    await server.synced()
    assert await rule_of(server, "ACME/One", "openrouter") == ("openrouter", "acme/one", "CASE")


async def test_without_a_provider_a_later_rules_price_answers_for_a_listing_without_one(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(row("GPT-4o", "0", "0"), row("acme/one", "0", "0")))
    await server.synced()
    listed = await server.get("GPT-4o", "openrouter")
    assert listed.pricing.state == pb.PRICE_STATE_UNPRICED
    expected = await server.get("gpt-4o", "openai")

    assert await rule_of(server, "GPT-4o") == ("openai", "gpt-4o", "CASE")
    priced = await server.get("GPT-4o")
    assert priced.pricing == expected.pricing
    request = pb.GetPricingRequest(model_id="GPT-4o")
    batch = await server.stub.BatchGetPricing(
        pb.BatchGetPricingRequest(requests=[request]), timeout=CALL_SECONDS
    )
    assert batch.results[0].pricing == priced
    usage = [pb.MeterQuantity(meter=pb.METER_INPUT_TOKENS, quantity="1000")]
    cost = await server.stub.CalculateCost(
        pb.CalculateCostRequest(model_id="GPT-4o", usage=usage), timeout=CALL_SECONDS
    )
    assert cost.match == priced.match
    compared = await server.stub.ComparePrices(
        pb.ComparePricesRequest(model="GPT-4o", usage=usage), timeout=CALL_SECONDS
    )
    assert compared.match == priced.match
    explained = await server.stub.ExplainMatch(
        pb.ExplainMatchRequest(name="GPT-4o"), timeout=CALL_SECONDS
    )
    assert explained.match == priced.match
    outcomes = {each.rule: each.outcome for each in explained.tried}
    assert outcomes[pb.MATCH_RULE_EXACT_AT_SELLER] == pb.MATCH_OUTCOME_UNPRICED
    assert outcomes[pb.MATCH_RULE_CASE] == pb.MATCH_OUTCOME_MATCHED

    assert await rule_of(server, "acme/one") == ("openrouter", "acme/one", "EXACT_AT_SELLER")
    assert (await server.get("acme/one")).pricing.state == pb.PRICE_STATE_UNPRICED


async def test_explain_match_tells_the_rules_that_were_tried(server: Server) -> None:
    async def explained(name: str, **fields: Any) -> pb.ExplainMatchResponse:
        request = pb.ExplainMatchRequest(name=name, **fields)
        return await server.stub.ExplainMatch(request, timeout=CALL_SECONDS)

    found = await explained("models/gemini-2.5-flash")
    assert found.match == (await server.get("models/gemini-2.5-flash")).match
    assert [each.rule for each in found.tried] == list(range(2, 7))
    assert found.tried[-1].outcome == pb.MATCH_OUTCOME_MATCHED
    missed = await explained("no such model at all")
    assert not missed.HasField("match")
    assert {each.outcome for each in missed.tried} == {pb.MATCH_OUTCOME_NOTHING}
    refusal = await refused(explained(""))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ("name",))
