"""OpenRouter's payloads as rate cards: on a hand-written fixture, hostile rows and recordings."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    ALWAYS,
    DYNAMIC,
    UNPRICED,
    Comparison,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    Threshold,
    UtcWindow,
    differences,
)
from llmpricing.schedule import headline
from llmpricing.wire.rates import rate_message
from pricing_server.domain.fetch_errors import PayloadError
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.source import KeyUse
from pricing_server.domain.source_listing import ListedModel, Listing, SourceError
from pricing_server.providers.openrouter import SOURCE, read
from tests._recorded import recorded, recordings
from tests.unit._strategies import many

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests/fixtures/openrouter.json"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
RECORDED_AT = datetime(2026, 8, 22, 8, 6, 27, 943_000, tzinfo=UTC)
MILLION = 1_000_000

Document = dict[str, Any]


def document() -> Document:
    found = decode_json(FIXTURE.read_bytes())
    assert isinstance(found, dict)
    return found


def read_rows(*rows: object) -> Listing:
    return read({"data": list(rows)}, NOW)


def row(model_id: object = "m", **pricing: object) -> Document:
    return {"id": model_id, "pricing": {"prompt": "0.000001", "completion": "0.000002"} | pricing}


SOUND = row("sound")


def read_one(subject: object) -> ListedModel:
    listing = read_rows(subject, SOUND)
    assert listing.faults == ()
    return listing.models[0]


@pytest.fixture(scope="module")
def listing() -> Listing:
    return read(document(), NOW)


@pytest.fixture(scope="module")
def models(listing: Listing) -> Mapping[str, ListedModel]:
    return {model.model_id: model for model in listing.models}


def per_million(model: ListedModel) -> dict[Meter, str]:
    return {
        rate.meter: f"{rate.price * MILLION:f}"
        for rate in model.card.rates
        if rate.conditions == ALWAYS
    }


# The fixture, row by row.


def test_every_row_of_the_fixture_is_read(listing: Listing) -> None:
    assert (listing.rows, len(listing.models), listing.faults) == (12, 12, ())
    assert {model.provider for model in listing.models} == {"openrouter"}
    assert listing.provider_names == {"openrouter": "OpenRouter"}
    assert Counter(model.card.state for model in listing.models) == {
        PriceState.PRICED: 9,
        PriceState.FREE: 1,
        PriceState.DYNAMIC: 1,
        PriceState.UNPRICED: 1,
    }


def test_prices_are_usd_per_token(models: Mapping[str, ListedModel]) -> None:
    card = models["acme/plain-70b"].card
    assert card.rates == (
        Rate(Meter.INPUT_TOKENS, Decimal("0.0000009")),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.0000025")),
    )


def test_cache_and_search_prices_are_rates_of_their_own(
    models: Mapping[str, ListedModel],
) -> None:
    cached = models["acme/cached"]
    assert per_million(cached) == {
        Meter.INPUT_TOKENS: "3.000000",
        Meter.OUTPUT_TOKENS: "15.000000",
        Meter.CACHE_READ_TOKENS: "0.3000000",
        Meter.CACHE_WRITE_TOKENS: "3.75000000",
        Meter.CACHE_WRITE_1H_TOKENS: "6.000000",
        Meter.WEB_SEARCHES: "10000.00",
    }


def test_free_is_what_is_called_free(models: Mapping[str, ListedModel]) -> None:
    free = models["acme/small:free"].card
    assert free.state is PriceState.FREE
    assert headline(free, NOW).prompt == headline(free, NOW).completion == 0


def test_a_zero_that_is_not_called_free_is_no_price(
    listing: Listing, models: Mapping[str, ListedModel]
) -> None:
    assert models["acme/lyre-3-song"].card == UNPRICED
    notices = {notice.code: notice for notice in listing.notices}
    assert notices["zero:prompt"].example == "acme/lyre-3-song"
    assert notices["zero:prompt"].models == notices["zero:completion"].models == 1


def test_minus_one_is_decided_per_request(models: Mapping[str, ListedModel]) -> None:
    assert models["acme/router"].card == DYNAMIC


def test_an_alias_keeps_its_own_price_and_names_its_target(
    models: Mapping[str, ListedModel],
) -> None:
    alias = models["~acme/plain-latest"]
    assert alias.alias_target == "acme/plain-70b"
    assert per_million(alias)[Meter.INPUT_TOKENS] == "0.9000000"
    assert models["acme/plain-70b"].alias_target is None


def test_the_hugging_face_id_is_kept_where_there_is_one(
    models: Mapping[str, ListedModel],
) -> None:
    assert models["acme/plain-70b"].hugging_face_id == "Acme/Plain-70B-Instruct"
    assert models["acme/small:free"].hugging_face_id is None
    assert models["acme/cached"].hugging_face_id is None


def test_a_longer_prompt_has_the_last_threshold_that_it_reaches(
    models: Mapping[str, ListedModel],
) -> None:
    card = models["acme/long-context"].card
    assert [
        (rate.conditions.threshold and rate.conditions.threshold.quantity, str(rate.price))
        for rate in card.rates
        if rate.meter is Meter.INPUT_TOKENS
    ] == [(256_000, "2E-7"), (32_000, "1E-7"), (None, "3E-8")]
    assert charge(card, 9 * 60, 300_000) == {
        "prompt": Decimal("0.0000002"),
        "completion": Decimal("0.0000008"),
        # The last override does not name it: it keeps what applies without that one.
        "input_cache_read": Decimal("0.00000002"),
    }
    threshold = Threshold(Meter.INPUT_TOKENS, Comparison.AT_LEAST, 32_000)
    assert card.rates[1].conditions == Conditions(threshold=threshold)


def test_a_window_past_midnight_is_kept_as_one(models: Mapping[str, ListedModel]) -> None:
    card = models["acme/off-peak"].card
    windows = {rate.conditions.utc_window for rate in card.rates}
    assert windows == {UtcWindow(10 * 60, 60), UtcWindow(60, 4 * 60 + 30), None}
    for hour, price in ((0, "0.22"), (1, "0.44"), (4, "0.44"), (9, "0.44"), (10, "0.22")):
        shown = headline(card, NOW.replace(hour=hour)).prompt
        assert shown is not None
        assert shown * MILLION == Decimal(price), hour


def test_of_two_overrides_that_apply_the_later_wins_key_by_key(
    models: Mapping[str, ListedModel],
) -> None:
    card = models["acme/later-wins"].card
    for hour, prompt, completion in ((3, "3", "4"), (8, "5", "4"), (15, "5", "2"), (20, "1", "2")):
        assert charge(card, hour * 60, 0) == {
            "prompt": Decimal(prompt) / MILLION,
            "completion": Decimal(completion) / MILLION,
        }


def test_all_22_decimals_are_kept(models: Mapping[str, ListedModel]) -> None:
    rates = {rate.meter: rate.price for rate in models["acme/digits"].card.rates}
    assert f"{rates[Meter.CACHE_WRITE_TOKENS]:f}" == "0.0000000208333333333333"


def test_an_image_at_the_price_of_a_token_is_no_price_of_an_image(
    listing: Listing, models: Mapping[str, ListedModel]
) -> None:
    sees = per_million(models["acme/sees"])
    assert Meter.INPUT_IMAGES not in sees
    assert sees[Meter.INPUT_IMAGE_TOKENS] == "0.75000000"
    assert len(sees) == 8
    (doubt,) = [notice for notice in listing.notices if notice.code == "unit_in_doubt:image"]
    assert (doubt.models, doubt.example) == (1, "acme/sees")


def test_request_image_and_search_are_priced_per_one(
    models: Mapping[str, ListedModel],
) -> None:
    shown = headline(models["acme/per-request"].card, NOW)
    assert (shown.request, shown.image) == (Decimal("0.005"), Decimal("0.0048"))
    searches = Rate(Meter.WEB_SEARCHES, Decimal("0.004"))
    assert searches in models["acme/per-request"].card.rates


def test_the_fragment_is_the_evidence_as_json(models: Mapping[str, ListedModel]) -> None:
    rows = {row["id"]: row for row in json.loads(FIXTURE.read_text())["data"]}
    for model_id, model in models.items():
        fragment = json.loads(model.fragment)
        assert fragment["pricing"] == rows[model_id]["pricing"]
        assert fragment["id"] == model_id
        assert "description" not in fragment


def test_its_api_is_the_seller_s_own_and_needs_no_key() -> None:
    assert (SOURCE.provider, SOURCE.key_use) == ("openrouter", KeyUse.OPTIONAL)
    assert SOURCE.endpoint == "https://openrouter.ai/api/v1/models"
    assert (SOURCE.url_variable, SOURCE.key_variable) == (
        "PRICING_OPENROUTER_URL",
        "PRICING_OPENROUTER_API_KEY",
    )


# Envelopes.


def test_the_recorder_s_envelope_and_the_api_s_list_the_same_models(listing: Listing) -> None:
    bare = read({"data": document()["data"]}, NOW)
    assert bare.models == listing.models
    assert bare.obtained_at == NOW
    assert listing.obtained_at == RECORDED_AT


def test_a_recording_is_as_old_as_it_says_and_never_from_the_future() -> None:
    stamped = document() | {"fetchedAt": (NOW + timedelta(days=1)).isoformat()}
    assert read(stamped, NOW).obtained_at == NOW
    stamped = document() | {"fetchedAt": "2026-08-22T10:06:27.943+02:00"}
    assert read(stamped, NOW).obtained_at == RECORDED_AT


@pytest.mark.parametrize("local", ["UTC0", "JST-9", "EST5"])
def test_a_recording_without_a_time_zone_is_in_utc_wherever_the_server_runs(
    local: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", local)
    time.tzset()
    try:
        stamped = document() | {"fetchedAt": "2026-08-22T08:06:27.943"}
        assert read(stamped, NOW).obtained_at == RECORDED_AT
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_cut_recording_is_refused_whole() -> None:
    cut = document()
    cut["data"].pop()
    with pytest.raises(SourceError, match="announces 12 models and holds 11"):
        read(cut, NOW)


@pytest.mark.parametrize(
    "senseless",
    [
        None,
        [],
        "data",
        7,
        {},
        {"data": None},
        {"data": {}},
        {"data": "models"},
        {"data": []},
        {"error": {"message": "rate limited", "code": 429}},
        {"data": [None, 1, "x", []]},
        {"data": [row(prompt=None), row("n", completion="abc")]},
        {"fetchedAt": "yesterday", "data": [SOUND]},
        {"fetchedAt": None, "data": [SOUND]},
        {"fetchedAt": "2026-08-22T08:06:27Z", "count": "1", "data": [SOUND]},
        {"fetchedAt": "0001-01-01T00:00:00+23:59", "data": [SOUND]},
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_payload_without_sense_is_refused_whole_with_one_line(senseless: object) -> None:
    with pytest.raises(SourceError) as caught:
        read(senseless, NOW)
    assert str(caught.value).isprintable()


# Hostile rows.


def nested(depth: int) -> object:
    """What the decoder lets through, however deep."""
    return decode_json(b'{"deeper":[' * depth + b"1" + b"]}" * depth)


FAULTS: list[tuple[str, object, str]] = [
    ("nan", row("bad", prompt="NaN"), "pricing.prompt is not a finite number"),
    ("nan-number", row("bad", prompt=Decimal("NaN")), "pricing.prompt is not a finite number"),
    ("infinity", row("bad", web_search=Decimal("Infinity")), "pricing.web_search is not a finite"),
    ("text", row("bad", completion="abc"), "pricing.completion is not a number: 'abc'"),
    ("empty", row("bad", input_cache_read=""), "pricing.input_cache_read is not a number"),
    ("negative", row("bad", prompt="-0.000001"), "pricing.prompt is negative"),
    ("minus-two", row("bad", prompt=-2), "pricing.prompt is negative"),
    ("bool", row("bad", prompt=True), "pricing.prompt is not a number: True"),
    ("nested", row("bad", prompt={"usd": "1"}), "pricing.prompt is not a number"),
    ("list", row("bad", prompt=["0.1"]), "pricing.prompt is not a number"),
    ("surrogate-price", row("bad", prompt="\ud800"), "pricing.prompt is not a number"),
    ("vast", row("bad", prompt="1e400"), "pricing.prompt is out of range"),
    ("tiny", row("bad", prompt="1e-999999999"), "pricing.prompt is out of range"),
    ("digits", row("bad", prompt=10**4_000), "pricing.prompt is"),
    ("no-prompt", {"id": "bad", "pricing": {"completion": "1"}}, "pricing.prompt is missing"),
    ("null-completion", row("bad", completion=None), "pricing.completion is missing"),
    ("null-pricing", {"id": "bad", "pricing": None}, "pricing is missing"),
    ("no-pricing", {"id": "bad"}, "pricing is missing"),
    ("list-pricing", {"id": "bad", "pricing": ["0.1"]}, "pricing is missing"),
    ("overrides-object", row("bad", overrides={"prompt": "1"}), "overrides is not a list"),
    ("override-text", row("bad", overrides=["x"]), "an override is not an object"),
    ("override-bare", row("bad", overrides=[{"prompt": "1"}]), "an override has no condition"),
    (
        "override-unknown-condition",
        row("bad", overrides=[{"region": "eu", "min_prompt_tokens": 1, "prompt": "1"}]),
        "an override has the unknown key region",
    ),
    (
        "override-only-unknown-condition",
        row("bad", overrides=[{"region": "eu", "prompt": "1"}]),
        "an override has",
    ),
    (
        "override-half-window",
        row("bad", overrides=[{"utc_start": 100, "prompt": "1"}]),
        "time of day is not a number",
    ),
    (
        "override-no-clock",
        row("bad", overrides=[{"utc_start": 2460, "utc_end": 100, "prompt": "1"}]),
        "time of day is not a clock time",
    ),
    (
        "override-61st-minute",
        row("bad", overrides=[{"utc_start": 161, "utc_end": 200, "prompt": "1"}]),
        "time of day is not a clock time",
    ),
    (
        "override-negative-time",
        row("bad", overrides=[{"utc_start": -100, "utc_end": 200, "prompt": "1"}]),
        "time of day is not a clock time",
    ),
    (
        "override-empty-window",
        row("bad", overrides=[{"utc_start": 300, "utc_end": 300, "prompt": "1"}]),
        "window",
    ),
    (
        "override-negative-tokens",
        row("bad", overrides=[{"min_prompt_tokens": -1, "prompt": "1"}]),
        "min_prompt_tokens is not a count",
    ),
    (
        "override-true-tokens",
        row("bad", overrides=[{"min_prompt_tokens": True, "prompt": "1"}]),
        "min_prompt_tokens is not a count",
    ),
    (
        "override-more-tokens-than-the-contract-can-carry",
        row("bad", overrides=[{"min_prompt_tokens": 2**63, "prompt": "1"}]),
        "",
    ),
    (
        "override-nan",
        row("bad", overrides=[{"min_prompt_tokens": 1, "prompt": "NaN"}]),
        "pricing.prompt is not a finite number",
    ),
    ("deep-price", row("bad", prompt=nested(400)), ""),
    ("deep-unknown-key", row("bad", other=nested(400)), ""),
    ("deep-alias", row("bad") | {"alias_target": {"slug": "x", "more": nested(400)}}, ""),
    ("control-id", row("ba\x07d"), "control character or lone surrogate (U+0007)"),
    ("surrogate-id", row("ba\ud800d"), "control character or lone surrogate (U+D800)"),
    ("long-id", row("b" * 10_240), "has 10240 characters, at most 512 are allowed"),
    ("empty-id", row(""), "the model's id is empty"),
    ("blank-id", row(" \t "), "the model's id is empty"),
    ("null-id", row(None), "the model's id is not a text"),
    ("number-id", row(7), "the model's id is not a text"),
    ("deep-id", row(nested(400)), "the model's id is not a text"),
    ("no-id", {"pricing": {"prompt": "1", "completion": "1"}}, "the model's id is not a text"),
    ("null-row", None, "the model's id is not a text"),
    ("text-row", "m", "the model's id is not a text"),
]


@pytest.mark.parametrize(
    ("bad", "message"), [case[1:] for case in FAULTS], ids=[c[0] for c in FAULTS]
)
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_a_fault_in_one_row_costs_no_other(bad: object, message: str, first: bool) -> None:
    listing = read_rows(*([bad, SOUND] if first else [SOUND, bad]))
    assert [model.model_id for model in listing.models] == ["sound"]
    assert listing.models[0].card == read_rows(SOUND).models[0].card
    (fault,) = listing.faults
    assert message in fault.message
    for text in (fault.message, fault.model_id):
        assert text.isprintable()
        assert text.isascii()
        assert len(text) < 300
    # A faulty row is still listed: it must not count as missing.
    assert fault.key == (("openrouter", "bad") if fault.model_id == "bad" else None)


def test_all_faults_at_once_cost_no_sound_row_and_none_is_lost() -> None:
    rows = [case[1] for case in FAULTS]
    distinct = [
        {**bad, "id": f"bad-{place}"} if isinstance(bad, dict) and bad.get("id") == "bad" else bad
        for place, bad in enumerate(rows)
    ]
    sound = document()["data"]
    listing = read({"data": [*distinct[:20], *sound, *distinct[20:]]}, NOW)
    assert listing.models == read({"data": sound}, NOW).models
    assert len(listing.faults) == len(distinct)
    assert listing.rows == len(distinct) + len(sound)


@pytest.mark.parametrize("place", ["id", "prompt", "alias", "row"])
def test_a_row_as_deep_as_the_decoder_lets_through_costs_no_other(place: str) -> None:
    def payload(depth: int) -> bytes:
        deep = "[" * depth + "]" * depth
        bad = {
            "id": f'{{"id":{deep},"pricing":{{}}}}',
            "prompt": f'{{"id":"m","pricing":{{"prompt":{deep},"completion":"1"}}}}',
            "alias": f'{{"id":"m","alias_target":{{"slug":{deep}}},"pricing":{{}}}}',
            "row": deep,
        }
        return f'{{"data":[{bad[place]},{json.dumps(SOUND)}]}}'.encode()

    def deepest() -> Listing:
        """Decode and read as a sync does: with the whole stack of a thread."""
        low, high = 1, 10_000
        while low < high:
            middle = (low + high + 1) // 2
            try:
                decode_json(payload(middle))
                low = middle
            except PayloadError:
                high = middle - 1
        return read(decode_json(payload(low)), NOW)

    with ThreadPoolExecutor(1) as thread:
        listing = thread.submit(deepest).result()
    assert [model.model_id for model in listing.models] == ["sound"]
    assert len(listing.faults) == 1


def test_of_rows_with_one_id_none_is_trusted_and_all_are_faults() -> None:
    listing = read_rows(row("twice"), SOUND, row("twice", prompt="0.5"), row("twice"))
    assert [model.model_id for model in listing.models] == ["sound"]
    assert [(fault.model_id, fault.key) for fault in listing.faults] == [
        ("twice", ("openrouter", "twice"))
    ] * 3
    assert listing.rows == 4


def test_a_duplicate_of_a_faulty_row_is_a_fault_too() -> None:
    for rows in (
        (row("twice", prompt="abc"), row("twice")),
        (row("twice"), row("twice", prompt="abc")),
    ):
        listing = read_rows(*rows, SOUND)
        assert listing.rows == 3
        assert len(listing.models) + len(listing.faults) == 3


def test_an_unknown_key_is_named_and_costs_nothing_else() -> None:
    listing = read_rows(row("m", smell="0.5", **{"odd\n\ud800": nested(3)}), row("n", smell=True))
    plain = read_rows(row("m"), row("n"))
    assert [model.card for model in listing.models] == [model.card for model in plain.models]
    codes = {notice.code: (notice.models, notice.example) for notice in listing.notices}
    assert codes["unknown_key:smell"] == (2, "m")
    assert all(notice.code.isprintable() and notice.code.isascii() for notice in listing.notices)
    assert len(codes) == 2


@pytest.mark.parametrize("odd", ["\ud800", "a\x00b", "x" * 10_000, 7, ["x"], {"slug": 7}, ""])
def test_what_a_row_need_not_state_is_no_fault_if_it_is_odd(odd: object) -> None:
    subject = row("m") | {"hugging_face_id": odd, "canonical_slug": odd, "alias_target": odd}
    model = read_one(subject)
    assert (model.hugging_face_id, model.canonical_slug, model.alias_target) == (None, None, None)
    json.loads(model.fragment.encode("ascii"))


def test_a_single_rate_decided_per_request_is_left_out_and_named() -> None:
    listing = read_rows(row("m", web_search="-1"))
    (model,) = listing.models
    assert model.card == read_one(row("m")).card
    assert [notice.code for notice in listing.notices] == ["dynamic_rate:web_search"]


@pytest.mark.parametrize("minus_one", ["-1", -1, Decimal(-1), " -1 "])
def test_minus_one_is_dynamic_however_it_is_written(minus_one: object) -> None:
    assert read_one(row("m", prompt=minus_one)).card == DYNAMIC
    assert read_one(row("m", completion=minus_one)).card == DYNAMIC


def test_a_free_model_that_charges_for_something_is_priced_and_its_tokens_are_free() -> None:
    card = read_one(row("m:free", prompt="0", completion="0", web_search="0.004")).card
    assert card.state is PriceState.PRICED
    assert headline(card, NOW).prompt == 0


def test_a_model_called_free_that_has_a_price_is_priced() -> None:
    assert read_one(row("m:free")).card == read_one(row("m")).card


def test_a_zero_beside_a_price_is_not_stated_and_not_free() -> None:
    listing = read_rows(row("m", completion="0"))
    assert per_million(listing.models[0]) == {Meter.INPUT_TOKENS: "1.000000"}
    assert [notice.code for notice in listing.notices] == ["zero:completion"]


def test_a_card_has_a_thousand_rates_at_most() -> None:
    def entries(count: int) -> list[Document]:
        return [{"min_prompt_tokens": at, "prompt": "1"} for at in range(count)]

    # Two of the rates are those of the base.
    assert len(read_one(row("m", overrides=entries(998))).card.rates) == 1_000
    listing = read_rows(row("bad", overrides=entries(999)), SOUND)
    assert [fault.model_id for fault in listing.faults] == ["bad"]
    assert [model.model_id for model in listing.models] == ["sound"]


def test_of_countless_notices_those_of_the_most_models_are_named() -> None:
    rows = [row(f"m{n}", zebra="1", **{f"k{n}-{i}": "1" for i in range(100)}) for n in range(5)]
    notices = read_rows(*rows).notices
    assert len(notices) == 201
    assert [notice.code for notice in notices[:-1]] == sorted(n.code for n in notices[:-1])
    (everywhere,) = [notice for notice in notices if notice.code == "unknown_key:zebra"]
    assert everywhere.models == 5
    assert (notices[-1].code, notices[-1].models) == ("more_codes", 4)
    assert notices[-1].message.startswith("301 more codes")


def doubted(subject: object) -> tuple[Meter, ...]:
    partial = read_one(subject).partial
    return partial.in_doubt if partial else ()


@pytest.mark.parametrize("value", ["0", 0, "0.000", "-1", -1])
def test_base_rates_that_are_mentioned_without_a_price_are_in_doubt(value: object) -> None:
    assert doubted(row("m", completion=value)) == (Meter.OUTPUT_TOKENS,)
    assert doubted(row("m", input_cache_read=value, web_search=value)) == (
        Meter.CACHE_READ_TOKENS,
        Meter.WEB_SEARCHES,
    )


def test_what_is_priced_absent_declared_free_or_a_router_is_not_in_doubt() -> None:
    for stated in (
        row("m", input_cache_read=None, image="0.000001", other="0"),
        row("m:free", prompt="0", completion="0", web_search="0"),
        row("m", prompt="-1", completion="-1", web_search="0"),
    ):
        assert read_one(stated).partial is None
    assert doubted(row("m:free", prompt="0", completion="0", web_search="-1")) == (
        Meter.WEB_SEARCHES,
    )


def test_a_row_that_is_half_a_router_is_dynamic_and_tells_what_it_states() -> None:
    model = read_one(row("m", completion="-1", image="0.005"))
    assert model.card == DYNAMIC
    assert model.partial is not None
    assert [(rate.meter, str(rate.price)) for rate in model.partial.card.rates] == [
        (Meter.INPUT_TOKENS, "0.000001"),
        (Meter.INPUT_IMAGES, "0.005"),
    ]
    assert doubted(row("m", prompt="-1", image="0.005")) == (Meter.INPUT_TOKENS,)


def test_every_card_of_a_hostile_payload_can_be_sent() -> None:
    for quantity in (0, 1, 2**31, 2**63 - 1):
        model = read_one(row("m", overrides=[{"min_prompt_tokens": quantity, "prompt": "1"}]))
        for rate in model.card.rates:
            rate_message(rate)


# Overrides, against OpenRouter's own rule applied step by step.

KEYS = {
    "prompt": Meter.INPUT_TOKENS,
    "completion": Meter.OUTPUT_TOKENS,
    "input_cache_read": Meter.CACHE_READ_TOKENS,
}


def charge(card: RateCard, minute: int, tokens: int) -> dict[str, Decimal]:
    """What a plain reading of the card charges: of each meter the first rate that applies."""
    when = datetime(2026, 8, 22, tzinfo=UTC) + timedelta(minutes=minute)
    found: dict[str, Decimal] = {}
    for key, meter in KEYS.items():
        for rate in card.rates:
            threshold = rate.conditions.threshold
            if (
                rate.meter is meter
                and rate.conditions.in_effect(when)
                and (threshold is None or threshold.reached_by(tokens))
            ):
                found[key] = rate.price
                break
    return found


def stated_charge(pricing: Mapping[str, Any], minute: int, tokens: int) -> dict[str, Decimal]:
    """What OpenRouter's documentation says: overrides in order, later ones on top."""
    found = {key: Decimal(pricing[key]) for key in KEYS if key in pricing}
    clock = minute // 60 * 100 + minute % 60
    for entry in pricing.get("overrides", ()):
        if tokens < entry.get("min_prompt_tokens", 0):
            continue
        if "utc_start" in entry:
            start, end = entry["utc_start"], entry["utc_end"]
            inside = start <= clock < end if start < end else clock >= start or clock < end
            if not inside:
                continue
        found |= {key: Decimal(entry[key]) for key in KEYS if key in entry}
    return found


clocks = st.sampled_from([0, 100, 430, 600, 1200, 1630, 2359])
amounts = st.sampled_from(["0.000001", "0.000002", "0.0000035"])


@st.composite
def override_entries(draw: st.DrawFn) -> dict[str, object]:
    entry: dict[str, object] = draw(
        st.dictionaries(st.sampled_from(sorted(KEYS)), amounts, min_size=1)
    )
    if draw(st.booleans()):
        start, end = draw(st.tuples(clocks, clocks).filter(lambda ends: ends[0] != ends[1]))
        entry |= {"utc_start": start, "utc_end": end}
    if "utc_start" not in entry or draw(st.booleans()):
        entry["min_prompt_tokens"] = draw(st.sampled_from([0, 100, 200]))
    return entry


@given(st.lists(override_entries(), max_size=5), st.booleans())
@many
def test_a_card_charges_what_the_overrides_say(
    overrides: list[dict[str, object]], cached: bool
) -> None:
    pricing: dict[str, object] = {"prompt": "0.000009", "completion": "0.000008"}
    if cached:
        pricing["input_cache_read"] = "0.0000007"
    card = read_one({"id": "m", "pricing": pricing | {"overrides": overrides}}).card
    for minute in (0, 59, 60, 269, 270, 359, 360, 719, 720, 989, 990, 1438, 1439):
        for tokens in (0, 99, 100, 250):
            expected = stated_charge(pricing | {"overrides": overrides}, minute, tokens)
            assert charge(card, minute, tokens) == expected, (minute, tokens)


def test_midnight_may_be_written_as_2400() -> None:
    card = read_one(row("m", overrides=[{"utc_start": 2200, "utc_end": 2400, "prompt": "5"}])).card
    assert card.rates[0].conditions.utc_window == UtcWindow(22 * 60, 0)


# The recordings, every day of them, against the raw JSON.

DAYS = sorted(path.stem for path in recordings().glob("openrouter_20*.json"))

PER_ONE = {"image", "request", "web_search"}
METER_OF = {
    **KEYS,
    "input_cache_write": Meter.CACHE_WRITE_TOKENS,
    "input_cache_write_1h": Meter.CACHE_WRITE_1H_TOKENS,
    "audio": Meter.INPUT_AUDIO_TOKENS,
    "audio_output": Meter.OUTPUT_AUDIO_TOKENS,
    "input_audio_cache": Meter.CACHE_AUDIO_READ_TOKENS,
    "image_output": Meter.OUTPUT_IMAGE_TOKENS,
    "internal_reasoning": Meter.OUTPUT_REASONING_TOKENS,
    "image": Meter.INPUT_IMAGES,
    "web_search": Meter.WEB_SEARCHES,
}


# Without any day, a single one is looked for in vain, which says what is missing.
@pytest.fixture(params=DAYS or ["openrouter_20*"])
def recorded_day(request: pytest.FixtureRequest) -> str:
    day = request.param
    assert isinstance(day, str)
    return day


@cache
def rows_and_listing(day: str) -> tuple[list[Document], Listing]:
    body = recorded(f"{day}.json").read_bytes()
    return json.loads(body)["data"], read(decode_json(body), NOW)


@pytest.mark.recorded
def test_a_recorded_day_has_no_fault(recorded_day: str) -> None:
    rows, listing = rows_and_listing(recorded_day)
    assert listing.faults == ()
    assert [model.model_id for model in listing.models] == [row["id"] for row in rows]
    assert recorded_day.removeprefix("openrouter_") == f"{listing.obtained_at:%Y-%m-%d}"
    assert {notice.code for notice in listing.notices} == {
        "unit_in_doubt:image",
        "zero:completion",
        "zero:prompt",
    }


@pytest.mark.recorded
def test_every_plain_price_of_a_recorded_day_is_an_exact_rate(recorded_day: str) -> None:
    rows, listing = rows_and_listing(recorded_day)
    compared = 0
    for stated, model in zip(rows, listing.models, strict=True):
        pricing = {key: value for key, value in stated["pricing"].items() if key != "overrides"}
        rates = {rate.meter: rate.price for rate in model.card.rates if rate.conditions == ALWAYS}
        if pricing["prompt"] == "-1":
            assert model.card == DYNAMIC, model.model_id
            continue
        expected = {METER_OF[key]: Decimal(value) for key, value in pricing.items()}
        # Two exceptions, both in the notices: an image at the price of a token is in
        # doubt, and a zero is a price only of a model that is called free.
        if pricing.get("image") == pricing["prompt"]:
            del expected[Meter.INPUT_IMAGES]
        if not model.model_id.endswith(":free"):
            expected = {meter: price for meter, price in expected.items() if price}
        assert rates == expected, model.model_id
        compared += len(rates)
    assert compared > 2 * len(rows)


@pytest.mark.recorded
def test_every_override_of_a_recorded_day_is_charged(recorded_day: str) -> None:
    rows, listing = rows_and_listing(recorded_day)
    for stated, model in zip(rows, listing.models, strict=True):
        pricing = stated["pricing"]
        entries = pricing.get("overrides", [])
        named = {key for entry in entries for key in entry} & METER_OF.keys()
        conditional = [rate for rate in model.card.rates if rate.conditions != ALWAYS]
        assert {rate.meter for rate in conditional} == {METER_OF[key] for key in named}
        assert len(conditional) == sum(len(METER_OF.keys() & entry.keys()) for entry in entries)
        for minute in range(0, 1440, 30) if entries else ():
            for tokens in {0, *(entry.get("min_prompt_tokens", 0) for entry in entries)}:
                assert charge(model.card, minute, tokens) == stated_charge(pricing, minute, tokens)


@pytest.mark.recorded
def test_states_of_a_recorded_day_are_what_ids_and_prices_say(recorded_day: str) -> None:
    rows, listing = rows_and_listing(recorded_day)
    for stated, model in zip(rows, listing.models, strict=True):
        pricing = stated["pricing"]
        zero = all(Decimal(pricing[key]) == 0 for key in ("prompt", "completion"))
        if pricing["prompt"] == "-1":
            expected = PriceState.DYNAMIC
        elif zero:
            free = stated["id"].endswith(":free")
            expected = PriceState.FREE if free else PriceState.UNPRICED
        else:
            expected = PriceState.PRICED
        assert model.card.state is expected, model.model_id
        target = stated.get("alias_target")
        assert model.alias_target == (target["slug"] if target else None)
        assert model.hugging_face_id == (stated["hugging_face_id"] or None)


@pytest.mark.recorded
def test_between_two_recorded_days_exactly_the_real_changes_are_found() -> None:
    first, last = "openrouter_2026-06-18", "openrouter_2026-08-22"
    before, after = (
        {model.model_id: model.card for model in rows_and_listing(day)[1].models}
        for day in (first, last)
    )
    both = before.keys() & after.keys()

    def changed(*meters: Meter) -> int:
        """Models whose plain rate of one of the meters is another one."""
        return sum(
            any(
                difference.rate.conditions == ALWAYS and difference.rate.meter in meters
                for difference in differences(before[model_id], after[model_id])
            )
            for model_id in both
        )

    assert len(both) == 295
    assert changed(Meter.INPUT_TOKENS, Meter.OUTPUT_TOKENS) == 61
    assert changed(*Meter) == 108
    assert sum(not before[one].same_prices_as(after[one]) for one in both) == 131


def test_the_zone_of_a_recording_does_not_matter() -> None:
    zone = timezone(timedelta(hours=-7))
    stamped = document() | {"fetchedAt": RECORDED_AT.astimezone(zone).isoformat()}
    assert read(stamped, NOW).obtained_at == RECORDED_AT
