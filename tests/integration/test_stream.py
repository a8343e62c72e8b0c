"""The change stream over a real server: what its contract promises, promise by promise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from llmpricing.v1 import pricing_pb2 as pb
from tests.integration._feed import Feed, payload, row
from tests.integration._server import BUFFER, Server, in_process_server
from tests.integration._stream import Response, key_of, stream

MODEL = "stream/model"


def prices(count: int, price: str) -> Any:
    return payload(*(row(f"{MODEL}-{number}", price) for number in range(count)))


@pytest.fixture
async def server(database: str, feed: Feed) -> AsyncIterator[Server]:
    """A server that keeps revisions in memory."""
    async with in_process_server(database, feed, **BUFFER) as running:
        yield running


async def sync(server: Server, feed: Feed, answer: object) -> int:
    """Sync an answer of OpenRouter's; the revision after it."""
    feed.answer(answer)
    return (await server.synced()).run.revision


async def history(server: Server) -> list[tuple[int, str, str]]:
    """Every change as it stands in the database, in order."""
    connection = await psycopg.AsyncConnection.connect(server.conninfo)
    async with connection:
        cursor = await connection.execute(
            "SELECT revision, provider, model_id FROM model_pricing_history "
            "JOIN models USING (model_key) ORDER BY revision, model_key"
        )
        return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]


async def test_the_first_message_comes_at_once_with_revision_and_epoch(server: Server) -> None:
    head = await server.get("gpt-4o", "openai")
    async with stream(server.stub) as reader:
        started = await reader.read()
    assert started == Response(
        table=head.table,
        event=pb.STREAM_EVENT_STARTED,
        last_fragment=True,
    )


async def test_a_stream_from_now_tells_what_comes_and_nothing_else(
    server: Server, feed: Feed
) -> None:
    await sync(server, feed, payload(row(MODEL)))
    async with stream(server.stub) as reader:
        await reader.next(pb.STREAM_EVENT_STARTED)
        revision = await sync(server, feed, payload(row(MODEL, "0.000005")))
        assert [key_of(change) for change in await reader.revision()] == [
            (revision, "openrouter", MODEL)
        ]


async def test_ordered(server: Server, feed: Feed) -> None:
    for price in range(1, 6):
        await sync(server, feed, prices(3, f"0.00000{price}"))
    async with stream(server.stub, after_revision=0) as reader:
        keys = await reader.upto(6)
    assert [key[0] for key in keys] == sorted(key[0] for key in keys)
    assert keys == await history(server)


async def test_unique(server: Server, feed: Feed) -> None:
    async with stream(server.stub, after_revision=0) as reader:
        for price in range(1, 6):
            await sync(server, feed, prices(3, f"0.00000{price}"))
        keys = await reader.upto(6)
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("stream_buffer_bytes", [0, 30_000, 32 * 1024 * 1024])
async def test_reliable_whether_revisions_are_kept_in_memory_or_not(
    database: str, feed: Feed, stream_buffer_bytes: int
) -> None:
    async with (
        in_process_server(database, feed, stream_buffer_bytes=stream_buffer_bytes) as server,
        stream(server.stub, after_revision=0) as live,
    ):
        for price in range(1, 8):
            await sync(server, feed, prices(40, f"0.00000{price}"))
        async with stream(server.stub, after_revision=0) as late:
            assert await live.upto(8) == await late.upto(8) == await history(server)


@pytest.mark.parametrize("stream_buffer_bytes", [0, 32 * 1024 * 1024])
async def test_atomic_per_revision(database: str, feed: Feed, stream_buffer_bytes: int) -> None:
    async with in_process_server(database, feed, stream_buffer_bytes=stream_buffer_bytes) as server:
        feed.answer(prices(2_000, "0.000001"))
        async with stream(server.stub, after_revision=1, progress_seconds=0.1) as reader:
            await reader.next(pb.STREAM_EVENT_STARTED)
            await server.synced()
            messages = [await reader.next(pb.STREAM_EVENT_CHANGES)]
            while not messages[-1].last_fragment:
                messages.append(await reader.read())
    assert len(messages) > 1
    assert {(one.table.revision, one.event) for one in messages} == {(2, pb.STREAM_EVENT_CHANGES)}
    assert [one.last_fragment for one in messages] == [False] * (len(messages) - 1) + [True]
    assert all(one.ByteSize() < 1024 * 1024 for one in messages)
    assert sum(len(one.changes) for one in messages) == 2_000


async def test_resumable_at_every_revision(server: Server, feed: Feed) -> None:
    for price in range(1, 6):
        await sync(server, feed, prices(2, f"0.00000{price}"))
    everything = await history(server)
    async with stream(server.stub) as reader:
        epoch = (await reader.read()).table.epoch
    for saved in range(7):
        async with stream(server.stub, after_revision=saved, epoch=epoch) as reader:
            started = await reader.read()
            assert (started.table.revision, started.last_fragment) == (saved, True)
            if saved < 6:
                assert await reader.upto(6) == [key for key in everything if key[0] > saved]


async def test_bookmarkable_when_nothing_passes_the_filters(server: Server, feed: Feed) -> None:
    async with stream(server.stub, providers=["nobody"], progress_seconds=0.1) as reader:
        before = (await reader.read()).table.revision
        revision = await sync(server, feed, payload(row(MODEL)))
        while (message := await reader.read()).table.revision < revision:
            assert (message.event, message.table.revision) == (pb.STREAM_EVENT_PROGRESS, before)
        assert message == Response(
            table=pb.TableRevision(revision=revision, epoch=message.table.epoch),
            event=pb.STREAM_EVENT_PROGRESS,
            last_fragment=True,
        )


async def test_bookmarkable_while_it_catches_up_on_what_does_not_pass(
    database: str, feed: Feed
) -> None:
    async with (
        in_process_server(database, feed, stream_buffer_bytes=0) as server,
        stream(
            server.stub, after_revision=0, model_ids=["no such model"], progress_seconds=0.1
        ) as reader,
    ):
        await reader.next(pb.STREAM_EVENT_STARTED)
        assert (await reader.next(pb.STREAM_EVENT_PROGRESS)).last_fragment


async def test_a_snapshot_and_the_changes_after_it_are_one_sequence(
    server: Server, feed: Feed
) -> None:
    await sync(server, feed, prices(3, "0.000001"))
    revision = await sync(server, feed, prices(3, "0.000002"))
    async with stream(server.stub, snapshot=True) as reader:
        started = await reader.read()
        assert (started.event, started.last_fragment) == (pb.STREAM_EVENT_STARTED, False)
        taken_at, found = await reader.snapshot()
        assert started.table.revision == taken_at == revision
        last = [row(f"{MODEL}-{number}", "0.000002") for number in (0, 2)]
        changed = await sync(server, feed, payload(row(f"{MODEL}-1", "0.000003"), *last))
        assert [key_of(change) for change in await reader.revision()] == [
            (changed, "openrouter", f"{MODEL}-1")
        ]
    assert len(found) == len({key[1:] for key in await history(server)})
    shown = found["openrouter", f"{MODEL}-1"]
    assert (shown.prompt, shown.price_revision) == ("2.00", revision)


async def test_a_snapshot_says_what_get_pricing_says(server: Server, feed: Feed) -> None:
    await sync(server, feed, prices(2, "0.000001"))
    async with stream(server.stub, snapshot=True) as reader:
        await reader.read()
        _, found = await reader.snapshot()
    for provider, model_id in [
        ("openrouter", f"{MODEL}-0"),
        ("openai", "gpt-4o"),
        ("anthropic", "claude-sonnet-4-5"),
    ]:
        assert found[provider, model_id] == await server.price(model_id, provider)


async def test_a_snapshot_of_what_matches_may_be_empty(server: Server) -> None:
    async with stream(server.stub, snapshot=True, model_ids=["no such model"]) as reader:
        await reader.read()
        assert await reader.snapshot() == (1, {})


async def test_filters_narrow_by_seller_under_any_name_and_by_model(
    server: Server, feed: Feed
) -> None:
    async with (
        stream(server.stub, after_revision=0, providers=["XAI"]) as by_seller,
        stream(server.stub, after_revision=0, model_ids=["gpt-4o", "gpt-4o-mini"]) as by_model,
        stream(
            server.stub, after_revision=0, providers=["openai"], model_ids=["gpt-4o"]
        ) as by_both,
    ):
        everything = await history(server)
        assert await by_seller.upto(1) == [key for key in everything if key[1] == "x-ai"]
        assert await by_model.upto(1) == [
            key for key in everything if key[2] in ("gpt-4o", "gpt-4o-mini")
        ]
        assert await by_both.upto(1) == [(1, "openai", "gpt-4o")]


async def test_every_kind_of_change_comes_with_the_price_before_and_after(
    server: Server, feed: Feed
) -> None:
    other = row("stream/other")
    async with stream(server.stub, model_ids=[MODEL]) as reader:
        await reader.read()
        runs = []
        for answer in (
            payload(other, row(MODEL, "0.000001")),
            payload(other, row(MODEL, "0.000002")),
            payload(other),
            payload(other),
            payload(other, row(MODEL, "0.000002")),
        ):
            feed.answer(answer)
            runs.append((await server.synced(triggered_by="test")).run.sync_run_id)
        added, changed, delisted, restored = [(await reader.revision())[0] for _ in range(4)]
    assert [
        (one.kind, one.origin.sync_run_id, one.origin.note, one.source)
        for one in (added, changed, delisted, restored)
    ] == [
        (kind, run, "test", "openrouter")
        for kind, run in (
            (pb.CHANGE_KIND_ADDED, runs[0]),
            (pb.CHANGE_KIND_CHANGED, runs[1]),
            (pb.CHANGE_KIND_DELISTED, runs[3]),
            (pb.CHANGE_KIND_RESTORED, runs[4]),
        )
    ]
    assert not added.HasField("old_rate_card")
    assert [rate.price for rate in added.new_rate_card.rates] == ["0.000001", "0.000002"]
    assert changed.old_rate_card == added.new_rate_card
    assert [rate.price for rate in changed.new_rate_card.rates] == ["0.000002", "0.000002"]
    assert delisted.old_rate_card == delisted.new_rate_card == changed.new_rate_card
    assert restored.new_rate_card == changed.new_rate_card
    assert changed.new_rate_card.rate_card_id != changed.old_rate_card.rate_card_id
    assert changed.effective_time.ToDatetime() > added.effective_time.ToDatetime()


async def test_a_revert_is_streamed_as_any_other_change(server: Server, feed: Feed) -> None:
    await sync(server, feed, payload(row(MODEL, "0.000001")))
    feed.answer(payload(row(MODEL, "0.000002")))
    run = (await server.synced()).run.sync_run_id
    async with stream(server.stub) as reader:
        await reader.read()
        await server.stub.RevertSyncRun(
            pb.RevertSyncRunRequest(sync_run_id=run, triggered_by="somebody")
        )
        (change,) = await reader.revision()
    assert change.origin == pb.ChangeOrigin(
        kind=pb.ORIGIN_KIND_REVERT, actor="admin", note="somebody", reverted_run_id=run
    )
    assert change.new_input == "1.00"


async def test_a_failed_and_a_dry_run_are_no_revision(server: Server, feed: Feed) -> None:
    async with stream(server.stub, progress_seconds=0.1) as reader:
        before = (await reader.read()).table.revision
        feed.answer(b"<html>")
        assert (await server.sync()).run.status == pb.SYNC_STATUS_FAILED
        feed.answer(payload(row(MODEL)))
        await server.sync(dry_run=True)
        assert (await reader.next(pb.STREAM_EVENT_PROGRESS)).table.revision == before
        await sync(server, feed, payload(row(MODEL)))
        assert [change.revision for change in await reader.revision()] == [before + 1]


async def test_many_streams_at_once_tell_the_same(server: Server, feed: Feed) -> None:
    async def follow() -> list[Any]:
        async with stream(server.stub, after_revision=0) as reader:
            return await reader.upto(4)

    followers = [asyncio.create_task(follow()) for _ in range(20)]
    for price in range(1, 4):
        await sync(server, feed, prices(20, f"0.00000{price}"))
    everything = await history(server)
    assert all(keys == everything for keys in await asyncio.gather(*followers))
