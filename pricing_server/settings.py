"""The operator's settings: environment variables, then `pricing.toml`, then defaults.

A setting `PRICING_LISTEN` is `listen` in the file. A setting that makes no sense
raises SettingsError with one line that names it.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import pydantic_settings
from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from pricing_server.domain.source import Source
from pricing_server.providers import SOURCES
from pricing_server.runtime.fault_points import FaultPoint
from pricing_server.scheduler.interval import parse_interval

SETTINGS_FILE: Final = Path("pricing.toml")
PREFIX: Final = "PRICING_"
SHORTEST_SYNC_LOG_DAYS: Final = 31


_PER_SOURCE: Final[Mapping[str, Callable[[Source], str]]] = {
    "source_urls": lambda source: source.url_variable,
    "source_keys": lambda source: source.key_variable,
    "source_sync_intervals": lambda source: source.sync_interval_variable,
}


_PORT = re.compile(r"[0-9]{1,5}")
_NOT_BEARER = "has characters that are not printable ASCII, or blanks"


class SettingsError(Exception):
    """A setting makes no sense. The message is one line that names it."""


@dataclass(frozen=True, slots=True)
class Logins:
    """Who the server is to the database: URLs or conninfos."""

    owner: str | None
    """Applies migrations; None if somebody else does."""
    reader: str
    """Looks up, as pricing_reader."""
    writer: str
    """Syncs, as pricing_writer."""


class Settings(BaseSettings):
    """All settings of a server, checked. Secrets do not show in `repr`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, toml_file=SETTINGS_FILE, extra="forbid", frozen=True
    )

    listen: str = "127.0.0.1:50051"
    """host:port; port 0 takes a free one. Not loopback only with an admin token."""
    database_url: SecretStr | None = None
    """A Postgres to use instead of the embedded one: a URL or a libpq conninfo."""
    database_reader_url: SecretStr | None = None
    """A login for look-ups, a member of pricing_reader; else `database_url` acts as it."""
    database_writer_url: SecretStr | None = None
    """A login for syncs, a member of pricing_writer; else `database_url` acts as it."""
    data_dir: Path = Path(".data")
    """Where the embedded Postgres keeps its data."""
    manual_pricing_file: Path | None = None
    """Prices by hand; read by the manual layer of the fallback chain."""
    cache_ttl_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300
    cache_size: Annotated[int, Field(ge=1, le=10_000_000)] = 20_000
    database_connections: Annotated[int, Field(ge=1, le=1_000)] = 4
    max_streams: Annotated[int, Field(ge=1, le=1_000_000)] = 2_000
    """Change streams at a time, apart from other calls."""
    stream_horizon: Annotated[int, Field(ge=0)] = 1_000_000
    """How many revisions back a change stream may begin; history is never pruned."""
    stream_buffer_bytes: Annotated[int, Field(ge=0, le=2**40)] = 32 * 1024 * 1024
    """How much of the newest revisions is kept in memory for all streams."""
    stream_write_seconds: Annotated[float, Field(gt=0, le=3_600)] = 30
    """How long one message of a stream may wait for its reader."""
    admin_token: SecretStr | None = None
    sync_interval: Annotated[timedelta, BeforeValidator(parse_interval)] = timedelta(hours=6)
    """How often sources are synced automatically; zero: never. As text "6h" or "off"."""
    source_sync_intervals: Mapping[str, Annotated[timedelta, BeforeValidator(parse_interval)]] = {}
    """By source: beats `sync_interval` (`PRICING_<SLUG>_SYNC_INTERVAL`)."""
    sync_log_days: Annotated[int, Field(ge=0, le=36_500)] = 90
    """How long runs are kept in the log; 0: for ever."""
    alert_webhook_url: SecretStr | None = None
    """Receives alerts. It is a secret, since whoever knows it can post there."""
    alert_after_failures: Annotated[int, Field(ge=1, le=1_000)] = 3
    """After how many failed syncs of a source in a row there is an incident."""
    source_urls: Mapping[str, str] = {}
    """By source: replaces the declared endpoint (`PRICING_<SLUG>_URL`)."""
    source_keys: Mapping[str, SecretStr] = {}
    """By source: the API key (`PRICING_<SLUG>_API_KEY`)."""

    fault_point: FaultPoint | None = None
    """For tests only: the step of a sync at which the process kills itself."""

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, listen: str) -> str:
        host, port = split_address(listen)
        is_bare_ipv6 = ":" in host and not listen.startswith("[")
        if not host or is_bare_ipv6 or not _PORT.fullmatch(port) or int(port) > 65_535:
            raise ValueError("is not host:port or [host]:port")
        return listen

    @field_validator("data_dir", "manual_pricing_file", mode="before")
    @classmethod
    def _check_path(cls, path: object) -> object:
        # To Python, an empty path is the working directory.
        if isinstance(path, str) and (not path.strip() or "\0" in path):
            raise ValueError("is empty or has a null character")
        return path

    @field_validator("admin_token")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None:
            text = token.get_secret_value()
            if len(text) < 8 or not _is_bearer_token(text):
                raise ValueError(f"is under 8 characters or {_NOT_BEARER}")
        return token

    @field_validator("sync_log_days")
    @classmethod
    def _check_days(cls, days: int) -> int:
        if 0 < days < SHORTEST_SYNC_LOG_DAYS:
            raise ValueError(
                f"is under {SHORTEST_SYNC_LOG_DAYS}, so far back success rates look; 0: for ever"
            )
        return days

    @field_validator("alert_webhook_url")
    @classmethod
    def _check_webhook(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not _is_http(url.get_secret_value()):
            raise ValueError("is not an http or https address without user")
        return url

    @field_validator("source_sync_intervals")
    @classmethod
    def _check_intervals(cls, intervals: Mapping[str, timedelta]) -> Mapping[str, timedelta]:
        for slug in intervals:
            if slug not in SOURCES:
                raise ValueError(f"names the unknown source {slug}")
        return intervals

    @field_validator("source_urls")
    @classmethod
    def _check_urls(cls, urls: Mapping[str, str]) -> Mapping[str, str]:
        for slug, url in urls.items():
            if slug not in SOURCES:
                raise ValueError(f"names the unknown source {slug}")
            if not _is_http(url):
                raise ValueError(
                    f"{SOURCES[slug].url_variable}: is not an http or https address without user"
                )
        return urls

    @field_validator("source_keys")
    @classmethod
    def _check_keys(cls, keys: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for slug, key in keys.items():
            if slug not in SOURCES:
                raise ValueError(f"names the unknown source {slug}")
            if not _is_bearer_token(key.get_secret_value()):
                raise ValueError(f"{SOURCES[slug].key_variable}: {_NOT_BEARER}")
        return keys

    @model_validator(mode="before")
    @classmethod
    def _collect_per_source(cls, values: dict[str, Any]) -> dict[str, Any]:
        """`openrouter_url` and `openrouter_api_key` in the file, as in the environment."""
        values = dict(values)
        for field, name_of in _PER_SOURCE.items():
            for slug, source in SOURCES.items():
                name = name_of(source).removeprefix(PREFIX).lower()
                if name not in values:
                    continue
                value, others = values.pop(name), values.get(field, {})
                if isinstance(others, Mapping):
                    values[field] = {slug: value} | dict(others)
                # Else `field` is no mapping, and refused as such.
        return values

    @model_validator(mode="after")
    def _check_open_server(self) -> Settings:
        if self.admin_token is None and not is_loopback(split_address(self.listen)[0]):
            raise ValueError(
                "PRICING_LISTEN: is not a loopback address: set PRICING_ADMIN_TOKEN first, "
                "without it anyone who reaches the server is an admin"
            )
        return self

    @model_validator(mode="after")
    def _check_logins(self) -> Settings:
        if self.database_url is None:
            reader, writer = self.database_reader_url, self.database_writer_url
            if (reader is None) != (writer is None):
                missing = "READER" if reader is None else "WRITER"
                raise ValueError(
                    f"PRICING_DATABASE_{missing}_URL: is missing, and so is PRICING_DATABASE_URL"
                )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment beats the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    def logins(self, owner: str | None) -> Logins:
        """How to connect; the owner's login stands in for missing ones."""

        def chosen(url: SecretStr | None) -> str:
            conninfo = url.get_secret_value() if url else owner
            assert conninfo is not None, "_check_logins makes sure of it"
            return conninfo

        return Logins(owner, chosen(self.database_reader_url), chosen(self.database_writer_url))

    def url_of(self, source: Source) -> str | None:
        """Where to fetch a source from: the setting, else the declared endpoint."""
        return self.source_urls.get(source.slug, source.endpoint)

    def key_of(self, source: Source) -> str | None:
        """The API key of a source, if one is set."""
        key = self.source_keys.get(source.slug)
        return key.get_secret_value() if key else None

    def interval_of(self, source: Source) -> timedelta | None:
        """How often a source is synced automatically; None: never."""
        return self.source_sync_intervals.get(source.slug, self.sync_interval) or None


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read and check the settings. Raises SettingsError."""
    try:
        return Settings(**_per_source(environment))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        field, *inside = [str(part) for part in first["loc"]] or [""]
        if field in _PER_SOURCE and inside and inside[0] in SOURCES:
            message = f"{_PER_SOURCE[field](SOURCES[inside[0]])}: {message}"
        elif not message.startswith(PREFIX):
            message = f"{PREFIX}{field.upper()}: {message}"
        raise SettingsError(_one_line(message)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{SETTINGS_FILE}: {_one_line(error)}") from None
    except pydantic_settings.exceptions.SettingsError as error:
        raise SettingsError(f"{PREFIX}*: {_one_line(error)}") from None


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Variables with our prefix that are not settings, and so probably misspelt."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    known |= {name_of(source) for name_of in _PER_SOURCE.values() for source in SOURCES.values()}
    known -= {f"{PREFIX}{field.upper()}" for field in _PER_SOURCE}
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in known)


def split_address(listen: str) -> tuple[str, str]:
    """Host and port of "host:port" or "[host]:port"."""
    host, _, port = listen.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), port


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for one that is out of range
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc


def _is_bearer_token(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


def _per_source(environment: Mapping[str, str]) -> dict[str, Any]:
    """The variables of single sources, by field; an empty variable counts as not set."""
    return {
        field: found
        for field, name_of in _PER_SOURCE.items()
        if (
            found := {
                slug: environment[name_of(source)]
                for slug, source in SOURCES.items()
                if environment.get(name_of(source))
            }
        )
    }
