"""A setting that makes no sense stops the start with one line that names it."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from pricing_server.postgres.connection import is_conninfo
from pricing_server.providers import SOURCES
from pricing_server.settings import (
    Settings,
    SettingsError,
    is_loopback,
    load_settings,
    split_address,
    unknown_variables,
)

OPENROUTER, BUNDLED = SOURCES["openrouter"], SOURCES["genai-prices"]
TOKEN = "correct-horse-battery"


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without `pricing.toml`, and no settings in the environment."""
    for name in os.environ:
        if name.upper().startswith("PRICING_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


def write_file(text: str | bytes) -> None:
    Path("pricing.toml").write_bytes(text.encode() if isinstance(text, str) else text)


def refusal() -> str:
    """The one line that a start with these settings ends with."""
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert message.isprintable()
    return message


# Values.


def test_without_any_setting_the_server_is_open_on_loopback_only() -> None:
    settings = load_settings()
    assert settings.listen == "127.0.0.1:50051"
    assert settings.admin_token is None
    assert settings.database_url is None
    assert settings.url_of(OPENROUTER) == OPENROUTER.endpoint
    assert settings.url_of(BUNDLED) is None
    assert settings.key_of(OPENROUTER) is None


def test_every_name_of_the_contract_is_read(variables: pytest.MonkeyPatch) -> None:
    for name, value in {
        "LISTEN": "0.0.0.0:0",
        "DATABASE_URL": "postgresql://localhost/prices",
        "DATA_DIR": "/var/lib/prices",
        "OPENROUTER_URL": "http://127.0.0.1:8080/models?x=1",
        "OPENROUTER_API_KEY": "sk-or-1",
        "GENAI_PRICES_URL": "https://example.org/prices.json",
        "MANUAL_PRICING_FILE": "prices.yaml",
        "CACHE_TTL_SECONDS": "12.5",
        "ADMIN_TOKEN": TOKEN,
    }.items():
        variables.setenv(f"PRICING_{name}", value)
    settings = load_settings()
    assert settings.listen == "0.0.0.0:0"
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://localhost/prices"
    assert settings.data_dir == Path("/var/lib/prices")
    assert settings.url_of(OPENROUTER) == "http://127.0.0.1:8080/models?x=1"
    assert settings.key_of(OPENROUTER) == "sk-or-1"
    assert settings.url_of(BUNDLED) == "https://example.org/prices.json"
    assert settings.key_of(BUNDLED) is None
    assert settings.manual_pricing_file == Path("prices.yaml")
    assert settings.cache_ttl_seconds == 12.5
    assert settings.admin_token is not None
    assert settings.admin_token.get_secret_value() == TOKEN


def test_the_file_is_read_and_the_environment_beats_it(variables: pytest.MonkeyPatch) -> None:
    write_file('listen = "127.0.0.1:1"\ncache_ttl_seconds = 7\ndata_dir = "here"\n')
    variables.setenv("PRICING_LISTEN", "127.0.0.1:2")
    settings = load_settings()
    assert settings.listen == "127.0.0.1:2"
    assert settings.cache_ttl_seconds == 7
    assert settings.data_dir == Path("here")


def test_the_settings_of_a_source_have_the_same_names_in_the_file(
    variables: pytest.MonkeyPatch,
) -> None:
    write_file(
        'openrouter_url = "http://127.0.0.1:1/"\n'
        'openrouter_api_key = "from-file"\n'
        'genai_prices_url = "http://127.0.0.1:2/"\n'
    )
    variables.setenv("PRICING_OPENROUTER_URL", "http://127.0.0.1:3/")
    settings = load_settings()
    assert settings.url_of(OPENROUTER) == "http://127.0.0.1:3/"
    assert settings.key_of(OPENROUTER) == "from-file"
    assert settings.url_of(BUNDLED) == "http://127.0.0.1:2/"


def test_an_empty_variable_of_a_source_is_not_set(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("PRICING_OPENROUTER_URL", "")
    variables.setenv("PRICING_OPENROUTER_API_KEY", "")
    settings = load_settings()
    assert settings.url_of(OPENROUTER) == OPENROUTER.endpoint
    assert settings.key_of(OPENROUTER) is None


# What makes no sense.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("LISTEN", value)
            for value in (
                "",
                "50051",
                "localhost",
                ":50051",
                "127.0.0.1:",
                "127.0.0.1:http",
                "127.0.0.1:-1",
                "127.0.0.1:65536",
                "127.0.0.1:\u0663",
                "127.0.0.1:" + "9" * 5_000,
                "[::1]",
                "::1",
                "::1:50051",
                "[]:50051",
            )
        ),
        *(("CACHE_TTL_SECONDS", value) for value in ("", "0", "-1", "nan", "inf", "soon", "1e9")),
        *(("CACHE_SIZE", value) for value in ("0", "-5", "1.5", "many", "1" * 30)),
        *(("DATABASE_CONNECTIONS", value) for value in ("0", "1001", "four")),
        *(
            ("ADMIN_TOKEN", value)
            for value in ("", "short", "has a blank inside", "tab\tinside!", "ünprintable")
        ),
        *(
            ("OPENROUTER_URL", value)
            for value in (
                "openrouter.ai/api",
                "ftp://127.0.0.1/",
                "file:///etc/passwd",
                "https://",
                "https:///models",
                "http://[::1/",
                "http://127.0.0.1:99999/",
                "http://user:secret-word@127.0.0.1/",
                "nonsense",
            )
        ),
        *(("DATA_DIR", value) for value in ("", " ")),
        ("MANUAL_PRICING_FILE", ""),
        ("GENAI_PRICES_URL", "nonsense"),
        ("OPENROUTER_API_KEY", "two secret-word"),
    ],
    ids=lambda value: ascii(value)[1:30],
)
def test_a_value_without_sense_stops_the_start_with_one_line_that_names_it(
    variables: pytest.MonkeyPatch, name: str, value: str
) -> None:
    variables.setenv(f"PRICING_{name}", value)
    message = refusal()
    assert message.startswith(f"PRICING_{name}: ")
    assert len(message) < 200
    assert "secret-word" not in message


@pytest.mark.parametrize("token", ["short", "has a blank inside", "pässword-pässword"])
def test_a_refused_token_is_not_repeated(variables: pytest.MonkeyPatch, token: str) -> None:
    variables.setenv("PRICING_ADMIN_TOKEN", token)
    assert token not in refusal()


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("listen = 5\n", "PRICING_LISTEN: "),
        ('cache_ttl_seconds = "soon"\n', "PRICING_CACHE_TTL_SECONDS: "),
        ('listn = "127.0.0.1:1"\n', "PRICING_LISTN: "),
        ('openrouter_url = "nonsense"\n', "PRICING_OPENROUTER_URL: "),
        ("openrouter_url = 5\n", "PRICING_OPENROUTER_URL: "),
        ("openrouter_api_key = 5\n", "PRICING_OPENROUTER_API_KEY: "),
        ('data_dir = ""\n', "PRICING_DATA_DIR: "),
        ('data_dir = "a\\u0000b"\n', "PRICING_DATA_DIR: "),
        ('source_urls = 5\nopenrouter_url = "http://127.0.0.1/"\n', "PRICING_SOURCE_URLS: "),
        ('source_urls = ["a"]\nopenrouter_url = "http://127.0.0.1/"\n', "PRICING_SOURCE_URLS: "),
        ('source_keys = "ab"\nopenrouter_api_key = "a-key"\n', "PRICING_SOURCE_KEYS: "),
        ('nobody_url = "http://127.0.0.1/"\n', "PRICING_NOBODY_URL: "),
        ("listen 127.0.0.1:1\n", "pricing.toml: "),
        ("[[[\n", "pricing.toml: "),
        (b'data_dir = "caf\xe9"\n', "pricing.toml: "),
        (b"\x00\xff", "pricing.toml: "),
    ],
    ids=lambda value: ascii(value)[1:30],
)
def test_a_file_without_sense_stops_the_start_with_one_line_that_names_it(
    text: str | bytes, start: str
) -> None:
    write_file(text)
    assert refusal().startswith(start)


@pytest.mark.parametrize("name", ["SOURCE_URLS", "SOURCE_KEYS"])
@pytest.mark.parametrize(
    "value", ["x", "[]", '{"nobody": "http://127.0.0.1/"}', '{"openrouter": 1}']
)
def test_a_variable_that_only_looks_like_a_setting_ends_in_one_line_too(
    variables: pytest.MonkeyPatch, name: str, value: str
) -> None:
    variables.setenv(f"PRICING_{name}", value)
    try:
        load_settings()
    except SettingsError as error:
        message = str(error)
    else:
        return  # Not read at all, which is as well.
    assert message.isprintable()
    assert message.startswith("PRICING_")


@pytest.mark.parametrize(
    ("text", "usable"),
    [
        ("postgresql://prices:secret@db.example.org:5432/prices?sslmode=require", True),
        ("postgres://localhost/prices", True),
        ("host=/run/postgresql dbname=prices", True),
        ("", False),
        ("nonsense", False),
        ("http://localhost/prices", False),
        ("postgresql://localhost/?no_such_option=1", False),
    ],
)
def test_a_database_url_is_one_that_postgres_understands(text: str, usable: bool) -> None:
    assert is_conninfo(text) is usable


# What happens by itself.


def test_without_any_setting_every_source_is_synced_every_six_hours() -> None:
    settings = load_settings()
    assert {settings.interval_of(source) for source in SOURCES.values()} == {timedelta(hours=6)}
    assert (settings.sync_log_days, settings.alert_after_failures) == (90, 3)
    assert settings.alert_webhook_url is None


@pytest.mark.parametrize(
    ("general", "own", "interval"),
    [
        ("90s", None, timedelta(seconds=90)),
        ("30m", None, timedelta(minutes=30)),
        ("7d", None, timedelta(days=7)),
        ("off", None, None),
        ("0", None, None),
        ("off", "1h", timedelta(hours=1)),
        ("6h", "off", None),
        ("6h", "0", None),
        ("6h", "12h", timedelta(hours=12)),
    ],
)
def test_the_interval_of_a_source_is_its_own_else_that_of_all(
    variables: pytest.MonkeyPatch, general: str, own: str | None, interval: timedelta | None
) -> None:
    variables.setenv("PRICING_SYNC_INTERVAL", general)
    if own is not None:
        variables.setenv("PRICING_OPENROUTER_SYNC_INTERVAL", own)
    assert load_settings().interval_of(OPENROUTER) == interval
    assert unknown_variables() == []


def test_intervals_are_read_from_the_file() -> None:
    write_file('sync_interval = "off"\nopenrouter_sync_interval = "2h"\n')
    settings = load_settings()
    assert settings.interval_of(OPENROUTER) == timedelta(hours=2)
    assert settings.interval_of(SOURCES["novita"]) is None


@pytest.mark.parametrize("name", ["PRICING_SYNC_INTERVAL", "PRICING_OPENROUTER_SYNC_INTERVAL"])
@pytest.mark.parametrize(
    "text", ["6", "6 h", "-6h", "1.5h", "h", "367d", "99999999d", "PT6H", "6:00:00", "no"]
)
def test_an_interval_says_its_unit_and_makes_sense(
    variables: pytest.MonkeyPatch, name: str, text: str
) -> None:
    variables.setenv(name, text)
    assert refusal().startswith(f"{name}: ")


@pytest.mark.parametrize("days", ["30", "1", "-1", "ninety"])
def test_the_log_is_kept_for_as_long_as_success_rates_look_back(
    variables: pytest.MonkeyPatch, days: str
) -> None:
    variables.setenv("PRICING_SYNC_LOG_DAYS", days)
    assert refusal().startswith("PRICING_SYNC_LOG_DAYS: ")
    variables.setenv("PRICING_SYNC_LOG_DAYS", "0")
    assert load_settings().sync_log_days == 0


@pytest.mark.parametrize("url", ["s3cr3t", "ftp://h/s3cr3t", "https://u:p@h/s3cr3t", "http://"])
def test_a_webhook_that_is_none_is_refused_without_telling_it(
    variables: pytest.MonkeyPatch, url: str
) -> None:
    variables.setenv("PRICING_ALERT_WEBHOOK_URL", url)
    message = refusal()
    assert message.startswith("PRICING_ALERT_WEBHOOK_URL: ")
    assert "s3cr3t" not in message


# Who may call.


@pytest.mark.parametrize(
    "listen",
    [
        "0.0.0.0:50051",
        "[::]:50051",
        "192.168.1.7:50051",
        "[2001:db8::1]:50051",
        "[fe80::1]:50051",
        "example.org:50051",
        "localhost.example.org:50051",
        "*:50051",
        "unix:1",
    ],
)
def test_without_a_token_the_server_listens_nowhere_but_on_loopback(
    variables: pytest.MonkeyPatch, listen: str
) -> None:
    variables.setenv("PRICING_LISTEN", listen)
    message = refusal()
    assert message.startswith("PRICING_LISTEN: ")
    assert "PRICING_ADMIN_TOKEN" in message
    variables.setenv("PRICING_ADMIN_TOKEN", TOKEN)
    assert load_settings().listen == listen


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:0", "127.8.9.10:50051", "localhost:50051", "[::1]:50051"]
)
def test_loopback_needs_no_token(variables: pytest.MonkeyPatch, listen: str) -> None:
    variables.setenv("PRICING_LISTEN", listen)
    assert load_settings().listen == listen


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("127.0.0.1:50051", "127.0.0.1", "50051"),
        ("[::1]:50051", "::1", "50051"),
        ("[2001:db8::1]:0", "2001:db8::1", "0"),
        ("localhost:1", "localhost", "1"),
    ],
)
def test_an_address_is_split_at_its_port(listen: str, host: str, port: str) -> None:
    assert split_address(listen) == (host, port)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.", "127.0.0.1.nip.io"]
)
def test_what_is_not_surely_loopback_is_not(host: str) -> None:
    assert not is_loopback(host)


def test_no_secret_shows_in_the_settings(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("PRICING_ADMIN_TOKEN", TOKEN)
    variables.setenv("PRICING_OPENROUTER_API_KEY", "sk-or-secret")
    variables.setenv("PRICING_DATABASE_URL", "postgresql://prices:hunter22@localhost/prices")
    variables.setenv("PRICING_ALERT_WEBHOOK_URL", "https://hooks.test/T000/s3cr3t")
    settings = load_settings()
    for shown in (repr(settings), str(settings), settings.model_dump_json(), repr(vars(settings))):
        for secret in (TOKEN, "sk-or-secret", "hunter22", "s3cr3t"):
            assert secret not in shown


def test_settings_do_not_change_while_the_server_runs() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.listen = "0.0.0.0:1"
    assert isinstance(settings, Settings)
