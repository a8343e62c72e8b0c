"""Suspicious prices are held: listed, shown, decided, expired and released, and never applied."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.postgres.maintenance.verify import verify
from tests.integration._database import connected, contents, rows, tables_only, value
from tests.integration._feed import Feed, payload, row
from tests.integration._server import Server, in_process_server
from tests.integration._status import refused
from tests.integration._stream import stream

ONE = "acme/one"
CHEAP, WRONG, OTHER = "0.000001", "0.0001", "0.0002"


def models_dev(model_id: str, per_million: object) -> dict[str, Any]:
    """models.dev's document with OpenRouter's price of one model, and nothing else."""
    model = {"id": model_id, "name": "One", "cost": {"input": per_million, "output": 2}}
    return {"openrouter": {"id": "openrouter", "name": "OpenRouter", "models": {model_id: model}}}


async def held(server: Server, **criteria: Any) -> list[pb.HeldChange]:
    request = pb.ListHeldChangesRequest(**criteria)
    return list((await server.stub.ListHeldChanges(request)).held_changes)


async def resolve(
    server: Server, held_change_id: str, decision: pb.HoldDecision.ValueType, **more: Any
) -> pb.ResolveHeldChangeResponse:
    request = pb.ResolveHeldChangeRequest(held_change_id=held_change_id, decision=decision, **more)
    return await server.stub.ResolveHeldChange(request)


async def approve(server: Server, held_change_id: str, **more: Any) -> pb.ResolveHeldChangeResponse:
    return await resolve(server, held_change_id, pb.HOLD_DECISION_APPROVE, **more)


async def reject(server: Server, held_change_id: str, **more: Any) -> pb.ResolveHeldChangeResponse:
    return await resolve(server, held_change_id, pb.HOLD_DECISION_REJECT, **more)


@pytest.fixture(autouse=True)
def whole_price_table(database: str) -> Iterator[None]:
    yield
    assert not [str(check) for check in verify(database) if check.broken]


@pytest.fixture
async def holding(server: Server, feed: Feed) -> Server:
    """A server that holds a hundredfold price of one model, beside a sound change of another."""
    feed.answer(payload(row(ONE, CHEAP), row("acme/two", CHEAP)))
    await server.synced()
    feed.answer(payload(row(ONE, WRONG), row("acme/two", "0.000003")))
    response = await server.synced()
    assert (response.run.models_held, response.run.models_updated) == (1, 1)
    assert response.run.models_fetched == 2
    return server


async def test_a_suspicious_price_is_not_in_force_and_shown_wherever_one_looks(
    holding: Server,
) -> None:
    price = await holding.price(ONE)
    assert (price.prompt, price.freshness) == ("1.00", pb.FRESHNESS_UNCONFIRMED)
    assert (await holding.price("acme/two")).prompt == "3.00"
    assert not (await holding.price("acme/two")).HasField("pending_change")
    (entry,) = await held(holding)
    assert price.source_detail.endswith(
        f"its latest data states another price, which is held ({entry.held_change_id})"
    )
    assert price.pending_change == pb.PendingChange(
        held_change_id=entry.held_change_id,
        source="openrouter",
        reason=pb.HOLD_REASON_RATIO_TO_PAST,
        prompt="100.00",
        completion="2.00",
        held_time=entry.held_time,
    )
    assert (entry.source, entry.provider, entry.model_id) == ("openrouter", "openrouter", ONE)
    assert (entry.status, entry.models, entry.feed_id) == (pb.HOLD_STATUS_OPEN, 1, "")
    assert entry.old_rate_card.rate_card_id == price.rate_card_id
    assert [rate.price for rate in entry.new_rate_card.rates] == [WRONG, "0.000002"]
    assert f'"prompt":"{WRONG}"' in entry.fragment
    assert list(entry.evidence) == [
        pb.HoldEvidence(
            meter=pb.METER_INPUT_TOKENS,
            stated=WRONG,
            reference=CHEAP,
            reference_source="openrouter",
            ratio="100",
            references=1,
        )
    ]
    per_token = await holding.stub.GetPricing(
        pb.GetPricingRequest(model_id=ONE, provider="openrouter", unit=pb.PRICE_UNIT_PER_TOKEN)
    )
    assert per_token.pricing.pending_change.prompt == WRONG
    sources = await holding.stub.ListSources(pb.ListSourcesRequest())
    assert {each.source: each.models_held for each in sources.sources}["openrouter"] == 1
    listed = await holding.stub.ListProviders(pb.ListProvidersRequest())
    assert {each.provider: each.models_held for each in listed.providers}["openrouter"] == 1
    run = (await holding.runs("openrouter"))[0]
    assert (run.models_held, run.sync_run_id) == (1, entry.sync_run_id)


async def test_a_held_price_is_shown_as_evidence_in_a_snapshot_and_counted_of_its_source(
    holding: Server,
) -> None:
    (entry,) = await held(holding)
    price = await holding.price(ONE)
    request = pb.ExplainPriceRequest(model_id=ONE, provider="openrouter")
    explained = await holding.stub.ExplainPrice(request)
    assert list(explained.held_changes) == [entry]
    assert explained.pricing.pending_change == price.pending_change
    async with stream(
        holding.stub, snapshot=True, providers=["openrouter"], model_ids=[ONE, "acme/two"]
    ) as reader:
        await reader.read()
        _, prices = await reader.snapshot()
    assert prices["openrouter", ONE].pending_change == price.pending_change
    assert not prices["openrouter", "acme/two"].HasField("pending_change")
    sources = (await holding.stub.ListSources(pb.ListSourcesRequest())).sources
    assert {one.source: one.models_held for one in sources if one.models_held} == {"openrouter": 1}


async def test_one_held_change_is_answered_whatever_became_of_it(holding: Server) -> None:
    (entry,) = await held(holding)

    async def got() -> pb.HeldChange:
        request = pb.GetHeldChangeRequest(held_change_id=entry.held_change_id)
        return (await holding.stub.GetHeldChange(request)).held_change

    assert await got() == entry
    for absent in ("feed_id", "resolved_by", "note"):
        assert not entry.HasField(absent)
    done = await approve(holding, entry.held_change_id)
    assert await got() == done.held_change
    for unknown in ("999999", "no id"):
        request = pb.GetHeldChangeRequest(held_change_id=unknown)
        refusal = await refused(holding.stub.GetHeldChange(request))
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", "HELD_CHANGE_NOT_FOUND")
        assert refusal.metadata == {"held_change_id": unknown}


async def test_an_override_neither_confirms_a_held_price_nor_hides_it(holding: Server) -> None:
    override = pb.SetPriceOverrideRequest(
        provider="openrouter",
        model_id=ONE,
        prompt="100",
        completion="2",
        confirm=True,
        reason="a test",
    )
    await holding.stub.SetPriceOverride(override)
    assert (await holding.synced()).run.models_held == 1
    price = await holding.price(ONE)
    assert (price.prompt, price.pricing_source) == ("100.00", pb.PRICING_SOURCE_OVERRIDE)
    (entry,) = await held(holding)
    assert price.pending_change.held_change_id == entry.held_change_id
    # Without it the price before is in force, and once approved the one that was held.
    cleared = pb.ClearPriceOverrideRequest(provider="openrouter", model_id=ONE)
    await holding.stub.ClearPriceOverride(cleared)
    assert (await holding.price(ONE)).prompt == "1.00"
    override.prompt = "7"
    await holding.stub.SetPriceOverride(override)
    done = await approve(holding, entry.held_change_id)
    assert list(done.price_changes) == []
    assert (await holding.price(ONE)).prompt == "7.00"
    await holding.stub.ClearPriceOverride(cleared)
    price = await holding.price(ONE)
    assert (price.prompt, price.pricing_source) == ("100.00", pb.PRICING_SOURCE_DATABASE)
    assert not price.HasField("pending_change")


async def test_the_same_finding_stays_one_entry(holding: Server) -> None:
    (before,) = await held(holding)
    again = await holding.synced()
    assert (again.run.models_held, again.run.models_unchanged, list(again.price_changes)) == (
        1,
        1,
        [],
    )
    (after,) = await held(holding)
    assert (after.held_change_id, after.held_time) == (before.held_change_id, before.held_time)
    assert after.sync_run_id == again.run.sync_run_id
    assert after.last_stated_time.ToNanoseconds() > before.last_stated_time.ToNanoseconds()


async def test_an_approved_price_is_in_force_at_once_on_every_process_and_names_who_did_it(
    holding: Server, feed: Feed
) -> None:
    async with in_process_server(holding.conninfo, feed) as other:
        assert (await other.price(ONE)).HasField("pending_change")
        (entry,) = await held(other)
        done = await approve(other, entry.held_change_id, note="promo over", resolved_by="ann")
        answer = await other.get(ONE, "openrouter")
        assert (answer.pricing.prompt, answer.table.revision) == ("100.00", done.table.revision)
        for server in (other, holding):
            at_least = await server.stub.GetPricing(
                pb.GetPricingRequest(
                    model_id=ONE,
                    provider="openrouter",
                    read=pb.ReadOptions(min_revision=done.table.revision),
                )
            )
            assert at_least.pricing.prompt == "100.00"
            assert at_least.pricing.freshness == pb.FRESHNESS_FRESH
            assert not at_least.pricing.HasField("pending_change")
    decided = done.held_change
    assert (decided.status, decided.resolved_by, decided.note) == (
        pb.HOLD_STATUS_APPROVED,
        "ann",
        "promo over",
    )
    (change,) = done.price_changes
    assert change.origin == pb.ChangeOrigin(
        kind=pb.ORIGIN_KIND_APPROVAL,
        actor="admin",
        note="ann",
        held_change_id=entry.held_change_id,
    )
    (told,) = rows(
        holding.conninfo,
        "SELECT origin_kind, actor, note, held_change_id, sync_run_id"
        " FROM model_pricing_history WHERE revision = %(revision)s",
        revision=done.table.revision,
    )
    assert told == {
        "origin_kind": "approval",
        "actor": "admin",
        "note": "ann",
        "held_change_id": int(entry.held_change_id),
        "sync_run_id": None,
    }
    assert await held(holding) == []
    assert (await holding.synced()).run.models_unchanged == 2


async def test_a_rejected_price_is_not_asked_about_again_until_another_is_stated(
    holding: Server, feed: Feed
) -> None:
    (entry,) = await held(holding)
    before = await holding.price(ONE)
    done = await reject(holding, entry.held_change_id, resolved_by="bob")
    assert (list(done.price_changes), done.table.revision) == ([], before.price_revision + 1)
    assert done.held_change.status == pb.HOLD_STATUS_REJECTED
    after = await holding.price(ONE)
    assert (after.prompt, after.HasField("pending_change")) == ("1.00", False)
    assert after.source_detail.endswith(
        f"its latest data states another price, which was rejected ({entry.held_change_id})"
    )
    for _ in range(2):
        assert (await holding.synced()).run.models_held == 1
        assert await held(holding) == []
        assert (await holding.price(ONE)).prompt == "1.00"
    feed.answer(payload(row(ONE, CHEAP)))
    assert (await holding.synced()).run.models_held == 0
    feed.answer(payload(row(ONE, WRONG)))
    assert (await holding.synced()).run.models_held == 1
    (again,) = await held(holding)
    assert again.held_change_id != entry.held_change_id


@pytest.mark.parametrize(
    ("then", "in_force", "open_entries"),
    [
        ([row(ONE, "0.0000012"), row("acme/two")], "1.20", 0),
        ([row("acme/two")], "1.00", 0),
        ([row(ONE, OTHER), row("acme/two")], "1.00", 1),
        ([row(ONE, "0"), row("acme/two")], "1.00", 0),
    ],
    ids=["a sound price", "no such model", "another suspicious price", "no price"],
)
async def test_a_finding_that_goes_away_expires(
    holding: Server, feed: Feed, then: list[Any], in_force: str, open_entries: int
) -> None:
    (entry,) = await held(holding)
    feed.answer(payload(*then))
    assert (await holding.synced()).run.models_held == open_entries
    price = await holding.price(ONE)
    assert (price.prompt, price.HasField("pending_change")) == (in_force, bool(open_entries))
    assert len(await held(holding)) == open_entries
    (expired,) = await held(holding, statuses=[pb.HOLD_STATUS_EXPIRED])
    assert expired.held_change_id == entry.held_change_id
    assert expired.HasField("resolved_time")
    assert expired.resolved_by == ""


async def test_a_price_that_an_independent_source_confirms_is_released_by_itself(
    database: str, feed: Feed
) -> None:
    feed.answer(payload(row(ONE, CHEAP)))
    async with in_process_server(database, feed, ["openrouter", "models-dev"]) as server:
        await server.synced()
        feed.answer(payload(row(ONE, WRONG)))
        await server.synced()
        (entry,) = await held(server)
        with connected(database) as connection:
            # A source of one model is not believed at first; this one has been approved.
            connection.execute(
                "INSERT INTO pricing_sync_log (source, triggered_by) VALUES ('models-dev', 'test')"
            )
            connection.execute(
                "UPDATE pricing_sync_log SET status = 'success', completed_at = now(),"
                " revision = 1 WHERE source = 'models-dev'"
            )
            connection.execute(
                "INSERT INTO held_changes (source, reason, evidence, obtained_at,"
                " last_obtained_at, first_run, last_run, held_since, last_stated)"
                " SELECT source, 'few_references', '[]', now(), now(), sync_run_id, sync_run_id,"
                " now(), now() FROM pricing_sync_log WHERE source = 'models-dev'"
            )
            connection.execute(
                "UPDATE held_changes SET status = 'approved', resolved_at = now(),"
                " resolved_by = 'test' WHERE source = 'models-dev'"
            )
        feed.answer(models_dev(ONE, 110))
        confirmed = await server.synced("models-dev")
        assert (confirmed.run.models_held, confirmed.run.models_fetched) == (0, 1)
        (change,) = confirmed.price_changes
        assert (change.source, change.origin.sync_run_id) == (
            "openrouter",
            confirmed.run.sync_run_id,
        )
        price = await server.price(ONE)
        assert (price.prompt, price.HasField("pending_change")) == ("100.00", False)
        (released,) = await held(server, statuses=[pb.HOLD_STATUS_RELEASED])
        assert released.held_change_id == entry.held_change_id
        feed.answer(payload(row(ONE, WRONG)))
        assert (await server.synced()).run.models_unchanged == 1


async def test_a_new_model_is_compared_with_other_sources_and_not_registered_by_a_held_price(
    server: Server, feed: Feed
) -> None:
    known = "anthropic/claude-3-haiku"
    before = await server.price(known)
    feed.answer(payload(row(known, "0.5"), row("acme/new")))
    response = await server.synced()
    assert (response.run.models_held, response.run.models_registered) == (1, 1)
    (entry,) = await held(server)
    assert entry.reason == pb.HOLD_REASON_RATIO_TO_OTHER_SOURCE
    assert entry.evidence[0].reference_source == "genai-prices"
    after = await server.price(known)
    assert (after.prompt, after.source_detail) == (before.prompt, before.source_detail)
    assert after.HasField("pending_change")


async def test_a_price_that_no_model_has_is_held_though_nothing_else_prices_the_model(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(row("acme/sound", "0.0001"), row("acme/absurd", "2.5")))
    response = await server.synced()
    assert (response.run.models_held, response.run.models_registered) == (1, 1)
    (entry,) = await held(server)
    assert (entry.reason, entry.model_id) == (pb.HOLD_REASON_IMPLAUSIBLE, "acme/absurd")
    low, high = entry.evidence
    assert (low.meter, low.stated, low.reference_source) == (pb.METER_INPUT_TOKENS, "2.5", "")
    assert float(low.reference) < 1e-8 < 1e-4 < float(high.reference) < 0.1
    assert high.references > 1000
    assert (await refused(server.get("acme/absurd", "openrouter"))).code == "NOT_FOUND"
    assert (await server.synced()).run.models_held == 1
    (same,) = await held(server)
    assert same.held_change_id == entry.held_change_id
    await approve(server, entry.held_change_id)
    assert (await server.price("acme/absurd")).prompt == "2500000.00"


async def test_a_dry_run_tells_what_would_be_held_and_writes_nothing(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(row(ONE, CHEAP)))
    await server.synced()
    feed.answer(payload(row(ONE, WRONG)))
    before = contents(server.conninfo)
    dry = await server.synced(dry_run=True)
    assert (dry.run.models_held, dry.run.models_fetched, list(dry.price_changes)) == (1, 1, [])
    assert contents(server.conninfo) == before
    assert await held(server) == []


async def test_a_whole_feed_in_another_unit_is_held_as_one(server: Server, feed: Feed) -> None:
    def prices(factor: int) -> Any:
        return payload(
            *(row(f"acme/{at}", f"{at * factor}e-6", f"{at * factor}e-6") for at in range(1, 8))
        )

    feed.answer(prices(1))
    await server.synced()
    feed.answer(prices(1_000_000))
    assert (await server.synced()).run.models_held == 7
    (entry,) = await held(server)
    assert (entry.reason, entry.models) == (pb.HOLD_REASON_FEED_SHIFTED, 7)
    assert (entry.provider, entry.model_id) == ("", "")
    assert {(one.meter, one.ratio, one.references) for one in entry.evidence} == {
        (pb.METER_INPUT_TOKENS, "1000000", 7),
        (pb.METER_OUTPUT_TOKENS, "1000000", 7),
    }
    assert {each.model_id for each in await held(server, feed_id=entry.held_change_id)} == {
        f"acme/{at}" for at in range(1, 8)
    }
    assert (await server.price("acme/1")).prompt == "1.00"
    assert (await server.price("acme/1")).pending_change.prompt == "1000000.00"
    assert (await server.synced()).run.models_held == 7
    (same,) = await held(server)
    assert same.held_change_id == entry.held_change_id
    feed.answer(prices(1))
    assert (await server.synced()).run.models_unchanged == 7
    assert await held(server) == []
    assert len(await held(server, statuses=[pb.HOLD_STATUS_EXPIRED])) == 1


async def test_a_feed_that_shrank_delists_nobody_until_somebody_believes_it(
    server: Server, feed: Feed
) -> None:
    def of(count: int) -> Any:
        return payload(*(row(f"acme/{at}", CHEAP) for at in range(count)))

    async def listed() -> int:
        found = await server.stub.ListProviders(pb.ListProvidersRequest())
        return {each.provider: each.models_listed for each in found.providers}["openrouter"]

    feed.answer(of(30))
    await server.synced()
    before = await listed()
    feed.answer(of(1), etag='"small"')
    for _ in range(3):
        run = (await server.synced()).run
        assert (run.status, run.models_missing) == (pb.SYNC_STATUS_SUCCESS, 29)
        assert [each.code for each in run.notices] == ["feed_shrunk"]
    assert await listed() == before
    assert (await server.price("acme/7")).freshness == pb.FRESHNESS_UNCONFIRMED
    assert (await server.price("acme/0")).freshness == pb.FRESHNESS_FRESH
    (entry,) = await held(server)
    assert (entry.reason, entry.models) == (pb.HOLD_REASON_FEED_SHRUNK, 0)
    (evidence,) = entry.evidence
    assert evidence.meter == pb.METER_UNSPECIFIED
    assert (evidence.ratio, evidence.references) == ("0.0333333", 30)
    feed.answer(of(30))
    assert (await server.synced()).run.models_unchanged == 30
    assert await held(server) == []
    feed.answer(of(1))
    await server.synced()
    (entry,) = await held(server)
    done = await approve(server, entry.held_change_id, resolved_by="ann")
    assert (list(done.price_changes), await listed()) == ([], before)
    response = await server.synced()
    assert {change.kind for change in response.price_changes} == {pb.CHANGE_KIND_DELISTED}
    assert (len(response.price_changes), await held(server)) == (29, [])
    assert await listed() == before - 29
    assert (await server.synced()).run.models_unchanged == 1


# Sources that are known from documentation ---------------------------------------------------


GATEWAY = "vercel-ai-gateway"


def gateway(*prompts: str) -> dict[str, Any]:
    """Vercel's gateway with a model for each of these prices."""
    return {
        "object": "list",
        "data": [
            {
                "id": f"acme/{at}",
                "object": "model",
                "owned_by": "acme",
                "type": "language",
                "pricing": {"input": prompt, "output": "0.000004"},
            }
            for at, prompt in enumerate(prompts)
        ],
    }


@pytest.fixture
async def documented(database: str, feed: Feed) -> AsyncIterator[Server]:
    async with in_process_server(database, feed, [GATEWAY]) as server:
        yield server


async def test_the_first_sync_of_a_documented_source_waits_for_approval_as_a_whole(
    documented: Server, feed: Feed
) -> None:
    feed.answer(gateway(*["0.000002"] * 3))
    for _ in range(2):
        response = await documented.synced(GATEWAY)
        assert (response.run.models_held, response.run.models_registered) == (3, 0)
    (entry,) = await held(documented, source=GATEWAY)
    assert (entry.reason, entry.models) == (pb.HOLD_REASON_UNPROVEN_SOURCE, 3)
    assert (await refused(documented.get("acme/1", GATEWAY))).code == "NOT_FOUND"
    done = await approve(documented, entry.held_change_id, resolved_by="ann")
    assert {change.kind for change in done.price_changes} == {pb.CHANGE_KIND_ADDED}
    assert len(done.price_changes) == 3
    assert {change.revision for change in done.price_changes} == {done.table.revision}
    price = await documented.price("acme/1", GATEWAY)
    assert (price.prompt, price.freshness) == ("2.00", pb.FRESHNESS_FRESH)
    listed = await documented.stub.ListSources(pb.ListSourcesRequest())
    (source,) = [each for each in listed.sources if each.source == GATEWAY]
    assert source.evidence == pb.SOURCE_EVIDENCE_DOCUMENTED
    assert (source.models_held, source.models_quoted) == (0, 3)
    again = await documented.synced(GATEWAY)
    assert (again.run.models_unchanged, again.run.models_held) == (3, 0)
    # From here on it is judged like any other.
    feed.answer(gateway("0.000002", "0.0000025", "0.0002"))
    later = await documented.synced(GATEWAY)
    assert (later.run.models_unchanged, later.run.models_updated, later.run.models_held) == (
        1,
        1,
        1,
    )


async def test_a_rejected_source_stays_out_until_it_states_something_else(
    documented: Server, feed: Feed
) -> None:
    feed.answer(gateway("0.000002", "0.000003"))
    await documented.synced(GATEWAY)
    (entry,) = await held(documented, source=GATEWAY)
    await reject(documented, entry.held_change_id)
    again = await documented.synced(GATEWAY)
    assert (again.run.models_held, await held(documented, source=GATEWAY)) == (2, [])
    feed.answer(gateway("0.000002", "0.0000035"))
    assert (await documented.synced(GATEWAY)).run.models_held == 2
    (new,) = await held(documented, source=GATEWAY)
    assert (new.reason, new.models) == (pb.HOLD_REASON_UNPROVEN_SOURCE, 1)


async def test_approving_one_model_of_a_feed_does_not_open_the_gate_for_the_others(
    documented: Server, feed: Feed
) -> None:
    feed.answer(gateway("0.000002", "0.000003"))
    await documented.synced(GATEWAY)
    (entry,) = await held(documented, source=GATEWAY)
    one, _ = await held(documented, feed_id=entry.held_change_id)
    await approve(documented, one.held_change_id)
    again = await documented.synced(GATEWAY)
    assert (again.run.models_unchanged, again.run.models_held) == (1, 1)


# Refusals ------------------------------------------------------------------------------------


async def test_what_is_not_open_or_not_there_is_refused(holding: Server) -> None:
    (entry,) = await held(holding)
    for unknown in ("4711", "nonsense", "9" * 40):
        refusal = await refused(approve(holding, unknown))
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", "HELD_CHANGE_NOT_FOUND")
        assert refusal.metadata == {"held_change_id": unknown}
    await reject(holding, entry.held_change_id)
    for again in (approve, reject):
        refusal = await refused(again(holding, entry.held_change_id))
        assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "HELD_CHANGE_NOT_OPEN")
        assert refusal.metadata == {"held_change_id": entry.held_change_id, "status": "rejected"}


async def test_of_many_decisions_at_once_one_counts(holding: Server) -> None:
    (entry,) = await held(holding)
    done = await asyncio.gather(
        *(decide(holding, entry.held_change_id) for decide in (approve, reject, approve, reject)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, pb.ResolveHeldChangeResponse) for each in done) == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"held_change_id": ""}, "held_change_id"),
        ({"decision": pb.HOLD_DECISION_UNSPECIFIED}, "decision"),
        ({"decision": 7}, "decision"),
        ({"note": "a" * 1001}, "note"),
        ({"note": "a\0b"}, "note"),
        ({"resolved_by": "a" * 201}, "resolved_by"),
        ({"resolved_by": "a\nb"}, "resolved_by"),
    ],
)
async def test_decisions_that_make_no_sense_are_refused(
    server: Server, fields: dict[str, Any], field: str
) -> None:
    sound = {"held_change_id": "1", "decision": pb.HOLD_DECISION_APPROVE}
    refusal = await refused(
        server.stub.ResolveHeldChange(pb.ResolveHeldChangeRequest(**{**sound, **fields}))
    )
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", (field,))


async def test_pages_of_held_changes_are_complete_and_their_tokens_checked(
    server: Server, feed: Feed
) -> None:
    names = [f"acme/{at}" for at in range(7)]
    sound = [row(f"acme/sound-{at}") for at in range(9)]
    feed.answer(payload(*(row(name, CHEAP) for name in names), *sound))
    await server.synced()
    feed.answer(payload(*(row(name, WRONG) for name in names), *sound))
    assert (await server.synced()).run.models_held == 7
    await reject(server, (await held(server, model_id="acme/3"))[0].held_change_id)
    both = [pb.HOLD_STATUS_REJECTED, pb.HOLD_STATUS_OPEN]
    seen: list[pb.HeldChange] = []
    token = ""
    while True:
        request = pb.ListHeldChangesRequest(statuses=both, page_size=3, page_token=token)
        page = await server.stub.ListHeldChanges(request)
        seen += page.held_changes
        if not (token := page.next_page_token):
            break
    assert {each.model_id for each in seen} == set(names)
    assert len(seen) == 7
    assert seen[-1].status == pb.HOLD_STATUS_REJECTED, "open ones first"
    for criteria in ({"source": "nobody"}, {"provider": "nobody"}, {"model_id": "nothing"}):
        assert not await held(server, **criteria), "an unknown name is no error, and has none"
    ids = [int(each.held_change_id) for each in seen[:-1]]
    assert ids == sorted(ids, reverse=True)
    for foreign in ({"page_token": "x"}, {"statuses": [0]}, {"page_size": -1}):
        refusal = await refused(server.stub.ListHeldChanges(pb.ListHeldChangesRequest(**foreign)))
        assert refusal.code == "INVALID_ARGUMENT"


async def test_a_run_that_held_and_changed_can_be_reverted_and_the_entry_stays(
    holding: Server,
) -> None:
    (entry,) = await held(holding)
    run = (await holding.runs("openrouter"))[0]
    done = await holding.stub.RevertSyncRun(pb.RevertSyncRunRequest(sync_run_id=run.sync_run_id))
    assert done.models_reverted == 1
    assert [each.held_change_id for each in await held(holding)] == [entry.held_change_id]
    approved = await approve(holding, entry.held_change_id)
    assert approved.table.revision == done.table.revision + 1
    assert (await holding.price(ONE)).prompt == "100.00"
    assert (await holding.price("acme/two")).prompt == "1.00"


async def test_a_price_that_was_approved_since_is_no_statement_of_the_run_that_held_it(
    holding: Server,
) -> None:
    run = (await holding.runs("openrouter"))[0]
    await approve(holding, (await held(holding))[0].held_change_id)
    done = await holding.stub.RevertSyncRun(pb.RevertSyncRunRequest(sync_run_id=run.sync_run_id))
    assert (done.models_reverted, done.quotes_unconfirmed, list(done.refused)) == (1, 0, [])
    price = await holding.price(ONE)
    assert (price.prompt, price.freshness) == ("100.00", pb.FRESHNESS_FRESH)


async def test_a_run_that_fails_leaves_what_is_held(holding: Server, feed: Feed) -> None:
    before = tables_only(contents(holding.conninfo))["held_changes"]
    feed.answer(b"<html>")
    assert (await holding.sync()).run.status == pb.SYNC_STATUS_FAILED
    assert tables_only(contents(holding.conninfo))["held_changes"] == before
    assert value(holding.conninfo, "SELECT count(*) FROM held_changes WHERE status = 'open'") == 1


async def test_several_servers_hold_one_entry_between_them(database: str, feed: Feed) -> None:
    feed.answer(payload(row(ONE, CHEAP)))
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(in_process_server(database, feed)) for _ in range(2)
        ]
        await servers[0].synced()
        feed.answer(payload(row(ONE, WRONG)))
        for server in servers:
            assert (await server.synced()).run.models_held == 1
        assert len(await held(servers[0])) == len(await held(servers[1])) == 1
