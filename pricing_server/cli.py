"""The command `pricing-server`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

from pricing_server.app import CannotListen, running_server
from pricing_server.errors import DatabaseUnavailable
from pricing_server.log import configure_logging
from pricing_server.postgres.connection import is_conninfo
from pricing_server.postgres.embedded import EmbeddedPostgresError, embedded_postgres
from pricing_server.postgres.migrations import MigrationError, apply_migrations
from pricing_server.settings import Settings, SettingsError, load_settings

PACKAGE = Path(__file__).parent

log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the process exit code. Faults that the operator can mend are one line."""
    parser = argparse.ArgumentParser(
        prog="pricing-server", description="What does a model cost, at this seller?"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="apply migrations, then serve until stopped")
    commands.add_parser("migrate", help="apply migrations and exit")
    command = parser.parse_args(arguments).command
    configure_logging()
    try:
        settings = load_settings()
        with _stopped_by_signals(), _database(settings) as conninfo:
            for applied in apply_migrations(conninfo, migrations_directory()):
                log.info("migration.applied", file=applied)
            if command == "serve":
                asyncio.run(_serve(settings, conninfo))
    except KeyboardInterrupt:
        return 0
    except (
        SettingsError,
        EmbeddedPostgresError,
        MigrationError,
        DatabaseUnavailable,
        CannotListen,
    ) as error:
        print(f"pricing-server: {error}", file=sys.stderr)
        return 1
    return 0


def migrations_directory() -> Path:
    """Where the migrations are: in an installed package, or beside it in a checkout."""
    installed = PACKAGE / "migrations"
    return installed if installed.is_dir() else PACKAGE.parent / "migrations"


async def _serve(settings: Settings, conninfo: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def complain(message: str) -> None:
        log.error("start.incomplete", error=message)

    async with running_server(settings, conninfo, on_failure=complain) as server:
        print(f"serving on {server.address}", flush=True)
        print(
            "try: grpcurl -plaintext -d "
            '\'{"model_id": "gpt-4o", "provider": "openai"}\' '
            f"{server.address} llmpricing.v1.PricingService/GetPricing",
            flush=True,
        )
        await stop.wait()
        print("stopping", flush=True)


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    """The conninfo of the operator's Postgres, or of the embedded one, which runs meanwhile."""
    if settings.database_url is not None:
        conninfo = settings.database_url.get_secret_value()
        if not is_conninfo(conninfo):
            raise SettingsError("PRICING_DATABASE_URL is not a Postgres URL or conninfo")
        yield conninfo
    else:
        with embedded_postgres(settings.data_dir) as conninfo:
            yield conninfo


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM ends a start or a stop as Ctrl-C does, so that what was begun is undone."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
