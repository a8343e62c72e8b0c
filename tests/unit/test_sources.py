"""Promises that hold for every source that is fetched, whatever it answers."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.rate_card import PriceState, RateCard
from pricing_server.fetch import decode_json
from pricing_server.names import name_fault
from pricing_server.providers import SOURCES
from pricing_server.providers.source import (
    MAX_NOTICES,
    ListedModel,
    Listing,
    Source,
    SourceError,
    ZeroMeans,
)
from tests._recorded import recorded
from tests.unit._sources import FIXTURES, NOW, by_id
from tests.unit._strategies import many

CASES: Final = [
    *((slug, slug) for slug, source in SOURCES.items() if source.endpoint),
    ("deepinfra", "deepinfra_list"),
]
"""Source and fixture: a fetched source has a fixture of its name."""

RECORDED: Final = {"cerebras": "cerebras_public_2026"}

DECLARED_FREE: Final[Mapping[str, Callable[[ListedModel], bool]]] = {
    "openrouter": lambda model: model.model_id.endswith(":free"),
    "together": lambda model: model.model_id.lower().endswith("-free"),
    "huggingface": lambda model: '"is_free":true' in model.fragment,
}

Row = dict[str, Any]

every_source = pytest.mark.parametrize(("slug", "fixture"), CASES)


def deep(levels: int) -> object:
    value: object = "deep"
    for _ in range(levels):
        value = [value]
    return value


# What `decode_json` can make of a body: no floats, and NaN for numbers that no price has.
HOSTILE: Final[list[object]] = [
    None,
    True,
    -1,
    -5,
    10**400,
    Decimal("NaN"),
    Decimal("Infinity"),
    Decimal("-Infinity"),
    Decimal("1E+400"),
    Decimal("1E-400"),
    Decimal("-0.0"),
    Decimal("0.1"),
    0,
    "",
    "0",
    "-1",
    "NaN",
    "1e400",
    "free",
    "x" * 10_000,
    "a\x00b",
    "\ud800",
    [],
    {},
    [[]],
    [{}],
    {"": {}},
    {"usd": "x"},
    {"pricing": {}},
    deep(900),
    [5],
    {"min_tokens": 1},
]
keys = st.sampled_from(
    ["id", "data", "pricing", "metadata", "providers", "input", "prompt", "\ud800", "price" * 2_000]
)
jsons = st.recursive(
    st.sampled_from(HOSTILE) | st.text(max_size=5) | st.decimals() | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(keys | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


def fixture_rows(name: str) -> list[Row]:
    document: Any = decode_json((FIXTURES / f"{name}.json").read_bytes())
    rows: list[Row] = document if isinstance(document, list) else document["data"]
    return rows


def read(slug: str, fixture: str, rows: list[Any]) -> Listing:
    is_bare = isinstance(json.loads((FIXTURES / f"{fixture}.json").read_bytes()), list)
    return SOURCES[slug].read(rows if is_bare else {"data": rows}, NOW)


def model_id_of(row: object, fixture: str) -> object:
    key = "model_name" if fixture == "deepinfra_list" else "id"
    return row.get(key) if isinstance(row, dict) else None


def check(source: Source, listing: Listing) -> None:
    """What is true of any listing that a source reads."""
    assert listing.models
    assert len({model.key for model in listing.models}) == len(listing.models)
    assert len(listing.notices) <= MAX_NOTICES + 1
    for model in listing.models:
        assert model.provider == source.provider
        assert name_fault(model.model_id) is None
        assert isinstance(json.loads(model.fragment), dict)
        assert (
            RateCard.from_document(json.loads(json.dumps(model.card.to_document()))) == model.card
        )
        assert all(rate.price > 0 for rate in model.card.rates) or is_declared_free(source, model)
    for text in (
        *(fault.message for fault in listing.faults),
        *(fault.model_id for fault in listing.faults),
        *(notice.code for notice in listing.notices),
    ):
        assert text.isascii()
        assert text.isprintable()
        assert len(text) <= 300


def is_declared_free(source: Source, model: ListedModel) -> bool:
    if source.zero_means is ZeroMeans.FREE_IF_DECLARED:
        return DECLARED_FREE[source.slug](model)
    return source.zero_means is ZeroMeans.FREE


def paths(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value within a row."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from paths(item, (*path, position))


def spoil(row: Row, path: tuple[Any, ...], value: object, *, is_added: bool) -> Row:
    """A copy of the row with a value replaced, or with a new key beside it."""
    spoilt = copy.deepcopy(row)
    place: Any = spoilt
    for step in path[:-1]:
        place = place[step]
    if is_added and isinstance(place, dict):
        place["price_of_something"] = value
    else:
        place[path[-1]] = value
    return spoilt


@every_source
@given(document=jsons)
@many
def test_any_answer_is_refused_as_a_whole_or_listed(
    slug: str, fixture: str, document: object
) -> None:
    try:
        listing = SOURCES[slug].read(document, NOW)
    except SourceError:
        return
    check(SOURCES[slug], listing)


@every_source
@given(rows=st.lists(jsons, max_size=5))
@many
def test_every_row_is_a_model_or_a_fault(slug: str, fixture: str, rows: list[object]) -> None:
    sound = fixture_rows(fixture)[0]
    listing = read(slug, fixture, [*rows, sound])
    check(SOURCES[slug], listing)
    told = {model.model_id for model in listing.models}
    told |= {fault.key[1] for fault in listing.faults if fault.key}
    nameless = 0
    for row in rows:
        model_id = model_id_of(row, fixture)
        if isinstance(model_id, str) and name_fault(model_id) is None:
            assert model_id in told
        else:
            nameless += 1
    assert sum(fault.key is None for fault in listing.faults) >= nameless


@every_source
@given(data=st.data())
@many
def test_a_broken_row_does_not_touch_its_neighbours(
    slug: str, fixture: str, data: st.DataObject
) -> None:
    rows = fixture_rows(fixture)
    before = by_id(read(slug, fixture, rows))
    position = data.draw(st.integers(0, len(rows) - 1))
    path = data.draw(st.sampled_from(list(paths(rows[position]))))
    value, is_added = data.draw(jsons), data.draw(st.booleans())
    broken = spoil(rows[position], path, value, is_added=is_added)
    listing = read(slug, fixture, [*rows[:position], broken, *rows[position + 1 :]])
    check(SOURCES[slug], listing)
    after = by_id(listing)
    for other in rows[:position] + rows[position + 1 :]:
        own_id = str(model_id_of(other, fixture))
        if own_id == model_id_of(broken, fixture):
            continue
        for model_id, model in before.items():
            if model_id == own_id or model_id.startswith(f"{own_id}:"):
                assert after[model_id] == model


@every_source
def test_every_place_in_a_row_may_hold_anything(slug: str, fixture: str) -> None:
    rows = fixture_rows(fixture)
    before = by_id(read(slug, fixture, rows))
    seen = set()
    for row, neighbour in zip(rows, [*rows[1:], rows[0]], strict=True):
        sound = str(model_id_of(neighbour, fixture))
        for path in paths(row):
            place = tuple("[]" if isinstance(step, int) else step for step in path)
            if place in seen:
                continue
            seen.add(place)
            for value in HOSTILE:
                broken = spoil(row, path, value, is_added=False)
                listing = read(slug, fixture, [broken, neighbour])
                check(SOURCES[slug], listing)
                assert by_id(listing)[sound] == before[sound], (path, value)


@pytest.mark.parametrize(("slug", "fixture"), [case for case in CASES if case[0] != "featherless"])
def test_of_two_rows_for_one_model_neither_is_believed(slug: str, fixture: str) -> None:
    rows = fixture_rows(fixture)
    twice = str(model_id_of(rows[0], fixture))
    before = by_id(read(slug, fixture, rows))
    listing = read(slug, fixture, [*rows, rows[0]])
    others = {
        model_id: model
        for model_id, model in before.items()
        if model_id != twice and not model_id.startswith(f"{twice}:")
    }
    assert by_id(listing) == others
    assert {fault.message for fault in listing.faults} == {
        "the payload lists this model more than once"
    }


@pytest.mark.parametrize(
    ("slug", "fixture"),
    # These two read prices from one place only; their own modules test what they name there.
    [case for case in CASES if case[0] not in ("openrouter", "featherless")],
)
def test_an_unheard_of_price_key_is_counted_and_named_and_changes_no_card(
    slug: str, fixture: str
) -> None:
    rows = fixture_rows(fixture)
    before = {key: model.card for key, model in by_id(read(slug, fixture, rows)).items()}
    listing = read(slug, fixture, [row | {"price_per_smile": 1} for row in rows])
    assert {key: model.card for key, model in by_id(listing).items()} == before
    named = {notice.code: notice.models for notice in listing.notices}
    assert named["unknown_key:price_per_smile"] == len(rows)


@every_source
def test_notices_of_ever_new_kinds_stay_bounded(slug: str, fixture: str) -> None:
    row = fixture_rows(fixture)[0] | {f"price_{number}": 1 for number in range(5 * MAX_NOTICES)}
    listing = read(slug, fixture, [row])
    check(SOURCES[slug], listing)


@pytest.mark.parametrize("slug", [slug for slug, _ in CASES])
def test_every_declared_meter_is_shown_by_a_fixture(slug: str) -> None:
    shown = {
        rate.meter
        for source, fixture in CASES
        if source == slug
        for model in read(slug, fixture, fixture_rows(fixture)).models
        for rate in model.card.rates
    }
    assert shown == {field.meter for field in SOURCES[slug].fields.values()}


@pytest.mark.parametrize("slug", [slug for slug, name in CASES if slug == name != "openrouter"])
def test_a_fixture_has_the_shape_of_the_recorded_payload(slug: str) -> None:
    true = json.loads(recorded(f"{RECORDED.get(slug, slug)}.json").read_bytes())
    own = json.loads((FIXTURES / f"{slug}.json").read_bytes())
    assert type(own) is type(true)
    rows = [each if isinstance(each, list) else each["data"] for each in (true, own)]
    assert set.intersection(*map(set, rows[0])) <= set.intersection(*map(set, rows[1]))


def test_free_is_told_by_every_source_that_declares_it() -> None:
    for slug, source in SOURCES.items():
        assert (source.zero_means is ZeroMeans.FREE_IF_DECLARED) == (slug in DECLARED_FREE)
        if source.endpoint:
            states = {m.card.state for m in read(slug, slug, fixture_rows(slug)).models}
            assert (PriceState.FREE in states) == (slug in DECLARED_FREE)
