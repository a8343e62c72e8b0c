"""Writers in this process: sources of the torture's own, with runs that are rolled back.

Everything behind the fetch is the product's: the runner, the store, the plan.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from hashlib import sha256
from random import Random
from typing import Any

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState, Rate, RateCard
from llmpricing.units import parse_price
from pricing_server.domain.errors import DatabaseUnavailable, PricingError
from pricing_server.domain.fetch_errors import FetchError
from pricing_server.domain.fetch_request import FetchRequest
from pricing_server.domain.payload import Payload
from pricing_server.domain.source import CATALOGUE_RANK, OWN_API_RANK, Source, SourceEvidence
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.domain.sync_run import SyncRequest
from pricing_server.postgres.writers.listing_work import PostgresListingWork
from pricing_server.postgres.writers.sync_session import PostgresSyncSession
from pricing_server.postgres.writers.sync_store import PostgresSyncStore
from pricing_server.providers.listing_builder import ListingBuilder, fragment_text
from pricing_server.sync.runner import SyncRunner
from pricing_server.sync.sync_store import Named, StartedRun
from tests.integration.torture.shelf import Shelf

ROLLED_BACK = 0.06
HELD = 0.3
FAILED = 0.06
LONGEST_FETCH = 0.25


class Broken(Exception):
    """What a defect between the last statement and the commit would raise."""


def read(document: object, received_at: datetime) -> Listing:
    """See `Shelf.plain`."""
    listing = ListingBuilder()
    assert isinstance(document, list)
    for fields in document:
        listing.read_row(fields["provider"], fields["id"], partial(_listed, fields))
    return listing.build(received_at)


def _listed(fields: Mapping[str, str], model_id: str) -> ListedModel:
    price = parse_price(fields["price"]).scaleb(-8)
    rates = (
        Rate(Meter.INPUT_TOKENS, price),
        Rate(Meter.OUTPUT_TOKENS, price * Decimal(2)),
    )
    return ListedModel(
        provider=fields["provider"],
        model_id=model_id,
        card=RateCard.of(PriceState.PRICED, rates),
        fragment=fragment_text(fields),
    )


def _source(slug: str, provider: str | None, rank: int) -> Source:
    return Source(
        slug,
        slug.title(),
        rank,
        read,
        SourceEvidence.RECORDED,
        provider=provider,
        endpoint=f"local:{slug}",
        proven_units=True,  # What nothing else prices need not be approved first.
    )


SELLERS: Mapping[str, tuple[str, ...]] = {
    "acme-api": ("acme",),
    "bolt-api": ("bolt",),
    "crag-api": ("crag",),
    "dune-api": ("dune",),
    "guide-one": ("acme", "bolt", "echo"),
    "guide-two": ("acme", "crag", "echo", "flux"),
}
"""Two catalogues tell prices of the same models as the sellers' own APIs."""

SOURCES: Mapping[str, Source] = {
    slug: _source(slug, sellers[0], OWN_API_RANK)
    if len(sellers) == 1
    else _source(slug, None, CATALOGUE_RANK + len(sellers))
    for slug, sellers in SELLERS.items()
}


class Shelves:
    """The fetcher of all these sources: late, and now and then without an answer."""

    def __init__(self, dice: Mapping[str, Random]) -> None:
        self._dice = dice
        self._shelves = {slug: Shelf(dice[slug], SELLERS[slug], 40) for slug in SOURCES}

    async def fetch(self, request: FetchRequest) -> Payload:
        slug = request.url.removeprefix("local:")
        dice, shelf = self._dice[slug], self._shelves[slug]
        shelf.turn()
        document = shelf.plain()
        await asyncio.sleep(dice.uniform(0, LONGEST_FETCH))
        if dice.random() < FAILED:
            raise FetchError("the torture let it fail")
        digest = sha256(repr(document).encode()).hexdigest()
        return Payload(document, datetime.now(UTC), digest, request.url, 0)

    def url_of(self, source: Source) -> str | None:
        return source.endpoint

    def key_of(self, source: Source) -> str | None:
        return None


class _Session(PostgresSyncSession):
    dice: Random

    @asynccontextmanager
    async def _applying(
        self, run: StartedRun, named: Named | None
    ) -> AsyncIterator[PostgresListingWork]:
        async with super()._applying(run, named) as work:
            yield work
            # Everything is written, the head too, and nothing is committed.
            if self.dice.random() < HELD:
                await asyncio.sleep(self.dice.uniform(0, 0.03))
            if self.dice.random() < ROLLED_BACK:
                raise Broken


class HaltingStore(PostgresSyncStore):
    """Holds some transactions open before their commit, and breaks some there."""

    def __init__(self, conninfo: str, dice: Mapping[str, Random]) -> None:
        super().__init__(conninfo)
        self._dice = dice

    @asynccontextmanager
    async def session(self, source: Source) -> AsyncIterator[PostgresSyncSession]:
        async with super().session(source) as held:
            session = _Session(held._conninfo, held._connection, source, self._covers, held._stack)
            session.dice = self._dice[source.slug]
            yield session


def local_runner(conninfo: str, dice: Mapping[str, Random]) -> SyncRunner:
    """The runner of the torture's own sources."""
    shelves = Shelves(dice)
    return SyncRunner(HaltingStore(conninfo, dice), shelves, shelves, SOURCES, lambda head: None)


async def write_locally(
    runner: SyncRunner, slug: str, dice: Random, stopped: asyncio.Event, counts: Counter[str]
) -> None:
    """Sync one source over and over."""
    while not stopped.is_set():
        try:
            outcome = await runner.sync(SyncRequest(slug, triggered_by="torture"))
            counts[f"local sync {outcome.status}"] += 1
        except DatabaseUnavailable:
            counts["local sync without a database"] += 1
        except PricingError as error:
            counts[f"local sync {type(error).__name__}"] += 1
        await asyncio.sleep(dice.uniform(0, 0.3))


def register(conninfo: str) -> Any:
    """Make the sources known to the database, as a server's start does its own."""
    return PostgresSyncStore(conninfo).prepare(SOURCES.values(), {})
