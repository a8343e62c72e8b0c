"""The cost of four meters at plain, cached, tiered and conditional prices, beside other packages.

python benchmarks/cost.py [seconds]

Microseconds a call for input, output, cache reads and cache writes of one request, least,
median and most of several runs, all in one process. Each package has its own prices, so the
costs are printed too. genai-prices is what the server's catalogue is made of. litellm is
compared where it is installed. Nothing else here needs it, so best in an environment of its
own:

    python -m venv /tmp/bench
    /tmp/bench/bin/pip install -e clients/python -e . litellm
    /tmp/bench/bin/python benchmarks/cost.py
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import SupportsFloat

from genai_prices.types import ModelInfo, Provider
from genai_prices.types import Usage as PackageUsage

from llmpricing.compiled_card import CompiledCard
from llmpricing.cost import Cost
from llmpricing.meters import Meter
from pricing_server.providers.genai_prices import SOURCE, read

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
RUNS = 7


@dataclass(frozen=True)
class Case:
    """A request to a model: `context` is ours and genai-prices', `tier` litellm's."""

    name: str
    seller: str
    model_id: str
    prompt: int = 2_000
    context: dict[str, str] = field(default_factory=dict)
    tier: str | None = None

    @property
    def usage(self) -> dict[Meter, int]:
        """Four meters, INCLUSIVE."""
        return {
            Meter.INPUT_TOKENS: self.prompt,
            Meter.OUTPUT_TOKENS: 500,
            Meter.CACHE_READ_TOKENS: self.prompt // 2,
            Meter.CACHE_WRITE_TOKENS: self.prompt // 10,
        }


CASES = (
    Case("plain", "openai", "gpt-4"),
    Case("cached", "anthropic", "claude-haiku-4-5"),
    Case("tiered", "anthropic", "claude-sonnet-4-5", prompt=250_000),
    Case("batch", "anthropic", "claude-sonnet-4-5", context={"processing": "batch"}),
    Case(
        "priority", "openai", "gpt-5.6-sol", context={"service_tier": "priority"}, tier="priority"
    ),
)

Call = Callable[[], SupportsFloat]
"""A cost in USD."""


def ours(providers: list[Provider]) -> Iterator[Call]:
    """`CompiledCard.evaluate` of each case, with the card compiled before."""
    cards = {model.key: model.card for model in read(providers, NOW).models}
    for case in CASES:
        card = CompiledCard(cards[case.seller, case.model_id])
        evaluate = partial(card.evaluate, case.usage, at=NOW, context=case.context)
        yield partial(_total, evaluate)


def _total(evaluate: Callable[[], Cost]) -> Decimal:
    return evaluate().total


def of_genai_prices(providers: list[Provider]) -> Iterator[Call]:
    """`ModelInfo.calc_price` of each case, with the model found before."""
    for case in CASES:
        provider = next(each for each in providers if each.id == case.seller)
        model = next(each for each in provider.models if each.id == case.model_id)
        yield partial(_total_price, model, provider, PackageUsage(**case.usage), case.context)


def _total_price(
    model: ModelInfo, provider: Provider, usage: PackageUsage, context: Mapping[str, str]
) -> Decimal:
    return model.calc_price(
        usage, provider, genai_request_timestamp=NOW, price_context=dict(context)
    ).total_price


def of_litellm() -> Iterator[Call | None]:
    """`cost_per_token` of each case; None where it has no way to ask. Raises ImportError."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm
    from litellm.types.utils import PromptTokensDetailsWrapper, Usage

    for case in CASES:
        if case.context and not case.tier:
            yield None
            continue
        prompt, completion, cached, written = case.usage.values()
        usage = Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            prompt_tokens_details=PromptTokensDetailsWrapper(
                cached_tokens=cached, cache_creation_tokens=written
            ),
        )
        both_parts = partial(
            litellm.cost_per_token,
            model=case.model_id,
            custom_llm_provider=case.seller,
            usage_object=usage,
            service_tier=case.tier,
        )
        yield partial(_sum, both_parts)


def _sum(both_parts: Callable[[], tuple[float, float]]) -> float:
    return sum(both_parts())


def microseconds(call: Call, seconds: float) -> list[float]:
    """Of one call, in RUNS runs of so many seconds together; the shortest first."""
    call()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < 0.05:
        call()
        calls += 1
    number = max(1, round(calls / 0.05 * seconds / RUNS))
    found = []
    for _ in range(RUNS):
        start = time.perf_counter()
        for _ in range(number):
            call()
        found.append((time.perf_counter() - start) / number * 1e6)
    return sorted(found)


def measure(package: str, calls: Iterator[Call | None], seconds: float) -> None:
    """Print a line for each case."""
    for case, call in zip(CASES, calls, strict=True):
        if call is None:
            print(f"{package:13} {case.name:9} has no parameter for it")
            continue
        times = microseconds(call, seconds)
        print(
            f"{package:13} {case.name:9} {times[0]:7.1f} {statistics.median(times):7.1f} "
            f"{times[-1]:7.1f} us   {float(call()):.6f} USD"
        )


if __name__ == "__main__":
    length = float(sys.argv[1]) if sys.argv[1:] else 1
    assert SOURCE.release is not None
    catalogue = SOURCE.release.load()
    assert isinstance(catalogue, list)
    print(f"{'':23} {'least':>7} {'median':>7} {'most':>7}")
    measure("llmpricing", ours(catalogue), length)
    measure("genai-prices", of_genai_prices(catalogue), length)
    try:
        measure("litellm", of_litellm(), length)
    except ImportError:
        print("litellm       NOT MEASURED: not installed; the top of this file says how")
