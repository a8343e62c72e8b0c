"""What takes long to make, made once for all who ask."""

from __future__ import annotations

import asyncio

import pytest

from pricing_server.made_once import MadeOnce


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
    value, make, part, other = MadeOnce[int](), Maker(), object(), object()
    assert await asyncio.gather(*(value.of(part, make=make) for _ in range(5))) == [1] * 5
    assert (await value.of(part, make=make), value.parts) == (1, (part,))
    assert (await value.of(other, make=make), value.parts) == (2, (other,))
    assert await value.newest() == 2


async def test_what_failed_is_made_anew_and_is_no_value_meanwhile() -> None:
    value, make, part = MadeOnce[int](), Maker(), object()
    assert await value.newest() is None
    make.fails = True
    with pytest.raises(RuntimeError):
        await value.of(part, make=make)
    assert (await value.newest(), value.parts) == (None, ())
    make.fails = False
    assert await value.of(part, make=make) == 1


async def test_who_gives_up_does_not_take_the_value_from_the_others() -> None:
    value, make, part = MadeOnce[int](), Maker(), object()
    make.may.clear()
    first = asyncio.create_task(value.of(part, make=make))
    second = asyncio.create_task(value.of(part, make=make))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    make.may.set()
    assert await second == 1
