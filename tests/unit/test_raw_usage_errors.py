"""What cannot be read safely is refused, in one line that says why."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from llmpricing.meters import Meter
from llmpricing.raw_usage import ApiFlavour, RawUsageError, read_usage
from llmpricing.raw_usage.document import MAX_BYTES
from llmpricing.raw_usage.reading import MAX_DEPTH, MAX_VALUES

CHAT = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
MESSAGE = {"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 5}
RESPONSE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 5,
    "total_tokens": 15,
}


def refused(body: Any, flavour: ApiFlavour = ApiFlavour.OPENAI_CHAT) -> str:
    with pytest.raises(RawUsageError) as caught:
        read_usage(body, flavour)
    message = str(caught.value)
    assert message.isprintable()
    assert message.isascii()
    assert len(message) <= 400
    return message


@pytest.mark.parametrize(
    ("body", "flavour", "looks"),
    [
        ({"usage": MESSAGE}, ApiFlavour.OPENAI_CHAT, "anthropic"),
        ({"usage": MESSAGE}, ApiFlavour.OPENAI_RESPONSES, "anthropic"),
        (MESSAGE, ApiFlavour.XAI, "anthropic"),
        ({"usage": RESPONSE}, ApiFlavour.ANTHROPIC, "openai_responses"),
        ({"usage": RESPONSE}, ApiFlavour.OPENAI_CHAT, "openai_responses"),
        ({"usage": CHAT}, ApiFlavour.ANTHROPIC, "openai_chat"),
        ({"usage": CHAT}, ApiFlavour.OPENAI_RESPONSES, "openai_chat"),
        ({"usage": CHAT}, ApiFlavour.GEMINI, "openai_chat"),
        ({"usage": CHAT}, ApiFlavour.COHERE, "openai_chat"),
        ({"usage": {**CHAT, "is_byok": False}}, ApiFlavour.OPENAI_CHAT, "openrouter"),
        ({"usage": {**CHAT, "num_sources_used": 0}}, ApiFlavour.OPENAI_CHAT, "xai"),
        ({"usage": {**CHAT, "prompt_cache_hit_tokens": 9}}, ApiFlavour.OPENAI_CHAT, "deepseek"),
        ({"usage": {**CHAT, "num_cached_tokens": 9}}, ApiFlavour.OPENAI_CHAT, "mistral"),
        ({"usage": {**CHAT, "cost_in_usd_ticks": 9}}, ApiFlavour.DEEPSEEK, "xai"),
        ({"usageMetadata": {"promptTokenCount": 1}}, ApiFlavour.OPENAI_CHAT, "gemini"),
        ({"usage_metadata": {"prompt_token_count": 1}}, ApiFlavour.ANTHROPIC, "gemini"),
        ({"usage": {"inputTokens": 1, "outputTokens": 1}}, ApiFlavour.ANTHROPIC, "bedrock"),
        ({"usage": {"billed_units": {"input_tokens": 1}}}, ApiFlavour.MISTRAL, "cohere"),
        ({"meta": {"billed_units": {"input_tokens": 1}}}, ApiFlavour.OPENAI_CHAT, "cohere"),
    ],
)
def test_a_body_of_another_flavour_is_refused_by_its_name(
    body: Any, flavour: ApiFlavour, looks: str
) -> None:
    assert refused(body, flavour) == f"not a body of flavour {flavour}: it looks like {looks}"


@pytest.mark.parametrize("flavour", ApiFlavour)
@pytest.mark.parametrize("body", [{}, {"usage": None}, {"usage": {}}, {"usage": 5}, [], [{}]])
def test_without_a_usage_there_is_no_zero(body: Any, flavour: ApiFlavour) -> None:
    assert refused(body, flavour).startswith("no usage in the body: ")


@pytest.mark.parametrize(
    ("body", "flavour"),
    [
        ({"choices": [], "usage": {"prompt_tokens": 5}}, ApiFlavour.OPENAI_CHAT),
        ({"usage": {"completion_tokens": 5}}, ApiFlavour.OPENAI_CHAT),
        ({"usage": {"output_tokens": 15}}, ApiFlavour.ANTHROPIC),
        ({"usage": {"input_tokens": 15}}, ApiFlavour.ANTHROPIC),
        ({"usage": {"input_tokens": 15}}, ApiFlavour.OPENAI_RESPONSES),
        ({"usage": {"inputTokens": 15}}, ApiFlavour.BEDROCK),
        ({"usageMetadata": {"candidatesTokenCount": 15}}, ApiFlavour.GEMINI),
        ({"usage": {"tokens": {"output_tokens": 15}}}, ApiFlavour.COHERE),
        ({"usage": {"unheard_of": 15}}, ApiFlavour.COHERE),
        ({"usage_info": {"doc_size_bytes": 15}}, ApiFlavour.MISTRAL),
        (
            {"type": "message_start", "message": {"usage": {**MESSAGE, "output_tokens": 1}}},
            ApiFlavour.ANTHROPIC,
        ),
        ([{"type": "message_start", "message": {"usage": MESSAGE}}], ApiFlavour.ANTHROPIC),
        ({"type": "response.created", "response": {"usage": None}}, ApiFlavour.OPENAI_RESPONSES),
        ([{"choices": [], "usage": None}], ApiFlavour.OPENAI_CHAT),
    ],
)
def test_half_a_usage_is_none(body: Any, flavour: ApiFlavour) -> None:
    assert refused(body, flavour).startswith("no usage in the body: ")


@pytest.mark.parametrize(
    "value",
    [
        -1,
        1.5,
        "12",
        True,
        [3],
        {"a": 1},
        float("nan"),
        float("inf"),
        2**63,
        10**5000,
        1e300,
        Decimal("1E+999999"),
        Decimal("sNaN"),
        Decimal("1E-500"),
    ],
    ids=range(14),
)
def test_what_is_no_count_is_refused_by_its_path(value: object) -> None:
    body = {"usage": {"prompt_tokens": value, "completion_tokens": 5}}
    assert refused(body).startswith("not a count: usage.prompt_tokens ")


def test_a_whole_number_may_be_written_with_a_point() -> None:
    usage = {"prompt_tokens": 10.0, "completion_tokens": Decimal("5.00")}
    text = '{"prompt_tokens": 1e1, "completion_tokens": 5.0}'
    assert read_usage(usage, ApiFlavour.OPENAI_CHAT) == read_usage(text, ApiFlavour.OPENAI_CHAT)


@pytest.mark.parametrize(
    ("usage", "flavour", "says"),
    [
        (
            {**CHAT, "prompt_tokens_details": {"cached_tokens": 11}},
            ApiFlavour.OPENAI_CHAT,
            "cache_read_tokens 11 of input_tokens 10",
        ),
        (
            {**CHAT, "prompt_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 5}},
            ApiFlavour.OPENAI_CHAT,
            "cache_read_tokens 6 and cache_write_tokens 5 of input_tokens 10",
        ),
        (
            {**CHAT, "completion_tokens_details": {"reasoning_tokens": 6}},
            ApiFlavour.OPENAI_CHAT,
            "output_reasoning_tokens 6 of output_tokens 5",
        ),
        (
            {**CHAT, "total_tokens": 115},
            ApiFlavour.OPENAI_CHAT,
            "total_tokens 115 is not prompt_tokens 10 + completion_tokens 5",
        ),
        (
            {**CHAT, "total_tokens": 20, "completion_tokens_details": {"reasoning_tokens": 6}},
            ApiFlavour.XAI,
            "total_tokens 20 is not prompt_tokens 10 + completion_tokens 5 + reasoning_tokens 6",
        ),
        (
            {**RESPONSE, "input_tokens_details": {"cached_tokens": 11}},
            ApiFlavour.OPENAI_RESPONSES,
            "cache_read_tokens 11 of input_tokens 10",
        ),
        (
            {
                **MESSAGE,
                "cache_creation_input_tokens": 5,
                "cache_creation": {"ephemeral_1h_input_tokens": 6},
            },
            ApiFlavour.ANTHROPIC,
            "cache_creation 6 of cache_creation_input_tokens 5",
        ),
        (
            {
                **MESSAGE,
                "iterations": [{"type": "message", "input_tokens": 9, "output_tokens": 5}],
            },
            ApiFlavour.ANTHROPIC,
            "uncached 10 is more than that of all iterations, 9",
        ),
        (
            {"promptTokenCount": 5, "candidatesTokenCount": 6, "totalTokenCount": 99},
            ApiFlavour.GEMINI,
            "totalTokenCount 99 is not promptTokenCount 5 + toolUsePromptTokenCount 0"
            " + candidatesTokenCount 6 + thoughtsTokenCount 0",
        ),
        (
            {"promptTokenCount": 5, "cachedContentTokenCount": 6},
            ApiFlavour.GEMINI,
            "cache_read_tokens 6 of input_tokens 5",
        ),
        (
            {
                "inputTokens": 5,
                "outputTokens": 5,
                "cacheWriteInputTokens": 1,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 2}],
            },
            ApiFlavour.BEDROCK,
            "cache_write_1h_tokens 2 of cache_write_tokens 1",
        ),
        (
            {"inputTokens": 5, "outputTokens": 5, "totalTokens": 11},
            ApiFlavour.BEDROCK,
            "totalTokens 11 is neither with the cache 10 nor without it 10",
        ),
        (
            {**CHAT, "prompt_cache_hit_tokens": 3, "prompt_cache_miss_tokens": 3},
            ApiFlavour.DEEPSEEK,
            "prompt_tokens 10 is not prompt_cache_hit_tokens 3 + prompt_cache_miss_tokens 3",
        ),
        (
            {**CHAT, "prompt_cache_hit_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}},
            ApiFlavour.DEEPSEEK,
            "cached_tokens 4 is not prompt_cache_hit_tokens 3",
        ),
        (
            {**CHAT, "num_cached_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}},
            ApiFlavour.MISTRAL,
            "num_cached_tokens 3 is not cached_tokens 4",
        ),
    ],
)
def test_contradictory_counts_are_refused(usage: Any, flavour: ApiFlavour, says: str) -> None:
    body = {"usageMetadata" if flavour is ApiFlavour.GEMINI else "usage": usage}
    assert refused(body, flavour) == f"contradictory counts: {says}"


def test_reasoning_beside_the_completion_is_not_read_as_openai_has_it() -> None:
    """The same body is right as xAI's, and refused rather than charged too little as OpenAI's."""
    usage = {**CHAT, "total_tokens": 115, "completion_tokens_details": {"reasoning_tokens": 100}}
    assert "total_tokens" in refused({"usage": usage}, ApiFlavour.OPENAI_CHAT)
    assert read_usage({"usage": usage}, ApiFlavour.XAI).usage[Meter.OUTPUT_TOKENS] == 105


def test_several_responses_are_not_taken_for_one_stream() -> None:
    several = [{"id": str(number), "usage": CHAT} for number in range(2)]
    assert refused(several) == "a list of several responses: each is read by itself"
    assert refused([{"usage": CHAT}] * 2) == "a list of several responses: each is read by itself"
    message = {"type": "message_start", "message": {"usage": MESSAGE}}
    end = {"type": "message_delta", "usage": {"output_tokens": 3}}
    assert refused([message, end, message, end], ApiFlavour.ANTHROPIC).startswith("a list of")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("\x00", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("5", "not a JSON object: 5"),
        ("null", "not a JSON object: None"),
        ('{"usage": {"prompt_tokens": NaN}}', "not a finite number: NaN"),
        ('{"usage": {"prompt_tokens": -Infinity}}', "not a finite number: -Infinity"),
        ('{"usage": {"prompt_tokens": 1, "prompt_tokens": 2}}', "an object with one key twice"),
        ("[" * 100_000, "nested too deep"),
        ('{"usage":' * 100_000, "nested too deep"),
        (" " * (MAX_BYTES + 1), f"larger than {MAX_BYTES} bytes"),
        ('"' + "é" * (MAX_BYTES // 2) + '"', f"larger than {MAX_BYTES} bytes"),
        (b" " * (MAX_BYTES + 1), f"larger than {MAX_BYTES} bytes"),
    ],
    ids=range(14),
)
def test_text_that_is_no_bounded_json_is_refused(text: str | bytes, says: str) -> None:
    assert refused(text) == says


def test_a_usage_object_is_bounded() -> None:
    wide = {**CHAT, "more": dict.fromkeys(map(str, range(MAX_VALUES)), 1)}
    assert refused({"usage": wide}) == f"a usage object of more than {MAX_VALUES} values"
    deep: Any = 1
    for _ in range(MAX_DEPTH + 1):
        deep = {"a": deep}
    assert refused({"usage": {**CHAT, "more": deep}}) == "a usage object that is nested too deep"
    endless: dict[str, Any] = {**CHAT}
    endless["more"] = endless
    assert refused({"usage": endless}) == "a usage object that is nested too deep"


def test_the_largest_body_is_read() -> None:
    body = json.dumps({"choices": ["x" * (MAX_BYTES - 200)], "usage": CHAT})
    assert len(body) <= MAX_BYTES
    assert read_usage(body, ApiFlavour.OPENAI_CHAT).usage


@pytest.mark.parametrize("name", ["gpt\n4", "g" * 300, "\ud800", 5, ["gpt"]])
def test_a_model_that_no_transport_can_carry_is_refused(name: object) -> None:
    assert refused({"model": name, "usage": CHAT}).startswith("not a name: model is ")
    assert refused({"service_tier": name, "usage": CHAT}).startswith("not a name: service_tier is")


@pytest.mark.parametrize("key", ["a\nb", "k" * 300, "\ud800", 5, None])
def test_a_count_with_no_name_is_refused(key: object) -> None:
    assert refused({"usage": {**CHAT, key: 1}}).startswith("not a name of a count: ")
