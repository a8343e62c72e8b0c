"""Usages that can be, and the words about those that cannot."""

from __future__ import annotations

from decimal import Decimal

import pytest

from llmpricing.meters import Meter
from llmpricing.usage import MAX_FRACTIONAL_DIGITS, Quantity, Usage, UsageError, divide, zero_meters

INPUT, OUTPUT = Meter.INPUT_TOKENS, Meter.OUTPUT_TOKENS
CACHED, AUDIO = Meter.CACHE_READ_TOKENS, Meter.INPUT_AUDIO_TOKENS
CACHED_AUDIO = Meter.CACHE_AUDIO_READ_TOKENS


def own(usage: Usage, *rated: Meter) -> dict[Meter, Quantity]:
    """What counts for each meter and no more specific one, of what is told apart."""
    return divide(usage, rated).own_quantities(usage)


def refusal(usage: Usage, *rated: Meter) -> str:
    with pytest.raises(UsageError) as raised:
        own(usage, *rated)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("quantity", "message"),
    [
        (-1, "input_tokens are negative"),
        (Decimal("-0.5"), "input_tokens are negative"),
        (2**63, "input_tokens are more than 9223372036854775807"),
        pytest.param(
            1 << 20_000, "input_tokens are more than 9223372036854775807", id="too long to write"
        ),
        (Decimal("1E+400"), "input_tokens are more than 9223372036854775807"),
        (Decimal("NaN"), "input_tokens are not a finite number"),
        (Decimal("sNaN"), "input_tokens are not a finite number"),
        (Decimal("-Infinity"), "input_tokens are not a finite number"),
        (
            Decimal(1).scaleb(-MAX_FRACTIONAL_DIGITS - 1),
            "input_tokens have more than 18 fractional digits",
        ),
        (True, "input_tokens are no integer or decimal number"),
        (1.5, "input_tokens are no integer or decimal number"),
        ("1", "input_tokens are no integer or decimal number"),
        (None, "input_tokens are no integer or decimal number"),
    ],
)
def test_what_is_no_quantity_is_refused(quantity: object, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        zero_meters({INPUT: quantity})  # type: ignore[dict-item]
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "quantity", [1, 2**63 - 1, Decimal("1E-18"), Decimal("1.50"), Decimal("2E+3")]
)
def test_counts_and_fractions_are_quantities(quantity: Quantity) -> None:
    assert zero_meters({INPUT: quantity}) == ()


@pytest.mark.parametrize("zero", [0, Decimal(0), Decimal("0.00"), Decimal("-0")])
def test_zero_is_a_quantity_of_nothing(zero: Quantity) -> None:
    assert zero_meters({OUTPUT: 1, INPUT: zero}) == (INPUT,)


def test_parts_come_out_of_what_they_are_part_of() -> None:
    usage = {INPUT: 100, CACHED: 50, AUDIO: 30, CACHED_AUDIO: 20}
    assert own(usage, INPUT) == {INPUT: 40, CACHED: 30, AUDIO: 10, CACHED_AUDIO: 20}


def test_a_part_is_not_more_than_the_whole() -> None:
    assert refusal({INPUT: 9, CACHED: 10}, INPUT) == (
        "10 cache_read_tokens are part of only 9 input_tokens"
    )
    assert refusal({INPUT: 0, CACHED: 1}) == ("1 cache_read_tokens are part of only 0 input_tokens")


def test_parts_together_are_not_more_than_the_whole() -> None:
    usage = {INPUT: 100, CACHED: 60, Meter.CACHE_WRITE_TOKENS: 50, Meter.INPUT_TOOL_TOKENS: 0}
    assert refusal(usage, INPUT) == (
        "60 cache_read_tokens and 50 cache_write_tokens are part of only 100 input_tokens"
    )


def test_an_overlap_counts_once_of_both() -> None:
    usage = {INPUT: 60, CACHED: 50, AUDIO: 30, CACHED_AUDIO: 20}
    assert own(usage, INPUT)[INPUT] == 0
    assert "part of only 59 input_tokens" in refusal({**usage, INPUT: 59}, INPUT)


@pytest.mark.parametrize("rated", [(), (INPUT,), (CACHED,)])
def test_a_part_is_not_stated_without_the_whole(rated: tuple[Meter, ...]) -> None:
    assert refusal({CACHED: 10}, *rated) == (
        "10 cache_read_tokens without input_tokens, of which they are part"
    )
    assert own({CACHED: 0}, *rated) == {CACHED: 0}


def test_what_is_between_is_needed_only_if_it_is_charged_or_counted() -> None:
    usage = {INPUT: 100, CACHED_AUDIO: 20}
    assert own(usage, INPUT) == {INPUT: 80, CACHED_AUDIO: 20}
    assert "without cache_read_tokens" in refusal(usage, INPUT, CACHED)
    with pytest.raises(UsageError, match="without input_audio_tokens"):
        divide(usage, [INPUT], counted=[AUDIO])


def test_two_rates_that_may_overlap_need_the_overlap() -> None:
    usage = {INPUT: 100, CACHED: 50, AUDIO: 30}
    assert refusal(usage, INPUT, CACHED, AUDIO) == (
        "50 cache_read_tokens and 30 input_audio_tokens may overlap: "
        "state cache_audio_read_tokens, 0 if they do not"
    )
    whole = {**usage, CACHED_AUDIO: 0}
    assert own(whole, INPUT, CACHED, AUDIO) == {INPUT: 20, CACHED: 50, AUDIO: 30, CACHED_AUDIO: 0}
    assert own({**usage, AUDIO: 0}, INPUT, CACHED, AUDIO) == {INPUT: 50, CACHED: 50, AUDIO: 0}


def test_an_overlap_that_makes_no_difference_need_not_be_stated() -> None:
    # Audio is charged as input, so how much of it was cached decides nothing.
    usage = {INPUT: 60, CACHED: 50, AUDIO: 30}
    assert own(usage, INPUT, CACHED) == {INPUT: 10, CACHED: 50}
    assert own(usage, INPUT, AUDIO) == {INPUT: 30, AUDIO: 30}


def test_what_could_be_charged_as_two_things_is_told_apart_from_what_could_not() -> None:
    written, for_5m = Meter.CACHE_WRITE_TOKENS, Meter.CACHE_WRITE_5M_TOKENS
    audio_written = Meter.CACHE_AUDIO_WRITE_TOKENS
    usage = {INPUT: 100, AUDIO: 30, written: 50, for_5m: 40, audio_written: 20}
    assert own(usage, INPUT, AUDIO, written) == {
        INPUT: 40,
        AUDIO: 10,
        written: 30,
        audio_written: 20,
    }


def test_what_is_not_told_apart_is_still_checked() -> None:
    usage = {INPUT: 90, CACHED: 50, AUDIO: 91}
    assert refusal(usage, INPUT, CACHED) == (
        "91 input_audio_tokens are part of only 90 input_tokens"
    )
    usage = {INPUT: 90, CACHED: 50, AUDIO: 30, Meter.INPUT_AUDIO_TOOL_TOKENS: 31}
    assert refusal(usage, INPUT, CACHED) == (
        "31 input_audio_tool_tokens are part of only 30 input_audio_tokens"
    )
