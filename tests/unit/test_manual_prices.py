"""The operator's price file in force: read again when it changes, kept when it breaks."""

# ruff: noqa: ASYNC240 (the files are small and local, and nothing else runs)

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pricing_server.domain.price import Price
from pricing_server.lookup.layers import price_file
from pricing_server.lookup.layers.price_file import CHECK_SECONDS, ManualPrices
from pricing_server.lookup.layers.price_file_format import ManualFileError


def content(prompt: object = "1", **metadata: object) -> str:
    return json.dumps(
        {
            "_metadata": {"unit": "per_1m_tokens", **metadata},
            "acme": {"m": {"prompt": prompt}},
            "other": {"m": {"prompt": "9"}},
        }
    )


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def tick(self) -> None:
        self.now += CHECK_SECONDS + 0.01


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "manual_pricing.json"
    path.write_text(content())
    return path


def prompts(prices: Sequence[Price]) -> list[Decimal]:
    return [price.card.rates[0].price.scaleb(6) for price in prices]


async def at(prices: ManualPrices, model_id: str, seller: str | None) -> Sequence[Price]:
    """The prices of an id at one seller or at all."""
    found = await prices.prices_of(model_id)
    return [price for price in found if seller in (None, price.provider)]


def replaced(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def settled(path: Path) -> None:
    """Make the file look as if it was last changed long ago."""
    os.utime(path, (1_700_000_000, 1_700_000_000))


async def test_a_price_is_found_at_its_seller_or_at_all(path: Path) -> None:
    prices = ManualPrices(path)
    assert prompts(await at(prices, "m", "acme")) == [1]
    assert prompts(await at(prices, "m", None)) == [1, 9]
    assert not await at(prices, "m", "nobody")
    assert not await at(prices, "M", "acme")
    assert prices.sells("acme")
    assert not prices.sells("nobody")


@pytest.mark.parametrize("write", [replaced, Path.write_text])
async def test_a_changed_file_is_in_force_at_the_next_look_up_a_second_later(
    path: Path, clock: Clock, write: Any
) -> None:
    settled(path)
    prices = ManualPrices(path, timer=clock)
    write(path, content("2"))
    assert prompts(await at(prices, "m", "acme")) == [1]
    clock.tick()
    assert prompts(await at(prices, "m", "acme")) == [2]


async def test_a_change_within_one_tick_of_the_file_system_is_seen(
    path: Path, clock: Clock
) -> None:
    prices = ManualPrices(path, timer=clock)
    before = path.stat()
    with path.open("r+") as file:
        file.write(content("2"))  # Of the same length, in the same file.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    clock.tick()
    assert prompts(await at(prices, "m", "acme")) == [2]


async def test_an_unchanged_file_is_not_read_again(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(path)
    prices = ManualPrices(path, timer=clock)
    monkeypatch.setattr(price_file, "read_manual_file", None)
    with capture_logs() as logs:
        for _ in range(3):
            clock.tick()
            assert prompts(await at(prices, "m", "acme")) == [1]
    assert not logs


async def test_a_touched_file_is_as_old_as_its_new_date(path: Path, clock: Clock) -> None:
    settled(path)
    prices = ManualPrices(path, timer=clock)
    [before] = await at(prices, "m", "acme")
    os.utime(path, (1_750_000_000, 1_750_000_000))
    clock.tick()
    [after] = await at(prices, "m", "acme")
    assert (before.obtained_at.year, after.obtained_at.year) == (2023, 2025)


@pytest.mark.parametrize(
    ("broken", "doubt"),
    [
        ("{", "the file is not valid now, its last valid prices"),
        (content("0"), "the file is not valid now, its last valid prices"),
        (None, "the file is gone, its last prices"),
    ],
)
async def test_a_broken_or_vanished_file_keeps_the_last_good_one_and_says_so_once(
    path: Path, clock: Clock, broken: str | None, doubt: str
) -> None:
    prices = ManualPrices(path, timer=clock)
    if broken is None:
        path.unlink()
    else:
        path.write_text(broken)
    with capture_logs() as logs:
        for _ in range(3):
            clock.tick()
            [price] = await at(prices, "m", "acme")
            assert prompts([price]) == [1]
            assert price.doubt == doubt
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("manual.kept_last_good", "error")
    ]
    path.write_text(content("3"))
    with capture_logs() as logs:
        clock.tick()
        [price] = await at(prices, "m", "acme")
    assert prompts([price]) == [3]
    assert price.doubt is None
    assert [entry["event"] for entry in logs] == ["manual.read"]


async def test_a_mended_file_that_is_as_before_is_no_longer_in_doubt(
    path: Path, clock: Clock
) -> None:
    settled(path)
    prices = ManualPrices(path, timer=clock)
    aside = path.with_suffix(".aside")
    path.rename(aside)
    clock.tick()
    assert (await at(prices, "m", "acme"))[0].doubt is not None
    aside.rename(path)
    clock.tick()
    assert (await at(prices, "m", "acme"))[0].doubt is None


async def test_a_pipe_or_directory_in_its_place_does_not_block(path: Path, clock: Clock) -> None:
    prices = ManualPrices(path, timer=clock)
    path.unlink()
    os.mkfifo(path)
    clock.tick()
    assert prompts(await at(prices, "m", "acme")) == [1]
    path.unlink()
    path.mkdir()
    clock.tick()
    [price] = await at(prices, "m", "acme")
    assert prompts([price]) == [1]
    assert price.doubt is not None


async def test_a_file_system_that_hangs_delays_no_look_up_for_long(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = ManualPrices(path, timer=clock)
    path.write_text(content("2"))
    hanging = threading.Event()
    look = prices._look

    def hang() -> Any:
        hanging.wait(10)
        return look()

    monkeypatch.setattr(ManualPrices, "_look", lambda _: hang())
    clock.tick()
    async with asyncio.timeout(2):
        for _ in range(50):
            assert prompts(await at(prices, "m", "acme")) == [1]
    hanging.set()
    async with asyncio.timeout(5):
        while prompts(await at(prices, "m", "acme")) != [2]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("broken", ["", content("-1"), None])
def test_a_first_file_that_is_broken_or_missing_is_refused_in_one_line(
    path: Path, broken: str | None
) -> None:
    if broken is None:
        path.unlink()
    else:
        path.write_text(broken)
    with pytest.raises(ManualFileError) as refused:
        ManualPrices(path)
    assert str(refused.value)
    assert "\n" not in str(refused.value)


def test_implausible_prices_are_logged_when_the_file_is_read(path: Path) -> None:
    path.write_text(content("0.0000025"))
    with capture_logs() as logs:
        ManualPrices(path)
    [entry] = logs
    assert (entry["event"], entry["entries"]) == ("manual.implausible", 1)
