"""Who answers when the price table has no usable price, with the real server and database."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1 import pricing_pb2_grpc
from pricing_server.app import running_server
from pricing_server.cli import migrations_directory
from pricing_server.settings import PREFIX, Settings, SettingsError
from tests._recorded import recorded
from tests.integration._postgres import ROOT
from tests.integration._server import CALL_SECONDS

pytestmark = pytest.mark.integration

FIXTURES = ROOT / "tests" / "fixtures"
APPLE = "Orchard/Apple-8B-Instruct"
REFERENCE = "orchard/apple-8b"
DATABASE = pb.PRICING_SOURCE_DATABASE
MANUAL = pb.PRICING_SOURCE_MANUAL
CATALOG = pb.PRICING_SOURCE_CATALOG
CROSS_REFERENCE = pb.PRICING_SOURCE_CROSS_REFERENCE


@dataclass
class Feeds:
    """What the sources answer, by path."""

    url: str = ""
    bodies: dict[str, bytes] = field(default_factory=dict)

    def change(self, model_id: str, **pricing: str) -> None:
        """Change prices of a model in OpenRouter's answer."""
        document = json.loads(self.bodies["/openrouter"])
        for row in document["data"]:
            if row["id"] == model_id:
                row["pricing"].update(pricing)
        self.bodies["/openrouter"] = json.dumps(document).encode()


@dataclass(frozen=True)
class Service:
    """A server in this process, and a client of it."""

    stub: pricing_pb2_grpc.PricingServiceAsyncStub
    conninfo: str

    async def get(
        self, model_id: str, provider: str | None = "featherless", accept: Any = ()
    ) -> pb.GetPricingResponse:
        return await self.stub.GetPricing(
            pb.GetPricingRequest(
                model_id=model_id, provider=provider, read=pb.ReadOptions(accept_sources=accept)
            ),
            timeout=CALL_SECONDS,
        )

    async def price(self, model_id: str, *arguments: Any, **fields: Any) -> pb.ModelPricing:
        return (await self.get(model_id, *arguments, **fields)).pricing

    async def prices(self, model_ids: Sequence[str]) -> list[pb.ModelPricing]:
        """The prices of models at Featherless, by one call."""
        request = pb.BatchGetPricingRequest(
            requests=[
                pb.GetPricingRequest(model_id=model_id, provider="featherless")
                for model_id in model_ids
            ]
        )
        answered = await self.stub.BatchGetPricing(request, timeout=CALL_SECONDS)
        return [result.pricing.pricing for result in answered.results]

    async def until(self, holds: Callable[[pb.ModelPricing], bool]) -> pb.ModelPricing:
        """The price of the apple once something holds of it."""
        async with asyncio.timeout(CALL_SECONDS):
            while True:
                price = await self.price(APPLE)
                if holds(price):
                    return price
                await asyncio.sleep(0.05)

    async def sync(self, *sources: str) -> None:
        for source in sources:
            run = await self.stub.SyncProvider(
                pb.SyncProviderRequest(provider=source), timeout=CALL_SECONDS
            )
            assert run.run.status == pb.SYNC_STATUS_SUCCESS, run.run.error_message


@pytest.fixture
def conninfo(database: str) -> str:
    """A database of the test's own, in which the bundled catalogue has been synced."""
    return database


@pytest.fixture
def feeds() -> Iterator[Feeds]:
    feeds = Feeds(
        bodies={
            "/openrouter": (FIXTURES / "openrouter_counterparts.json").read_bytes(),
            "/featherless": (FIXTURES / "featherless.json").read_bytes(),
        }
    )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = feeds.bodies[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        feeds.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield feeds
        server.shutdown()
        thread.join()


@asynccontextmanager
async def serving(
    conninfo: str, feeds: Feeds, manual: Path | None = None
) -> AsyncIterator[Service]:
    urls = {source: f"{feeds.url}/{source}" for source in ("openrouter", "featherless")}
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        for name in os.environ:
            if name.startswith(PREFIX):
                patch.delenv(name)
        settings = Settings(
            listen="127.0.0.1:0",
            source_urls=urls,
            manual_pricing_file=manual,
            database_url=conninfo,  # type: ignore[arg-type]
            data_dir=Path(directory),
            sync_interval="off",  # type: ignore[arg-type]  # read as in a file
        )
        async with (
            running_server(settings, conninfo, migrations_directory()) as running,
            grpc.aio.insecure_channel(running.address) as channel,
        ):
            yield Service(pricing_pb2_grpc.PricingServiceStub(channel), conninfo)


@pytest.fixture
async def service(conninfo: str, feeds: Feeds) -> AsyncIterator[Service]:
    async with serving(conninfo, feeds) as service:
        await service.sync("openrouter", "featherless")
        yield service


def manual_file(directory: Path, models: dict[str, Any], provider: str = "featherless") -> Path:
    path = directory / "manual_pricing.json"
    path.write_text(
        json.dumps(
            {
                "_metadata": {"unit": "per_1m_tokens", "updated": "2026-11-01"},
                provider: models,
            }
        )
    )
    return path


async def reason(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return f"{failed.value.code().name}: {failed.value.details()}"


async def test_another_sellers_price_answers_for_a_model_listed_without_one(
    service: Service,
) -> None:
    answer = await service.get(APPLE)
    reference = await service.get(REFERENCE, "openrouter")
    price = answer.pricing
    assert (price.provider, price.model_id) == ("featherless", APPLE)
    assert price.pricing_source == CROSS_REFERENCE
    assert price.source_detail == "OpenRouter's price of orchard/apple-8b, same Hugging Face id"
    assert price.state == pb.PRICE_STATE_PRICED
    assert (price.prompt, price.completion) == ("0.25", "0.75")
    assert price.rates == reference.pricing.rates
    assert price.rate_card_id == reference.pricing.rate_card_id
    assert price.hugging_face_id == APPLE
    assert price.freshness == pb.FRESHNESS_FRESH
    assert price.verified_time == reference.pricing.verified_time
    assert price.price_revision == reference.pricing.price_revision
    assert answer.table.revision == reference.table.revision > price.price_revision
    assert answer.table.epoch == reference.table.epoch
    assert answer.match == pb.Match(
        provider="featherless", model_id=APPLE, rule=pb.MATCH_RULE_EXACT
    )


async def test_without_a_provider_the_match_is_told_as_ever(service: Service) -> None:
    for provider, rule in [
        (None, pb.MATCH_RULE_EXACT_AT_SELLER),
        ("featherless-ai", pb.MATCH_RULE_EXACT),
    ] * 2:
        answer = await service.get(APPLE, provider)
        assert answer.pricing.pricing_source == CROSS_REFERENCE
        assert answer.match.rule == rule


@pytest.mark.parametrize(
    "model_id",
    [
        "orchard/Pear-12B",  # Two models have its id.
        "orchard/Quince-7B",  # Only a free variant has it.
        "orchard/Cherry-3B",  # Its counterpart has no price either.
        "orchard/plum-9b",  # The slug is its id, the repository is another.
        "orchard/Router-70B",  # Its counterpart is decided per request.
        "orchard/Medlar-1B-finetune",  # Nobody else has it.
        "lonely-model",
    ],
)
async def test_where_no_price_is_certain_the_model_stays_unpriced(
    service: Service, model_id: str
) -> None:
    for _ in range(2):
        answer = await service.get(model_id)
        price = answer.pricing
        assert price.state == pb.PRICE_STATE_UNPRICED
        assert price.pricing_source == DATABASE
        assert price.source_detail == "Featherless models API"
        assert not price.rates
        headline = {"prompt", "completion", "request", "image"}
        assert headline.isdisjoint(field.name for field, _ in price.ListFields())
        assert answer.HasField("table")


async def test_accept_sources_narrows_the_layers(service: Service) -> None:
    assert (await service.price(APPLE, accept=[DATABASE])).state == pb.PRICE_STATE_UNPRICED
    only = await service.get(APPLE, accept=[CROSS_REFERENCE])
    assert only.pricing.pricing_source == CROSS_REFERENCE
    assert only.HasField("table")
    for accept in ([MANUAL], [CATALOG], [MANUAL, CATALOG]):
        assert "NOT_FOUND" in await reason(service.get(APPLE, accept=accept))
    # Of a model with a price of its own, and of one without a counterpart, it knows nothing.
    narrowed = service.get(REFERENCE, "openrouter", accept=[CROSS_REFERENCE])
    assert "NOT_FOUND" in await reason(narrowed)
    assert "NOT_FOUND" in await reason(service.get("lonely-model", accept=[CROSS_REFERENCE]))


@pytest.mark.parametrize("model_id", ["orchard/router", "orchard/apple-8b:free"])
async def test_dynamic_and_free_models_are_answered_as_they_are(
    service: Service, model_id: str
) -> None:
    price = await service.price(model_id, "openrouter")
    assert price.pricing_source == DATABASE
    assert price.state in (pb.PRICE_STATE_DYNAMIC, pb.PRICE_STATE_FREE)


async def test_a_sync_of_the_reference_is_served_at_once(service: Service, feeds: Feeds) -> None:
    before = await service.get(APPLE)
    feeds.change(REFERENCE, prompt="0.0000005")
    await service.sync("openrouter")
    after = await service.get(APPLE)
    assert (before.pricing.prompt, after.pricing.prompt) == ("0.25", "0.50")
    assert after.table.revision == before.table.revision + 1 == after.pricing.price_revision
    # The same prices again: nothing changes but when they were last confirmed.
    await service.sync("openrouter")
    again = await service.get(APPLE)
    assert again.table.revision == after.table.revision
    assert again.pricing.verified_time.ToDatetime() > after.pricing.verified_time.ToDatetime()


async def test_a_reference_that_is_no_longer_listed_serves_no_more(
    service: Service, feeds: Feeds
) -> None:
    assert (await service.price(APPLE)).pricing_source == CROSS_REFERENCE
    document = json.loads(feeds.bodies["/openrouter"])
    document["data"] = [row for row in document["data"] if row["id"] != REFERENCE]
    feeds.bodies["/openrouter"] = json.dumps(document).encode()
    await service.sync("openrouter")
    assert (await service.price(APPLE)).state == pb.PRICE_STATE_UNPRICED


async def test_the_price_file_answers_before_the_cross_reference(
    conninfo: str, feeds: Feeds, tmp_path: Path
) -> None:
    path = manual_file(
        tmp_path,
        {
            APPLE: {"prompt": "3", "completion": "4.5", "request": "0.01", "image": "0.002"},
            "by-hand-only": {"free": True},
        },
        provider="Featherless-AI",
    )
    async with serving(conninfo, feeds, path) as service:
        await service.sync("openrouter", "featherless")
        answer = await service.get(APPLE)
        price = answer.pricing
        assert price.pricing_source == MANUAL
        assert price.source_detail == "price file manual_pricing.json"
        assert (price.prompt, price.completion) == ("3.00", "4.50")
        assert (price.request, price.image) == ("0.01", "0.002")
        assert price.freshness == pb.FRESHNESS_FRESH
        assert price.verified_time.ToJsonString() == "2026-11-01T00:00:00Z"
        assert not answer.HasField("table")
        assert not price.HasField("price_revision")
        # It is one layer among others.
        accepted = [DATABASE, CROSS_REFERENCE]
        assert (await service.price(APPLE, accept=accepted)).pricing_source == CROSS_REFERENCE
        # It answers for what no other layer lists, too.
        free = await service.price("by-hand-only", None)
        assert (free.state, free.prompt) == (pb.PRICE_STATE_FREE, "0.00")


async def test_the_price_file_does_not_replace_a_price_of_the_table(
    conninfo: str, feeds: Feeds, tmp_path: Path
) -> None:
    path = manual_file(tmp_path, {REFERENCE: {"prompt": "3"}}, provider="openrouter")
    async with serving(conninfo, feeds, path) as service:
        assert (await service.price(REFERENCE, "openrouter")).pricing_source == MANUAL
        await service.sync("openrouter")
        assert (await service.price(REFERENCE, "openrouter")).pricing_source == DATABASE
        narrowed = await service.price(REFERENCE, "openrouter", accept=[MANUAL])
        assert narrowed.prompt == "3.00"


async def test_a_seller_known_by_hand_only_is_a_known_seller(
    conninfo: str, feeds: Feeds, tmp_path: Path
) -> None:
    path = manual_file(tmp_path, {"m": {"prompt": "3"}}, provider="basement-gpus")
    async with serving(conninfo, feeds, path) as service:
        assert (await service.price("m", "Basement-GPUs")).prompt == "3.00"
        assert "no price is known" in await reason(service.get("n", "basement-gpus"))
        assert "no provider" in await reason(service.get("n", "attic-gpus"))


async def test_a_changed_price_file_is_served_and_a_broken_one_is_told(
    conninfo: str, feeds: Feeds, tmp_path: Path
) -> None:
    path = manual_file(tmp_path, {APPLE: {"prompt": "3"}})

    async with serving(conninfo, feeds, path) as service:
        await service.sync("openrouter", "featherless")
        assert (await service.price(APPLE)).prompt == "3.00"
        manual_file(tmp_path, {APPLE: {"prompt": "5"}})
        await service.until(lambda price: price.prompt == "5.00")
        manual_file(tmp_path, {APPLE: {"prompt": "0"}})
        price = await service.until(lambda price: price.freshness == pb.FRESHNESS_UNCONFIRMED)
        assert price.prompt == "5.00"
        assert price.source_detail == (
            "price file manual_pricing.json: the file is not valid now, its last valid prices"
        )
        manual_file(tmp_path, {"another": {"prompt": "1"}})
        await service.until(lambda price: price.pricing_source == CROSS_REFERENCE)


async def test_without_the_database_the_price_file_and_the_catalogue_answer(
    conninfo: str, feeds: Feeds, tmp_path: Path
) -> None:
    path = manual_file(tmp_path, {"never-asked": {"prompt": "3"}})
    async with serving(conninfo, feeds, path) as service:
        await service.sync("openrouter", "featherless")
        own = str(conninfo_to_dict(conninfo)["dbname"])
        with psycopg.connect(make_conninfo(conninfo, dbname="postgres"), autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {own} ALLOW_CONNECTIONS false")
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [own]
            )
            price = await service.price("never-asked")
            assert price.pricing_source == MANUAL
            assert price.freshness == pb.FRESHNESS_DATABASE_DOWN
            path.unlink()
            async with asyncio.timeout(CALL_SECONDS):
                while "the file is gone" not in price.source_detail:
                    price = await service.price("never-asked")
            assert price.freshness == pb.FRESHNESS_DATABASE_DOWN
            catalogue = await service.price("gpt-4o", "openai")
            assert catalogue.pricing_source == CATALOG
            assert "UNAVAILABLE" in await reason(service.get(APPLE, accept=[CROSS_REFERENCE]))
            admin.execute(f"ALTER DATABASE {own} ALLOW_CONNECTIONS true")


@pytest.mark.parametrize("text", [None, "{", '{"acme": {"m": {"prompt": 1}}}'])
async def test_a_price_file_that_is_missing_or_broken_stops_the_start_and_is_named(
    conninfo: str, feeds: Feeds, tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "manual_pricing.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError) as stopped:
        async with serving(conninfo, feeds, path):
            pass
    assert str(stopped.value).startswith(f"PRICING_MANUAL_PRICING_FILE: {path}: ")
    assert "\n" not in str(stopped.value)


def test_the_command_does_not_start_with_a_broken_price_file(conninfo: str, tmp_path: Path) -> None:
    path = manual_file(tmp_path, {"m": {"prompt": "0"}})
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith(PREFIX)},
        "PRICING_DATABASE_URL": conninfo,
        "PRICING_LISTEN": "127.0.0.1:0",
        "PRICING_MANUAL_PRICING_FILE": str(path),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "pricing_server.cli", "serve"],
        cwd=tmp_path,
        env={
            **environment,
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "clients/python"))),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    told = [line for line in ended.stderr.splitlines() if line.startswith("pricing-server: ")]
    assert told == [
        f"pricing-server: PRICING_MANUAL_PRICING_FILE: {path}: featherless/m.prompt: "
        'zero, and the entry does not say "free": true'
    ]


@pytest.mark.recorded
async def test_of_the_recorded_models_28_have_a_counterpart_and_the_rest_is_unpriced(
    conninfo: str, feeds: Feeds
) -> None:
    feeds.bodies = {
        "/openrouter": recorded("openrouter_2026-08-22.json").read_bytes(),
        "/featherless": recorded("featherless.json").read_bytes(),
    }
    ids = sorted({row["id"] for row in json.loads(feeds.bodies["/featherless"])["data"]})
    rows = {row["id"]: row for row in json.loads(feeds.bodies["/openrouter"])["data"]}
    by_repository = {
        (row["hugging_face_id"] or "").lower(): row
        for row in rows.values()
        if ":" not in row["id"] and not row["id"].startswith("~")
    }
    async with serving(conninfo, feeds) as service:
        await service.sync("openrouter", "featherless")
        found: dict[str, pb.ModelPricing] = {}
        for start in range(0, len(ids), 100):
            batch = ids[start : start + 100]
            for model_id, price in zip(batch, await service.prices(batch), strict=True):
                assert (price.provider, price.model_id) == ("featherless", model_id)
                if price.state == pb.PRICE_STATE_UNPRICED:
                    assert price.pricing_source == DATABASE
                    assert not price.HasField("prompt")
                else:
                    found[model_id] = price
    assert len(found) == 28
    assert found.keys() == {model_id for model_id in ids if model_id.lower() in by_repository}
    for model_id, price in found.items():
        row = by_repository[model_id.lower()]
        assert price.pricing_source == CROSS_REFERENCE
        assert price.state == pb.PRICE_STATE_PRICED
        assert row["id"] in price.source_detail
        assert float(price.prompt) == pytest.approx(float(row["pricing"]["prompt"]) * 1e6)
