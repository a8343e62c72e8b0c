"""An unchanged answer confirms what was applied of it, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from llmpricing.v1 import pricing_pb2 as pb
from tests.integration._database import connected, rows, value
from tests.integration._feed import Feed, payload, recording, row
from tests.integration._server import Server, in_process_server

ONE, TWO = row("acme/one"), row("acme/two")


def asked_with(feed: Feed) -> str | None:
    """What the last request says is known."""
    return feed.requests[-1].get("If-None-Match") or feed.requests[-1].get("if-none-match")


def quotes(conninfo: str) -> dict[str, dict[str, Any]]:
    found = rows(
        conninfo,
        "SELECT model_id, obtained_at, sync_run_id, missing_syncs, card_id, is_confirmed"
        " FROM price_quotes JOIN models USING (model_key) WHERE source = 'openrouter'",
    )
    return {each["model_id"]: each for each in found}


def codes(response: pb.SyncProviderResponse) -> set[str]:
    return {notice.code for notice in response.run.notices}


async def test_a_304_confirms_every_price_and_changes_none(server: Server, feed: Feed) -> None:
    feed.answer(payload(ONE, TWO), etag='"1"')
    first = await server.synced()
    before = quotes(server.conninfo)
    verified = (await server.price("acme/one")).verified_time.ToDatetime()
    second = await server.synced()
    assert asked_with(feed) == '"1"'
    assert second.run.revision == first.run.revision
    assert (second.run.models_fetched, second.run.models_unchanged, second.run.errors) == (2, 2, 0)
    assert not second.price_changes
    assert "not_modified" in codes(second)
    after = quotes(server.conninfo)
    for model_id, quote in after.items():
        assert quote["obtained_at"] > before[model_id]["obtained_at"]
        assert str(quote["sync_run_id"]) == second.run.sync_run_id
        assert quote["card_id"] == before[model_id]["card_id"]
    assert (await server.price("acme/one")).verified_time.ToDatetime() > verified
    third = await server.synced()
    assert third.run.models_unchanged == 2
    assert [notice.code for notice in third.run.notices].count("not_modified") == 1


async def test_what_was_noticed_in_the_answer_is_told_again(server: Server, feed: Feed) -> None:
    feed.answer(payload(row("acme/one", surprise="1")), etag='"1"')
    await server.synced()
    assert codes(await server.synced()) == {"unknown_key:surprise", "not_modified"}


async def test_a_changed_answer_is_applied_and_named_anew(server: Server, feed: Feed) -> None:
    feed.answer(payload(ONE), etag='"1"')
    await server.synced()
    feed.answer(payload(row("acme/one", "0.000003")), etag='"2"')
    assert (await server.synced()).run.models_updated == 1
    await server.synced()
    assert asked_with(feed) == '"2"'
    assert (await server.price("acme/one")).prompt == "3.00"


async def test_a_restarted_server_still_knows_the_answer(database: str, feed: Feed) -> None:
    feed.answer(payload(ONE), etag='"1"')
    for known in (None, '"1"'):
        async with in_process_server(database, feed) as server:
            await server.synced()
            assert asked_with(feed) == known


@pytest.mark.parametrize(
    "answer",
    [
        payload(ONE, {"id": "acme/broken"}),
        payload(ONE, TWO, TWO),
    ],
    ids=["unreadable row", "row twice"],
)
async def test_an_answer_with_faulty_rows_is_asked_for_again(
    server: Server, feed: Feed, answer: dict[str, Any]
) -> None:
    feed.answer(answer, etag='"1"')
    assert (await server.synced()).run.errors
    assert (await server.synced()).run.errors
    assert asked_with(feed) is None


async def test_a_dry_run_asks_for_everything_and_is_no_answer_to_confirm(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(ONE), etag='"1"')
    await server.synced(dry_run=True)
    await server.synced()
    assert asked_with(feed) is None
    await server.synced(dry_run=True)
    assert asked_with(feed) is None


async def test_a_failed_run_is_no_answer_to_confirm(server: Server, feed: Feed) -> None:
    feed.answer(payload(ONE), etag='"1"')
    await server.synced()
    feed.answer(b"<html>", etag='"2"')
    assert (await server.sync()).run.status == pb.SYNC_STATUS_FAILED
    feed.answer(payload(ONE), etag='"1"')
    await server.synced()
    assert asked_with(feed) == '"1"'


async def test_what_was_skipped_is_asked_for_again(server: Server, feed: Feed) -> None:
    feed.answer(payload(ONE), etag='"1"')
    await server.synced(unknown_models=pb.UNKNOWN_MODELS_SKIP)
    assert (await server.synced()).run.models_registered == 1


async def test_after_a_revert_everything_is_read_again(server: Server, feed: Feed) -> None:
    feed.answer(payload(row("acme/one", "0.000001")), etag='"1"')
    await server.synced()
    feed.answer(payload(row("acme/one", "0.000002")), etag='"2"')
    second = await server.synced()
    await server.stub.RevertSyncRun(pb.RevertSyncRunRequest(sync_run_id=second.run.sync_run_id))
    assert (await server.price("acme/one")).prompt == "1.00"
    third = await server.synced()
    assert asked_with(feed) is None
    assert (third.run.models_updated, (await server.price("acme/one")).prompt) == (1, "2.00")


async def test_what_a_revert_made_unconfirmed_is_not_confirmed_by_a_304(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(row("acme/one", "0.000001")), etag='"1"')
    await server.synced()
    request = pb.SetPriceOverrideRequest(
        provider="openrouter",
        model_id="acme/one",
        prompt="7",
        register=True,
        reason="a test",
        set_by="ann",
    )
    await server.stub.SetPriceOverride(request)
    feed.answer(payload(row("acme/one", "0.000002")), etag='"2"')
    second = await server.synced()
    await server.stub.RevertSyncRun(pb.RevertSyncRunRequest(sync_run_id=second.run.sync_run_id))
    assert not quotes(server.conninfo)["acme/one"]["is_confirmed"]
    await server.synced()
    assert asked_with(feed) is None, "everything is read again"
    assert quotes(server.conninfo)["acme/one"]["is_confirmed"]


async def test_a_model_that_waits_to_be_delisted_needs_a_second_full_answer(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(ONE, TWO), etag='"1"')
    await server.synced()
    feed.answer(payload(ONE), etag='"2"')
    await server.synced()
    await server.synced()
    assert asked_with(feed) is None
    assert (await server.price("acme/two")).HasField("delisted_time")
    fourth = await server.synced()
    assert asked_with(feed) == '"2"'
    assert (fourth.run.models_unchanged, fourth.run.models_missing) == (1, 1)


async def test_a_price_that_is_no_longer_stated_stays_unconfirmed(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(ONE, TWO), etag='"1"')
    await server.synced()
    feed.answer(payload(ONE, row("acme/two", "0", "0")), etag='"2"')
    await server.synced()
    before = quotes(server.conninfo)
    third = await server.synced()
    assert asked_with(feed) == '"2"'
    after = quotes(server.conninfo)
    assert after["acme/two"]["obtained_at"] == before["acme/two"]["obtained_at"]
    assert after["acme/one"]["obtained_at"] > before["acme/one"]["obtained_at"]
    assert "price_no_longer_stated" in codes(third)


async def test_a_rate_that_is_no_longer_stated_stays_unconfirmed(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(ONE, TWO), etag='"1"')
    await server.synced()
    feed.answer(payload(ONE, row("acme/two", "0.000003", "0")), etag='"2"')
    await server.synced()
    before = quotes(server.conninfo)["acme/two"]
    assert not before["is_confirmed"]
    third = await server.synced()
    assert asked_with(feed) == '"2"'
    assert codes(third) >= {"not_modified", "rate_no_longer_stated"}
    after = quotes(server.conninfo)["acme/two"]
    assert (after["obtained_at"], after["is_confirmed"]) == (before["obtained_at"], False)


async def test_a_recording_stays_as_old_as_it_says_it_is(server: Server, feed: Feed) -> None:
    feed.answer(recording("2026-08-21T20:25:14Z", ONE), etag='"1"')
    await server.synced()
    before = quotes(server.conninfo)["acme/one"]
    again = await server.synced()
    assert asked_with(feed) is None
    assert again.run.models_unchanged == 1
    assert quotes(server.conninfo)["acme/one"]["obtained_at"] == before["obtained_at"]


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE source_validators SET asked = repeat('0', 64)",
        "UPDATE source_validators SET read_at = read_at - interval '24 hours'",
    ],
    ids=["another build or address", "a day old"],
)
async def test_other_code_and_a_day_s_age_read_everything_again(
    server: Server, feed: Feed, tamper: str
) -> None:
    feed.answer(payload(ONE), etag='"1"')
    await server.synced()
    with connected(server.conninfo) as connection:
        connection.execute(tamper.encode())
    await server.synced()
    assert asked_with(feed) is None


async def test_quotes_changed_behind_the_answer_are_read_in_full_by_the_same_run(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(ONE, TWO), etag='"1"')
    first = await server.synced()
    with connected(server.conninfo) as connection:
        connection.execute(
            "UPDATE price_quotes SET sync_run_id ="
            " (SELECT min(sync_run_id) FROM pricing_sync_log)"
            " WHERE sync_run_id = %(run)s AND model_key ="
            " (SELECT model_key FROM models WHERE model_id = 'acme/one')",
            {"run": int(first.run.sync_run_id)},
        )
    asked = len(feed.requests)
    second = await server.synced()
    assert len(feed.requests) == asked + 2
    assert (second.run.models_unchanged, codes(second)) == (2, set())


async def test_no_key_is_kept(database: str, feed: Feed) -> None:
    key = "sk-live-0123456789abcdef"
    feed.answer(payload(ONE), etag=f'"{key}"')
    async with in_process_server(database, feed, source_keys={"openrouter": key}) as server:
        await server.synced()
        await server.synced()
        assert asked_with(feed) is None
    assert value(database, "SELECT count(*) FROM source_validators") == 0


async def test_the_evidence_of_a_confirmed_price_is_what_was_fetched(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(ONE), etag='"1"')
    await server.synced()
    request = pb.ExplainPriceRequest(model_id="acme/one", provider="openrouter")
    (read,) = (await server.stub.ExplainPrice(request)).quotes
    again = await server.synced()
    (confirmed,) = (await server.stub.ExplainPrice(request)).quotes
    assert confirmed.sync_run_id == again.run.sync_run_id
    assert read.payload_sha256
    assert (confirmed.payload_url, confirmed.payload_sha256, confirmed.first_stated_time) == (
        read.payload_url,
        read.payload_sha256,
        read.first_stated_time,
    )
    assert confirmed.verified_time.ToDatetime() > read.verified_time.ToDatetime()


async def test_an_override_outlasts_a_304(server: Server, feed: Feed) -> None:
    feed.answer(payload(ONE), etag='"1"')
    await server.synced()
    override = pb.SetPriceOverrideRequest(
        provider="openrouter", model_id="acme/one", prompt="7", register=True, reason="a test"
    )
    await server.stub.SetPriceOverride(override)
    run = await server.synced()
    assert "not_modified" in codes(run)
    assert (await server.price("acme/one")).prompt == "7.00"
