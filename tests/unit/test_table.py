"""The price table as look-ups see it: at which revision it answers, and what it forgets when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from llmpricing.matching.outcome import MatchRule
from llmpricing.meters import Meter
from llmpricing.rate_card import UNPRICED, Conditions, Rate
from pricing_server.domain.errors import DatabaseUnavailable, RevisionNotReached
from pricing_server.domain.head import Head
from pricing_server.domain.price import Layer, Price
from pricing_server.lookup.evaluated_price import EvaluatedPrice
from pricing_server.lookup.last_good import LastGood
from pricing_server.lookup.price_query import PriceQuery
from pricing_server.lookup.price_table import PriceTable, UnknownName
from pricing_server.lookup.snapshot import TableRead
from pricing_server.runtime.breaker import quick_read
from tests.unit._price_table import (
    HOUR,
    NOON,
    PROBE_SECONDS,
    Clock,
    Table,
    new_price_table,
    price,
    priced,
    up_again,
)

LISTED = replace(price("featherless", "Qwen/Qwen3-8B", UNPRICED), hugging_face_id="Qwen/Qwen3-8B")
REFERENCE = replace(
    price("openrouter", "qwen/qwen3-8b", priced("2")), hugging_face_id="qwen/Qwen3-8B"
)


class SlowTable(Table):
    """A price table whose next reads answer, with what they read at first, when they may."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[asyncio.Event] = []
        self.hold = False

    @quick_read
    async def find(self, model_id: str, provider: str | None) -> tuple[Head, Sequence[Price]]:
        answer = await super().find(model_id, provider)
        if self.hold:
            may_answer = asyncio.Event()
            self.held.append(may_answer)
            await may_answer.wait()
        return answer

    async def asked(self, times: int) -> None:
        """Wait until so many reads are held."""
        async with asyncio.timeout(10):
            while len(self.held) < times:  # noqa: ASYNC110  # There is nothing to wait on.
                await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def table() -> AsyncIterator[SlowTable]:
    table = SlowTable()
    table.prices.append(price("openai", "gpt-4o", priced("1")))
    yield table
    await table.breaker.aclose()


@pytest.fixture
def prices(table: Table, clock: Clock) -> PriceTable:
    return new_price_table(table, clock)


def changed(prompt: str) -> Price:
    return price("openai", "gpt-4o", priced(prompt))


def prompt_of(quote: EvaluatedPrice | None) -> int | None:
    """What it costs, in whole dollars; None for no quote."""
    return int(quote.headline.prompt or 0) if quote else None


async def read(
    prices: PriceTable, model_id: str, provider: str | None, min_revision: int
) -> TableRead:
    return await prices.read(PriceQuery(model_id, provider, min_revision=min_revision))


async def read_reference(prices: PriceTable, own: EvaluatedPrice, min_revision: int) -> TableRead:
    query = PriceQuery(own.price.model_id, own.price.provider, min_revision=min_revision)
    return await prices.read_reference(query, own)


def told(found: TableRead) -> tuple[Head, EvaluatedPrice | None]:
    return found.head, found.price


async def ask(prices: PriceTable, min_revision: int = 0) -> tuple[int, int | None]:
    """The revision at which gpt-4o is answered, and what it costs."""
    head, quote = told(await read(prices, "gpt-4o", None, min_revision))
    return head.revision, prompt_of(quote)


async def listed(prices: PriceTable) -> EvaluatedPrice:
    _, quote = told(await read(prices, LISTED.model_id, LISTED.provider, 0))
    assert quote is not None
    return quote


async def reference(prices: PriceTable, min_revision: int = 0) -> tuple[int, int | None]:
    """The revision at which a reference was looked for, and its price if there is one."""
    head, quote = told(await read_reference(prices, await listed(prices), min_revision))
    return head.revision, prompt_of(quote)


# At or after a revision.


async def test_what_is_cached_at_that_revision_or_a_later_one_answers(
    table: Table, prices: PriceTable
) -> None:
    table.at = Head(5, "epoch")
    assert await ask(prices) == (5, 1)
    for revision in (0, 4, 5):
        assert await ask(prices, revision) == (5, 1)
    assert table.finds == 1


async def test_what_is_cached_at_an_older_revision_is_read_again(
    table: Table, prices: PriceTable
) -> None:
    assert await ask(prices) == (1, 1)
    table.commit(changed("2"))  # By another process, of which this one has not heard.
    assert await ask(prices) == (1, 1)
    assert await ask(prices, 2) == (2, 2)
    assert await ask(prices) == (2, 2)
    assert table.finds == 2


async def test_a_revision_that_is_not_there_yet_is_an_error_that_says_so(
    table: Table, prices: PriceTable
) -> None:
    await ask(prices)
    with pytest.raises(RevisionNotReached) as caught:
        await ask(prices, 9)
    assert (caught.value.revision, caught.value.min_revision) == (1, 9)
    assert await ask(prices) == (1, 1), "whoever asks for no revision has an answer still"


async def test_a_load_begun_before_that_revision_is_made_once_more(
    table: SlowTable, prices: PriceTable
) -> None:
    table.hold = True
    early = asyncio.create_task(ask(prices))
    await table.asked(1)
    table.commit(changed("2"))
    table.hold = False
    late = asyncio.create_task(ask(prices, 2))
    await asyncio.sleep(0)
    table.held[0].set()
    assert await early == (1, 1)
    assert await late == (2, 2)
    assert table.finds == 2


async def test_a_read_that_is_too_old_is_repeated_once_and_not_for_ever(
    table: Table, prices: PriceTable
) -> None:
    with pytest.raises(RevisionNotReached):
        await ask(prices, 9)
    assert table.finds == 2


async def test_a_model_that_was_unknown_at_an_older_revision_is_looked_for_again(
    table: Table, prices: PriceTable
) -> None:
    head, quote = told(await read(prices, "new", None, 0))
    assert quote is None
    prices.remember_unknown((None, "new"), UnknownName(True, (), ()), head)
    assert told(await read(prices, "new", None, 1)) == (head, None)
    assert table.finds == 1, "remembered at this revision"
    after = table.commit(price("openai", "new"))
    found, quote = told(await read(prices, "new", None, 2))
    assert found == after
    assert quote is not None


async def test_a_reference_is_at_or_after_the_revision_too(
    table: Table, prices: PriceTable
) -> None:
    table.prices += [LISTED, REFERENCE]
    assert await reference(prices) == (1, 2)
    table.commit(replace(REFERENCE, card=priced("3")))
    assert await reference(prices, 2) == (2, 3)
    with pytest.raises(RevisionNotReached):
        await reference(prices, 3)


# While the database is down.


async def test_what_was_read_last_answers_at_its_revision(table: Table, prices: PriceTable) -> None:
    table.at = Head(5, "epoch")
    await ask(prices)
    prices.clear(Head(6, "epoch"))
    table.is_down = True
    assert await ask(prices) == (5, 1)
    assert prices.is_down
    head, quote = told(await read(prices, "gpt-4o", None, 0))
    assert head == Head(5, "epoch")
    assert quote is not None
    assert quote.rule is MatchRule.EXACT_AT_MAKER


async def test_what_was_read_last_does_not_answer_below_the_revision_asked_for(
    table: Table, prices: PriceTable
) -> None:
    table.at = Head(5, "epoch")
    await ask(prices)
    prices.clear(Head(6, "epoch"))
    table.is_down = True
    for revision in (6, 7):
        with pytest.raises(DatabaseUnavailable):
            await ask(prices, revision)
    for revision in (4, 5):
        assert await ask(prices, revision) == (5, 1)


async def test_a_cached_price_below_the_revision_asked_for_does_not_answer_either(
    table: Table, prices: PriceTable
) -> None:
    await ask(prices)
    table.is_down = True
    with pytest.raises(DatabaseUnavailable):
        await ask(prices, 2)
    assert await ask(prices) == (1, 1)


async def test_what_was_never_read_is_unavailable(table: Table, prices: PriceTable) -> None:
    table.is_down = True
    with pytest.raises(DatabaseUnavailable):
        await read(prices, "gpt-4o", None, 0)


async def test_a_new_process_answers_with_what_the_one_before_it_read(
    table: Table, clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "last_good.sqlite"
    table.prices += [LISTED, REFERENCE]
    async with LastGood(path) as last_good:
        before = new_price_table(table, clock, last_good)
        assert (await ask(before), await reference(before)) == ((1, 1), (1, 2))
    table.is_down = True
    async with LastGood(path) as last_good:
        after = new_price_table(table, clock, last_good)
        assert (await ask(after), await reference(after)) == ((1, 1), (1, 2))


async def test_a_remembered_price_changes_at_its_date_also_during_an_outage(
    table: Table, prices: PriceTable, clock: Clock
) -> None:
    later = Rate(Meter.INPUT_TOKENS, Decimal(7), Conditions(effective_from=NOON + HOUR))
    table.prices[:] = [price("openai", "gpt-4o", priced("1", later))]
    await ask(prices)
    table.is_down = True
    clock.now = NOON + HOUR + timedelta(seconds=1)
    assert await ask(prices) == (1, 7)


async def test_no_look_up_reads_while_it_is_known_to_be_down(
    table: Table, prices: PriceTable
) -> None:
    await ask(prices)
    prices.clear(Head(1, "epoch"))
    table.is_down = True
    await ask(prices)
    finds = table.finds
    assert set(await asyncio.gather(*(ask(prices) for _ in range(200)))) == {(1, 1)}
    assert table.finds == finds


async def test_the_database_is_asked_again_once_it_answers(
    table: Table, prices: PriceTable
) -> None:
    await ask(prices)
    prices.clear(Head(1, "epoch"))
    table.is_down = True
    await ask(prices)
    table.commit(changed("2"))
    await up_again(table)
    assert await ask(prices) == (2, 2)


# Never back.


async def test_nobody_who_asks_after_a_newer_price_was_served_is_given_an_older_one(
    table: SlowTable, prices: PriceTable
) -> None:
    table.hold = True
    early = asyncio.create_task(ask(prices))
    await table.asked(1)
    table.hold = False
    prices.clear(table.commit(changed("2")))
    assert await ask(prices) == (2, 2)
    table.held[0].set()
    await early
    assert await ask(prices) == (2, 2)
    prices.head_read(Head(1, "epoch"), notified=False)  # Read before the commit, told after it.
    assert await ask(prices) == (2, 2)


async def test_an_older_read_that_ends_late_is_not_what_answers_during_an_outage(
    table: SlowTable, prices: PriceTable
) -> None:
    table.hold = True
    early = asyncio.create_task(ask(prices))
    await table.asked(1)
    table.hold = False
    prices.clear(table.commit(changed("2")))
    assert await ask(prices) == (2, 2)
    table.held[0].set()
    await early
    prices.clear(table.at)
    table.is_down = True
    assert await ask(prices) == (2, 2)


async def test_a_reference_that_was_found_gone_does_not_come_back_during_an_outage(
    table: Table, prices: PriceTable
) -> None:
    table.prices += [LISTED, REFERENCE]
    assert await reference(prices) == (1, 2)
    prices.clear(table.commit(replace(REFERENCE, delisted_at=NOON)))
    assert await reference(prices) == (2, None)
    prices.clear(table.at)
    table.is_down = True
    try:
        revision, prompt = await reference(prices)
    except DatabaseUnavailable:
        return
    assert (revision, prompt) == (2, None)


async def test_one_model_asked_by_two_names_does_not_go_back_during_an_outage(
    table: Table, prices: PriceTable
) -> None:
    assert await ask(prices) == (1, 1)
    prices.clear(table.commit(changed("2")))
    _, quote = told(await read(prices, "gpt-4o", "openai", 0))
    assert quote is not None
    assert quote.headline.prompt == 2
    table.is_down = True
    assert await ask(prices) == (2, 2)


# What is forgotten when.


async def test_a_head_that_moved_clears(table: Table, prices: PriceTable) -> None:
    await ask(prices)
    head = table.commit(changed("2"))
    prices.head_read(head, notified=False)
    assert await ask(prices) == (2, 2)


async def test_a_head_that_did_not_move_clears_only_if_a_sync_announced_itself(
    table: Table, prices: PriceTable
) -> None:
    await ask(prices)
    table.prices[:] = [replace(changed("1"), is_listed=False)]  # A sync that changed no price.
    prices.head_read(table.at, notified=False)
    await ask(prices)
    assert table.finds == 1
    prices.head_read(table.at, notified=True)
    _, quote = told(await read(prices, "gpt-4o", None, 0))
    assert table.finds == 2
    assert quote is not None
    assert not quote.price.is_listed


async def test_a_head_of_another_epoch_clears_whatever_its_revision(
    table: Table, prices: PriceTable
) -> None:
    table.at = Head(9, "epoch")
    await ask(prices)
    table.at = Head(1, "restored")
    table.prices[:] = [changed("3")]
    prices.head_read(table.at, notified=False)
    assert await ask(prices) == (1, 3)


async def test_the_first_head_of_all_costs_no_price(table: Table, prices: PriceTable) -> None:
    prices.head_read(table.at, notified=True)
    await ask(prices)
    prices.head_read(table.at, notified=False)
    await ask(prices)
    assert table.finds == 1


async def test_an_unknown_name_is_forgotten_with_the_rest(table: Table, prices: PriceTable) -> None:
    head, _ = told(await read(prices, "new", None, 0))
    unknown = UnknownName(True, (), ())
    prices.remember_unknown((None, "new"), unknown, head)
    assert prices.unknown((None, "new")) == unknown
    prices.head_read(head, notified=True)
    assert prices.unknown((None, "new")) is None


async def test_what_was_unknown_before_a_clear_is_not_remembered_after_it(
    prices: PriceTable,
) -> None:
    head, _ = told(await read(prices, "new", None, 0))
    prices.clear(replace(head, revision=2))
    prices.remember_unknown((None, "new"), UnknownName(True, (), ()), head)
    assert prices.unknown((None, "new")) is None


async def test_a_miss_is_read_once_until_the_table_changes(
    table: Table, prices: PriceTable
) -> None:
    for _ in range(3):
        assert told(await read(prices, "new", None, 0)) == (Head(1, "epoch"), None)
    assert table.finds == 1
    table.commit(price("openai", "new"))
    head, quote = told(await read(prices, "new", None, min_revision=2))
    assert (head.revision, prompt_of(quote)) == (2, 1), "a revision that is asked for is read"
    assert prompt_of((await read(prices, "new", None, 0)).price) == 1


async def test_a_model_that_was_added_is_not_hidden_by_a_miss(
    table: Table, prices: PriceTable
) -> None:
    assert (await read(prices, "new", None, 0)).price is None
    prices.head_read(table.commit(price("openai", "new")), notified=False)
    assert prompt_of((await read(prices, "new", None, 0)).price) == 1


async def test_a_miss_that_was_read_before_the_model_was_added_is_not_kept(
    table: SlowTable, prices: PriceTable
) -> None:
    assert await ask(prices) == (1, 1)
    table.hold = True
    early = asyncio.create_task(read(prices, "new", None, 0))
    await table.asked(1)
    prices.clear(table.commit(price("openai", "new")))
    table.hold = False
    table.held[0].set()
    assert (await early).price is None
    assert prompt_of((await read(prices, "new", None, 0)).price) == 1


async def test_a_miss_is_no_word_on_whether_other_layers_know_the_name(prices: PriceTable) -> None:
    await read(prices, "new", None, 0)
    assert prices.unknown((None, "new")) is None


# References.


async def test_a_model_without_a_price_is_given_that_of_the_same_model_elsewhere(
    table: Table, prices: PriceTable
) -> None:
    table.prices += [LISTED, REFERENCE]
    own = await listed(prices)
    head, quote = told(await read_reference(prices, own, 0))
    assert head == Head(1, "epoch")
    assert quote is not None
    assert (quote.price.layer, quote.price.source) == (Layer.CROSS_REFERENCE, "api")
    assert (quote.price.provider, quote.price.model_id) == (LISTED.provider, LISTED.model_id)
    assert (quote.headline.prompt, quote.rule) == (Decimal(2), own.rule)


async def test_a_reference_is_read_once_until_the_table_changes(
    table: Table, prices: PriceTable
) -> None:
    table.prices += [LISTED, REFERENCE]
    own = await listed(prices)
    await asyncio.gather(*(read_reference(prices, own, 0) for _ in range(50)))
    assert (await reference(prices), table.reference_finds) == ((1, 2), 1)
    prices.head_read(table.commit(replace(REFERENCE, card=priced("3"))), notified=False)
    assert (await reference(prices), table.reference_finds) == ((2, 3), 2)
    prices.head_read(table.at, notified=True)
    assert (await reference(prices), table.reference_finds) == ((2, 3), 3)


async def test_that_there_is_no_reference_is_kept_as_well(table: Table, prices: PriceTable) -> None:
    table.prices.append(LISTED)
    for _ in range(3):
        assert await reference(prices) == (1, None)
    assert table.reference_finds == 1
    prices.clear(table.commit(REFERENCE))
    assert await reference(prices) == (2, 2)


async def test_a_reference_ends_when_its_price_or_the_model_s_own_changes_by_itself(
    table: Table, prices: PriceTable, clock: Clock
) -> None:
    soon, later = NOON + HOUR, NOON + 2 * HOUR
    dearer = Rate(Meter.INPUT_TOKENS, Decimal(5), Conditions(effective_from=soon))
    dearest = Rate(Meter.INPUT_TOKENS, Decimal(6), Conditions(effective_from=later))
    table.prices += [LISTED, replace(REFERENCE, card=priced("2", dearest, dearer))]
    assert await reference(prices) == (1, 2)
    clock.now = soon
    assert await reference(prices) == (1, 5)
    clock.now = later
    assert await reference(prices) == (1, 6)


async def test_a_reference_answers_at_its_revision_during_an_outage(
    table: Table, prices: PriceTable
) -> None:
    table.prices += [LISTED, REFERENCE]
    assert await reference(prices) == (1, 2)
    own = await listed(prices)
    prices.clear(Head(2, "epoch"))
    table.is_down = True
    assert await reference(prices) == (1, 2)
    with pytest.raises(DatabaseUnavailable):
        await read_reference(prices, own, 2)


# Names.


async def test_names_are_read_once_per_state_of_the_table(table: Table, prices: PriceTable) -> None:
    await ask(prices)
    await asyncio.gather(*(prices.names() for _ in range(50)))
    assert table.name_reads == 1
    prices.clear(table.commit(price("acme", "m")))
    assert (await prices.names()).providers == {"openai", "acme"}
    assert table.name_reads == 2


async def test_names_that_could_not_be_read_are_read_again(
    table: Table, prices: PriceTable
) -> None:
    table.is_down = True
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await prices.names()
    await up_again(table)
    await asyncio.sleep(PROBE_SECONDS)
    assert (await prices.names()).providers == {"openai"}
