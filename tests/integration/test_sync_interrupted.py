"""Whatever interrupts a sync: nobody waits for ever, no half is applied, a later sync works."""

from __future__ import annotations

import asyncio
import os
import signal

import grpc
import pytest

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1 import pricing_pb2_grpc
from pricing_server import app
from tests.integration._database import (
    contents,
    prices_only,
    rows,
    value,
    wait_for_sessions_to_end,
)
from tests.integration._feed import Feed, payload, row
from tests.integration._poll import eventually
from tests.integration._server import Server, StartProcess, in_process_server
from tests.integration._status import refused

ONE = row("acme/one")
REQUEST = pb.SyncProviderRequest(provider="openrouter")


async def begun(server: Server, feed: Feed) -> str:
    """The id of the run that waits for the feed."""
    await feed.asked()
    (run,) = await server.runs()
    assert run.status == pb.SYNC_STATUS_IN_PROGRESS
    return run.sync_run_id


# Callers that go away ----------------------------------------------------------------------------


async def test_a_caller_that_cancels_does_not_cancel_the_run(server: Server, feed: Feed) -> None:
    feed.answer(payload(ONE))
    feed.hold()
    call = server.stub.SyncProvider(REQUEST)
    waiting = asyncio.ensure_future(_ended(call))
    sync_run_id = await begun(server, feed)
    call.cancel()
    assert await waiting is grpc.StatusCode.CANCELLED
    assert (await server.run(sync_run_id)).status == pb.SYNC_STATUS_IN_PROGRESS
    feed.release()
    assert (await server.ended_run(sync_run_id)).status == pb.SYNC_STATUS_SUCCESS
    assert (await server.price("acme/one")).prompt == "1.00"


async def test_a_caller_that_times_out_does_not_cancel_the_run(server: Server, feed: Feed) -> None:
    feed.answer(payload(ONE))
    feed.hold()
    call = server.stub.SyncProvider(REQUEST, timeout=1.5)
    waiting = asyncio.ensure_future(_ended(call))
    sync_run_id = await begun(server, feed)
    assert await waiting is grpc.StatusCode.DEADLINE_EXCEEDED
    feed.release()
    run = await server.ended_run(sync_run_id)
    assert (run.status, run.models_registered) == (pb.SYNC_STATUS_SUCCESS, 1)
    assert (await server.price("acme/one")).prompt == "1.00"


async def test_a_caller_whose_connection_breaks_does_not_cancel_the_run(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(ONE))
    feed.hold()
    channel = grpc.aio.insecure_channel(server.address)
    method = channel.unary_unary(
        "/llmpricing.v1.PricingService/SyncProvider",
        request_serializer=pb.SyncProviderRequest.SerializeToString,
        response_deserializer=pb.SyncProviderResponse.FromString,
    )
    waiting = asyncio.ensure_future(_ended(method(REQUEST)))
    sync_run_id = await begun(server, feed)
    await channel.close(None)
    await waiting
    feed.release()
    assert (await server.ended_run(sync_run_id)).status == pb.SYNC_STATUS_SUCCESS


async def _ended(
    call: grpc.aio.UnaryUnaryCall[pb.SyncProviderRequest, pb.SyncProviderResponse],
) -> grpc.StatusCode:
    return await call.code()


# Two at once -------------------------------------------------------------------------------------


async def test_a_second_sync_of_the_source_is_refused_at_once(server: Server, feed: Feed) -> None:
    feed.answer(payload(ONE))
    feed.hold()
    first = asyncio.ensure_future(server.synced())
    sync_run_id = await begun(server, feed)
    for dry_run in (False, True):
        refusal = await refused(server.sync(dry_run=dry_run))
        assert (refusal.code, refusal.reason) == ("ABORTED", "SYNC_IN_PROGRESS")
        assert refusal.metadata == {"source": "openrouter", "sync_run_id": sync_run_id}
    # Another source is not held up.
    await server.synced("genai-prices")
    feed.release()
    assert (await first).run.sync_run_id == sync_run_id
    assert len(feed.requests) == 1
    assert len(await server.runs()) == 1


async def test_a_sync_that_follows_another_at_once_is_not_refused(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(ONE))
    for _ in range(15):
        await server.synced()
        await server.synced(dry_run=True)


async def test_a_second_sync_is_refused_by_another_server_on_the_database_too(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(ONE))
    feed.hold()
    first = asyncio.ensure_future(server.synced())
    sync_run_id = await begun(server, feed)
    async with in_process_server(server.conninfo, feed) as other:
        refusal = await refused(other.sync())
        assert (refusal.code, refusal.reason) == ("ABORTED", "SYNC_IN_PROGRESS")
        # Starting beside a run does not declare it dead.
        assert (await other.run(sync_run_id)).status == pb.SYNC_STATUS_IN_PROGRESS
        feed.release()
        assert (await first).run.status == pb.SYNC_STATUS_SUCCESS
        assert (await other.price("acme/one")).prompt == "1.00"


async def test_servers_that_start_at_once_on_a_new_database_all_serve(
    empty_database: str, feed: Feed
) -> None:
    async def first_answer() -> str:
        async with in_process_server(empty_database, feed) as server:
            price = (await server.get("gpt-oss-120b", "openai")).pricing
            assert price.pricing_source == pb.PRICING_SOURCE_DATABASE
            return price.prompt

    answers = await asyncio.gather(*(first_answer() for _ in range(3)), return_exceptions=True)
    assert len(set(map(str, answers))) == 1, answers
    (run,) = rows(empty_database, "SELECT status FROM pricing_sync_log WHERE status = 'success'")
    assert run


# Deaths ------------------------------------------------------------------------------------------


async def test_a_sync_whose_database_session_is_ended_changes_nothing(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(ONE))
    feed.hold()
    before = prices_only(contents(server.conninfo))
    first = asyncio.ensure_future(server.sync())
    sync_run_id = await begun(server, feed)
    ended = value(
        server.conninfo,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'pricing-sync'",
    )
    assert ended == 1
    wait_for_sessions_to_end(server.conninfo, "pricing-sync")
    feed.release()
    response = await first
    assert response.run.status == pb.SYNC_STATUS_FAILED
    assert response.run.sync_run_id == sync_run_id
    assert response.run.error_message
    assert prices_only(contents(server.conninfo)) == before
    again = await server.synced()
    assert again.run.models_registered == 1
    run = await server.run(sync_run_id)
    assert run.status == pb.SYNC_STATUS_FAILED
    assert run.error_message


async def test_a_run_whose_server_is_killed_ends_failed_at_the_next_start(
    start_process: StartProcess, database: str, feed: Feed
) -> None:
    feed.answer(payload(ONE))
    feed.hold()
    doomed = start_process(PRICING_DATABASE_URL=database, PRICING_OPENROUTER_URL=feed.url)
    address = doomed.address
    before = prices_only(contents(database))
    sync_run_id = await _sync_until_killed(address, feed, doomed.process.pid)
    assert doomed.wait() == -signal.SIGKILL
    wait_for_sessions_to_end(database, "pricing-sync")
    feed.release()
    async with in_process_server(database, feed) as server:
        run = await server.run(sync_run_id)
        assert run.status == pb.SYNC_STATUS_FAILED
        assert run.error_message
        assert prices_only(contents(database)) == before
        assert (await server.synced()).run.models_registered == 1


async def test_a_run_whose_server_is_killed_ends_failed_at_the_next_sync_elsewhere(
    start_process: StartProcess, server: Server, feed: Feed
) -> None:
    feed.answer(payload(ONE))
    feed.hold()
    doomed = start_process(PRICING_DATABASE_URL=server.conninfo, PRICING_OPENROUTER_URL=feed.url)
    sync_run_id = await _sync_until_killed(doomed.address, feed, doomed.process.pid)
    doomed.wait()
    feed.release()

    async def synced() -> bool:
        # Refused until Postgres has noticed the death: a matter of milliseconds.
        try:
            return (await server.sync()).run.status == pb.SYNC_STATUS_SUCCESS
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.ABORTED:
                raise
            return False

    assert await eventually(synced, "a sync after the death of another server")
    assert (await server.run(sync_run_id)).status == pb.SYNC_STATUS_FAILED
    assert (await server.price("acme/one")).prompt == "1.00"


async def _sync_until_killed(address: str, feed: Feed, pid: int) -> str:
    """Begin a sync at a server and kill that; the id of the run."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: pricing_pb2_grpc.PricingServiceAsyncStub = pricing_pb2_grpc.PricingServiceStub(
            channel
        )
        waiting = asyncio.ensure_future(_ended(stub.SyncProvider(REQUEST)))
        await feed.asked()
        listed = await stub.ListSyncRuns(pb.ListSyncRunsRequest(source="openrouter"))
        os.kill(pid, signal.SIGKILL)
        assert await waiting is grpc.StatusCode.UNAVAILABLE
    return listed.runs[0].sync_run_id


async def test_a_run_that_a_stopping_server_cannot_wait_for_ends_failed(
    database: str, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "CALL_GRACE_SECONDS", 0.1)
    monkeypatch.setattr(app, "SYNC_GRACE_SECONDS", 0.1)
    feed.answer(payload(ONE))
    feed.hold()
    async with in_process_server(database, feed) as server:
        waiting = asyncio.ensure_future(_ended(server.stub.SyncProvider(REQUEST)))
        sync_run_id = await begun(server, feed)
    await waiting
    (run,) = rows(
        database,
        "SELECT status, error_message FROM pricing_sync_log"
        " WHERE sync_run_id = %(sync_run_id)s::bigint",
        sync_run_id=sync_run_id,
    )
    assert run["status"] == "failed"
    assert "shut down" in run["error_message"]
    assert value(database, "SELECT count(*) FROM models WHERE model_id = 'acme/one'") == 0


async def test_a_run_that_ends_within_the_grace_of_a_stopping_server_is_applied(
    database: str, feed: Feed
) -> None:
    feed.answer(payload(ONE))
    feed.hold()
    async with in_process_server(database, feed) as server:
        waiting = asyncio.ensure_future(_ended(server.stub.SyncProvider(REQUEST)))
        await begun(server, feed)
        asyncio.get_running_loop().call_later(0.2, feed.release)
    await waiting
    assert value(database, "SELECT count(*) FROM models WHERE model_id = 'acme/one'") == 1
