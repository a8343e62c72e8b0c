"""The operator's settings: environment variables, then `pricing.toml`, then defaults.

A setting `PRICING_LISTEN` is `listen` in the file. A setting that makes no sense
raises SettingsError with one line that names it.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from pricing_server.providers import SOURCES
from pricing_server.providers.source import Source

SETTINGS_FILE: Final = Path("pricing.toml")
PREFIX: Final = "PRICING_"


_PER_SOURCE: Final[Mapping[str, Callable[[Source], str]]] = {
    "source_urls": lambda source: source.url_variable,
    "source_keys": lambda source: source.key_variable,
}


class SettingsError(Exception):
    """A setting makes no sense. The message is one line that names it."""


class Settings(BaseSettings):
    """All settings of a server, checked. Secrets do not show in `repr`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, toml_file=SETTINGS_FILE, extra="forbid", frozen=True
    )

    listen: str = "127.0.0.1:50051"
    """host:port; port 0 takes a free one. Not loopback only with an admin token."""
    database_url: SecretStr | None = None
    """A Postgres to use instead of the embedded one: a URL or a libpq conninfo."""
    data_dir: Path = Path(".data")
    """Where the embedded Postgres keeps its data."""
    manual_pricing_file: Path | None = None
    """Prices by hand; read by the manual layer of the fallback chain."""
    cache_ttl_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300
    cache_size: Annotated[int, Field(ge=1, le=10_000_000)] = 20_000
    database_connections: Annotated[int, Field(ge=1, le=1_000)] = 4
    admin_token: SecretStr | None = None
    source_urls: Mapping[str, str] = {}
    """By source: replaces the declared endpoint (`PRICING_<SLUG>_URL`)."""
    source_keys: Mapping[str, SecretStr] = {}
    """By source: the API key (`PRICING_<SLUG>_API_KEY`)."""

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, listen: str) -> str:
        host, port = split_address(listen)
        if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise ValueError("is not host:port")
        return listen

    @field_validator("admin_token")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None:
            text = token.get_secret_value()
            if len(text) < 8 or not text.isascii() or not text.isprintable() or " " in text:
                raise ValueError("needs at least 8 printable ASCII characters without blanks")
        return token

    @field_validator("source_urls")
    @classmethod
    def _check_urls(cls, urls: Mapping[str, str]) -> Mapping[str, str]:
        for slug, url in urls.items():
            if slug not in SOURCES:
                raise ValueError(f"names the unknown source {slug}")
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{SOURCES[slug].url_variable}: is not an http or https address")
        return urls

    @model_validator(mode="before")
    @classmethod
    def _collect_per_source(cls, values: dict[str, Any]) -> dict[str, Any]:
        """`openrouter_url` and `openrouter_api_key` in the file, as in the environment."""
        values = dict(values)
        for field, name_of in _PER_SOURCE.items():
            for slug, source in SOURCES.items():
                name = name_of(source).removeprefix(PREFIX).lower()
                if name in values:
                    values[field] = {slug: values.pop(name)} | dict(values.get(field, {}))
        return values

    @model_validator(mode="after")
    def _check_open_server(self) -> Settings:
        if self.admin_token is None and not is_loopback(split_address(self.listen)[0]):
            raise ValueError(
                "PRICING_LISTEN: is not a loopback address: set PRICING_ADMIN_TOKEN first, "
                "without it anyone who reaches the server is an admin"
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

    def url_of(self, source: Source) -> str | None:
        """Where to fetch a source from: the setting, else the declared endpoint."""
        return self.source_urls.get(source.slug, source.endpoint)

    def key_of(self, source: Source) -> str | None:
        """The API key of a source, if one is set."""
        key = self.source_keys.get(source.slug)
        return key.get_secret_value() if key else None


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read and check the settings. Raises SettingsError."""
    try:
        return Settings(**_per_source(environment))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        if not message.startswith(PREFIX):
            name = "_".join(str(part) for part in first["loc"])
            message = f"{PREFIX}{name.upper()}: {message}"
        raise SettingsError(message) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{SETTINGS_FILE}: {error}") from None


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


def _per_source(environment: Mapping[str, str]) -> dict[str, Any]:
    """The variables that each source has of its own, by field; an empty one is not set."""
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
