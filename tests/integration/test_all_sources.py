"""What is answered once every recorded payload is synced: better than before, never worse.

The recordings are not part of this repository; without them beside it the tests are skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias

import grpc
import pytest
from google.protobuf import json_format

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.v1 import pricing_pb2_grpc
from pricing_server.domain.source import KeyUse
from pricing_server.lookup.layers.catalogue import Catalog
from pricing_server.lookup.matching.catalogue_clauses import clauses
from pricing_server.lookup.matching.catalogue_coverage import CatalogueCoverage
from pricing_server.providers import SOURCES, genai_prices
from tests._coverage import NOW, RECORDINGS
from tests._recorded import recorded
from tests.integration._database import copied_database
from tests.integration._postgres import scratch_directory
from tests.integration._recordings import recordings_served
from tests.integration._server import server_process

FILES: Final = {
    "openrouter": "openrouter_2026-08-22.json",
    "deepinfra": "deepinfra.json",
    "novita": "novita.json",
    "together": "together.json",
    "chutes": "chutes.json",
    "cerebras": "cerebras_public_2026.json",
    "huggingface": "huggingface.json",
    "featherless": "featherless.json",
    "groq": "groq.json",
    "fireworks": "fireworks.json",
    "models-dev": "models_dev_api.json",
    "portkey": "portkey_{part}.json",
    "litellm": "litellm.json",
}
"""In the order in which they are synced."""

pytestmark = pytest.mark.recorded

CALL_SECONDS: Final = 60.0
CATALOGUE: Final = SOURCES["genai-prices"]

Name: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Synced:
    """A server that has synced everything recorded, and what it answered before."""

    stub: pricing_pb2_grpc.PricingServiceStub
    before: Mapping[Name, pb.ModelPricing]
    """Of the names that the bundled catalogue covers, with that alone."""


@pytest.fixture(scope="module")
def synced(cluster: str, catalogue_template: str) -> Iterator[Synced]:
    with (
        recordings_served() as address,
        copied_database(cluster, catalogue_template) as conninfo,
        scratch_directory() as scratch,
        server_process(
            scratch,
            PRICING_DATABASE_URL=conninfo,
            **{SOURCES[slug].url_variable: f"{address}/{name}" for slug, name in FILES.items()},
            **{
                SOURCES[slug].key_variable: "k" * 20
                for slug in FILES
                if SOURCES[slug].key_use is KeyUse.REQUIRED
            },
        ) as process,
        grpc.insecure_channel(process.address) as channel,
    ):
        stub = pricing_pb2_grpc.PricingServiceStub(channel)
        before = prices(stub, covered_names())
        for slug in FILES:
            request = pb.SyncProviderRequest(provider=slug)
            response = stub.SyncProvider(request, timeout=CALL_SECONDS)
            assert response.run.status == pb.SYNC_STATUS_SUCCESS, (slug, response.run.error_message)
        yield Synced(stub, before)


def covered_names() -> list[Name]:
    """What some recorded payload lists, and the catalogue states under another id."""
    coverage = CatalogueCoverage(CATALOGUE.slug, Catalog(genai_prices.SOURCE, clauses))
    names = {
        model.key for slug in FILES for model in SOURCES[slug].read(RECORDINGS[slug](), NOW).models
    }
    return [
        name
        for name in sorted(names)
        if (found := coverage.covered(*name)) is not None and not found.is_inferred
    ]


def prices(
    stub: pricing_pb2_grpc.PricingServiceStub, names: Iterable[Name]
) -> dict[Name, pb.ModelPricing]:
    """What is answered for names that are known."""
    names = list(names)
    found = {}
    for start in range(0, len(names), 500):
        some = names[start : start + 500]
        request = pb.BatchGetPricingRequest(
            requests=[
                pb.GetPricingRequest(provider=provider, model_id=model_id)
                for provider, model_id in some
            ]
        )
        response = stub.BatchGetPricing(request, timeout=CALL_SECONDS)
        for name, result in zip(some, response.results, strict=True):
            if result.HasField("pricing"):
                found[name] = result.pricing.pricing
    return found


def cases(*names: str) -> dict[str, Mapping[str, Any]]:
    """Of the costs that users got wrong those with these names."""
    path = recorded("litellm.json").parents[1] / "cases" / "costs.jsonl"
    found = (json.loads(line) for line in path.read_text().splitlines())
    return {each["id"]: each for each in found if each["id"] in names}


def total(synced: Synced, document: Mapping[str, Any]) -> Decimal | str:
    request, asked = pb.CalculateCostRequest(), dict(document)
    if at := asked.pop("at", None):
        asked["read"] = {"as_of": at}
    json_format.ParseDict(asked, request)
    try:
        return Decimal(synced.stub.CalculateCost(request, timeout=CALL_SECONDS).cost.total)
    except grpc.RpcError as error:
        return str(error.details())


def test_a_better_sources_word_holds_for_every_name_of_its_model(synced: Synced) -> None:
    wanted = cases("t1", "t3", "t5", "t8", "t10", "t12", "t14", "t19", "b1", "b3", "b6")
    totals = {name: total(synced, case["request"]) for name, case in wanted.items()}
    assert totals == {name: Decimal(case["right"]) for name, case in wanted.items()}


def test_no_name_that_the_catalogue_covers_gets_a_poorer_card_or_another_headline(
    synced: Synced,
) -> None:
    after = prices(synced.stub, synced.before)
    assert after.keys() == synced.before.keys()
    assert len(after) > 250
    poorer, different, attributed = [], [], 0
    for name, now in after.items():
        was = synced.before[name]
        if is_by_better_source(now):
            continue
        attributed += 1
        if kinds(was) - kinds(now):
            poorer.append((name, now.source_detail))
        if headline(was) != headline(now):
            different.append((name, headline(was), headline(now), now.source_detail))
    assert (poorer, different) == ([], [])
    assert attributed > 200


def is_by_better_source(price: pb.ModelPricing) -> bool:
    """Whether a source tells the price that ranks before the catalogue."""
    source = next(
        each for each in SOURCES.values() if price.source_detail.startswith(each.display_name)
    )
    return source.rank < CATALOGUE.rank


def kinds(price: pb.ModelPricing) -> set[tuple[int, str]]:
    """What a card has rates for: its meters, each with what the rate depends on."""
    return {
        (rate.meter, json_format.MessageToJson(rate.conditions, indent=None))
        for rate in price.rates
    }


def headline(price: pb.ModelPricing) -> tuple[str, str, str, str]:
    return price.prompt, price.completion, price.request, price.image


def explained(synced: Synced, provider: str, model_id: str) -> pb.ExplainPriceResponse:
    request = pb.ExplainPriceRequest(provider=provider, model_id=model_id)
    return synced.stub.ExplainPrice(request, timeout=CALL_SECONDS)


def test_an_explanation_leads_from_every_rate_to_who_states_it(synced: Synced) -> None:
    found = explained(synced, "google", "gemini-2.5-flash")
    stated = {
        (quote.source, rate.meter, rate.price, str(rate.conditions.context))
        for quote in found.quotes
        for rate in quote.rate_card.rates
    }
    told = {
        (rate.source, rate.meter, rate.price, str(rate.conditions.context))
        for rate in found.pricing.rates
    }
    assert told <= stated
    assert len({source for source, *_ in told}) > 1


def test_an_explanation_tells_what_does_not_complete_a_card_and_why(synced: Synced) -> None:
    found = explained(synced, "openai", "gpt-3.5-turbo")
    unfilled = {
        (quote.source, one.rate.meter): one.reason
        for quote in found.quotes
        for one in quote.unfilled_rates
    }
    assert unfilled["models-dev", pb.METER_CACHE_READ_TOKENS] == pb.UNFILLED_REASON_BREAKS_ITS_KIND
