"""The fetcher against real sockets. Waits between attempts are recorded, not slept."""

import asyncio
import gzip
import hashlib
import logging
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest

from pricing_server.domain.api_key import BEARER, KeySent
from pricing_server.domain.fetch_errors import (
    BodyTooLarge,
    ConnectionFailed,
    DeadlineExceeded,
    FetchError,
    HttpStatusError,
    PayloadError,
    RequestRefused,
)
from pricing_server.domain.fetch_request import FetchPolicy, FetchRequest
from pricing_server.domain.payload import NotModified, Payload, Validators
from pricing_server.fetch.fetcher import Fetcher

pytestmark = pytest.mark.integration

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = "sk-live-0123456789abcdef"
MIB = 1024 * 1024

packed_up = partial(gzip.compress, mtime=0)
"""The same bytes in every process that names a test by them."""

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes = b"[]", *headers: str, status: int = 200) -> bytes:
    head = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "Connection: close", "", ""]).encode() + body


def redirect(location: str, status: int = 302) -> bytes:
    return answer(b"", f"Location: {location}", status=status)


@dataclass
class Server:
    """Answers the n-th connection with the n-th answer, and further ones with the last."""

    answers: list[bytes | Behaviour]
    url: str = ""
    requests: list[str] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            reply = self.answers[min(len(self.requests), len(self.answers)) - 1]
            if isinstance(reply, bytes):
                writer.write(reply)
                await writer.drain()
            else:
                await reply(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The client hung up, as some tests want it to.
        finally:
            writer.close()


Serve = Callable[..., Awaitable[Server]]


@asynccontextmanager
async def listening(server: Server) -> AsyncIterator[Server]:
    handlers: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.get_running_loop().create_task(server.handle(reader, writer)))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(*answers: bytes | Behaviour) -> Server:
            context: AbstractAsyncContextManager[Server] = listening(Server(list(answers)))
            return await stack.enter_async_context(context)

        yield start


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
async def fetcher(pauses: list[float]) -> AsyncIterator[Fetcher]:
    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with Fetcher(clock=lambda: NOW, sleep=sleep, random=lambda: 0.5) as fetcher:
        yield fetcher


def policy(
    seconds: float = 60, cap: int = 64 * MIB, attempts: int = 4, idle: float = 15
) -> FetchPolicy:
    return FetchPolicy(
        total_deadline=timedelta(seconds=seconds),
        attempt_timeout=timedelta(seconds=idle),
        max_body_bytes=cap,
        max_attempts=attempts,
    )


async def hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def flood(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b" " * 65536)
        await writer.drain()


async def drip_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def flood_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X: " + b"y" * 65536 + b"\r\n")
        await writer.drain()


async def continue_for_ever(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        await writer.drain()


async def flood_empty_members(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
    empty = packed_up(b"") * 4096
    while True:
        writer.write(empty)
        await writer.drain()


# The good case


async def test_a_payload_tells_what_came_when_and_from_where(
    serve: Serve, fetcher: Fetcher
) -> None:
    body = b'{"input": 0.0000025, "context": 128000}'
    server = await serve(answer(body))
    payload = await fetcher.fetch_json(server.url + "/v1/prices?token=hush", api_key=KEY)
    assert payload.document == {"input": Decimal("0.0000025"), "context": 128000}
    assert payload.obtained_at == NOW
    assert payload.sha256 == hashlib.sha256(body).hexdigest()
    assert payload.url == server.url + "/v1/prices"
    assert payload.bytes_read == len(body)
    request = server.requests[0].lower()
    assert request.startswith("get /v1/prices?token=hush http/1.1")
    assert f"authorization: bearer {KEY}" in request
    assert "accept-encoding: gzip\r\n" in request


async def test_without_a_key_there_is_no_authorization(serve: Serve, fetcher: Fetcher) -> None:
    server = await serve(answer())
    await fetcher.fetch_json(server.url)
    assert "authorization" not in server.requests[0].lower()


async def test_loopback_bypasses_a_proxy(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server, proxy = await serve(answer()), await serve(answer(b"[1]"))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with Fetcher() as fetcher:
        assert (await fetcher.fetch_json(server.url)).document == []
    assert not proxy.requests


# Retries


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_transient_status_is_retried_with_full_jitter(
    serve: Serve, fetcher: Fetcher, pauses: list[float], status: int
) -> None:
    failing = answer(status=status)
    server = await serve(failing, failing, failing, answer(b"[7]"))
    assert (await fetcher.fetch_json(server.url)).document == [7]
    assert pauses == [0.25, 0.5, 1.0]


async def test_backoff_is_capped(serve: Serve, fetcher: Fetcher, pauses: list[float]) -> None:
    server = await serve(answer(status=500))
    with pytest.raises(HttpStatusError) as caught:
        await fetcher.fetch_json(server.url, policy=policy(attempts=50))
    assert caught.value.status == 500
    assert len(server.requests) == 50
    assert max(pauses) == 4.0


@pytest.mark.parametrize(
    "behaviour",
    [
        hang_up,
        hang,
        b"",
        b"not http\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[1",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[1]\r\n0\r\n\r\n",
    ],
    ids=["reset", "silence", "nothing", "no http", "short", "short chunk", "bad chunk"],
)
async def test_a_broken_answer_is_retried(
    serve: Serve, fetcher: Fetcher, pauses: list[float], behaviour: bytes | Behaviour
) -> None:
    server = await serve(behaviour, answer(b"[1]"))
    payload = await fetcher.fetch_json(server.url, policy=policy(idle=0.5))
    assert payload.document == [1]
    assert pauses == [0.25]


async def test_a_refused_connection_is_retried_then_reported(
    fetcher: Fetcher, pauses: list[float]
) -> None:
    async with listening(Server([])) as gone:
        pass
    with pytest.raises(ConnectionFailed, match="ConnectError"):
        await fetcher.fetch_json(gone.url)
    assert len(pauses) == 3


@pytest.mark.parametrize("status", [204, 304, 400, 401, 403, 404, 410, 422])
async def test_other_statuses_are_final(
    serve: Serve, fetcher: Fetcher, pauses: list[float], status: int
) -> None:
    server = await serve(answer(b"", status=status))
    with pytest.raises(HttpStatusError, match=str(status)) as caught:
        await fetcher.fetch_json(server.url)
    assert caught.value.status == status
    assert (len(server.requests), pauses) == (1, [])


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [
        ("7", 7.0),
        ("0", 0.25),
        ("Fri, 02 Jan 2026 03:04:25 GMT", 20.0),
        ("Fri, 02 Jan 2026 03:04:25 -0000", 20.0),
        ("Friday, 02-Jan-26 03:04:25 GMT", 20.0),
        ("Fri, 02 Jan 2026 01:00:00 GMT", 0.25),
        ("-5", 0.25),
        ("soon", 0.25),
        ("Fri, 99 Foo 99999999999999999999 99:99:99 GMT", 0.25),
    ],
)
async def test_retry_after_is_honoured_and_nonsense_ignored(
    serve: Serve, fetcher: Fetcher, pauses: list[float], retry_after: str, pause: float
) -> None:
    server = await serve(answer(b"", f"Retry-After: {retry_after}", status=429), answer())
    await fetcher.fetch_json(server.url)
    assert pauses == [pause]


@pytest.mark.parametrize("retry_after", ["61", "9" * 400, "Fri, 02 Jan 2026 04:04:05 GMT"])
async def test_retry_after_beyond_the_deadline_fails_at_once_and_says_so(
    serve: Serve, fetcher: Fetcher, pauses: list[float], retry_after: str
) -> None:
    server = await serve(answer(b"", f"Retry-After: {retry_after}", status=503))
    with pytest.raises(DeadlineExceeded, match=r"status 503; next attempt in .* deadline in") as e:
        await fetcher.fetch_json(server.url)
    assert isinstance(e.value.__cause__, HttpStatusError)
    assert (len(server.requests), pauses) == (1, [])


# Deadline and size


@pytest.mark.parametrize("behaviour", [drip, hang, drip_headers, continue_for_ever])
async def test_the_deadline_ends_a_slow_loris(
    serve: Serve, fetcher: Fetcher, behaviour: Behaviour
) -> None:
    server = await serve(answer(status=500), behaviour)
    with pytest.raises(DeadlineExceeded, match=r"at 1 s, attempt 2 after .*500"):
        async with asyncio.timeout(5):
            await fetcher.fetch_json(server.url, policy=policy(seconds=1))


async def test_cancellation_is_not_swallowed(serve: Serve, fetcher: Fetcher) -> None:
    asked = asyncio.Event()

    async def hang_after_notice(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await hang(writer)

    server = await serve(hang_after_notice)
    fetch = asyncio.create_task(fetcher.fetch_json(server.url))
    await asked.wait()
    fetch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetch


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(size // MIB)) + packer.flush()


async def peak_memory_of(fetch: Awaitable[object]) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge, match="max_body_bytes"):
            await fetch
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_a_plain_flood_stops_at_the_cap(serve: Serve, fetcher: Fetcher) -> None:
    server = await serve(flood)
    fetch = fetcher.fetch_json(server.url, policy=policy(cap=MIB))
    assert await peak_memory_of(fetch) < 6 * MIB


@pytest.mark.parametrize("members", [1, 3])
async def test_a_gzip_bomb_stops_at_the_cap(serve: Serve, fetcher: Fetcher, members: int) -> None:
    server = await serve(answer(bomb(64 * MIB) * members, "Content-Encoding: gzip"))
    fetch = fetcher.fetch_json(server.url, policy=policy(cap=MIB))
    assert await peak_memory_of(fetch) < 6 * MIB
    assert len(server.requests) == 1


async def test_gzip_of_nothing_without_end_stops_at_the_cap(serve: Serve, fetcher: Fetcher) -> None:
    server = await serve(flood_empty_members)
    fetch = fetcher.fetch_json(server.url, policy=policy(cap=MIB))
    assert await peak_memory_of(fetch) < 6 * MIB
    assert len(server.requests) == 1


async def test_200_mb_take_less_than_twice_the_cap_of_memory(
    serve: Serve, fetcher: Fetcher
) -> None:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(200):
            writer.write(b" " * 1_000_000)
            await writer.drain()

    server = await serve(send)
    cap = FetchPolicy().max_body_bytes
    assert await peak_memory_of(fetcher.fetch_json(server.url)) < 2 * cap


async def test_a_body_announced_as_too_large_is_not_read(serve: Serve, fetcher: Fetcher) -> None:
    server = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
    assert await peak_memory_of(fetcher.fetch_json(server.url)) < MIB
    assert len(server.requests) == 1


async def test_headers_without_end_are_a_failed_connection(serve: Serve, fetcher: Fetcher) -> None:
    server = await serve(flood_headers)
    with pytest.raises(ConnectionFailed):
        await fetcher.fetch_json(server.url, policy=policy(attempts=1))


@pytest.mark.parametrize("packed", [False, True])
async def test_a_body_of_exactly_the_cap_passes(
    serve: Serve, fetcher: Fetcher, packed: bool
) -> None:
    body = b"[" + b" " * 200_000 + b"]"
    reply = answer(packed_up(body), "Content-Encoding: gzip") if packed else answer(body)
    server = await serve(reply)
    payload = await fetcher.fetch_json(server.url, policy=policy(cap=len(body)))
    assert payload.bytes_read == len(body)
    with pytest.raises(BodyTooLarge):
        await fetcher.fetch_json(server.url, policy=policy(cap=len(body) - 1))


# Content encoding


async def test_gzip_of_several_members_is_one_body(serve: Serve, fetcher: Fetcher) -> None:
    parts = [b"[1", b"", b",2", b"]"]
    packed = b"".join(map(packed_up, parts))

    async def byte_by_byte(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: GZIP\r\n\r\n")
        for byte in packed:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    server = await serve(byte_by_byte, answer(packed, "Content-Encoding: gzip"))
    for _ in range(2):
        payload = await fetcher.fetch_json(server.url)
        assert payload.document == [1, 2]
        assert payload.sha256 == hashlib.sha256(b"".join(parts)).hexdigest()


async def test_incompressible_gzip_survives_the_steps(serve: Serve, fetcher: Fetcher) -> None:
    noise = "".join(hashlib.sha512(str(n).encode()).hexdigest() for n in range(5_000))
    body = f'["{noise}"]'.encode()
    server = await serve(answer(packed_up(body), "Content-Encoding: gzip"))
    assert (await fetcher.fetch_json(server.url)).document == [noise]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (packed_up(b"[1, 2, 3]")[:-1], "truncated"),
        (packed_up(b"[1, 2, 3]")[:12], "truncated"),
        (packed_up(b"[1]") + packed_up(b"[1]")[:5], "truncated"),
        (b"", "truncated"),
        (b"[1, 2, 3]", "corrupt"),
        (zlib.compress(b"[1]"), "corrupt"),
        (packed_up(b"[1]") + b"rubbish", "corrupt"),
        (packed_up(b"[1]")[:-8] + bytes(8), "corrupt"),
    ],
)
async def test_damaged_gzip_is_a_payload_error(
    serve: Serve, fetcher: Fetcher, body: bytes, message: str
) -> None:
    server = await serve(answer(body, "Content-Encoding: gzip"))
    with pytest.raises(PayloadError, match=message):
        await fetcher.fetch_json(server.url)
    assert len(server.requests) == 1


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "gzip, br", "x"])
async def test_brotli_and_all_else_is_refused_undecoded(
    serve: Serve, fetcher: Fetcher, encoding: str
) -> None:
    server = await serve(answer(b"[]", f"Content-Encoding: {encoding}"))
    with pytest.raises(PayloadError, match="Content-Encoding"):
        await fetcher.fetch_json(server.url)


async def test_html_with_status_200_is_a_payload_error(serve: Serve, fetcher: Fetcher) -> None:
    server = await serve(answer(b"<!DOCTYPE html><h1>Sign in</h1>", "Content-Type: text/html"))
    with pytest.raises(PayloadError, match="<!DOCTYPE html>") as caught:
        await fetcher.fetch_json(server.url + "/prices?token=hush")
    assert str(caught.value).startswith(server.url + "/prices: ")
    assert len(server.requests) == 1


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_on_the_same_host_is_followed_with_the_key(
    serve: Serve, fetcher: Fetcher, status: int
) -> None:
    server = await serve(redirect("/v2/prices?page=1", status), answer(b"[2]"))
    payload = await fetcher.fetch_json(server.url + "/v1", api_key=KEY)
    assert payload.document == [2]
    assert server.requests[1].startswith("GET /v2/prices?page=1 ")
    assert KEY in server.requests[1]


async def test_five_redirects_are_followed_and_not_a_sixth(serve: Serve, fetcher: Fetcher) -> None:
    server = await serve(*[redirect("/again")] * 5, answer(b"[5]"))
    assert (await fetcher.fetch_json(server.url)).document == [5]
    server = await serve(redirect("/again"))
    with pytest.raises(RequestRefused, match="more than 5 redirects"):
        await fetcher.fetch_json(server.url)
    assert len(server.requests) == 6


async def test_another_host_or_port_never_sees_the_key(serve: Serve, fetcher: Fetcher) -> None:
    other = await serve(answer(b"[9]"))
    port = other.url.rpartition(":")[2]
    for location in (
        other.url,
        f"http://localhost:{port}/",
        f"//localhost:{port}/",
        f"https://localhost:{port}/",
    ):
        server = await serve(redirect(location))
        with pytest.raises(RequestRefused, match="another host"):
            await fetcher.fetch_json(server.url, api_key=KEY)
        assert len(server.requests) == 1
    assert not other.requests


@pytest.mark.parametrize(
    "location",
    [
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://me:pw@127.0.0.1/",
        "javascript:..xn-- %",
        "//xn--a/",
        ":aaaa://]",
        "http://[::1",
        "http://127.0.0.1:x/",
    ],
)
async def test_hostile_locations_are_fetch_errors(
    serve: Serve, fetcher: Fetcher, location: str
) -> None:
    server = await serve(redirect(location))
    with pytest.raises(FetchError) as caught:
        await fetcher.fetch_json(server.url, api_key=KEY)
    assert isinstance(caught.value, RequestRefused | ConnectionFailed)


async def test_https_on_the_same_host_is_followed(serve: Serve, fetcher: Fetcher) -> None:
    hello: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello.append(await reader.read(1))
        writer.close()

    async with await asyncio.start_server(note, "127.0.0.1", 0) as secure:
        port = secure.sockets[0].getsockname()[1]
        server = await serve(redirect(f"https://127.0.0.1:{port}/"))
        with pytest.raises(ConnectionFailed):
            await fetcher.fetch_json(server.url, api_key=KEY, policy=policy(attempts=1))
    assert hello == [b"\x16"]  # The first byte of a TLS handshake.


# Secrets


@pytest.mark.parametrize(
    "url",
    ["", "prices", "ftp://h/", "http://", "http://[::1", "http://me:hush@127.0.0.1/", "//h/p"],
)
async def test_an_unusable_url_is_refused_without_repeating_secrets(
    fetcher: Fetcher, url: str
) -> None:
    with pytest.raises(RequestRefused) as caught:
        await fetcher.fetch_json(url)
    assert "hush" not in told_by(caught.value)


@pytest.mark.parametrize("key", ["", " ", "sk-1\n", "sk 1", "sk-1\r\nX: y", "clé"])
async def test_an_unusable_key_is_refused_before_it_is_sent(
    serve: Serve, fetcher: Fetcher, key: str
) -> None:
    server = await serve(answer())
    with pytest.raises(RequestRefused, match="API key") as caught:
        await fetcher.fetch_json(server.url, api_key=key)
    assert not server.requests
    assert "sk-1" not in told_by(caught.value)


async def test_an_impossible_host_name_is_a_connection_failure(fetcher: Fetcher) -> None:
    with pytest.raises(ConnectionFailed):
        await fetcher.fetch_json(f"http://{'a' * 70}.localhost/", policy=policy(attempts=1))


def told_by(error: BaseException) -> str:
    """Everything a log could print about `error`, its causes and contexts."""
    told = "".join(traceback.format_exception(error))
    link: BaseException | None = error
    while link:
        told += f"{link}\n{link!r}\n{link.args}\n"
        link = link.__cause__ or link.__context__
    return told


KEYS_SENT = [BEARER, KeySent(header="X-Api-Key"), KeySent(parameter="key")]


@pytest.mark.parametrize("key_sent", KEYS_SENT, ids=str)
@pytest.mark.parametrize(
    "reply",
    [
        hang,
        hang_up,
        KEY.encode(),
        f"HTTP/1.1 200 OK\r\n{KEY}\r\n\r\n".encode(),
        f"HTTP/1.1 401 {KEY}\r\nContent-Length: 0\r\n\r\n".encode(),
        answer(f"bad key {KEY}".encode(), status=400),
        answer(f"<html>bad key {KEY}".encode()),
        answer(packed_up(f"<html>bad key {KEY}".encode()), "Content-Encoding: gzip"),
        answer(b"[]", f"Content-Encoding: {KEY}"),
        answer(b"", f"Retry-After: {KEY}", status=503),
        redirect(f"http://{KEY}.example/{KEY}?{KEY}"),
        redirect(f"http://{KEY}:{KEY}@127.0.0.1/"),
        redirect(f"http://[{KEY}/"),
        redirect(f"/{KEY}"),
        answer(f'[{{"id": "{KEY}"}}]'.encode()),
        answer(packed_up(f'["{KEY}"]'.encode()), "Content-Encoding: gzip"),
    ],
)
async def test_no_failure_tells_the_key_or_the_query(
    serve: Serve,
    fetcher: Fetcher,
    caplog: pytest.LogCaptureFixture,
    reply: bytes | Behaviour,
    key_sent: KeySent,
) -> None:
    caplog.set_level(logging.DEBUG)
    server = await serve(reply)
    limits = policy(idle=0.3, attempts=2)
    request = FetchRequest(server.url + "/p?token=hush", KEY, key_sent, policy=limits)
    with pytest.raises(FetchError) as caught:
        await fetcher.fetch(request)
    assert KEY in server.requests[0]
    assert "\n" not in str(caught.value)
    told = told_by(caught.value) + caplog.text + repr(fetcher) + repr(request)
    assert KEY.lower() not in told.lower()
    assert "hush" not in told
    assert server.url + "/p" in str(caught.value)


@pytest.mark.parametrize("key_sent", KEYS_SENT, ids=str)
async def test_no_success_tells_the_key_or_the_query(
    serve: Serve, fetcher: Fetcher, caplog: pytest.LogCaptureFixture, key_sent: KeySent
) -> None:
    caplog.set_level(logging.DEBUG)
    server = await serve(redirect("/p?token=hush"), answer(b"[]", f'ETag: "{KEY}"'))
    payload = await fetcher.fetch(FetchRequest(server.url + "/p?token=hush", KEY, key_sent))
    assert KEY in server.requests[0]
    assert KEY in server.requests[1]
    told = repr(payload) + repr(fetcher) + caplog.text
    assert KEY not in told
    assert "hush" not in told


@pytest.mark.parametrize(
    ("key_sent", "line"),
    [
        (BEARER, f"authorization: bearer {KEY}\r\n"),
        (KeySent(header="X-Api-Key"), f"x-api-key: {KEY}\r\n"),
        (KeySent(parameter="key"), f"get /p?a=1&key={KEY} http/1.1\r\n"),
    ],
    ids=["bearer", "header", "parameter"],
)
async def test_the_key_is_sent_where_the_source_takes_it_and_nowhere_else(
    serve: Serve, fetcher: Fetcher, key_sent: KeySent, line: str
) -> None:
    server = await serve(answer())
    await fetcher.fetch(FetchRequest(server.url + "/p?a=1", KEY, key_sent))
    request = server.requests[0].lower()
    assert line in request
    assert request.count(KEY) == 1


async def test_a_key_with_odd_characters_survives_the_query(serve: Serve, fetcher: Fetcher) -> None:
    server = await serve(answer())
    await fetcher.fetch(FetchRequest(server.url, "a&b=c/+%d#e?f", KeySent(parameter="key")))
    assert server.requests[0].startswith("GET /?key=a%26b%3Dc%2F%2B%25d%23e%3Ff ")


@pytest.mark.parametrize(
    "spelt", ["sk-live/012345", "sk-live\\/012345", "sk-live%2F012345", "\\u0073k-live/012345"]
)
async def test_a_body_that_repeats_the_key_is_refused_since_it_would_be_kept(
    serve: Serve, fetcher: Fetcher, spelt: str
) -> None:
    server = await serve(answer(f'[{{"id": "{spelt}"}}]'.encode()))
    with pytest.raises(PayloadError, match="repeats the API key"):
        await fetcher.fetch_json(server.url, api_key="sk-live/012345")


# Conditional requests

NOW_HTTP = "Fri, 02 Jan 2026 03:04:05 GMT"
MINUTE_AGO = "Fri, 02 Jan 2026 03:03:05 GMT"
JUST_NOW = "Fri, 02 Jan 2026 03:03:06 GMT"
TAG = Validators(etag='W/"a-1"')


async def validators_of(fetcher: Fetcher, url: str, api_key: str | None = None) -> object:
    payload = await fetcher.fetch(FetchRequest(url, api_key))
    assert isinstance(payload, Payload)
    return payload.validators


@pytest.mark.parametrize(
    ("headers", "validators"),
    [
        ([], None),
        (['ETag: W/"a-1"'], TAG),
        (['ETag: "a"', f"Last-Modified: {MINUTE_AGO}", f"Date: {NOW_HTTP}"], Validators('"a"')),
        ([f"Last-Modified: {MINUTE_AGO}", f"Date: {NOW_HTTP}"], Validators(None, MINUTE_AGO)),
        ([f"Last-Modified: {JUST_NOW}", f"Date: {NOW_HTTP}"], None),
        ([f"Last-Modified: {MINUTE_AGO}"], None),
        (["Last-Modified: yesterday", f"Date: {NOW_HTTP}"], None),
        (["ETag: a"], None),
        (['ETag: "a b"'], None),
        (['ETag: "' + "a" * 300 + '"'], None),
        ([f'ETag: "{KEY}"'], None),
    ],
)
async def test_only_what_names_a_state_without_doubt_is_a_validator(
    serve: Serve, fetcher: Fetcher, headers: list[str], validators: Validators | None
) -> None:
    server = await serve(answer(b"[]", *headers))
    assert await validators_of(fetcher, server.url, KEY) == validators


@pytest.mark.parametrize(
    ("validators", "line"),
    [
        (TAG, 'if-none-match: w/"a-1"'),
        (Validators(last_modified=MINUTE_AGO), f"if-modified-since: {MINUTE_AGO.lower()}"),
    ],
)
async def test_a_304_says_that_nothing_changed_as_of_now(
    serve: Serve, fetcher: Fetcher, validators: Validators, line: str
) -> None:
    server = await serve(answer(b"", status=304))
    request = FetchRequest(server.url, validators=validators)
    assert await fetcher.fetch(request) == NotModified(NOW)
    assert line in server.requests[0].lower()


async def test_another_state_is_a_payload_with_its_own_validators(
    serve: Serve, fetcher: Fetcher
) -> None:
    server = await serve(answer(b"[2]", 'ETag: "2"'))
    payload = await fetcher.fetch(FetchRequest(server.url, validators=TAG))
    assert isinstance(payload, Payload)
    assert (payload.document, payload.validators) == ([2], Validators('"2"'))


async def test_a_redirect_carries_no_validators_and_gives_none(
    serve: Serve, fetcher: Fetcher
) -> None:
    server = await serve(redirect("/b"), answer(b"[]", 'ETag: "b"'))
    payload = await fetcher.fetch(FetchRequest(server.url, validators=TAG))
    assert isinstance(payload, Payload)
    assert payload.validators is None
    assert "if-none-match" in server.requests[0].lower()
    assert "if-none-match" not in server.requests[1].lower()


async def test_a_304_after_a_redirect_confirms_nothing(serve: Serve, fetcher: Fetcher) -> None:
    server = await serve(redirect("/b"), answer(b"", status=304))
    with pytest.raises(HttpStatusError, match="304"):
        await fetcher.fetch(FetchRequest(server.url, validators=TAG))
