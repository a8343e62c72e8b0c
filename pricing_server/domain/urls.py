"""Addresses, fit to be shown."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def safe_url(url: str) -> str:
    """`url` without userinfo, query and fragment: fit for logs and messages."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:
        return "(unreadable URL)"
    if not (host and parts.scheme and url.isprintable()):
        return "(unreadable URL)"
    place = f"[{host}]" if ":" in host else host
    if port is not None and port != DEFAULT_PORTS.get(parts.scheme):
        place = f"{place}:{port}"
    path = quote(parts.path, safe="%/:;@!$&'()*+,=~")
    return urlunsplit((parts.scheme, place, path, "", ""))
