"""Page tokens: where the next page begins, and of which list."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json

from llmpricing.names import name_fault
from pricing_server.domain.errors import InvalidArgument


class Pages:
    """Page tokens of one method under one set of filters; any other token is foreign."""

    def __init__(self, method: str, *filters: object) -> None:
        self._scope = hashlib.sha256(json.dumps([method, *filters]).encode()).hexdigest()[:16]

    def token(self, *cursor: int | str) -> str:
        """The token of the page behind the cursor."""
        text = json.dumps([self._scope, *cursor])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def cursor(self, token: str, *types: type) -> list[int | str] | None:
        """The cursor in a token, None for the first page. Raises InvalidArgument."""
        if not token:
            return None
        try:
            padded = token.encode("ascii") + b"=" * (-len(token) % 4)
            scope, *cursor = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (ValueError, TypeError, binascii.Error, RecursionError):
            raise foreign_token() from None
        if scope != self._scope or [type(value) for value in cursor] != list(types):
            raise foreign_token()
        if any(isinstance(value, int) and not 0 <= value < 2**63 for value in cursor):
            raise foreign_token()
        if any(isinstance(value, str) and name_fault(value) for value in cursor):
            raise foreign_token()
        return list(cursor)


def foreign_token() -> InvalidArgument:
    """The error for a page token that is not one of this method with these filters."""
    return InvalidArgument(
        "page_token", "is not a token of this method with these filters; begin with an empty one"
    )
