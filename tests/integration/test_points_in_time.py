"""Two axes of time: what was in effect at an instant, and what was known of it at another."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from llmpricing.rate_card import RateCard
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.json_document import decode_json
from pricing_server.providers import genai_prices, openrouter
from tests._recorded import recorded
from tests.integration._feed import Feed, recording, row
from tests.integration._server import CALL_SECONDS, Server
from tests.integration._status import refused

DAYS = ("2026-06-18", "2026-08-21", "2026-08-22")
BEGINNING = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def at(
    server: Server,
    model_id: str,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
    provider: str | None = "openrouter",
    **fields: Any,
) -> pb.GetPricingResponse:
    request = pb.GetPricingRequest(model_id=model_id, provider=provider, **fields)
    if as_of is not None:
        request.read.as_of.FromDatetime(as_of)
    if known_at is not None:
        request.read.known_at.FromDatetime(known_at)
    return await server.stub.GetPricing(request, timeout=CALL_SECONDS)


async def card_at(server: Server, *arguments: Any) -> str:
    return (await at(server, *arguments)).pricing.rate_card_id


def written_at(response: pb.SyncProviderResponse) -> datetime:
    """A time at which the run, and no later one, was known."""
    return response.run.completed_time.ToDatetime(UTC)


# Recorded days ---------------------------------------------------------------------------


@pytest.mark.recorded
async def test_every_changed_model_of_recorded_days_is_told_at_each_instant_as_known_at_each(
    server: Server, feed: Feed
) -> None:
    started = datetime.now(UTC)
    cards: list[Mapping[str, RateCard]] = []
    obtained: list[datetime] = []
    known: list[datetime] = []
    for day in DAYS:
        body = recorded(f"openrouter_{day}.json").read_bytes()
        document = decode_json(body)
        listing = openrouter.SOURCE.read(document, datetime.now(UTC))
        obtained.append(listing.obtained_at)
        cards.append({model.model_id: model.card for model in listing.models})
        feed.answer(body)
        known.append(written_at(await server.synced()))
    held = await server.stub.ListHeldChanges(
        pb.ListHeldChangesRequest(statuses=pb.HoldStatus.values()[1:]), timeout=CALL_SECONDS
    )
    doubted = {each.model_id for each in held.held_changes}
    assert len(doubted) <= 1
    changed = [
        model_id
        for model_id, card in cards[0].items()
        if model_id not in doubted
        and any(not each[model_id].same_prices_as(card) for each in cards[1:] if model_id in each)
    ]
    assert len(changed) > 100
    assert genai_prices.SOURCE.release is not None
    listed = genai_prices.read(genai_prices.SOURCE.release.load(), started).models
    catalogue = {model.model_id for model in listed if model.provider == "openrouter"}
    for model_id in changed:
        ids = [each[model_id].card_id if model_id in each else None for each in cards]
        first, second, third = obtained
        expected = {
            # As known now.
            (first, None): ids[0],
            (second - HOUR, None): ids[0],
            (second, None): ids[1] or ids[0],
            (third - HOUR, None): ids[1] or ids[0],
            (third + HOUR, None): ids[2] or ids[1] or ids[0],
            # As known after the first day, and after the second.
            (third + HOUR, known[0]): ids[0],
            (third + HOUR, known[1]): ids[1] or ids[0],
            (first, known[1]): ids[0],
            (third + HOUR, known[2]): ids[2] or ids[1] or ids[0],
        }
        for (as_of, known_at), card_id in expected.items():
            found = await at(server, model_id, as_of, known_at)
            told = _alike(found.pricing.rate_card_id, ids, cards, model_id)
            wanted = _alike(card_id, ids, cards, model_id)
            assert told == wanted, (model_id, as_of, known_at)
        before = (await at(server, model_id, first - HOUR)).pricing
        assert before.freshness == pb.FRESHNESS_BACKDATED
        if model_id in catalogue:  # What was known first was known before.
            assert before.rate_card_id == await card_at(server, model_id, None, started)
        else:
            assert before.rate_card_id == ids[0]
            missing = await refused(at(server, model_id, None, started))
            assert missing.reason == "MODEL_NOT_FOUND"
    assert not catalogue.issuperset(changed)


def _alike(
    card_id: str | None,
    ids: Sequence[str | None],
    cards: Sequence[Mapping[str, RateCard]],
    model_id: str,
) -> str | None:
    """The first card with the same prices: binary noise is no change."""
    [card] = {
        each[model_id].card_id: each[model_id]
        for each in cards
        if model_id in each and each[model_id].card_id == card_id
    }.values()
    for each in cards:
        if model_id in each and each[model_id].same_prices_as(card):
            return each[model_id].card_id
    return None


# Against a plain reading of history ------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
async def test_each_instant_is_told_as_replaying_what_was_stated_tells_it(
    server: Server, feed: Feed, seed: int
) -> None:
    """Also when data arrives out of order: what is committed later decides from its time on."""
    chance = random.Random(seed)
    statements: list[tuple[datetime, str]] = []
    known: list[datetime] = []
    for _ in range(8):
        obtained = BEGINNING + chance.randrange(40) * HOUR
        prompt = chance.choice(["0.000001", "0.000002", "0.000003"])
        feed.answer(recording(obtained.isoformat(), row("acme/one", prompt)))
        known.append(written_at(await server.synced()))
        statements.append((obtained, prompt))
    for upto in range(1, len(statements) + 1):
        for hours in range(-1, 42, 3):
            as_of = BEGINNING + hours * HOUR + timedelta(minutes=1)
            wanted = _replayed(statements[:upto], as_of)
            found = (await at(server, "acme/one", as_of, known[upto - 1])).pricing
            assert found.prompt == f"{float(wanted) * 1e6:.2f}", (seed, upto, hours)
            if upto == len(statements):
                now = (await at(server, "acme/one", as_of)).pricing
                assert now.rate_card_id == found.rate_card_id


def _replayed(statements: Sequence[tuple[datetime, str]], as_of: datetime) -> str:
    """Statement by statement, each over what it says of the time from its data on."""
    rows = [statements[0]]
    for obtained, prompt in statements[1:]:
        if prompt != rows[-1][1]:  # The same price is no news.
            rows.append((obtained, prompt))
    told = [prompt for obtained, prompt in rows if obtained <= as_of]
    return told[-1] if told else rows[0][1]


# Overrides, reverts, layers --------------------------------------------------------------


async def test_an_override_was_in_force_while_it_was_and_not_before_or_after(
    server: Server, feed: Feed
) -> None:
    feed.answer(recording(BEGINNING.isoformat(), row("acme/one", "0.000001")))
    await server.synced()
    names: dict[str, Any] = {"provider": "openrouter", "model_id": "acme/one"}
    request = pb.SetPriceOverrideRequest(
        **names, prompt="7", register=True, reason="test", set_by="ann"
    )
    overridden = await server.stub.SetPriceOverride(request, timeout=CALL_SECONDS)
    cleared = await server.stub.ClearPriceOverride(
        pb.ClearPriceOverrideRequest(**names), timeout=CALL_SECONDS
    )
    set_at = overridden.price_override.set_time.ToDatetime(UTC)
    ended = cleared.price_change.changed_time.ToDatetime(UTC)
    assert cleared.price_change.effective_time.ToDatetime(UTC) == ended
    tick = timedelta(microseconds=1)
    for as_of, prompt, source in (
        (set_at - tick, "1.00", pb.PRICING_SOURCE_DATABASE),
        (set_at, "7.00", pb.PRICING_SOURCE_OVERRIDE),
        (ended - tick, "7.00", pb.PRICING_SOURCE_OVERRIDE),
        (ended, "1.00", pb.PRICING_SOURCE_DATABASE),
    ):
        found = (await at(server, "acme/one", as_of)).pricing
        assert (found.prompt, found.pricing_source) == (prompt, source)
    assert (await at(server, "acme/one", set_at)).pricing.valid_until_time.ToDatetime(UTC) == ended


async def test_a_reverted_price_never_was_in_effect_and_was_believed_all_the_same(
    server: Server, feed: Feed
) -> None:
    feed.answer(recording(BEGINNING.isoformat(), row("acme/one", "0.000001")))
    await server.synced()
    feed.answer(recording((BEGINNING + HOUR).isoformat(), row("acme/one", "0.000005")))
    wrong = await server.synced()
    reverted = await server.stub.RevertSyncRun(
        pb.RevertSyncRunRequest(sync_run_id=wrong.run.sync_run_id), timeout=CALL_SECONDS
    )
    as_of = BEGINNING + 2 * HOUR
    assert (await at(server, "acme/one", as_of)).pricing.prompt == "1.00"
    believed = await at(server, "acme/one", as_of, written_at(wrong))
    assert believed.pricing.prompt == "5.00"
    assert believed.table.revision == wrong.run.revision < reverted.table.revision


async def test_only_the_price_table_tells_what_was_known(server: Server) -> None:
    catalogue = pb.ReadOptions(accept_sources=[pb.PRICING_SOURCE_CATALOG])
    only: dict[str, Any] = {"provider": "openai", "read": catalogue}
    found = await at(server, "gpt-4o", as_of=BEGINNING, **only)
    assert found.pricing.pricing_source == pb.PRICING_SOURCE_CATALOG
    error = await refused(at(server, "gpt-4o", known_at=datetime.now(UTC), **only))
    assert error.reason == "MODEL_NOT_FOUND"


async def test_the_future_cannot_be_known_and_a_revision_is_no_time(server: Server) -> None:
    soon = datetime.now(UTC) + HOUR
    error = await refused(at(server, "gpt-4o", None, soon))
    assert (error.code, error.fields) == ("INVALID_ARGUMENT", ("read.known_at",))
    error = await refused(
        at(server, "gpt-4o", None, datetime.now(UTC), read=pb.ReadOptions(min_revision=1))
    )
    assert error.code == "INVALID_ARGUMENT"
