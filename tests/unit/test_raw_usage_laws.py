"""What holds for every body, whoever wrote it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpricing.raw_usage import ApiFlavour, RawUsageError, ReadUsage, read_usage
from llmpricing.raw_usage.laws import LAWS
from llmpricing.raw_usage.streams import USAGES
from llmpricing.units import EXACT
from tests._raw_usage import UsageCase, usage_cases
from tests.unit._strategies import many

CASES: Final = usage_cases()
KEYS: Final = sorted({key for case in CASES for key in json.dumps(case.body).split('"')[1::2]})

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=20,
)
ODD: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    0,
    1,
    2**62,
    10**40,
    0.5,
    float("nan"),
    "7",
    "",
    [],
    {},
    [1],
    {"a": 1},
)


def attempt(body: Any, flavour: ApiFlavour) -> ReadUsage | str:
    """The result, which keeps the laws, or the one line of the refusal."""
    try:
        read = read_usage(body, flavour)
    except RawUsageError as refusal:
        message = str(refusal)
        assert message.isascii()
        assert message.isprintable()
        return message
    assert read.usage
    for quantity in read.usage.values():
        assert quantity.is_finite()
        assert quantity >= 0
    for whole, parts in LAWS:
        total = Decimal(0)
        for part in parts:
            total = EXACT.add(total, read.usage.get(part, Decimal(0)))
        assert total <= read.usage.get(whole, Decimal(0))
    for text in [*read.context, *read.context.values(), read.model or ""]:
        text.encode()
    for path, value in (*read.unknown, *read.ignored):
        assert path.isprintable()
        assert value.isprintable()
        (path + value).encode()
    return read


@many
@given(body=json_values, flavour=st.sampled_from(ApiFlavour))
def test_any_value_is_read_or_refused(body: Any, flavour: ApiFlavour) -> None:
    attempt(body, flavour)
    attempt({"usage": body, "usageMetadata": body, "meta": body}, flavour)


@many
@given(text=st.text() | st.binary(), flavour=st.sampled_from(ApiFlavour))
def test_any_text_is_read_or_refused(text: str | bytes, flavour: ApiFlavour) -> None:
    attempt(text, flavour)


@settings(many, max_examples=400)
@given(case=st.sampled_from(CASES), flavour=st.sampled_from(ApiFlavour), data=st.data())
def test_a_body_with_an_odd_value_is_read_or_refused(
    case: UsageCase, flavour: ApiFlavour, data: st.DataObject
) -> None:
    body = copy.deepcopy(case.body)
    for _ in range(data.draw(st.integers(1, 3))):
        places = list(_places(body))
        if places:
            parent, key = data.draw(st.sampled_from(places))
            parent[key] = copy.deepcopy(data.draw(st.sampled_from(ODD)))
    attempt(body, flavour)
    attempt(body, case.flavour)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_number_of_a_usage_object_is_dropped_in_silence(case: UsageCase) -> None:
    """One more anywhere changes the answer, or is refused."""
    before = read_usage(case.body, case.flavour)
    changed = 0
    for index in range(len(list(_numbers(case.body)))):
        body = copy.deepcopy(case.body)
        parent, key = list(_numbers(body))[index]
        parent[key] += 1
        after = attempt(body, case.flavour)
        assert after != before, f"{key} is in nothing that was read"
        changed += 1
    assert changed


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_nobody_knows_is_named_with_its_value(case: UsageCase) -> None:
    body = copy.deepcopy(case.body)
    usage = next(reversed(list(_usages(body))))
    usage["light_years"] = 7
    usage["deep"] = {"within": [0, {"parsecs": 8.5}]}
    read = read_usage(body, case.flavour)
    before = read_usage(case.body, case.flavour)
    assert (read.usage, read.model, read.context) == (before.usage, before.model, before.context)
    new = [stated for stated in read.unknown if stated not in before.unknown]
    assert [path.removeprefix(".").split(".")[-1] for path, _ in new] == ["light_years", "parsecs"]
    assert [value for _, value in new] == ["7", "8.5"]
    assert new[1].path.endswith("deep.within[1].parsecs")


@many
@given(case=st.sampled_from(CASES), seed=st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(case: UsageCase, seed: Any) -> None:
    assert _unordered(read_usage(_shuffled(case.body, seed), case.flavour)) == _unordered(
        read_usage(case.body, case.flavour)
    )


def _unordered(read: ReadUsage) -> tuple[Any, ...]:
    return read.usage, read.model, read.context, sorted(read.unknown), sorted(read.ignored)


def _shuffled(value: Any, seed: Any) -> Any:
    if isinstance(value, list):
        return [_shuffled(item, seed) for item in value]
    if not isinstance(value, dict):
        return value
    items = [(key, _shuffled(item, seed)) for key, item in value.items()]
    seed.shuffle(items)
    return dict(items)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Where anything is: its container and its key or index."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield value, key
        if isinstance(item, (dict, list)):
            yield from _places(item)


def _usages(value: Any) -> Iterator[dict[str, Any]]:
    """The usage objects of a body; of a stream's events those that are final."""
    if isinstance(value, list):
        for event in value:
            if isinstance(event, dict) and event.get("type") != "message_start":
                yield from _usages(event)
        return
    found = False
    for name in (*USAGES, "meta"):
        if isinstance(value.get(name), dict):
            found = True
            yield value[name]
    for name in ("response", "body", "result", "message", "metadata", "delta"):
        if isinstance(value.get(name), dict):
            inner = list(_usages(value[name]))
            found = found or bool(inner)
            yield from inner
    if not found and ("prompt_tokens" in value or "input_tokens" in value):
        yield value


def _numbers(body: Any) -> Iterator[tuple[Any, Any]]:
    """Every number of the final usage object."""
    for parent, key in _places(next(reversed(list(_usages(body))))):
        if isinstance(parent[key], (int, float)) and not isinstance(parent[key], bool):
            yield parent, key
