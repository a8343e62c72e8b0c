"""Whatever a catalogue sends is a listing or one clear error, and sound rows survive."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.names import name_fault
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.source_listing import Listing, SourceError
from pricing_server.providers import SOURCES
from tests.unit._strategies import many

FIXTURES = Path(__file__).parents[1] / "fixtures"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SLUGS = ("litellm", "models-dev", "portkey")

HOSTILE = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        10**400,
        Decimal("NaN"),
        Decimal("-Infinity"),
        Decimal("1E+999"),
        Decimal("1E-999"),
        "",
        "\x00",
        "\ud800",
        "1e400",
        "x" * 10_000,
        [],
        [[]],
        {},
        {"price": {}},
        {"price": {"price": 1}},
        {"range": [0, 1]},
        json.loads('{"a":' * 60 + "1" + "}" * 60),
    ]
)
NAMES = st.sampled_from(["", "\x00", "\ud800", "x" * 10_000, "a_cost", "tiers", "price", "default"])


def fixture(slug: str) -> Any:
    return decode_json((FIXTURES / f"{slug.replace('-', '_')}.json").read_bytes())


def places(node: object) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    keys = (
        list(node)
        if isinstance(node, Mapping)
        else range(len(node) if isinstance(node, list) else 0)
    )
    found: list[tuple[Any, Any]] = []
    for key in keys:
        found.append((node, key))
        found.extend(places(node[key]))  # type: ignore[index]
    return found


@pytest.mark.parametrize("slug", SLUGS)
@given(data=st.data())
@many
def test_a_broken_document_is_a_listing_or_one_error(slug: str, data: st.DataObject) -> None:
    document = fixture(slug)
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(document)))
        value = deepcopy(data.draw(HOSTILE))
        if isinstance(container, dict) and data.draw(st.booleans()):
            container[data.draw(NAMES)] = value
        else:
            container[key] = value
    read: Callable[[object, datetime], Listing] = SOURCES[slug].read
    try:
        listing = read(document, NOW)
    except SourceError:
        return
    for model in listing.models:
        assert not name_fault(model.model_id)
        assert not name_fault(model.provider)
        assert model.fragment.isascii()
        assert all(0 <= rate.price < 10**11 for rate in model.card.rates)
    for fault in listing.faults:
        assert len(fault.model_id) <= 120
        assert len(fault.message) < 500
    for notice in listing.notices:
        assert notice.code.isascii()
        assert len(notice.code) < 200
        assert not name_fault(notice.example)


@pytest.mark.parametrize("slug", SLUGS)
@given(data=st.data())
@many
def test_one_broken_row_costs_no_other(slug: str, data: st.DataObject) -> None:
    document = fixture(slug)
    sound = {model.key: model.card for model in SOURCES[slug].read(document, NOW).models}
    rows = document if slug == "litellm" else document["acme" if slug == "models-dev" else "google"]
    rows = rows["models"] if slug == "models-dev" else rows
    name = data.draw(st.sampled_from(sorted(rows)))
    rows[name] = deepcopy(data.draw(HOSTILE))
    found = {model.key: model.card for model in SOURCES[slug].read(document, NOW).models}
    changed = {key for key in sound.keys() | found.keys() if sound.get(key) != found.get(key)}
    assert len(changed) <= 2  # The row, and where it names no seller any more, none.
