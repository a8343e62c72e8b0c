"""The recorded catalogues, synced through the real server into a real Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from llmpricing.v1 import pricing_pb2 as pb
from tests.integration._recordings import recordings_served
from tests.integration._server import CALL_SECONDS, Server, in_process_server

pytestmark = pytest.mark.recorded

FILES = {
    "models-dev": "models_dev_api.json",
    "portkey": "portkey_{part}.json",
    "litellm": "litellm.json",
}
COUNTS = {
    # (fetched, errors)
    "models-dev": (4_695, 0),
    "portkey": (379, 27),
    "litellm": (4_093, 0),
}

CONTRADICTED = {
    ("google-vertex", "multimodalembedding"),
    ("openai", "gpt-5-nano"),
    ("openai", "gpt-5-nano-2025-08-07"),
}
"""Rows of litellm whose price is over 30 times off what better sources state."""

IMPLAUSIBLE = {
    # Three times the price of the same model in all other areas.
    ("aws", "au.anthropic.claude-opus-4-6-v1"),
    # 3,200 USD per 1M tokens.
    ("azure-ai", "jais-30b-chat"),
    # Requests, priced as tokens.
    *(
        ("google-vertex", f"semantic-ranker-{version}")
        for version in ("default", "default-002", "default-003", "default-004", "fast-004")
    ),
    # Images, priced as tokens.
    *(
        ("fireworks", f"accounts/fireworks/models/{model}")
        for model in (
            *("SSD-1B", "flux-1-dev-fp8", "flux-1-schnell-fp8", "japanese-stable-diffusion-xl"),
            *("playground-v2-1024px-aesthetic", "playground-v2-5-1024px-aesthetic"),
            "stable-diffusion-xl-1024-v1-0",
        )
    ),
}
"""Rows whose price no model can have, or not in one area alone."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with recordings_served() as address:
        yield address


@pytest.fixture
async def catalogues(database: str, address: str) -> AsyncIterator[Server]:
    urls = {slug: f"{address}/{name}" for slug, name in FILES.items()}
    async with in_process_server(database, source_urls=urls) as running:
        yield running


async def test_every_recorded_catalogue_is_synced_and_synced_again_without_a_change(
    catalogues: Server,
) -> None:
    for slug, (fetched, errors) in COUNTS.items():
        first = await catalogues.synced(slug)
        print(f"{slug}: {first.run.duration_ms} ms, {first.run.models_registered} registered")
        assert (first.run.models_fetched, first.run.errors) == (fetched, errors)
        again = await catalogues.synced(slug)
        print(f"{slug} again: {again.run.duration_ms} ms")
        assert again.run.models_unchanged + again.run.models_held == fetched - errors
        assert again.run.models_held == first.run.models_held
        assert list(again.price_changes) == []
        assert again.run.revision == first.run.revision
    held = await catalogues.stub.ListHeldChanges(pb.ListHeldChangesRequest(), timeout=CALL_SECONDS)
    implausible = {
        (one.provider, one.model_id)
        for one in held.held_changes
        if one.reason == pb.HOLD_REASON_IMPLAUSIBLE
    }
    assert implausible == IMPLAUSIBLE
    others = {(one.provider, one.model_id) for one in held.held_changes} - implausible
    assert others == CONTRADICTED


async def test_a_catalogue_prices_what_no_better_source_prices(catalogues: Server) -> None:
    for slug in COUNTS:
        await catalogues.synced(slug)
    told = {
        (provider, model_id): await catalogues.price(model_id, provider)
        for provider, model_id in (
            ("venice", "claude-opus-4-6"),
            ("alibaba-cloud", "qwen-max"),
            ("azure", "eu/gpt-4o-2024-08-06"),
            ("openai", "gpt-4o"),
        )
    }
    shown = {
        provider: (price.prompt, price.completion, price.source_detail)
        for (provider, _), price in told.items()
    }
    assert all(price.state == pb.PRICE_STATE_PRICED for price in told.values())
    assert shown == {
        "venice": ("6.00", "30.00", "models.dev"),
        "alibaba-cloud": ("1.60", "6.40", "models.dev"),
        "azure": ("2.75", "11.00", "litellm's price file"),
        "openai": ("2.50", "10.00", "genai-prices, the bundled catalogue"),
    }
