"""litellm's price file as rate cards: a hand-written fixture, single rules, and the recording."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmpricing.compiled_card import CompiledCard
from llmpricing.meters import Meter
from llmpricing.rate_card import (
    ALWAYS,
    UNPRICED,
    Comparison,
    Conditions,
    DayOfWeek,
    PriceState,
    Rate,
    RateCard,
    Threshold,
    UtcWindow,
)
from llmpricing.schedule import headline
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.source_listing import ListedModel, Listing, SourceError
from pricing_server.providers.litellm import SOURCE, model_id_of, read, seller_of
from pricing_server.providers.litellm_prices import (
    FIELDS_BY_MODE,
    SEARCH_SIZES,
    TOKEN_FIELDS,
    is_price_key,
)
from tests._recorded import recorded

FIXTURE = Path(__file__).parents[1] / "fixtures" / "litellm.json"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MILLION = 1_000_000
BATCH = Conditions(context=(("processing", "batch"),))
FLEX = Conditions(context=(("service_tier", "flex"),))
PRIORITY = Conditions(context=(("service_tier", "priority"),))
SOUND = {"litellm_provider": "acme", "mode": "chat", "input_cost_per_token": Decimal("1E-6")}

Row = dict[str, Any]


def above(quantity: int, context: tuple[tuple[str, str], ...] = ()) -> Conditions:
    return Conditions(Threshold(Meter.INPUT_TOKENS, Comparison.ABOVE, quantity), context)


def read_row(name: str = "acme/m", /, **fields: object) -> Listing:
    return read({name: {**SOUND, **fields}, "acme/sound": SOUND}, NOW)


def card_of(listing: Listing, model_id: str = "m") -> RateCard:
    (found,) = [model.card for model in listing.models if model.model_id == model_id]
    return found


def fault_of(listing: Listing) -> str:
    (fault,) = listing.faults
    return fault.message


def codes(listing: Listing) -> dict[str, int]:
    return {notice.code: notice.models for notice in listing.notices}


@pytest.fixture(scope="module")
def listing() -> Listing:
    return read(decode_json(FIXTURE.read_bytes()), NOW)


@pytest.fixture(scope="module")
def models(listing: Listing) -> Mapping[tuple[str, str], ListedModel]:
    return {model.key: model for model in listing.models}


# The fixture, rule by rule.


def test_the_seller_and_the_id_there_come_from_the_row(
    models: Mapping[tuple[str, str], ListedModel],
) -> None:
    assert set(models) == {
        ("openai", "plain-1"),
        ("azure", "plain-1"),
        ("azure", "eu/plain-1"),
        ("azure-ai", "plain-1"),
        ("aws", "acme.claw-v1:0"),
        ("aws", "us-east-1/acme.claw-v1:0"),
        ("google-vertex", "long-pro"),
        ("x-ai", "rock-4"),
        ("alibaba-cloud", "tiered-flash"),
        ("alibaba-cn", "tiered-flash"),
        ("perplexity", "finder"),
        ("deepseek", "clock"),
        ("ollama", "local"),
        ("voyageai", "embed-1"),
        ("groq", "whisper"),
        ("openai", "transcriber"),
        ("fal-ai", "fal-ai/painter"),
        ("fal-ai", "fal-ai/sized-painter"),
        ("novita", "noisy"),
        ("openai", "omni"),
        ("openai", "speaker"),
        ("cohere", "picture-embed"),
        ("cohere", "sorter"),
        ("mistral", "page-reader"),
    }


def test_a_region_is_a_model_of_its_own_and_overwrites_no_other(
    models: Mapping[tuple[str, str], ListedModel],
) -> None:
    prompts = {
        key: headline(models[key].card, NOW).prompt
        for key in (("aws", "acme.claw-v1:0"), ("aws", "us-east-1/acme.claw-v1:0"))
    }
    assert [str(price) for price in prompts.values()] == ["0.000003", "0.000004"]


def test_prices_are_usd_per_token_with_the_digits_that_are_stated(
    models: Mapping[tuple[str, str], ListedModel],
) -> None:
    assert models["novita", "noisy"].card.rates == (
        Rate(Meter.INPUT_TOKENS, Decimal("3.8000000000000003E-8")),
        Rate(Meter.OUTPUT_TOKENS, Decimal("1E-7")),
    )
    assert models["aws", "acme.claw-v1:0"].card.rates == (
        Rate(Meter.INPUT_TOKENS, Decimal("0.000003")),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.000015")),
        Rate(Meter.CACHE_WRITE_TOKENS, Decimal("0.00000375")),
        Rate(Meter.CACHE_WRITE_1H_TOKENS, Decimal("0.000006")),
    )


def test_every_meter_has_the_price_that_its_key_states(
    models: Mapping[tuple[str, str], ListedModel],
) -> None:
    stated = {
        model_id: {rate.meter: str(rate.price) for rate in models[seller, model_id].card.rates}
        for seller, model_id in (
            ("openai", "omni"),
            ("openai", "speaker"),
            ("cohere", "picture-embed"),
            ("cohere", "sorter"),
            ("mistral", "page-reader"),
        )
    }
    assert stated == {
        "omni": {
            Meter.INPUT_TOKENS: "0.000002",
            Meter.OUTPUT_TOKENS: "0.000008",
            Meter.OUTPUT_REASONING_TOKENS: "0.000009",
            Meter.INPUT_IMAGE_TOKENS: "0.000003",
            Meter.OUTPUT_IMAGE_TOKENS: "0.00003",
            Meter.CACHE_IMAGE_READ_TOKENS: "3E-7",
            Meter.INPUT_VIDEO_TOKENS: "0.000004",
            Meter.OUTPUT_VIDEO_TOKENS: "0.00004",
            Meter.OUTPUT_AUDIO_TOKENS: "0.00002",
            Meter.CACHE_AUDIO_READ_TOKENS: "5E-7",
            Meter.CACHE_AUDIO_WRITE_TOKENS: "0.000006",
            Meter.REQUESTS: "0.005",
            Meter.INPUT_TEXT_MESSAGES: "0.01",
        },
        "speaker": {Meter.INPUT_CHARACTERS: "0.000015"},
        "picture-embed": {Meter.INPUT_IMAGES: "0.0001"},
        "sorter": {Meter.RERANK_SEARCHES: "0.002"},
        "page-reader": {
            Meter.INPUT_DOCUMENT_PAGES: "0.001",
            Meter.INPUT_ANNOTATED_DOCUMENT_PAGES: "0.003",
        },
    }


def test_batches_and_service_tiers_are_contexts_and_the_rest_is_standard(
    models: Mapping[tuple[str, str], ListedModel],
) -> None:
    card = models["openai", "plain-1"].card
    assert [rate for rate in card.rates if rate.meter is Meter.INPUT_TOKENS] == [
        Rate(Meter.INPUT_TOKENS, Decimal("0.00000125"), BATCH),
        Rate(Meter.INPUT_TOKENS, Decimal("0.0000013"), FLEX),
        Rate(Meter.INPUT_TOKENS, Decimal("0.0000025")),
    ]
    assert [rate.conditions for rate in card.rates if rate.meter is Meter.OUTPUT_TOKENS] == [
        BATCH,
        PRIORITY,
        ALWAYS,
    ]
    assert str(headline(card, NOW).completion) == "0.00001"


def test_reasoning_at_the_price_of_output_is_no_rate_that_would_outlive_a_condition(
    models: Mapping[tuple[str, str], ListedModel],
) -> None:
    # Else reasoning in a batch would cost what it costs outside.
    meters = {rate.meter for rate in models["openai", "plain-1"].card.rates}
    assert Meter.OUTPUT_REASONING_TOKENS not in meters


def test_above_a_size_all_tokens_cost_the_price_of_that_size(
    models: Mapping[tuple[str, str], ListedModel],
) -> None:
    card = models["google-vertex", "long-pro"].card
    assert [
        (rate.conditions, f"{rate.price * MILLION:f}")
        for rate in card.rates
        if rate.meter is Meter.INPUT_TOKENS
    ] == [
        (above(200_000, PRIORITY.context), "4.5000000"),
        (above(200_000), "2.5000000"),
        (PRIORITY, "2.25000000"),
        (ALWAYS, "1.25000000"),
    ]
    assert [rate.conditions for rate in card.rates if rate.meter is Meter.OUTPUT_TOKENS] == [
        above(200_000),
        ALWAYS,
    ]


def test_at_xai_the_size_itself_is_above(models: Mapping[tuple[str, str], ListedModel]) -> None:
    first = models["x-ai", "rock-4"].card.rates[0]
    threshold = Threshold(Meter.INPUT_TOKENS, Comparison.AT_LEAST, 200_000)
    assert first.conditions == Conditions(threshold)


def test_tiers_begin_above_their_range(models: Mapping[tuple[str, str], ListedModel]) -> None:
    assert models["alibaba-cloud", "tiered-flash"].card.rates == (
        Rate(Meter.INPUT_TOKENS, Decimal("2.5E-7"), above(256_000)),
        Rate(Meter.INPUT_TOKENS, Decimal("5E-8")),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.000002"), above(256_000)),
        Rate(Meter.OUTPUT_TOKENS, Decimal("4E-7")),
    )


def test_a_price_list_copied_from_another_region_is_no_price(
    listing: Listing, models: Mapping[tuple[str, str], ListedModel]
) -> None:
    assert models["alibaba-cn", "tiered-flash"].card == UNPRICED
    assert codes(listing)["not_read:copied_list"] == 1


def test_a_search_costs_what_its_size_costs(
    models: Mapping[tuple[str, str], ListedModel],
) -> None:
    searches = [
        (rate.conditions.context, str(rate.price))
        for rate in models["perplexity", "finder"].card.rates
        if rate.meter is Meter.WEB_SEARCHES
    ]
    assert searches == [
        ((("search_context_size", "low"),), "0.005"),
        ((("search_context_size", "medium"),), "0.008"),
        ((("search_context_size", "high"),), "0.012"),
    ]
    plain = models["openai", "plain-1"].card.rates[-1]
    assert plain == Rate(Meter.WEB_SEARCHES, Decimal("0.01"))


def test_a_search_that_is_charged_per_prompt_is_named_and_no_rate(
    listing: Listing, models: Mapping[tuple[str, str], ListedModel]
) -> None:
    meters = {rate.meter for rate in models["google-vertex", "long-pro"].card.rates}
    assert Meter.WEB_SEARCHES not in meters
    assert codes(listing)["unit_in_doubt:search_context_cost_per_query"] == 1


def test_zero_is_no_price(listing: Listing, models: Mapping[tuple[str, str], ListedModel]) -> None:
    assert models["ollama", "local"].card == UNPRICED
    assert {rate.meter for rate in models["voyageai", "embed-1"].card.rates} == {Meter.INPUT_TOKENS}
    assert codes(listing)["zero:output_cost_per_token"] == 2
    assert codes(listing)["zero:input_cost_per_token"] == 1


def test_a_second_is_one_of_audio_unless_tokens_are_priced(
    listing: Listing, models: Mapping[tuple[str, str], ListedModel]
) -> None:
    assert models["groq", "whisper"].card.rates == (
        Rate(Meter.INPUT_AUDIO_SECONDS, Decimal("0.00003083")),
    )
    meters = {rate.meter for rate in models["openai", "transcriber"].card.rates}
    assert meters == {Meter.INPUT_TOKENS, Meter.OUTPUT_TOKENS, Meter.INPUT_AUDIO_TOKENS}
    assert codes(listing)["unit_in_doubt:input_cost_per_second"] == 1


def test_an_image_whose_price_depends_on_its_size_is_named_and_no_rate(
    listing: Listing, models: Mapping[tuple[str, str], ListedModel]
) -> None:
    painted = models["fal-ai", "fal-ai/painter"].card
    assert painted.rates == (Rate(Meter.OUTPUT_IMAGES, Decimal("0.04")),)
    assert models["fal-ai", "fal-ai/sized-painter"].card == UNPRICED
    assert codes(listing)["unit_in_doubt:output_cost_per_image"] == 1
    assert codes(listing)["unknown_key:output_cost_per_image_4K"] == 1


WEEKEND = UtcWindow(0, 0, (DayOfWeek.SATURDAY, DayOfWeek.SUNDAY))


def test_off_peak_prices_hold_in_their_windows(
    listing: Listing, models: Mapping[tuple[str, str], ListedModel]
) -> None:
    assert listing.faults == ()
    assert models["deepseek", "clock"].card.rates == (
        Rate(Meter.INPUT_TOKENS, Decimal("1.5E-7"), Conditions(utc_window=WEEKEND)),
        Rate(Meter.INPUT_TOKENS, Decimal("3E-7")),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.0000012")),
    )


def windows_of(**schedule: object) -> list[UtcWindow | None]:
    listing = read_row(off_peak_pricing={"input_cost_per_token": Decimal("5E-7"), **schedule})
    return [rate.conditions.utc_window for rate in card_of(listing).rates[:-1]]


def test_a_window_past_midnight_is_off_peak_on_the_stated_days_on_both_sides_of_it() -> None:
    monday, tuesday = DayOfWeek.MONDAY, DayOfWeek.TUESDAY
    assert windows_of(hours_utc="16:30-00:30") == [UtcWindow(0, 30), UtcWindow(990, 0)]
    assert windows_of(windows=[{"hours_utc": "22:00-06:00", "weekdays": ["mon", "Tuesday"]}]) == [
        UtcWindow(0, 360, (monday, tuesday)),
        UtcWindow(1_320, 0, (monday, tuesday)),
    ]


def test_days_of_another_time_zone_begin_at_its_midnight() -> None:
    saturday = {"hours_utc": "00:00-00:00", "weekdays": [6]}
    assert windows_of(windows=[saturday], weekday_timezone="Asia/Shanghai") == [
        UtcWindow(0, 960, (DayOfWeek.SATURDAY,)),
        UtcWindow(960, 0, (DayOfWeek.FRIDAY,)),
    ]


@pytest.mark.parametrize(
    "stated",
    [
        "never",
        {},
        {"windows": []},
        {"windows": "00:00-01:00"},
        {"windows": [{"hours_utc": "00:00-01:00", "weekdays": [0]}]},
        {"windows": [{"hours_utc": "00:00-01:00", "weekdays": [True]}]},
        {"windows": [{"hours_utc": "00:00-01:00", "weekdays": "sat"}]},
        {"hours_utc": "00:00-25:00"},
        {"hours_utc": 5},
        {"hours_utc": "00:00-00:00"},
        {"hours_utc": "00:00-01:00", "weekday_timezone": "America/New_York"},
        {"hours_utc": "00:00-01:00", "weekday_timezone": []},
        {"hours_utc": "00:00-01:00", "made_up": 1},
        {"hours_utc": "00:00-01:00", "input_cost_per_token": 0},
        {"hours_utc": "00:00-01:00", "input_cost_per_token": "much"},
    ],
)
def test_off_peak_prices_that_are_not_understood_are_a_fault(stated: object) -> None:
    if isinstance(stated, dict):
        stated = {"input_cost_per_token": Decimal("5E-7"), **stated}
    assert "off_peak_pricing" in fault_of(read_row(off_peak_pricing=stated))


@pytest.mark.parametrize(
    "other",
    [
        {"input_cost_per_token_flex": Decimal("5E-7")},
        {"input_cost_per_token_above_200k_tokens": Decimal("5E-7")},
    ],
)
def test_off_peak_prices_beside_tiers_or_modes_are_a_fault(other: Row) -> None:
    off_peak = {"input_cost_per_token": Decimal("5E-7"), "hours_utc": "00:00-01:00"}
    assert "off-peak" in fault_of(read_row(off_peak_pricing=off_peak, **other))


def test_what_is_no_model_is_none(listing: Listing) -> None:
    assert codes(listing)["not_a_model"] == 2
    assert not any("sample_spec" in model.model_id for model in listing.models)


def test_two_names_of_a_seller_are_one_model_where_they_agree(
    listing: Listing, models: Mapping[tuple[str, str], ListedModel]
) -> None:
    assert codes(listing)["repeated_row"] == 1
    # The row that states more of it is the one that is kept.
    assert json.loads(models["google-vertex", "long-pro"].fragment).keys() == {"long-pro"}


def test_the_fragment_is_the_row_as_far_as_it_is_about_prices(
    models: Mapping[tuple[str, str], ListedModel],
) -> None:
    fragment = json.loads(models["openai", "plain-1"].fragment)["plain-1"]
    assert fragment["input_cost_per_token"] == "0.0000025"
    assert fragment["source"] == "https://acme.test/pricing"
    assert "supports_vision" not in fragment


# Single rules.


@pytest.mark.parametrize(
    ("name", "provider", "key"),
    [
        ("azure/us/gpt-4o", "azure", ("azure", "us/gpt-4o")),
        ("azure_ai/deepseek-r1", "azure_ai", ("azure-ai", "deepseek-r1")),
        ("azure/gpt-35", "azure_text", ("azure", "gpt-35")),
        ("amazon-nova/nova-pro-v1", "amazon_nova", ("amazon-nova", "nova-pro-v1")),
        ("command-a", "cohere_chat", ("cohere", "command-a")),
        ("vertex_ai/claude@1", "vertex_ai-anthropic_models", ("google-vertex", "claude@1")),
        ("gemini/gemini-x", "gemini", ("google", "gemini-x")),
        ("bedrock_mantle/openai.x", "bedrock_mantle", ("bedrock-mantle", "openai.x")),
        ("perplexity/openai/gpt-5", "perplexity", ("perplexity", "openai/gpt-5")),
        ("featherless_ai/featherless-ai/Q", "featherless_ai", ("featherless", "featherless-ai/Q")),
        ("fireworks_ai/n/e", "fireworks_ai-embedding-models", ("fireworks", "n/e")),
        ("1024-x-1024/50-steps/x", "bedrock", ("aws", "1024-x-1024/50-steps/x")),
        ("meta_llama/Llama", "meta_llama", ("llama", "Llama")),
        ("acme/", "acme", ("acme", "acme/")),
    ],
)
def test_names_lead_to_a_seller_and_an_id(name: str, provider: str, key: tuple[str, str]) -> None:
    seller = seller_of(provider)
    assert (seller, model_id_of(name, provider, seller)) == key


def test_rows_of_one_model_at_different_prices_are_a_fault() -> None:
    rows = {
        "m": {"litellm_provider": "vertex_ai", "input_cost_per_token": 1},
        "vertex_ai/m": {"litellm_provider": "vertex_ai", "input_cost_per_token": 2},
        "acme/sound": SOUND,
    }
    listing = read(rows, NOW)
    assert [model.model_id for model in listing.models] == ["sound"]
    assert "at different prices" in fault_of(listing)
    assert listing.faults[0].key == ("google-vertex", "m")


def test_a_row_without_a_price_says_nothing_against_one() -> None:
    rows = {
        "m": {"litellm_provider": "vertex_ai", "input_cost_per_token": 0},
        "vertex_ai/m": {"litellm_provider": "vertex_ai", "input_cost_per_token": 2},
    }
    listing = read(rows, NOW)
    assert card_of(listing).rates == (Rate(Meter.INPUT_TOKENS, Decimal(2)),)


def test_one_price_under_two_keys_is_one_rate_and_two_prices_are_a_fault() -> None:
    stated = {"cache_read_input_token_cost": Decimal("1E-7")}
    same = read_row(**stated, input_cost_per_token_cache_hit=Decimal("1E-7"))
    assert len(card_of(same).rates) == 2
    other = read_row(**stated, input_cost_per_token_cache_hit=Decimal("2E-7"))
    assert "contradicts" in fault_of(other)


def test_a_conditional_zero_of_a_price_is_a_fault() -> None:
    # Left out, it would be charged at the standard price.
    assert "is zero" in fault_of(read_row(input_cost_per_token_flex=0))
    assert "is zero" in fault_of(read_row(input_cost_per_token_above_200k_tokens=0))


def test_a_tier_of_another_seller_is_named_and_no_rate() -> None:
    listing = read_row(input_cost_per_token_decisions=Decimal("5E-7"))
    assert len(card_of(listing).rates) == 1
    assert codes(listing) == {"unknown_key:input_cost_per_token_decisions": 1}


def test_a_reasoning_price_of_its_own_is_kept_where_output_has_no_conditions() -> None:
    listing = read_row(
        output_cost_per_token=Decimal("1E-6"), output_cost_per_reasoning_token=Decimal("4E-6")
    )
    assert Meter.OUTPUT_REASONING_TOKENS in {rate.meter for rate in card_of(listing).rates}


def test_a_reasoning_price_that_is_not_known_under_a_condition_is_a_fault() -> None:
    listing = read_row(
        output_cost_per_token=Decimal("1E-6"),
        output_cost_per_token_flex=Decimal("5E-7"),
        output_cost_per_reasoning_token=Decimal("4E-6"),
    )
    assert "reasoning has a price of its own" in fault_of(listing)


@pytest.mark.parametrize(
    "tiers",
    [
        "none",
        [1],
        [{"range": [0, 10], "input_cost_per_token": 1}, {"range": [20, 30]}],
        [{"range": [5, 10], "input_cost_per_token": 1}],
        [{"range": [0, 0], "input_cost_per_token": 1}],
        [{"range": [0, Decimal("NaN")], "input_cost_per_token": 1}],
        [{"range": [0, Decimal("0.5")], "input_cost_per_token": 1}],
        [{"range": [0, 10], "input_cost_per_token": 0}],
        [{"range": [0, 10], "input_cost_per_token": "much"}],
        [{"range": [0, 10], "made_up_cost": 1}],
        [{"range": [0, 10], "input_cost_per_token": 1}],  # Beside another flat price.
    ],
)
def test_tiers_that_are_not_understood_are_a_fault(tiers: object) -> None:
    assert fault_of(read_row(tiered_pricing=tiers))


def test_a_first_tier_that_repeats_the_flat_price_adds_no_rate() -> None:
    tiers = [
        {"range": [0, 1_000], "input_cost_per_token": SOUND["input_cost_per_token"]},
        {"range": [1_000, 2_000], "input_cost_per_token": Decimal("3E-6")},
    ]
    assert card_of(read_row(tiered_pricing=tiers)).rates == (
        Rate(Meter.INPUT_TOKENS, Decimal("0.000003"), above(1_000)),
        Rate(Meter.INPUT_TOKENS, Decimal("0.000001")),
    )
    assert "contradicts" in fault_of(
        read_row(tiered_pricing=tiers, input_cost_per_token=Decimal("2E-6"))
    )


def test_the_price_of_an_hours_cache_has_tiers_and_modes_of_its_own() -> None:
    key = "cache_creation_input_token_cost_above_1hr"
    listing = read_row(
        **{
            key: Decimal("2E-6"),
            f"{key}_above_200k_tokens": Decimal("4E-6"),
            f"{key}_batches": Decimal("1E-6"),
            f"{key}_above_200k_tokens_priority": Decimal("8E-6"),
        }
    )
    assert card_of(listing).rates[1:] == (
        Rate(Meter.CACHE_WRITE_1H_TOKENS, Decimal("0.000008"), above(200_000, PRIORITY.context)),
        Rate(Meter.CACHE_WRITE_1H_TOKENS, Decimal("0.000004"), above(200_000)),
        Rate(Meter.CACHE_WRITE_1H_TOKENS, Decimal("0.000001"), BATCH),
        Rate(Meter.CACHE_WRITE_1H_TOKENS, Decimal("0.000002")),
    )
    assert codes(listing) == {}


@pytest.mark.parametrize("price", ["abc", Decimal("NaN"), Decimal("-1"), True, [], {}, "1e400"])
def test_what_is_no_price_is_a_fault_of_its_row(price: object) -> None:
    listing = read_row(output_cost_per_token=price)
    assert fault_of(listing).startswith("output_cost_per_token is ")
    assert [model.model_id for model in listing.models] == ["sound"]


@pytest.mark.parametrize(
    "row", [None, [], "x", {}, {"litellm_provider": 1}, {"litellm_provider": ""}]
)
def test_a_row_without_a_seller_is_a_fault_of_its_own(row: object) -> None:
    listing = read({"m": row, "acme/sound": SOUND}, NOW)
    assert [model.model_id for model in listing.models] == ["sound"]
    assert "names no seller" in fault_of(listing)


@pytest.mark.parametrize("document", [None, [], {}, {"sample_spec": SOUND}, {"m": {}}, "x"])
def test_a_payload_without_models_is_refused(document: object) -> None:
    with pytest.raises(SourceError):
        read(document, NOW)


# Lifecycle.


def test_a_deprecation_date_is_the_beginning_of_the_day_on_which_a_model_retires() -> None:
    (model, _) = read_row(deprecation_date="2026-12-31").models
    assert model.retirement_time == datetime(2026, 12, 31, tzinfo=UTC)


@pytest.mark.parametrize("stated", ["soon", "2026-13-01", "0001-01-01", 20261231, ["2026-12-31"]])
def test_what_is_no_date_is_named_and_retires_nothing(stated: object) -> None:
    listing = read_row(deprecation_date=stated)
    assert [model.retirement_time for model in listing.models] == [None, None]
    assert codes(listing) == {"retirement:deprecation_date": 1}


def test_a_successor_has_the_id_that_it_has_at_the_seller() -> None:
    (model, _) = read_row(metadata={"successor": "acme/org/m-2"}).models
    assert model.successor == "org/m-2"


# Multipliers.


def context_of(**pairs: str) -> Conditions:
    return Conditions(context=tuple(sorted(pairs.items())))


def test_a_multiplier_of_a_place_multiplies_every_rate() -> None:
    listing = read_row(
        regional_processing_uplift_multiplier_eu=Decimal("1.1"),
        input_cost_per_token_batches=Decimal("5E-7"),
    )
    eu = {"geography": "data_zone", "region": "eu"}
    assert card_of(listing).rates == (
        Rate(Meter.INPUT_TOKENS, Decimal("5.5E-7"), context_of(processing="batch", **eu)),
        Rate(Meter.INPUT_TOKENS, Decimal("0.0000011"), context_of(**eu)),
        Rate(Meter.INPUT_TOKENS, Decimal("5E-7"), BATCH),
        Rate(Meter.INPUT_TOKENS, Decimal("0.000001")),
    )
    assert codes(listing) == {}


def test_a_multiplier_of_endpoints_holds_everywhere_but_globally() -> None:
    listing = read_row(regional_endpoint_uplift_multiplier=Decimal("1.1"))
    assert [rate.conditions for rate in card_of(listing).rates] == [
        context_of(geography="regional"),
        context_of(geography="data_zone"),
        ALWAYS,
    ]


def test_a_place_is_charged_on_top_of_the_fast_mode() -> None:
    entry = {"us": Decimal("1.1"), "fast": Decimal(6)}
    row = {**SOUND, "litellm_provider": "anthropic", "provider_specific_entry": entry}
    us = {"geography": "data_zone", "region": "us"}
    assert card_of(read({"m": row}, NOW)).rates == (
        Rate(Meter.INPUT_TOKENS, Decimal("0.0000066"), context_of(speed="fast", **us)),
        Rate(Meter.INPUT_TOKENS, Decimal("0.0000011"), context_of(**us)),
        Rate(Meter.INPUT_TOKENS, Decimal("0.000006"), context_of(speed="fast")),
        Rate(Meter.INPUT_TOKENS, Decimal("0.000001")),
    )


def test_a_row_whose_name_says_the_place_is_not_multiplied() -> None:
    listing = read_row("acme/us.m", regional_processing_uplift_multiplier_us=Decimal("1.1"))
    assert card_of(listing, "us.m").rates == (Rate(Meter.INPUT_TOKENS, Decimal("0.000001")),)
    assert codes(listing) == {"not_read:multiplier": 1}


def test_a_number_that_is_no_multiplier_we_know_is_named() -> None:
    listing = read_row(provider_specific_entry={"us": Decimal("1.1"), "schema": "titan"})
    assert codes(listing) == {"unknown_key:provider_specific_entry.us": 1}


@pytest.mark.parametrize("multiplier", [0, "much", True, Decimal("-1"), Decimal("NaN")])
def test_what_is_no_multiplier_is_a_fault(multiplier: object) -> None:
    key = "regional_endpoint_uplift_multiplier"
    assert fault_of(read_row(**{key: multiplier})).startswith(f"{key} is ")


# The recorded file.


@pytest.fixture(scope="module")
def raw() -> Mapping[str, Row]:
    found: Mapping[str, Row] = json.loads(
        recorded("litellm.json").read_bytes(), parse_float=Decimal
    )
    return found


@pytest.fixture(scope="module")
def full(raw: Mapping[str, Row]) -> Listing:
    return read(raw, NOW)


@pytest.mark.recorded
def test_the_recorded_file_is_read_whole(full: Listing, raw: Mapping[str, Row]) -> None:
    assert len(raw) == 4_242
    skipped = 1 + 1 + codes(full)["not_a_model"]  # sample_spec and fallback_generalizations
    assert len(raw) - skipped - full.rows == 103, "repeated rows"
    assert Counter(model.card.state for model in full.models) == {
        PriceState.PRICED: 3_661,
        PriceState.UNPRICED: 432,
    }
    assert full.faults == ()


@pytest.mark.recorded
def test_off_peak_prices_of_the_recording_hold_but_in_the_peak_of_working_days(
    full: Listing,
) -> None:
    cards = {model.key: model.card for model in full.models}
    for key in (("deepseek", "deepseek-v4-flash"), ("tencent", "deepseek-v4.1-flash")):
        for at, price in (
            (datetime(2026, 11, 27, 2, tzinfo=UTC), "3E-7"),  # Friday
            (datetime(2026, 11, 27, 5, tzinfo=UTC), "1.5E-7"),
            (datetime(2026, 11, 27, 9, 59, tzinfo=UTC), "3E-7"),
            (datetime(2026, 11, 27, 23, tzinfo=UTC), "1.5E-7"),
            (datetime(2026, 11, 28, 2, tzinfo=UTC), "1.5E-7"),
            (datetime(2026, 11, 29, 9, tzinfo=UTC), "1.5E-7"),  # Sunday
            (datetime(2026, 11, 30, 1, tzinfo=UTC), "3E-7"),
        ):
            assert headline(cards[key], at).prompt == Decimal(price), (key, at)
    assert cards["tencent", "deepseek-v4.1-flash"] == cards["deepseek", "deepseek-v4-flash"]


@pytest.mark.recorded
def test_the_retirements_of_the_recording_are_read(full: Listing, raw: Mapping[str, Row]) -> None:
    assert "retirement:deprecation_date" not in codes(full)
    stated = {model.key: model.retirement_time for model in full.models if model.retirement_time}
    assert len(stated) > 800
    compared = 0
    for name, fields in raw.items():
        if "deprecation_date" in fields and fields["litellm_provider"] == "openai":
            retires = datetime.fromisoformat(fields["deprecation_date"]).replace(tzinfo=UTC)
            assert stated["openai", name.removeprefix("openai/")] == retires
            compared += 1
    assert compared > 20
    assert {model.key: model.successor for model in full.models if model.successor} == {
        ("together", "deepseek-ai/DeepSeek-V3"): "deepseek-ai/DeepSeek-V4-Pro-0813",
        ("together", "moonshotai/Kimi-K2-Instruct"): "moonshotai/Kimi-K3",
        ("together", "zai-org/GLM-4.6"): "zai-org/GLM-5.2",
    }


@pytest.mark.recorded
def test_the_multipliers_of_the_recording_are_rates(full: Listing) -> None:
    cards = {model.key: model.card for model in full.models}
    us = {"geography": "data_zone", "region": "us"}
    usage = {Meter.INPUT_TOKENS: 1_000, Meter.OUTPUT_TOKENS: 100}
    for key, context, total in (
        (("anthropic", "claude-opus-4-6"), us, "0.00825"),
        (("anthropic", "claude-opus-5"), {"speed": "fast"}, "0.015"),
        (("anthropic", "claude-opus-5"), {"speed": "fast", **us}, "0.0165"),
        (("anthropic", "claude-opus-5"), {"processing": "batch", **us}, "0.004125"),
        (("google-vertex", "claude-opus-4-6"), {"geography": "regional"}, "0.00825"),
        (("google-vertex", "claude-opus-4-6"), {"geography": "global"}, "0.0075"),
        (("openai", "gpt-5.4"), us, "0.0044"),
        (("openai", "gpt-5.4"), {"service_tier": "flex", **us}, "0.0022"),
    ):
        cost = CompiledCard(cards[key]).evaluate(usage, at=NOW, context=context)
        assert cost.total == Decimal(total), (key, context)
    placed = [
        model.key
        for model in full.models
        if any("geography" in dict(rate.conditions.context) for rate in model.card.rates)
    ]
    assert len(placed) == 38 + 22 + 16
    assert max(len(model.card.rates) for model in full.models) < 200


@pytest.mark.recorded
def test_every_numeric_key_of_the_recording_that_speaks_of_cost_is_a_rate_or_named(
    full: Listing, raw: Mapping[str, Row]
) -> None:
    stated = {
        key
        for name, row in raw.items()
        for key, value in row.items()
        if "cost" in key and value is not None
        if name != "sample_spec" and "-commitment/" not in name
    }
    assert all(map(is_price_key, stated))
    named = tuple(code.partition(":")[2] for code in codes(full) if ":" in code)
    read_keys = (*TOKEN_FIELDS, *(key for key, _ in FIELDS_BY_MODE), SEARCH_SIZES)
    assert {key for key in stated if not key.startswith((*read_keys, *named))} == set()


@pytest.mark.recorded
def test_every_standard_token_price_of_the_recording_is_told_exactly(
    full: Listing, raw: Mapping[str, Row]
) -> None:
    """Against the raw JSON, read on its own."""
    compared = 0
    for model in full.models:
        if not model.card.rates:
            continue
        ((_, stated),) = json.loads(model.fragment).items()
        shown = headline(model.card, NOW)
        for key, price in (
            ("input_cost_per_token", shown.prompt),
            ("output_cost_per_token", shown.completion),
        ):
            raw_price = Decimal(str(stated.get(key, 0))) or None
            if not {"tiered_pricing", "off_peak_pricing"} & stated.keys():
                assert price == raw_price, (model.key, key)
                compared += price is not None
    assert compared > 6_000


@pytest.mark.parametrize(
    ("key", "meter", "price"),
    [
        (("openai", "gpt-4o"), Meter.INPUT_TOKENS, "2.5"),
        (("openai", "gpt-4o"), Meter.OUTPUT_TOKENS, "10"),
        (("openai", "text-embedding-3-small"), Meter.INPUT_TOKENS, "0.02"),
        (("anthropic", "claude-sonnet-4-5"), Meter.CACHE_WRITE_TOKENS, "3.75"),
        (("anthropic", "claude-sonnet-4-5"), Meter.CACHE_WRITE_1H_TOKENS, "6"),
        (("azure", "eu/gpt-4o-2024-08-06"), Meter.INPUT_TOKENS, "2.75"),
        (("google", "gemini-2.5-pro"), Meter.OUTPUT_TOKENS, "10"),
        (("google-vertex", "gemini-2.5-flash"), Meter.INPUT_AUDIO_TOKENS, "1"),
        (("deepseek", "deepseek-chat"), Meter.CACHE_READ_TOKENS, "0.028"),
        (("perplexity", "sonar-deep-research"), Meter.OUTPUT_REASONING_TOKENS, "3"),
        (("minimax", "MiniMax-M3"), Meter.INPUT_TOKENS, "0.3"),
        (("groq", "whisper-large-v3"), Meter.INPUT_AUDIO_SECONDS, "30.83"),
        (("mistral", "mistral-ocr-4-0"), Meter.INPUT_ANNOTATED_DOCUMENT_PAGES, "5000"),
    ],
)
@pytest.mark.recorded
def test_prices_of_the_recording_checked_by_hand(
    full: Listing, key: tuple[str, str], meter: Meter, price: str
) -> None:
    (card,) = [model.card for model in full.models if model.key == key]
    (rate,) = [each for each in card.rates if each.meter is meter and each.conditions == ALWAYS]
    assert rate.price * MILLION == Decimal(price)


@pytest.mark.recorded
def test_the_fixture_has_keys_of_the_recording_only(raw: Mapping[str, Row]) -> None:
    known = {key for row in raw.values() for key in row}
    own = json.loads(FIXTURE.read_bytes())
    assert {key for row in own.values() for key in row} <= known


def test_it_ranks_behind_all_other_catalogues() -> None:
    from pricing_server.providers import SOURCES

    assert max(SOURCES.values(), key=lambda source: source.rank) is SOURCE
