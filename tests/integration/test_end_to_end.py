"""From the command line to the answer: the real server and the real grpcurl, as in the README."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pricing_server.postgres.embedded.embedded_postgres import embedded_postgres
from pricing_server.providers.genai_prices import SOURCE
from tests.integration import _catalogue
from tests.integration._database import contents, prices_only, rows, value
from tests.integration._feed import Feed, payload, row
from tests.integration._grpcurl import SERVICE, Grpcurl
from tests.integration._postgres import postmaster_pid, scratch_directory, wait_until_stopped
from tests.integration._server import ServerProcess, StartProcess, server_process

TIMED = ("deepseek-chat", "deepseek-flash", "deepseek-v4-flash", "deepseek-v4-pro")
FUTURE = ("google", "gemini-4-argon")
TOLD_BY_PACKAGE = SOURCE.display_name


@dataclass(frozen=True, slots=True)
class Life:
    """A data directory that a first start has filled, and what it held then."""

    data_dir: Path
    held: dict[str, object]

    def start(self) -> Any:
        return server_process(self.data_dir.parent, PRICING_DATA_DIR=str(self.data_dir))

    def held_now(self) -> dict[str, object]:
        with embedded_postgres(self.data_dir) as conninfo:
            return contents(conninfo)


@pytest.fixture(scope="module")
def life() -> Iterator[Life]:
    """The first start of an embedded server, stopped by SIGTERM."""
    with scratch_directory() as scratch:
        made = Life(scratch / "data", {})
        with made.start() as process:
            assert process.address
            assert process.send(signal.SIGTERM) == 0
        made.held.update(made.held_now())
        yield made


@pytest.fixture
def data(life: Life) -> Iterator[Life]:
    """The same directory for each test, stopped before and after."""
    wait_until_stopped(life.data_dir)
    yield life
    wait_until_stopped(life.data_dir)


def answered(ask: Callable[[], Any], expect: Callable[[datetime], Any]) -> tuple[Any, Any]:
    """An answer and what is expected at its instant, which may be the one of a change."""
    while True:
        before = expect(datetime.now(UTC))
        answer = ask()
        if before == expect(datetime.now(UTC)):
            return answer, before


def ask_price(
    grpcurl: Grpcurl, server: ServerProcess, provider: str, model_id: str, **more: Any
) -> Any:
    outcome = grpcurl.call(
        server.address, "GetPricing", provider=provider, model_id=model_id, **more
    )
    return outcome.answer


def written(instant: datetime | None) -> str | None:
    """As JSON has it."""
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ") if instant else None


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# The contract on the wire ------------------------------------------------------------------------


def test_reflection_lists_and_describes_the_service(
    public_server: ServerProcess, grpcurl: Grpcurl
) -> None:
    listed = grpcurl.run(public_server.address, "list").text.split()
    assert SERVICE in listed
    assert "grpc.health.v1.Health" in listed
    described = grpcurl.run(public_server.address, "describe", SERVICE).text
    for method in (
        "GetPricing",
        "SyncProvider",
        "GetSyncRun",
        "ListSyncRuns",
        "ListPriceChanges",
        "ListProviders",
        "StreamPriceChanges",
    ):
        assert f"rpc {method} ( .llmpricing.v1.{method}Request )" in described
    assert described.count("required_role") == described.count("rpc ")


def test_grpcurl_follows_the_change_stream(public_server: ServerProcess, grpcurl: Grpcurl) -> None:
    ended = grpcurl.run(
        "-max-time",
        "2",
        "-d",
        '{"after": {"revision": 0}, "model_ids": ["gpt-4o"], "providers": ["openai"]}',
        public_server.address,
        f"{SERVICE}/StreamPriceChanges",
    )
    decoder, text, messages = json.JSONDecoder(), ended.text.lstrip(), []
    while text:
        message, end = decoder.raw_decode(text)
        messages.append(message)
        text = text[end:].lstrip()
    assert [message["event"] for message in messages] == [
        "STREAM_EVENT_STARTED",
        "STREAM_EVENT_CHANGES",
    ]
    (change,) = messages[1]["changes"]
    assert (change["kind"], change["model_id"]) == ("CHANGE_KIND_ADDED", "gpt-4o")
    assert (messages[1]["table"]["revision"], messages[1]["last_fragment"]) == ("1", True)


@pytest.mark.parametrize(
    ("symbol", "described"),
    [
        (f"{SERVICE}.GetPricing", "rpc GetPricing ( .llmpricing.v1.GetPricingRequest )"),
        ("grpc.health.v1.Health.Check", "rpc Check ("),
        ("llmpricing.v1.GetPricingRequest", "string model_id = "),
        ("llmpricing.v1.Freshness", "FRESHNESS_FRESH = 1;"),
    ],
)
def test_reflection_describes_any_symbol(
    public_server: ServerProcess, grpcurl: Grpcurl, symbol: str, described: str
) -> None:
    outcome = grpcurl.run(public_server.address, "describe", symbol)
    assert described in outcome.text, outcome.errors


@pytest.mark.parametrize("symbol", [f"{SERVICE}.GetPrice", "Get", "a.B", f"{SERVICE}.", "."])
def test_reflection_knows_no_other_symbol(
    public_server: ServerProcess, grpcurl: Grpcurl, symbol: str
) -> None:
    outcome = grpcurl.run(public_server.address, "describe", symbol)
    assert outcome.code != 0
    assert "not found" in outcome.errors


def test_health_is_served(public_server: ServerProcess, grpcurl: Grpcurl) -> None:
    checked = grpcurl.run(
        "-d",
        f'{{"service": "{SERVICE}"}}',
        public_server.address,
        "grpc.health.v1.Health/Check",
    )
    assert checked.answer == {"status": "SERVING"}


# Prices of the bundled catalogue, against the package --------------------------------------------


def test_a_model_that_many_sell_has_each_sellers_price(
    public_server: ServerProcess, grpcurl: Grpcurl
) -> None:
    offers = [
        (seller, model)
        for seller, model in _catalogue.sellers_of("gpt-oss-120b")
        if _catalogue.per_million(model, datetime.now(UTC)) != (None, None)
    ]
    assert len({seller for seller, _ in offers}) >= 5
    prices = set()
    for seller, model in offers:
        answer, (prompt, completion) = answered(
            lambda seller=seller, model=model: ask_price(  # type: ignore[misc]
                grpcurl, public_server, seller, model.id
            ),
            lambda at, model=model: _catalogue.per_million(model, at),  # type: ignore[misc]
        )
        pricing = answer["pricing"]
        assert (pricing["provider"], pricing["model_id"]) == (seller, model.id)
        assert (pricing["prompt"], pricing["completion"]) == (prompt, completion), seller
        assert pricing["state"] == "PRICE_STATE_PRICED"
        assert pricing["currency"] == "USD"
        assert pricing["pricing_source"] == "PRICING_SOURCE_DATABASE"
        assert pricing["source_detail"].startswith(TOLD_BY_PACKAGE)
        assert answer["match"]["rule"] == "MATCH_RULE_EXACT"
        prices.add((prompt, completion))
    assert len(prices) >= 5, "sellers differ, or the test proves little"


def test_without_provider_the_maker_answers_before_other_sellers(
    public_server: ServerProcess, grpcurl: Grpcurl
) -> None:
    def match(model_id: str) -> Any:
        return grpcurl.call(public_server.address, "GetPricing", model_id=model_id).answer["match"]

    assert match("gpt-oss-120b") == {
        "provider": "openai",
        "model_id": "gpt-oss-120b",
        "rule": "MATCH_RULE_EXACT_AT_MAKER",
    }
    assert match("openai/gpt-oss-120b") == {
        "provider": "openrouter",
        "model_id": "openai/gpt-oss-120b",
        "rule": "MATCH_RULE_EXACT_AT_SELLER",
    }


def test_an_alias_leads_to_its_seller(public_server: ServerProcess, grpcurl: Grpcurl) -> None:
    answer = ask_price(grpcurl, public_server, "Bedrock", "openai.gpt-oss-120b-1:0")
    assert answer["pricing"]["provider"] == "aws"


@pytest.mark.parametrize("model_id", TIMED)
def test_a_price_by_time_of_day_holds_now_until_the_next_change(
    public_server: ServerProcess, grpcurl: Grpcurl, model_id: str
) -> None:
    model = _catalogue.model_of("deepseek", model_id)
    answer, (prices, since, until) = answered(
        lambda: ask_price(grpcurl, public_server, "deepseek", model_id),
        lambda at: (
            _catalogue.per_million(model, at),
            _catalogue.last_change(model, at),
            _catalogue.next_change(model, at),
        ),
    )
    pricing = answer["pricing"]
    assert (pricing["prompt"], pricing["completion"]) == prices
    assert until is not None, "the price changes every day"
    assert pricing["valid_until_time"] == written(until)
    assert pricing["effective_time"] == written(since)


def test_a_dated_price_holds_until_its_date_and_changes_then(
    public_server: ServerProcess, grpcurl: Grpcurl
) -> None:
    model = _catalogue.model_of(*FUTURE)
    answer, (prices, since, until) = answered(
        lambda: ask_price(grpcurl, public_server, *FUTURE),
        lambda at: (
            _catalogue.per_million(model, at),
            _catalogue.last_change(model, at),
            _catalogue.next_change(model, at),
        ),
    )
    pricing = answer["pricing"]
    # By hand, from the package: 2 and 10 until December 2026, 4 and 20 from then on.
    is_dearer = datetime.now(UTC) >= datetime(2026, 12, 1, tzinfo=UTC)
    assert prices == (("4.00", "20.00") if is_dearer else ("2.00", "10.00"))
    assert (pricing["prompt"], pricing["completion"]) == prices
    assert pricing.get("valid_until_time") == written(until)
    assert pricing["effective_time"] == written(since)


@pytest.mark.parametrize(
    ("unit", "digits"),
    [("PRICE_UNIT_PER_TOKEN", 6), ("PRICE_UNIT_PER_1K_TOKENS", 3), ("PRICE_UNIT_PER_1M_TOKENS", 0)],
)
@pytest.mark.parametrize(
    ("provider", "model_id"), [("openai", "gpt-oss-120b"), ("novita", "openai/gpt-oss-120b")]
)
def test_a_headline_is_exact_in_every_unit(
    public_server: ServerProcess,
    grpcurl: Grpcurl,
    provider: str,
    model_id: str,
    unit: str,
    digits: int,
) -> None:
    model = _catalogue.model_of(provider, model_id)
    answer, expected = answered(
        lambda: ask_price(grpcurl, public_server, provider, model_id, unit=unit),
        lambda at: _catalogue.per_unit(model, at, digits),
    )
    pricing = answer["pricing"]
    assert pricing["unit"] == unit
    assert (pricing["prompt"], pricing["completion"]) == expected


def test_a_catalogue_price_is_as_old_as_its_release(
    public_server: ServerProcess, grpcurl: Grpcurl
) -> None:
    assert SOURCE.release
    answer = ask_price(grpcurl, public_server, "openai", "gpt-oss-120b")
    assert answer["pricing"]["verified_time"] == written(SOURCE.release.released_at)


# Syncs -------------------------------------------------------------------------------------------


def test_a_dry_sync_tells_and_a_real_one_does(
    start_process: StartProcess, database: str, feed: Feed, grpcurl: Grpcurl
) -> None:
    feed.answer(payload(row("acme/one", "0.0000009", "0.0000018"), row("acme/broken", "abc")))
    address = start_process(PRICING_DATABASE_URL=database, PRICING_OPENROUTER_URL=feed.url).address
    name = {"provider": "openrouter", "model_id": "acme/one"}
    before = contents(database)

    dry = grpcurl.call(address, "SyncProvider", provider="openrouter", dry_run=True).answer
    assert contents(database) == before
    assert dry["dry_run"] is True
    assert "sync_run_id" not in dry["run"]
    assert grpcurl.call(address, "GetPricing", **name).refusal.reason == "MODEL_NOT_FOUND"

    real = grpcurl.call(address, "SyncProvider", provider="openrouter").answer
    for outcome in (dry, real):
        run = outcome["run"]
        assert run["status"] == "SYNC_STATUS_SUCCESS"
        assert run["models_fetched"] == 2
        assert run["models_registered"] == 1
        assert run["errors"] == 1
        assert [each["model_id"] for each in run["error_details"]] == ["acme/broken"]
        (change,) = [each for each in outcome["price_changes"] if each["model_id"] == "acme/one"]
        assert change["kind"] == "CHANGE_KIND_ADDED"
        assert (change["new_input"], change["new_output"]) == ("0.90", "1.80")
    pricing = grpcurl.call(address, "GetPricing", **name).answer["pricing"]
    assert (pricing["prompt"], pricing["completion"]) == ("0.90", "1.80")
    run = grpcurl.call(address, "GetSyncRun", sync_run_id=real["run"]["sync_run_id"]).answer["run"]
    assert run["status"] == "SYNC_STATUS_SUCCESS"
    assert run["triggered_by"] == "grpc"


# Lives and deaths of the embedded server ---------------------------------------------------------


def test_a_first_start_fills_the_table_and_its_history_by_a_sync(life: Life) -> None:
    with embedded_postgres(life.data_dir) as conninfo:
        (run,) = rows(conninfo, "SELECT * FROM pricing_sync_log")
        models = sum(1 for _ in _catalogue.sellers_of(""))
        assert (run["source"], run["status"]) == ("genai-prices", "success")
        assert run["models_registered"] + run["errors"] == models
        assert value(conninfo, "SELECT count(*) FROM model_pricing_history") == models


def test_a_second_start_keeps_every_row_and_ends_by_sigterm_with_its_postgres(
    data: Life, grpcurl: Grpcurl
) -> None:
    with data.start() as process:
        address = process.address
        postgres = postmaster_pid(data.data_dir)
        assert grpcurl.call(address, "GetPricing", model_id="gpt-oss-120b").answer
        assert process.send(signal.SIGTERM) == 0
        assert not is_alive(postgres)
        assert any("grpcurl" in line for line in process.output), "a line to paste"
        assert "Traceback" not in "".join(process.errors)
    assert data.held_now() == data.held


def test_ctrl_c_ends_server_and_postgres_quietly(data: Life) -> None:
    with data.start() as process:
        assert process.address
        postgres = postmaster_pid(data.data_dir)
        assert process.press_ctrl_c() == 0
        assert not is_alive(postgres)
        assert "Traceback" not in "".join(process.errors)
    assert data.held_now() == data.held


def test_sigkill_leaves_no_postgres_and_a_directory_that_starts_with_all_rows(
    data: Life, grpcurl: Grpcurl
) -> None:
    with data.start() as process:
        assert process.address
        postgres = postmaster_pid(data.data_dir)
        assert process.send(signal.SIGKILL) == -signal.SIGKILL
        wait_until_stopped(data.data_dir)
        assert not is_alive(postgres)
    with data.start() as process:
        assert grpcurl.call(process.address, "GetPricing", model_id="gpt-oss-120b").answer
        assert process.send(signal.SIGTERM) == 0
    assert data.held_now() == data.held


def test_sigkill_of_server_and_postgres_at_once_loses_no_row(data: Life) -> None:
    with data.start() as process:
        assert process.address
        os.kill(postmaster_pid(data.data_dir), signal.SIGKILL)
        process.send(signal.SIGKILL)
        wait_until_stopped(data.data_dir)
    with data.start() as process:
        assert process.address
        assert process.send(signal.SIGTERM) == 0
    # A crash may burn numbers of a sequence, never rows.
    tables = {name for name, held in data.held.items() if isinstance(held, tuple)}
    found = data.held_now()
    assert {name: found[name] for name in tables} == {name: data.held[name] for name in tables}


def test_sigterm_during_a_start_leaves_nothing_behind(scratch: Path) -> None:
    with server_process(scratch, PRICING_DATA_DIR=str(scratch / "data")) as process:
        lock = scratch / "data" / "server.lock"
        while not lock.exists():
            assert process.process.poll() is None
        assert process.send(signal.SIGTERM) == 0
        assert "Traceback" not in "".join(process.errors)
    wait_until_stopped(scratch / "data")


# Settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PRICING_LISTEN", "0.0.0.0:0"),
        ("PRICING_LISTEN", "localhost"),
        ("PRICING_LISTEN", "127.0.0.1:99999"),
        ("PRICING_CACHE_TTL_SECONDS", "soon"),
        ("PRICING_CACHE_TTL_SECONDS", "-1"),
        ("PRICING_ADMIN_TOKEN", "short"),
        ("PRICING_OPENROUTER_URL", "ftp://example.com/"),
        ("PRICING_DATABASE_URL", "nonsense"),
    ],
)
def test_a_setting_that_makes_no_sense_stops_the_start_with_one_line_that_names_it(
    start_process: StartProcess, name: str, text: str
) -> None:
    process = start_process(**{"PRICING_DATA_DIR": "unused", name: text})
    assert process.wait() == 1
    (line,) = process.errors
    assert name in line


def test_a_database_out_of_reach_does_not_stop_the_start_and_its_password_shows_nowhere(
    start_process: StartProcess, grpcurl: Grpcurl
) -> None:
    process = start_process(
        PRICING_DATABASE_URL="host=127.0.0.1 port=1 dbname=prices user=me password=hush"
    )
    pricing = ask_price(grpcurl, process, "openai", "gpt-4o")["pricing"]
    assert pricing["freshness"] == "FRESHNESS_DATABASE_DOWN"
    assert pricing["pricing_source"] == "PRICING_SOURCE_CATALOG"
    assert process.send(signal.SIGTERM) == 0
    said = "".join([*process.output, *process.errors])
    assert "start.without_database" in said
    assert "hush" not in said


def test_an_address_in_use_stops_the_start_with_one_line_that_names_it(
    start_process: StartProcess, database: str, public_server: ServerProcess
) -> None:
    process = start_process(PRICING_DATABASE_URL=database, PRICING_LISTEN=public_server.address)
    assert process.wait() == 1
    # gRPC's core has its own line about it, before ours.
    assert process.errors[-1] == (
        f"pricing-server: PRICING_LISTEN: {public_server.address} cannot be bound; is it in use?"
    )
    assert "Traceback" not in "".join(process.errors)


def test_a_database_of_the_operators_is_used_instead_of_an_embedded_one(
    start_process: StartProcess, empty_database: str, scratch: Path
) -> None:
    process = start_process(PRICING_DATABASE_URL=empty_database, PRICING_DATA_DIR="embedded")
    assert process.address
    assert prices_only(contents(empty_database))["model_pricing"]
    assert value(empty_database, "SELECT count(*) FROM model_pricing") > 1000
    assert process.send(signal.SIGTERM) == 0
    assert not (scratch / "embedded" / "cluster").exists()
