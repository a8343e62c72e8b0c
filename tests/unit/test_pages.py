"""A listing in pages is read to its end, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing_server.domain.fetch_errors import (
    DeadlineExceeded,
    FetchError,
    HttpStatusError,
    PagingError,
)
from pricing_server.domain.fetch_request import FetchPolicy, FetchRequest
from pricing_server.domain.payload import NotModified, Payload, Validators
from pricing_server.domain.source import Paging
from pricing_server.sync.pages import MAX_PAGES, fetch_listing, fetch_parts
from tests.unit._strategies import many

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
TAG = Validators(etag='"1"')
BY_TOKEN = Paging("rows", "pageToken", token_key="next")
BY_NUMBER = Paging("rows", "page", pages_key="at.pages", total_key="at.total")
BY_OFFSET = Paging("rows", "offset", total_key="total")


@dataclass
class Api:
    """Answers one document after the other, then 404."""

    documents: Sequence[object]
    validators: Validators | None = None
    size: int = 10
    asked: list[FetchRequest] = field(default_factory=list)

    async def fetch(self, request: FetchRequest) -> Payload | NotModified:
        self.asked.append(request)
        if request.validators is not None and request.validators == self.validators:
            return NotModified(NOON)
        if len(self.asked) > len(self.documents):
            raise HttpStatusError("http://api.test/: HTTP status 404", 404)
        number = len(self.asked)
        at = NOON + timedelta(seconds=number - 1)
        document = self.documents[number - 1]
        return Payload(document, at, f"{number:064}", "", self.size, self.validators)

    @property
    def queries(self) -> list[dict[str, list[str]]]:
        return [parse_qs(urlsplit(request.url).query) for request in self.asked]


def request(url: str = "http://api.test/?key=hush", **limits: Any) -> FetchRequest:
    return FetchRequest(url, "sk-1", policy=FetchPolicy(**limits))


async def whole(api: Api, paging: Paging | None) -> Any:
    listing = await fetch_listing(api, request(), paging)
    assert isinstance(listing, Payload)
    return listing.document


async def test_pages_by_token_become_one_document() -> None:
    api = Api(
        [
            {"rows": [1, 2], "next": "b/+&=", "kind": "list"},
            {"rows": [], "next": "c"},
            {"rows": [3], "next": ""},
        ]
    )
    assert await whole(api, BY_TOKEN) == {"rows": [1, 2, 3], "next": "b/+&=", "kind": "list"}
    assert [query.get("pageToken") for query in api.queries] == [None, ["b/+&="], ["c"]]
    assert all(query["key"] == ["hush"] for query in api.queries)
    assert all(asked.api_key == "sk-1" for asked in api.asked)


async def test_pages_by_number_become_one_document() -> None:
    at = {"pages": 3, "total": 5}
    api = Api([{"rows": rows, "at": at} for rows in ([1, 2], [3, 4], [5])])
    assert (await whole(api, BY_NUMBER))["rows"] == [1, 2, 3, 4, 5]
    assert [query.get("page") for query in api.queries] == [None, ["2"], ["3"]]


async def test_pages_by_offset_become_one_document() -> None:
    api = Api([{"rows": rows, "total": 5} for rows in ([1, 2], [3, 4], [5])])
    assert (await whole(api, BY_OFFSET))["rows"] == [1, 2, 3, 4, 5]
    assert [query.get("offset") for query in api.queries] == [None, ["2"], ["4"]]


@pytest.mark.parametrize("paging", [None, BY_TOKEN, BY_NUMBER, BY_OFFSET])
async def test_everything_in_one_answer_is_that_answer(paging: Paging | None) -> None:
    api = Api([{"rows": [1, 2]}], validators=TAG)
    listing = await fetch_listing(api, request(), paging)
    assert listing == Payload({"rows": [1, 2]}, NOON, f"{1:064}", "", 10, TAG)


@pytest.mark.parametrize("document", [None, [], {}, {"rows": None}, "rows"])
@pytest.mark.parametrize("paging", [BY_TOKEN, BY_NUMBER, BY_OFFSET])
async def test_what_is_no_page_is_left_to_the_adapter(document: object, paging: Paging) -> None:
    assert await whole(Api([document]), paging) == document


async def test_a_listing_of_several_pages_has_no_validators_and_is_as_old_as_its_first() -> None:
    api = Api([{"rows": [1], "next": "b"}, {"rows": [2]}], validators=TAG)
    listing = await fetch_listing(api, request(), BY_TOKEN)
    assert isinstance(listing, Payload)
    assert (listing.validators, listing.obtained_at, listing.bytes_read) == (None, NOON, 20)


async def test_further_pages_are_asked_for_without_validators() -> None:
    api = Api([{"rows": [1], "next": "b"}, {"rows": [2]}])
    known = FetchRequest("http://api.test/", validators=TAG)
    await fetch_listing(api, known, BY_TOKEN)
    assert [asked.validators for asked in api.asked] == [TAG, None]


async def test_nothing_changed_is_the_answer_for_the_whole_listing() -> None:
    api = Api([], validators=TAG)
    known = FetchRequest("http://api.test/", validators=TAG)
    assert await fetch_listing(api, known, BY_TOKEN) == NotModified(NOON)


@pytest.mark.parametrize(
    ("paging", "documents", "message"),
    [
        (BY_TOKEN, [{"rows": [1], "next": "b"}, {"rows": [2], "next": "b"}], "leads back"),
        (BY_TOKEN, [{"rows": [1], "next": "b"}, {"rows": [1], "next": "c"}], "page 2 repeats"),
        (BY_TOKEN, [{"rows": [1], "next": 7}], "not a token"),
        (BY_TOKEN, [{"rows": [1], "next": "b" * 5_000}], "not a token"),
        (BY_TOKEN, [{"rows": [1], "next": "b"}, {"error": "no"}], "page 2 has no list"),
        (BY_NUMBER, [{"rows": [1], "at": {"pages": 1, "total": 2}}], "1 rows of 2"),
        (BY_NUMBER, [{"rows": [1, 2], "at": {"total": 1}}], "2 rows of 1"),
        (BY_NUMBER, [{"rows": [1], "at": {"pages": "3"}}], "not a count"),
        (BY_NUMBER, [{"rows": [1], "at": {"pages": True}}], "not a count"),
        (BY_NUMBER, [{"rows": [1], "at": {"pages": -1}}], "not a count"),
        (
            BY_NUMBER,
            [{"rows": [1], "at": {"pages": 2}}, {"rows": [2], "at": {"pages": 3}}],
            "differ in 'at.pages'",
        ),
        (BY_NUMBER, [{"rows": [1], "at": {"pages": 2}}, {"rows": [2]}], "differ in 'at.pages'"),
        (BY_NUMBER, [{"rows": [1], "at": {"pages": 2}}] * 2, "page 2 repeats"),
        (BY_OFFSET, [{"rows": [1], "total": 3}, {"rows": [], "total": 3}], "end after 1 rows"),
        (BY_OFFSET, [{"rows": [1], "total": 3}, {"rows": [2], "total": 2}], "differ in 'total'"),
        (BY_OFFSET, [{"rows": [1], "total": 2}, {"rows": [2, 3], "total": 2}], "3 rows of 2"),
    ],
)
async def test_pages_that_do_not_make_up_a_whole_fail(
    paging: Paging, documents: list[object], message: str
) -> None:
    with pytest.raises(PagingError, match=message) as caught:
        await fetch_listing(Api(documents), request(), paging)
    assert str(caught.value).startswith("http://api.test/: ")
    assert "hush" not in str(caught.value)


async def test_a_page_that_fails_fails_the_listing() -> None:
    with pytest.raises(HttpStatusError) as caught:
        await fetch_listing(Api([{"rows": [1], "next": "b"}]), request(), BY_TOKEN)
    assert str(caught.value) == "http://api.test/: HTTP status 404"


@pytest.mark.parametrize("paging", [BY_TOKEN, BY_NUMBER, BY_OFFSET])
async def test_pages_without_end_are_given_up(paging: Paging) -> None:
    endless: list[object] = [
        {"rows": [n], "next": f"t{n}", "total": 10**9, "at": {"pages": 10**9}}
        for n in range(MAX_PAGES + 1)
    ]
    api = Api(endless)
    with pytest.raises(PagingError, match="more than 200 pages"):
        await fetch_listing(api, request(), paging)
    assert len(api.asked) == MAX_PAGES


async def test_one_limit_of_bytes_and_one_deadline_hold_for_all_pages() -> None:
    api = Api([{"rows": [n], "next": f"t{n}"} for n in range(3)] + [{"rows": [9]}], size=10)
    await fetch_listing(api, request(max_body_bytes=100), BY_TOKEN)
    assert [asked.policy.max_body_bytes for asked in api.asked] == [100, 90, 80, 70]
    deadlines = [asked.policy.total_deadline for asked in api.asked]
    assert deadlines == sorted(deadlines, reverse=True)


async def test_the_deadline_ends_the_pages() -> None:
    api = Api([{"rows": [1], "next": "b"}, {"rows": [2]}])
    with pytest.raises(DeadlineExceeded, match="after 1 pages"):
        await fetch_listing(api, request(total_deadline=timedelta(0)), BY_TOKEN)


async def test_the_page_is_asked_for_once_whatever_the_address_says() -> None:
    api = Api([{"rows": [1], "next": "b"}, {"rows": [2]}])
    await fetch_listing(api, request("http://api.test/?size=9&pageToken=x&a=%2F"), BY_TOKEN)
    assert api.asked[1].url == "http://api.test/?size=9&a=%2F&pageToken=b"


@given(st.lists(st.lists(st.integers(), max_size=3), min_size=1, max_size=6))
@many
async def test_whatever_the_pages_no_row_is_lost_or_the_listing_fails(
    pages: list[list[int]],
) -> None:
    documents: list[object] = [
        {"rows": rows, **({"next": str(n)} if n < len(pages) else {})}
        for n, rows in enumerate(pages, 1)
    ]
    try:
        document = await whole(Api(documents), BY_TOKEN)
    except FetchError:
        filled = [tuple(rows) for rows in pages if rows]
        assert len(set(filled)) < len(filled)
    else:
        assert document["rows"] == [row for rows in pages for row in rows]


@pytest.mark.parametrize("keys", [{}, {"token_key": "next", "pages_key": "pages"}])
def test_a_declaration_says_when_the_pages_end(keys: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="pages end"):
        Paging("rows", "page", **keys)


# Documents of one source.

PARTED = "http://api.test/{part}.json?key=hush"


async def test_the_documents_of_a_source_become_one_as_old_as_the_oldest() -> None:
    api = Api([{"rows": [1]}, ["two"]], validators=TAG)
    asked = FetchRequest(PARTED, "sk-1", validators=TAG)
    answer = await fetch_parts(api, asked, ("one", "two"), None)
    assert answer.document == {"one": {"rows": [1]}, "two": ["two"]}
    assert (answer.obtained_at, answer.bytes_read) == (NOON, 20)
    assert answer.url == "http://api.test/%7Bpart%7D.json"
    # An unchanged document says nothing of the others.
    assert answer.validators is None
    assert [each.validators for each in api.asked] == [None, None]
    assert [each.url for each in api.asked] == [
        "http://api.test/one.json?key=hush",
        "http://api.test/two.json?key=hush",
    ]


async def test_each_document_may_come_in_pages_within_one_budget() -> None:
    api = Api([{"rows": [1], "next": "b"}, {"rows": [2]}, {"rows": [3]}])
    policy = FetchPolicy(max_body_bytes=100, total_deadline=timedelta(seconds=9))
    answer = await fetch_parts(api, FetchRequest(PARTED, policy=policy), ("one", "two"), BY_TOKEN)
    assert answer.document == {
        "one": {"rows": [1, 2], "next": "b"},
        "two": {"rows": [3]},
    }
    assert [each.policy.max_body_bytes for each in api.asked] == [100, 90, 80]
    deadlines = [each.policy.total_deadline for each in api.asked]
    assert deadlines == sorted(deadlines, reverse=True)
    assert deadlines[0] <= timedelta(seconds=9)


async def test_one_document_that_is_missing_fails_all() -> None:
    with pytest.raises(HttpStatusError):
        await fetch_parts(Api([[1]]), FetchRequest(PARTED), ("one", "two"), None)


async def test_no_further_document_is_asked_for_once_the_time_is_over() -> None:
    api = Api([[1], [2]])
    late = FetchRequest(PARTED, policy=FetchPolicy(total_deadline=timedelta(0)))
    with pytest.raises(DeadlineExceeded, match=r"^http://api.test/one.json: incomplete after 0"):
        await fetch_parts(api, late, ("one", "two"), None)
    assert api.asked == []
