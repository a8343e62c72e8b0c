"""What callers send is checked, and what makes no sense is named."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from llmpricing.names import MAX_NAME_LENGTH, name_fault
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.errors import InvalidArgument
from pricing_server.domain.names import printable
from pricing_server.domain.override import PriceOverride
from pricing_server.grpc_api.methods.evidence import list_discrepancies
from pricing_server.grpc_api.wire.page_tokens import Pages
from pricing_server.grpc_api.wire.requests import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    EnumType,
    check_enum,
    check_name,
    check_page_size,
)
from pricing_server.history.evidence import (
    Discrepancy,
    DiscrepancyCursor,
    DiscrepancyFilter,
    OverrideFilter,
    PriceEvidence,
)
from tests.unit._strategies import many

NO_RATIOS = (
    "many",
    "-2",
    "1.5.2",
    "1,5",
    "2x",
    " 2",
    "1e3",
    "NaN",
    "Infinity",
    ".5",
    "2.",
    "\u0662",
)


# Names.


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o",
        "openai/gpt-4o:free",
        "~acme/plain-latest",
        "accounts/fireworks/models/x",
        "Qwen/Qwen3.8-27B",
        "Mistral Large 3",
        "模型",
        "modèle",
        "\U0001f600",
        "x" * MAX_NAME_LENGTH,
        "%' OR 1=1 --",
    ],
)
def test_a_name_is_taken_as_it_is(name: str) -> None:
    assert check_name("model_id", name) == name


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("\t\n\u3000", "is empty"),
        ("x" * 513, "has 513 characters, at most 512 are allowed"),
        ("x" * 10_240, "has 10240 characters, at most 512 are allowed"),
        ("a\x00b", "has a control character or lone surrogate (U+0000)"),
        ("a\nb", "has a control character or lone surrogate (U+000A)"),
        ("a\x7f", "has a control character or lone surrogate (U+007F)"),
        ("a\x9fb", "has a control character or lone surrogate (U+009F)"),
        ("a\ud800", "has a control character or lone surrogate (U+D800)"),
        ("\udfffa", "has a control character or lone surrogate (U+DFFF)"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_cannot_be_a_name_is_refused_and_named(name: str, fault: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_name("model_id", name)
    assert (caught.value.field, caught.value.description) == ("model_id", fault)
    assert str(caught.value) == f"model_id {fault}"


@given(st.text(st.characters(exclude_categories=())))
@many
def test_every_accepted_name_can_be_sent_and_stored(name: str) -> None:
    if name_fault(name) is None:
        name.encode()
        assert "\x00" not in name
        assert pb.Match(model_id=name).model_id == name


@given(st.text(st.characters(exclude_categories=())) | st.binary() | st.integers() | st.none())
@example("\ud800" * 500)
@example("\\" * 200)
@many
def test_anything_can_be_shown_as_one_short_safe_line(value: object) -> None:
    shown = printable(value)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= 120
    if isinstance(value, str) and value.isascii() and value.isprintable() and len(value) <= 60:
        assert shown == value.replace("\\", "\\\\")


# Enums.


@pytest.mark.parametrize("enum", [pb.PriceUnit, pb.UnknownModels, pb.PricingSource])
def test_every_number_of_the_contract_is_taken_and_no_other(enum: EnumType) -> None:
    numbers = list(enum.values())
    for number in numbers:
        assert check_enum("unit", enum, number) == number
    for number in (max(numbers) + 1, -1, 2**31 - 1, -(2**31)):
        with pytest.raises(InvalidArgument) as caught:
            check_enum("unit", enum, number)
        assert caught.value.field == "unit"
        assert str(number) in caught.value.description


# Page sizes.


@pytest.mark.parametrize(
    ("asked", "given_size"),
    [(0, DEFAULT_PAGE_SIZE), (1, 1), (1_000, 1_000), (1_001, MAX_PAGE_SIZE), (2**31 - 1, 1_000)],
)
def test_a_page_is_as_large_as_asked_up_to_the_limit(asked: int, given_size: int) -> None:
    assert check_page_size(asked) == given_size


@pytest.mark.parametrize("asked", [-1, -(2**31)])
def test_a_negative_page_size_is_refused(asked: int) -> None:
    with pytest.raises(InvalidArgument, match="page_size is negative"):
        check_page_size(asked)


# Page tokens.

RUNS = Pages("ListSyncRuns", None)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).filter(
    str.strip
)
cursors = st.lists(st.integers(0, 2**63 - 1) | names, max_size=3)


def refused(pages: Pages, token: str, *types: type) -> bool:
    """Whether the token is refused, and then as it is promised."""
    try:
        pages.cursor(token, *types)
    except InvalidArgument as caught:
        error = caught
    else:
        return False
    assert error.field == "page_token"
    assert str(error).isascii()
    assert str(error).isprintable()
    return True


def token_of(document: object) -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def scope_of(pages: Pages) -> str:
    token = pages.token()
    scope = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))[0]
    assert isinstance(scope, str)
    return scope


@given(cursors, st.lists(st.none() | names | st.integers(), max_size=3))
@many
def test_a_token_leads_back_to_its_cursor(cursor: list[int | str], filters: list[object]) -> None:
    pages = Pages("ListPriceChanges", *filters)
    token = pages.token(*cursor)
    assert token.isascii()
    assert Pages("ListPriceChanges", *filters).cursor(token, *map(type, cursor)) == cursor


def test_an_empty_token_asks_for_the_first_page() -> None:
    assert RUNS.cursor("", int) is None


@given(cursors, st.lists(st.none() | names | st.integers(), max_size=3), st.none() | names)
@many
def test_a_token_of_another_method_or_other_filters_is_refused(
    cursor: list[int | str], filters: list[object], other: str | None
) -> None:
    token = Pages("ListPriceChanges", *filters).token(*cursor)
    types = [type(value) for value in cursor]
    assert refused(Pages("ListSyncRuns", *filters), token, *types)
    assert refused(Pages("ListPriceChanges", *filters, other), token, *types)
    for place, kept in enumerate(filters):
        changed = [*filters[:place], other, *filters[place + 1 :]]
        assert refused(Pages("ListPriceChanges", *changed), token, *types) is (other != kept)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (("a", "b"), ("a,b",)),
        (("a", None), ("a", "None")),
        (("a", None), ("a", "null")),
        ((None, "a"), ("a", None)),
        ((1,), ("1",)),
    ],
)
def test_filters_that_look_alike_are_not_the_same(
    one: tuple[object, ...], two: tuple[object, ...]
) -> None:
    assert refused(Pages("m", *two), Pages("m", *one).token(7), int)


@given(st.integers(0, 2**63 - 1), st.data())
@many
def test_a_truncated_or_extended_token_is_refused(cursor: int, data: st.DataObject) -> None:
    token = RUNS.token(cursor)
    cut = data.draw(st.integers(1, len(token) - 1))
    assert refused(RUNS, token[:cut], int)
    assert refused(RUNS, token[cut:], int)
    assert refused(RUNS, token + token, int)


@given(st.text() | st.text("ABCDEFGHabcdefgh0123456789-_=", max_size=60))
@example("=")
@example("====")
@example("A")
@example("é")
@example("\U0001f600")
@example("AAAA\n")
@example(token_of("[" * 3_000))
@example("A" * 100_000)
@many
def test_garbage_is_refused(garbage: str) -> None:
    assume(garbage)
    assert refused(RUNS, garbage, int)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
@many
def test_any_other_json_is_refused(document: object) -> None:
    assert refused(RUNS, token_of(document), int)


@pytest.mark.parametrize(
    "forged",
    [
        [],
        [7, 7],
        ["7"],
        [7.0],
        [True],
        [None],
        [[7]],
        [{"7": 7}],
        [-1],
        [2**63],
        [10**400],
        [float("nan")],
        [float("inf")],
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_cursor_that_no_page_ends_with_is_refused(forged: list[object]) -> None:
    assert refused(RUNS, token_of([scope_of(RUNS), *forged]), int)


def test_an_integer_that_python_would_not_read_is_refused() -> None:
    text = f'["{scope_of(RUNS)}", {"9" * 10_000}]'
    assert refused(RUNS, token_of(text), int)


@pytest.mark.parametrize(
    "forged", ["a\x00b", "\ud800", "", "x" * 10_240], ids=["nul", "surrogate", "empty", "long"]
)
def test_a_cursor_of_text_is_a_name_that_a_page_can_end_with(forged: str) -> None:
    # Neither Postgres nor the wire carries these: they would surface as an internal fault.
    pages = Pages("ListProviders")
    assert refused(pages, token_of([scope_of(pages), forged]), str)


def test_a_token_tells_nothing_of_its_filters() -> None:
    token = Pages("ListPriceChanges", "secret-filter").token(7)
    assert b"secret" not in base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


# Ratios.


class NeverAsked:
    """An EvidenceReader that a refused request does not reach."""

    async def evidence(self, provider: str, model_id: str) -> PriceEvidence:
        raise AssertionError

    async def discrepancies(
        self, criteria: DiscrepancyFilter, after: DiscrepancyCursor | None, limit: int
    ) -> Sequence[Discrepancy]:
        raise AssertionError

    async def overrides(
        self, criteria: OverrideFilter, before: int | None, limit: int
    ) -> Sequence[PriceOverride]:
        raise AssertionError


@pytest.mark.parametrize(
    ("ratio", "fault"),
    [
        *((text, "is not a ratio: digits with at most one point") for text in NO_RATIOS),
        *((text, "is not over 1") for text in ("0", "0.5", "1", "1.000")),
        *((text, "has too many digits for a ratio") for text in ("9" * 20, "1." + "1" * 60)),
    ],
)
async def test_a_ratio_that_is_none_is_told_as_such(ratio: str, fault: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await list_discrepancies(pb.ListDiscrepanciesRequest(min_ratio=ratio), NeverAsked())
    assert (caught.value.field, caught.value.description) == ("min_ratio", fault)
