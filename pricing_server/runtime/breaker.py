"""A breaker in front of the database: nobody waits while it is known to be down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeAlias, TypeVar

import structlog

from pricing_server.domain.errors import DatabaseUnavailable
from pricing_server.runtime.bounded import bounded

T = TypeVar("T")
P = ParamSpec("P")

ANSWER_SECONDS: Final = 1.5
"""How long a look-up waits for the database: thousands of times longer than it needs."""

PROBE_SECONDS: Final = 0.25
"""How long after a failed probe the next one begins."""

MANY: Final = 1_000_000
"""More questions than anybody asks at once."""

log = structlog.get_logger(__name__)


class Breaker:
    """What is known about the database, shared by all who query it.

    The first question that fails or is late declares it down. From then on only a probe
    asks, until the database answers; everybody else goes on without it.
    """

    def __init__(
        self,
        probe: Callable[[], Coroutine[Any, Any, object]],
        *,
        answer_seconds: float = ANSWER_SECONDS,
        probe_seconds: float = PROBE_SECONDS,
        turns: int = MANY,
    ) -> None:
        """`probe` is the cheapest question; it raises DatabaseUnavailable. `turns` is how many
        quick questions the database is asked at once: to wait for a turn is no outage."""
        self._ask_probe = probe
        self._answer_seconds = answer_seconds
        self._probe_seconds = probe_seconds
        self._turns = asyncio.Semaphore(turns)
        self._is_down = False
        self._probe: asyncio.Task[None] | None = None

    @property
    def is_down(self) -> bool:
        """Whether the database is known to be down."""
        return self._is_down

    async def ask(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer to a quick question. Raises DatabaseUnavailable, at once if it is down."""
        if self._is_down:
            raise DatabaseUnavailable
        async with self._turns:
            # It may have gone down while others had their turn.
            if self._is_down:
                raise DatabaseUnavailable
            try:
                return await self._in_time(question, self._answer_seconds)
            except DatabaseUnavailable:
                self._declare_down()
                self._begin_probe()
                raise

    async def ask_slow(self, question: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> T:
        """The answer to a question that may take up to `seconds`.

        Like `ask`, but its failure alone does not declare the database down, since the
        question itself may be too slow: the probe finds out.
        """
        if self._is_down:
            raise DatabaseUnavailable
        try:
            return await self._in_time(question, seconds)
        except DatabaseUnavailable:
            self._begin_probe()
            raise

    async def aclose(self) -> None:
        """Stop probing."""
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)

    async def _in_time(self, question: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> T:
        try:
            return await bounded(question(), seconds)
        except TimeoutError:
            raise DatabaseUnavailable from None

    def _declare_down(self) -> None:
        if not self._is_down:
            log.warning("database.down")
            self._is_down = True

    def _begin_probe(self) -> None:
        if self._probe is None:
            self._probe = asyncio.create_task(self._probe_until_up(), name="database probe")

    async def _probe_until_up(self) -> None:
        is_logged = False
        while True:
            try:
                await self._in_time(self._ask_probe, self._answer_seconds)
                break
            except Exception as error:
                if isinstance(error, DatabaseUnavailable):
                    self._declare_down()
                elif not is_logged:
                    # A defect is no reason to keep the database shut out for ever.
                    log.error("database.probe_broken", exc_info=error)
                    is_logged = True
                await asyncio.sleep(self._probe_seconds)
        self._probe = None
        if self._is_down:
            self._is_down = False
            log.info("database.up")


class BreakerOwner(Protocol):
    """Asks the database through a breaker."""

    @property
    def breaker(self) -> Breaker:
        """For all who ask the same database."""


R = TypeVar("R", bound=BreakerOwner)
_behind_breaker: Final[set[object]] = set()
_Read: TypeAlias = Callable[Concatenate[R, P], Coroutine[Any, Any, T]]


def quick_read(method: _Read[R, P, T]) -> _Read[R, P, T]:
    """A method that asks the database a quick question, through its owner's breaker."""

    @wraps(method)
    async def asked(self: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.breaker.ask(lambda: method(self, *args, **kwargs))

    _behind_breaker.add(asked)
    return asked


def slow_read(seconds: float) -> Callable[[_Read[R, P, T]], _Read[R, P, T]]:
    """A method that asks the database a question that may take so many seconds."""

    def decorated(method: _Read[R, P, T]) -> _Read[R, P, T]:
        @wraps(method)
        async def asked(self: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
            return await self.breaker.ask_slow(lambda: method(self, *args, **kwargs), seconds)

        _behind_breaker.add(asked)
        return asked

    return decorated


def is_behind_breaker(method: object) -> bool:
    """Whether a method asks the database through its owner's breaker alone."""
    return method in _behind_breaker
