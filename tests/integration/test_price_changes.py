"""The audit trail as people ask for it: by time, kind, source, actor and size of a change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.instants import timestamp
from tests.integration._feed import Feed, payload, row
from tests.integration._server import CALL_SECONDS, Server
from tests.integration._status import refused

SELLER = "openrouter"


async def changes(server: Server, **filters: Any) -> list[pb.PriceChange]:
    """All that pass and are of the feed, which is not alone in stating the seller's models."""
    found: list[pb.PriceChange] = []
    token = ""
    while True:
        request = pb.ListPriceChangesRequest(
            provider=SELLER, page_size=400, page_token=token, **filters
        )
        response = await server.stub.ListPriceChanges(request, timeout=CALL_SECONDS)
        found += [each for each in response.changes if each.model_id.startswith("acme/")]
        token = response.next_page_token
        if not token:
            assert not response.HasField("next_page_token")
            return found


def names(found: list[pb.PriceChange]) -> list[tuple[str, str]]:
    return [(each.model_id, pb.ChangeKind.Name(each.kind)[12:].lower()) for each in found]


@pytest.fixture
async def told(server: Server, feed: Feed) -> Server:
    """A server with a change of each kind, newest first: restored, delisted, changed, added."""
    both = (row("acme/one", "0.000001"), row("acme/two", "0.000001", input_cache_read="0.0000001"))
    for answer in (
        payload(*both),
        payload(row("acme/one", "0.00000105"), row("acme/two", "0.000002")),
        payload(row("acme/one", "0.00000105")),
        payload(row("acme/one", "0.00000105")),
        payload(row("acme/one", "0.00000105"), row("acme/two", "0.000002")),
    ):
        feed.answer(answer)
        await server.synced()
    return server


async def test_changes_are_narrowed_by_kind(told: Server) -> None:
    assert sorted(names(await changes(told, kind=pb.CHANGE_KIND_ADDED))) == [
        ("acme/one", "added"),
        ("acme/two", "added"),
    ]
    assert names(await changes(told, kind=pb.CHANGE_KIND_DELISTED)) == [("acme/two", "delisted")]
    assert len(await changes(told)) == 6


async def test_changes_are_narrowed_by_the_time_at_which_they_were_written(told: Server) -> None:
    everything = await changes(told)
    for place, each in enumerate(everything):
        since = await changes(told, after_time=each.changed_time)
        assert each in since
        assert [one.revision for one in since] == [
            one.revision for one in everything if one.revision >= each.revision
        ]
        before = await changes(told, before_time=each.changed_time)
        assert all(one.revision < each.revision for one in before)
        assert len(since) + len(before) == len(everything), place


async def test_changes_are_narrowed_by_source_and_actor(told: Server) -> None:
    override = pb.SetPriceOverrideRequest(
        provider=SELLER, model_id="acme/one", prompt="7", register=True, reason="test"
    )
    await told.stub.SetPriceOverride(override, timeout=CALL_SECONDS)
    assert names(await changes(told, source="override")) == [("acme/one", "changed")]
    assert len(await changes(told, source=SELLER)) == 6
    assert len(await changes(told, actor="admin")) == 7
    assert await changes(told, actor="scheduler") == []
    everywhere = pb.ListPriceChangesRequest(actor="server", page_size=1)
    found = await told.stub.ListPriceChanges(everywhere, timeout=CALL_SECONDS)
    assert [each.source for each in found.changes] == ["genai-prices"], "the sync of the start"


async def test_small_changes_are_left_out_and_new_or_gone_rates_are_not(told: Server) -> None:
    def both(found: list[pb.PriceChange]) -> set[str]:
        return {each.model_id for each in found if each.kind == pb.CHANGE_KIND_CHANGED}

    # One rose by 5 %, the other by 100 % and lost a rate.
    assert both(await changes(told, least_change="0.05")) == {"acme/one", "acme/two"}
    assert both(await changes(told, least_change="0.0501")) == {"acme/two"}
    assert both(await changes(told, least_change="50")) == {"acme/two"}
    kinds = {each.kind for each in await changes(told, least_change="0.05")}
    assert kinds == {pb.CHANGE_KIND_ADDED, pb.CHANGE_KIND_CHANGED}, "others change no price"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": 9}, "kind"),
        ({"view": 9}, "view"),
        ({"least_change": "10%"}, "least_change"),
        ({"least_change": ""}, "least_change"),
        ({"least_change": "0.0"}, "least_change"),
        ({"actor": ""}, "actor"),
        ({"source": "a\n"}, "source"),
        (
            {
                "after_time": timestamp(datetime.now(UTC)),
                "before_time": timestamp(datetime.now(UTC) - timedelta(days=1)),
            },
            "before_time",
        ),
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused_by_its_field(
    server: Server, fields: dict[str, Any], field: str
) -> None:
    refusal = await refused(changes(server, **fields))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert refusal.fields == (field,)
    assert refusal.metadata == {"field": field}


async def test_a_page_token_is_of_its_filters(told: Server) -> None:
    first = pb.ListPriceChangesRequest(provider=SELLER, page_size=1, least_change="0.05")
    token = (await told.stub.ListPriceChanges(first, timeout=CALL_SECONDS)).next_page_token
    for other in ("0.06", None):
        again = pb.ListPriceChangesRequest(provider=SELLER, page_token=token, least_change=other)
        refusal = await refused(told.stub.ListPriceChanges(again, timeout=CALL_SECONDS))
        assert refusal.fields == ("page_token",)


async def test_changes_are_headlines_unless_all_of_them_is_asked_for(
    server: Server, feed: Feed
) -> None:
    feed.answer(payload(row("acme/one")))
    for view in (pb.CHANGE_VIEW_UNSPECIFIED, pb.CHANGE_VIEW_HEADLINE):
        (change,) = (await server.sync(dry_run=True, view=view)).price_changes
        assert change.new_input
        assert not change.rates
        assert not change.HasField("new_rate_card")
    (full,) = (await server.sync(view=pb.CHANGE_VIEW_FULL)).price_changes
    assert full.rates
    (listed,) = await changes(server, model_id="acme/one", view=pb.CHANGE_VIEW_FULL)
    assert listed == full
    (headline,) = await changes(server, model_id="acme/one")
    assert headline.ByteSize() < full.ByteSize() / 2
    refusal = await refused(server.sync(view=9))
    assert refusal.fields == ("view",)
