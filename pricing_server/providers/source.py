"""What a source declares, and what its adapter makes of a payload."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import RateCard
from pricing_server.api_key import BEARER, KeySent
from pricing_server.names import name_fault, printable
from pricing_server.providers.field import Field


class SourceError(Exception):
    """A payload as a whole is not what the source promises; nothing of it is used.

    The message is one line, safe to show.
    """


class RowError(ValueError):
    """One row of a payload cannot be read; the others are not touched by it."""


class KeyUse(Enum):
    """Whether a source is fetched with an API key."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class Evidence(Enum):
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
    evidence: Evidence
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
    context_length_field: str = ""
    """Where a row states the context length, in tokens; empty if it does not."""
    zero_means: ZeroMeans = ZeroMeans.NO_PRICE
    free_where: str = ""
    """How the source says that a model is free, in words."""
    paging: Paging | None = None
    """None where everything comes in one answer."""
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
        if self.proven_units and self.evidence is not Evidence.RECORDED:
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

MAX_DEPTH: Final = 32
"""Of a row's nesting; recorded rows have up to 6 levels."""


MAX_RATES: Final = 1_000
"""Of a card. The bundled catalogue has up to 72; a message of the contract takes thousands."""

MAX_NOTICES: Final = 200
"""Codes of a run that are named; of recorded payloads there are fewer than ten."""

_DUPLICATE = "the payload lists this model more than once"


class ListingBuilder:
    """Collects the rows of a payload so that a fault stays within its row."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], ListedModel] = {}
        self._faults: list[Fault] = []
        self._notices: dict[str, str] = {}
        self._noticed: dict[str, dict[str, None]] = {}
        self._duplicates: Counter[tuple[str, str]] = Counter()

    def read_row(self, provider: str, model_id: object, read: Callable[[str], ListedModel]) -> None:
        """Add what `read` makes of a row, given its checked id; a ValueError becomes its fault."""
        key = None
        try:
            if not isinstance(model_id, str):
                raise RowError("the model's id is not a text")
            if fault := name_fault(model_id):
                raise RowError(f"the model's id {fault}")
            key = (provider, model_id)
            if key in self._models or key in self._duplicates:
                # Neither of two rows for one model can be trusted more than the other.
                self._duplicates[key] += 1
                raise RowError(_DUPLICATE)
            model = read(model_id)
            if len(model.card.rates) > MAX_RATES:
                raise RowError(
                    f"the row states {len(model.card.rates)} rates, at most {MAX_RATES} are read"
                )
            self._models[key] = model
        except ValueError as error:
            self._faults.append(Fault(printable(model_id), str(error), key))

    def notice(self, code: str, message: str, model_id: str) -> None:
        """Name something of a row that becomes no rate."""
        self._notices[code] = message
        self._noticed.setdefault(code, {})[model_id] = None

    def unknown_key(self, key: str, model_id: str, where: str = "") -> None:
        """Name a key that states a price whose unit nobody declared; `where` is its path."""
        code = f"unknown_key:{where}{printable(key, 80)}"
        self.notice(code, "a price key without declared unit", model_id)

    def zero(self, key: str, model_id: str) -> None:
        """Name a zero that says nothing of what the model costs."""
        self.notice(f"zero:{key}", "zero without being declared free", model_id)

    def build(self, obtained_at: datetime, names: Mapping[str, str] | None = None) -> Listing:
        """The listing. Raises SourceError if not one row could be read."""
        for key in self._duplicates:
            if self._models.pop(key, None):
                self._faults.append(Fault(printable(key[1]), _DUPLICATE, key))
        if not self._models:
            first = f", the first: {self._faults[0].message}" if self._faults else ""
            raise SourceError(f"no model in the payload could be read{first}")
        return Listing(
            models=tuple(self._models.values()),
            faults=tuple(self._faults),
            notices=self._named_notices(),
            obtained_at=obtained_at,
            provider_names=dict(names or {}),
        )

    def _named_notices(self) -> tuple[Notice, ...]:
        """By code; of too many those of the most models, and how many more there are."""
        by_models = sorted(self._noticed, key=lambda code: (-len(self._noticed[code]), code))
        named = [
            Notice(code, self._notices[code], len(models), next(iter(models)))
            for code in sorted(by_models[:MAX_NOTICES])
            if (models := self._noticed[code])
        ]
        if left_out := by_models[MAX_NOTICES:]:
            models = {model_id: None for code in left_out for model_id in self._noticed[code]}
            message = f"{len(left_out)} more codes, each of fewer models than those named"
            named.append(Notice("more_codes", message, len(models), next(iter(models))))
        return tuple(named)


def rows_under(document: object, key: str = "data") -> list[object]:
    """The rows of an envelope such as {"data": [...]}. Raises SourceError if it is none."""
    rows = document.get(key) if isinstance(document, Mapping) else None
    if not isinstance(rows, list):
        raise SourceError(f"the payload is not an object with a list of models under '{key}'")
    return rows


def optional_name(value: object) -> str | None:
    """The value if it can be a name, else None: for what a row may but need not state."""
    return value if isinstance(value, str) and name_fault(value) is None else None


def fragment_text(value: object) -> str:
    """A decoded JSON value as JSON text again; Decimals keep their digits.

    Raises RowError for one that is nested absurdly deep.
    """
    return json.dumps(_jsonable(value, MAX_DEPTH), ensure_ascii=True, separators=(",", ":"))


def _jsonable(value: object, depth: int) -> object:
    if not depth:
        raise RowError(f"the row is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item, depth - 1) for item in value]
    return value
