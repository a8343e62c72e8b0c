"""Where a request was served: the words of sellers, and those of rate cards."""

from __future__ import annotations

import pytest

from llmpricing.place import names_place, place_of, with_place


@pytest.mark.parametrize(
    ("stated", "place"),
    [
        ({"inference_geo": "us"}, {"geography": "data_zone", "region": "us"}),
        ({"inference_geo": "global"}, {"geography": "global"}),
        ({"vertex_location": "eu"}, {"geography": "data_zone", "region": "eu"}),
        ({"vertex_location": "us-east1"}, {"geography": "regional", "region": "us-east1"}),
        ({"host": "eu.api.openai.com"}, {"geography": "data_zone", "region": "eu"}),
        (
            {"host": "europe-west1-aiplatform.googleapis.com"},
            {"geography": "regional", "region": "europe-west1"},
        ),
        (
            {"host": "aiplatform.us.rep.googleapis.com"},
            {"geography": "data_zone", "region": "us"},
        ),
    ],
)
def test_sellers_words_for_a_place_become_ours(
    stated: dict[str, str], place: dict[str, str]
) -> None:
    assert with_place({"speed": "fast", **stated}) == {"speed": "fast", **place}


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"inference_geo": "not_available"},
        {"inference_geo": "the moon"},
        {"host": "api.openai.com.example"},
        {"host": "us"},
        {"service_tier": "us"},
    ],
)
def test_what_is_not_understood_stays_as_it_is(context: dict[str, str]) -> None:
    assert with_place(context) == context


def test_our_own_words_win_over_a_sellers() -> None:
    assert with_place({"geography": "global", "region": "x", "inference_geo": "us"}) == {
        "geography": "global",
        "region": "x",
    }


def test_the_words_are_read_in_any_case() -> None:
    assert place_of("US") == place_of("us")


@pytest.mark.parametrize(
    "model_id",
    [
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "global.anthropic.claude-opus-4-6-v1",
        "bedrock/us-east-1/anthropic.claude-v1",
        "azure/eu/gpt-5",
        "us/gpt-4o",
    ],
)
def test_an_id_may_name_the_place(model_id: str) -> None:
    assert names_place(model_id)


@pytest.mark.parametrize(
    "model_id", ["claude-opus-4-6", "vertex_ai/claude-opus-4-5@20251101", "eugene/us-model", "us"]
)
def test_most_ids_do_not(model_id: str) -> None:
    assert not names_place(model_id)
