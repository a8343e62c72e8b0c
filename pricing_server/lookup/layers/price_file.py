"""Prices by hand: the operator's file as a layer, read again when it changes."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from pricing_server.domain.price import Price
from pricing_server.lookup.layers.price_file_format import (
    ManualFile,
    ManualFileError,
    read_manual_file,
)
from pricing_server.runtime.clock import utc_now

CHECK_SECONDS: Final = 1.0
"""How often at most the file is looked at."""

PATIENCE_SECONDS: Final = 0.1
"""How long the look-up that finds a check due waits for it; the others never do."""

MAX_BYTES: Final = 32 * 1024 * 1024

_SETTLED_NS: Final = 2_000_000_000
"""A file changed less than this before it was read may change again without another mtime."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Version:
    """What differs between two states of the file, without reading it."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Version:
        return cls(
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )


@dataclass(frozen=True, slots=True)
class _Checked:
    """The outcome of a look at the file: nothing new, a new state of it, or a fault."""

    version: _Version | None = None
    file: ManualFile | None = None
    fault: str | None = None
    is_gone: bool = False


class ManualPrices:
    """The prices of the operator's file. For one event loop.

    A file that turns out broken or gone keeps the last good one in force: its answers say
    so, and the log does, once.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], datetime] = utc_now,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the file; slow. Raises ManualFileError."""
        self._path = path
        self._clock = clock
        self._timer = timer
        self._version: _Version | None = None
        first = self._look()
        if first.file is None:
            raise ManualFileError(first.fault)
        self._file = first.file
        self._version = first.version
        self._fault: str | None = None
        self._doubt: str | None = None
        self._checking: asyncio.Task[None] | None = None
        self._next_check = timer() + CHECK_SECONDS
        self._tell_doubtful()

    async def prices_of(self, model_id: str) -> Sequence[Price]:
        """The prices of exactly this id at all sellers."""
        await self._check_if_due()
        prices = self._file.prices.get(model_id, ())
        if self._doubt is None:
            return prices
        return [replace(price, doubt=self._doubt) for price in prices]

    def names(self) -> Sequence[tuple[str, str]]:
        """(provider, model id) of every model, the same object as long as it is the same file."""
        return self._file.names

    async def names_now(self) -> Sequence[tuple[str, str]]:
        """`names` of the file as it is now, as far as `prices_of` would see it."""
        await self._check_if_due()
        return self._file.names

    def sells(self, provider: str) -> bool:
        """Whether the file names the seller (by slug)."""
        return provider in self._file.providers

    async def _check_if_due(self) -> None:
        if self._checking is None and self._timer() >= self._next_check:
            self._checking = asyncio.create_task(self._check(), name="manual price file")
            # A file system that hangs delays one look-up a little, and no other.
            await asyncio.wait({self._checking}, timeout=PATIENCE_SECONDS)

    async def _check(self) -> None:
        try:
            self._apply(await asyncio.to_thread(self._look))
        except Exception as error:
            log.error("manual.not_checked", file=str(self._path), exc_info=error)
        finally:
            self._next_check = self._timer() + CHECK_SECONDS
            self._checking = None

    def _apply(self, checked: _Checked) -> None:
        if checked.fault is not None:
            self._version = checked.version
            self._doubt = (
                "the file is gone, its last prices"
                if checked.is_gone
                else "the file is not valid now, its last valid prices"
            )
            if checked.fault != self._fault:
                self._fault = checked.fault
                log.error("manual.kept_last_good", file=str(self._path), error=checked.fault)
        elif checked.file is not None:
            is_news = checked.file != self._file or self._fault is not None
            self._file, self._version = checked.file, checked.version
            self._fault = self._doubt = None
            if is_news:
                models = sum(map(len, self._file.prices.values()))
                log.info("manual.read", file=str(self._path), models=models)
                self._tell_doubtful()

    def _look(self) -> _Checked:
        """Look at the file, and read it if it may have changed. Blocks."""
        try:
            if self._version is not None and _Version.of(os.stat(self._path)) == self._version:
                return _Checked()
            # A pipe of that name must not block the open.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as opened:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    return _Checked(fault="is not a regular file")
                body = opened.read(MAX_BYTES + 1)
        except OSError as error:
            is_gone = isinstance(error, (FileNotFoundError, NotADirectoryError))
            return _Checked(
                fault=f"cannot be read: {error.strerror or type(error).__name__}", is_gone=is_gone
            )
        version: _Version | None = _Version.of(status)
        now = self._clock()
        if abs(time.time_ns() - status.st_mtime_ns) < _SETTLED_NS:
            version = None
        if len(body) > MAX_BYTES:
            return _Checked(version, fault=f"is over {MAX_BYTES} bytes")
        modified_at = datetime.fromtimestamp(min(max(status.st_mtime, 0), now.timestamp()), UTC)
        try:
            file = read_manual_file(body, self._path.name, modified_at, now)
        except ManualFileError as error:
            return _Checked(version, fault=str(error))
        return _Checked(version, file)

    def _tell_doubtful(self) -> None:
        if doubtful := self._file.doubtful:
            log.warning(
                "manual.implausible",
                file=str(self._path),
                entries=len(doubtful),
                first=doubtful[0],
            )
