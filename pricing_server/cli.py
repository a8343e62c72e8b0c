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

from pricing_server.app import running_server
from pricing_server.grpc_api.server import CannotListen
from pricing_server.log import configure_logging
from pricing_server.lookup.layers.price_file_format import UNITS
from pricing_server.lookup.layers.price_file_import import import_manual
from pricing_server.postgres.connection import is_conninfo
from pricing_server.postgres.embedded.embedded_postgres import embedded_postgres
from pricing_server.postgres.embedded.host import EmbeddedPostgresError
from pricing_server.postgres.maintenance.migrations import MigrationError, apply_migrations
from pricing_server.postgres.maintenance.verify import NotAPriceTable, verify
from pricing_server.settings import Settings, SettingsError, load_settings, unknown_variables

PACKAGE = Path(__file__).parent

log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the process exit code. A fault that the operator can fix is one line."""
    parser = argparse.ArgumentParser(
        prog="pricing-server", description="What does a model cost, at this seller?"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="apply migrations, then serve until stopped")
    commands.add_parser("migrate", help="apply migrations and exit")
    commands.add_parser("verify", help="check the price table against its history and exit")
    importing = commands.add_parser(
        "import-manual", help="convert an old file of manual prices, once, and name its faults"
    )
    importing.add_argument("file", type=Path, help="the old file")
    importing.add_argument(
        "--unit", required=True, choices=UNITS, help="what its prompt and completion are per"
    )
    importing.add_argument("--output", type=Path, help="where to write; else standard output")
    options = parser.parse_args(arguments)
    command = options.command
    if command == "import-manual":
        return import_manual(options.file, options.unit, options.output)
    configure_logging()
    try:
        settings = load_settings()
        for name in unknown_variables():
            log.warning("setting.unknown", variable=name)
        with _stopped_by_signals(), _database(settings) as conninfo:
            if command == "verify":
                return _verify(settings.logins(conninfo).reader)
            if command == "serve":
                asyncio.run(_serve(settings, conninfo))
            elif conninfo is None:
                raise SettingsError("PRICING_DATABASE_URL: is missing; the owner migrates")
            else:
                for applied in apply_migrations(conninfo, migrations_directory()):
                    print(f"applied {applied}")
    except KeyboardInterrupt:
        return 0
    except (
        SettingsError,
        EmbeddedPostgresError,
        MigrationError,
        CannotListen,
        NotAPriceTable,
    ) as error:
        print(f"pricing-server: {error}", file=sys.stderr)
        return 1
    return 0


def migrations_directory() -> Path:
    """Where the migrations are: in an installed package, or beside it in a checkout."""
    installed = PACKAGE / "migrations"
    return installed if installed.is_dir() else PACKAGE.parent / "migrations"


def _verify(conninfo: str) -> int:
    code = 0
    for check in verify(conninfo):
        print(check, flush=True)
        code = 1 if check.broken else code
    return code


async def _serve(settings: Settings, conninfo: str | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running_server(settings, conninfo, migrations_directory()) as server:
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
def _database(settings: Settings) -> Iterator[str | None]:
    """The owner's conninfo: of the operator's Postgres, or of the embedded one, which runs
    as long as the context. None if only the other logins are set."""
    urls = {
        name: url.get_secret_value()
        for name in ("database_url", "database_reader_url", "database_writer_url")
        if (url := getattr(settings, name)) is not None
    }
    for name, url in urls.items():
        if not is_conninfo(url):
            raise SettingsError(f"PRICING_{name.upper()} is not a Postgres URL or conninfo")
    if urls:
        yield urls.get("database_url")
    else:
        with embedded_postgres(settings.data_dir) as conninfo:
            yield conninfo


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM ends a start or a stop as Ctrl-C does, so that it cleans up."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
