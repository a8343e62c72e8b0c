"""Google's SKUs: units + nanos USD for one token, and every word of a description is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.meters import Meter
from llmpricing.rate_card import UNPRICED, Comparison
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.source_listing import Listing, SourceError
from pricing_server.providers import google, google_vertex
from pricing_server.providers.google_skus import Meaning, Unread
from tests._recorded import recorded
from tests.unit._strategies import many

FIXTURES = Path(__file__).parents[1] / "fixtures"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
STANDARD, BATCH, FLEX = "", "processing=batch", "service_tier=flex"

Prices = dict[tuple[Meter, str, int | None], str]
"""USD per 1M tokens by meter, context and threshold."""


def sku(description: object, nanos: object = 500, **changes: Any) -> dict[str, Any]:
    expression = {
        "usageUnit": "count",
        "displayQuantity": 1_000_000,
        "tieredRates": [
            {
                "startUsageAmount": 0,
                "unitPrice": {"currencyCode": "USD", "units": "0", "nanos": nanos},
            }
        ],
    }
    return {
        "skuId": "0000-0000-0000",
        "description": description,
        "pricingInfo": [{"pricingExpression": expression | changes}],
    }


def prices(listing: Listing) -> Mapping[str, Prices]:
    return {
        model.model_id: {
            (
                rate.meter,
                ",".join(f"{key}={value}" for key, value in rate.conditions.context),
                rate.conditions.threshold.quantity if rate.conditions.threshold else None,
            ): f"{(rate.price * 1_000_000).normalize():f}"
            for rate in model.card.rates
        }
        for model in listing.models
    }


def codes(listing: Listing) -> dict[str, int]:
    return {notice.code: notice.models for notice in listing.notices}


def read_google(*skus: object) -> Listing:
    return google.read({"skus": [*skus, sku(EMBEDDING, 150)]}, NOW)


EMBEDDING = "EmbedContent input token count for gemini-embedding-001"
FLASH = "Generate content input token count gemini 3.8 flash text"
EVERY_METER = {
    Meter.INPUT_TOKENS: "1.5",
    Meter.INPUT_IMAGE_TOKENS: "1.6",
    Meter.INPUT_AUDIO_TOKENS: "3",
    Meter.INPUT_VIDEO_TOKENS: "1.7",
    Meter.CACHE_READ_TOKENS: "0.15",
    Meter.CACHE_IMAGE_READ_TOKENS: "0.16",
    Meter.CACHE_AUDIO_READ_TOKENS: "0.3",
    Meter.CACHE_VIDEO_READ_TOKENS: "0.17",
    Meter.OUTPUT_TOKENS: "9",
    Meter.OUTPUT_IMAGE_TOKENS: "30",
    Meter.OUTPUT_AUDIO_TOKENS: "12",
}
"""What both fixtures state of one model, in USD per 1M."""


def test_the_gemini_api_s_fixture_is_read_in_usd_per_token() -> None:
    listing = google.read(decode_json((FIXTURES / "google.json").read_bytes()), NOW)
    assert not listing.faults
    assert prices(listing) == {
        "gemini-2.5-pro": {
            (Meter.INPUT_TOKENS, STANDARD, 200_000): "2.5",
            (Meter.INPUT_TOKENS, STANDARD, None): "1.25",
            (Meter.OUTPUT_TOKENS, STANDARD, 200_000): "15",
            (Meter.OUTPUT_TOKENS, STANDARD, None): "10",
        },
        "gemini-2.5-flash": {
            (Meter.INPUT_TOKENS, STANDARD, None): "0.3",
            (Meter.INPUT_AUDIO_TOKENS, STANDARD, None): "1",
            (Meter.OUTPUT_TOKENS, STANDARD, None): "2.5",
        },
        "gemini-3.8-flash": {
            (Meter.INPUT_TOKENS, BATCH, None): "0.375",
            (Meter.INPUT_TOKENS, FLEX, None): "0.375",
            (Meter.INPUT_TOKENS, STANDARD, None): "0.75",
            (Meter.CACHE_READ_TOKENS, STANDARD, None): "0.075",
            (Meter.OUTPUT_TOKENS, STANDARD, None): "3.75",
        },
        "gemini-3-flash-preview": {
            (Meter.INPUT_TOKENS, STANDARD, None): "0.5",
            (Meter.CACHE_READ_TOKENS, STANDARD, None): "0.05",
            (Meter.OUTPUT_TOKENS, STANDARD, None): "3",
        },
        "gemini-2.0-flash": {(Meter.INPUT_TOKENS, STANDARD, None): "0.1"},
        "gemini-embedding-001": {(Meter.INPUT_TOKENS, STANDARD, None): "0.15"},
        "gemini-3.5-flash": {(meter, STANDARD, None): usd for meter, usd in EVERY_METER.items()},
    }
    assert codes(listing) == {
        "coarse_price": 2,
        "sku:half": 1,
        "sku:other product": 3,
        "sku:words:image": 1,
        "sku:words:image flex caching": 1,
    }


def test_vertex_ai_s_fixture_is_read_in_usd_per_token() -> None:
    listing = google_vertex.read(decode_json((FIXTURES / "google_vertex.json").read_bytes()), NOW)
    assert not listing.faults
    found = prices(listing)
    assert found["gemini-3-pro-preview"] == {
        (Meter.INPUT_TOKENS, STANDARD, 200_000): "4",
        (Meter.INPUT_TOKENS, STANDARD, None): "2",
        (Meter.OUTPUT_TOKENS, STANDARD, 200_000): "18",
        (Meter.OUTPUT_TOKENS, STANDARD, None): "12",
        (Meter.CACHE_READ_TOKENS, STANDARD, 200_000): "0.4",
        (Meter.CACHE_READ_TOKENS, STANDARD, None): "0.2",
    }
    assert found["gemini-2.5-flash"] == {
        (Meter.INPUT_TOKENS, STANDARD, None): "0.3",
        (Meter.OUTPUT_TOKENS, STANDARD, None): "2.5",
        (Meter.CACHE_READ_TOKENS, STANDARD, None): "0.03",
    }
    assert found["gemini-3.5-flash"] == {
        (Meter.INPUT_TOKENS, STANDARD, None): "1.5",
        (Meter.OUTPUT_TOKENS, STANDARD, None): "9",
    }
    assert found["gemini-3.7-flash"] == {
        (meter, STANDARD, None): usd for meter, usd in EVERY_METER.items()
    }
    # What output of long requests costs is told in words that are not known.
    assert {meter for meter, _, _ in found["gemini-2.5-pro"]} == {
        Meter.INPUT_TOKENS,
        Meter.CACHE_READ_TOKENS,
    }
    assert {"sku:half", "sku:other product", "sku:model:gemini 3.5 flash regional"} < set(
        codes(listing)
    )
    assert "sku:model:gemini 2.5 flash" in codes(listing)


def test_long_requests_are_those_above_200_000_tokens() -> None:
    listing = google.read(decode_json((FIXTURES / "google.json").read_bytes()), NOW)
    (pro,) = [model for model in listing.models if model.model_id == "gemini-2.5-pro"]
    threshold = pro.card.rates[0].conditions.threshold
    assert threshold is not None
    assert (threshold.meter, threshold.comparison) == (Meter.INPUT_TOKENS, Comparison.ABOVE)


@pytest.mark.parametrize(
    ("description", "meaning"),
    [
        (
            "generate content output token count gemini 2.5 flash short input text",
            Meaning("gemini-2.5-flash", Meter.OUTPUT_TOKENS, None, False),
        ),
        (
            "generate content cached input token count gemini 2.5 flash input long text",
            Meaning("gemini-2.5-flash", Meter.CACHE_READ_TOKENS, None, True),
        ),
        (
            "generate content cached input token count gemini 2.5 flash input image",
            Meaning("gemini-2.5-flash", Meter.CACHE_IMAGE_READ_TOKENS),
        ),
        (
            "generate content output token count gemini 2.5 flash lite short output text "
            "non-thinking",
            Meaning("gemini-2.5-flash-lite", Meter.OUTPUT_TOKENS, None, False),
        ),
        (
            "generate content text cached input token count for gemini 3 pro short",
            Meaning("gemini-3-pro-preview", Meter.CACHE_READ_TOKENS, None, False),
        ),
        (
            "generatecontent image input token count for gemini 2.0 flash",
            Meaning("gemini-2.0-flash", Meter.INPUT_IMAGE_TOKENS),
        ),
        (
            "generate content text output token count for gemini 3 flash batch",
            Meaning("gemini-3-flash-preview", Meter.OUTPUT_TOKENS, "batch"),
        ),
        (
            "generate content input token count gemini 3.1 flash lite preview text",
            Meaning("gemini-3.1-flash-lite-preview", Meter.INPUT_TOKENS),
        ),
    ],
)
def test_descriptions_that_others_published_are_understood(
    description: str, meaning: Meaning
) -> None:
    assert google.meaning_of(description) == meaning


@pytest.mark.parametrize(
    "description",
    [
        "bidi generate content text input token count for gemini-3.8-live",
        "batchgeneratecontent input token count gemini 2.5 flash text",
        "generate content input token count gemini 3.8 flash image",
        "generate content output token count gemini 3.8 flash image",
        "generate content input token count gemini 3.8 flash lite tts text batch",
        "generate content input token count gemini 3.8 flashy text",
        "generate content input token count gemini 3.1 pro text",
        "generate content input token count gemini 3.8 flash text long context",
        "generate content input token count gemini 3.8 flash short long input text",
        "generate content input token count gemini 3.8 flash output text",
        "generate content output token count gemini 3.8 flash input audio",
        "generate content cached output token count gemini 3.8 flash text",
        "generate content video output token count for gemini 3 flash",
        "generate content image output token count for gemini 3 pro image",
        "generate content cached content storage token hours gemini 3.8 flash",
        "generate content search query gemini 3 paid one",
        "embedcontent image token count for gemini-embedding-2",
        "embedcontent input token count for gemini-embedding-2 image",
        "gemini 2.5 flash ga text input - predictions",
        "",
    ],
)
def test_descriptions_that_leave_a_doubt_are_not_read(description: str) -> None:
    assert isinstance(google.meaning_of(description), Unread)


@pytest.mark.parametrize(
    "description",
    [
        "gemini 2.5 pro text output (long & standard) - predictions",
        "gemini 2.5 flash text input - predictions",
        "gemini 3.5 flash regional text input - predictions",
        "gemini 3.8 flash cyber global text input caching offpeak",
        "gemini 2.5 flash ga live text input - predictions",
        "gemini 2.5 flash ga thinking text input - predictions",
        "gemini 2.5 flash ga text input priority - batch predictions",
        "gemini 2.5 flash ga video output - predictions",
        "gemini 2.5 flash input text caching storage",
        "codemender gemini 3.1 pro global text output",
        "gemini 3.1 flash image image output - predictions",
        "imagen 4 generation (output)",
    ],
)
def test_vertex_descriptions_that_leave_a_doubt_are_not_read(description: str) -> None:
    assert isinstance(google_vertex.meaning_of(description), Unread)


WORDS = st.sampled_from(
    [
        *("generate content", "generatecontent", "cached", "input", "output", "token count", "for"),
        *("gemini 2.5 pro", "gemini 3.8 flash", "gemini 2.5 flash ga", "text", "audio", "image"),
        *("short", "long", "(long)", "batch", "flex", "thinking", "caching", "- predictions", "7"),
    ]
)


@given(st.lists(WORDS, max_size=9), st.sampled_from([google.meaning_of, google_vertex.meaning_of]))
@many
def test_a_word_too_many_is_never_read_over(
    words: list[str], meaning_of: Callable[[str], Meaning | Unread]
) -> None:
    meaning = meaning_of(" ".join(words))
    if isinstance(meaning, Meaning):
        assert isinstance(meaning_of(" ".join([*words, "storage"])), Unread)
        assert isinstance(meaning_of(" ".join(["tuned", *words])), Unread)
        for word, is_said in (
            ("batch", meaning.tier == "batch"),
            ("flex", meaning.tier == "flex"),
            ("long", meaning.is_long is True),
            ("(long)", meaning.is_long is True),
        ):
            assert is_said or word not in words


@given(st.integers(0, 10**9 - 1), st.integers(0, 999))
@many
def test_a_price_is_units_and_nanos_for_one_token(nanos: int, units: int) -> None:
    row = sku(FLASH, nanos)
    row["pricingInfo"][0]["pricingExpression"]["tieredRates"][0]["unitPrice"]["units"] = str(units)
    (model, _) = read_google(row).models
    if (stated := Decimal(units) + Decimal(nanos) / 10**9) == 0:
        assert model.card == UNPRICED
    else:
        (rate,) = model.card.rates
        assert (rate.price, rate.per) == (stated, 1)


def test_the_display_quantity_changes_nothing() -> None:
    for quantity in (1, 1_000, 1_000_000):
        found = prices(read_google(sku(FLASH, 750, displayQuantity=quantity)))
        assert found["gemini-3.8-flash"] == {(Meter.INPUT_TOKENS, STANDARD, None): "0.75"}


@pytest.mark.parametrize(
    ("skus", "code"),
    [
        ([sku(FLASH, 750), sku(FLASH, 751)], "sku:contradiction"),
        ([sku(FLASH, 0)], "zero:input_tokens"),
        ([sku(FLASH, usageUnit="h")], "sku:unit"),
        ([sku(FLASH, usageUnit="k{char}")], "sku:unit"),
        ([sku(FLASH, usageUnit=None)], "sku:unit"),
        ([sku(FLASH.replace("text", "short input text"))], "sku:half"),
        ([sku(FLASH.replace("text", "long input text"))], "sku:half"),
        (
            [
                sku(FLASH.replace("text", f"{length} input text"), nanos)
                for length, nanos in (("short", 500), ("long", 1_000))
            ],
            "sku:length",
        ),
        ([sku("Generate content input token count Gemini 2.5 Pro text")], "sku:half"),
    ],
)
def test_a_price_that_leaves_a_question_is_no_rate_and_is_named(
    skus: list[dict[str, Any]], code: str
) -> None:
    listing = read_google(*skus)
    assert not listing.faults
    assert code in codes(listing)
    assert listing.models[0].card == UNPRICED


def test_skus_that_agree_are_one_rate() -> None:
    assert prices(read_google(sku(FLASH, 750), sku(FLASH, 750)))["gemini-3.8-flash"] == {
        (Meter.INPUT_TOKENS, STANDARD, None): "0.75"
    }


def test_prices_by_monthly_usage_are_not_those_of_a_request() -> None:
    row = sku(FLASH)
    rates = row["pricingInfo"][0]["pricingExpression"]["tieredRates"]
    rates.append({**rates[0], "startUsageAmount": 1_000_000})
    assert codes(read_google(row)) == {"sku:tiers": 1}


def changed(path: str, value: object) -> dict[str, Any]:
    """A SKU with another value at a path; the value is not there if it is None."""
    row: Any = sku(FLASH)
    *way, last = path.split(".")
    inner = row
    for key in way:
        inner = inner[int(key) if key.isdigit() else key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return json.loads(json.dumps(row)) if not isinstance(value, Decimal) else dict(row)


EXPRESSION = "pricingInfo.0.pricingExpression"
PRICE = f"{EXPRESSION}.tieredRates.0.unitPrice"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("pricingInfo", None),
        ("pricingInfo", []),
        ("pricingInfo", {}),
        ("pricingInfo", [7]),
        (EXPRESSION, 7),
        (f"{EXPRESSION}.tieredRates", None),
        (f"{EXPRESSION}.tieredRates", []),
        (f"{EXPRESSION}.tieredRates", ["x"]),
        (PRICE, None),
        (f"{PRICE}.currencyCode", "EUR"),
        (f"{PRICE}.currencyCode", None),
        (f"{PRICE}.units", "-1"),
        (f"{PRICE}.units", "1.5"),
        (f"{PRICE}.units", "²"),
        (f"{PRICE}.units", "9" * 10),
        (f"{PRICE}.units", True),
        (f"{PRICE}.nanos", -1),
        (f"{PRICE}.nanos", 10**9),
        (f"{PRICE}.nanos", "500"),
        (f"{PRICE}.nanos", True),
        (f"{PRICE}.nanos", Decimal("0.5")),
        (f"{PRICE}.nanos", Decimal("NaN")),
    ],
)
def test_a_malformed_price_is_a_fault_of_its_model(path: str, value: object) -> None:
    listing = read_google(changed(path, value))
    assert [fault.model_id for fault in listing.faults] == ["gemini-3.8-flash"]
    assert [model.model_id for model in listing.models] == ["gemini-embedding-001"]


@pytest.mark.parametrize("row", [7, None, {}, {"description": 7}, [], "x"])
def test_a_row_that_is_no_sku_is_named(row: object) -> None:
    assert codes(read_google(row)) == {"sku:unreadable": 1}


@pytest.mark.parametrize(
    "document", [None, [], {}, {"skus": {}}, {"skus": []}, {"skus": [sku("Imagen")]}]
)
def test_a_payload_without_a_model_is_refused(document: object) -> None:
    for read in (google.read, google_vertex.read):
        with pytest.raises(SourceError):
            read(document, NOW)


@pytest.mark.parametrize("models", [google.MODELS, google_vertex.MODELS])
@pytest.mark.recorded
def test_every_model_of_the_tables_is_one_that_others_list(models: Mapping[str, str]) -> None:
    litellm = json.loads(recorded("litellm.json").read_bytes())
    models_dev = json.loads(recorded("models_dev_api.json").read_bytes())
    known = {name.rpartition("/")[2] for name in litellm}
    known |= {
        name for seller in ("google", "google-vertex") for name in models_dev[seller]["models"]
    }
    assert set(models.values()) <= known
