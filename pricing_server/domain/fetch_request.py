"""What to fetch from a source, and within which limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from pricing_server.domain.api_key import BEARER, KeySent
from pricing_server.domain.payload import Validators


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """Limits of one fetch with all its pages.

    The total deadline covers attempts, waits between them and decoding. `attempt_timeout` bounds
    connecting and each silence of the peer. `max_body_bytes` counts bytes as sent and as decoded;
    fetching and decoding take 16 times that in memory at worst. The wait before retry n is random,
    from 0 to min(backoff_cap, backoff_base * 2 ** (n - 1)) seconds.
    """

    total_deadline: timedelta = timedelta(seconds=60)
    attempt_timeout: timedelta = timedelta(seconds=15)
    max_body_bytes: int = 32 * 1024 * 1024
    max_attempts: int = 4
    backoff_base: float = 0.5
    backoff_cap: float = 8.0


DEFAULT_POLICY = FetchPolicy()


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What to fetch. `api_key` goes out as `key_sent` says; the address may hold a secret, too."""

    url: str = field(repr=False)
    api_key: str | None = field(default=None, repr=False)
    key_sent: KeySent = BEARER
    validators: Validators | None = None
    """Those of the answer that is known already."""
    policy: FetchPolicy = DEFAULT_POLICY
