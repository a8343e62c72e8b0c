"""An old price file becomes one with a declared unit; what is not sure is named and left out."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing_server.cli import main
from pricing_server.lookup.layers.price_file_format import ManualFileError, read_manual_file
from pricing_server.lookup.layers.price_file_import import ManualConversion, convert

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def converted(document: dict[str, Any], unit: str = "per_1m_tokens") -> ManualConversion:
    return convert(document, unit, NOW)


def test_what_is_sure_is_kept_exactly_as_stated() -> None:
    entry = {"prompt": "0.50", "completion": 1, "request": "0.01", "image": None}
    conversion = converted({"XAI": {"grok": entry}})
    assert conversion.document("per_1m_tokens") == {
        "_metadata": {"unit": "per_1m_tokens"},
        "x-ai": {"grok": {"prompt": "0.5", "completion": "1", "request": "0.01"}},
    }
    assert not conversion.refused


@pytest.mark.parametrize(
    ("entry", "kept", "reasons"),
    [
        (
            {"prompt": "1", "request": "0", "image": 0},
            {"prompt": "1"},
            ["a/m.request: zero is no price, left out", "a/m.image: zero is no price, left out"],
        ),
        (
            {"prompt": "0", "completion": "0"},
            None,
            [
                "a/m.prompt: zero is no price, left out",
                "a/m.completion: zero is no price, left out",
                "a/m: no price is left",
            ],
        ),
        ({"free": True, "prompt": 0}, {"prompt": "0", "free": True}, []),
        (
            {"free": True, "prompt": 1},
            None,
            ['a/m: says "free" and has the price prompt 1'],
        ),
        ({"prompt": "n/a", "completion": "1"}, None, ["a/m: prompt: not a number: 'n/a'"]),
        ({"prompt": "-1"}, None, ["a/m: prompt: negative: '-1'"]),
        ({"prompt": "NaN"}, None, ["a/m: prompt: not a finite number: 'NaN'"]),
        (
            {"prompt": "1", "context_length": 8192},
            {"prompt": "1"},
            ["a/m.context_length: unknown key, left out"],
        ),
        ({}, None, ["a/m: no price is left"]),
        ([], None, ["a/m: is not an object of prices"]),
        (
            {"prompt": "1", "unit": "per_token"},
            None,
            ["a/m: states the unit per_token of its own, not per_1m_tokens"],
        ),
        (
            {"prompt": "1", "unit": "second"},
            None,
            ["a/m: states the unit second of its own, not per_1m_tokens"],
        ),
        (
            {"prompt": "1", "_metadata": {"unit": "per_1k_tokens"}},
            None,
            ["a/m: states the unit per_1k_tokens of its own, not per_1m_tokens"],
        ),
        ({"prompt": "1", "currency": "EUR"}, None, ["a/m: is in EUR, not in USD"]),
        ({"prompt": "1", "unit": "per_1m_tokens"}, {"prompt": "1"}, []),
        ({"prompt": "1", "pricing_unit": "USD per 1M tokens"}, {"prompt": "1"}, []),
        ({"prompt": "1", "per": 1000000}, {"prompt": "1"}, []),
    ],
)
def test_what_is_not_sure_is_left_out_and_named(
    entry: object, kept: dict[str, Any] | None, reasons: list[str]
) -> None:
    conversion = converted({"a": {"m": entry}})
    assert conversion.models == ({"a": {"m": kept}} if kept else {})
    assert conversion.refused == reasons


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"a": []}, "a: is not an object"),
        ({"_notes": {}}, "_notes: is not an object"),
        ({"": {"m": {"prompt": 1}}}, "provider '': is empty"),
        ({"a": {"": {"prompt": 1}}}, "a/: the model's id is empty"),
        ({"a": {"_default": {"prompt": 1}}}, "a/_default: the model's id begins with '_'"),
        (
            {"a": {"_metadata": {"unit": "per_token"}, "m": {"prompt": 1}}},
            "a: all models: _metadata: states the unit per_token of its own, not per_1m_tokens",
        ),
    ],
)
def test_what_is_no_model_is_left_out_and_named(document: dict[str, Any], reason: str) -> None:
    conversion = converted(document)
    assert not conversion.count
    assert len(conversion.refused) == 1
    assert conversion.refused[0].startswith(reason)


def test_two_prices_of_one_model_under_two_spellings_are_both_left_out() -> None:
    conversion = converted(
        {
            "xai": {"m": {"prompt": 1}, "n": {"prompt": 1}},
            "x-ai": {"m": {"prompt": 2}, "n": {"prompt": "1.0"}},
            "XAI": {"m": {"prompt": 1}},
        }
    )
    assert conversion.models == {"x-ai": {"n": {"prompt": "1"}}}
    assert len(conversion.refused) == 2


def test_an_implausible_magnitude_is_kept_and_warned_of() -> None:
    conversion = converted({"a": {"m": {"prompt": "0.0000025"}, "n": {"prompt": "2.5"}}})
    assert conversion.count == 2
    assert conversion.warnings == ["a/m.prompt: 0.0000025 is implausible; is the unit right?"]


def test_a_file_that_declares_another_unit_is_not_converted() -> None:
    with pytest.raises(ManualFileError, match="_metadata: states the unit per_token of its own"):
        converted({"_metadata": {"unit": "per_token"}, "a": {"m": {"prompt": 1}}})


@pytest.mark.parametrize(
    ("metadata", "updated"),
    [
        ({"last_updated": "2025-10-01"}, "2025-10-01"),
        ({"updated": "2031-01-01"}, None),
        ({"updated": "soon"}, None),
        ({}, None),
    ],
)
def test_the_date_that_the_file_states_is_kept(
    metadata: dict[str, Any], updated: str | None
) -> None:
    assert converted({"_metadata": metadata}).updated == updated


LEAVES = st.sampled_from(
    [0, 1, "0", "0.25", "-1", "NaN", "x", None, True, "per_1m_tokens", "per_token", "USD", "EUR"]
)
ENTRIES = st.dictionaries(
    st.sampled_from(["prompt", "completion", "request", "image", "unit", "free", "currency", "x"]),
    LEAVES,
)
FILES = st.dictionaries(
    st.sampled_from(["a", "b", "xai", "x-ai", "", "_c"]),
    LEAVES | st.dictionaries(st.sampled_from(["m", "n", "", "_x"]), ENTRIES | LEAVES),
)


@given(FILES)
def test_what_comes_out_is_always_a_valid_file(document: dict[str, Any]) -> None:
    text = json.dumps(converted(document).document("per_1m_tokens"))
    read_manual_file(text.encode(), "file", NOW, NOW)


def test_the_command_writes_the_file_and_lists_what_it_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(
        '{"a": {"m": {"prompt": 0.1, "request": "0"}, "z": {"prompt": "0"}},'
        ' "_metadata": {"last_updated": "2025-10-01", "description": "by hand"}}'
    )
    arguments = ["import-manual", str(old), "--unit", "per_1k_tokens", "--output", str(new)]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "refused: a/m.request: zero is no price, left out",
        "refused: a/z.prompt: zero is no price, left out",
        "refused: a/z: no price is left",
        "1 models converted, 3 refusals",
    ]
    assert json.loads(new.read_bytes()) == {
        "_metadata": {"unit": "per_1k_tokens", "updated": "2025-10-01"},
        "a": {"m": {"prompt": "0.1"}},
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.json", "old.json"]
    assert main(["import-manual", str(new), "--unit", "per_1k_tokens"]) == 0
    assert capsys.readouterr().out == new.read_text()


def test_the_command_dates_prices_by_the_old_file_if_that_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.json"
    old.write_text('{"a": {"m": {"prompt": 1}}}')
    os.utime(old, (1_700_000_000, 1_700_000_000))
    assert main(["import-manual", str(old), "--unit", "per_1m_tokens"]) == 0
    assert json.loads(capsys.readouterr().out)["_metadata"]["updated"] == "2023-11-14"


@pytest.mark.parametrize(
    "text", ['{"a": {"m": {"prompt": 0}}}', "{}", "[]", "{", '{"a": 1, "a": 2}']
)
def test_the_command_fails_where_nothing_could_be_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(text)
    arguments = ["import-manual", str(old), "--unit", "per_token", "--output", str(new)]
    assert main(arguments) == 1
    assert capsys.readouterr().err
    assert not new.exists()


def test_the_command_says_in_one_line_that_a_file_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import-manual", str(tmp_path / "no"), "--unit", "per_token"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_unit_is_never_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["import-manual", str(tmp_path / "old.json")])
    assert "--unit" in capsys.readouterr().err
