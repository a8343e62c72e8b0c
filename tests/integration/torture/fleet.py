"""Three server processes on one Postgres, all of which can be broken."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import grpc
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from llmpricing.v1 import pricing_pb2_grpc
from tests.integration._breakable_postgres import LOGIN, Postgres, steady_port
from tests.integration._postgres import scratch_directory
from tests.integration._server import ServerProcess

DATABASE = "torture"
CONNECTIONS = 80

WRONG = frozenset({"request.broken", "feed.history_went_back", "epoch.not_checked"})
DEFECTS = frozenset({"feed.down", "head_watcher.down"})
"""Events that are an outage, unless they come with an exception."""

SERVERS: Mapping[str, Mapping[str, str]] = {
    # Small revisions are kept, large ones are read from the database.
    "forgetful": {"PRICING_STREAM_BUFFER_BYTES": "40000"},
    # Ends streams that do not read.
    "impatient": {"PRICING_STREAM_WRITE_SECONDS": "0.25"},
    # Refuses streams while the others serve none.
    "criteria": {"PRICING_MAX_STREAMS": "14"},
}


@dataclass(slots=True)
class Member:
    """One server, always at the same address."""

    name: str
    address: str
    directory: Path
    environment: Mapping[str, str]
    process: ServerProcess | None = None
    ended: list[ServerProcess] = field(default_factory=list)

    def start(self) -> None:
        """Waits until it serves."""
        self.process = ServerProcess(
            self.directory, {**self.environment, "PRICING_LISTEN": self.address}
        )
        assert self.process.address == self.address

    def stop(self, number: signal.Signals) -> int:
        """The exit code."""
        assert self.process is not None
        code = self.process.send(number)
        self.ended.append(self.process)
        self.process = None
        return code

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.process.pid, number)

    def broken(self) -> list[str]:
        """Defects of streams that it has logged: faults that no outage is to blame for."""
        processes = [*self.ended, *([self.process] if self.process else [])]
        return [
            f"{self.name}: {event}"
            for process in processes
            for event in process.events()
            if ("exception" in event and event["event"] in DEFECTS) or event["event"] in WRONG
        ]

    def dispose(self) -> None:
        for process in [*self.ended, *([self.process] if self.process else [])]:
            process.dispose()


@dataclass(frozen=True, slots=True)
class Fleet:
    postgres: Postgres
    members: Sequence[Member]

    @property
    def conninfo(self) -> str:
        return self.postgres.conninfo(DATABASE)

    def member(self, name: str) -> Member:
        return next(member for member in self.members if member.name == name)

    def any(self, dice: Random) -> Member:
        """One of them, running or not: a client does not know."""
        return dice.choice(self.members)


@asynccontextmanager
async def connected(
    member: Member, *options: tuple[str, int]
) -> AsyncIterator[pricing_pb2_grpc.PricingServiceAsyncStub]:
    """A client on a connection of its own."""
    own = ("grpc.use_local_subchannel_pool", 1)
    async with grpc.aio.insecure_channel(member.address, options=[own, *options]) as channel:
        yield pricing_pb2_grpc.PricingServiceStub(channel)


@contextmanager
def started_fleet(urls: Mapping[str, str]) -> Iterator[Fleet]:
    """A Postgres with an empty database, and three servers that fill it at the same time.

    `urls` are settings of where sources are fetched from. All is gone at the end.
    """
    with scratch_directory() as home, scratch_directory() as directory:
        postgres = Postgres(home, max_connections=CONNECTIONS)
        members: list[Member] = []
        try:
            postgres.start()
            postgres.accepting_at(superuser=True)
            _create_database(postgres)
            for name, environment in SERVERS.items():
                place = directory / name
                place.mkdir()
                settings = {**urls, "PRICING_DATABASE_URL": postgres.conninfo(DATABASE)}
                address = f"127.0.0.1:{steady_port()}"
                members.append(Member(name, address, place, {**settings, **environment}))
            yield Fleet(postgres, members)
        finally:
            for member in members:
                member.dispose()
            postgres.dispose()


async def start_all(fleet: Fleet) -> None:
    """Returns when all serve."""
    await asyncio.gather(*(asyncio.to_thread(member.start) for member in fleet.members))


def _create_database(postgres: Postgres) -> None:
    with psycopg.connect(postgres.conninfo(superuser=True), autocommit=True) as connection:
        password = conninfo_to_dict(postgres.conninfo())["password"]
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(
                sql.Identifier(LOGIN), sql.Literal(password)
            )
        )
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 OWNER {}").format(
                sql.Identifier(DATABASE), sql.Identifier(LOGIN)
            )
        )
