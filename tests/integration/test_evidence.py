"""From a price to its evidence in one call, and where sources of one seller disagree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from llmpricing.v1 import pricing_pb2 as pb
from tests.integration._grpcurl import Grpcurl
from tests.integration._runs import Bench, ServerProcess, bench_on
from tests.integration._server import CALL_SECONDS

pytestmark = pytest.mark.integration

SHARED = "anthropic/claude-3-haiku"
"""The bundled catalogue states what OpenRouter charges for it, too."""


@pytest.fixture
def bench(cluster: str, catalogue_template: str) -> Iterator[Bench]:
    with bench_on(cluster, catalogue_template) as bench:
        yield bench
        bench.assert_whole()


@pytest.fixture
def server(bench: Bench) -> ServerProcess:
    return bench.start()


def explain(
    server: ServerProcess, model_id: str, provider: str | None = None
) -> pb.ExplainPriceResponse:
    request = pb.ExplainPriceRequest(model_id=model_id, provider=provider)
    return server.stub.ExplainPrice(request, timeout=CALL_SECONDS)


def override(server: ServerProcess, model_id: str, **fields: Any) -> pb.SetPriceOverrideResponse:
    stated: dict[str, Any] = {"provider": "openrouter", "reason": "a test", "set_by": "ann"}
    stated["view"] = pb.CHANGE_VIEW_FULL
    stated["register"] = True
    request = pb.SetPriceOverrideRequest(**stated | {"model_id": model_id} | fields)
    return server.stub.SetPriceOverride(request, timeout=CALL_SECONDS)


def page(server: ServerProcess, **fields: Any) -> pb.ListDiscrepanciesResponse:
    request = pb.ListDiscrepanciesRequest(**fields)
    return server.stub.ListDiscrepancies(request, timeout=CALL_SECONDS)


def discrepancies(
    server: ServerProcess, provider: str | None = None, **fields: Any
) -> list[pb.Discrepancy]:
    """Of all pages."""
    found: list[pb.Discrepancy] = []
    token = ""
    while True:
        response = page(server, provider=provider, page_token=token, **fields)
        found += response.discrepancies
        token = response.next_page_token
        if not token:
            return found


def catalogued(bench: Bench, models: int) -> list[str]:
    """Models of OpenRouter's for which the catalogue states 1 to 5 USD per 1M tokens of input,
    and 2 USD or more of output: the guard takes no price near 10 USD for an error."""
    found = bench.rows(
        "SELECT model_id FROM models JOIN model_pricing USING (model_key)"
        " WHERE provider = 'openrouter' AND price_per_input_token BETWEEN 1e-6 AND 5e-6"
        " AND price_per_output_token >= 2e-6 ORDER BY model_id LIMIT %s",
        models,
    )
    assert len(found) == models
    return [row["model_id"] for row in found]


# ExplainPrice.


def test_a_price_is_explained_as_it_is_read_and_only_now(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {SHARED: 3}
    revision = server.synced().run.revision

    def explained(**read: Any) -> pb.ExplainPriceResponse:
        request = pb.ExplainPriceRequest(
            model_id=SHARED, provider="openrouter", read=pb.ReadOptions(**read)
        )
        return server.stub.ExplainPrice(request, timeout=CALL_SECONDS)

    assert explained(min_revision=revision).pricing.prompt == "3.00"
    catalogue = explained(accept_sources=[pb.PRICING_SOURCE_CATALOG])
    assert catalogue.pricing.pricing_source == pb.PRICING_SOURCE_CATALOG
    assert not catalogue.HasField("table")
    for field in ("as_of", "known_at"):
        with pytest.raises(grpc.RpcError) as error:
            explained(**{field: Timestamp(seconds=1)})
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert f"read.{field}" in str(error.value.details())


def test_a_sellers_price_leads_to_its_own_words(bench: Bench, server: ServerProcess) -> None:
    bench.feed.prices = {SHARED: 3}
    run = server.synced()
    found = explain(server, SHARED, "OpenRouter")
    answer = server.get(SHARED)
    assert found.pricing == answer.pricing
    assert (found.match, found.table.revision, found.table.epoch) == (
        answer.match,
        answer.table.revision,
        answer.table.epoch,
    )
    assert [quote.source for quote in found.quotes] == ["openrouter", "genai-prices"]
    own, other = found.quotes
    assert (own.is_in_force, other.is_in_force) == (True, False)
    assert (own.rank, other.rank) == (100, 1000)
    stated = json.loads(own.fragment)
    assert stated["pricing"]["prompt"] == "0.000003"
    assert own.fragment_sha256 == hashlib.sha256(own.fragment.encode()).hexdigest()
    assert (own.prompt, own.completion) == ("3.00", "6.00")
    assert own.rate_card.rate_card_id == answer.pricing.rate_card_id
    assert (own.verified_time, own.first_stated_time) == (answer.pricing.verified_time,) * 2
    assert (own.sync_run_id, own.is_confirmed) == (run.run.sync_run_id, True)
    assert own.payload_url == bench.feed.url
    body = json.dumps(bench.feed.document()).encode()
    assert own.payload_sha256 == hashlib.sha256(body).hexdigest()
    assert [(one.field, one.stated, one.unit, one.price) for one in own.conversions] == [
        ("pricing.prompt", "0.000003", "USD per token", "0.000003"),
        ("pricing.completion", "0.000006", "USD per token", "0.000006"),
    ]
    assert other.payload_url == other.payload_sha256 == ""
    assert {one.unit for one in other.conversions} == {"USD per 1M tokens"}
    assert found.last_change.source == "openrouter"
    assert found.last_change.revision == found.pricing.price_revision
    assert not found.HasField("price_override")
    assert not found.held_changes


def test_it_says_since_when_a_source_has_stated_a_price(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 3}
    server.synced()
    first = explain(server, "acme/one").quotes[0]
    server.synced()
    again = explain(server, "acme/one").quotes[0]
    assert again.first_stated_time == first.first_stated_time
    assert again.verified_time.ToDatetime() > first.verified_time.ToDatetime()
    bench.feed.prices = {"acme/one": 4}
    server.synced()
    moved = explain(server, "acme/one").quotes[0]
    assert moved.first_stated_time == moved.verified_time


def test_a_catalogues_price_leads_to_its_statement(server: ServerProcess) -> None:
    found = explain(server, "gpt-4o")
    assert (found.match.provider, found.match.rule) == ("openai", pb.MATCH_RULE_EXACT_AT_MAKER)
    (quote,) = found.quotes
    assert (quote.source, quote.is_in_force) == ("genai-prices", True)
    prices = {one.price for one in quote.conversions}
    assert prices == {rate.price for rate in found.pricing.rates}


def test_an_override_leads_to_the_admins_words_and_to_what_is_beneath(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {SHARED: 3}
    server.synced()
    done = override(server, SHARED, prompt="2.50", unit=pb.PRICE_UNIT_PER_1K_TOKENS, confirm=True)
    found = explain(server, SHARED, "openrouter")
    assert found.pricing.pricing_source == pb.PRICING_SOURCE_OVERRIDE
    assert found.price_override == done.price_override
    assert [(quote.source, quote.is_in_force) for quote in found.quotes] == [
        ("override", True),
        ("openrouter", False),
        ("genai-prices", False),
    ]
    quote = found.quotes[0]
    assert json.loads(quote.fragment) == {"unit": "per_1k_tokens", "prompt": "2.50"}
    (conversion,) = quote.conversions
    assert (conversion.stated, conversion.unit) == ("2.50", "USD per 1K tokens")
    assert conversion.price == "0.0025"
    assert (quote.rank, quote.sync_run_id) == (0, "")
    assert found.last_change == done.price_change
    clear = pb.ClearPriceOverrideRequest(provider="openrouter", model_id=SHARED)
    server.stub.ClearPriceOverride(clear, timeout=CALL_SECONDS)
    after = explain(server, SHARED, "openrouter")
    assert [quote.source for quote in after.quotes] == ["openrouter", "genai-prices"]
    assert not after.HasField("price_override")


def test_a_price_from_a_file_has_no_quote_in_force(bench: Bench) -> None:
    prices = bench.directory / "prices.json"
    prices.write_text(
        '{"_metadata": {"unit": "per_1m_tokens"}, "openrouter": {"acme/one": {"prompt": "5"},'
        ' "acme/by-hand": {"prompt": "6"}}}'
    )
    server = bench.start(PRICING_MANUAL_PRICING_FILE=str(prices))
    bench.feed.prices = {"acme/one": None}
    server.synced()
    found = explain(server, "acme/one")
    assert (found.pricing.prompt, found.pricing.pricing_source) == (
        "5.00",
        pb.PRICING_SOURCE_MANUAL,
    )
    assert [(quote.source, quote.is_in_force) for quote in found.quotes] == [("openrouter", False)]
    assert [one.price for one in found.quotes[0].conversions] == ["", ""]
    assert not found.HasField("last_change")
    assert not found.HasField("table")
    by_hand = explain(server, "acme/by-hand", "openrouter")
    assert by_hand.pricing.source_detail == "price file prices.json"
    assert not by_hand.quotes


def test_a_cross_reference_leads_to_the_price_referred_to(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {"acme/one": 3}
    server.synced()
    bench.rows("UPDATE models SET hugging_face_id = 'Acme/One' WHERE model_id = 'acme/one'")
    bench.rows(
        "INSERT INTO providers VALUES ('featherless', 'Featherless')"
        " ON CONFLICT (provider) DO NOTHING"
    )
    asked = pb.SetPriceOverrideRequest(
        provider="featherless",
        model_id="Acme/One",
        prompt="1",
        register=True,
        reason="to register it",
    )
    server.stub.SetPriceOverride(asked, timeout=CALL_SECONDS)
    clear = pb.ClearPriceOverrideRequest(provider="featherless", model_id="Acme/One")
    server.stub.ClearPriceOverride(clear, timeout=CALL_SECONDS)
    bench.rows("UPDATE models SET hugging_face_id = 'acme/one' WHERE model_id = 'Acme/One'")
    server.synced("genai-prices")  # So that nothing read before is remembered.
    found = explain(server, "Acme/One", "featherless")
    assert found.pricing.pricing_source == pb.PRICING_SOURCE_CROSS_REFERENCE
    assert (found.pricing.provider, found.pricing.prompt) == ("featherless", "3.00")
    (quote,) = found.quotes
    assert (quote.source, quote.is_in_force, quote.prompt) == ("openrouter", True, "3.00")
    assert found.last_change.model_id == "acme/one"
    # An admin's word on OpenRouter's model says nothing of the seller's.
    override(server, "acme/one", prompt="7")
    again = explain(server, "Acme/One", "featherless")
    assert again.pricing.prompt == "3.00"


def test_what_get_pricing_refuses_is_refused(server: ServerProcess) -> None:
    for model_id, provider, code in (
        ("no-such-model", None, grpc.StatusCode.NOT_FOUND),
        ("gpt-4o", "no-such-seller", grpc.StatusCode.NOT_FOUND),
        ("", None, grpc.StatusCode.INVALID_ARGUMENT),
        ("gpt-4o", "", grpc.StatusCode.INVALID_ARGUMENT),
    ):
        with pytest.raises(grpc.RpcError) as error:
            explain(server, model_id, provider)
        assert error.value.code() == code


def test_a_number_and_its_evidence_are_of_one_revision_while_prices_change(
    bench: Bench,
) -> None:
    one, other = bench.start(), bench.start()
    for price in range(1, 12):
        override(one, "acme/one", prompt=str(price))
        found = explain(other, "acme/one", "openrouter")
        assert found.pricing.prompt == found.quotes[0].prompt == found.last_change.new_input


# ListDiscrepancies.


def test_a_model_on_which_two_sources_disagree_is_listed_once_with_both_prices(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {SHARED: 5}
    server.synced()
    (found,) = discrepancies(server, "OpenRouter")
    assert (found.provider, found.model_id) == ("openrouter", SHARED)
    assert (found.source, found.other_source) == ("openrouter", "genai-prices")
    # Stated are 5 and 10 USD per 1M tokens, and 0.25 and 1.25.
    assert (found.meter, found.ratio) == (pb.METER_INPUT_TOKENS, "20")
    assert (found.price, found.other_price) == ("0.000005", "0.00000025")
    assert found.since_time == explain(server, SHARED, "openrouter").quotes[0].first_stated_time
    assert discrepancies(server, "openrouter", min_ratio="20") == [found]
    assert not discrepancies(server, "openrouter", min_ratio="20.1")
    assert not discrepancies(server, "a-seller-that-nobody-lists")
    override(server, SHARED, prompt="7")
    assert discrepancies(server, "openrouter") == [found]


def test_sources_that_agree_or_state_no_price_do_not_disagree(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {SHARED: None}
    server.synced()
    assert not discrepancies(server, "openrouter")
    assert not discrepancies(server, "nobody")


def test_a_source_that_dropped_the_model_says_nothing_any_more(
    bench: Bench, server: ServerProcess
) -> None:
    bench.feed.prices = {SHARED: 5, "acme/one": 1}
    server.synced()
    bench.feed.prices = {"acme/one": 1}
    server.synced()
    assert discrepancies(server, "openrouter")
    server.synced()
    assert not discrepancies(server, "openrouter")


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_pages_of_any_size_are_the_whole_list_in_its_order(
    bench: Bench, server: ServerProcess, size: int
) -> None:
    # In fives of one price, so that many ratios are equal where the catalogue's prices are.
    bench.feed.prices = {model_id: 6 + at // 5 for at, model_id in enumerate(catalogued(bench, 30))}
    server.synced()
    whole = discrepancies(server, page_size=1_000)
    assert len(whole) > 15
    assert discrepancies(server, page_size=size) == whole
    keys = [(-Decimal(one.ratio), one.provider, one.model_id) for one in whole]
    assert len({key[1:] for key in keys}) == len(keys)
    assert [key[0] for key in keys] == sorted(key[0] for key in keys)


def test_foreign_tokens_and_ratios_are_refused(bench: Bench, server: ServerProcess) -> None:
    bench.feed.prices = dict.fromkeys(catalogued(bench, 9), 6)
    server.synced()
    token = page(server, page_size=1).next_page_token
    assert token
    for fields in (
        {"page_token": token, "min_ratio": "2"},
        {"page_token": token, "provider": "openai"},
        {"page_token": "nonsense"},
        {"page_size": -1},
        {"min_ratio": "1"},
        {"min_ratio": "0.5"},
        {"min_ratio": "-2"},
        {"min_ratio": "many"},
        {"provider": " "},
    ):
        with pytest.raises(grpc.RpcError) as error:
            page(server, **fields)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


# As an operator calls it.


def test_the_commands_of_the_documentation_work(
    bench: Bench, server: ServerProcess, grpcurl: Grpcurl
) -> None:
    bench.feed.prices = {SHARED: 2}
    server.synced()
    address = server.address
    set_ = grpcurl.call(
        address,
        "SetPriceOverride",
        provider="openrouter",
        model_id=SHARED,
        prompt="0.25",
        completion="1.25",
        reason="invoice of May",
        set_by="ann",
        until_time="2030-01-01T00:00:00Z",
    ).answer
    assert set_["price_override"]["set_by"] == "ann"
    assert set_["price_change"]["origin"]["note"] == "ann"
    explained = grpcurl.call(address, "ExplainPrice", model_id=SHARED, provider="openrouter").answer
    assert explained["price_override"]["until_time"] == "2030-01-01T00:00:00Z"
    assert explained["quotes"][1]["conversions"][0]["unit"] == "USD per token"
    cleared = grpcurl.call(
        address, "ClearPriceOverride", provider="openrouter", model_id=SHARED, cleared_by="ann"
    ).answer
    assert cleared["price_change"]["origin"]["kind"] == "ORIGIN_KIND_OVERRIDE_CLEARED"
    listed = grpcurl.call(address, "ListDiscrepancies", provider="openrouter", min_ratio="2").answer
    assert listed["discrepancies"][0]["ratio"] == "8"
    refused = grpcurl.call(
        address, "SetPriceOverride", provider="openrouter", model_id=SHARED, prompt="0", reason="x"
    ).refusal
    assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", ("prompt",))
