"""Providers' own accounts of calls, through the real server."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.enums import METERS
from llmpricing.wire.rates import rate_message
from tests._raw_usage import UsageCase, usage_cases
from tests.integration._server import CALL_SECONDS, Server
from tests.integration._status import refused

CHAT = {
    "model": "gpt-4o",
    "usage": {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100},
}


def request_of(case: UsageCase, model_id: str) -> pb.CalculateCostRequest:
    flavour = pb.ApiFlavour.Value(f"API_FLAVOUR_{case.flavour.name}")
    raw = pb.RawUsage(api_flavour=flavour, json=json.dumps(case.body))
    return pb.CalculateCostRequest(
        provider="acme", model_id=model_id, raw_usage=raw, receipt=pb.RECEIPT_VIEW_PLAIN
    )


async def test_every_account_costs_what_was_worked_out_by_hand(server: Server) -> None:
    cases = usage_cases()
    assert len(cases) >= 60
    for number, case in enumerate(cases):
        await server.stub.SetPriceOverride(
            pb.SetPriceOverrideRequest(
                provider="acme",
                model_id=f"model-{number}",
                rates=map(rate_message, case.card.rates),
                reason="test",
                register=True,
            ),
            timeout=CALL_SECONDS,
        )
    response = await server.stub.BatchCalculateCost(
        pb.BatchCalculateCostRequest(
            requests=[request_of(case, f"model-{number}") for number, case in enumerate(cases)]
        ),
        timeout=CALL_SECONDS,
    )
    for case, result in zip(cases, response.results, strict=True):
        cost = result.cost
        assert Decimal(cost.total) == case.cost, case
        used = {each.meter: Decimal(each.quantity) for each in result.usage}
        assert used == {METERS[m]: count for m, count in case.usage.items()}, case
        assert tuple((each.path, each.value) for each in cost.unknown_usage) == case.unknown, case
        assert not cost.unpriced
        replay = pb.ReplayReceiptRequest(receipt=result.receipt, usage=result.usage)
        again = await server.stub.ReplayReceipt(replay, timeout=CALL_SECONDS)
        assert again.cost.total == cost.total


async def test_the_model_that_the_account_names_is_priced_and_a_caller_s_context_counts_first(
    server: Server,
) -> None:
    raw = pb.RawUsage(api_flavour=pb.API_FLAVOUR_OPENAI_CHAT, json=json.dumps(CHAT))
    named = await server.stub.CalculateCost(
        pb.CalculateCostRequest(raw_usage=raw), timeout=CALL_SECONDS
    )
    stated = await server.stub.CalculateCost(
        pb.CalculateCostRequest(
            model_id="gpt-4o",
            usage=[
                pb.MeterQuantity(meter=pb.METER_INPUT_TOKENS, quantity="1000"),
                pb.MeterQuantity(meter=pb.METER_OUTPUT_TOKENS, quantity="100"),
            ],
        ),
        timeout=CALL_SECONDS,
    )
    assert (named.cost.total, named.match) == (stated.cost.total, stated.match)
    flex = json.dumps(CHAT | {"service_tier": "flex"})
    raw = pb.RawUsage(api_flavour=pb.API_FLAVOUR_OPENAI_CHAT, json=flex)
    request = pb.CalculateCostRequest(raw_usage=raw, receipt=pb.RECEIPT_VIEW_PLAIN)
    answer = await server.stub.CalculateCost(request, timeout=CALL_SECONDS)
    assert dict(answer.receipt.context) == {"service_tier": "flex"}
    request.context["service_tier"] = "priority"
    answer = await server.stub.CalculateCost(request, timeout=CALL_SECONDS)
    assert dict(answer.receipt.context) == {"service_tier": "priority"}


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (pb.RawUsage(json=json.dumps(CHAT)), "raw_usage.api_flavour"),
        (pb.RawUsage(api_flavour=pb.API_FLAVOUR_OPENAI_CHAT, json="{"), "raw_usage.json"),
        (pb.RawUsage(api_flavour=pb.API_FLAVOUR_OPENAI_CHAT, json=""), "raw_usage.json"),
        (pb.RawUsage(api_flavour=pb.API_FLAVOUR_GEMINI, json=json.dumps(CHAT)), "raw_usage.json"),
        (
            pb.RawUsage(
                api_flavour=pb.API_FLAVOUR_OPENAI_CHAT,
                json=json.dumps({"usage": {"prompt_tokens": 1, "completion_tokens": 1}}),
            ),
            "model_id",
        ),
    ],
)
async def test_an_account_that_cannot_be_read_is_refused_by_its_field(
    server: Server, raw: pb.RawUsage, field: str
) -> None:
    request = pb.CalculateCostRequest(raw_usage=raw)
    refusal = await refused(server.stub.CalculateCost(request, timeout=CALL_SECONDS))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", (field,))
