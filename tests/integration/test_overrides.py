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
    """Set one of USD 7 per 1M tokens of input unless other prices are given."""
    if not fields.keys() & {"prompt", "completion", "rates", "free"}:
        fields["prompt"] = "7"
    request = pb.SetPriceOverrideRequest(
        **{"provider": provider, "model_id": model_id, "reason": "a test", "set_by": "ann"} | fields
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


# Listed.


def test_overrides_in_force_are_listed_by_seller_and_model_page_by_page(
    bench: Bench, server: ServerProcess
) -> None:
    def listed(**fields: Any) -> list[pb.PriceOverride]:
        found: list[pb.PriceOverride] = []
        token = ""
        while True:
            request = pb.ListPriceOverridesRequest(page_size=2, page_token=token, **fields)
            response = server.stub.ListPriceOverrides(request, timeout=CALL_SECONDS)
            found += response.price_overrides
            token = response.next_page_token
            if not token:
                return found

    assert listed() == []
    wanted = [("acme", "b"), ("acme", "a"), ("openrouter", "acme/one"), ("x-ai", "c")]
    done = {
        (provider, model): override(server, model, provider, until_time=in_seconds(3_600))
        for provider, model in wanted
    }
    assert listed() == [done[name].price_override for name in sorted(done)]
    assert listed(provider="XAI") == [done["x-ai", "c"].price_override]
    assert listed(provider="nobody") == []
    again = override(server, "a", "acme", prompt="8").price_override
    assert listed(provider="acme")[0] == again
    assert again.override_id != done["acme", "a"].price_override.override_id
    clear(server, "b", "acme")
    assert [each.model_id for each in listed(provider="acme")] == ["a"]


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
