"""From the rows of a payload to a listing: a fault stays within its row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from llmpricing.names import name_fault
from pricing_server.domain.json_document import repeated_key
from pricing_server.domain.names import printable
from pricing_server.domain.source_listing import (
    MAX_RATES,
    Fault,
    ListedModel,
    Listing,
    Notice,
    SourceError,
)

MAX_DEPTH: Final = 32
"""Of a row's nesting; recorded rows have up to 6 levels."""

MAX_NOTICES: Final = 200
"""Codes of a run that are named; of recorded payloads there are fewer than ten."""

MAX_FAULTS: Final = 10_000
"""Rows that cannot be read, beyond which the payload is none; recorded ones have some hundred."""

_DUPLICATE = "the payload lists this model more than once"


class RowError(ValueError):
    """One row of a payload cannot be read; the others are not touched by it."""


class ListingBuilder:
    """Collects the rows of a payload so that a fault stays within its row."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], ListedModel] = {}
        self._faults: list[Fault] = []
        self._notices: dict[str, str] = {}
        self._noticed: dict[str, dict[str, None]] = {}
        self._duplicates: Counter[tuple[str, str]] = Counter()

    def read_row(
        self,
        provider: str,
        model_id: object,
        read: Callable[[str], ListedModel],
        stated: object = None,
    ) -> None:
        """Add what `read` makes of a row, given its checked id; a ValueError becomes its fault.

        So does a key that is stated twice anywhere in `stated`, all that the payload says of the
        row. Raises SourceError if too many rows cannot be read.
        """
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
            refuse_repeated(stated)
            model = read(model_id)
            if len(model.card.rates) > MAX_RATES:
                raise RowError(
                    f"the row states {len(model.card.rates)} rates, at most {MAX_RATES} are read"
                )
            self._models[key] = model
        except ValueError as error:
            self._faults.append(Fault(printable(model_id), str(error), key))
            if len(self._faults) > MAX_FAULTS:
                raise SourceError(
                    f"more than {MAX_FAULTS:,} rows cannot be read, the first: "
                    f"{self._faults[0].message}"
                ) from None

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


def refuse_repeated(stated: object) -> None:
    """Raise RowError if a key is stated more than once anywhere in a decoded value."""
    if (key := repeated_key(stated)) is not None:
        raise RowError(f"the key {printable(key, 80)} is stated more than once")


def rows_under(document: object, key: str = "data") -> list[object]:
    """The rows of an envelope such as {"data": [...]}. Raises SourceError if it is not one."""
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
