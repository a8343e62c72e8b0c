"""Costs at the cards of litellm's price file, against a reading of its keys one by one.

Where our answer is deliberately another than litellm's, `DIFFERENCES` says so and why.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from llmpricing.compiled_card import CompiledCard
from llmpricing.cost import Cost, NotPriced
from llmpricing.meters import Meter
from llmpricing.usage import InputConvention, Quantity, UsageError
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.source_listing import Listing
from pricing_server.providers.litellm import read
from tests._cost_cases import CostCase
from tests._litellm_cases import NOW, litellm_cases
from tests._recorded import recorded
from tests.unit._sources import FIXTURES

Answer = tuple[Decimal, dict[Meter, Quantity]] | str


def cards_of(listing: Listing) -> dict[tuple[str, str], CompiledCard]:
    return {model.key: CompiledCard(model.card) for model in listing.models}


def answer(
    card: CompiledCard, case: CostCase, usage: Mapping[Meter, Quantity], convention: InputConvention
) -> Answer:
    try:
        cost = card.evaluate(usage, at=case.at, context=case.context, convention=convention)
    except (UsageError, NotPriced) as error:
        return repr(error)
    return cost.total, dict(cost.unpriced)


def disagreements(
    cards: Mapping[tuple[str, str], CompiledCard], cases: list[CostCase]
) -> Iterator[tuple[CostCase, InputConvention, Answer]]:
    for case in cases:
        assert case.disjoint is not None
        stated = {
            InputConvention.INCLUSIVE: case.usage,
            InputConvention.EXCLUSIVE: case.disjoint,
        }
        for convention, usage in stated.items():
            got = answer(cards[case.seller, case.model_id], case, usage, convention)
            if got != (case.expected, case.unpriced):
                yield case, convention, got


def read_cases(text: bytes, listing: Listing) -> list[CostCase]:
    """Cases of the models that were read: rows at fault have no card."""
    keys = {model.key for model in listing.models}
    cases = litellm_cases(json.loads(text, parse_float=Decimal))
    return [case for case in cases if (case.seller, case.model_id) in keys]


@pytest.mark.recorded
def test_every_model_of_the_recorded_file_costs_what_its_keys_say() -> None:
    text = recorded("litellm.json").read_bytes()
    listing = read(decode_json(text), NOW)
    cases = read_cases(text, listing)
    assert len(cases) >= 12_000
    assert len({(case.seller, case.model_id) for case in cases}) >= 3_000
    assert sum(bool(case.context) for case in cases) >= 5_000
    assert list(disagreements(cards_of(listing), cases)) == []


def test_every_model_of_the_fixture_costs_what_its_keys_say() -> None:
    text = (FIXTURES / "litellm.json").read_bytes()
    listing = read(decode_json(text), NOW)
    cases = read_cases(text, listing)
    sellers = {case.seller for case in cases}
    assert {"openai", "x-ai", "alibaba-cloud", "groq", "cohere", "mistral"} <= sellers
    assert list(disagreements(cards_of(listing), cases)) == []


# Where litellm says something else.


@dataclass(frozen=True)
class Difference:
    """A row of a model at `seller`, and a usage, EXCLUSIVE, that costs `theirs` in litellm."""

    reason: str
    row: Mapping[str, Any]
    usage: Mapping[Meter, int]
    theirs: str
    ours: str
    unpriced: Mapping[Meter, int] = field(default_factory=dict)
    context: Mapping[str, str] = field(default_factory=dict)
    seller: str = "acme"


BATCH = {"processing": "batch"}

DIFFERENCES = {
    "zero": Difference(
        "A zero is no price: the file has no way to declare something free, and has zeros for "
        "what was never priced. So it costs what it is part of.",
        {"cache_creation_input_token_cost": 0.0},
        {Meter.CACHE_WRITE_TOKENS: 1_000},
        theirs="0",
        ours="0.002",
    ),
    "missing": Difference(
        "What has no price is unpriced; in litellm it costs nothing.",
        {"output_cost_per_token": None},
        {Meter.INPUT_TOKENS: 1_000, Meter.OUTPUT_TOKENS: 100},
        theirs="0.002",
        ours="0.002",
        unpriced={Meter.OUTPUT_TOKENS: 100},
    ),
    "cached audio beside a price of cached tokens": Difference(
        "Cached audio is of two kinds with prices of their own, and either would be a guess; "
        "litellm takes that of cached text.",
        {"cache_read_input_token_cost": 2e-7, "input_cost_per_audio_token": 3e-5},
        {Meter.CACHE_AUDIO_READ_TOKENS: 1_000},
        theirs="0.0002",
        ours="0",
        unpriced={Meter.CACHE_AUDIO_READ_TOKENS: 1_000},
    ),
    "cached audio without a price of cached tokens": Difference(
        "Cached audio is audio, which has a price; litellm takes that of text.",
        {"input_cost_per_audio_token": 3e-5},
        {Meter.CACHE_AUDIO_READ_TOKENS: 1_000},
        theirs="0.002",
        ours="0.03",
    ),
    "cached images": Difference(
        "The file prices cached image tokens, and litellm does not look at it.",
        {
            "cache_read_input_token_cost": 2e-7,
            "input_cost_per_image_token": 5e-6,
            "cache_read_input_image_token_cost": 5e-7,
        },
        {Meter.CACHE_IMAGE_READ_TOKENS: 1_000},
        theirs="0.0002",
        ours="0.0005",
    ),
    "reasoning above a threshold": Difference(
        "Reasoning at the price of output is output, above a threshold as well; litellm keeps "
        "charging it at the lower price.",
        {
            "output_cost_per_reasoning_token": 1e-5,
            "input_cost_per_token_above_200k_tokens": 4e-6,
            "output_cost_per_token_above_200k_tokens": 2e-5,
        },
        {Meter.INPUT_TOKENS: 300_000, Meter.OUTPUT_REASONING_TOKENS: 1_000},
        theirs="1.21",
        ours="1.22",
    ),
    "Fireworks": Difference(
        "litellm's code, not the file, says that cached tokens cost half at Fireworks.",
        {},
        {Meter.CACHE_READ_TOKENS: 1_000},
        theirs="0.001",
        ours="0.002",
        seller="fireworks_ai",
    ),
    "batch without a price of its own": Difference(
        "A batch costs what is standard where the file states nothing for it, and the context "
        "is named as unused; litellm halves the price.",
        {},
        {Meter.INPUT_TOKENS: 1_000},
        theirs="0.001",
        ours="0.002",
        context=BATCH,
    ),
    "batch with cached tokens": Difference(
        "What a batch states no price for costs what is standard; litellm charges cached tokens "
        "as the input of the batch.",
        {"cache_read_input_token_cost": 2e-7, "input_cost_per_token_batches": 1e-6},
        {Meter.CACHE_READ_TOKENS: 1_000},
        theirs="0.001",
        ours="0.0002",
        context=BATCH,
    ),
    "batch above a threshold": Difference(
        "Above a threshold that a batch states no price for, it costs what is standard there; "
        "litellm forgets the threshold.",
        {"input_cost_per_token_batches": 1e-6, "input_cost_per_token_above_200k_tokens": 4e-6},
        {Meter.INPUT_TOKENS: 300_000},
        theirs="0.3",
        ours="1.2",
        context=BATCH,
    ),
    "output without a price beside image output": Difference(
        "Text from a model that prices image tokens alone is unpriced; litellm charges it as "
        "image tokens.",
        {"output_cost_per_token": 0.0, "output_cost_per_image_token": 4e-5},
        {Meter.INPUT_TOKENS: 1_000, Meter.OUTPUT_TOKENS: 100},
        theirs="0.006",
        ours="0.002",
        unpriced={Meter.OUTPUT_TOKENS: 100},
    ),
    "requests": Difference(
        "A request has a price in the file, and litellm's calculation does not look at it.",
        {"input_cost_per_request": 0.005},
        {Meter.INPUT_TOKENS: 1_000},
        theirs="0.002",
        ours="0.007",
    ),
    "searches of any size": Difference(
        "Searches whose price depends on the size are unpriced without the size; litellm takes "
        "the medium one.",
        {
            "search_context_cost_per_query": {
                "search_context_size_low": 0.005,
                "search_context_size_medium": 0.008,
            }
        },
        {Meter.WEB_SEARCHES: 10},
        theirs="0.08",
        ours="0",
        unpriced={Meter.WEB_SEARCHES: 10},
    ),
}


def cost_at(difference: Difference) -> Cost:
    row = {
        "litellm_provider": difference.seller,
        "mode": "chat",
        "input_cost_per_token": 2e-6,
        "output_cost_per_token": 1e-5,
        **difference.row,
    }
    listing = read(decode_json(json.dumps({"model": row}).encode()), NOW)
    return CompiledCard(listing.models[0].card).evaluate(
        difference.usage, at=NOW, context=difference.context, convention=InputConvention.EXCLUSIVE
    )


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_answer_differs_from_litellm_s_where_that_is_listed(name: str) -> None:
    difference = DIFFERENCES[name]
    cost = cost_at(difference)
    assert cost.total == Decimal(difference.ours)
    assert dict(cost.unpriced) == difference.unpriced
    assert difference.ours != difference.theirs or difference.unpriced


def test_a_batch_without_a_price_of_its_own_says_that_it_is_unused() -> None:
    cost = cost_at(DIFFERENCES["batch without a price of its own"])
    assert cost.unused_context == (("processing", "batch"),)
