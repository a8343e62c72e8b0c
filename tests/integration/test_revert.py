"""A revert restores the prices before a run, as a revision of its own, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from llmpricing.v1 import pricing_pb2 as pb
from tests.integration._runs import FULL, Bench, ServerProcess, bench_on, refusal
from tests.integration._server import CALL_SECONDS

pytestmark = pytest.mark.integration

SHARED = "anthropic/claude-3-haiku"
"""The bundled catalogue states what OpenRouter charges for it, too."""


@pytest.fixture
def bench(cluster: str, catalogue_template: str) -> Iterator[Bench]:
    with bench_on(cluster, catalogue_template) as bench:
        yield bench
        bench.assert_whole()


@pytest.fixture
def server(bench: Bench) -> ServerProcess:
    return bench.start()


def override(server: ServerProcess, model_id: str) -> pb.SetPriceOverrideResponse:
    request = pb.SetPriceOverrideRequest(
        provider="openrouter",
        model_id=model_id,
        prompt="7",
        register=True,
        replace_card=True,
        reason="a test",
        set_by="ann",
    )
    return server.stub.SetPriceOverride(request, timeout=CALL_SECONDS)


def clear_override(server: ServerProcess, model_id: str) -> pb.ClearPriceOverrideResponse:
    request = pb.ClearPriceOverrideRequest(provider="openrouter", model_id=model_id)
    return server.stub.ClearPriceOverride(request, timeout=CALL_SECONDS)


def confirmed_by_source(server: ServerProcess, model_id: str) -> dict[str, bool]:
    """Whether each source's statement of a model is confirmed."""
    request = pb.ExplainPriceRequest(provider="openrouter", model_id=model_id)
    quotes = server.stub.ExplainPrice(request, timeout=CALL_SECONDS).quotes
    return {quote.source: quote.is_confirmed for quote in quotes}


def quotes_and_validators(bench: Bench) -> list[dict[str, Any]]:
    """All that a revert may write where it changes no price."""
    found = bench.rows("SELECT * FROM price_quotes ORDER BY model_key, source")
    return found + bench.rows("SELECT * FROM source_validators ORDER BY source")


def changes_of(server: ServerProcess, model_id: str) -> list[pb.PriceChange]:
    request = pb.ListPriceChangesRequest(provider="openrouter", model_id=model_id, **FULL)
    return list(server.stub.ListPriceChanges(request, timeout=CALL_SECONDS).changes)


def test_the_prices_before_the_run_are_in_force_again(bench: Bench, server: ServerProcess) -> None:
    bench.feed.prices = {"acme/one": 1, "acme/two": 2, "acme/same": 9}
    server.synced()
    first_card = server.get("acme/one").pricing.rate_card_id
    bench.feed.prices = {"acme/one": 10, "acme/two": 20, "acme/same": 9, "acme/new": 5}
    run = server.synced()
    assert server.prompt("acme/one") == "10.00"

    dry = server.revert(run.run.sync_run_id, dry_run=True)
    assert (dry.dry_run, dry.table.revision, dry.models_reverted) == (True, run.run.revision, 3)
    assert server.prompt("acme/one") == "10.00"
    assert len(changes_of(server, "acme/one")) == 2

    done = server.revert(run.run.sync_run_id, triggered_by="ann")
    assert (done.sync_run_id, done.dry_run) == (run.run.sync_run_id, False)
    assert (done.table.revision, done.models_reverted) == (run.run.revision + 1, 3)
    assert not done.refused
    assert {server.prompt(f"acme/{name}") for name in ("one", "two")} == {"1.00", "2.00"}
    answer = server.get("acme/one")
    assert answer.table.revision == answer.pricing.price_revision == done.table.revision
    assert answer.pricing.rate_card_id == first_card
    assert answer.pricing.freshness == pb.FRESHNESS_UNCONFIRMED, "nothing states it now"
    assert server.get("acme/same").pricing.freshness == pb.FRESHNESS_FRESH
    change = changes_of(server, "acme/one")[0]
    assert change.kind == pb.CHANGE_KIND_CHANGED
    assert (change.old_input, change.new_input) == ("10.00", "1.00")
    assert change.origin == pb.ChangeOrigin(
        kind=pb.ORIGIN_KIND_REVERT,
        actor="admin",
        note="ann",
        reverted_run_id=run.run.sync_run_id,
    )
    assert change.revision == done.table.revision
    assert [one for one in done.price_changes if one.model_id == "acme/one"] == [change]
    assert [(one.model_id, one.new_input) for one in dry.price_changes] == [
        (one.model_id, one.new_input) for one in done.price_changes
    ]


def test_a_model_that_the_run_added_stays_known_without_a_price(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/new": 5, "acme/unpriced": None}
    run = server.synced()
    done = server.revert(run.run.sync_run_id)
    assert [change.model_id for change in done.price_changes] == ["acme/new"]
    pricing = server.get("acme/new").pricing
    assert pricing.state == pb.PRICE_STATE_UNPRICED
    assert not pricing.HasField("prompt")
    assert server.get("acme/unpriced").pricing.state == pb.PRICE_STATE_UNPRICED


def test_a_model_that_changed_since_is_refused_and_left(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1, "acme/two": 2}
    server.synced()
    bench.feed.prices = {"acme/one": 10, "acme/two": 20}
    run = server.synced()
    bench.feed.prices = {"acme/one": 10, "acme/two": 21}
    later = server.synced()
    done = server.revert(run.run.sync_run_id)
    assert [(one.provider, one.model_id, one.revision) for one in done.refused] == [
        ("openrouter", "acme/two", later.run.revision)
    ]
    assert done.models_reverted == 1
    assert (server.prompt("acme/one"), server.prompt("acme/two")) == ("1.00", "21.00")


def test_the_second_revert_of_a_run_changes_nothing(bench: Bench, server: ServerProcess) -> None:
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    bench.feed.prices = {"acme/one": 10}
    run = server.synced()
    once = server.revert(run.run.sync_run_id)
    twice = server.revert(run.run.sync_run_id)
    assert (twice.models_reverted, twice.table.revision) == (0, once.table.revision)
    assert [one.revision for one in twice.refused] == [once.table.revision]
    assert server.prompt("acme/one") == "1.00"


def test_the_next_sync_of_the_same_source_states_its_price_again(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    bench.feed.prices = {"acme/one": 10}
    run = server.synced()
    server.revert(run.run.sync_run_id)
    assert server.synced().run.models_updated == 1
    assert server.prompt("acme/one") == "10.00"


def test_a_delisted_model_is_listed_again_until_the_next_news(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1, "acme/two": 2}
    server.synced()
    bench.feed.prices = {"acme/two": 2}
    server.synced()
    run = server.synced()
    assert server.get("acme/one").pricing.HasField("delisted_time")
    done = server.revert(run.run.sync_run_id)
    assert [one.kind for one in done.price_changes] == [pb.CHANGE_KIND_RESTORED]
    pricing = server.get("acme/one").pricing
    assert not pricing.HasField("delisted_time")
    assert pricing.prompt == "1.00"
    assert server.synced("genai-prices").run.revision == done.table.revision
    assert not server.get("acme/one").pricing.HasField("delisted_time")
    server.synced()
    assert server.get("acme/one").pricing.HasField("delisted_time")


def test_a_restored_model_is_delisted_again_at_its_old_price(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1, "acme/two": 2}
    server.synced()
    bench.feed.prices = {"acme/two": 2}
    server.synced()
    server.synced()
    bench.feed.prices = {"acme/one": 10, "acme/two": 2}
    run = server.synced()
    assert server.prompt("acme/one") == "10.00"
    done = server.revert(run.run.sync_run_id)
    assert [one.kind for one in done.price_changes] == [pb.CHANGE_KIND_DELISTED]
    pricing = server.get("acme/one").pricing
    assert pricing.HasField("delisted_time")
    assert pricing.prompt == "1.00"
    server.synced()
    assert server.prompt("acme/one") == "10.00"


def test_the_price_of_another_source_comes_back_with_its_name_and_stays(
    bench: Bench, server: ServerProcess
) -> None:
    before = server.get(SHARED).pricing
    assert "genai-prices" in before.source_detail
    bench.feed.prices = {SHARED: 7}
    run = server.synced()
    assert server.prompt(SHARED) == "7.00"
    done = server.revert(run.run.sync_run_id)
    for _ in range(2):
        after = server.get(SHARED).pricing
        assert after.rate_card_id == before.rate_card_id
        assert after.source_detail == before.source_detail
        assert after.verified_time == before.verified_time
        # A sync of the other source, whose data is the same.
        assert server.synced("genai-prices").run.revision == done.table.revision
    server.synced()
    assert server.prompt(SHARED) == "7.00"


def test_a_sync_of_another_source_does_not_bring_the_reverted_price_back(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {SHARED: 6}
    server.synced()
    bench.feed.prices = {SHARED: 7}
    run = server.synced()
    done = server.revert(run.run.sync_run_id)
    assert server.synced("genai-prices").run.revision == done.table.revision
    assert server.prompt(SHARED) == "6.00"


def test_the_bundled_catalogue_can_be_reverted_as_a_whole_and_read_again(
    bench: Bench, server: ServerProcess
) -> None:
    run = server.newest_run("genai-prices")
    done = server.revert(run.sync_run_id)
    assert done.models_reverted > 1_000
    assert server.table_prompt("gpt-4o", "openai") is None
    again = server.synced("genai-prices")
    assert again.run.models_updated == done.models_reverted
    assert server.table_prompt("gpt-4o", "openai") is not None


def test_only_a_run_that_succeeded_can_be_reverted(bench: Bench, server: ServerProcess) -> None:
    for unknown in ("4711", "nonsense", "9" * 40):
        with pytest.raises(grpc.RpcError) as error:
            server.revert(unknown)
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
        assert refusal(error.value) == ("SYNC_RUN_NOT_FOUND", {"sync_run_id": unknown})
    bench.feed.prices = {}
    failed = server.sync()
    assert failed.run.status == pb.SYNC_STATUS_FAILED
    for dry_run in (True, False):
        with pytest.raises(grpc.RpcError) as error:
            server.revert(failed.run.sync_run_id, dry_run=dry_run)
        assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert refusal(error.value) == (
            "RUN_NOT_REVERTIBLE",
            {"sync_run_id": failed.run.sync_run_id, "status": "failed"},
        )
    for fields in ({"triggered_by": "a" * 201}, {"triggered_by": "a\nb"}):
        with pytest.raises(grpc.RpcError) as error:
            server.revert("1", **fields)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_only_an_admin_reverts(bench: Bench) -> None:
    server = bench.start(PRICING_ADMIN_TOKEN="correct-horse")
    with pytest.raises(grpc.RpcError) as error:
        server.revert("1")
    assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED


# What the run stated without bringing it into force.


def test_what_a_run_stated_beneath_an_override_is_refused_and_unconfirmed_when_it_surfaces(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1, "acme/two": 2}
    server.synced()
    set_ = override(server, "acme/one")
    bench.feed.prices = {"acme/one": 10, "acme/two": 20}
    run = server.synced()
    assert (run.run.models_updated, run.run.models_held) == (1, 0)

    before = quotes_and_validators(bench)
    dry = server.revert(run.run.sync_run_id, dry_run=True)
    assert quotes_and_validators(bench) == before
    done = server.revert(run.run.sync_run_id)
    assert dry.refused == done.refused
    assert dry.quotes_unconfirmed == done.quotes_unconfirmed == 1
    assert done.models_reverted == 1
    (refused,) = done.refused
    assert (refused.provider, refused.model_id) == ("openrouter", "acme/one")
    assert refused.revision == set_.table.revision
    assert "sync openrouter again before clearing the override" in refused.message
    assert refused.reason == pb.REFUSED_REVERT_REASON_BENEATH_OVERRIDE
    assert (server.prompt("acme/one"), server.prompt("acme/two")) == ("7.00", "2.00")

    clear_override(server, "acme/one")
    pricing = server.get("acme/one").pricing
    assert (pricing.prompt, pricing.freshness) == ("10.00", pb.FRESHNESS_UNCONFIRMED)
    bench.feed.prices = {"acme/one": 1, "acme/two": 2}
    server.synced()
    pricing = server.get("acme/one").pricing
    assert (pricing.prompt, pricing.freshness) == ("1.00", pb.FRESHNESS_FRESH)


def test_beneath_an_override_the_second_revert_changes_nothing_and_says_the_same(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    override(server, "acme/one")
    bench.feed.prices = {"acme/one": 10}
    run = server.synced()
    once = server.revert(run.run.sync_run_id)
    before = quotes_and_validators(bench)
    twice = server.revert(run.run.sync_run_id)
    assert twice.refused == once.refused
    assert (twice.table.revision, twice.quotes_unconfirmed) == (once.table.revision, 0)
    assert quotes_and_validators(bench) == before


def test_what_surfaced_before_the_revert_is_refused_and_unconfirmed_at_once(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    override(server, "acme/one")
    bench.feed.prices = {"acme/one": 10}
    run = server.synced()
    cleared = clear_override(server, "acme/one")
    assert server.get("acme/one").pricing.freshness == pb.FRESHNESS_FRESH
    done = server.revert(run.run.sync_run_id)
    assert [(one.model_id, one.revision) for one in done.refused] == [
        ("acme/one", cleared.table.revision)
    ]
    assert (done.models_reverted, done.table.revision) == (0, cleared.table.revision)
    pricing = server.get("acme/one").pricing
    assert (pricing.prompt, pricing.freshness) == ("10.00", pb.FRESHNESS_UNCONFIRMED)


def test_what_a_source_stated_beneath_another_is_unconfirmed_until_it_states_it_again(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {SHARED: 7}
    server.synced()
    catalogue = server.newest_run("genai-prices")
    assert confirmed_by_source(server, SHARED) == {"openrouter": True, "genai-prices": True}
    done = server.revert(catalogue.sync_run_id)
    assert SHARED in {one.model_id for one in done.refused}
    assert done.quotes_unconfirmed >= 1
    assert confirmed_by_source(server, SHARED) == {"openrouter": True, "genai-prices": False}
    assert server.prompt(SHARED) == "7.00"
    server.synced("genai-prices")
    assert confirmed_by_source(server, SHARED) == {"openrouter": True, "genai-prices": True}


def test_the_revert_of_a_run_that_read_the_same_data_again_leaves_prices_confirmed(
    server: ServerProcess,
) -> None:
    again = server.synced("genai-prices")
    assert again.run.models_updated == 0
    done = server.revert(again.run.sync_run_id)
    assert (done.models_reverted, done.quotes_unconfirmed, len(done.refused)) == (0, 0, 0)
    assert confirmed_by_source(server, SHARED) == {"genai-prices": True}
