"""A sync applies what a source states: all of it, once, in one transaction, or nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.sync_run import COUNTS
from tests.integration._database import (
    contents,
    prices_only,
    rows,
    tables_only,
    value,
    wait_for_sessions_to_end,
    writes,
)
from tests.integration._feed import Feed, payload, recording, row
from tests.integration._server import Server, assert_counts_add_up, in_process_server
from tests.integration._status import refused

DAY_1 = "2026-01-01T00:00:00Z"
DAY_2 = "2026-01-02T00:00:00Z"
DAY_3 = "2026-01-03T00:00:00Z"
DAY_4 = "2026-01-04T00:00:00Z"

ONE, TWO = row("acme/one"), row("acme/two")


def by_model(response: pb.SyncProviderResponse) -> dict[str, pb.PriceChange]:
    return {change.model_id: change for change in response.price_changes}


def kinds(response: pb.SyncProviderResponse) -> dict[str, str]:
    return {
        change.model_id: pb.ChangeKind.Name(change.kind).removeprefix("CHANGE_KIND_")
        for change in response.price_changes
    }


# What changes ------------------------------------------------------------------------------------


async def test_a_changed_price_is_answered_at_once_though_the_old_one_was_cached(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(row("acme/one", "0.000001", "0.000002"), TWO))
    first = await server.synced()
    before = await server.get("acme/one", "openrouter")
    assert (before.pricing.prompt, before.pricing.completion) == ("1.00", "2.00")

    feed.answer(payload(row("acme/one", "0.0000011", "0.000002"), TWO))
    second = await server.synced()
    after = await server.get("acme/one", "openrouter")
    assert (after.pricing.prompt, after.pricing.completion) == ("1.10", "2.00")
    assert (
        after.table.revision
        == after.pricing.price_revision
        == second.run.revision
        == first.run.revision + 1
    )
    assert (second.run.models_updated, second.run.models_unchanged) == (1, 1)
    (change,) = second.price_changes
    assert change.kind == pb.CHANGE_KIND_CHANGED
    assert (change.old_input, change.new_input) == ("1.00", "1.10")
    (rate,) = change.rates
    assert rate.meter == pb.METER_INPUT_TOKENS
    assert (rate.old_price, rate.new_price) == ("0.000001", "0.0000011")
    assert (change.source, change.origin.kind) == ("openrouter", pb.ORIGIN_KIND_SYNC)
    assert (change.origin.actor, change.origin.note) == ("admin", "grpc")
    assert change.origin.sync_run_id == second.run.sync_run_id
    # What was not touched by it has kept the revision of its own change.
    assert (await server.price("acme/two")).price_revision == first.run.revision


async def test_the_smallest_real_change_is_a_change_and_binary_noise_is_none(
    server: Server, feed: Feed
) -> None:
    feed.answer(
        payload(row("acme/tiny", "0.00000100000000000"), row("acme/noise", "8.333333333333334E-8"))
    )
    first = await server.synced()
    feed.answer(
        payload(row("acme/tiny", "0.00000100000000001"), row("acme/noise", "8.33333333333333E-8"))
    )
    second = await server.synced()
    assert kinds(second) == {"acme/tiny": "CHANGED"}
    assert (await server.price("acme/tiny")).prompt == "1.00000000001"
    assert second.run.revision == first.run.revision + 1


async def test_the_same_data_again_changes_nothing_but_the_log(server: Server, feed: Feed) -> None:
    feed.answer(recording(DAY_1, ONE, TWO))
    first = await server.synced()
    before = tables_only(contents(server.conninfo))
    again = await server.synced()
    after = tables_only(contents(server.conninfo))
    assert again.run.revision == first.run.revision
    assert (again.run.models_unchanged, len(again.price_changes)) == (2, 0)
    # Quotes say which run read them last; all else is as it was.
    for table in ("price_quotes", "pricing_sync_log"):
        assert before.pop(table) != after.pop(table)
    assert before == after


async def test_a_rate_that_a_listed_model_no_longer_has_is_a_removal(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(row("acme/one", input_cache_read="0.0000001"), TWO))
    await server.synced()
    feed.answer(payload(row("acme/one"), TWO))
    second = await server.synced()
    assert (second.run.errors, kinds(second)) == (0, {"acme/one": "CHANGED"})
    (rate,) = by_model(second)["acme/one"].rates
    assert rate.meter == pb.METER_CACHE_READ_TOKENS
    assert rate.old_price == "0.0000001"
    assert not rate.HasField("new_price")
    meters = {rate.meter for rate in (await server.price("acme/one")).rates}
    assert meters == {pb.METER_INPUT_TOKENS, pb.METER_OUTPUT_TOKENS}


async def test_the_state_of_a_price_says_free_dynamic_or_unpriced_and_never_zero_by_default(
    server: Server, feed: Feed
) -> None:
    feed.answer(
        payload(
            row("acme/gift:free", "0", "0"),
            row("acme/router", "-1", "-1"),
            row("acme/song", "0", "0"),
            row("acme/half", "0.000001", "0"),
        )
    )
    await server.synced()
    free = await server.price("acme/gift:free")
    assert (free.state, free.prompt, free.completion) == (pb.PRICE_STATE_FREE, "0.00", "0.00")
    for model_id, state in (
        ("acme/router", pb.PRICE_STATE_DYNAMIC),
        ("acme/song", pb.PRICE_STATE_UNPRICED),
    ):
        price = await server.price(model_id)
        assert price.state == state
        assert not any(
            price.HasField(name) for name in ("prompt", "completion", "request", "image")
        )
    half = await server.price("acme/half")
    assert (half.state, half.prompt) == (pb.PRICE_STATE_PRICED, "1.00")
    assert not half.HasField("completion"), "an undeclared zero is not a price"


async def test_a_zero_never_replaces_a_real_price_which_nothing_confirms_from_then_on(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(ONE, TWO))
    first = await server.synced()
    feed.answer(payload(row("acme/one", "0", "0"), TWO))
    second = await server.synced()
    assert second.run.revision == first.run.revision
    price = await server.price("acme/one")
    assert (price.state, price.prompt) == (pb.PRICE_STATE_PRICED, "1.00")
    assert price.freshness == pb.FRESHNESS_UNCONFIRMED
    assert "not stated by its latest data" in price.source_detail
    assert "price_no_longer_stated" in {notice.code for notice in second.run.notices}
    assert (await server.price("acme/two")).freshness == pb.FRESHNESS_FRESH
    feed.answer(payload(ONE, TWO))
    third = await server.synced()
    assert third.run.revision == first.run.revision
    assert (await server.price("acme/one")).freshness == pb.FRESHNESS_FRESH


@pytest.mark.parametrize("unbelievable", ["0", "-1"])
async def test_a_base_price_that_turns_to_zero_or_dynamic_is_kept_and_named(
    server: Server, feed: Feed, unbelievable: str
) -> None:
    feed.answer(payload(ONE, TWO))
    first = await server.synced()
    feed.answer(payload(row("acme/one", "0.000003", unbelievable), TWO))
    for _ in range(2):
        again = await server.synced()
        assert again.run.revision == first.run.revision + 1
        assert "rate_no_longer_stated" in {notice.code for notice in again.run.notices}
        price = await server.price("acme/one")
        assert (price.prompt, price.completion) == ("3.00", "2.00")
        assert price.freshness == pb.FRESHNESS_UNCONFIRMED
    feed.answer(payload(row("acme/one", "0.000003", "0.000002"), TWO))
    assert (await server.synced()).run.revision == first.run.revision + 1
    assert (await server.price("acme/one")).freshness == pb.FRESHNESS_FRESH


async def test_a_change_of_state_is_a_change_with_history(server: Server, feed: Feed) -> None:
    feed.answer(payload(row("acme/one"), TWO))
    await server.synced()
    feed.answer(payload(row("acme/one", "-1", "-1"), TWO))
    second = await server.synced()
    (change,) = second.price_changes
    assert (change.old_state, change.new_state) == (pb.PRICE_STATE_PRICED, pb.PRICE_STATE_DYNAMIC)
    assert not change.HasField("new_input")
    assert (await server.price("acme/one")).state == pb.PRICE_STATE_DYNAMIC


async def test_an_alias_keeps_its_own_price_and_names_its_target(
    server: Server, feed: Feed
) -> None:
    alias = {**row("~acme/latest", "0.000003"), "alias_target": {"name": "One", "slug": "acme/one"}}
    feed.answer(payload(ONE, alias))
    await server.synced()
    price = await server.price("~acme/latest")
    assert (price.prompt, price.alias_target) == ("3.00", "acme/one")
    assert not (await server.price("acme/one")).HasField("alias_target")


async def test_overrides_are_rates_with_conditions_and_leave_the_headline_alone(
    server: Server, feed: Feed
) -> None:
    overrides = [{"min_prompt_tokens": 200000, "prompt": "0.000002", "completion": "0.000004"}]
    feed.answer(payload(row("acme/long", overrides=overrides)))
    await server.synced()
    price = await server.price("acme/long")
    assert (price.prompt, price.completion) == ("1.00", "2.00")
    thresholds = {
        (rate.meter, rate.conditions.threshold.quantity, rate.conditions.threshold.comparison)
        for rate in price.rates
        if rate.HasField("conditions")
    }
    assert thresholds == {
        (meter, 200000, pb.COMPARISON_AT_LEAST)
        for meter in (pb.METER_INPUT_TOKENS, pb.METER_OUTPUT_TOKENS)
    }


async def test_prices_are_verified_when_their_data_was_obtained(server: Server, feed: Feed) -> None:
    feed.answer(recording(DAY_1, ONE))
    await server.synced()
    price = await server.price("acme/one")
    assert price.verified_time.ToJsonString() == DAY_1
    assert price.freshness == pb.FRESHNESS_UNCONFIRMED, "months old"
    feed.answer(payload(ONE))
    response = await server.synced()
    price = await server.price("acme/one")
    assert response.run.started_time.ToDatetime() <= price.verified_time.ToDatetime()
    assert price.verified_time.ToDatetime() <= response.run.completed_time.ToDatetime()
    assert price.freshness == pb.FRESHNESS_FRESH


# What is unknown, missing, faulty ----------------------------------------------------------------


async def test_unknown_models_are_registered_by_default_and_skipped_on_request(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(ONE))
    await server.synced()
    feed.answer(payload(row("acme/one", "0.000005"), TWO))
    skipping = await server.synced(unknown_models=pb.UNKNOWN_MODELS_SKIP)
    assert (skipping.run.models_updated, skipping.run.models_skipped) == (1, 1)
    assert skipping.run.models_registered == 0
    refusal = await refused(server.price("acme/two"))
    assert refusal.reason == "MODEL_NOT_FOUND"
    registering = await server.synced(unknown_models=pb.UNKNOWN_MODELS_REGISTER)
    assert (registering.run.models_registered, kinds(registering)) == (1, {"acme/two": "ADDED"})
    assert (await server.price("acme/two")).prompt == "1.00"


async def test_a_model_is_delisted_after_two_new_syncs_without_it_and_restored_later(
    server: Server, feed: Feed
) -> None:
    feed.answer(recording(DAY_1, ONE, TWO))
    await server.synced()

    feed.answer(recording(DAY_2, TWO))
    once = await server.synced()
    assert (once.run.models_missing, kinds(once)) == (1, {})
    price = await server.price("acme/one")
    assert (price.prompt, price.freshness) == ("1.00", pb.FRESHNESS_UNCONFIRMED)
    assert not price.HasField("delisted_time")

    same_data = await server.synced()
    assert kinds(same_data) == {}, "the same data read twice is no second witness"

    feed.answer(recording(DAY_3, TWO))
    twice = await server.synced()
    assert (twice.run.models_missing, kinds(twice)) == (1, {"acme/one": "DELISTED"})
    price = await server.price("acme/one")
    assert price.prompt == "1.00", "the last known price is kept"
    assert price.HasField("delisted_time")
    assert price.freshness == pb.FRESHNESS_UNCONFIRMED

    feed.answer(recording(DAY_4, row("acme/one", "0.000004"), TWO))
    back = await server.synced()
    assert kinds(back) == {"acme/one": "RESTORED"}
    assert by_model(back)["acme/one"].old_input == "1.00"
    price = await server.price("acme/one")
    assert (price.prompt, price.HasField("delisted_time")) == ("4.00", False)

    request = pb.ListPriceChangesRequest(provider="openrouter", model_id="acme/one")
    listed = (await server.stub.ListPriceChanges(request)).changes
    assert [change.kind for change in listed] == [
        pb.CHANGE_KIND_RESTORED,
        pb.CHANGE_KIND_DELISTED,
        pb.CHANGE_KIND_ADDED,
    ]


FAULTY: Sequence[tuple[Any, str]] = (
    (row("bad/nan", "NaN"), "bad/nan"),
    (row("bad/number-nan", float("nan")), "bad/number-nan"),
    (row("bad/infinite", "Infinity"), "bad/infinite"),
    (row("bad/negative", "-0.000001"), "bad/negative"),
    (row("bad/text", "abc"), "bad/text"),
    (row("bad/empty", ""), "bad/empty"),
    (row("bad/true", True), "bad/true"),
    (row("bad/list", ["0.1"]), "bad/list"),
    (row("bad/huge", "1e400"), "bad/huge"),
    (row("bad/cache", input_cache_read="free"), "bad/cache"),
    (row("bad/half", "0.000001", None), "bad/half"),
    ({**row("bad/absent"), "pricing": None}, "bad/absent"),
    (row("bad/override", overrides=[{"prompt": "0.1"}]), "bad/override"),
    (row("bad/\x00null"), "bad/\\x00null"),
    (row("bad/\ud800lone"), "bad/\\ud800lone"),
    (row("x" * 10_000), "xxx"),
    (row(""), ""),
    ({"pricing": {"prompt": "1", "completion": "1"}}, "None"),
    ("not an object", "None"),
    ({**row("bad/number"), "id": 7}, "7"),
)


async def test_each_faulty_row_is_named_and_all_others_are_applied(
    server: Server, feed: Feed
) -> None:
    twin = row("bad/twin")
    feed.answer(payload(ONE, *(faulty for faulty, _ in FAULTY), twin, twin, TWO))
    response = await server.synced()
    assert response.run.models_fetched == len(FAULTY) + 4
    assert (response.run.models_registered, response.run.errors) == (2, len(FAULTY) + 2)
    named = [detail.model_id for detail in response.run.error_details]
    for _, name in FAULTY:
        assert any(each.startswith(name) for each in named), name
    assert named.count("bad/twin") == 2
    assert all(detail.message for detail in response.run.error_details)
    assert (await server.price("acme/one")).prompt == "1.00"
    assert (await server.price("acme/two")).prompt == "1.00"
    assert (await refused(server.price("bad/negative"))).reason == "MODEL_NOT_FOUND"
    run = await server.run(response.run.sync_run_id)
    assert_counts_add_up(run)
    assert list(run.error_details) == list(response.run.error_details)


async def test_what_is_monstrous_in_one_row_costs_that_row_alone(
    server: Server, feed: Feed
) -> None:
    overrides = [{"min_prompt_tokens": at, "prompt": "0.000001"} for at in range(1, 1_100)]
    rows = [
        row("bad/digits", 1),
        {**row("fine/created"), "created": 2},
        row("bad/override", overrides=[{"min_prompt_tokens": 3, "prompt": "0.1"}]),
        row("bad/rates", overrides=overrides),
        row("fine/unknown", **{f"key_{number}": "0.1" for number in range(5_000)}),
        ONE,
    ]
    body = json.dumps(payload(*rows))
    for small, field in ((1, '"prompt": '), (2, '"created": '), (3, '"min_prompt_tokens": ')):
        body = body.replace(f"{field}{small},", f"{field}{'9' * 5_000},", 1)
    feed.answer(body.encode())
    response = await server.synced()
    assert response.run.models_registered == 3
    assert [detail.model_id for detail in response.run.error_details] == [
        "bad/digits",
        "bad/override",
        "bad/rates",
    ]
    assert "1101 rates, at most 1000" in response.run.error_details[2].message
    assert len(response.run.notices) == 201
    assert response.run.notices[-1].message.startswith("4800 more codes")
    assert list((await server.run(response.run.sync_run_id)).notices) == list(response.run.notices)
    assert (await server.price("fine/unknown")).prompt == "1.00"


async def test_a_row_that_turns_faulty_keeps_its_price_and_is_not_missing(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(ONE, TWO))
    first = await server.synced()
    feed.answer(payload(row("acme/one", "abc"), TWO))
    for _ in range(3):
        response = await server.synced()
        assert (response.run.errors, response.run.models_missing) == (1, 0)
        assert response.run.revision == first.run.revision
    price = await server.price("acme/one")
    assert (price.prompt, price.HasField("delisted_time")) == ("1.00", False)
    assert price.freshness == pb.FRESHNESS_UNCONFIRMED
    assert (await server.price("acme/two")).freshness == pb.FRESHNESS_FRESH


async def test_data_older_than_that_applied_last_is_applied_noted_and_not_called_fresh(
    server: Server, feed: Feed
) -> None:
    feed.answer(recording(DAY_2, ONE, TWO))
    assert not (await server.synced()).run.notices
    feed.answer(recording(DAY_1, row("acme/one", "0.000009"), TWO))
    (notice,) = (await server.synced()).run.notices
    assert notice.code == "older_data"
    assert DAY_1.rstrip("Z") in notice.message
    assert DAY_2.rstrip("Z") in notice.message
    price = await server.price("acme/one")
    assert (price.prompt, price.freshness) == ("9.00", pb.FRESHNESS_UNCONFIRMED)


SENSELESS = {
    "nothing": b"",
    "blank": b"  \n",
    "html": b"<!doctype html><html><body>Just a moment...</body></html>",
    "truncated": json.dumps(payload(ONE, TWO)).encode()[:-30],
    "null": b"null",
    "a number": b"42",
    "a list": json.dumps([ONE]).encode(),
    "an empty object": b"{}",
    "an error": b'{"error": {"message": "rate limited", "code": 429}}',
    "no models": b'{"data": []}',
    "data of another kind": b'{"data": {"acme/one": {}}}',
    "no row that can be read": json.dumps(payload(row("acme/one", "abc"), "x", None)).encode(),
    "a cut recording": json.dumps({**recording(DAY_2, ONE, TWO), "count": 300}).encode(),
    "a recording without a date": json.dumps(recording("yesterday", ONE)).encode(),
    "broken UTF-8": b'{"data": [{"id": "\xff\xfe"}]}',
    "deeply nested": b"[" * 200_000,
}


@pytest.mark.parametrize("kind", SENSELESS)
async def test_a_senseless_payload_fails_the_run_and_changes_nothing_but_the_log(
    server: Server, feed: Feed, kind: str
) -> None:
    feed.answer(payload(ONE, TWO))
    first = await server.synced()
    before = contents(server.conninfo)
    feed.answer(SENSELESS[kind])
    response = await server.sync()
    assert response.run.status == pb.SYNC_STATUS_FAILED
    assert response.run.error_message
    assert "\n" not in response.run.error_message
    assert response.run.revision == first.run.revision
    assert response.run.models_fetched == 0
    after = contents(server.conninfo)
    assert prices_only(after) == prices_only(before)
    run = await server.run(response.run.sync_run_id)
    assert (run.status, run.error_message) == (pb.SYNC_STATUS_FAILED, response.run.error_message)
    assert (await server.price("acme/one")).prompt == "1.00"


@pytest.mark.parametrize("status", [401, 404])
async def test_a_refusal_of_the_source_fails_the_run(
    server: Server, feed: Feed, status: int
) -> None:
    feed.answer({"error": "no"}, status=status)
    before = prices_only(contents(server.conninfo))
    response = await server.sync()
    assert response.run.status == pb.SYNC_STATUS_FAILED
    assert str(status) in response.run.error_message
    assert prices_only(contents(server.conninfo)) == before


# Dry runs ----------------------------------------------------------------------------------------


async def test_a_dry_run_tells_what_a_real_one_does_and_writes_nothing(
    server: Server, feed: Feed
) -> None:
    feed.answer(recording(DAY_1, ONE, TWO, row("acme/gone")))
    await server.synced()
    feed.answer(
        recording(DAY_2, row("acme/one", "0.000009"), TWO, row("acme/new"), row("bad", "x"))
    )
    wait_for_sessions_to_end(server.conninfo, "pricing-sync")
    before, written = contents(server.conninfo), writes(server.conninfo)
    dry = await server.synced(dry_run=True)
    assert contents(server.conninfo) == before
    assert writes(server.conninfo) == written
    assert (await server.price("acme/one")).prompt == "1.00"

    real = await server.synced()
    assert (dry.dry_run, real.dry_run) == (True, False)
    assert (dry.run.sync_run_id, real.run.sync_run_id != "") == ("", True)
    assert dry.run.revision == real.run.revision - 1
    for name in COUNTS:
        assert getattr(dry.run, name) == getattr(real.run, name), name
    assert kinds(dry) == kinds(real) == {"acme/one": "CHANGED", "acme/new": "ADDED"}
    assert list(dry.run.error_details) == list(real.run.error_details)
    assert list(dry.run.notices) == list(real.run.notices)


async def test_a_failing_dry_run_writes_nothing(server: Server, feed: Feed) -> None:
    feed.answer(b"<html>")
    before = contents(server.conninfo)
    response = await server.sync(dry_run=True)
    assert (response.run.status, response.run.sync_run_id) == (pb.SYNC_STATUS_FAILED, "")
    assert contents(server.conninfo) == before


# Sources among each other ------------------------------------------------------------------------


async def test_a_sellers_own_price_beats_the_catalogue_and_stays_when_that_is_synced_again(
    server: Server, feed: Feed
) -> None:
    model_id = "openai/gpt-oss-120b"
    catalogued = await server.price(model_id)
    assert catalogued.source_detail.startswith("genai-prices")
    feed.answer(payload(row(model_id, "0.00000123", "0.00000456")))
    await server.synced()
    own = await server.price(model_id)
    assert (own.prompt, own.completion) == ("1.23", "4.56")
    assert own.source_detail.startswith("OpenRouter")
    again = await server.synced("genai-prices")
    assert model_id not in kinds(again)
    assert again.run.revision == own.price_revision
    assert await server.price(model_id) == own
    # The same model at another seller is that seller's.
    assert (await server.price(model_id, "novita")).source_detail.startswith("genai-prices")


async def test_an_own_listing_without_a_price_leaves_the_catalogues_price(
    server: Server, feed: Feed
) -> None:
    model_id = "openai/gpt-oss-120b"
    before = await server.price(model_id)
    feed.answer(payload(row(model_id, "0", "0"), ONE))
    await server.synced()
    after = await server.price(model_id)
    assert (after.prompt, after.completion) == (before.prompt, before.completion)
    assert after.state == pb.PRICE_STATE_PRICED


async def test_the_columns_for_sql_users_are_the_headline_per_token(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(row("acme/one", "0.0000009", "0.00000000120000000000000000012")))
    await server.synced()
    (found,) = rows(
        server.conninfo,
        "SELECT price_per_input_token, price_per_output_token, provider, is_active"
        " FROM model_pricing JOIN models USING (model_key) WHERE model_id = 'acme/one'",
    )
    assert found == {
        "price_per_input_token": Decimal("0.0000009"),
        "price_per_output_token": Decimal("0.00000000120000000000000000012"),
        "provider": "openrouter",
        "is_active": True,
    }
    assert (await server.price("acme/one")).completion == "0.00120000000000000000012"
    fragment = value(
        server.conninfo,
        "SELECT fragment FROM price_quotes JOIN models USING (model_key)"
        " WHERE model_id = 'acme/one'",
    )
    assert fragment["pricing"]["prompt"] == "0.0000009"


async def test_a_key_goes_to_the_source_and_into_no_answer(database: str, feed: Feed) -> None:
    feed.answer({"error": "no"}, status=401)
    async with in_process_server(
        database, feed, source_keys={"openrouter": "sk-or-secret"}
    ) as server:
        response = await server.sync()
        assert feed.requests[0]["Authorization"] == "Bearer sk-or-secret"
        listed = await server.stub.ListSources(pb.ListSourcesRequest())
        (source,) = [each for each in listed.sources if each.source == "openrouter"]
        assert source.key_variable == "PRICING_OPENROUTER_API_KEY"
        assert "sk-or-secret" not in f"{response}{listed}{await server.runs()}"
