"""The last price that was read of each model: on disk, bounded, and never the older one."""

# ruff: noqa: ASYNC240 (the files are small and local, and nothing else runs)

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from structlog.testing import capture_logs

from llmpricing.meters import Meter
from llmpricing.rate_card import UNPRICED, RateCard
from pricing_server.domain.disagreement import Disagreement
from pricing_server.domain.head import Head
from pricing_server.domain.held_change import HoldReason, PendingChange
from pricing_server.domain.price import Key, Layer, Price
from pricing_server.lookup import last_good
from pricing_server.lookup.last_good import LastGood, LastGoodPrice
from tests.unit._price_table import NOON, price, priced
from tests.unit._strategies import cards, few

ONE, TWO, THREE = (Head(revision, "epoch") for revision in (1, 2, 3))
KEY: Key = (Layer.DATABASE, "openai", "gpt-4o")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_good, "FLUSH_SECONDS", 0.005)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "last_good.sqlite"


def asking(prompt: str) -> Price:
    """A price that tells what it is by what it costs."""
    return price("openai", "gpt-4o", priced(prompt))


def key(number: int) -> Key:
    return Layer.DATABASE, None, f"model {number}"


def on_disk(path: Path) -> list[tuple[str, int]]:
    """(model id, revision) as the file has them."""
    with closing(sqlite3.connect(path)) as file:
        return file.execute("SELECT model_id, revision FROM last_prices ORDER BY rowid").fetchall()


async def written(path: Path, *expected: tuple[str, int]) -> None:
    async with asyncio.timeout(10):
        while on_disk(path) != list(expected):  # noqa: ASYNC110  # Nothing to wait on, by design.
            await asyncio.sleep(0.002)


async def kept(path: Path, asked: Key = KEY, **options: int) -> LastGoodPrice | None:
    """What a new process finds."""
    async with LastGood(path, **options) as prices:
        return await prices.recall(asked)


# Kept.


async def test_a_price_is_found_with_the_head_that_it_was_read_at(path: Path) -> None:
    async with LastGood(path) as prices:
        assert await prices.recall(KEY) is None
        prices.remember(KEY, asking("1"), TWO)
        assert await prices.recall(KEY) == LastGoodPrice(asking("1"), TWO)
        await written(path, ("gpt-4o", 2))
        assert await prices.recall(KEY) == LastGoodPrice(asking("1"), TWO)


async def test_a_price_outlives_the_process(path: Path) -> None:
    async with LastGood(path) as prices:
        prices.remember(KEY, asking("1"), TWO)
    assert await kept(path) == LastGoodPrice(asking("1"), TWO)


async def test_a_process_that_is_killed_keeps_what_was_written_before(path: Path) -> None:
    async with LastGood(path) as killed:
        killed.remember(KEY, asking("1"), TWO)
        await written(path, ("gpt-4o", 2))
        # As another process sees it while the first has closed nothing.
        assert await kept(path) == LastGoodPrice(asking("1"), TWO)


async def test_every_field_survives_the_disk(path: Path) -> None:
    full = Price(
        provider="featherless",
        model_id="Qwen/Qwen3-8B",
        card=priced("0.00000012345678901234567890"),
        layer=Layer.CROSS_REFERENCE,
        source="openrouter",
        obtained_at=NOON + timedelta(microseconds=1),
        effective_time=NOON - timedelta(days=900),
        is_listed=False,
        price_revision=7,
        hugging_face_id="Qwen/Qwen3-8B",
        alias_target="other",
        delisted_at=NOON,
        canonical_slug="qwen/qwen3-8b",
        context_length=40_960,
        retirement_time=NOON,
        retirement_source="litellm",
        successor="acme/new",
        stated_as="Qwen/Qwen3",
        disagreements=(
            Disagreement("litellm", Meter.INPUT_TOKENS, Decimal("0.1"), Decimal("1E-7")),
        ),
        detail="OpenRouter's price, ürgent \U0001f600",
        until=NOON + timedelta(days=1),
        stated=price("featherless", "Qwen/Qwen3-8B"),
        referred=("openrouter", "qwen/qwen3-8b"),
        pending=PendingChange(
            12, "openrouter", HoldReason.RATIO_TO_PAST, priced("0.5"), NOON - timedelta(hours=1)
        ),
        rejected_id=11,
        doubt=None,  # Of the price file alone, and of the past alone: neither is kept here.
        superseded_at=None,
    )
    unset = {field.name for field in fields(Price) if getattr(full, field.name) is None}
    assert unset == {"doubt", "superseded_at"}
    bare = price("openai", "gpt-4o", UNPRICED)
    async with LastGood(path) as prices:
        prices.remember(KEY, full, TWO)
        prices.remember(key(1), bare, TWO)
    assert await kept(path) == LastGoodPrice(full, TWO)
    assert await kept(path, key(1)) == LastGoodPrice(bare, TWO)


@given(cards)
@few
def test_every_rate_card_survives_the_disk(card: RateCard) -> None:
    before = price("openai", "gpt-4o", card)
    document = json.loads(json.dumps(last_good._price_document(before)))
    assert last_good._price(document) == before


async def test_names_that_differ_are_kept_apart(path: Path) -> None:
    names: list[Key] = [
        (Layer.DATABASE, "openai", "gpt-4o"),
        (Layer.CROSS_REFERENCE, "openai", "gpt-4o"),
        (Layer.DATABASE, "openai", "GPT-4o"),
    ]
    async with LastGood(path) as prices:
        for number, name in enumerate(names):
            prices.remember(name, asking(f"{number + 1}"), ONE)
    for number, name in enumerate(names):
        assert await kept(path, name) == LastGoodPrice(asking(f"{number + 1}"), ONE)


async def test_one_model_has_one_price_whoever_was_asked_for_it(path: Path) -> None:
    async with LastGood(path) as prices:
        prices.remember((Layer.DATABASE, None, "gpt-4o"), asking("1"), ONE)
        prices.remember((Layer.DATABASE, "openai", "gpt-4o"), asking("2"), TWO)
    assert await kept(path, (Layer.DATABASE, None, "gpt-4o")) == LastGoodPrice(asking("2"), TWO)


# Never the older one.


async def test_a_newer_price_takes_the_place_of_the_older_one(path: Path) -> None:
    for prompt, head in (("1", ONE), ("2", TWO), ("3", TWO)):
        async with LastGood(path) as prices:
            prices.remember(KEY, asking(prompt), head)
        assert await kept(path) == LastGoodPrice(asking(prompt), head)


async def test_a_process_that_is_late_to_write_does_not_bring_an_older_price_back(
    path: Path,
) -> None:
    async with LastGood(path) as prices:
        prices.remember(KEY, asking("2"), TWO)
    async with LastGood(path) as late:
        late.remember(KEY, asking("1"), ONE)
    assert await kept(path) == LastGoodPrice(asking("2"), TWO)


async def test_an_older_price_that_is_read_late_does_not_replace_a_newer_one_on_disk(
    path: Path,
) -> None:
    async with LastGood(path) as prices:
        prices.remember(KEY, asking("2"), TWO)
        await written(path, ("gpt-4o", 2))
        prices.remember(KEY, asking("1"), ONE)
        await asyncio.sleep(0.05)
        assert await prices.recall(KEY) == LastGoodPrice(asking("2"), TWO)


@pytest.mark.parametrize("is_on_disk", [False, True])
async def test_an_older_price_that_is_read_late_is_never_found(
    path: Path, monkeypatch: pytest.MonkeyPatch, is_on_disk: bool
) -> None:
    # A load that began before a sync can end after one that began behind it.
    if is_on_disk:
        async with LastGood(path) as prices:
            prices.remember(KEY, asking("2"), TWO)
    monkeypatch.setattr(last_good, "FLUSH_SECONDS", 60)
    async with LastGood(path) as prices:
        if not is_on_disk:
            prices.remember(KEY, asking("2"), TWO)
        prices.remember(KEY, asking("1"), ONE)
        assert await prices.recall(KEY) == LastGoodPrice(asking("2"), TWO)


async def test_of_another_epoch_the_one_that_came_last_is_kept(path: Path) -> None:
    restored = Head(1, "another epoch")
    async with LastGood(path) as prices:
        prices.remember(KEY, asking("3"), THREE)
    async with LastGood(path) as prices:
        prices.remember(KEY, asking("1"), restored)
        assert await prices.recall(KEY) == LastGoodPrice(asking("1"), restored)
    assert await kept(path) == LastGoodPrice(asking("1"), restored)


# Bounded.


async def test_no_more_models_are_kept_than_allowed_and_the_newest_stay(path: Path) -> None:
    async with LastGood(path, max_models=3) as prices:
        for number in range(10):
            prices.remember(key(number), asking("1"), ONE)
            expected = [(f"model {n}", 1) for n in range(max(0, number - 2), number + 1)]
            await written(path, *expected)
        assert await prices.recall(key(0)) is None
        assert await prices.recall(key(9)) is not None


async def test_memory_is_bounded_while_the_disk_takes_nothing(tmp_path: Path) -> None:
    prices = LastGood(tmp_path / "never opened.sqlite", max_models=3)
    for number in range(10):
        prices.remember(key(number), asking("1"), ONE)
    prices.remember(key(0), asking("2"), TWO)
    found = [number for number in range(10) if await prices.recall(key(number))]
    assert len(found) == 3
    assert await prices.recall(key(0)) == LastGoodPrice(asking("2"), TWO), "replaced in its place"


# A disk that fails.


async def survives(path: Path) -> None:
    """Prices are remembered and found whatever the file is."""
    with capture_logs() as logged:
        async with LastGood(path) as prices:
            assert await prices.recall(KEY) is None
            prices.remember(KEY, asking("1"), ONE)
            await asyncio.sleep(0.03)
            assert await prices.recall(KEY) == LastGoodPrice(asking("1"), ONE)
    assert any(entry["event"] == "last_good.not_on_disk" for entry in logged), "and it is told"


@pytest.mark.filterwarnings("error")
async def test_a_file_that_is_none_of_ours_costs_no_answer(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database, and long enough to be taken for one" * 100)
    before = path.read_bytes()
    await survives(path)
    assert path.read_bytes() == before


async def test_a_table_of_another_shape_costs_no_answer(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE last_prices (other TEXT)")
    await survives(path)


async def test_a_directory_that_cannot_be_made_costs_no_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    await survives(tmp_path / "file" / "last_good.sqlite")


async def test_a_directory_in_the_file_s_place_costs_no_answer(path: Path) -> None:
    path.mkdir(parents=True)
    await survives(path)


async def test_what_the_disk_does_not_take_stays_in_memory_until_it_does(path: Path) -> None:
    async with LastGood(path) as prices:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("ALTER TABLE last_prices RENAME TO away")
            prices.remember(KEY, asking("1"), ONE)
            await asyncio.sleep(0.03)
            assert await prices.recall(KEY) == LastGoodPrice(asking("1"), ONE)
            other.execute("ALTER TABLE away RENAME TO last_prices")
        await written(path, ("gpt-4o", 1))
    assert await kept(path) == LastGoodPrice(asking("1"), ONE)


WHOLE = json.dumps(last_good._price_document(asking("1")))
OBTAINED = asking("1").obtained_at.isoformat()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        WHOLE.replace('"layer": "database"', '"layer": "no layer"'),
        WHOLE.replace(OBTAINED, "yesterday"),
        "null",
        "[]",
        '"text"',
        WHOLE.replace(f'"{OBTAINED}"', "null"),
        WHOLE.replace('"price": "', '"price": "x'),
    ],
)
async def test_a_row_that_is_no_price_is_none_and_costs_no_other(path: Path, text: str) -> None:
    async with LastGood(path) as prices:
        prices.remember(KEY, asking("1"), ONE)
        prices.remember(key(1), asking("2"), ONE)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE last_prices SET price = ? WHERE model_id = 'gpt-4o'", (text,))
    async with LastGood(path) as prices:
        with capture_logs() as logged:
            assert await prices.recall(KEY) is None
        assert [entry["event"] for entry in logged] == ["last_good.unreadable"]
        assert await prices.recall(key(1)) == LastGoodPrice(asking("2"), ONE)
        prices.remember(KEY, asking("3"), TWO)
    assert await kept(path) == LastGoodPrice(asking("3"), TWO), "healed by the next read"


@pytest.fixture
def other_writer(path: Path) -> Iterator[sqlite3.Connection]:
    """Another process that has the file locked."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        yield file


async def test_a_writer_next_door_delays_no_answer_of_a_price_that_is_in_memory(
    path: Path, other_writer: sqlite3.Connection
) -> None:
    async with LastGood(path) as prices:
        other_writer.execute("BEGIN IMMEDIATE")
        prices.remember(KEY, asking("1"), ONE)
        await asyncio.sleep(0.03)  # The writer waits for the lock by now.
        async with asyncio.timeout(0.3):
            assert await prices.recall(KEY) == LastGoodPrice(asking("1"), ONE)
        other_writer.execute("ROLLBACK")
    assert await kept(path) == LastGoodPrice(asking("1"), ONE)


async def test_a_writer_next_door_delays_no_answer_of_a_price_that_is_on_disk(
    path: Path, other_writer: sqlite3.Connection
) -> None:
    async with LastGood(path) as prices:
        prices.remember(KEY, asking("1"), ONE)
        await written(path, ("gpt-4o", 1))
        other_writer.execute("BEGIN IMMEDIATE")
        prices.remember(key(1), asking("2"), ONE)
        await asyncio.sleep(0.03)
        try:
            async with asyncio.timeout(0.3):
                assert await prices.recall(KEY) == LastGoodPrice(asking("1"), ONE)
        finally:
            other_writer.execute("ROLLBACK")


async def test_a_file_that_is_locked_at_the_start_is_written_once_it_is_free(
    path: Path, other_writer: sqlite3.Connection
) -> None:
    # Such as by another process that is the first to open it, at the same moment.
    other_writer.execute("BEGIN IMMEDIATE")
    async with LastGood(path) as prices:
        other_writer.execute("ROLLBACK")
        prices.remember(KEY, asking("1"), ONE)
        await asyncio.sleep(0.1)
    assert await kept(path) == LastGoodPrice(asking("1"), ONE)


async def test_many_processes_share_one_file(path: Path) -> None:
    everyone = [LastGood(path) for _ in range(8)]
    with capture_logs() as logged:
        for one in everyone:
            await one.__aenter__()
        for number, one in enumerate(everyone):
            one.remember(key(number), asking(f"{number + 1}"), ONE)
        await asyncio.gather(*(one.__aexit__() for one in everyone))
    assert logged == []
    for number in range(8):
        assert await kept(path, key(number)) == LastGoodPrice(asking(f"{number + 1}"), ONE)


# Closed.


async def test_after_its_end_a_price_is_found_in_memory_or_not_at_all(path: Path) -> None:
    async with LastGood(path) as prices:
        prices.remember(KEY, asking("1"), ONE)
    assert await prices.recall(KEY) is None
    prices.remember(KEY, asking("2"), TWO)
    assert await prices.recall(KEY) == LastGoodPrice(asking("2"), TWO)
    assert await kept(path) == LastGoodPrice(asking("1"), ONE)


async def test_before_its_beginning_a_price_is_found_in_memory(path: Path) -> None:
    prices = LastGood(path)
    assert await prices.recall(KEY) is None
    prices.remember(KEY, asking("1"), ONE)
    assert await prices.recall(KEY) == LastGoodPrice(asking("1"), ONE)
    assert not path.parent.exists()
