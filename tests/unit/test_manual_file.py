"""The rules of the operator's price file: a wrong price is worse than none."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState, Rate
from pricing_server.domain.price import Layer, Price
from pricing_server.lookup.layers.price_file_format import (
    UNITS,
    ManualFile,
    ManualFileError,
    read_manual_file,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MODIFIED = datetime(2026, 11, 3, tzinfo=UTC)


def read(body: str | bytes) -> ManualFile:
    body = body.encode() if isinstance(body, str) else body
    return read_manual_file(body, "manual_pricing.json", MODIFIED, NOW)


def file(
    models: dict[str, Any] | None = None, *, unit: object = "per_1m_tokens", **metadata: object
) -> str:
    return json.dumps(
        {"_metadata": {"unit": unit, **metadata}, "acme": models or {"m": {"prompt": "1"}}}
    )


def fault_of(body: str | bytes) -> str | None:
    try:
        read(body)
    except ManualFileError as error:
        return str(error)
    return None


def only_price(body: str) -> Price:
    [[price]] = read(body).prices.values()
    return price


def test_prompt_and_completion_are_in_the_declared_unit_and_the_rest_per_one() -> None:
    entry = {"prompt": "0.50", "completion": "1.5", "request": "0.01", "image": "0.002"}
    price = only_price(file({"m": entry}))
    assert price.card.state is PriceState.PRICED
    assert set(price.card.rates) == {
        Rate(Meter.INPUT_TOKENS, Decimal("0.0000005")),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.0000015")),
        Rate(Meter.REQUESTS, Decimal("0.01")),
        Rate(Meter.INPUT_IMAGES, Decimal("0.002")),
    }
    assert (price.provider, price.model_id, price.layer) == ("acme", "m", Layer.MANUAL)
    assert price.detail == "price file manual_pricing.json"


@pytest.mark.parametrize(
    ("unit", "per_token"),
    [("per_1m_tokens", "2E-6"), ("per_1k_tokens", "0.002"), ("per_token", "2")],
)
def test_each_unit_is_exact(unit: str, per_token: str) -> None:
    [rate] = only_price(file({"m": {"prompt": 2}}, unit=unit)).card.rates
    assert rate.price == Decimal(per_token)


def test_a_json_number_keeps_every_digit() -> None:
    body = file({"m": {"prompt": 0}}).replace('"prompt": 0', '"prompt": 0.10000000000000000000001')
    [rate] = only_price(body).card.rates
    assert rate.price == Decimal("1.0000000000000000000001E-7")


@given(
    st.decimals("1E-18", "1E8", allow_nan=False, places=18).filter(bool),
    st.sampled_from(sorted(UNITS)),
    st.booleans(),
)
def test_every_price_comes_out_as_it_was_stated(stated: Decimal, unit: str, as_text: bool) -> None:
    digits = format(stated, "f")
    literal = f'"{digits}"' if as_text else digits
    body = f'{{"_metadata": {{"unit": "{unit}"}}, "acme": {{"m": {{"prompt": {literal}}}}}}}'
    [rate] = only_price(body).card.rates
    assert rate.price.scaleb(UNITS[unit].power_of_ten) == stated


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_one_line(body: bytes) -> None:
    assert "\n" not in (fault_of(body) or "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("0.5"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["_metadata", "unit", "a", "prompt", "free", "", "image"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_a_file_is_valid_as_a_whole_or_refused_in_one_line(document: dict[str, Any]) -> None:
    body = json.dumps({**document, "_metadata": {"unit": "per_token"}})
    fault = fault_of(body)
    assert "\n" not in (fault or "")
    for prices in () if fault else read(body).prices.values():
        assert all(p.card.state in (PriceState.PRICED, PriceState.FREE) for p in prices)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"prompt": "NaN"}, "acme/m.prompt: not a finite number"),
        ({"prompt": "Infinity"}, "acme/m.prompt: not a finite number"),
        ({"prompt": "-1"}, "acme/m.prompt: negative"),
        ({"completion": -0.5}, "acme/m.completion: negative"),
        ({"prompt": "1", "image": 0}, "acme/m.image: zero"),
        ({"prompt": "0.000"}, "acme/m.prompt: zero"),
        ({"prompt": "abc"}, "acme/m.prompt: not a number"),
        ({"prompt": None}, "acme/m.prompt: not a number"),
        ({"prompt": True}, "acme/m.prompt: not a number"),
        ({"prompt": {"input": 1}}, "acme/m.prompt: not a number"),
        ({"prompt": "1e99"}, "acme/m.prompt: out of range"),
        ({"prompt": "1", "prompts": "1"}, "acme/m: has the unknown key prompts"),
        ({"prompt": "1", "unit": "per_token"}, "acme/m: has the unknown key unit"),
        ({}, "acme/m: has no price"),
        ({"free": False}, "acme/m: has no price"),
        ({"free": "yes", "prompt": 0}, "acme/m.free: is not true or false"),
        ({"free": True, "prompt": "1"}, "acme/m.prompt: the entry says that the model is free"),
        ("1", "acme/m: is not an object"),
        (None, "acme/m: is not an object"),
    ],
)
def test_one_bad_entry_makes_the_file_invalid_and_is_named(entry: object, fault: str) -> None:
    with pytest.raises(ManualFileError) as refused:
        read(file({"good": {"prompt": "1"}, "m": entry}))
    assert str(refused.value).startswith(fault)
    assert "\n" not in str(refused.value)


def test_a_bare_nan_is_refused() -> None:
    body = '{"_metadata": {"unit": "per_token"}, "acme": {"m": {"prompt": NaN}}}'
    with pytest.raises(ManualFileError, match=r"acme/m\.prompt: not a finite number"):
        read(body)


@pytest.mark.parametrize("entry", [{"free": True}, {"free": True, "prompt": 0, "completion": "0"}])
def test_a_model_that_the_entry_calls_free_is_free(entry: dict[str, Any]) -> None:
    card = only_price(file({"m": entry})).card
    assert card.state is PriceState.FREE
    assert {rate.meter for rate in card.rates} == {Meter.INPUT_TOKENS, Meter.OUTPUT_TOKENS}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("", "not readable as JSON"),
        ("[]", "is not a JSON object"),
        ("{}", "_metadata: is missing"),
        ('{"_metadata": []}', "_metadata: is missing"),
        ('{"_metadata": {}}', "_metadata.unit: is not one of"),
        ('{"_metadata": {"unit": "per_million"}}', "_metadata.unit: is not one of"),
        ('{"_metadata": {"unit": ["per_token"]}}', "_metadata.unit: is not one of"),
        (file(currency="EUR"), "_metadata.currency"),
        (file(updated="yesterday"), "_metadata.updated: is not an ISO date"),
        (file(updated=20261120), "_metadata.updated: is not an ISO date"),
        (file(updated="2026-11-22"), "_metadata.updated: is in the future"),
        ('{"_metadata": {"unit": "per_token"}, "a": []}', "a: is not an object"),
        ('{"_metadata": {"unit": "per_token"}, "": {}}', "provider '': is empty"),
        ('{"_metadata": {"unit": "per_token"}, "_notes": {}}', "provider '_notes'"),
        ('{"_metadata": {"unit": "per_token"}, "a": {"": {}}}', "a: model '': is empty"),
        ('{"_metadata": {"unit": "per_token"}, "a": {"_metadata": {}}}', "a: model '_metadata'"),
        ('{"_metadata": {"unit": "per_token"}, "a": {"\\ud800": {}}}', "a: model"),
        (
            '{"_metadata": {"unit": "per_token"}, "a": {"m": {"prompt": 1}, "m": {"prompt": 2}}}',
            "m: is named twice",
        ),
        (
            '{"_metadata": {"unit": "per_token"},'
            ' "xai": {"m": {"prompt": 1}}, "x-ai": {"m": {"prompt": 1}}}',
            "x-ai/m: the same model as xai/m",
        ),
    ],
)
def test_an_invalid_file_is_refused_in_one_line(body: str, fault: str) -> None:
    with pytest.raises(ManualFileError) as refused:
        read(body)
    assert str(refused.value).startswith(fault)
    assert "\n" not in str(refused.value)


def test_a_seller_may_be_spelled_in_any_known_way() -> None:
    valid = read('{"_metadata": {"unit": "per_token"}, "XAI": {"grok": {"prompt": "0.1"}}}')
    assert valid.providers == {"x-ai"}
    assert valid.prices["grok"][0].provider == "x-ai"


def test_prices_are_as_old_as_the_file_says_or_else_as_the_file() -> None:
    assert only_price(file()).obtained_at == MODIFIED
    assert only_price(file(updated="2026-10-01")).obtained_at == datetime(2026, 10, 1, tzinfo=UTC)
    assert only_price(file(updated="2026-10-01T12:00:00+02:00")).obtained_at == datetime(
        2026, 10, 1, 10, tzinfo=UTC
    )


def test_a_date_that_has_begun_elsewhere_is_today() -> None:
    tomorrow = (NOW + timedelta(days=1)).date().isoformat()
    assert only_price(file(updated=tomorrow)).obtained_at == NOW


@pytest.mark.parametrize(
    ("entry", "doubted"),
    [
        ({"prompt": "0.0000025"}, "acme/m.prompt"),
        ({"completion": "2500"}, "acme/m.completion"),
        ({"request": "250"}, "acme/m.request"),
    ],
)
def test_an_implausible_magnitude_is_told_and_stays_valid(
    entry: dict[str, Any], doubted: str
) -> None:
    [line] = read(file({"m": entry, "n": {"prompt": "2.5"}})).doubtful
    assert line.startswith(doubted)
