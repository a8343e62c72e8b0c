"""What takes long to make, made once for all who ask."""

from __future__ import annotations

import asyncio

import pytest

from pricing_server.runtime.single_flight import NewestValue, SingleFlight


class Maker:
    """Makes numbers, when it may."""

    def __init__(self) -> None:
        self.made = 0
        self.fails = False
        self.may = asyncio.Event()
        self.may.set()

    async def __call__(self) -> int:
        await self.may.wait()
        if self.fails:
            raise RuntimeError
        self.made += 1
        return self.made


async def test_all_who_ask_for_the_same_parts_get_one_value_and_other_parts_make_another() -> None:
    value, make, part, other = NewestValue[int](), Maker(), object(), object()
    assert await asyncio.gather(*(value.get(part, make=make) for _ in range(5))) == [1] * 5
    assert (await value.get(part, make=make), value.parts) == (1, (part,))
    assert (await value.get(other, make=make), value.parts) == (2, (other,))
    assert value.value == 2


async def test_what_failed_is_made_anew_and_is_no_value_meanwhile() -> None:
    value, make, part = NewestValue[int](), Maker(), object()
    assert value.value is None
    make.fails = True
    with pytest.raises(RuntimeError):
        await value.get(part, make=make)
    assert (value.value, value.parts) == (None, ())
    make.fails = False
    assert await value.get(part, make=make) == 1


async def test_a_value_of_older_parts_does_not_take_the_place_of_a_newer_one() -> None:
    value, make, slow, part, other = NewestValue[int](), Maker(), Maker(), object(), object()
    slow.may.clear()
    early = asyncio.create_task(value.get(part, make=slow))
    await asyncio.sleep(0)
    make.made = 10
    assert await value.get(other, make=make) == 11
    slow.may.set()
    assert await early == 1
    assert (value.value, value.parts) == (11, (other,))


async def test_who_gives_up_does_not_take_the_value_from_the_others() -> None:
    value, make, part = NewestValue[int](), Maker(), object()
    make.may.clear()
    first = asyncio.create_task(value.get(part, make=make))
    second = asyncio.create_task(value.get(part, make=make))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    make.may.set()
    assert await second == 1


async def test_work_is_done_once_for_all_who_ask_meanwhile_and_anew_after_it_or_a_forget() -> None:
    flight, make = SingleFlight[str, int](), Maker()
    assert await asyncio.gather(*(flight.get("a", make) for _ in range(3))) == [1] * 3
    assert await flight.get("a", make) == 2
    make.may.clear()
    early = asyncio.create_task(flight.get("a", make))
    await asyncio.sleep(0)
    flight.forget()
    late = asyncio.create_task(flight.get("a", make))
    await asyncio.sleep(0)
    make.may.set()
    assert sorted(await asyncio.gather(early, late)) == [3, 4]


async def test_work_that_is_forgotten_knows_that_it_is_not_current() -> None:
    flight, may, current = SingleFlight[str, None](), asyncio.Event(), []

    async def work() -> None:
        await may.wait()
        current.append(flight.is_current("a"))

    early = asyncio.create_task(flight.get("a", work))
    await asyncio.sleep(0)
    flight.forget()
    late = asyncio.create_task(flight.get("a", work))
    await asyncio.sleep(0)
    may.set()
    await asyncio.gather(early, late)
    assert sorted(current) == [False, True]


async def test_closing_stops_what_is_under_way() -> None:
    flight, make = SingleFlight[str, int](), Maker()
    make.may.clear()
    waiting = asyncio.create_task(flight.get("a", make))
    await asyncio.sleep(0)
    await flight.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting
