"""What a source lists: its models, and what could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import RateCard

MAX_RATES: Final = 1_000
"""Of a card. The bundled catalogue has up to 72; a message of the contract takes thousands."""


class SourceError(Exception):
    """A payload as a whole is not what the source promises; nothing of it is used.

    The message is one line, safe to show.
    """


@dataclass(frozen=True, slots=True)
class PartialPrice:
    """What a row states where it mentions base rates without a believable price."""

    card: RateCard
    """Of the rates that it does state."""
    in_doubt: tuple[Meter, ...]
    """Meters whose unconditional rate is mentioned as an undeclared zero or as dynamic."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model as a source states it."""

    provider: str
    model_id: str
    card: RateCard
    fragment: str
    """The source's own statement as JSON text: the evidence for the card."""
    hugging_face_id: str | None = None
    canonical_slug: str | None = None
    alias_target: str | None = None
    context_length: int | None = None
    """How many tokens of input and output it takes together."""
    retirement_time: datetime | None = None
    """When the seller stops serving it."""
    successor: str | None = None
    """The model to move to, in the seller's naming."""
    partial: PartialPrice | None = None
    """Set if base rates are in doubt; `card` then holds for a model without an earlier price."""

    @property
    def key(self) -> tuple[str, str]:
        """What makes it this model."""
        return self.provider, self.model_id


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that could not be read. `key` is None where not even the names could be."""

    model_id: str
    message: str
    key: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that rows state and that became no rate; counted and named, not dropped."""

    code: str
    message: str
    models: int
    example: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything a source states at one time. Every row is a model or a fault."""

    models: tuple[ListedModel, ...]
    faults: tuple[Fault, ...]
    notices: tuple[Notice, ...]
    obtained_at: datetime
    """When the source's data was obtained: of the fetch, or the date of a release."""
    provider_names: Mapping[str, str] = field(default_factory=dict)
    """How people write the sellers, where the source says so."""
    payload_url: str | None = None
    """Where the data was fetched, free of secrets; None for a bundled catalogue."""
    payload_sha256: str | None = None
    """Of the fetched body, in hex; of several documents over their hashes."""

    @property
    def rows(self) -> int:
        """How many models the source's answer listed."""
        return len(self.models) + len(self.faults)
