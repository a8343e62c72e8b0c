"""Fetch a price payload from a provider's API.

The other side is not trusted: time, size, numbers and redirects are bounded. Failures are
those of `pricing_server.domain.fetch_errors`.
"""

import asyncio
import hashlib
import logging
import random
import re
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Self

import httpx

from pricing_server.domain.api_key import repeats_key
from pricing_server.domain.fetch_errors import (
    BodyTooLarge,
    ConnectionFailed,
    DeadlineExceeded,
    FetchError,
    HttpStatusError,
    PayloadError,
    RequestRefused,
)
from pricing_server.domain.fetch_request import DEFAULT_POLICY, FetchPolicy, FetchRequest
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.payload import NotModified, Payload, Validators
from pricing_server.domain.urls import safe_url
from pricing_server.fetch.body import BodyReader

_MAX_REDIRECTS = 5
_SETTLED = timedelta(seconds=60)
_MAX_VALIDATOR = 256
_ETAG = re.compile(r'(W/)?"[\x21\x23-\x7e]*"')


class Fetcher:
    """Fetches JSON over HTTP; one instance serves all fetches of an event loop."""

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        """`clock` gives aware UTC, `sleep` takes seconds, `random` gives [0, 1) for jitter."""
        self._clock, self._sleep, self._random = clock, sleep, random
        for chatty in ("httpx", "httpcore"):  # they log URLs with their query
            logging.getLogger(chatty).setLevel(logging.WARNING)
        self._client = httpx.AsyncClient(
            verify=_trusted(),
            headers={"Accept": "application/json", "Accept-Encoding": "gzip"},
            # A proxy from the environment cannot reach our loopback.
            mounts={f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self._client.aclose()

    async def fetch_json(
        self, url: str, *, api_key: str | None = None, policy: FetchPolicy = DEFAULT_POLICY
    ) -> Payload:
        """GET `url`, with `api_key` as bearer token, and `decode_json` its body. See `fetch`."""
        answer = await self.fetch(FetchRequest(url, api_key, policy=policy))
        assert isinstance(answer, Payload), "no known state was given"
        return answer

    async def fetch(self, request: FetchRequest) -> Payload | NotModified:
        """GET a JSON document, unless it is still in the known state. Raises FetchError.

        The key goes to the URL's scheme, host and port only (or to the same host over https).
        429, 5xx and failed connections are retried.
        """
        where, attempt, policy = safe_url(request.url), 1, request.policy
        failure: FetchError | None = None
        now = asyncio.get_running_loop().time
        ends = now() + policy.total_deadline.total_seconds()
        try:
            async with asyncio.timeout_at(ends):
                while True:
                    try:
                        return await self._attempt(request, where)
                    except FetchError as error:
                        if not error.transient or attempt >= policy.max_attempts:
                            raise
                        failure = error
                    backoff = policy.backoff_base * 2 ** min(attempt - 1, 30)
                    jittered = self._random() * min(policy.backoff_cap, backoff)
                    pause, left = max(failure.retry_after, jittered), ends - now()
                    if pause > left:
                        text = f"{failure}; next attempt in {pause:g} s, deadline in {left:.0f} s"
                        raise DeadlineExceeded(text) from failure
                    await self._sleep(pause)
                    attempt += 1
        except TimeoutError:
            before = f", attempt {attempt} after {failure}" if failure else ""
            limit = policy.total_deadline.total_seconds()
            raise DeadlineExceeded(f"{where}: incomplete at {limit:g} s{before}") from None
        except FetchError as error:
            error.args = (f"{where}: {error}",)
            raise

    async def _attempt(self, request: FetchRequest, where: str) -> Payload | NotModified:
        answer = await self._get(request)
        obtained_at, key = self._clock(), request.api_key
        if answer is None:
            return NotModified(obtained_at)
        body, validators = answer
        # In a thread, because megabytes of JSON would hold up the event loop.
        document, digest = await asyncio.to_thread(_decoded, body, key)
        return Payload(document, obtained_at, digest, where, len(body), validators)

    async def _get(self, request: FetchRequest) -> tuple[bytearray, Validators | None] | None:
        """The body and the validators of its state; None if it is in the known state."""
        key, url = request.api_key, _resolved(httpx.URL(), request.url)
        if key is not None and not re.fullmatch("[!-~]+", key):
            raise RequestRefused("the API key is empty or has blanks or odd characters")
        always = request.key_sent.header_of(key) if key else {}
        known = request.validators
        headers = always | (known.headers() if known else {})
        idle = request.policy.attempt_timeout.total_seconds()
        try:
            for hop in range(_MAX_REDIRECTS + 1):
                sent = _with_key(url, request)
                async with self._client.stream("GET", sent, headers=headers, timeout=idle) as reply:
                    if reply.has_redirect_location:
                        # Validators belong to the address asked for, not to the redirect's target.
                        url, headers = _resolved(url, reply.headers["Location"]), always
                    elif (status := reply.status_code) == 200:
                        body = await _read(reply, request.policy.max_body_bytes)
                        return body, _validators(reply.headers, key) if hop == 0 else None
                    elif status == 304 and known is not None and hop == 0:
                        return None
                    else:
                        asked = _seconds(reply.headers.get("Retry-After", ""), self._clock())
                        raise HttpStatusError(f"HTTP status {status}", status, asked)
        except (httpx.TransportError, httpx.InvalidURL, OSError, ValueError) as error:
            # httpx raises ValueError for some host names and Location headers. Only the text of
            # ConnectError is ours. Others may quote what the peer sent, so they must not become
            # the __context__ either: ConnectionFailed is raised outside this handler.
            detail = f" ({error})" if isinstance(error, httpx.ConnectError) else ""
            reason = f"no complete answer, {type(error).__name__}{detail}"
        else:
            raise RequestRefused(f"more than {_MAX_REDIRECTS} redirects")
        raise ConnectionFailed(reason)


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates that are trusted; to read them takes a tenth of a second."""
    return httpx.create_ssl_context()


def _decoded(body: bytearray, key: str | None) -> tuple[object, str]:
    """The document of a body, and the body's digest. Raises PayloadError."""
    if key is not None and repeats_key(body, key):
        # The body would be kept as evidence.
        raise PayloadError("the body repeats the API key")
    return decode_json(body, secret=key), hashlib.sha256(body).hexdigest()


def _with_key(url: httpx.URL, request: FetchRequest) -> httpx.URL:
    parameter = request.key_sent.parameter
    if parameter is None or request.api_key is None:
        return url
    return url.copy_set_param(parameter, request.api_key)


def _resolved(base: httpx.URL, reference: str) -> httpx.URL:
    """The address of `reference`, if a request may follow it from `base`."""
    try:
        url = base.join(reference)
        usable = url.scheme in ("http", "https") and url.host and not url.userinfo
    except (httpx.InvalidURL, ValueError):
        usable = False
    # Targets are not quoted: a hostile server could spell out the key in them.
    if not usable:
        raise RequestRefused("URL or redirect is not http(s)://host, or has a user or password")
    same_port = (base.scheme, base.port) == (url.scheme, url.port)
    upgrade = (base.scheme, url.scheme) == ("http", "https")
    if base.host and (base.host != url.host or not (same_port or upgrade)):
        raise RequestRefused("redirects to another host, port or scheme")
    return url


def _seconds(retry_after: str, now: datetime) -> float:
    """Read both forms of Retry-After (RFC 9110, 10.2.3); 0 if it is neither."""
    if retry_after.isdecimal():
        return float(retry_after)
    at = _instant(retry_after)
    return (at - now).total_seconds() if at else 0.0


def _instant(http_date: str) -> datetime | None:
    try:  # an HTTP-date is always GMT
        return parsedate_to_datetime(http_date).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _validators(headers: httpx.Headers, key: str | None) -> Validators | None:
    """The validators of an answer, if they name its state beyond doubt."""
    etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    if len(etag) <= _MAX_VALIDATOR and _ETAG.fullmatch(etag):
        found = Validators(etag=etag)
    else:
        changed, answered = _instant(modified), _instant(headers.get("Date", ""))
        # It counts whole seconds, so shortly after a change it may name two states.
        settled = changed and answered and answered - changed >= _SETTLED
        if not settled or len(modified) > _MAX_VALIDATOR or not modified.isascii():
            return None
        found = Validators(last_modified=modified)
    spelt = f"{found.etag}{found.last_modified}".encode()
    return None if key is not None and repeats_key(spelt, key) else found


async def _read(response: httpx.Response, limit: int) -> bytearray:
    """The body after content decoding."""
    body = BodyReader(response.headers.get("Content-Encoding", "identity"), limit)
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced[:30]) > limit:
        raise BodyTooLarge(f"the announced body exceeds max_body_bytes={limit}")
    async for received in response.aiter_raw():
        body.feed(received)
    return body.finish()
