"""Microseconds per match by each rule, a hit and a miss; time to build the index, and its memory.

python benchmarks/matching.py [models ...]
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial

from llmpricing.matching import ClauseIndex, Match, MatchRule, ModelIndex, Name
from pricing_server.lookup.matching.catalogue_clauses import clauses
from pricing_server.lookup.matching.model_index import model_index
from pricing_server.providers import SOURCES

ROUNDS = 7

# Names, the rule that they are matched by in the bundled catalogue (None: no match), and a seller.
ASKED: tuple[tuple[str, str | None, MatchRule | None], ...] = (
    ("gpt-4o", "openai", MatchRule.EXACT),
    ("gpt-4o", None, MatchRule.EXACT_AT_MAKER),
    ("openai/gpt-4o", None, MatchRule.EXACT_AT_SELLER),
    ("GPT-4o", None, MatchRule.CASE),
    ("claude-sonnet-4-5-20250929", None, MatchRule.ALIAS),
    ("bedrock/amazon.nova-pro-v1:0", None, MatchRule.SELLER_PREFIX),
    ("gpt-6.1-sol-2026-10-26", None, MatchRule.VERSION_SUFFIX),
    ("gpt-4o-2024-08-06", "openai", MatchRule.VERSION_SUFFIX),
    ("anthropic.claude-sonnet-4-20250514-v1:0", "aws", MatchRule.CATALOGUE_CLAUSE),
    ("ft:gpt-4o-2024-08-06:acme::AbC123xy", None, MatchRule.CATALOGUE_CLAUSE),
    ("gemini-2-5-pro", None, MatchRule.PUNCTUATION),
    ("openrouter/anthropic/claude-sonnet-4-5-20250929", None, MatchRule.PUNCTUATION),
    ("gpt-4o-ultra", "openai", None),
    ("a-model-that-nobody-knows", None, None),
    ("x/" + "claude-3-opus-" * 36, None, None),
)


def catalogue() -> tuple[object, list[Name]]:
    """The bundled catalogue, and the names in it."""
    source = SOURCES["genai-prices"]
    assert source.release is not None
    document = source.release.load()
    listing = source.read(document, source.release.released_at)
    return document, [model.key for model in listing.models]


def enlarged(names: list[Name], models: int) -> list[Name]:
    """The catalogue's names, and made-up resellers of them and of fine-tunes of them."""
    found = dict.fromkeys(names)
    copy = 0
    while len(found) < models:
        copy += 1
        tail = f"-tuned-{copy}-v1.{copy}" if copy % 2 else ""
        found.update(dict.fromkeys((f"reseller-{copy}", f"{each}{tail}") for _, each in names))
    return list(found)[:models]


def memory(build: Callable[[], object]) -> float:
    """MB that stay allocated by what `build` makes, beside the names that it is made of."""
    gc.collect()
    tracemalloc.start()
    try:
        kept = build()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / 1e6 if kept is not None else 0.0
    finally:
        tracemalloc.stop()


def milliseconds(build: Callable[[], object]) -> float:
    """The median time of a build."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        build()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def microseconds(index: ModelIndex, name: str, provider: str | None, calls: int = 2_000) -> float:
    """The median time of a match."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(calls):
            index.match(name, provider)
        times.append((time.perf_counter() - start) / calls * 1e6)
    return statistics.median(times)


def main(sizes: list[int]) -> None:
    """Print the table."""
    document, names = catalogue()
    said = ClauseIndex(clauses(document))
    print(
        f"clauses of {len(names):,} models: "
        f"{milliseconds(lambda: ClauseIndex(clauses(document))):.0f} ms, "
        f"{memory(lambda: ClauseIndex(clauses(document))):.1f} MB"
    )
    indices = []
    for models in sizes:
        listed = enlarged(names, models)
        index = model_index(listed, said)
        indices.append(index)
        build = partial(model_index, listed, said)
        print(
            f"index of {len(listed):,} models: {milliseconds(build):.0f} ms, {memory(build):.1f} MB"
        )
    print(f"{'rule':18}{'name':52}" + "".join(f"{size:>12,}" for size in sizes) + "  models")
    for name, provider, rule in ASKED:
        for index in indices:
            result = index.match(name, provider)
            found = result.rule if isinstance(result, Match) else None
            assert found is rule, f"{name}: {found} instead of {rule}"
        times = "".join(f"{microseconds(index, name, provider):9.1f} µs" for index in indices)
        shown = f"{name[:34]}{'...' if name[34:] else ''}" + (f" at {provider}" if provider else "")
        print(f"{rule or 'no match':18}{shown:52}{times}")


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or [10_000, 100_000])
