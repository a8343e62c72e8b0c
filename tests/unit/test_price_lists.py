"""A list of all prices is loaded once for all, and is of the revision that was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from pricing_server.domain.errors import DatabaseUnavailable, EpochChanged, RevisionNotReached
from pricing_server.domain.head import Head
from pricing_server.listing.price_list import KEPT_OLDER, PriceList, PriceLists
from tests.unit._listed_table import ListedTable, names, price_lists
from tests.unit._price_table import price, priced

PRICES = [price("b", "two"), price("a", "two"), price("b", "one"), price("a", "one")]


@asynccontextmanager
async def lists_of(table: ListedTable, *, ttl_seconds: float = 1_000) -> AsyncIterator[PriceLists]:
    lists = price_lists(table, ttl_seconds=ttl_seconds)
    yield lists
    await lists.aclose()
    await table.breaker.aclose()


async def test_a_list_has_all_prices_by_seller_and_model_id() -> None:
    async with lists_of(ListedTable(*PRICES)) as lists:
        found = await lists.at()
    assert found.head == Head(1, "epoch")
    assert names(found.prices) == [("a", "one"), ("a", "two"), ("b", "one"), ("b", "two")]


async def test_an_empty_table_is_an_empty_list() -> None:
    async with lists_of(ListedTable()) as lists:
        assert not (await lists.at()).prices


async def test_a_list_is_loaded_once_for_all_who_ask_meanwhile_and_later() -> None:
    table = ListedTable(*PRICES)
    async with lists_of(table) as lists:
        found = await asyncio.gather(*(lists.at() for _ in range(20)))
        found.append(await lists.at())
        found.append(await lists.at(table.at))
    assert table.first_pages == [1]
    assert all(each is found[0] for each in found)


async def test_a_caller_that_goes_away_does_not_stop_the_load_for_the_others() -> None:
    table = ListedTable(*PRICES)
    table.open.clear()
    async with lists_of(table) as lists:
        first = asyncio.create_task(lists.at())
        await table.asked.wait()
        second = asyncio.create_task(lists.at())
        await asyncio.sleep(0)
        first.cancel()
        table.open.set()
        assert len((await second).prices) == 4
    assert table.first_pages == [1]


async def test_equal_cards_are_one_across_prices_and_revisions() -> None:
    table = ListedTable(*PRICES)
    async with lists_of(table) as lists:
        before = await lists.at()
        table.commit(*PRICES, price("c", "one", priced("2")))
        after = await lists.at()
    assert len({id(each.card) for each in (*before.prices, *after.prices)}) == 2


async def test_a_list_of_an_older_revision_has_what_was_known_then() -> None:
    table = ListedTable(*PRICES)
    old = table.at
    new = table.commit(*PRICES[1:])
    async with lists_of(table) as lists:
        assert len((await lists.at()).prices) == 3
        assert len((await lists.at(old)).prices) == 4
        assert (await lists.at(old)).head == old
        assert (await lists.at(new)).head == new
    assert table.first_pages == [2, 1]


async def test_the_list_before_the_newest_is_kept_for_who_is_in_the_middle_of_it() -> None:
    table = ListedTable(*PRICES)
    async with lists_of(table) as lists:
        old = await lists.at()
        table.commit(*PRICES)
        await lists.at()
        assert await lists.at(old.head) is old
    assert table.first_pages == [1, 2]


async def test_old_lists_are_few_and_never_cost_the_newest_its_place() -> None:
    table = ListedTable(*PRICES)
    heads = [table.at, *(table.commit(*PRICES) for _ in range(KEPT_OLDER + 3))]
    async with lists_of(table) as lists:
        newest = await lists.at()
        for head in heads[:-1]:
            await lists.at(head)
        assert await lists.at() is newest
        loads = len(table.first_pages)
        for head in heads[-1 - KEPT_OLDER : -1]:
            await lists.at(head)
        assert len(table.first_pages) == loads
        await lists.at(heads[0])
        assert len(table.first_pages) == loads + 1
        assert len(lists._older) == KEPT_OLDER


async def test_what_was_confirmed_without_a_new_revision_is_read_again() -> None:
    table = ListedTable(*PRICES)
    async with lists_of(table) as lists:
        before = await lists.at()
        table.revisions[1] = [replace(each, is_confirmed=False) for each in PRICES]
        lists.clear()
        after = await lists.at()
        assert after.head == before.head
        assert not any(each.is_confirmed for each in after.prices)
        assert await lists.at() is after
        # Who is in the middle of the list goes on with any of its revision.
        lists.clear()
        assert await lists.at(after.head) is after


async def test_a_write_that_is_heard_of_while_a_list_is_loaded_is_not_missed() -> None:
    table = ListedTable(*PRICES)
    table.open.clear()
    async with lists_of(table) as lists:
        loading = asyncio.create_task(lists.at())
        await table.asked.wait()
        lists.clear()
        table.open.set()
        before = await loading
        assert await lists.at() is not before
    assert table.first_pages == [1, 1]


async def test_the_newest_list_does_not_outlive_its_time() -> None:
    table = ListedTable(*PRICES)
    async with lists_of(table, ttl_seconds=0) as lists:
        before = await lists.at()
        assert await lists.at() is not before
        assert await lists.at(table.at) is not before


async def test_a_load_that_is_overtaken_does_not_replace_the_newest() -> None:
    table = ListedTable(*PRICES)
    async with lists_of(table) as lists:
        table.open.clear()
        old = asyncio.create_task(lists.at())
        await table.asked.wait()
        head = table.commit(*PRICES[:1])
        new = asyncio.create_task(lists.at())
        table.open.set()
        assert (await old).head == Head(1, "epoch")
        assert (await new).head == head
        assert await lists.at() is await new


async def test_a_known_outage_is_told_at_once_and_ends() -> None:
    table = ListedTable(*PRICES)
    async with lists_of(table) as lists:
        kept = await lists.at()
        table.is_down = True
        for ask in (lambda: lists.at(), lambda: lists.at(kept.head)):
            await _raises(ask, DatabaseUnavailable)
        loads, asked = len(table.first_pages), table.head_reads
        for _ in range(100):
            await _raises(lambda: lists.at(), DatabaseUnavailable)
        # The probe alone has asked, if it was its turn.
        assert (len(table.first_pages), table.head_reads - asked) in ((loads, 0), (loads, 1))
        table.is_down = False
        assert await _up_again(lists) is kept


async def test_a_load_that_an_outage_ends_is_begun_again_by_the_next_who_asks() -> None:
    table = ListedTable(*PRICES)
    table.open.clear()
    async with lists_of(table) as lists:
        loading = asyncio.create_task(lists.at())
        await table.asked.wait()
        table.is_down = True
        table.open.set()
        with pytest.raises(DatabaseUnavailable):
            await loading
        table.is_down = False
        assert len((await _up_again(lists)).prices) == 4


async def test_a_revision_of_another_history_is_refused_and_its_lists_are_forgotten() -> None:
    table = ListedTable(*PRICES)
    async with lists_of(table) as lists:
        old = await lists.at()
        table.commit(*PRICES)
        await lists.at()
        table.at = Head(2, "another")
        with pytest.raises(EpochChanged) as raised:
            await lists.at(old.head)
        assert raised.value.head == table.at
        assert (await lists.at()).head == table.at
        assert not lists._older


async def test_a_history_that_changes_while_it_is_read_gives_no_list() -> None:
    table = ListedTable(*PRICES)
    table.open.clear()
    async with lists_of(table) as lists:
        loading = asyncio.create_task(lists.at())
        await table.asked.wait()
        table.at = Head(1, "another")
        table.open.set()
        with pytest.raises(EpochChanged):
            await loading


async def test_a_revision_that_cannot_be_seen_here_yet_may_be_asked_for_again() -> None:
    table = ListedTable(*PRICES)
    async with lists_of(table) as lists:
        with pytest.raises(RevisionNotReached):
            await lists.at(Head(2, "epoch"))
        table.commit(*PRICES)
        assert (await lists.at(Head(2, "epoch"))).head == table.at


async def _up_again(lists: PriceLists) -> PriceList:
    """The newest list, as soon as the probe has noticed that the database is back."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await lists.at()
            except DatabaseUnavailable:
                await asyncio.sleep(0.001)


async def _raises(ask: Callable[[], Awaitable[PriceList]], error: type[Exception]) -> None:
    with pytest.raises(error):
        await ask()
