import json
import tracemalloc
from contextlib import suppress
from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_server.domain.api_key import repeats_key
from pricing_server.domain.fetch_errors import PayloadError
from pricing_server.domain.fetch_request import FetchPolicy
from pricing_server.domain.json_document import MAX_VALUES, decode_json, repeated_key
from pricing_server.domain.urls import safe_url


@given(st.decimals(allow_nan=False, allow_infinity=False, places=15))
@settings(deadline=None)
def test_decimals_survive_exactly(value: Decimal) -> None:
    assert str(decode_json(f"[{value:f}]".encode())) == str([value])


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(deadline=None)
def test_the_written_digits_of_any_double_are_kept(value: float) -> None:
    decoded = decode_json(json.dumps(value).encode())
    assert isinstance(decoded, Decimal)
    assert decoded == Decimal(repr(value))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
@settings(deadline=None, max_examples=50)
def test_everything_but_fractions_decodes_as_json_does(document: object) -> None:
    assert decode_json(json.dumps(document).encode()) == document


@given(st.binary())
@settings(deadline=None)
def test_any_bytes_decode_or_raise_payload_error(body: bytes) -> None:
    with suppress(PayloadError):
        decode_json(body)


def test_integers_stay_integers_and_nothing_is_a_float() -> None:
    decoded = decode_json(b'{"a": 1, "b": 1.0, "c": 1E2, "d": -0, "e": 123456789012345678901234}')
    assert isinstance(decoded, dict)
    types = [type(value) for value in decoded.values()]
    assert types == [int, Decimal, Decimal, int, int]
    assert decoded["e"] == 123456789012345678901234


def test_a_byte_order_mark_is_tolerated() -> None:
    assert decode_json(b"\xef\xbb\xbf[]") == []


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_bare_non_numbers_do_not_cost_the_other_rows(token: str) -> None:
    decoded = decode_json(f'[{token}, {{"x": 0.5}}]'.encode())
    assert str(decoded) == str([Decimal(token), {"x": Decimal("0.5")}])


@pytest.mark.parametrize(
    "literal",
    [
        "1e999999999",
        "1e-999999999",
        "0e999999999",
        "-1E+99999999999999999999999",
        "1e-99999999999999999999999",
        "0." + "1" * 100_000,
        "1e" + "9" * 100_000,
        "1" * 100_000 + ".0",
        "1" * 1_001,
        "-" + "9" * 4_301,
        "9" * 100_000,
    ],
)
@pytest.mark.parametrize("precision", [3, 28])
def test_monstrous_numbers_become_nan(literal: str, precision: int) -> None:
    with localcontext(prec=precision, Emax=10, Emin=-10):
        decoded = decode_json(f"[{literal}, 1]".encode())
    assert str(decoded) == "[Decimal('NaN'), 1]"


def test_exponents_beyond_a_double_are_still_numbers() -> None:
    assert decode_json(b"[1e400, 1e-400]") == [Decimal("1e400"), Decimal("1e-400")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b'{"data": [1, 2',
        b'{"data": "cut',
        b"[1] [2]",
        b"\xff\xfe[\x00]\x00",
        b'["\xc3\x28"]',
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"<!DOCTYPE html>\r\n<html>\x1b[31m" + b"x" * 5000,
    ],
)
def test_unreadable_bodies_raise_one_short_printable_line(body: bytes) -> None:
    with pytest.raises(PayloadError) as caught:
        decode_json(body)
    message = str(caught.value)
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 320


def test_the_message_shows_how_an_html_page_begins() -> None:
    with pytest.raises(PayloadError, match="<!DOCTYPE html>"):
        decode_json(b"<!DOCTYPE html><title>Down for maintenance</title>")


def test_a_body_that_contains_the_secret_is_not_quoted() -> None:
    with pytest.raises(PayloadError, match="withheld") as caught:
        decode_json(b"bad key: sk-123", secret="sk-123")
    assert "sk-123" not in str(caught.value)


@pytest.mark.parametrize(
    "spelt",
    [
        "sk-live/012345",
        r"sk-live\/012345",
        "sk-live%2F012345",
        r"sk\u002dlive\u002F012345",
        r"\u0073k-live/01234\u0035",
        r"sk-live\\u002f012345",
        r"sk-live\\\/012345",
    ],
)
def test_a_key_is_found_however_json_spells_it(spelt: str) -> None:
    assert repeats_key(b'{"a": "' + spelt.encode() + b'"}', "sk-live/012345")
    assert not repeats_key(b'{"a": "' + spelt[:-1].encode() + b'"}', "sk-live/012345")


def test_a_key_that_an_object_states_twice_has_neither_value() -> None:
    decoded = decode_json(b'{"a": 1, "b": {"c": 2, "c": {"d": 3}}, "e": 4, "e": 4}')
    assert decoded == {"a": 1, "b": {"c": {"d": 3}}, "e": {}}
    assert repeated_key(decoded) in ("c", "e")
    assert repeated_key(decode_json(b'[[{"x": [{"c": 1, "c": 1}]}]]')) == "c"
    assert repeated_key(decode_json(b'[{"c": 1}, {"c": {"c": 2}}]')) is None


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://api.example/v1/prices", "https://api.example/v1/prices"),
        ("https://me:pw@api.example:8443/v1?key=k#frag", "https://api.example:8443/v1"),
        ("https://api.example/a\nb", "(unreadable URL)"),
        ("https://[::1", "(unreadable URL)"),
        ("me:pw@api.example/v1", "(unreadable URL)"),
        ("", "(unreadable URL)"),
    ],
)
def test_a_safe_url_has_no_credentials(url: str, safe: str) -> None:
    assert safe_url(url) == safe


@pytest.mark.parametrize(
    "body",
    [
        '["😀'.encode() + b"x" * (32 * 1024 * 1024 - 8) + b'"]',
        b"[" + b",".join([b'{"a":1}'] * (MAX_VALUES // 2 - 1)) + b"]",
        b"[" * MAX_VALUES + b"]" * MAX_VALUES,
        b'{"a":' * MAX_VALUES,
    ],
    ids=["wide characters", "many objects", "depth", "open objects"],
)
def test_a_body_takes_at_most_16_times_the_cap_in_memory(body: bytes) -> None:
    tracemalloc.start()
    try:
        with suppress(PayloadError):
            decode_json(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * FetchPolicy().max_body_bytes


def test_more_values_than_any_list_has_are_refused_undecoded() -> None:
    with pytest.raises(PayloadError, match="more than 500,000 values"):
        decode_json(b"[" + b"1," * MAX_VALUES + b"1]")


def test_the_default_policy_is_the_documented_one() -> None:
    policy = FetchPolicy()
    assert policy.total_deadline.total_seconds() == 60
    assert policy.attempt_timeout.total_seconds() == 15
    assert (policy.max_body_bytes, policy.max_attempts) == (32 * 1024 * 1024, 4)
