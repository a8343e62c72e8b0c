"""What a source declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

from llmpricing.meters import Meter
from pricing_server.domain.api_key import BEARER, KeySent
from pricing_server.domain.price_field import Field
from pricing_server.domain.source_listing import Listing


class KeyUse(Enum):
    """Whether a source is fetched with an API key."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class SourceEvidence(Enum):
    """What the declared units and shapes rest on."""

    RECORDED = "recorded"
    """A real payload, read row by row."""
    DOCUMENTED = "documented"
    """The seller's documentation, or code of others that reads the same endpoint."""
    INFERRED = "inferred"
    """Neither: unproven."""


class ZeroMeans(Enum):
    """What a price of zero says at a source. A missing price is never zero."""

    NO_PRICE = "no price"
    """The model is charged in another way, or not known: never free."""
    FREE = "free"
    FREE_IF_DECLARED = "free only where the source says so"
    """`Source.free_where` tells how; any other zero is no price."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Where the absence of a rate at a source says that nothing is charged for it."""

    meters: frozenset[Meter] = frozenset()
    has_all_contexts: bool = False
    """Whether it states every context, such as batch, in which a model has another price."""
    has_all_tiers: bool = False
    """Whether it states every tier by size and every window of time."""

    def to_document(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "meters": sorted(self.meters),
            "has_all_contexts": self.has_all_contexts,
            "has_all_tiers": self.has_all_tiers,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Coverage:
        """What `to_document` wrote."""
        return cls(
            frozenset(map(Meter, document["meters"])),
            document["has_all_contexts"],
            document["has_all_tiers"],
        )

    def excludes(self, context: tuple[tuple[str, str], ...]) -> bool:
        """Whether nothing may be added in this context."""
        return bool(context) and self.has_all_contexts


SAYS_NOTHING: Final = Coverage()
"""As of every catalogue: what it leaves out may be charged all the same."""
SAYS_ALL: Final = Coverage(frozenset(Meter), has_all_contexts=True, has_all_tiers=True)
"""The source states all that is charged."""


@dataclass(frozen=True, slots=True)
class Paging:
    """How a source that answers in pages is asked for the next one, and when none is left.

    Keys are paths within the answer ("pagination.total_pages"). By `token_key` or `pages_key`
    the next page is asked for by its token or number; with neither, by the rows to pass over,
    until there are as many as `total_key` says.
    """

    rows_key: str
    """The list of a page's rows."""
    parameter: str
    """The query parameter that names the page: its token, its number from 1, or the rows to
    pass over. The first page is asked for without it."""
    token_key: str | None = None
    """The next page's token; absent or empty on the last page."""
    pages_key: str | None = None
    """How many pages there are; absent where everything comes in one answer."""
    total_key: str | None = None
    """How many rows there are on all pages together. Where it is stated, it must be met."""

    def __post_init__(self) -> None:
        if self.token_key is not None and self.pages_key is not None:
            raise ValueError("pages end either without a next token or at a number")
        if self.token_key is None and self.pages_key is None and self.total_key is None:
            raise ValueError("pages end without a next token, at a number or at a total")


@dataclass(frozen=True, slots=True)
class Release:
    """A catalogue that ships with the server: its version, its date and how to load it."""

    version: str
    released_at: datetime
    load: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Source:
    """The declaration of a source. `read` is pure: a decoded payload and when it was received."""

    slug: str
    display_name: str
    rank: int
    """Of the sources that price a model the one with the lowest rank wins."""
    read: Callable[[object, datetime], Listing]
    evidence: SourceEvidence
    provider: str | None = None
    """The seller whose own API this is; None for a catalogue of many sellers."""
    endpoint: str | None = None
    """None for a catalogue that ships with the server; then `release` is set."""
    parts: tuple[str, ...] = ()
    """The documents that the source consists of, each at the endpoint with its name for "{part}".

    `read` gets them as a mapping by name. Empty where there is one document.
    """
    release: Release | None = None
    key_use: KeyUse = KeyUse.NONE
    key_sent: KeySent = BEARER
    fresh_for: timedelta = timedelta(hours=24)
    """How long its data counts as confirmed after it was obtained."""
    fields: Mapping[str, Field] = field(default_factory=dict)
    """Every price field that is read, by its path within a row as the source writes it."""
    multipliers: tuple[str, ...] = ()
    """Numbers of a row that multiply its prices in some context, by their path within the row."""
    context_length_field: str = ""
    """Where a row states the context length, in tokens; empty if it does not."""
    zero_means: ZeroMeans = ZeroMeans.NO_PRICE
    free_where: str = ""
    """How the source says that a model is free, in words."""
    paging: Paging | None = None
    """None where everything comes in one answer."""
    coverage: Coverage = SAYS_NOTHING
    """Where the absence of a rate is a statement, so that no other source may fill it."""
    proven_units: bool = False
    """Whether the prices of the recording were compared with those of other sources.

    Then a first sync of few models needs no approval, though nothing else prices them.
    """
    facts: str = ""
    """Where the declaration comes from: what was recorded when, which documentation."""
    notes: tuple[str, ...] = ()
    """Oddities, one or a few sentences each."""

    def __post_init__(self) -> None:
        if (self.zero_means is ZeroMeans.FREE_IF_DECLARED) != bool(self.free_where):
            raise ValueError("how a source declares that something is free is told, or does not")
        if self.proven_units and self.evidence is not SourceEvidence.RECORDED:
            raise ValueError("units are proven on a recording")
        if bool(self.parts) != (PART in (self.endpoint or "")):
            raise ValueError(f"an endpoint has {PART} if there are parts, and only then")

    @property
    def url_variable(self) -> str:
        """The setting that replaces the endpoint."""
        return f"PRICING_{self._upper}_URL"

    @property
    def key_variable(self) -> str:
        """The setting with the API key."""
        return f"PRICING_{self._upper}_API_KEY"

    @property
    def sync_interval_variable(self) -> str:
        """The setting of how often it is synced by itself."""
        return f"PRICING_{self._upper}_SYNC_INTERVAL"

    @property
    def _upper(self) -> str:
        return self.slug.upper().replace("-", "_")


PART: Final = "{part}"

OWN_API_RANK: Final = 100
CATALOGUE_RANK: Final = 1000
"""Of the most reliable catalogue. Behind it, in steps of 100: models.dev, whose rows are checked
against a schema; Portkey, where 27 of 379 models contradict themselves; litellm, where single
rows are wrong by factors of 1,000."""
