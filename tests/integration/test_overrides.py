"""An override is in force before every source, on every process, until it is cleared or ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from llmpricing.v1 import pricing_pb2 as pb
from tests.integration._poll import until
from tests.integration._runs import Bench, ServerProcess, bench_on, refusal
from tests.integration._server import CALL_SECONDS

pytestmark = pytest.mark.integration

SHARED = "anthropic/claude-3-haiku"
"""The bundled catalogue states what OpenRouter charges for it, too."""
SOON_SECONDS = 2.0


@pytest.fixture
def bench(cluster: str, catalogue_template: str) -> Iterator[Bench]:
    with bench_on(cluster, catalogue_template) as bench:
        yield bench
        bench.assert_whole()


@pytest.fixture
def server(bench: Bench) -> ServerProcess:
    return bench.start()


def override(
    server: ServerProcess, model_id: str = "acme/one", provider: str = "openrouter", **fields: Any
) -> pb.SetPriceOverrideResponse:
    """Set one of USD 7 per 1M tokens of input unless other prices are given, as the whole card,
    also of a model that nobody knows."""
    if not fields.keys() & {"prompt", "completion", "rates", "free"}:
        fields["prompt"] = "7"
    request = pb.SetPriceOverrideRequest(
        **{"provider": provider, "model_id": model_id, "reason": "a test", "set_by": "ann"}
        | {"register": True, "replace_card": True}
        | fields
    )
    return server.stub.SetPriceOverride(request, timeout=CALL_SECONDS)


def clear(
    server: ServerProcess, model_id: str = "acme/one", provider: str = "openrouter"
) -> pb.ClearPriceOverrideResponse:
    request = pb.ClearPriceOverrideRequest(provider=provider, model_id=model_id, cleared_by="bob")
    return server.stub.ClearPriceOverride(request, timeout=CALL_SECONDS)


def accepted(
    server: ServerProcess, model_id: str, *layers: pb.PricingSource.ValueType
) -> pb.ModelPricing:
    request = pb.GetPricingRequest(
        model_id=model_id,
        provider="openrouter",
        read=pb.ReadOptions(accept_sources=layers),
    )
    return server.stub.GetPricing(request, timeout=CALL_SECONDS).pricing


def changes_of(
    server: ServerProcess, model_id: str = "acme/one", provider: str = "openrouter"
) -> list[pb.PriceChange]:
    """Newest first."""
    request = pb.ListPriceChangesRequest(provider=provider, model_id=model_id)
    return list(server.stub.ListPriceChanges(request, timeout=CALL_SECONDS).changes)


def snapshot(server: ServerProcess, model_id: str = "acme/one") -> pb.ModelPricing:
    """What a new stream says of a model."""
    request = pb.StreamPriceChangesRequest(
        providers=["openrouter"], model_ids=[model_id], snapshot=True
    )
    stream: Any = server.stub.StreamPriceChanges(request, timeout=CALL_SECONDS)
    try:
        for message in stream:
            if message.event == pb.STREAM_EVENT_SNAPSHOT:
                price: pb.ModelPricing = message.prices[0]
                return price
    finally:
        stream.cancel()
    raise AssertionError("the stream ended")


def in_seconds(seconds: float) -> Timestamp:
    instant = Timestamp()
    instant.FromDatetime(datetime.now(UTC) + timedelta(seconds=seconds))
    return instant


# In force.


def test_an_override_answers_at_once_and_says_who_set_it_and_why(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1}
    synced = server.synced()
    done = override(server, prompt="2.50", completion="10", reason="invoice of May")
    answer = server.get("acme/one")
    pricing = answer.pricing
    assert (pricing.prompt, pricing.completion) == ("2.50", "10.00")
    assert pricing.pricing_source == pb.PRICING_SOURCE_OVERRIDE
    assert pricing.source_detail == "override by ann: invoice of May"
    assert pricing.freshness == pb.FRESHNESS_FRESH
    assert pricing.verified_time == done.price_override.set_time
    assert not pricing.HasField("valid_until_time")
    assert (
        answer.table.revision
        == done.table.revision
        == pricing.price_revision
        == synced.run.revision + 1
    )
    assert pricing.rate_card_id == done.price_override.rate_card.rate_card_id
    (change, _) = changes_of(server)
    assert change == done.price_change
    assert change.kind == pb.CHANGE_KIND_CHANGED
    assert (change.old_input, change.new_input) == ("1.00", "2.50")
    assert change.source == "override"
    assert change.origin == pb.ChangeOrigin(
        kind=pb.ORIGIN_KIND_OVERRIDE_SET,
        actor="admin",
        note="ann",
        override_id=done.price_override.override_id,
    )
    shown = snapshot(server)
    assert shown.pricing_source == pb.PRICING_SOURCE_OVERRIDE
    assert (shown.prompt, shown.source_detail) == (pricing.prompt, pricing.source_detail)


def test_no_sync_overwrites_it_and_what_sources_state_is_kept_beneath(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {SHARED: 3}
    server.synced()
    done = override(server, SHARED)
    for price in (4, 5):
        bench.feed.prices = {SHARED: price}
        run = server.synced()
        assert (run.run.models_updated, run.run.models_unchanged, run.run.revision) == (
            0,
            1,
            done.table.revision,
        )
        assert server.prompt(SHARED) == "7.00"
    server.synced("genai-prices")
    assert server.prompt(SHARED) == "7.00"
    assert accepted(server, SHARED, pb.PRICING_SOURCE_DATABASE).prompt == "5.00"
    cleared = clear(server, SHARED)
    assert cleared.price_change.origin == pb.ChangeOrigin(
        kind=pb.ORIGIN_KIND_OVERRIDE_CLEARED,
        actor="admin",
        note="bob",
        override_id=done.price_override.override_id,
    )
    assert (cleared.price_change.old_input, cleared.price_change.new_input) == ("7.00", "5.00")
    pricing = server.get(SHARED).pricing
    assert (pricing.prompt, pricing.pricing_source) == ("5.00", pb.PRICING_SOURCE_DATABASE)
    assert cleared.price_change.source == "openrouter"


def test_a_caller_who_does_not_accept_overrides_gets_what_the_sources_state(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    override(server)
    stated = accepted(server, "acme/one", pb.PRICING_SOURCE_DATABASE, pb.PRICING_SOURCE_CATALOG)
    assert (stated.prompt, stated.pricing_source) == ("1.00", pb.PRICING_SOURCE_DATABASE)
    assert not stated.HasField("price_revision")
    only = accepted(server, "acme/one", pb.PRICING_SOURCE_OVERRIDE)
    assert (only.prompt, only.pricing_source) == ("7.00", pb.PRICING_SOURCE_OVERRIDE)
    clear(server)
    with pytest.raises(grpc.RpcError) as error:
        accepted(server, "acme/one", pb.PRICING_SOURCE_OVERRIDE)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_model_and_a_seller_that_nobody_knows_are_registered(server: ServerProcess) -> None:
    done = override(server, "made-up", "New-Seller")
    assert done.price_change.kind == pb.CHANGE_KIND_ADDED
    assert (done.price_override.provider, done.price_change.provider) == ("new-seller",) * 2
    assert server.prompt("made-up", "new-seller") == "7.00"
    cleared = clear(server, "made-up", "new-seller")
    assert cleared.price_change.new_state == pb.PRICE_STATE_UNPRICED
    pricing = server.get("made-up", "new-seller").pricing
    assert pricing.state == pb.PRICE_STATE_UNPRICED
    assert pricing.pricing_source == pb.PRICING_SOURCE_DATABASE
    assert not pricing.HasField("prompt")


def test_an_alias_names_the_seller(server: ServerProcess) -> None:
    override(server, "gpt-4o", "openai")
    assert override(server, "claude-3-haiku", "bedrock").price_override.provider == "aws"
    assert clear(server, "claude-3-haiku", "AMAZON-BEDROCK").HasField("price_change")


def test_a_model_that_a_source_lists_later_keeps_its_override(
    bench: Bench, server: ServerProcess
) -> None:
    override(server, "acme/new")
    bench.feed.prices = {"acme/new": 1, "acme/other": 2}
    run = server.synced()
    assert (run.run.models_registered, run.run.models_unchanged) == (1, 1)
    assert server.prompt("acme/new") == "7.00"
    clear(server, "acme/new")
    assert server.prompt("acme/new") == "1.00"


def test_an_override_is_replaced_by_the_next(bench: Bench, server: ServerProcess) -> None:
    first = override(server)
    again = override(server, reason="the same, said again")
    assert not again.HasField("price_change")
    assert again.table.revision == first.table.revision
    assert server.get("acme/one").pricing.source_detail.endswith("said again")
    override(server, prompt="8", set_by="eve")
    assert server.prompt("acme/one") == "8.00"
    kept = bench.rows(
        "SELECT set_by, cleared_kind, cleared_by FROM price_overrides ORDER BY override_id"
    )
    assert [tuple(row.values()) for row in kept] == [
        ("ann", "override_set", "ann"),
        ("ann", "override_set", "eve"),
        ("eve", None, None),
    ]


def test_an_override_at_the_price_in_force_is_no_change_and_neither_is_its_end(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1}
    synced = server.synced()
    done = override(server, prompt="1", completion="2")
    assert (done.table.revision, done.HasField("price_change")) == (synced.run.revision, False)
    assert server.get("acme/one").pricing.pricing_source == pb.PRICING_SOURCE_OVERRIDE
    bench.feed.prices = {"acme/one": 9}
    server.synced()
    assert server.prompt("acme/one") == "1.00"
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    cleared = clear(server)
    assert (cleared.table.revision, cleared.HasField("price_change")) == (
        synced.run.revision,
        False,
    )
    assert server.get("acme/one").pricing.pricing_source == pb.PRICING_SOURCE_DATABASE


def test_a_whole_rate_card_is_taken_as_it_is(server: ServerProcess) -> None:
    rates = [
        pb.Rate(
            meter=pb.METER_INPUT_TOKENS,
            price="0.000004",
            per=1,
            conditions=pb.Conditions(
                threshold=pb.Threshold(
                    meter=pb.METER_INPUT_TOKENS,
                    comparison=pb.COMPARISON_ABOVE,
                    quantity=200_000,
                    scope=pb.THRESHOLD_SCOPE_ALL,
                ),
                context={"service_tier": "flex"},
            ),
        ),
        pb.Rate(meter=pb.METER_INPUT_TOKENS, price="0.000002", per=1),
        pb.Rate(meter=pb.METER_AUDIO_SECONDS, price="0.5", per=3600),
    ]
    override(server, rates=rates)
    pricing = server.get("acme/one").pricing
    for rate in rates:
        rate.source = "override"
    assert list(pricing.rates) == rates
    assert pricing.prompt == "2.00"


def test_a_free_model_is_declared_and_zero_is_nothing_else(server: ServerProcess) -> None:
    override(server, free=True)
    pricing = server.get("acme/one").pricing
    assert (pricing.state, pricing.prompt) == (pb.PRICE_STATE_FREE, "0.00")


def test_a_delisted_model_stays_delisted_and_a_stream_says_so(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1, "acme/two": 2}
    server.synced()
    bench.feed.prices = {"acme/two": 2}
    server.synced()
    server.synced()
    override(server)
    pricing = server.get("acme/one").pricing
    assert (pricing.prompt, pricing.freshness) == ("7.00", pb.FRESHNESS_FRESH)
    assert pricing.HasField("delisted_time")
    assert snapshot(server).delisted_time == pricing.delisted_time
    clear(server)
    assert server.prompt("acme/one") == "1.00"
    assert server.get("acme/one").pricing.HasField("delisted_time")
    assert snapshot(server).HasField("delisted_time")


def test_a_model_is_delisted_beneath_its_override(bench: Bench, server: ServerProcess) -> None:
    bench.feed.prices = {"acme/one": 1, "acme/two": 2}
    server.synced()
    override(server)
    bench.feed.prices = {"acme/two": 2}
    server.synced()
    server.synced()
    pricing = server.get("acme/one").pricing
    assert (pricing.prompt, pricing.pricing_source) == ("7.00", pb.PRICING_SOURCE_OVERRIDE)
    assert pricing.HasField("delisted_time")
    bench.feed.prices = {"acme/one": 1, "acme/two": 2}
    server.synced()
    pricing = server.get("acme/one").pricing
    assert pricing.prompt == "7.00"
    assert not pricing.HasField("delisted_time")


def test_a_change_stream_tells_of_it_once(bench: Bench, server: ServerProcess) -> None:
    request = pb.StreamPriceChangesRequest(providers=["openrouter"])
    stream: Any = server.stub.StreamPriceChanges(request, timeout=CALL_SECONDS)
    assert next(stream).event == pb.STREAM_EVENT_STARTED
    override(server)
    clear(server)
    found = [next(stream) for _ in range(2)]
    stream.cancel()
    origins = [message.changes[0].origin for message in found]
    assert [(origin.kind, origin.note) for origin in origins] == [
        (pb.ORIGIN_KIND_OVERRIDE_SET, "ann"),
        (pb.ORIGIN_KIND_OVERRIDE_CLEARED, "bob"),
    ]


# Reverts.


def test_a_revert_leaves_the_override_and_reverts_what_is_beneath(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1, "acme/two": 2}
    server.synced()
    bench.feed.prices = {"acme/one": 10, "acme/two": 20}
    run = server.synced()
    override(server)
    done = server.revert(run.run.sync_run_id)
    assert [one.model_id for one in done.price_changes] == ["acme/two"]
    assert not done.refused
    assert (server.prompt("acme/one"), server.prompt("acme/two")) == ("7.00", "2.00")
    cleared = clear(server)
    assert (cleared.price_change.new_input, server.prompt("acme/one")) == ("1.00", "1.00")


def test_only_a_quote_beneath_can_be_all_that_a_revert_changes(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    bench.feed.prices = {"acme/one": 10}
    run = server.synced()
    set_ = override(server)
    done = server.revert(run.run.sync_run_id)
    assert (done.models_reverted, done.table.revision, list(done.refused)) == (
        0,
        set_.table.revision,
        [],
    )
    assert accepted(server, "acme/one", pb.PRICING_SOURCE_DATABASE).prompt == "1.00"
    again = server.revert(run.run.sync_run_id)
    assert [(one.model_id, one.revision) for one in again.refused] == [
        ("acme/one", set_.table.revision)
    ]


def test_a_run_is_reverted_though_an_override_came_and_went_since(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1, "acme/two": 2}
    server.synced()
    bench.feed.prices = {"acme/one": 10, "acme/two": 20}
    run = server.synced()
    override(server)
    override(server, "acme/two")
    bench.feed.prices = {"acme/one": 10, "acme/two": 21}
    server.synced()
    clear(server)
    cleared = clear(server, "acme/two")
    done = server.revert(run.run.sync_run_id)
    assert (server.prompt("acme/one"), server.prompt("acme/two")) == ("1.00", "21.00")
    assert [(one.model_id, one.revision) for one in done.refused] == [
        ("acme/two", cleared.table.revision)
    ]


def test_a_run_that_came_after_an_override_ended_unseen_is_reverted_to_a_source(
    bench: Bench, server: ServerProcess
) -> None:
    override(server, prompt="1", completion="2")
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    assert not clear(server).HasField("price_change")
    bench.feed.prices = {"acme/one": 5}
    run = server.synced()
    server.revert(run.run.sync_run_id)
    pricing = server.get("acme/one").pricing
    assert (pricing.prompt, pricing.pricing_source) == ("1.00", pb.PRICING_SOURCE_DATABASE)


def test_a_model_that_only_a_cleared_override_priced_leaves_lists_and_matching(
    bench: Bench, server: ServerProcess
) -> None:
    def listed_ids() -> set[tuple[str, str]]:
        request = pb.ListPricingRequest(page_size=1000, text="made-up", include_delisted=True)
        response = server.stub.ListPricing(request, timeout=CALL_SECONDS)
        return {(each.provider, each.model_id) for each in response.pricing}

    def sellers() -> dict[str, tuple[int, int]]:
        response = server.stub.ListProviders(
            pb.ListProvidersRequest(page_size=1000), timeout=CALL_SECONDS
        )
        return {
            each.provider: (each.models_listed, each.models_unpriced) for each in response.providers
        }

    def tried(name: str, provider: str | None = None) -> pb.ExplainMatchResponse:
        request = pb.ExplainMatchRequest(name=name, provider=provider)
        return server.stub.ExplainMatch(request, timeout=CALL_SECONDS)

    bench.feed.prices = {"acme/one": 1}
    server.synced()
    before = sellers()
    override(server, "made-up", "new-seller")
    override(server, "acme/made-up")
    assert listed_ids() == {("new-seller", "made-up"), ("openrouter", "acme/made-up")}
    assert sellers()["new-seller"] == (1, 0)
    assert tried("Made-Up", "new-seller").match.model_id == "made-up"
    clear(server, "made-up", "new-seller")
    clear(server, "acme/made-up")
    assert listed_ids() == set()
    assert sellers() == before
    assert not tried("Made-Up", "new-seller").HasField("match")
    assert not tried("made-up").HasField("match")
    # By its own name it is known as what has no price, and so is its history.
    assert server.get("made-up", "new-seller").pricing.state == pb.PRICE_STATE_UNPRICED
    kinds = [change.kind for change in changes_of(server, "made-up", "new-seller")]
    assert kinds == [pb.CHANGE_KIND_CHANGED, pb.CHANGE_KIND_ADDED]
    override(server, "made-up", "new-seller")
    assert listed_ids() == {("new-seller", "made-up")}
    clear(server, "made-up", "new-seller")
    bench.feed.prices = {"acme/one": 1, "acme/made-up": 2}
    server.synced()
    assert listed_ids() == {("openrouter", "acme/made-up")}


def test_what_a_cleared_override_left_behind_is_in_nobodys_way(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    assert server.prompt("Acme/One") == "1.00"
    override(server, "Acme/One")
    assert server.prompt("Acme/One") == "7.00"
    clear(server, "Acme/One")
    assert server.prompt("Acme/One") == "1.00"


# A patch.

CACHED = [
    pb.MeterQuantity(meter=pb.METER_INPUT_TOKENS, quantity="100000"),
    pb.MeterQuantity(meter=pb.METER_CACHE_READ_TOKENS, quantity="90000"),
    pb.MeterQuantity(meter=pb.METER_OUTPUT_TOKENS, quantity="1000"),
]
SONNET = ("claude-sonnet-4-5", "anthropic")


def total(server: ServerProcess, model_id: str, provider: str) -> str:
    """What a prompt costs of which most is read from a cache."""
    request = pb.CalculateCostRequest(model_id=model_id, provider=provider, usage=CACHED)
    return server.stub.CalculateCost(request, timeout=CALL_SECONDS).cost.total


def test_an_override_of_two_prices_keeps_the_other_rates_that_sources_state(
    bench: Bench, server: ServerProcess
) -> None:
    listed = server.get(*SONNET).pricing
    assert total(server, *SONNET) == "0.072"
    override(server, *SONNET, prompt="3", completion="15", replace_card=False)
    assert total(server, *SONNET) == "0.072"
    cheaper = override(server, *SONNET, prompt="2", completion="10", replace_card=False)
    assert total(server, *SONNET) == "0.057"
    pricing = server.get(*SONNET).pricing
    assert pricing.pricing_source == pb.PRICING_SOURCE_OVERRIDE
    headline = {pb.METER_INPUT_TOKENS, pb.METER_OUTPUT_TOKENS}
    by_source: dict[str, list[pb.Rate]] = {}
    for rate in pricing.rates:
        by_source.setdefault(rate.source, []).append(rate)
    assert by_source.keys() == {"override", "genai-prices"}
    assert {rate.meter for rate in by_source["override"]} == headline
    kept = [r for r in listed.rates if r.meter not in headline or r.conditions.context]
    assert by_source["genai-prices"] == kept
    assert len(cheaper.price_override.rate_card.rates) == 2
    assert not cheaper.price_override.replace_card
    preview = override(
        server, *SONNET, prompt="3", completion="15", replace_card=True, dry_run=True
    ).preview
    # A web search is in the sample, and would have no price either.
    assert (preview.old_cost.total, preview.new_cost.total) == ("0.0173", "0.0135")
    assert [one.meter for one in preview.new_cost.unpriced] == [pb.METER_WEB_SEARCHES]
    whole = override(server, *SONNET, prompt="3", completion="15", replace_card=True)
    assert whole.price_override.replace_card
    assert total(server, *SONNET) == "0.315"
    clear(server, "claude-sonnet-4-5", "anthropic")
    assert server.get(*SONNET).pricing.rates == listed.rates


def test_what_a_patch_leaves_changes_with_the_sources(bench: Bench, server: ServerProcess) -> None:
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    done = override(server, prompt="3", replace_card=False)
    assert server.get("acme/one").pricing.completion == "2.00"
    bench.feed.prices = {"acme/one": 2}
    run = server.synced()
    assert run.run.revision == done.table.revision + 1
    pricing = server.get("acme/one").pricing
    assert (pricing.prompt, pricing.completion) == ("3.00", "4.00")
    change = changes_of(server)[0]
    assert (change.origin.kind, change.source) == (pb.ORIGIN_KIND_SYNC, "override")
    assert (change.old_output, change.new_output) == ("2.00", "4.00")
    assert accepted(server, "acme/one", pb.PRICING_SOURCE_DATABASE).prompt == "2.00"
    cleared = clear(server).price_change
    assert (cleared.old_input, cleared.new_input) == ("3.00", "2.00")
    assert (cleared.old_output, cleared.new_output) == ("4.00", "4.00")


def test_a_revert_of_a_run_beneath_a_patch_says_what_it_leaves(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    override(server, prompt="3", replace_card=False)
    bench.feed.prices = {"acme/one": 2}
    run = server.synced()
    done = server.revert(run.run.sync_run_id)
    assert (done.models_reverted, [one.model_id for one in done.refused]) == (0, ["acme/one"])
    assert done.refused[0].reason == pb.REFUSED_REVERT_REASON_BENEATH_OVERRIDE
    pricing = server.get("acme/one").pricing
    assert (pricing.prompt, pricing.completion) == ("3.00", "4.00")


def test_a_percent_is_taken_of_every_rate_and_follows_the_sources(
    bench: Bench, server: ServerProcess
) -> None:
    def take(
        percent: str, model_id: str = "acme/one", **fields: Any
    ) -> pb.SetPriceOverrideResponse:
        names: dict[str, Any] = {
            "provider": "openrouter",
            "model_id": model_id,
            "reason": "contract",
        }
        request = pb.SetPriceOverrideRequest(**names, percent=percent, **fields)
        return server.stub.SetPriceOverride(request, timeout=CALL_SECONDS)

    bench.feed.prices = {"acme/one": 1, "acme/free": 0, "acme/unpriced": None}
    server.synced()
    done = take("85")
    assert done.price_override.percent == "85"
    pricing = server.get("acme/one").pricing
    assert (pricing.prompt, pricing.completion) == ("0.85", "1.70")
    assert {rate.source for rate in pricing.rates} == {"override"}
    before = datetime.now(UTC)
    bench.feed.prices = {"acme/one": 2, "acme/free": 0, "acme/unpriced": None}
    server.synced()
    assert server.prompt("acme/one") == "1.70"
    change = changes_of(server)[0]
    assert change.effective_time.ToDatetime(UTC) > before - timedelta(seconds=5)
    assert change.effective_time.ToDatetime() > done.price_override.set_time.ToDatetime()
    # It is of what the sources state, and not of the override before it.
    assert take("50").price_change.new_input == "1.00"
    with pytest.raises(grpc.RpcError) as error:
        take("5")
    assert refusal(error.value)[0] == "CONFIRM_REQUIRED"
    bench.feed.prices = {"acme/one": None, "acme/free": 0, "acme/unpriced": None}
    for model_id in ("acme/free", "acme/unpriced", "acme/made-up"):
        with pytest.raises(grpc.RpcError) as error:
            take("50", model_id, register=True)
        assert refusal(error.value)[0] == "MODEL_NOT_PRICED"
    clear(server)
    assert server.prompt("acme/one") == "2.00"


def test_a_model_that_is_declared_free_is_free_of_all(bench: Bench, server: ServerProcess) -> None:
    done = override(server, *SONNET, free=True, confirm=True, replace_card=False)
    assert done.price_override.replace_card
    assert total(server, *SONNET) == "0"


# Asked once more.


def state_of_table(bench: Bench) -> list[Any]:
    """All that an override may write, and the head."""
    return [
        bench.rows(f"SELECT * FROM {table} ORDER BY 1, 2")
        for table in (
            "price_table_head",
            "providers",
            "models",
            "price_quotes",
            "model_pricing",
            "price_overrides",
            "model_pricing_history",
        )
    ]


def failed(server: ServerProcess, *names: str, **fields: Any) -> tuple[str, str, dict[str, str]]:
    """The status, reason and metadata with which an override is refused."""
    with pytest.raises(grpc.RpcError) as error:
        override(server, *names, **fields)
    reason, metadata = refusal(error.value)
    return error.value.code().name, reason, metadata


def test_a_dry_run_shows_both_cards_and_a_sample_cost_and_writes_nothing(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    before = state_of_table(bench)
    tried = override(server, prompt="100", completion="2", dry_run=True, view=pb.CHANGE_VIEW_FULL)
    assert state_of_table(bench) == before
    assert server.prompt("acme/one") == "1.00"
    assert not tried.HasField("price_override")
    preview = tried.preview
    assert preview.needs_confirm
    assert [rate.price for rate in preview.old_rate_card.rates] == ["0.000001", "0.000002"]
    assert [rate.price for rate in preview.new_rate_card.rates] == ["0.0001", "0.000002"]
    assert {one.meter: one.quantity for one in preview.sample_usage} == {
        pb.METER_INPUT_TOKENS: "2000",
        pb.METER_OUTPUT_TOKENS: "500",
        pb.METER_CACHE_READ_TOKENS: "1000",
    }
    assert (preview.old_cost.total, preview.new_cost.total) == ("0.003", "0.201")
    change = tried.price_change
    assert (change.old_rate_card, change.new_rate_card) == (
        preview.old_rate_card,
        preview.new_rate_card,
    )
    assert not change.HasField("revision")
    assert not change.origin.HasField("override_id")
    done = override(server, prompt="100", completion="2", confirm=True)
    assert tried.table.revision + 1 == done.table.revision
    assert done.price_change.new_input == change.new_input
    assert not done.HasField("preview")


def test_a_dry_run_of_a_new_model_registers_nothing(bench: Bench, server: ServerProcess) -> None:
    before = state_of_table(bench)
    tried = override(server, "made-up", "new-seller", prompt="3", dry_run=True)
    assert tried.price_change.kind == pb.CHANGE_KIND_ADDED
    assert not tried.preview.HasField("old_rate_card")
    assert not tried.preview.HasField("old_cost")
    assert not tried.preview.needs_confirm
    assert tried.preview.new_cost.unpriced[0].meter == pb.METER_OUTPUT_TOKENS
    assert state_of_table(bench) == before


def test_a_dry_run_of_a_clearance_shows_what_would_be_in_force(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    override(server)
    before = state_of_table(bench)
    request = pb.ClearPriceOverrideRequest(
        provider="openrouter", model_id="acme/one", cleared_by="bob", dry_run=True
    )
    tried = server.stub.ClearPriceOverride(request, timeout=CALL_SECONDS)
    assert state_of_table(bench) == before
    assert server.prompt("acme/one") == "7.00"
    assert (tried.price_change.old_input, tried.price_change.new_input) == ("7.00", "1.00")
    assert tried.preview.new_rate_card.rates[0].price == "0.000001"
    assert clear(server).price_change.new_input == "1.00"


def test_a_price_over_ten_times_off_what_is_in_force_needs_to_be_confirmed(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    override(server, prompt="10", completion="0.2")
    before = state_of_table(bench)
    named = {"provider": "openrouter", "model_id": "acme/one"}
    # Not the override before it, which may be wrong itself, but what holds without one.
    assert failed(server, prompt="10.01") == (
        "FAILED_PRECONDITION",
        "CONFIRM_REQUIRED",
        {**named, "price": "prompt", "override_price": "10.01", "stated_price": "1.00"},
    )
    assert failed(server, completion="0.19") == (
        "FAILED_PRECONDITION",
        "CONFIRM_REQUIRED",
        {**named, "price": "completion", "override_price": "0.19", "stated_price": "2.00"},
    )
    assert failed(server, free=True)[2]["override_price"] == "0.00"
    assert state_of_table(bench) == before
    assert override(server, free=True, confirm=True).price_change.new_state == pb.PRICE_STATE_FREE


def test_a_name_that_nobody_knows_is_registered_only_if_the_curator_says_so(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    before = state_of_table(bench)
    status, reason, metadata = failed(server, "acme/oen", register=False)
    assert (status, reason) == ("NOT_FOUND", "MODEL_NOT_FOUND")
    assert metadata["model_id"] == "acme/oen"
    assert "openrouter:acme/one" in metadata["near_matches"]
    status, reason, metadata = failed(server, "acme/one", "opnrouter", register=False)
    assert (status, reason) == ("NOT_FOUND", "PROVIDER_NOT_FOUND")
    assert metadata["near_matches"].startswith("openrouter")
    assert failed(server, "acme/oen", register=False, dry_run=True)[1] == "MODEL_NOT_FOUND"
    assert state_of_table(bench) == before
    assert override(server, "acme/one", register=False).HasField("price_change")
    override(server, "acme/oen")
    assert override(server, "acme/oen", prompt="8", register=False).HasField("price_change")
    clear(server, "acme/oen")
    assert failed(server, "acme/oen", register=False)[1] == "MODEL_NOT_FOUND"
    assert override(server, "acme/oen").price_change.kind == pb.CHANGE_KIND_CHANGED


# Listed.


def listed(server: ServerProcess, **fields: Any) -> list[pb.PriceOverride]:
    """All overrides of a list, read page by page."""
    found: list[pb.PriceOverride] = []
    token = ""
    while True:
        request = pb.ListPriceOverridesRequest(page_size=2, page_token=token, **fields)
        response = server.stub.ListPriceOverrides(request, timeout=CALL_SECONDS)
        found += response.price_overrides
        token = response.next_page_token
        if not token:
            return found


def test_overrides_in_force_are_listed_newest_first_page_by_page(
    bench: Bench, server: ServerProcess
) -> None:
    assert listed(server) == []
    wanted = [("acme", "b"), ("acme", "a"), ("openrouter", "acme/one"), ("x-ai", "a")]
    done = {
        (provider, model): override(server, model, provider, until_time=in_seconds(3_600))
        for provider, model in wanted
    }
    assert listed(server) == [done[name].price_override for name in reversed(wanted)]
    assert listed(server, provider="XAI") == [done["x-ai", "a"].price_override]
    assert listed(server, provider="nobody") == []
    assert [each.provider for each in listed(server, model_id="a")] == ["x-ai", "acme"]
    assert [each.provider for each in listed(server, model_id="a", provider="acme")] == ["acme"]
    again = override(server, "a", "acme", prompt="8").price_override
    assert listed(server, provider="acme")[0] == again
    assert again.override_id != done["acme", "a"].price_override.override_id
    assert again.state == pb.PRICE_OVERRIDE_STATE_IN_FORCE
    clear(server, "b", "acme")
    assert [each.model_id for each in listed(server, provider="acme")] == ["a"]


def test_past_overrides_are_listed_with_how_each_ended(bench: Bench, server: ServerProcess) -> None:
    replaced = override(server, prompt="6").price_override
    cleared = override(server, set_by="eve").price_override
    clear(server)
    ended = override(server, until_time=in_seconds(1)).price_override
    override(server, "acme/two")
    past = [pb.PRICE_OVERRIDE_STATE_PAST]
    until(lambda: len(listed(server, states=past)) == 3, "the end", 5)
    found = listed(server, states=past)
    assert [each.override_id for each in found] == [
        each.override_id for each in (ended, cleared, replaced)
    ]
    assert [(each.end.kind, each.end.actor, each.end.note) for each in found] == [
        (pb.ORIGIN_KIND_OVERRIDE_ENDED, "server", ""),
        (pb.ORIGIN_KIND_OVERRIDE_CLEARED, "admin", "bob"),
        (pb.ORIGIN_KIND_OVERRIDE_SET, "admin", "eve"),
    ]
    assert found[2].end.end_time == cleared.set_time
    assert ended.until_time.ToDatetime() <= found[0].end.end_time.ToDatetime()
    for each in found:
        assert each.state == pb.PRICE_OVERRIDE_STATE_PAST
        assert each.set_time.ToDatetime() <= each.end.end_time.ToDatetime()
    assert (found[2].rate_card, found[2].reason) == (replaced.rate_card, replaced.reason)
    both = listed(server, states=[*past, pb.PRICE_OVERRIDE_STATE_IN_FORCE])
    assert [each.model_id for each in both] == ["acme/two", *["acme/one"] * 3]
    assert [each.state for each in both][:2] == [pb.PRICE_OVERRIDE_STATE_IN_FORCE, *past]
    assert not both[0].HasField("end")


# Ends.


def test_an_override_ends_in_time_on_a_running_server(bench: Bench, server: ServerProcess) -> None:
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    ends = in_seconds(2)
    done = override(server, until_time=ends)
    pricing = server.get("acme/one").pricing
    assert pricing.valid_until_time == ends == done.price_override.until_time
    until(lambda: len(changes_of(server)) == 3, "the end", 5)
    change = changes_of(server)[0]
    assert (change.origin.kind, change.origin.actor, change.new_input) == (
        pb.ORIGIN_KIND_OVERRIDE_ENDED,
        "server",
        "1.00",
    )
    late = change.changed_time.ToDatetime() - ends.ToDatetime()
    assert timedelta(0) <= late
    print(f"ended {late.total_seconds():.3f} s after its end")
    pricing = server.get("acme/one").pricing
    assert (pricing.prompt, pricing.pricing_source) == ("1.00", pb.PRICING_SOURCE_DATABASE)
    assert not pricing.HasField("valid_until_time")


def test_an_override_that_ended_while_nothing_ran_is_gone_when_a_server_starts(
    bench: Bench,
) -> None:
    server = bench.start()
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    override(server, "acme/open")
    override(server, until_time=in_seconds(1))
    server.dispose()
    until(
        lambda: bench.rows("SELECT until FROM price_overrides WHERE until < clock_timestamp()"),
        "the end of the override",
    )
    again = bench.start()
    assert again.prompt("acme/one") == "1.00"
    until(lambda: len(changes_of(again)) == 3, "the written end", 5)
    assert again.prompt("acme/open") == "7.00"


def test_three_processes_see_an_override_and_end_it_exactly_once(bench: Bench) -> None:
    servers = [bench.start() for _ in range(3)]
    bench.feed.prices = {f"acme/{number}": 1 for number in range(5)}
    servers[0].synced()
    ends = in_seconds(4)
    for number in range(5):
        override(servers[number % 3], f"acme/{number}", until_time=ends)
        for each in servers:
            until(
                lambda each=each, number=number: each.prompt(f"acme/{number}") == "7.00",  # type: ignore[misc]
                "the override on every process",
                SOON_SECONDS,
            )
    for number in range(5):
        for each in servers:
            until(
                lambda each=each, number=number: each.prompt(f"acme/{number}") == "1.00",  # type: ignore[misc]
                "its end on every process",
                10,
            )
    until(
        lambda: not bench.rows("SELECT until FROM price_overrides WHERE cleared_at IS NULL"),
        "all ends",
    )
    ended = bench.rows(
        "SELECT revision, count(*) FROM model_pricing_history "
        "WHERE origin_kind = 'override_ended' GROUP BY revision"
    )
    assert sum(row["count"] for row in ended) == 5
    assert len(ended) == 1


# Refusals.


def test_there_is_nothing_to_clear_where_nothing_was_set(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    override(server, "acme/cleared")
    clear(server, "acme/cleared")
    for model_id in ("acme/one", "acme/unknown", "acme/cleared"):
        with pytest.raises(grpc.RpcError) as error:
            clear(server, model_id)
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
        assert refusal(error.value) == (
            "OVERRIDE_NOT_FOUND",
            {"provider": "openrouter", "model_id": model_id},
        )


def test_only_an_admin_sets_and_clears(bench: Bench) -> None:
    server = bench.start(PRICING_ADMIN_TOKEN="correct-horse")
    for call in (override, clear):
        with pytest.raises(grpc.RpcError) as error:
            call(server)
        assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_overrides_are_no_source_and_cannot_be_synced(server: ServerProcess) -> None:
    override(server)
    listed = server.stub.ListSources(pb.ListSourcesRequest(), timeout=CALL_SECONDS)
    assert "override" not in {source.source for source in listed.sources}
    with pytest.raises(grpc.RpcError) as error:
        server.sync("override")
    assert refusal(error.value)[0] == "SOURCE_NOT_FOUND"


def test_the_record_of_overrides_is_not_rewritten(bench: Bench, server: ServerProcess) -> None:
    override(server)
    clear(server)
    for statement in (
        "UPDATE price_overrides SET cleared_by = 'eve'",
        "UPDATE price_overrides SET cleared_at = NULL, cleared_kind = NULL, cleared_actor = NULL,"
        " cleared_by = NULL",
        "DELETE FROM price_overrides",
        "TRUNCATE price_overrides CASCADE",
    ):
        with pytest.raises(Exception, match=r"once|append-only"):
            bench.rows(statement)
