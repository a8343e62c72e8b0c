"""Anthropic's messages: counts that exclude each other, and iterations within one request.

`input_tokens` are neither read from nor written to the cache. If a request took several
samplings, `usage.iterations` states each of them, and all are charged. The top-level counts
leave out compactions, and where an executor asks an advisor, they contain only the first
iteration of the executor's input. An advisor is another model, at another price.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

from llmpricing.meters import Meter
from llmpricing.raw_usage.reading import Reading, added, name_at, name_of
from llmpricing.raw_usage.result import RawUsageError

COUNTS: Final = ("input_tokens", "output_tokens")

_OWN_ITERATIONS: Final = frozenset({"message", "compaction", "fallback_message"})
_CREATIONS: Final = (
    ("ephemeral_5m_input_tokens", Meter.CACHE_WRITE_5M_TOKENS),
    ("ephemeral_1h_input_tokens", Meter.CACHE_WRITE_1H_TOKENS),
)
_EVERYWHERE: Final = frozenset({"global", "not_available"})


class _Tokens(NamedTuple):
    """The counts of one sampling; no token is in two of them."""

    uncached: Decimal
    cache_read: Decimal
    cache_write: Decimal
    output: Decimal


def read(reading: Reading, outer: Mapping[object, object]) -> str | None:
    """A message, or the sum of its stream."""
    own, model = _own_iterations(reading, name_at(outer, "model"))
    top = _take(reading, ignored=bool(own))
    if own:
        _check_iterations(top, [_take(reading, "iterations", index) for index in own])
    reading.add(
        Meter.OUTPUT_REASONING_TOKENS, reading.count("output_tokens_details", "thinking_tokens")
    )
    reading.add(Meter.WEB_SEARCHES, reading.count("server_tool_use", "web_search_requests"))
    reading.restated("server_tool_use", "web_fetch_requests")  # costs only its tokens
    if reading.peek("fallback_credit", "status", "type") == "not_applied":
        reading.ignore("fallback_credit")
    reading.tier(reading.text("service_tier"), reading.name("service_tier"))
    reading.mode("speed", reading.text("speed"), reading.name("speed"), frozenset({"standard"}))
    reading.place(
        "inference_geo", reading.text("inference_geo"), reading.name("inference_geo"), _EVERYWHERE
    )
    return model


def _own_iterations(reading: Reading, model: str | None) -> tuple[list[int], str | None]:
    """The iterations of the model that answered, and its name."""
    named: dict[int, str | None] = {}
    for index in reading.below("iterations"):
        if not isinstance(index, int):
            raise RawUsageError(f"not a list: {reading.name('iterations')}")
        if reading.peek("iterations", index, "type") in _OWN_ITERATIONS:
            name = reading.peek("iterations", index, "model")
            at = reading.name("iterations", index, "model")
            named[index] = None if name is None else name_of(name, at)
    if model is None:
        model = next((name for name in reversed(named.values()) if name is not None), None)
    return [index for index, name in named.items() if name in (None, model)], model


def _take(reading: Reading, *at: str | int, ignored: bool = False) -> _Tokens:
    """The counts at a path, counted towards their meters unless they only restate others."""
    creation = (*at, "cache_creation")
    by_time = {
        meter: reading.count(*creation, key) if not ignored else reading.restated(*creation, key)
        for key, meter in _CREATIONS
    }
    take = reading.restated if ignored else reading.count
    if not reading.has(*at, "input_tokens") or not reading.has(*at, "output_tokens"):
        missing = "output" if reading.has(*at, "input_tokens") else "input"
        raise RawUsageError(
            f"no usage in the body: {reading.name(*at, f'{missing}_tokens')} is not stated"
        )
    written = added(take(*at, "cache_creation_input_tokens"))
    timed = added(*by_time.values())
    if written and timed > written:
        raise RawUsageError(
            f"contradictory counts: cache_creation {timed:f}"
            f" of cache_creation_input_tokens {written:f}"
        )
    tokens = _Tokens(
        uncached=added(take(*at, "input_tokens")),
        cache_read=added(take(*at, "cache_read_input_tokens")),
        cache_write=written or timed,
        output=added(take(*at, "output_tokens")),
    )
    if not ignored:
        reading.add(
            Meter.INPUT_TOKENS, added(tokens.uncached, tokens.cache_read, tokens.cache_write)
        )
        reading.add(Meter.CACHE_READ_TOKENS, tokens.cache_read)
        reading.add(Meter.CACHE_WRITE_TOKENS, tokens.cache_write)
        reading.add(Meter.OUTPUT_TOKENS, tokens.output)
        for meter, count in by_time.items():
            reading.add(meter, count)
        if at:
            reading.ignore(*at, "type")
            reading.ignore(*at, "model")
    return tokens


def _check_iterations(top: _Tokens, iterations: list[_Tokens]) -> None:
    for name, total, parts in zip(_Tokens._fields, top, zip(*iterations, strict=True), strict=True):
        if total > added(*parts):
            raise RawUsageError(
                f"contradictory counts: {name} {total:f} is more than that of all iterations,"
                f" {added(*parts):f}"
            )
