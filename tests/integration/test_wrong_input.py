"""Whatever a caller sends wrong, or breaks behind the server: the status and details promised."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from psycopg.conninfo import conninfo_to_dict

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1 import pricing_pb2_grpc
from pricing_server.cli import migrations_directory
from pricing_server.postgres.embedded.cluster import port_is_free
from pricing_server.postgres.embedded.embedded_postgres import embedded_postgres
from pricing_server.postgres.maintenance.migrations import apply_migrations
from tests.integration._database import connected, rows, value
from tests.integration._feed import Feed, payload, row
from tests.integration._grpcurl import SERVICE, Grpcurl
from tests.integration._poll import eventually, until
from tests.integration._postgres import postmaster_pid, wait_until_stopped
from tests.integration._server import (
    ADMIN_TOKEN,
    Server,
    ServerProcess,
    StartProcess,
    in_process_server,
)
from tests.integration._status import Refusal, refusal_of, refused

FOREIGN_TOKENS = (
    "x",
    "next",
    "🙂",
    "WyJ4IiwgMV0",
    "W10",
    "bnVsbA",
    "A" * 100_000,
    "W1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tb",
)


@pytest.fixture
async def public(public_server: ServerProcess) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the server that has an admin token."""
    async with grpc.aio.insecure_channel(public_server.address) as channel:
        yield channel


@pytest.fixture
def stub(public: grpc.aio.Channel) -> pricing_pb2_grpc.PricingServiceAsyncStub:
    return pricing_pb2_grpc.PricingServiceStub(public)


def assert_invalid(refusal: Refusal, *fields: str) -> None:
    assert refusal.code == "INVALID_ARGUMENT", refusal
    assert refusal.fields == fields
    assert fields[0] in refusal.message
    assert "\n" not in refusal.message


# Requests that make no sense, by grpcurl ---------------------------------------------------------

BAD_NAMES = {
    "empty": "",
    "blank": "   ",
    "newline only": "\n",
    "10 kB": "x" * 10_000,
    "one too long": "x" * 513,
    "null character": "gpt\x004o",
    "newline": "gpt-4o\n",
    "escape": "gpt-4o\x1b[31m",
    "delete": "gpt-4o\x7f",
    "C1 control": "gpt\x854o",
}


@pytest.mark.parametrize("kind", BAD_NAMES)
def test_a_name_that_is_none_is_refused_and_its_field_named(
    public_server: ServerProcess, grpcurl: Grpcurl, kind: str
) -> None:
    address = public_server.address
    assert_invalid(
        grpcurl.call(address, "GetPricing", model_id=BAD_NAMES[kind]).refusal, "model_id"
    )


@pytest.mark.parametrize("kind", BAD_NAMES)
async def test_every_field_that_is_a_name_is_checked(
    stub: pricing_pb2_grpc.PricingServiceAsyncStub, kind: str
) -> None:
    name = BAD_NAMES[kind]
    token = (("authorization", f"Bearer {ADMIN_TOKEN}"),)
    calls: list[tuple[str, Awaitable[object]]] = [
        ("provider", stub.GetPricing(pb.GetPricingRequest(model_id="gpt-4o", provider=name))),
        (
            "provider",
            stub.SyncProvider(pb.SyncProviderRequest(provider=name, dry_run=True), metadata=token),
        ),
        ("sync_run_id", stub.GetSyncRun(pb.GetSyncRunRequest(sync_run_id=name))),
        ("source", stub.ListSyncRuns(pb.ListSyncRunsRequest(source=name))),
        ("provider", stub.ListPriceChanges(pb.ListPriceChangesRequest(provider=name))),
        ("model_id", stub.ListPriceChanges(pb.ListPriceChangesRequest(model_id=name))),
        ("sync_run_id", stub.ListPriceChanges(pb.ListPriceChangesRequest(sync_run_id=name))),
    ]
    for field, call in calls:
        assert_invalid(await refused(call), field)


@pytest.mark.parametrize(
    ("method", "field", "request_"),
    [
        ("GetPricing", "model_id", {}),
        ("GetPricing", "unit", {"model_id": "gpt-4o", "unit": 99}),
        ("GetPricing", "unit", {"model_id": "gpt-4o", "unit": -1}),
        (
            "GetPricing",
            "read.accept_sources",
            {"model_id": "gpt-4o", "read": {"accept_sources": [1, 99]}},
        ),
        (
            "GetPricing",
            "read.accept_sources",
            {"model_id": "gpt-4o", "read": {"accept_sources": [0]}},
        ),
        ("SyncProvider", "provider", {}),
        ("SyncProvider", "unknown_models", {"provider": "openrouter", "unknown_models": 7}),
        ("SyncProvider", "triggered_by", {"provider": "openrouter", "triggered_by": "x" * 201}),
        ("SyncProvider", "triggered_by", {"provider": "openrouter", "triggered_by": "me\x00"}),
        ("GetSyncRun", "sync_run_id", {}),
        ("ListSyncRuns", "source", {"source": ""}),
        ("ListSyncRuns", "page_size", {"page_size": -1}),
        ("ListPriceChanges", "page_size", {"page_size": -1}),
        ("ListProviders", "page_size", {"page_size": -2147483648}),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_its_field_named(
    public_server: ServerProcess,
    grpcurl: Grpcurl,
    method: str,
    field: str,
    request_: dict[str, Any],
) -> None:
    outcome = grpcurl.call(public_server.address, method, token=ADMIN_TOKEN, **request_)
    assert_invalid(outcome.refusal, field)


@pytest.mark.parametrize(
    "method", ["ListSyncRuns", "ListPriceChanges", "ListProviders", "ListUpcomingChanges"]
)
async def test_a_foreign_page_token_is_refused(
    stub: pricing_pb2_grpc.PricingServiceAsyncStub, method: str
) -> None:
    request = getattr(pb, f"{method}Request")
    for token in FOREIGN_TOKENS:
        refusal = await refused(getattr(stub, method)(request(page_token=token)))
        assert_invalid(refusal, "page_token")


async def test_a_page_token_of_another_method_or_of_other_filters_is_refused(
    stub: pricing_pb2_grpc.PricingServiceAsyncStub,
) -> None:
    first = await stub.ListPriceChanges(pb.ListPriceChangesRequest(provider="openai", page_size=1))
    token = first.next_page_token
    assert token
    for request in (
        pb.ListPriceChangesRequest(page_token=token),
        pb.ListPriceChangesRequest(page_token=token, provider="anthropic"),
        pb.ListPriceChangesRequest(page_token=token, provider="openai", model_id="gpt-4o"),
        pb.ListPriceChangesRequest(page_token=token[:-2], provider="openai"),
    ):
        assert_invalid(await refused(stub.ListPriceChanges(request)), "page_token")
    other = await refused(stub.ListProviders(pb.ListProvidersRequest(page_token=token)))
    assert_invalid(other, "page_token")
    # The page size may differ from page to page, and an alias is the same seller.
    request = pb.ListPriceChangesRequest(provider="OpenAI", page_size=5, page_token=token)
    assert len((await stub.ListPriceChanges(request)).changes) == 5


async def test_a_page_is_never_longer_than_a_thousand(
    stub: pricing_pb2_grpc.PricingServiceAsyncStub,
) -> None:
    request = pb.ListPriceChangesRequest(page_size=2_000_000_000)
    response = await stub.ListPriceChanges(request)
    assert len(response.changes) == 1000
    assert response.next_page_token


# Bytes that are no message -----------------------------------------------------------------------


def delimited(field: int, content: bytes) -> bytes:
    """A length-delimited field, short enough for one byte of length."""
    return bytes([field << 3 | 2, len(content)]) + content


BROKEN = {
    "not UTF-8": delimited(1, b"gpt\xff\xfe"),
    "lone high surrogate": delimited(1, b"gpt\xed\xa0\x80"),
    "lone low surrogate": delimited(1, b"gpt\xed\xbf\xbf"),
    "surrogate pair": delimited(1, b"\xed\xa0\xbd\xed\xb8\x80"),
    "overlong": delimited(1, b"\xc0\x80"),
    "cut in a character": delimited(1, b"gpt\xe2\x82"),
    "cut message": delimited(1, b"gpt-4o")[:-2],
    "no message at all": b"\xff" * 40,
    "JSON": b'{"model_id": "gpt-4o"}',
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("method", ["GetPricing", "SyncProvider", "GetSyncRun", "ListSyncRuns"])
async def test_bytes_that_are_no_message_in_utf8_are_an_invalid_argument(
    public: grpc.aio.Channel, method: str, kind: str
) -> None:
    refusal = await sent_raw(public, method, BROKEN[kind], token=ADMIN_TOKEN)
    assert_invalid(refusal, "request")


async def test_a_message_over_the_limit_is_refused_and_the_next_one_answered(
    public: grpc.aio.Channel, stub: pricing_pb2_grpc.PricingServiceAsyncStub
) -> None:
    refusal = await sent_raw(public, "GetPricing", b"\x0a" + b"x" * 5_000_000)
    assert refusal.code == "RESOURCE_EXHAUSTED"
    assert (await stub.GetPricing(pb.GetPricingRequest(model_id="gpt-4o"))).pricing.prompt


async def test_unknown_fields_of_a_newer_client_are_ignored(public: grpc.aio.Channel) -> None:
    call = raw_method(public, "GetPricing")
    sent = delimited(1, b"gpt-4o") + b"\xf8\x3e\x01"  # Field 1007 = 1.
    assert pb.GetPricingResponse.FromString(await call(sent)).pricing.model_id == "gpt-4o"


def raw_method(channel: grpc.aio.Channel, method: str) -> Any:
    return channel.unary_unary(
        f"/{SERVICE}/{method}",
        request_serializer=lambda data: data,
        response_deserializer=lambda data: data,
    )


async def sent_raw(
    channel: grpc.aio.Channel, method: str, data: bytes, token: str | None = None
) -> Refusal:
    metadata = [("authorization", f"Bearer {token}")] if token else []
    return await refused(raw_method(channel, method)(data, metadata=metadata))


# What nobody knows -------------------------------------------------------------------------------


def test_an_unknown_model_is_not_found_with_near_matches(
    public_server: ServerProcess, grpcurl: Grpcurl
) -> None:
    def ask(**request: str) -> Refusal:
        return grpcurl.call(public_server.address, "GetPricing", **request).refusal

    refusal = ask(model_id="gpt-4oo")
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "MODEL_NOT_FOUND")
    assert refusal.domain == "llmpricing"
    assert refusal.metadata["model_id"] == "gpt-4oo"
    assert "provider" not in refusal.metadata
    near = refusal.metadata["near_matches"].split(", ")
    assert near[0] == "openai:gpt-4o"

    at_seller = ask(model_id="claude-sonnet-4-5x", provider="Anthropic")
    assert at_seller.reason == "MODEL_NOT_FOUND"
    assert at_seller.metadata["provider"] == "Anthropic"
    near = at_seller.metadata["near_matches"].split(", ")
    assert all(each.startswith("anthropic:") for each in near)
    assert "anthropic:claude-sonnet-4-5" in near

    # A seller's name leads nowhere without being that seller's model.
    assert ask(model_id="gpt-4o", provider="anthropic").reason == "MODEL_NOT_FOUND"
    assert "near_matches" not in ask(model_id="зовсім-інше-ім'я-🙂").metadata
    assert ask(model_id="gpt-4o-").reason == "MODEL_NOT_FOUND", "a near miss is no match"


def test_an_unknown_provider_is_not_found_with_near_matches(
    public_server: ServerProcess, grpcurl: Grpcurl
) -> None:
    outcome = grpcurl.call(public_server.address, "GetPricing", model_id="gpt-4o", provider="opnai")
    refusal = outcome.refusal
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "PROVIDER_NOT_FOUND")
    assert refusal.metadata["provider"] == "opnai"
    assert refusal.metadata["near_matches"].split(", ")[0] == "openai"


def test_an_unknown_source_is_not_found_and_the_known_ones_are_named(
    public_server: ServerProcess, grpcurl: Grpcurl
) -> None:
    for name in ("openai", "nonsense"):  # A seller is no source.
        outcome = grpcurl.call(
            public_server.address, "SyncProvider", token=ADMIN_TOKEN, provider=name
        )
        refusal = outcome.refusal
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", "SOURCE_NOT_FOUND")
        assert refusal.metadata["source"] == name
        assert {"openrouter", "genai-prices"} <= set(refusal.metadata["known"].split(", "))


@pytest.mark.parametrize(
    "sync_run_id",
    ["999999", "0", "-1", "1.0", " 1", "abc", "9" * 18, "9" * 19, "9" * 400, "\u0663"],
)
def test_an_unknown_run_is_not_found(
    public_server: ServerProcess, grpcurl: Grpcurl, sync_run_id: str
) -> None:
    outcome = grpcurl.call(public_server.address, "GetSyncRun", sync_run_id=sync_run_id)
    refusal = outcome.refusal
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "SYNC_RUN_NOT_FOUND")
    assert refusal.metadata == {"sync_run_id": sync_run_id}


async def test_names_in_any_script_come_back_as_they_were_sent(
    stub: pricing_pb2_grpc.PricingServiceAsyncStub,
) -> None:
    for name in ("модель", "模型", "🙂" * 100, "a'; DROP TABLE models; --", "%s %(x)s {0}", "a\\b"):
        refusal = await refused(stub.GetPricing(pb.GetPricingRequest(model_id=name)))
        assert (refusal.code, refusal.metadata["model_id"]) == ("NOT_FOUND", name)


LONG_NAMES = {
    "emoji": "🙂" * 512,
    "letters": "x" * 512,
    "percent signs": "%" * 512,
    "quotes": "'\"" * 256,
    "the highest character": chr(0x10FFFD) * 512,
    "two bytes": "ж" * 512,
    "mixed": "gpt-4o" + "é🙂" * 253,
}


@pytest.mark.parametrize("kind", LONG_NAMES)
async def test_the_longest_names_are_not_found_and_overflow_nothing(
    server: Server, feed: Feed, grpcurl: Grpcurl, kind: str
) -> None:
    name = LONG_NAMES[kind]
    # Its near matches are as long as itself.
    feed.answer(payload(*(row(name[:-1] + end) for end in "abcde"), row("acme/one")))
    await server.synced()
    for provider in (None, "openrouter", name):
        refusal = await refused(server.get(name, provider))
        reason = "PROVIDER_NOT_FOUND" if provider == name else "MODEL_NOT_FOUND"
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", reason)
        assert len(refusal.message) < 1_000
        shown = refusal.metadata["model_id" if provider != name else "provider"]
        assert shown == name or (shown.endswith("…") and name.startswith(shown[:-1]))
    outcome = await asyncio.to_thread(grpcurl.call, server.address, "GetPricing", model_id=name)
    assert (outcome.refusal.code, outcome.refusal.reason) == ("NOT_FOUND", "MODEL_NOT_FOUND")
    for call in (
        server.sync(name),
        server.run(name),
        server.stub.ListPriceChanges(pb.ListPriceChangesRequest(sync_run_id=name)),
    ):
        assert (await refused(call)).code == "NOT_FOUND"


# Who may call ------------------------------------------------------------------------------------


def test_a_sync_needs_the_admin_token(public_server: ServerProcess, grpcurl: Grpcurl) -> None:
    def ask(token: str | None) -> Refusal:
        # A source that is not there: whoever may ask is told so, and nothing is fetched.
        request = {"provider": "no-such-source"}
        outcome = grpcurl.call(public_server.address, "SyncProvider", token=token, **request)
        return outcome.refusal

    assert (ask(None).code, ask(None).reason) == ("UNAUTHENTICATED", "TOKEN_REQUIRED")
    for wrong in ("", "wrong-token-123", ADMIN_TOKEN[:-1], ADMIN_TOKEN + "x", ADMIN_TOKEN.upper()):
        refusal = ask(wrong)
        assert refusal.code == "UNAUTHENTICATED"
        assert refusal.reason in ("TOKEN_INVALID", "TOKEN_REQUIRED")
        assert ADMIN_TOKEN not in refusal.raw
    assert ask("wrong-token-123").reason == "TOKEN_INVALID"
    assert ask(ADMIN_TOKEN).reason == "SOURCE_NOT_FOUND"


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        ("Basic aW50ZWdyYXRpb24tdG9rZW4=", "TOKEN_REQUIRED"),
        (ADMIN_TOKEN, "TOKEN_REQUIRED"),
        (f"Bearer {ADMIN_TOKEN} x", "TOKEN_INVALID"),
        (f"bearer {ADMIN_TOKEN}", "SOURCE_NOT_FOUND"),
    ],
)
async def test_the_token_is_a_bearer_token(
    stub: pricing_pb2_grpc.PricingServiceAsyncStub, authorization: str, reason: str
) -> None:
    request = pb.SyncProviderRequest(provider="no-such-source")
    call = stub.SyncProvider(request, metadata=(("authorization", authorization),))
    assert (await refused(call)).reason == reason


@pytest.mark.parametrize(
    "tokens",
    [("wrong-token-123", ADMIN_TOKEN), (ADMIN_TOKEN, "wrong-token-123"), (ADMIN_TOKEN,) * 2],
)
async def test_of_two_tokens_none_is_believed(
    stub: pricing_pb2_grpc.PricingServiceAsyncStub, tokens: tuple[str, str]
) -> None:
    call = stub.SyncProvider(
        pb.SyncProviderRequest(provider="no-such-source"),
        metadata=tuple(("authorization", f"Bearer {token}") for token in tokens),
    )
    refusal = await refused(call)
    assert (refusal.code, refusal.reason) == ("UNAUTHENTICATED", "TOKEN_INVALID")


async def test_a_caller_without_token_learns_nothing_of_a_request(
    public: grpc.aio.Channel,
) -> None:
    for data in (b"", BROKEN["not UTF-8"], delimited(1, b"no-such-source")):
        refusal = await sent_raw(public, "SyncProvider", data)
        assert refusal.reason == "TOKEN_REQUIRED"


def test_readers_need_no_token(public_server: ServerProcess, grpcurl: Grpcurl) -> None:
    address = public_server.address
    assert grpcurl.call(address, "GetPricing", model_id="gpt-4o").answer
    assert grpcurl.call(address, "GetSyncRun", sync_run_id="1").answer
    for method in (
        "ListSyncRuns",
        "ListPriceChanges",
        "ListProviders",
        "ListSources",
        "ListPriceOverrides",
    ):
        assert grpcurl.call(address, method).code == 0


# Faults of the server ----------------------------------------------------------------------------


def assert_nothing_internal(raw: str, conninfo: str) -> None:
    """No SQL, no address or password of the database, no stack reaches a client."""
    secrets = conninfo_to_dict(conninfo)
    for told in (str(secrets["password"]), f"port={secrets['port']}", f":{secrets['port']}"):
        assert told not in raw
    for told in ("SELECT", "FROM models", "psycopg", "Traceback", "alias_target", "column", ".py"):
        assert told not in raw, raw


def test_an_unexpected_fault_is_internal_with_a_reference_that_is_in_the_log(
    start_process: StartProcess, database: str, feed: Feed, grpcurl: Grpcurl
) -> None:
    process = start_process(PRICING_DATABASE_URL=database, PRICING_OPENROUTER_URL=feed.url)
    address = process.address
    with connected(database) as connection:
        connection.execute("ALTER VIEW current_prices RENAME COLUMN alias_target TO gone")
        connection.execute("ALTER TABLE pricing_sync_log RENAME COLUMN error_details TO gone")
    for method, request in (
        ("GetPricing", {"model_id": "gpt-4o"}),
        ("GetSyncRun", {"sync_run_id": "1"}),
        ("ListSyncRuns", {}),
    ):
        outcome = grpcurl.run(
            *("-v", "-format-error", "-d", json.dumps(request), address, f"{SERVICE}/{method}")
        )
        assert outcome.code != 0
        refusal = grpcurl.call(address, method, **request).refusal
        assert (refusal.code, refusal.reason) == ("INTERNAL", "INTERNAL")
        reference = refusal.metadata["reference"]
        assert reference in refusal.message
        (logged,) = [event for event in process.events() if event.get("reference") == reference]
        assert "Traceback" in logged["exception"]
        assert_nothing_internal(outcome.text + outcome.errors + refusal.raw, database)


async def test_trailing_metadata_of_a_fault_holds_nothing_internal(
    start_process: StartProcess, database: str
) -> None:
    address = start_process(PRICING_DATABASE_URL=database).address
    with connected(database) as connection:
        connection.execute("ALTER VIEW current_prices RENAME COLUMN alias_target TO gone")
    async with grpc.aio.insecure_channel(address) as channel:
        stub: pricing_pb2_grpc.PricingServiceAsyncStub = pricing_pb2_grpc.PricingServiceStub(
            channel
        )
        call = stub.GetPricing(pb.GetPricingRequest(model_id="gpt-4o"))
        refusal = await refused(call)
        assert refusal.code == "INTERNAL"
        sent = f"{await call.initial_metadata()} {await call.trailing_metadata()}"
        # The address of the server itself is the client's own knowledge.
        raw = refusal.raw.replace(address, "")
        assert_nothing_internal(sent + raw, database)


async def test_a_fault_during_a_sync_fails_the_run_and_its_cause_stays_in_the_log(
    start_process: StartProcess, database: str, feed: Feed
) -> None:
    feed.answer(payload(row("acme/one")))
    process = start_process(PRICING_DATABASE_URL=database, PRICING_OPENROUTER_URL=feed.url)
    async with grpc.aio.insecure_channel(process.address) as channel:
        with connected(database) as connection:
            connection.execute("ALTER TABLE price_quotes RENAME COLUMN fragment TO gone")
        stub: pricing_pb2_grpc.PricingServiceAsyncStub = pricing_pb2_grpc.PricingServiceStub(
            channel
        )
        response = await stub.SyncProvider(pb.SyncProviderRequest(provider="openrouter"))
        assert response.run.status == pb.SYNC_STATUS_FAILED
        assert_nothing_internal(str(response), database)
        references = [
            event["reference"] for event in process.events() if event["event"] == "sync.broken"
        ]
        assert len(references) == 1
        assert references[0] in response.run.error_message
        (run,) = (await stub.ListSyncRuns(pb.ListSyncRunsRequest(source="openrouter"))).runs
        assert run.status == pb.SYNC_STATUS_FAILED
        assert run.error_message == response.run.error_message
    assert value(database, "SELECT count(*) FROM models WHERE model_id = 'acme/one'") == 0


# The database away -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OwnCluster:
    """A Postgres that a test may kill and start again, on the same port."""

    data_dir: Path
    running: ExitStack
    conninfo: str

    def kill(self) -> None:
        os.kill(postmaster_pid(self.data_dir), signal.SIGKILL)
        wait_until_stopped(self.data_dir)
        self.running.close()

    def start(self) -> None:
        port = int(conninfo_to_dict(self.conninfo)["port"] or 0)
        until(lambda: port_is_free(port), "the port, which a passing client may have")
        assert self.running.enter_context(embedded_postgres(self.data_dir)) == self.conninfo


@contextmanager
def own_cluster(data_dir: Path) -> Iterator[OwnCluster]:
    with ExitStack() as running:
        conninfo = running.enter_context(embedded_postgres(data_dir))
        apply_migrations(conninfo, migrations_directory())
        yield OwnCluster(data_dir, running, conninfo)


async def test_while_the_database_is_down_answers_say_so_and_it_is_found_again(
    scratch: Path, feed: Feed
) -> None:
    feed.answer(payload(row("acme/one"), row("acme/two")))
    with own_cluster(scratch / "data") as postgres:
        async with in_process_server(postgres.conninfo, feed) as server:
            await server.synced()
            cached = await server.get("acme/one", "openrouter")
            postgres.kill()

            # What the cache has, it has.
            assert await server.get("acme/one", "openrouter") == cached
            # What it has not, the bundled catalogue may have.
            answer = await server.get("gpt-oss-120b", "openai")
            assert answer.pricing.pricing_source == pb.PRICING_SOURCE_CATALOG
            assert answer.pricing.freshness == pb.FRESHNESS_DATABASE_DOWN
            assert answer.pricing.prompt
            assert not answer.HasField("table")
            assert not answer.pricing.HasField("price_revision")
            assert answer.table.epoch == ""
            await _assert_unavailable(server, postgres.conninfo)

            postgres.start()

            async def is_back() -> bool:
                found = await server.get("gpt-oss-120b", "openai")
                return found.pricing.pricing_source == pb.PRICING_SOURCE_DATABASE

            assert await eventually(is_back, "answers from the database again")
            assert (await server.price("acme/two")).freshness == pb.FRESHNESS_FRESH
            assert (await server.synced()).run.models_unchanged == 2
            assert rows(
                postgres.conninfo,
                "SELECT DISTINCT status FROM pricing_sync_log",
            ) == [{"status": "success"}]


async def _assert_unavailable(server: Server, conninfo: str) -> None:
    """What no other layer knows cannot be told, nor can lists, and nothing can be synced."""
    stub = server.stub
    for call in (
        stub.GetPricing(pb.GetPricingRequest(provider="openrouter", model_id="acme/two")),
        stub.GetPricing(
            pb.GetPricingRequest(
                model_id="gpt-oss-20b",
                read=pb.ReadOptions(accept_sources=[pb.PRICING_SOURCE_DATABASE]),
            )
        ),
        stub.SyncProvider(pb.SyncProviderRequest(provider="openrouter")),
        stub.SyncProvider(pb.SyncProviderRequest(provider="openrouter", dry_run=True)),
        stub.GetSyncRun(pb.GetSyncRunRequest(sync_run_id="1")),
        stub.ListSyncRuns(pb.ListSyncRunsRequest()),
        stub.ListPriceChanges(pb.ListPriceChangesRequest()),
        stub.ListProviders(pb.ListProvidersRequest()),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        refusal = refusal_of(raised.value)
        assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DATABASE_UNAVAILABLE")
        assert_nothing_internal(refusal.raw, conninfo)
