"""Posts alerts to the operator's webhook.

The address is a secret: whoever knows it can post there. No message and no `repr` shows it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, Self

import httpx

POST_SECONDS: Final = 8.0
"""For connecting, sending and the head of the answer together."""


class HttpWebhook:
    """Posts JSON documents to one address."""

    def __init__(self, url: str, *, post_seconds: float = POST_SECONDS) -> None:
        self._url = url
        self._post_seconds = post_seconds
        for chatty in ("httpx", "httpcore"):  # they log URLs
            logging.getLogger(chatty).setLevel(logging.WARNING)
        self._client = httpx.AsyncClient(
            timeout=post_seconds,
            # A proxy from the environment cannot reach our loopback.
            mounts={f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def post(self, document: Mapping[str, Any]) -> str | None:
        """Why the document was not accepted, in a line without secrets; None if it was."""
        try:
            async with (
                asyncio.timeout(self._post_seconds),
                # The body of the answer is not read: it is useless and may be endless.
                self._client.stream("POST", self._url, json=document) as answer,
            ):
                return None if answer.is_success else f"HTTP status {answer.status_code}"
        except TimeoutError:
            return f"no answer within {self._post_seconds:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            # The error's text may quote the address.
            return f"no answer, {type(error).__name__}"
