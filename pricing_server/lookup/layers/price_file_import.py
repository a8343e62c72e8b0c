"""`pricing-server import-manual`: converts an old price file to one with a declared unit.

Old files do not state the unit of their prices, or state it entry by entry, and write zero
for unknown prices. What is certain is kept; everything else is named and left out.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from llmpricing.names import name_fault
from llmpricing.units import PriceError, PricingFormat, parse_price, plain
from pricing_server.domain import sellers
from pricing_server.domain.names import printable
from pricing_server.lookup.layers.price_file_format import (
    METADATA,
    METERS,
    UNITS,
    ManualFileError,
    decode_document,
    is_implausible,
    read_manual_file,
    read_price,
    stated_instant,
)

UNIT_KEYS: Final = frozenset({"unit", "units", "per", "pricing_unit", "price_unit", "format",
                              "pricing_format", "price_format"})  # fmt: skip
"""Keys under which an entry may state its own unit."""

_UNIT_NAMES: Final[Mapping[PricingFormat, frozenset[str]]] = {
    PricingFormat.PER_1M_TOKENS: frozenset({
        "1m", "1mtokens", "m", "million", "1million", "milliontokens", "1milliontokens",
        "mtok", "1mtok", "1000000", "1000000tokens",
    }),
    PricingFormat.PER_1K_TOKENS: frozenset({
        "1k", "1ktokens", "k", "thousand", "1thousand", "thousandtokens", "1thousandtokens",
        "ktok", "1ktok", "1000", "1000tokens",
    }),
    PricingFormat.PER_TOKEN: frozenset({"token", "1token", "1"}),
}  # fmt: skip


@dataclass(slots=True)
class ManualConversion:
    """The result of converting an old file."""

    models: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    """What was left out and why, each a line."""
    warnings: list[str] = field(default_factory=list)
    updated: str | None = None

    @property
    def count(self) -> int:
        """How many models were converted."""
        return sum(map(len, self.models.values()))

    def document(self, unit: str) -> dict[str, object]:
        """The file to write."""
        metadata = {"unit": unit} | ({"updated": self.updated} if self.updated else {})
        return {METADATA: metadata, **self.models}


def convert(document: Mapping[str, object], unit: str, now: datetime) -> ManualConversion:
    """Convert a decoded old file whose prices are per `unit`, a key of UNITS.

    Raises ManualFileError if the file as a whole states another unit.
    """
    conversion = ManualConversion()
    metadata = document.get(METADATA)
    if isinstance(metadata, Mapping):
        if fault := _contradiction(metadata, unit):
            raise ManualFileError(f"{METADATA}: {fault}")
        for key in ("updated", "last_updated", "updated_at"):
            instant = stated_instant(metadata.get(key))
            if instant is not None and instant.year >= 2000 and instant <= now:
                conversion.updated = str(metadata[key])
                break
    conflicting: set[tuple[str, str]] = set()
    for provider, models in document.items():
        if provider != METADATA:
            _convert_provider(conversion, provider, models, unit, conflicting)
    return conversion


def import_manual(source: Path, unit: str, output: Path | None) -> int:
    """Convert a file and write the result; the process exit code.

    Refusals are listed on standard error. 1 if nothing could be converted or written.
    """
    try:
        now = datetime.now(UTC)
        conversion = convert(decode_document(source.read_bytes()), unit, now)
        if conversion.updated is None:
            modified_at = datetime.fromtimestamp(source.stat().st_mtime, UTC)
            conversion.updated = min(modified_at, now).date().isoformat()
        text = json.dumps(conversion.document(unit), indent=2, ensure_ascii=False) + "\n"
        for line in conversion.refused:
            print(f"refused: {line}", file=sys.stderr)
        for line in conversion.warnings:
            print(f"warning: {line}", file=sys.stderr)
        models, refused = conversion.count, len(conversion.refused)
        print(f"{models} models converted, {refused} refusals", file=sys.stderr)
        if not models:
            return 1
        read_manual_file(text.encode(), source.name, now, now)
        if output is None:
            print(text, end="")
        else:
            _write(output, text)
    except ManualFileError as error:
        print(f"pricing-server: {source}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"pricing-server: {error.filename or source}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _convert_provider(
    conversion: ManualConversion,
    provider: str,
    models: object,
    unit: str,
    conflicting: set[tuple[str, str]],
) -> None:
    shown = printable(provider)
    if provider.startswith("_") or not isinstance(models, Mapping):
        conversion.refused.append(f"{shown}: is not an object of models of a provider")
        return
    if fault := name_fault(provider):
        conversion.refused.append(f"provider {shown!r}: {fault}")
        return
    own = models.get(METADATA)
    if fault := _contradiction(own, unit) if isinstance(own, Mapping) else None:
        conversion.refused.append(f"{shown}: all models: {METADATA}: {fault}")
        return
    seller = sellers.canonical(provider)
    for model_id, entry in models.items():
        if model_id == METADATA:
            continue
        place = f"{shown}/{printable(model_id)}"
        if fault := "begins with '_'" if model_id.startswith("_") else name_fault(model_id):
            conversion.refused.append(f"{place}: the model's id {fault}")
            continue
        prices = _convert_entry(conversion, place, entry, unit)
        if not prices:
            continue
        known = conversion.models.setdefault(seller, {})
        if (seller, model_id) in conflicting or known.get(model_id, prices) != prices:
            # If a model has two prices, neither can be trusted more than the other.
            conflicting.add((seller, model_id))
            known.pop(model_id, None)
            conversion.refused.append(f"{place}: {seller} has another price of it in this file")
            continue
        known[model_id] = prices
    if not conversion.models.get(seller, True):
        del conversion.models[seller]


def _convert_entry(
    conversion: ManualConversion, place: str, entry: object, unit: str
) -> dict[str, object] | None:
    """The certain prices of an entry; None, with the reason listed, if no price is certain."""
    if not isinstance(entry, Mapping):
        conversion.refused.append(f"{place}: is not an object of prices")
        return None
    if fault := _contradiction(entry, unit):
        conversion.refused.append(f"{place}: {fault}")
        return None
    free = entry.get("free") is True
    prices: dict[str, object] = {}
    refused: list[str] = []
    warnings: list[str] = []
    for key, value in entry.items():
        if key in UNIT_KEYS or key in (METADATA, "free", "currency") or value is None:
            continue
        if key not in METERS:
            refused.append(f"{place}.{printable(key)}: unknown key, left out")
            continue
        try:
            price = read_price(key, value, UNITS[unit])
            stated = plain(parse_price(value))
        except PriceError as error:
            conversion.refused.append(f"{place}: {key}: {error}")
            return None
        if price == 0 and not free:
            refused.append(f"{place}.{key}: zero is no price, left out")
            continue
        if price != 0 and free:
            conversion.refused.append(f'{place}: says "free" and has the price {key} {stated}')
            return None
        if is_implausible(key, price):
            warnings.append(f"{place}.{key}: {stated} is implausible; is the unit right?")
        prices[key] = stated
    conversion.refused.extend(refused)
    conversion.warnings.extend(warnings)
    if free:
        return {**prices, "free": True}
    if not prices:
        conversion.refused.append(f"{place}: no price is left")
        return None
    return prices


def _contradiction(stated: Mapping[str, object], unit: str) -> str | None:
    """How an object contradicts the unit or currency of the file; None if it does not."""
    inner = stated.get(METADATA)
    if isinstance(inner, Mapping) and (fault := _contradiction(inner, unit)):
        return fault
    if stated.get("currency", "USD") not in ("USD", "usd", None):
        return f"is in {printable(stated['currency'], 20)}, not in USD"
    for key in sorted(UNIT_KEYS & stated.keys()):
        value = stated[key]
        if value is not None and _named_unit(value) is not UNITS[unit]:
            return f"states the unit {printable(value, 40)} of its own, not {unit}"
    return None


def _named_unit(value: object) -> PricingFormat | None:
    """The unit that a text or number names, None if that is not certain."""
    text = re.sub(r"[^a-z0-9]", "", str(value).lower().replace("usd", "").replace("$", ""))
    text = text.removeprefix("per")
    return next((unit for unit, names in _UNIT_NAMES.items() if text in names), None)


def _write(output: Path, text: str) -> None:
    """Replace the file at once: a server that reads it sees the old file or the new one."""
    descriptor, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(descriptor, 0o644)
        os.replace(name, output)
    except BaseException:
        os.unlink(name)
        raise
