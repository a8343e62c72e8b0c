"""Two recorded days of OpenRouter, replayed, against the raw JSON read on its own.

The recordings are not part of this repository.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from llmpricing.v1 import pricing_pb2 as pb
from tests._recorded import recorded
from tests.integration._database import contents, prices_only, rows, tables_only, value
from tests.integration._feed import Feed
from tests.integration._server import Server

OLD, NEW = "2026-06-18", "2026-08-22"

Pricing = Mapping[str, Any]

pytestmark = pytest.mark.recorded


@dataclass(frozen=True, slots=True)
class Day:
    """One recording: its bytes, and the prices in it by model."""

    body: bytes
    pricing: Mapping[str, Pricing]
    fetched_at: str


@pytest.fixture(scope="module")
def days() -> dict[str, Day]:
    found = {}
    for day in (OLD, NEW):
        body = recorded(f"openrouter_{day}.json").read_bytes()
        document = json.loads(body)
        pricing = {each["id"]: each["pricing"] for each in document["data"]}
        found[day] = Day(body, pricing, document["fetchedAt"])
    return found


# The reference: what the raw JSON says -----------------------------------------------------


def differs(one: str | None, other: str | None) -> bool:
    """By more than the noise that the feed has of binary fractions."""
    if one is None or other is None:
        return one is not other
    first, second = Decimal(one), Decimal(other)
    return abs(first - second) > Decimal("1E-14") * max(abs(first), abs(second))


def has_changed(old: Pricing, new: Pricing, *keys: str) -> bool:
    return any(differs(old.get(key), new.get(key)) for key in keys)


def raw_headline(model_id: str, pricing: Pricing, at: datetime) -> tuple[str | None, str | None]:
    """Prompt and completion in USD per 1M tokens: of the base, or of the time of day."""
    stated = {"prompt": pricing["prompt"], "completion": pricing["completion"]}
    if "-1" in stated.values():
        return None, None
    clock = at.hour * 100 + at.minute
    for override in pricing.get("overrides", ()):
        if "utc_start" not in override:
            continue
        start, end = override["utc_start"], override["utc_end"]
        is_now = start <= clock < end if start < end else clock >= start or clock < end
        if is_now:
            stated |= {key: override[key] for key in stated if key in override}
    return (
        per_million(stated["prompt"], is_free=model_id.endswith(":free")),
        per_million(stated["completion"], is_free=model_id.endswith(":free")),
    )


def per_million(per_token: str, *, is_free: bool) -> str | None:
    price = Decimal(per_token) * 1_000_000
    if price == 0 and not is_free:
        return None
    whole, _, decimals = f"{price:f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def plain_meters(change: pb.PriceChange) -> set[pb.Meter.ValueType]:
    """The meters whose price without conditions differs."""
    return {rate.meter for rate in change.rates if not rate.HasField("conditions")}


async def replay(server: Server, feed: Feed, day: Day) -> pb.SyncProviderResponse:
    feed.answer(day.body)
    response = await server.synced()
    assert response.run.models_fetched == len(day.pricing)
    assert (response.run.errors, list(response.run.error_details)) == (0, [])
    assert not response.price_changes_truncated
    return response


# The promises ----------------------------------------------------------------------------------


async def test_two_recorded_days_differ_in_61_headlines_108_plain_rates_and_131_models(
    server: Server, feed: Feed, days: dict[str, Day]
) -> None:
    old, new = days[OLD], days[NEW]
    both = old.pricing.keys() & new.pricing.keys()
    await replay(server, feed, old)
    response = await replay(server, feed, new)

    changed = {
        change.model_id: change
        for change in response.price_changes
        # New ones may have changed too: against the price that the catalogue has for them.
        if change.kind == pb.CHANGE_KIND_CHANGED and change.model_id in both
    }
    headlines = {pb.METER_INPUT_TOKENS, pb.METER_OUTPUT_TOKENS}
    found = {
        "headline": {name for name in changed if plain_meters(changed[name]) & headlines},
        "plain": {name for name in changed if plain_meters(changed[name])},
        "any": set(changed),
    }
    expected: dict[str, set[str]] = {"headline": set(), "plain": set(), "any": set()}
    for name in both:
        before, after = old.pricing[name], new.pricing[name]
        keys = (before.keys() | after.keys()) - {"overrides"}
        is_plain = has_changed(before, after, *keys)
        if has_changed(before, after, "prompt", "completion"):
            expected["headline"].add(name)
        if is_plain:
            expected["plain"].add(name)
        if is_plain or before.get("overrides") != after.get("overrides"):
            expected["any"].add(name)
    counted = {kind: len(names) for kind, names in expected.items()}
    assert (len(both), counted) == (295, {"headline": 61, "plain": 108, "any": 131})
    for kind, names in expected.items():
        assert (found[kind] - names, names - found[kind]) == (set(), set()), kind

    assert response.run.models_missing == len(old.pricing.keys() - new.pricing.keys()) == 44
    assert response.run.models_updated >= 131
    assert response.run.models_unchanged >= 295 - 131


async def test_every_headline_is_that_of_the_raw_json(
    server: Server, feed: Feed, days: dict[str, Day]
) -> None:
    for day in (OLD, NEW):
        await replay(server, feed, days[day])
        told_by_catalogue = 0
        held = []
        for model_id, pricing in days[day].pricing.items():
            before = raw_headline(model_id, pricing, datetime.now(UTC))
            price = await server.price(model_id)
            after = raw_headline(model_id, pricing, datetime.now(UTC))
            shown = (
                price.prompt if price.HasField("prompt") else None,
                price.completion if price.HasField("completion") else None,
            )
            if before == (None, None) and not price.source_detail.startswith("OpenRouter"):
                told_by_catalogue += 1  # Where its seller states no price, the catalogue may.
                continue
            if price.HasField("pending_change"):
                held.append(model_id)
                pending = price.pending_change
                assert (pending.prompt, pending.completion) in (before, after)
                continue
            assert shown in (before, after), model_id
            assert price.verified_time.ToJsonString() == days[day].fetched_at
        assert told_by_catalogue <= 10
        # The catalogue, which is newer than the first recording, is 35 times above it.
        assert held == (["qwen/qwen3-235b-a22b-thinking-2507"] if day == OLD else [])
        told_by_catalogue += len(held)
        told = value(
            server.conninfo,
            "SELECT count(*) FROM model_pricing WHERE source = 'openrouter'",
        )
        assert told >= len(days[day].pricing) - told_by_catalogue


async def test_the_same_recording_again_changes_no_price_and_no_history(
    server: Server, feed: Feed, days: dict[str, Day]
) -> None:
    await replay(server, feed, days[OLD])
    second = await replay(server, feed, days[NEW])
    before = tables_only(prices_only(contents(server.conninfo)))
    third = await replay(server, feed, days[NEW])
    after = tables_only(prices_only(contents(server.conninfo)))
    assert third.run.models_unchanged == len(days[NEW].pricing)
    assert (third.run.revision, list(third.price_changes)) == (second.run.revision, [])
    assert third.run.models_missing == second.run.models_missing
    before.pop("price_quotes"), after.pop("price_quotes")  # They name the run that read them last.
    assert after == before
    assert before["model_pricing_history"]


async def test_a_price_cached_before_is_answered_anew_at_once(
    server: Server, feed: Feed, days: dict[str, Day]
) -> None:
    await replay(server, feed, days[OLD])
    both = days[OLD].pricing.keys() & days[NEW].pricing.keys()
    dearer = [
        name
        for name in sorted(both)
        if differs(days[OLD].pricing[name]["prompt"], days[NEW].pricing[name]["prompt"])
    ][:20]
    for name in dearer:
        expected = per_million(days[OLD].pricing[name]["prompt"], is_free=False)
        assert (await server.price(name)).prompt == (expected or "")
    response = await replay(server, feed, days[NEW])
    for name in dearer:
        answer = await server.get(name, "openrouter")
        expected = per_million(days[NEW].pricing[name]["prompt"], is_free=False)
        assert answer.pricing.prompt == (expected or "")
        assert answer.table.revision == answer.pricing.price_revision == response.run.revision


async def test_history_of_the_recorded_days_replays_to_the_prices_in_force(
    server: Server, feed: Feed, days: dict[str, Day]
) -> None:
    for day in (OLD, NEW):
        await replay(server, feed, days[day])
    differing = rows(
        server.conninfo,
        """
        SELECT models.model_id, latest.card_id, pricing.card_id AS in_force
        FROM model_pricing AS pricing
        JOIN models USING (model_key)
        LEFT JOIN LATERAL (
            SELECT * FROM model_pricing_history AS history
            WHERE history.model_key = pricing.model_key ORDER BY revision DESC LIMIT 1
        ) AS latest ON true
        WHERE (latest.card_id, latest.revision, latest.effective_time)
              IS DISTINCT FROM (pricing.card_id, pricing.revision, pricing.effective_time)
           OR (latest.input_price, latest.output_price)
              IS DISTINCT FROM (pricing.price_per_input_token, pricing.price_per_output_token)
        """,
    )
    assert differing == []
