"""How a change stream ends, what it refuses, and what does not end it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import grpc
import psycopg
import pytest
from google.protobuf.duration_pb2 import Duration
from psycopg.conninfo import conninfo_to_dict

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1 import pricing_pb2_grpc
from tests.integration._feed import Feed, payload, row
from tests.integration._poll import eventually
from tests.integration._server import BUFFER, Server, StartProcess, in_process_server
from tests.integration._status import Refusal
from tests.integration._stream import Saved, key_of, stream

MODEL = "stream/model"
STEPS = [f"0.00000{digit}" for digit in range(1, 10)]


@pytest.fixture
async def server(database: str, feed: Feed) -> AsyncIterator[Server]:
    """A server whose streams may begin at most 3 revisions back."""
    async with in_process_server(
        database, feed, stream_horizon=3, stream_write_seconds=1, max_streams=5, **BUFFER
    ) as running:
        yield running


async def sync(server: Server, feed: Feed, price: str, models: int = 1) -> int:
    feed.answer(payload(*(row(f"{MODEL}-{number}", price) for number in range(models))))
    return (await server.synced()).run.revision


async def refusal(server: Server, **fields: Any) -> Refusal:
    async with stream(server.stub, **fields) as reader:
        return await reader.refusal()


async def answered(server: Server) -> pb.SyncProviderResponse | None:
    """The outcome of a sync, None while the database cannot be reached."""
    try:
        return await server.sync()
    except grpc.aio.AioRpcError:
        return None


async def execute(conninfo: str, statement: str) -> None:
    connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
    async with connection:
        await connection.execute(statement.encode())


async def test_a_revision_behind_the_horizon_is_refused_with_the_oldest_that_is_not(
    server: Server, feed: Feed
) -> None:
    for price in STEPS[:5]:
        head = await sync(server, feed, price)
    found = await refusal(server, after_revision=1)
    assert (found.code, found.reason) == ("OUT_OF_RANGE", "REVISION_COMPACTED")
    assert found.metadata["oldest_revision"] == str(head - 3)
    async with stream(
        server.stub, after_revision=head - 3, epoch=found.metadata["epoch"]
    ) as reader:
        assert [key[0] for key in await reader.upto(head)] == [head - 2, head - 1, head]


async def test_a_revision_beyond_the_head_is_of_another_history(server: Server) -> None:
    found = await refusal(server, after_revision=2)
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "EPOCH_CHANGED")
    assert found.metadata["revision"] == "1"


async def test_a_revision_of_another_epoch_is_refused(server: Server) -> None:
    found = await refusal(server, after_revision=1, epoch="00000000-0000-0000-0000-000000000000")
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "EPOCH_CHANGED")
    async with stream(server.stub, after_revision=1, epoch=found.metadata["epoch"]) as reader:
        assert (await reader.read()).event == pb.STREAM_EVENT_STARTED


async def test_a_renewed_epoch_ends_streams_under_a_running_server(
    server: Server, feed: Feed
) -> None:
    async with stream(server.stub) as reader:
        old = (await reader.read()).table.epoch
        await execute(server.conninfo, "UPDATE price_table_head SET epoch = gen_random_uuid()")
        found = await reader.refusal()
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "EPOCH_CHANGED")
    assert found.metadata["epoch"] != old
    async with stream(server.stub, snapshot=True) as reader:
        assert (await reader.read()).table.epoch == found.metadata["epoch"]
        await reader.snapshot()
        revision = await sync(server, feed, STEPS[0])
        assert [change.revision for change in await reader.revision()] == [revision]


async def test_a_price_table_that_went_back_gets_a_new_epoch_and_ends_streams(
    server: Server, feed: Feed
) -> None:
    # As a restore of files, which leaves no other trace than that revisions are gone.
    await sync(server, feed, STEPS[0])
    async with stream(server.stub) as reader:
        started = await reader.read()
        await execute(server.conninfo, "UPDATE price_table_head SET revision = revision - 1")
        found = await reader.refusal()
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "EPOCH_CHANGED")
    assert found.metadata["epoch"] != started.table.epoch
    assert found.metadata["revision"] == str(started.table.revision - 1)


async def test_a_server_that_has_not_heard_of_a_revision_yet_looks_before_it_refuses(
    database: str, feed: Feed
) -> None:
    async with (
        in_process_server(database, feed, **BUFFER) as first,
        in_process_server(database, **BUFFER) as second,
        stream(first.stub) as reader,
    ):
        saved = Saved().take(await reader.read())
        for price in STEPS:
            revision = await sync(first, feed, price)
            saved.take(await reader.next(pb.STREAM_EVENT_CHANGES))
            async with stream(
                second.stub, after_revision=saved.after_revision, epoch=saved.epoch
            ) as other:
                assert (await other.read()).table.revision == revision


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"after": pb.TableRevision(revision=-1)}, "after.revision"),
        ({"after": pb.TableRevision(revision=1), "snapshot": True}, "snapshot"),
        ({"providers": [""]}, "providers[0]"),
        ({"model_ids": ["a", "b\n"]}, "model_ids[1]"),
        ({"model_ids": ["a"] * 1001}, "model_ids"),
        ({"after": pb.TableRevision(epoch="x" * 101)}, "after.epoch"),
        ({"progress_interval": Duration(nanos=1)}, "progress_interval"),
        ({"progress_interval": Duration(seconds=3601)}, "progress_interval"),
        ({"progress_interval": Duration(seconds=-1)}, "progress_interval"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_with_its_field(
    server: Server, fields: dict[str, Any], field: str
) -> None:
    call = server.stub.StreamPriceChanges(pb.StreamPriceChangesRequest(**fields))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert (raised.value.details() or "").startswith(f"{field} ")


async def test_streams_have_a_limit_of_their_own_and_leave_other_calls_alone(
    server: Server,
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(5):
            reader = await stack.enter_async_context(stream(server.stub))
            await reader.read()
        found = await refusal(server)
        assert (found.code, found.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS")
        assert found.metadata["limit"] == "5"
        assert (await server.get("gpt-4o", "openai")).pricing.prompt
        reader.cancel()

        async def opens() -> bool:
            async with stream(server.stub) as another:
                try:
                    return bool(await another.read())
                except grpc.aio.AioRpcError:
                    return False

        assert await eventually(opens, "a slot that is free again")


async def test_a_reader_that_does_not_read_is_ended_and_resumes_without_a_gap(
    database: str, feed: Feed
) -> None:
    async with (
        in_process_server(database, feed, stream_write_seconds=0.5, **BUFFER) as server,
        grpc.aio.insecure_channel(server.address, options=[("grpc.http2.bdp_probe", 0)]) as channel,
    ):
        stub = pricing_pb2_grpc.PricingServiceStub(channel)
        async with stream(stub, after_revision=1) as reader:
            saved = Saved().take(await reader.read())
            for price in STEPS[:4]:
                head = await sync(server, feed, price, models=2_000)
            # Now it reads again: what was on its way, then how its stream ended.
            await asyncio.sleep(1)
            found = await reader.refusal(saved)
        assert (found.code, found.reason) == ("RESOURCE_EXHAUSTED", "SLOW_READER")
        assert found.metadata == {
            "resume_revision": str(saved.after_revision),
            "epoch": saved.epoch,
        }
        assert saved.after_revision is not None
        assert saved.after_revision < head
        async with stream(
            server.stub, after_revision=saved.after_revision, epoch=saved.epoch
        ) as reader:
            saved.reconnect()
            while saved.after_revision < head:
                saved.take(await reader.read())
        keys = [key_of(change) for change in saved.changes]
        assert len(keys) == len(set(keys)) == 8_000
        assert keys == sorted(keys, key=lambda key: key[0])


async def test_a_draining_server_ends_streams_first_and_tells_where_to_resume(
    database: str, start_process: StartProcess
) -> None:
    process = start_process(PRICING_DATABASE_URL=database)
    async with grpc.aio.insecure_channel(process.address) as channel:
        stub = pricing_pb2_grpc.PricingServiceStub(channel)
        async with stream(stub) as reader:
            started = await reader.read()
            process.process.send_signal(signal.SIGTERM)
            found = await reader.refusal()
    assert (found.code, found.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")
    assert found.metadata == {
        "resume_revision": str(started.table.revision),
        "epoch": started.table.epoch,
    }
    assert process.wait() == 0


async def test_lost_connections_to_the_database_end_no_stream(server: Server, feed: Feed) -> None:
    name = conninfo_to_dict(server.conninfo)["dbname"]
    async with stream(server.stub, progress_seconds=0.1) as reader:
        before = (await reader.read()).table.revision
        for price in STEPS[:3]:
            await execute(
                server.conninfo,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE datname = '{name}' AND pid <> pg_backend_pid()",
            )
            feed.answer(payload(row(MODEL, price)))
            outcome = await eventually(partial(answered, server), "a sync")
            assert outcome is not None
            revision = outcome.run.revision
            assert [change.revision for change in await reader.revision()] == [revision]
    assert revision == before + 3
