"""Promises that hold for every source that is fetched, whatever it answers."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmpricing.names import name_fault
from llmpricing.rate_card import PriceState, RateCard
from pricing_server.domain.json_document import RepeatedValue, decode_json
from pricing_server.domain.source import Source, SourceEvidence, ZeroMeans
from pricing_server.domain.source_listing import ListedModel, Listing, SourceError
from pricing_server.providers import SOURCES
from pricing_server.providers.listing_builder import MAX_FAULTS, MAX_NOTICES
from tests.unit._shapes import SHAPES, Key, Placed, Shape
from tests.unit._sources import NOW
from tests.unit._strategies import many

DECLARED_FREE: Final[Mapping[str, Callable[[ListedModel], bool]]] = {
    "openrouter": lambda model: model.model_id.endswith(":free"),
    "together": lambda model: model.model_id.lower().endswith("-free"),
    "huggingface": lambda model: '"is_free":true' in model.fragment,
    "vercel-ai-gateway": lambda model: model.model_id.endswith("-free"),
    "models-dev": lambda model: model.model_id.endswith(":free"),
}

COPIED: Final = "not_read:copied_list"

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.fixture))


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
    [
        *("id", "data", "pricing", "metadata", "providers", "input", "prompt"),
        *("modelId", "models", "amount", "scale", "skus", "description", "pricingInfo"),
        *("cost", "tiers", "pricing_config", "pay_as_you_go", "custom_pricing", "price"),
        *("litellm_provider", "input_cost_per_token", "tiered_pricing", "default", "acme"),
        *("\ud800", "price" * 2_000),
    ]
)
jsons = st.recursive(
    st.sampled_from(HOSTILE) | st.text(max_size=5) | st.decimals() | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(keys | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


def by_key(listing: Listing) -> Mapping[Key, ListedModel]:
    return {model.key: model for model in listing.models}


def check(source: Source, listing: Listing) -> None:
    """What is true of any listing that a source reads."""
    assert listing.models
    assert len({model.key for model in listing.models}) == len(listing.models)
    assert len(listing.notices) <= MAX_NOTICES + 1
    for model in listing.models:
        assert source.provider in (None, model.provider)
        assert name_fault(model.provider) is None
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


def spoil(placed: Placed, path: tuple[Any, ...], value: object, *, is_added: bool) -> Placed:
    """A copy of the row with a value replaced, or with a new key beside it."""
    spoilt = copy.deepcopy(placed.row)
    place: Any = spoilt
    for step in path[:-1]:
        place = place[step]
    if is_added and isinstance(place, dict):
        place["price_of_something"] = value
    else:
        place[path[-1]] = value
    return Placed(spoilt, placed.place)


def untouched(shape: Shape, broken: Placed, original: Placed) -> Mapping[Key, ListedModel]:
    """The models of the fixture that no form of a row has a part in."""
    return {
        key: model
        for key, model in by_key(shape.read(shape.rows)).items()
        if not shape.is_of(key, broken) and not shape.is_of(key, original)
    }


@every_shape
@pytest.mark.parametrize("is_deep", [False, True])
def test_a_key_that_a_row_states_twice_is_a_fault_of_its_model_alone(
    shape: Shape, is_deep: bool
) -> None:
    listed = by_key(shape.read(shape.rows))
    original = next(
        placed for placed in shape.rows if (key := shape.key_of(placed)) and key in listed
    )
    twice = RepeatedValue("never heard of", 1)
    more = {"more": [{"never heard of": twice}]} if is_deep else {"never heard of": twice}
    broken = Placed({**original.row, **more}, original.place)
    listing = shape.read([broken if one == original else one for one in shape.rows])
    key = shape.key_of(original)
    (message,) = {fault.message for fault in listing.faults if fault.key == key}
    assert message == "the key never heard of is stated more than once"
    kept = by_key(listing)
    assert key not in kept
    assert untouched(shape, broken, original).items() <= kept.items()


def test_a_model_or_a_seller_that_a_catalogue_has_twice_is_a_fault() -> None:
    one = b'{"litellm_provider": "acme", "mode": "chat", "input_cost_per_token": 1e-6}'
    body = b'{"a": %b, "b": %b, "a": %b}' % (one, one, one)
    listing = SOURCES["litellm"].read(decode_json(body), NOW)
    assert [model.model_id for model in listing.models] == ["b"]
    assert [fault.key for fault in listing.faults] == [("acme", "a")]
    seller = b'{"models": {"m": {"id": "m", "cost": {"input": 1}}}}'
    body = b'{"acme": %b, "else": %b, "acme": %b}' % (seller, seller, seller)
    listing = SOURCES["models-dev"].read(decode_json(body), NOW)
    assert [model.key for model in listing.models] == [("else", "m")]
    assert [fault.key for fault in listing.faults] == [("acme", "m")]


def test_rows_that_cannot_be_read_are_counted_up_to_a_limit() -> None:
    document = {"data": [1] * (MAX_FAULTS + 1)}
    with pytest.raises(SourceError, match="more than 10,000 rows cannot be read"):
        SOURCES["openrouter"].read(document, NOW)


def test_every_source_that_is_fetched_keeps_these_promises() -> None:
    assert {shape.slug for shape in SHAPES} == {
        slug for slug, source in SOURCES.items() if source.endpoint
    }


@every_shape
def test_a_payload_is_what_its_rows_make_it(shape: Shape) -> None:
    whole = SOURCES[shape.slug].read(shape.document, NOW)
    assert by_key(shape.read(shape.rows)) == by_key(whole)
    for model in whole.models:
        assert any(shape.is_of(model.key, placed) for placed in shape.rows)


@every_shape
@given(document=jsons)
@many
def test_any_answer_is_refused_as_a_whole_or_listed(shape: Shape, document: object) -> None:
    try:
        listing = SOURCES[shape.slug].read(document, NOW)
    except SourceError:
        return
    check(SOURCES[shape.slug], listing)


@every_shape
@given(odd=st.lists(jsons, max_size=5))
@example(odd=[{"description": ""}])
@example(odd=[{"description": "x"}])
@many
def test_every_row_is_a_model_or_a_fault(shape: Shape, odd: list[object]) -> None:
    rows = [Placed(row, shape.new_place(number)) for number, row in enumerate(odd)]
    listing = shape.read([*rows, *shape.rows])
    check(SOURCES[shape.slug], listing)
    told = {model.key for model in listing.models}
    told |= {fault.key for fault in listing.faults if fault.key}
    nameless = [placed for placed in rows if shape.key_of(placed) is None]
    for placed in rows:
        if (key := shape.key_of(placed)) is not None:
            assert key in told
    if shape.unread_code is not None:
        # A SKU tells of no model by itself: what is not read of it is named.
        noticed = {notice.code for notice in listing.notices}
        assert {shape.unread_code(placed) for placed in nameless} <= noticed
    else:
        assert sum(fault.key is None for fault in listing.faults) >= len(nameless)


@every_shape
@given(data=st.data())
@many
def test_a_broken_row_does_not_touch_its_neighbours(shape: Shape, data: st.DataObject) -> None:
    rows = shape.rows
    position = data.draw(st.integers(0, len(rows) - 1))
    path = data.draw(st.sampled_from(list(paths(rows[position].row))))
    value, is_added = data.draw(jsons), data.draw(st.booleans())
    broken = spoil(rows[position], path, value, is_added=is_added)
    listing = shape.read([*rows[:position], broken, *rows[position + 1 :]])
    check(SOURCES[shape.slug], listing)
    after = by_key(listing)
    for key, model in untouched(shape, broken, rows[position]).items():
        assert after[key] == model


@every_shape
def test_every_place_in_a_row_may_hold_anything(shape: Shape) -> None:
    rows = shape.rows
    before = by_key(shape.read(rows))
    seen = set()
    for position, placed in enumerate(rows):
        others = {key: each for key, each in before.items() if not shape.is_of(key, placed)}
        for path in paths(placed.row):
            place = tuple("[]" if isinstance(step, int) else step for step in path)
            if place in seen:
                continue
            seen.add(place)
            for value in HOSTILE:
                broken = spoil(placed, path, value, is_added=False)
                listing = shape.read([*rows[:position], broken, *rows[position + 1 :]])
                check(SOURCES[shape.slug], listing)
                after = by_key(listing)
                assert {key: after.get(key) for key in others} == others, (path, value)


@pytest.mark.parametrize(
    "shape",
    # Of rows by name there are never two; of SKUs there are many; Featherless repeats rows.
    [
        shape
        for shape in SHAPES
        if not shape.rows[0].place and not shape.is_of_skus and shape.slug != "featherless"
    ],
    ids=lambda shape: str(shape.fixture),
)
def test_of_two_rows_for_one_model_neither_is_believed(shape: Shape) -> None:
    twice = shape.rows[0]
    before = by_key(shape.read(shape.rows))
    listing = shape.read([*shape.rows, twice])
    others = {key: model for key, model in before.items() if not shape.is_of(key, twice)}
    assert by_key(listing) == others
    assert {fault.message for fault in listing.faults} == {
        "the payload lists this model more than once"
    }


@pytest.mark.parametrize(
    "shape",
    # Where prices are read from one place only, own modules test what is named there.
    [shape for shape in SHAPES if shape.prices_at is not None],
    ids=lambda shape: str(shape.fixture),
)
def test_an_unheard_of_price_key_is_counted_and_named_and_changes_no_card(shape: Shape) -> None:
    before = shape.read(shape.rows)
    listed = {model.key for model in before.models}
    listing = shape.read(
        shape.with_prices(placed, ["price_per_smile"]) if shape.key_of(placed) in listed else placed
        for placed in shape.rows
    )
    after = {key: model.card for key, model in by_key(listing).items()}
    assert after == {key: model.card for key, model in by_key(before).items()}
    named = {notice.code: notice.models for notice in listing.notices}
    names = {shape.name_of(placed) for placed in shape.rows if shape.key_of(placed) in listed}
    # Of a list that is a copy of another seller's, this is named instead of every price.
    assert named["unknown_key:price_per_smile"] == len(names) - named.get(COPIED, 0)


@every_shape
def test_notices_of_ever_new_kinds_stay_bounded(shape: Shape) -> None:
    sound = shape.rows[0]
    rows = [sound]
    if shape.is_of_skus:
        rows += [
            Placed(
                sound.row | {"description": sound.row["description"].replace("2.5", str(number))}
            )
            for number in range(10, 10 + 5 * MAX_NOTICES)
        ]
    else:
        rows = [shape.with_prices(sound, [f"price_{number}" for number in range(5 * MAX_NOTICES)])]
    listing = shape.read(rows)
    check(SOURCES[shape.slug], listing)
    if shape.prices_at is not None or shape.is_of_skus:
        assert len(listing.notices) > MAX_NOTICES


@pytest.mark.parametrize("slug", list(dict.fromkeys(shape.slug for shape in SHAPES)))
def test_every_declared_meter_is_shown_by_a_fixture(slug: str) -> None:
    shown = {
        rate.meter
        for shape in SHAPES
        if shape.slug == slug
        for model in shape.read(shape.rows).models
        for rate in model.card.rates
    }
    assert shown == {field.meter for field in SOURCES[slug].fields.values()}


@pytest.mark.parametrize(
    "shape",
    [shape for shape in SHAPES if shape.recording is not None],
    ids=lambda shape: str(shape.fixture),
)
@pytest.mark.recorded
def test_a_fixture_has_the_shape_of_the_recorded_payload(shape: Shape) -> None:
    assert shape.recording is not None
    recording = shape.recording()
    assert type(shape.document) is type(recording)
    true, own = (
        [set(placed.row) for placed in rows] for rows in (shape.split(recording), shape.rows)
    )
    assert set.intersection(*true) <= set.intersection(*own)


def test_every_recorded_source_has_a_fixture_of_a_recording() -> None:
    assert {shape.slug for shape in SHAPES if shape.recording is not None} >= {
        slug
        for slug, source in SOURCES.items()
        # OpenRouter's own module holds its fixture against three recordings.
        if source.endpoint and source.evidence is SourceEvidence.RECORDED and slug != "openrouter"
    }


def test_free_is_told_by_every_source_that_declares_it() -> None:
    for slug, source in SOURCES.items():
        assert (source.zero_means is ZeroMeans.FREE_IF_DECLARED) == (slug in DECLARED_FREE)
    assert {
        shape.slug
        for shape in SHAPES
        for model in shape.read(shape.rows).models
        if model.card.state is PriceState.FREE
    } == set(DECLARED_FREE)
