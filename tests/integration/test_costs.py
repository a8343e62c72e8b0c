"""Costs through the real server: equal to the oracle's, provable, and right at any time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from genai_prices.types import Provider

from llmpricing.meters import Meter
from llmpricing.receipts import replay
from llmpricing.usage import Quantity
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.enums import METERS
from pricing_server.providers.genai_prices import SOURCE
from tests._cost_cases import CostCase, Refusal, cost_cases
from tests.integration._feed import Feed, payload, row
from tests.integration._server import CALL_SECONDS, Server, in_process_server
from tests.integration._status import refused

BATCH = 1_000
PER_HOUR = Decimal("1E-35")
UNKNOWN: Any = 999
ACME: dict[str, Any] = {"provider": "openrouter", "model_id": "acme/one"}

Usage = Mapping[Meter, Quantity]


def quantities(usage: Usage) -> list[pb.MeterQuantity]:
    return [
        pb.MeterQuantity(meter=METERS[meter], quantity=f"{quantity:f}")
        for meter, quantity in ((meter, Decimal(quantity)) for meter, quantity in usage.items())
    ]


def tokens(input_tokens: int = 0, output_tokens: int = 0, **more: int) -> list[pb.MeterQuantity]:
    stated = {"input_tokens": input_tokens, "output_tokens": output_tokens, **more}
    return quantities({Meter(name): count for name, count in stated.items()})


def cost_request(
    usage: Sequence[pb.MeterQuantity], at: datetime | None = None, **fields: Any
) -> pb.CalculateCostRequest:
    request = pb.CalculateCostRequest(
        **(ACME | {"receipt": pb.RECEIPT_VIEW_PLAIN} | fields), usage=usage
    )
    if at is not None:
        request.read.as_of.FromDatetime(at)
    return request


async def cost(server: Server, request: pb.CalculateCostRequest) -> pb.CalculateCostResponse:
    return await server.stub.CalculateCost(request, timeout=CALL_SECONDS)


async def replayed(
    server: Server, receipt: pb.Receipt, usage: Sequence[pb.MeterQuantity]
) -> pb.ReplayReceiptResponse:
    request = pb.ReplayReceiptRequest(receipt=receipt, usage=usage)
    return await server.stub.ReplayReceipt(request, timeout=CALL_SECONDS)


# The oracle ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cases() -> list[CostCase]:
    assert SOURCE.release is not None
    providers = SOURCE.release.load()
    assert isinstance(providers, list)
    found: list[Provider] = providers
    # An empty usage is refused: nobody is told that it costs nothing.
    return [case for case in cost_cases(found) if case.usage]


def case_request(case: CostCase) -> pb.CalculateCostRequest:
    request = pb.CalculateCostRequest(
        provider=case.seller,
        model_id=case.model_id,
        usage=quantities(case.usage),
        context=case.context,
        read=pb.ReadOptions(accept_sources=[pb.PRICING_SOURCE_DATABASE]),
    )
    request.read.as_of.FromDatetime(case.at)
    return request


def agrees(case: CostCase, result: pb.CostResult) -> bool:
    if case.expected is Refusal.NOT_PRICED:
        return result.error.reason == pb.ERROR_REASON_MODEL_NOT_PRICED
    if case.expected is Refusal.USAGE:
        return (result.error.code, result.error.field) == (3, "usage")
    if not result.HasField("cost"):
        return False
    found = result.cost
    unpriced = {each.meter: Decimal(each.quantity) for each in found.unpriced}
    if unpriced != {METERS[m]: Decimal(q) for m, q in case.unpriced.items()}:
        return False
    if not found.HasField("total"):
        return not found.lines and bool(unpriced) and not case.expected
    is_hourly = any(meter.endswith("seconds") for meter in case.usage)
    bound = case.expected * PER_HOUR if is_hourly else 0
    return abs(Decimal(found.total) - case.expected) <= bound


async def test_every_usage_of_every_model_costs_what_the_catalogue_says(
    server: Server, cases: list[CostCase]
) -> None:
    """All models, at the edges of their tiers, dates and hours, in each context: no difference."""
    different, answered = [], 0
    for start in range(0, len(cases), BATCH):
        part = cases[start : start + BATCH]
        response = await server.stub.BatchCalculateCost(
            pb.BatchCalculateCostRequest(requests=map(case_request, part)), timeout=60
        )
        for case, result in zip(part, response.results, strict=True):
            if result.error.reason == pb.ERROR_REASON_BATCH_TOO_LARGE:
                one = await cost(server, case_request(case))
                result = pb.CostResult(cost=one.cost)
            answered += result.HasField("cost")
            if not agrees(case, result):
                different.append((case, result))
    assert different == []
    assert answered >= 12_000


# Receipts --------------------------------------------------------------------------------


async def test_a_receipt_gives_the_same_cost_after_any_number_of_syncs(
    server: Server, feed: Feed
) -> None:
    usage = tokens(123_456, 789, cache_read_tokens=1_000)
    receipts = []
    for prompt in range(1, 41):
        price = f"0.00000{prompt:03}"
        feed.answer(payload(row("acme/one", price, "0.000002", input_cache_read="0.0000003")))
        await server.synced()
        answer = await cost(server, cost_request(usage))
        assert Decimal(answer.cost.total) == (
            Decimal(price) * 122_456 + Decimal("0.0000003") * 1_000 + Decimal("0.000002") * 789
        )
        receipts.append(answer)
    for answer in receipts:
        assert answer.receipt.ByteSize() < 512
        again = await replayed(server, answer.receipt, usage)
        assert (again.cost.total, list(again.cost.lines)) == (
            answer.cost.total,
            list(answer.cost.lines),
        )
        assert again.price_proof == pb.PRICE_PROOF_CONFIRMED
        assert replay(answer.receipt, usage).total == Decimal(
            answer.cost.total
        )  # By the client alone.


async def test_an_altered_receipt_is_refused_or_contradicted(server: Server, feed: Feed) -> None:
    feed.answer(payload(row("acme/one"), row("acme/two", "0.000005")))
    await server.synced()
    usage = tokens(1_000)
    one = (await cost(server, cost_request(usage))).receipt
    two = (await cost(server, cost_request(usage, model_id="acme/two"))).receipt
    other_card = pb.Receipt()
    other_card.CopyFrom(one)
    other_card.rate_card.rates[0].price = "0.0000001"
    refusal = await refused(replayed(server, other_card, usage))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ("receipt.rate_card",))
    swapped = pb.Receipt()
    swapped.CopyFrom(one)
    swapped.rate_card.CopyFrom(two.rate_card)
    again = await replayed(server, swapped, usage)
    assert again.price_proof == pb.PRICE_PROOF_CONTRADICTED
    unheard_of = pb.Receipt()
    unheard_of.CopyFrom(one)
    unheard_of.model_id = "acme/unheard-of"
    again = await replayed(server, unheard_of, usage)
    assert again.price_proof == pb.PRICE_PROOF_CONTRADICTED
    no_override = pb.Receipt()
    no_override.CopyFrom(one)
    no_override.pricing_source = pb.PRICING_SOURCE_OVERRIDE
    again = await replayed(server, no_override, usage)
    assert again.price_proof == pb.PRICE_PROOF_UNKNOWN
    elsewhere = pb.Receipt()
    elsewhere.CopyFrom(one)
    elsewhere.table.epoch = "another"
    again = await replayed(server, elsewhere, usage)
    assert (again.cost.total, again.price_proof) == ("0.001", pb.PRICE_PROOF_UNKNOWN)
    early = pb.Receipt()
    early.CopyFrom(one)
    early.table.revision = one.table.revision + 1  # There is none yet, so nothing bears it out.
    again = await replayed(server, early, usage)
    assert (again.cost.total, again.price_proof) == ("0.001", pb.PRICE_PROOF_UNKNOWN)
    timeless = pb.Receipt()
    timeless.CopyFrom(one)
    timeless.ClearField("as_of")
    refusal = await refused(replayed(server, timeless, usage))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ("receipt.as_of",))
    foreign = pb.Receipt()
    foreign.CopyFrom(one)
    foreign.rate_card.currency = "EUR"
    refusal = await refused(replayed(server, foreign, usage))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ("receipt.rate_card.currency",))
    later = pb.Receipt()
    later.CopyFrom(one)
    later.rules = 2
    refusal = await refused(replayed(server, later, usage))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "RULES_UNKNOWN")
    assert refusal.metadata == {"rules": "2", "newest": "1"}


async def test_a_receipt_of_the_catalogue_or_an_override_says_so(server: Server) -> None:
    usage = tokens(10)
    catalog = await cost(
        server,
        cost_request(
            usage,
            provider="openai",
            model_id="gpt-4o",
            read=pb.ReadOptions(accept_sources=[pb.PRICING_SOURCE_CATALOG]),
        ),
    )
    assert not catalog.receipt.HasField("table")
    again = await replayed(server, catalog.receipt, usage)
    assert (again.cost.total, again.price_proof) == (catalog.cost.total, pb.PRICE_PROOF_UNKNOWN)
    await server.stub.SetPriceOverride(
        pb.SetPriceOverrideRequest(**ACME, prompt="3", register=True, reason="test"),
        timeout=CALL_SECONDS,
    )
    overridden = await cost(server, cost_request(usage))
    assert overridden.receipt.pricing_source == pb.PRICING_SOURCE_OVERRIDE
    again = await replayed(server, overridden.receipt, usage)
    assert (again.cost.total, again.price_proof) == ("0.00003", pb.PRICE_PROOF_CONFIRMED)


# What is told beside the total -----------------------------------------------------------


async def test_what_has_no_rate_is_told_and_is_no_zero(server: Server, feed: Feed) -> None:
    feed.answer(payload(row("acme/one", "0.000001", "0.000002")))
    await server.synced()
    usage = tokens(1_000, 10, web_searches=3)
    context = {"service_tier": "flex"}
    answer = await cost(server, cost_request(usage, context=context))
    assert answer.cost.total == "0.00102"
    assert [(each.meter, each.quantity) for each in answer.cost.unpriced] == [
        (pb.METER_WEB_SEARCHES, "3")
    ]
    assert dict(answer.cost.unused_context) == context
    nothing = await cost(server, cost_request(quantities({Meter.WEB_SEARCHES: 1})))
    assert not nothing.cost.HasField("total")


async def test_a_meter_without_a_rate_is_charged_as_what_it_is_part_of_and_says_so(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(row("acme/one", "0.000001", "0.000002")))
    await server.synced()
    answer = await cost(server, cost_request(tokens(1_000, 0, cache_read_tokens=400)))
    assert [(each.meter, each.quantity, each.rate.meter) for each in answer.cost.lines] == [
        (pb.METER_INPUT_TOKENS, "600", pb.METER_INPUT_TOKENS),
        (pb.METER_CACHE_READ_TOKENS, "400", pb.METER_INPUT_TOKENS),
    ]
    assert answer.cost.total == "0.001"


@pytest.mark.parametrize(
    ("usage", "field"),
    [
        ([], "usage"),
        (tokens(10, 0, cache_read_tokens=11), "usage"),
        (quantities({Meter.CACHE_READ_TOKENS: 5}), "usage"),
        ([pb.MeterQuantity(meter=pb.METER_INPUT_TOKENS, quantity="-1")], "usage[0].quantity"),
        ([pb.MeterQuantity(meter=pb.METER_INPUT_TOKENS, quantity="1e3")], "usage[0].quantity"),
        ([pb.MeterQuantity(meter=pb.METER_INPUT_TOKENS, quantity="NaN")], "usage[0].quantity"),
        ([pb.MeterQuantity(meter=pb.METER_INPUT_TOKENS, quantity="")], "usage[0].quantity"),
        ([pb.MeterQuantity(meter=UNKNOWN, quantity="1")], "usage[0].meter"),
        ([pb.MeterQuantity(quantity="1")], "usage[0].meter"),
        (tokens(1) + tokens(1), "usage[2].meter"),
    ],
)
async def test_a_usage_that_cannot_be_is_refused_by_its_field(
    server: Server, feed: Feed, usage: Sequence[pb.MeterQuantity], field: str
) -> None:
    feed.answer(payload(row("acme/one")))
    await server.synced()
    refusal = await refused(cost(server, cost_request(usage)))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", (field,))


async def test_a_model_whose_price_is_not_known_has_no_cost(server: Server, feed: Feed) -> None:
    feed.answer(payload(row("acme/one", "-1", "-1")))
    await server.synced()
    refusal = await refused(cost(server, cost_request(tokens(1))))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "MODEL_NOT_PRICED")
    assert refusal.metadata == {
        "provider": "openrouter",
        "model_id": "acme/one",
        "state": "dynamic",
    }


async def test_a_free_model_costs_zero_with_lines_that_say_why(server: Server, feed: Feed) -> None:
    feed.answer(payload(row("acme/one:free", "0", "0")))
    await server.synced()
    answer = await cost(server, cost_request(tokens(1_000, 5), model_id="acme/one:free"))
    assert (answer.cost.total, [each.amount for each in answer.cost.lines]) == ("0", ["0", "0"])


# Time ------------------------------------------------------------------------------------


async def test_an_announced_price_takes_effect_on_time_under_load(server: Server) -> None:
    """Within a second, on each of two servers, with no sync and no stale answer afterwards."""
    starts = datetime.now(UTC) + timedelta(seconds=4)
    now_price = pb.Rate(meter=pb.METER_INPUT_TOKENS, price="0.000001")
    announced = pb.Rate(meter=pb.METER_INPUT_TOKENS, price="0.000009")
    announced.conditions.effective_from_time.FromDatetime(starts)
    await server.stub.SetPriceOverride(
        pb.SetPriceOverrideRequest(
            **ACME, rates=[announced, now_price], register=True, reason="test"
        ),
        timeout=CALL_SECONDS,
    )
    async with in_process_server(server.conninfo) as other:
        seen: dict[Server, list[tuple[datetime, datetime, str]]] = {server: [], other: []}

        async def ask(at: Server) -> None:
            while datetime.now(UTC) < starts + timedelta(seconds=1.5):
                before = datetime.now(UTC)
                answer = await cost(at, cost_request(tokens(1_000_000)))
                price = await at.price("acme/one")
                assert price.prompt in ("1.00", "9.00")
                seen[at].append((before, datetime.now(UTC), answer.cost.total))

        await asyncio.gather(*(ask(each) for each in (server, other) for _ in range(4)))
        later = await cost(server, cost_request(tokens(1_000_000), at=starts))
        earlier = await cost(
            server, cost_request(tokens(1_000_000), at=starts - timedelta(microseconds=1))
        )
    for answers in seen.values():
        assert {total for _, after, total in answers if after < starts} == {"1"}
        assert {total for before, _, total in answers if before >= starts} == {"9"}
    assert (earlier.cost.total, later.cost.total) == ("1", "9")
    assert [each.condition for each in later.cost.lines] == [f"since {starts.isoformat()}"]


async def test_an_hourly_price_changes_at_its_boundary(server: Server) -> None:
    day = pb.Rate(meter=pb.METER_INPUT_TOKENS, price="0.000002")
    night = pb.Rate(meter=pb.METER_INPUT_TOKENS, price="0.000001")
    night.conditions.utc_window.start, night.conditions.utc_window.end = "16:30", "00:30"
    await server.stub.SetPriceOverride(
        pb.SetPriceOverrideRequest(**ACME, rates=[night, day], register=True, reason="test"),
        timeout=CALL_SECONDS,
    )
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    tomorrow = midnight + timedelta(days=1)
    tick = timedelta(microseconds=1)
    for minutes, before, after in ((16 * 60 + 30, "2", "1"), (24 * 60 + 30, "1", "2")):
        boundary = tomorrow + timedelta(minutes=minutes)
        for at, total in ((boundary - tick, before), (boundary, after)):
            assert (await cost(server, cost_request(tokens(1_000_000), at=at))).cost.total == total


async def test_hours_of_workdays_are_no_hours_of_a_weekend(server: Server) -> None:
    """Of an override, which states them out of order, and of the bundled catalogue."""
    base = pb.Rate(meter=pb.METER_INPUT_TOKENS, price="0.000001")
    peak = pb.Rate(meter=pb.METER_INPUT_TOKENS, price="0.000002")
    window = peak.conditions.utc_window
    window.start, window.end = "22:00", "02:00"
    window.days[:] = [pb.DAY_OF_WEEK_FRIDAY, pb.DAY_OF_WEEK_MONDAY]
    await server.stub.SetPriceOverride(
        pb.SetPriceOverrideRequest(**ACME, rates=[peak, base], register=True, reason="test"),
        timeout=CALL_SECONDS,
    )
    friday = datetime(2026, 11, 27, tzinfo=UTC)
    usage = tokens(1_000_000)
    for hours, total in ((21, "1"), (22, "2"), (25, "2"), (26, "1"), (46, "1"), (94, "2")):
        asked = cost_request(usage, at=friday + timedelta(hours=hours))
        answer = await cost(server, asked)
        assert answer.cost.total == total, hours
        again = await replayed(server, answer.receipt, usage)
        assert (again.cost.total, list(again.cost.lines)) == (
            answer.cost.total,
            list(answer.cost.lines),
        )
        assert replay(answer.receipt, usage).total == Decimal(total)
        if total == "2":
            assert [each.condition for each in answer.cost.lines] == [
                "22:00 to 02:00 UTC on Mon/Fri"
            ]
    deepseek: dict[str, Any] = {"provider": "deepseek", "model_id": "deepseek-v4-flash"}
    usage = tokens(1_000_000, 1_000_000)
    for days, total in ((0, "1.5"), (1, "0.75"), (2, "0.75"), (3, "1.5")):
        at = friday + timedelta(days=days, hours=2)
        assert (await cost(server, cost_request(usage, at=at, **deepseek))).cost.total == total


# Batches ---------------------------------------------------------------------------------


async def test_a_batch_answers_in_order_each_with_its_cost_or_its_error(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(row("acme/one", "0.000001"), row("acme/two", "-1", "-1")))
    await server.synced()
    requests = [
        cost_request(tokens(1_000)),
        cost_request(tokens(1_000), model_id="acme/none"),
        cost_request(tokens(1, cache_read_tokens=2)),
        cost_request(tokens(1_000), model_id="acme/two"),
        cost_request(tokens(1_000), model_id=""),
        cost_request(tokens(2_000)),
    ]
    response = await server.stub.BatchCalculateCost(
        pb.BatchCalculateCostRequest(requests=requests), timeout=CALL_SECONDS
    )
    told = [
        each.cost.total or (each.error.code, pb.ErrorReason.Name(each.error.reason)[13:])
        for each in response.results
    ]
    assert told == [
        "0.001",
        (5, "MODEL_NOT_FOUND"),
        (3, "INVALID_ARGUMENT"),
        (9, "MODEL_NOT_PRICED"),
        (3, "INVALID_ARGUMENT"),
        "0.002",
    ]
    assert response.results[2].error.field == "usage"
    assert response.results[4].error.field == "model_id"
    assert response.results[1].error.metadata["model_id"] == "acme/none"


async def test_a_batch_is_of_one_revision_while_prices_change(server: Server, feed: Feed) -> None:
    names = [f"acme/{number}" for number in range(200)]

    def state(step: int) -> Iterable[Any]:
        return (row(name, f"0.00000{step + 1}") for name in names)

    feed.answer(payload(*state(0)))
    await server.synced()
    done = asyncio.Event()

    async def keep_changing() -> None:
        for step in itertools.islice(itertools.cycle(range(9)), 1, 13):
            feed.answer(payload(*state(step)))
            await server.synced()
        done.set()

    async def keep_asking() -> int:
        batches = 0
        requests = [pb.GetPricingRequest(model_id=name, provider="openrouter") for name in names]
        while not done.is_set():
            response = await server.stub.BatchGetPricing(
                pb.BatchGetPricingRequest(requests=requests), timeout=CALL_SECONDS
            )
            assert len({each.pricing.table.revision for each in response.results}) == 1
            assert len({each.pricing.pricing.prompt for each in response.results}) == 1
            batches += 1
        return batches

    _, *batches = await asyncio.gather(keep_changing(), keep_asking(), keep_asking())
    assert all(batches)


async def test_a_thousand_models_are_answered_as_they_are_singly(server: Server) -> None:
    """Also those that have no price of their own, in the order of the names."""
    assert SOURCE.release is not None
    providers = SOURCE.release.load()
    assert isinstance(providers, list)
    names = [(provider.id, model.id) for provider in providers for model in provider.models]
    requests = [pb.GetPricingRequest(provider=at, model_id=name) for at, name in names[:1_000]]
    response = await server.stub.BatchGetPricing(
        pb.BatchGetPricingRequest(requests=requests), timeout=CALL_SECONDS
    )
    assert len(response.results) == len(requests)
    for request, result in list(zip(requests, response.results, strict=True))[::37]:
        assert result.pricing == await server.stub.GetPricing(request, timeout=CALL_SECONDS)
    unnamed = pb.BatchGetPricingRequest(names=["gpt-4o", "no such model"])
    by_name = await server.stub.BatchGetPricing(unnamed, timeout=CALL_SECONDS)
    assert by_name.results[0].pricing == await server.get("gpt-4o")
    assert by_name.results[1].error.reason == pb.ERROR_REASON_MODEL_NOT_FOUND


async def test_a_batch_that_cannot_be_is_refused(server: Server) -> None:
    too_many = pb.BatchGetPricingRequest(names=["x"] * 1_001)
    both = pb.BatchGetPricingRequest(names=["x"], requests=[pb.GetPricingRequest(model_id="x")])
    for batch in (too_many, both, pb.BatchGetPricingRequest()):
        refusal = await refused(server.stub.BatchGetPricing(batch, timeout=CALL_SECONDS))
        assert refusal.code == "INVALID_ARGUMENT"
    empty = pb.BatchCalculateCostRequest()
    refusal = await refused(server.stub.BatchCalculateCost(empty, timeout=CALL_SECONDS))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ("requests",))


# Views ------------------------------------------------------------------------------------


async def test_a_receipt_comes_only_where_it_is_asked_for(server: Server, feed: Feed) -> None:
    feed.answer(payload(row("acme/one")))
    await server.synced()
    usage = tokens(1_000)
    views = (pb.RECEIPT_VIEW_UNSPECIFIED, pb.RECEIPT_VIEW_NONE, pb.RECEIPT_VIEW_PLAIN)
    requests = [cost_request(usage, receipt=view) for view in views]
    singles = [await cost(server, each) for each in requests]
    batch = await server.stub.BatchCalculateCost(
        pb.BatchCalculateCostRequest(requests=requests), timeout=CALL_SECONDS
    )
    for found in (singles, batch.results):
        assert [each.HasField("receipt") for each in found] == [False, False, True]
        assert {each.cost.total for each in found} == {"0.001"}
        assert len({each.table.revision for each in found}) == 1
    assert singles[2].receipt.table == singles[2].table


async def test_a_signed_receipt_is_refused_until_there_is_one(server: Server) -> None:
    request = cost_request(tokens(1), receipt=pb.RECEIPT_VIEW_SIGNED)
    refusal = await refused(cost(server, request))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ("receipt",))
    assert "signs none yet" in refusal.message
    refusal = await refused(cost(server, cost_request(tokens(1), receipt=UNKNOWN)))
    assert refusal.fields == ("receipt",)


async def test_a_batch_is_read_as_its_requests_say_and_else_as_it_says_itself(
    server: Server,
) -> None:
    catalogue = pb.ReadOptions(accept_sources=[pb.PRICING_SOURCE_CATALOG])
    table = pb.ReadOptions(accept_sources=[pb.PRICING_SOURCE_DATABASE])
    prices = await server.stub.BatchGetPricing(
        pb.BatchGetPricingRequest(
            requests=[
                pb.GetPricingRequest(model_id="gpt-4o"),
                pb.GetPricingRequest(model_id="gpt-4o", read=table),
            ],
            read=catalogue,
        ),
        timeout=CALL_SECONDS,
    )
    expected = [pb.PRICING_SOURCE_CATALOG, pb.PRICING_SOURCE_DATABASE]
    assert [each.pricing.pricing.pricing_source for each in prices.results] == expected
    named = pb.BatchGetPricingRequest(names=["gpt-4o"], read=catalogue)
    by_name = await server.stub.BatchGetPricing(named, timeout=CALL_SECONDS)
    assert not by_name.results[0].pricing.HasField("table")
    model: dict[str, Any] = {"provider": "openai", "model_id": "gpt-4o"}
    costs = await server.stub.BatchCalculateCost(
        pb.BatchCalculateCostRequest(
            requests=[
                cost_request(tokens(1_000), **model),
                cost_request(tokens(1_000), **model, read=table),
            ],
            read=catalogue,
        ),
        timeout=CALL_SECONDS,
    )
    assert [each.receipt.pricing_source for each in costs.results] == expected
