"""Fetch a price payload from a provider's API. The only module that knows httpx.

The other side is not trusted: time, size, numbers and redirects are bounded. Failures have
one-line messages free of keys, passwords and query strings:

    FetchError
    ├── RequestRefused
    ├── ConnectionFailed
    ├── HttpStatusError
    ├── DeadlineExceeded
    ├── BodyTooLarge
    └── PayloadError
"""

import asyncio
import hashlib
import json
import logging
import random
import re
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Self

import httpx

_MAX_REDIRECTS = 5
_MAX_DIGITS = 1000  # beyond any double (1e±324, 767 digits), yet harmless to scale and print
_INFLATE_STEP = 64 * 1024
_GZIP = zlib.MAX_WBITS | 16  # a gzip header is required


class FetchError(Exception):
    """Root of all failures of a fetch. `transient` ones were retried as long as allowed."""

    transient = False
    retry_after = 0.0  # seconds the server asked us to wait


class RequestRefused(FetchError):
    """We did not send it: the URL, the key or a redirect's target is not acceptable."""


class ConnectionFailed(FetchError):
    """No complete HTTP answer: DNS, TCP, TLS, a silent peer or broken HTTP."""

    transient = True


class HttpStatusError(FetchError):
    """The answer's `status` is not 200."""

    def __init__(self, message: str, status: int, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after
        self.transient = status == 429 or status >= 500


class DeadlineExceeded(FetchError):
    """The total deadline passed, or the next attempt would come after it."""


class BodyTooLarge(FetchError):
    """The decoded body exceeds the policy's cap."""


class PayloadError(FetchError):
    """The body is not JSON that we can read."""


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """Limits of one fetch. The total deadline covers attempts, waits between them and decoding.

    `attempt_timeout` bounds connecting and each silence of the peer. `max_body_bytes` counts
    decoded bytes; the decoded document can take 30 times that in memory. The wait before retry n
    is random, from 0 to min(backoff_cap, backoff_base * 2 ** (n - 1)) seconds.
    """

    total_deadline: timedelta = timedelta(seconds=60)
    attempt_timeout: timedelta = timedelta(seconds=15)
    max_body_bytes: int = 64 * 1024 * 1024
    max_attempts: int = 4
    backoff_base: float = 0.5
    backoff_cap: float = 8.0


@dataclass(frozen=True, slots=True)
class Payload:
    """A JSON document as a provider served it.

    `obtained_at` is when the body was complete (UTC), `url` what was asked for, as `safe_url`.
    `sha256` (hex) and `bytes_read` describe the body after content decoding.
    """

    document: object
    obtained_at: datetime
    sha256: str
    url: str
    bytes_read: int


_DEFAULT_POLICY = FetchPolicy()


class Fetcher:
    """Fetches JSON over HTTP; one instance serves all fetches of an event loop."""

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        """`clock` tells aware UTC, `sleep` takes seconds, `random` gives [0, 1) for jitter."""
        self._clock, self._sleep, self._random = clock, sleep, random
        for chatty in ("httpx", "httpcore"):  # they log URLs with their query
            logging.getLogger(chatty).setLevel(logging.WARNING)
        self._client = httpx.AsyncClient(
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
        self, url: str, *, api_key: str | None = None, policy: FetchPolicy = _DEFAULT_POLICY
    ) -> Payload:
        """GET `url` and `decode_json` its body. Raises FetchError.

        `api_key` goes out as bearer token, to the URL's scheme, host and port only (or to the
        same host over https). 429, 5xx and failed connections are retried.
        """
        where, attempt = safe_url(url), 1
        failure: FetchError | None = None
        now = asyncio.get_running_loop().time
        ends = now() + policy.total_deadline.total_seconds()
        try:
            async with asyncio.timeout_at(ends):
                while True:
                    try:
                        body = await self._get(url, api_key, policy)
                        obtained_at, digest = self._clock(), hashlib.sha256(body).hexdigest()
                        # In a thread, because megabytes of JSON would hold up the event loop.
                        document = await asyncio.to_thread(decode_json, body, secret=api_key)
                        return Payload(document, obtained_at, digest, where, len(body))
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

    async def _get(self, address: str, api_key: str | None, policy: FetchPolicy) -> bytes:
        url = _resolved(httpx.URL(), address)
        if api_key is not None and not re.fullmatch("[!-~]+", api_key):
            raise RequestRefused("the API key is empty or has blanks or odd characters")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        idle = policy.attempt_timeout.total_seconds()
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                async with self._client.stream("GET", url, headers=headers, timeout=idle) as reply:
                    if reply.has_redirect_location:
                        url = _resolved(url, reply.headers["Location"])
                    elif (status := reply.status_code) == 200:
                        return await _read(reply, policy.max_body_bytes)
                    else:
                        asked = _seconds(reply.headers.get("Retry-After", ""), self._clock())
                        raise HttpStatusError(f"HTTP status {status}", status, asked)
        except (httpx.TransportError, httpx.InvalidURL, OSError, ValueError) as error:
            # httpx lets ValueErrors out for some host names and Location headers. Only the text
            # of ConnectError is local. Others may quote what the peer sent, so they must not be
            # the __context__ either: ConnectionFailed is raised outside this handler.
            detail = f" ({error})" if isinstance(error, httpx.ConnectError) else ""
            reason = f"no complete answer, {type(error).__name__}{detail}"
        else:
            raise RequestRefused(f"more than {_MAX_REDIRECTS} redirects")
        raise ConnectionFailed(reason)


def safe_url(url: str) -> str:
    """`url` without userinfo, query and fragment: fit for logs and messages."""
    try:
        parsed = httpx.URL(url).copy_with(userinfo=b"", query=None, fragment=None)
        return str(parsed) if parsed.host else "(unreadable URL)"
    except (httpx.InvalidURL, ValueError):
        return "(unreadable URL)"


def decode_json(body: bytes, *, secret: str | None = None) -> object:
    """Decode UTF-8 JSON without ever making a float. Raises PayloadError.

    Integers become int, other numbers Decimal, and so do NaN, Infinity and -Infinity. A number
    longer than 1,000 characters or an exponent beyond ±1,000 becomes Decimal("NaN"): validation
    refuses its row, and the other rows survive. No message quotes a body that has `secret` in it.
    """
    try:
        text = body.decode("utf-8-sig")
        return json.loads(text, parse_int=_integer, parse_float=_decimal, parse_constant=Decimal)
    except (ValueError, RecursionError) as error:  # ValueError: UTF-8 or syntax
        quotable = b"(withheld)" if secret and secret.encode() in body else body[:80]
        start = "".join(c if " " <= c <= "~" else "?" for c in quotable.decode("latin-1"))
        raise PayloadError(f'not readable as JSON ({error}), begins "{start}"') from None


def _integer(literal: str) -> int | Decimal:
    # Python refuses to read integers of over 4,300 digits.
    return int(literal) if len(literal) <= _MAX_DIGITS else Decimal("NaN")


def _decimal(literal: str) -> Decimal:
    exponent = literal.lower().partition("e")[2] or "0"
    sane = len(literal) <= _MAX_DIGITS and abs(int(exponent)) <= _MAX_DIGITS
    return Decimal(literal if sane else "NaN")


def _resolved(base: httpx.URL, reference: str) -> httpx.URL:
    """Where `reference` leads, if we may send a request there coming from `base`."""
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
    try:  # an HTTP-date is always GMT
        return (parsedate_to_datetime(retry_after).replace(tzinfo=UTC) - now).total_seconds()
    except (ValueError, OverflowError):
        return 0.0


async def _read(response: httpx.Response, limit: int) -> bytes:
    """The body after content decoding, which never runs more than a step beyond `limit`."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise PayloadError("Content-Encoding is neither gzip nor identity")
    body, member = bytearray(), zlib.decompressobj(_GZIP)
    async for rest in response.aiter_raw():
        while rest:
            if encoding == "identity":
                piece, rest = rest, b""
            else:
                member = zlib.decompressobj(_GZIP) if member.eof else member
                try:
                    piece = member.decompress(rest, _INFLATE_STEP)
                except zlib.error:
                    raise PayloadError("the gzip body is corrupt") from None
                rest = member.unused_data or member.unconsumed_tail
            body += piece
            if len(body) > limit:
                raise BodyTooLarge(f"the decoded body exceeds max_body_bytes={limit}")
    if encoding == "gzip" and not member.eof:
        raise PayloadError("the gzip body is truncated")
    return bytes(body)
