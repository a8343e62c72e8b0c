"""Fetch a whole listing, which may come in pages or in several documents: all or nothing.

The pages become one document: the first page with the rows of all pages. One deadline and
one limit of bytes hold for everything that a source consists of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from typing import Final, Protocol
from urllib.parse import quote, unquote_plus, urlsplit, urlunsplit

from pricing_server.domain.fetch_errors import DeadlineExceeded, PagingError
from pricing_server.domain.fetch_request import FetchPolicy, FetchRequest
from pricing_server.domain.payload import NotModified, Payload
from pricing_server.domain.source import PART, Paging
from pricing_server.domain.urls import safe_url

MAX_PAGES: Final = 200
MAX_TOKEN: Final = 4_096
"""Characters of a page's token."""


class JsonFetcher(Protocol):
    """Fetches and decodes one document; see `pricing_server.fetch.fetcher`."""

    async def fetch(self, request: FetchRequest) -> Payload | NotModified:
        """Fetch it, unless it is still in the known state. Raises FetchError."""


async def fetch_listing(
    fetcher: JsonFetcher, request: FetchRequest, paging: Paging | None
) -> Payload | NotModified:
    """Fetch everything that a source lists. Raises FetchError.

    Pages that repeat, do not end or whose rows do not add up are a PagingError. Only a listing
    that came in one answer has validators: those of one page do not cover the others.
    """
    budget = _Budget(request.policy)
    answer = await fetcher.fetch(request)
    if paging is None or isinstance(answer, NotModified):
        return answer
    pages = _Pages(paging, [answer])
    try:
        while (page := pages.next_page()) is not None:
            policy = budget.left(pages.bytes_read)
            if policy is None:
                raise DeadlineExceeded(f"incomplete after {len(pages.payloads)} pages")
            url = _with_parameter(request.url, paging.parameter, page)
            following = replace(request, url=url, validators=None, policy=policy)
            pages.add(await fetcher.fetch(following))
    except (PagingError, DeadlineExceeded) as error:
        if not str(error).startswith(where := safe_url(request.url)):
            error.args = (f"{where}: {error}",)
        raise
    return pages.joined()


async def fetch_parts(
    fetcher: JsonFetcher, request: FetchRequest, parts: Iterable[str], paging: Paging | None
) -> Payload:
    """Fetch the documents of a source as one document: a mapping by their names.

    Each is at the request's address with its name in place of "{part}". If one cannot be
    fetched, all fail, since its models would seem to be gone. Raises FetchError. The whole is
    as old as its oldest document, and has no validators: those of one part do not cover the
    others.
    """
    budget = _Budget(request.policy)
    payloads: dict[str, Payload] = {}
    for part in parts:  # One after the other, to be polite.
        url = request.url.replace(PART, part)
        policy = budget.left(sum(payload.bytes_read for payload in payloads.values()))
        if policy is None:
            raise DeadlineExceeded(f"{safe_url(url)}: incomplete after {len(payloads)} documents")
        asked = replace(request, url=url, validators=None, policy=policy)
        answer = await fetch_listing(fetcher, asked, paging)
        assert isinstance(answer, Payload), "it was asked for without validators"
        payloads[part] = answer
    return Payload(
        {part: payload.document for part, payload in payloads.items()},
        min(payload.obtained_at for payload in payloads.values()),
        sha256("".join(payload.sha256 for payload in payloads.values()).encode()).hexdigest(),
        safe_url(request.url),
        sum(payload.bytes_read for payload in payloads.values()),
    )


class _Budget:
    """What is left of a policy's time and bytes, counted from the creation of this object."""

    def __init__(self, policy: FetchPolicy) -> None:
        self._policy = policy
        self._now = asyncio.get_running_loop().time
        self._ends = self._now() + policy.total_deadline.total_seconds()

    def left(self, bytes_read: int) -> FetchPolicy | None:
        """The policy for the next request; None if the time is up."""
        left = self._ends - self._now()
        if left <= 0:
            return None
        return replace(
            self._policy,
            total_deadline=timedelta(seconds=left),
            max_body_bytes=self._policy.max_body_bytes - bytes_read,
        )


@dataclass(slots=True)
class _Pages:
    paging: Paging
    payloads: list[Payload]
    rows: list[object] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    seen: list[list[object]] = field(default_factory=list)
    total: int | None = None
    """The stated number of rows, if there is one: the same on every page."""
    pages: int | None = None

    @property
    def bytes_read(self) -> int:
        return sum(payload.bytes_read for payload in self.payloads)

    def next_page(self) -> str | None:
        """The parameter of the next page; None if the listing is whole. Raises PagingError."""
        last = self.payloads[-1].document
        rows = _at(last, self.paging.rows_key)
        if not isinstance(rows, list):
            if len(self.payloads) == 1:
                return None  # Not a page at all: the adapter reports what it is.
            raise PagingError(f"page {len(self.payloads)} has no list '{self.paging.rows_key}'")
        self._take(last, rows)
        page = self._next(last, len(rows))
        if page is None:
            if self.total is not None and len(self.rows) != self.total:
                raise PagingError(f"the pages have {len(self.rows)} rows of {self.total}")
            return None
        if page in self.asked:
            raise PagingError("a page leads back to one that was read")
        if len(self.payloads) == MAX_PAGES:
            raise PagingError(f"more than {MAX_PAGES} pages")
        self.asked.add(page)
        return page

    def add(self, payload: Payload | NotModified) -> None:
        """Take a page. Raises PagingError."""
        assert isinstance(payload, Payload), "further pages are asked for without validators"
        self.payloads.append(payload)

    def joined(self) -> Payload:
        """All pages as one document, dated by the first one."""
        first, *others = self.payloads
        if not others:
            return first
        return replace(
            first,
            document=_with_rows(first.document, self.paging.rows_key, self.rows),
            sha256=sha256("".join(page.sha256 for page in self.payloads).encode()).hexdigest(),
            bytes_read=self.bytes_read,
            validators=None,
        )

    def _take(self, document: object, rows: list[object]) -> None:
        if rows and _is_among(rows, self.seen):
            raise PagingError(f"page {len(self.payloads)} repeats an earlier one")
        self.seen.append(rows)
        self.rows += rows
        for name, key in (("total", self.paging.total_key), ("pages", self.paging.pages_key)):
            stated, before = _count(document, key), getattr(self, name)
            if len(self.payloads) > 1 and stated != before:
                raise PagingError(f"the pages differ in '{key}'")
            setattr(self, name, stated)

    def _next(self, document: object, rows: int) -> str | None:
        if self.paging.token_key is not None:
            token = _at(document, self.paging.token_key)
            if token is None or token == "":
                return None
            if not isinstance(token, str) or len(token) > MAX_TOKEN:
                raise PagingError(f"'{self.paging.token_key}' is not a token")
            return token
        if self.paging.pages_key is not None:
            number = len(self.payloads) + 1
            return str(number) if self.pages is not None and number <= self.pages else None
        if self.total is None or len(self.rows) >= self.total:
            return None
        if not rows:
            raise PagingError(f"the pages end after {len(self.rows)} rows of {self.total}")
        return str(len(self.rows))


def _is_among(rows: list[object], earlier: list[list[object]]) -> bool:
    try:
        return rows in earlier
    except RecursionError:
        raise PagingError("the rows are nested too deep") from None


def _at(document: object, path: str) -> object:
    for key in path.split("."):
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def _count(document: object, path: str | None) -> int | None:
    stated = None if path is None else _at(document, path)
    if stated is None:
        return None
    if not isinstance(stated, int) or isinstance(stated, bool) or stated < 0:
        raise PagingError(f"'{path}' is not a count")
    return stated


def _with_rows(document: object, path: str, rows: list[object]) -> object:
    if not isinstance(document, Mapping):
        return document
    key, _, rest = path.partition(".")
    return {**document, key: _with_rows(document[key], rest, rows) if rest else rows}


def _with_parameter(url: str, name: str, value: str) -> str:
    parts = urlsplit(url)
    query = "&".join((*_others(parts.query, name), f"{quote(name)}={quote(value, safe='')}"))
    return urlunsplit(parts._replace(query=query))


def _others(query: str, name: str) -> Iterator[str]:
    for pair in filter(None, query.split("&")):
        if unquote_plus(pair.partition("=")[0]) != name:
            yield pair
