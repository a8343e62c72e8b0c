"""What is kept as JSON in a column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from llmpricing.meters import Meter
from llmpricing.units import plain
from pricing_server.domain.held_change import HoldEvidence


def evidence_document(evidence: Iterable[HoldEvidence]) -> Jsonb:
    """Evidence as it is stored: numbers are decimal strings."""
    return Jsonb(
        [
            {
                "meter": None if one.meter is None else one.meter.value,
                "ratio": plain(one.ratio),
                "references": one.references,
                "stated": None if one.stated is None else plain(one.stated),
                "reference": None if one.reference is None else plain(one.reference),
                "reference_source": one.reference_source,
            }
            for one in evidence
        ]
    )


def evidence_of(document: Iterable[Mapping[str, Any]]) -> tuple[HoldEvidence, ...]:
    """What `evidence_document` wrote."""
    return tuple(
        HoldEvidence(
            meter=None if one["meter"] is None else Meter(one["meter"]),
            ratio=Decimal(one["ratio"]),
            references=one["references"],
            stated=None if one["stated"] is None else Decimal(one["stated"]),
            reference=None if one["reference"] is None else Decimal(one["reference"]),
            reference_source=one["reference_source"],
        )
        for one in document
    )
