"""What integration tests share: one embedded Postgres, databases in it, a feed, servers."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pricing_server.cli import migrations_directory
from pricing_server.postgres.embedded.embedded_postgres import embedded_postgres
from pricing_server.postgres.maintenance.migrations import apply_migrations
from tests.integration._database import copied_database, create_database
from tests.integration._feed import Feed, serve_feed
from tests.integration._grpcurl import Grpcurl, find_grpcurl
from tests.integration._postgres import scratch_directory
from tests.integration._server import (
    ADMIN_TOKEN,
    Server,
    ServerProcess,
    StartProcess,
    in_process_server,
    server_process,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever is in this directory is an integration test."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """A Postgres for all tests; the conninfo of a database that none of them uses."""
    with scratch_directory() as scratch, embedded_postgres(scratch) as conninfo:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            # Copies of databases are made and dropped all the time, and none has to last.
            connection.execute("ALTER SYSTEM SET fsync = off")
            # Planning with statistics scans indexes, too, which would be counted as look-ups.
            connection.execute("ALTER SYSTEM SET autovacuum = off")
            connection.execute("SELECT pg_reload_conf()")
        cluster = make_conninfo(conninfo, dbname="postgres")
        yield cluster
        try:
            psycopg.connect(cluster).close()
        except psycopg.OperationalError as error:
            log = (scratch / "postgres.log").read_text(errors="replace")
            raise AssertionError(f"something ended the tests' Postgres: {log[-2000:]}") from error


@pytest.fixture(scope="session")
def empty_template(cluster: str) -> str:
    """The name of a database with the schema and nothing else."""
    create_database(cluster, "empty")
    apply_migrations(make_conninfo(cluster, dbname="empty"), migrations_directory())
    return "empty"


@pytest.fixture(scope="session")
def catalogue_template(cluster: str) -> str:
    """The name of a database that a first start of the real server has filled."""
    create_database(cluster, "catalogue")
    with scratch_directory() as scratch:
        url = make_conninfo(cluster, dbname="catalogue")
        with server_process(scratch, PRICING_DATABASE_URL=url) as process:
            assert process.address
    with psycopg.connect(cluster, autocommit=True) as connection:
        # A copy is made only while nobody is connected to the original.
        connection.execute("ALTER DATABASE catalogue ALLOW_CONNECTIONS false")
    return "catalogue"


@pytest.fixture
def database(cluster: str, catalogue_template: str) -> Iterator[str]:
    """A database of the test's own with the bundled catalogue in it; its conninfo."""
    with copied_database(cluster, catalogue_template) as conninfo:
        yield conninfo


@pytest.fixture
def empty_database(cluster: str, empty_template: str) -> Iterator[str]:
    """A database of the test's own with the schema only; its conninfo."""
    with copied_database(cluster, empty_template) as conninfo:
        yield conninfo


@pytest.fixture
def feed() -> Iterator[Feed]:
    """A price API that answers what the test sets."""
    with serve_feed() as serving:
        yield serving


@pytest.fixture
async def server(database: str, feed: Feed) -> AsyncIterator[Server]:
    """A server in this process, on a database of its own, whose OpenRouter is the feed."""
    async with in_process_server(database, feed) as running:
        yield running


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that the account of an embedded server reaches, too."""
    with scratch_directory() as directory:
        yield directory


@pytest.fixture
def start_process(scratch: Path) -> Iterator[StartProcess]:
    """Starts `pricing-server serve` with settings by name; all are killed at the end."""
    with ExitStack() as stack:

        def start(**environment: str) -> ServerProcess:
            process: AbstractContextManager[ServerProcess] = server_process(scratch, **environment)
            return stack.enter_context(process)

        yield start


@pytest.fixture(scope="session")
def grpcurl() -> Grpcurl:
    """The real grpcurl."""
    return find_grpcurl()


@pytest.fixture(scope="session")
def public_server(cluster: str, catalogue_template: str) -> Iterator[ServerProcess]:
    """The command with an admin token on the bundled catalogue, for tests that change nothing."""
    with (
        copied_database(cluster, catalogue_template) as conninfo,
        scratch_directory() as scratch,
        server_process(
            scratch, PRICING_DATABASE_URL=conninfo, PRICING_ADMIN_TOKEN=ADMIN_TOKEN
        ) as process,
    ):
        assert process.address
        yield process
