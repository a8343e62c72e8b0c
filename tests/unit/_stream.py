"""A history in memory, an encoder that writes lines of JSON, and a clock that jumps."""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from random import Random
from typing import Any, TypeVar

from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.domain.head import Head
from pricing_server.domain.price import Price, PricePage
from pricing_server.domain.price_change import ChangeKind, ChangeOrigin, OriginKind, PriceChange
from pricing_server.stream.change_history import ChangePage, Cursor, revision_of
from pricing_server.stream.messages import EVERYTHING, Event, Filter
from tests.unit._price_table import NOON, price, priced

T = TypeVar("T")

Key = tuple[int, str, str]
"""A change: revision, provider, model id."""

CARD = priced("1")

MODELS = tuple((provider, f"model-{n}") for n in range(4) for provider in ("one", "two"))
"""All models that there are. A model's key is its place, from 1."""

Draft = dict[tuple[str, str], int]
"""A revision to be: the models that change, and how many bytes the piece of each takes."""


class _Selector(selectors.SelectSelector):
    """Does not wait: time jumps to when the next thing is due."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        self.now += 1e-6
        if not found:
            assert timeout is not None, "nothing will ever happen again"
            self.now += max(0.0, timeout)
        return found


class _Inline(ThreadPoolExecutor):
    """Runs work at once, so that no time passes meanwhile."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Selector()
        super().__init__(self._jumping)
        self.set_default_executor(_Inline(1))

    def time(self) -> float:
        return self._jumping.now

    async def shutdown_default_executor(self, *_: object) -> None:
        """It has no threads."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run where waiting takes no time, in the same order every time."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)


def now() -> float:
    """Seconds since the start."""
    return asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class Outage:
    """A time, in seconds from the start, in which the database does not answer."""

    start: float
    seconds: float
    is_frozen: bool
    """Whether reads wait for its end, instead of failing at once."""


class History:
    """See `pricing_server.stream.change_history.ChangeHistory`. Answers take some time, or fail."""

    def __init__(
        self, random: Random, page_rows: int = 500, outages: Sequence[Outage] = ()
    ) -> None:
        self.at = Head(0, "first")
        self.rows: list[PriceChange] = []
        self._lost: dict[str, tuple[Head, list[PriceChange]]] = {}
        self._random = random
        self._page_rows = page_rows
        self._outages = outages

    def commit(self, draft: Draft) -> Head:
        """Write the next revision; the head after it."""
        self.at = Head(self.at.revision + 1, self.at.epoch)
        for provider, model_id in sorted(draft, key=MODELS.index):
            self.rows.append(
                PriceChange(
                    kind=ChangeKind.CHANGED,
                    provider=provider,
                    model_id=model_id,
                    old=CARD,
                    new=CARD,
                    source="api",
                    effective_time=NOON,
                    changed_at=NOON,
                    origin=ChangeOrigin(
                        OriginKind.SYNC, "admin", " " * draft[provider, model_id], sync_run_id=1
                    ),
                    revision=self.at.revision,
                )
            )
        return self.at

    def restore(self, revision: int, epoch: str) -> None:
        """Go back to a revision; in the same epoch, as long as nobody has noticed."""
        self._lost.setdefault(self.at.epoch, (self.at, self.rows))
        self.at = Head(revision, epoch)
        self.rows = [row for row in self.rows if revision_of(row) <= revision]

    def head_of(self, epoch: str) -> Head:
        """The last that came, or has come, in an epoch."""
        return self._of(epoch)[0]

    def keys(
        self, after: int, upto: int, criteria: Filter = EVERYTHING, epoch: str = ""
    ) -> list[Key]:
        """The changes behind a revision up to another one that pass, now or as of an epoch."""
        return [
            (revision_of(row), row.provider, row.model_id)
            for row in self._of(epoch)[1]
            if after < revision_of(row) <= upto and criteria.passes(row.provider, row.model_id)
        ]

    def _of(self, epoch: str) -> tuple[Head, list[PriceChange]]:
        return self._lost.get(epoch, (self.at, self.rows))

    def standing(self, revision: int, criteria: Filter) -> dict[tuple[str, str], int]:
        """The models that pass and have a price at a revision, and since which one."""
        return {(key[1], key[2]): key[0] for key in self.keys(0, revision, criteria)}

    async def head(self) -> Head:
        return await self._answer(lambda: self.at)

    async def recent(self, upto: int, changes: int) -> int:
        def find() -> int:
            keys = self.keys(0, upto)
            return keys[-changes - 1][0] if len(keys) > changes else 0

        return await self._answer(find)

    async def changes(
        self, after: Cursor, upto: int, limit: int, criteria: Filter = EVERYTHING
    ) -> ChangePage:
        rows = min(limit, self._page_rows)

        def find() -> ChangePage:
            behind = (after.revision, after.model_key)
            found = [row for row in self.rows if behind < _place(row) and revision_of(row) <= upto][
                :rows
            ]
            return ChangePage(
                [row for row in found if criteria.passes(row.provider, row.model_id)],
                self.at,
                Cursor(*_place(found[-1])) if len(found) == rows else None,
            )

        return await self._answer(find)

    async def prices_at(
        self, revision: int, after_model: int, limit: int, criteria: Filter
    ) -> PricePage:
        rows = min(limit, self._page_rows)

        def find() -> PricePage:
            standing = self.standing(revision, criteria)
            keys = [
                number
                for number, model in enumerate(MODELS, start=1)
                if number > after_model and model in standing
            ][:rows]
            return PricePage(
                [
                    replace(price(*model), price_revision=standing[model])
                    for model in (MODELS[number - 1] for number in keys)
                ],
                self.at,
                keys[-1] if len(keys) == rows else None,
            )

        return await self._answer(find)

    async def _answer(self, find: Callable[[], T]) -> T:
        """What is found when the question comes, or later: either may be."""
        found = find() if self._random.random() < 0.5 else None
        await asyncio.sleep(self._random.choice((0.0, 0.001, 0.2)))
        for outage in self._outages:
            left = outage.start + outage.seconds - now()
            if 0 < left <= outage.seconds:
                if not outage.is_frozen:
                    raise DatabaseUnavailable
                await asyncio.sleep(left)
        return find() if found is None else found


def _place(row: PriceChange) -> tuple[int, int]:
    return revision_of(row), MODELS.index((row.provider, row.model_id)) + 1


class LineEncoder:
    """See `pricing_server.stream.messages.Encoder`: a line per piece, and one at the end."""

    def trailer(self, event: Event, head: Head, *, is_last: bool) -> bytes:
        return _line([event, head.revision, head.epoch, is_last])

    def change(self, change: PriceChange) -> bytes:
        key = [change.revision, change.provider, change.model_id]
        return _line(key).rstrip().ljust(len(change.origin.note)) + b"\n"

    def price(self, price: Price) -> bytes:
        return _line([price.price_revision, price.provider, price.model_id])


def _line(content: list[Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A message as a reader sees it."""

    event: Event
    head: Head
    is_last: bool
    pieces: tuple[tuple[Any, ...], ...]
    sizes: tuple[int, ...]
    """Bytes of each piece."""


def decoded(data: bytes) -> Decoded:
    """Read what a LineEncoder wrote."""
    *pieces, trailer = data.splitlines(keepends=True)
    event, revision, epoch, is_last = json.loads(trailer)
    return Decoded(
        Event(event),
        Head(revision, epoch),
        is_last,
        tuple(tuple(json.loads(piece)) for piece in pieces),
        tuple(map(len, pieces)),
    )
