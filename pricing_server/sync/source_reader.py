"""Reads what a source states now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from pricing_server.domain.fetch_request import FetchRequest
from pricing_server.domain.payload import NotModified, Payload, Validators
from pricing_server.domain.source import PART, Source
from pricing_server.domain.source_listing import Listing, SourceError
from pricing_server.sync.answer_digest import asked
from pricing_server.sync.pages import JsonFetcher, fetch_listing, fetch_parts


class SourceSettings(Protocol):
    """What the operator sets for a source."""

    def url_of(self, source: Source) -> str | None:
        """Where to fetch it from: the setting, else the declared endpoint."""

    def key_of(self, source: Source) -> str | None:
        """Its API key, if one is set."""


@dataclass(frozen=True, slots=True)
class SourceReading:
    """What a source states, and the validators of its answer."""

    listing: Listing
    validators: Validators | None = None
    """None if an unchanged answer would not confirm what the source states."""


class SourceReader:
    """Reads sources from their APIs, or from what ships with the server."""

    def __init__(self, fetcher: JsonFetcher, settings: SourceSettings) -> None:
        self._fetcher = fetcher
        self._settings = settings

    def asked(self, source: Source) -> str:
        """The digest of what determines the source's answer; see
        `pricing_server.sync.answer_digest`."""
        url = self._settings.url_of(source)
        return asked(url or "", self._settings.key_of(source) is not None)

    async def read(self, source: Source) -> SourceReading:
        """Read everything that the source states. Raises FetchError, SourceError."""
        if source.release is not None:
            document = await asyncio.to_thread(source.release.load)
            released_at = source.release.released_at
            return SourceReading(await asyncio.to_thread(_listing, source, document, released_at))
        answer = await self._fetch(source)
        assert isinstance(answer, Payload), "it was asked for without validators"
        return await _reading(source, answer)

    async def read_unless(self, source: Source, known: Validators) -> SourceReading | NotModified:
        """Read the source unless it is in the known state. Raises what `read` does."""
        answer = await self._fetch(source, known)
        return answer if isinstance(answer, NotModified) else await _reading(source, answer)

    async def _fetch(
        self, source: Source, known: Validators | None = None
    ) -> Payload | NotModified:
        url = self._settings.url_of(source)
        if url is None:
            raise SourceError(f"no address is known: set {source.url_variable}")
        request = FetchRequest(url, self._settings.key_of(source), source.key_sent, known)
        if not source.parts:
            return await fetch_listing(self._fetcher, request, source.paging)
        if PART not in url:
            raise SourceError(f"{source.url_variable} does not say where {PART} goes")
        return await fetch_parts(self._fetcher, request, source.parts, source.paging)


async def _reading(source: Source, answer: Payload) -> SourceReading:
    listing = await asyncio.to_thread(_listing, source, answer.document, answer.obtained_at)
    listing = replace(listing, payload_url=answer.url, payload_sha256=answer.sha256)
    # A recording states its own age; that it is still served confirms nothing.
    is_live = listing.obtained_at == answer.obtained_at
    return SourceReading(listing, answer.validators if is_live else None)


def _listing(source: Source, document: object, received_at: datetime) -> Listing:
    listing = source.read(document, received_at)
    for model in listing.models:
        # Hash it here, in a thread, not while the price table is locked.
        _ = model.card.card_id
    return listing
