"""The last price that was read of each model, kept on disk for when the database is down."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import structlog

from llmpricing.rate_card import RateCard
from pricing_server.lookup.price import Head, Key, Layer, Price

FLUSH_SECONDS: Final = 0.5
MAX_MODELS: Final = 100_000

log = structlog.get_logger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS last_good (
    layer TEXT NOT NULL,
    provider TEXT NOT NULL,
    model_id TEXT NOT NULL,
    price TEXT NOT NULL,
    revision INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    PRIMARY KEY (layer, provider, model_id)
)
"""
# A price is replaced by one of a later revision, or of another epoch: never by an older
# one that another process of this directory was late to write.
_UPSERT = """
INSERT INTO last_good (layer, provider, model_id, price, revision, epoch)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (layer, provider, model_id) DO UPDATE
SET price = excluded.price, revision = excluded.revision, epoch = excluded.epoch
WHERE excluded.epoch <> last_good.epoch OR excluded.revision >= last_good.revision
"""
_PRUNE = """
DELETE FROM last_good WHERE rowid IN (
    SELECT rowid FROM last_good ORDER BY rowid DESC LIMIT -1 OFFSET ?
)
"""


@dataclass(frozen=True, slots=True)
class LastGoodPrice:
    """A price, and the state of the price table that it was read at."""

    price: Price
    head: Head


class LastGood:
    """Prices by the names they were asked by. Bounded, on disk, shared by the processes of a
    data directory. A disk that fails costs the spill and no answer."""

    def __init__(self, path: Path, *, max_models: int = MAX_MODELS) -> None:
        self._path = path
        self._max_models = max_models
        self._pending: dict[Key, LastGoodPrice] = {}
        self._lock = threading.Lock()
        self._file: sqlite3.Connection | None = None
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LastGood:
        """Open the file and begin to write behind."""
        await asyncio.to_thread(self._open)
        self._writer = asyncio.create_task(self._write_behind(), name="last good prices")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        await asyncio.to_thread(self._flush)
        if self._file is not None:
            self._file.close()

    def remember(self, key: Key, price: Price, head: Head) -> None:
        """Keep a price that was read from the price table."""
        if len(self._pending) < self._max_models or key in self._pending:
            self._pending[key] = LastGoodPrice(price, head)

    async def find(self, key: Key) -> LastGoodPrice | None:
        """The last price that was read under these names, or None."""
        return self._pending.get(key) or await asyncio.to_thread(self._read, key)

    async def _write_behind(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await asyncio.to_thread(self._flush)

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = sqlite3.connect(self._path, timeout=1, check_same_thread=False)
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = NORMAL")
            with file:
                file.execute(_SCHEMA)
            self._file = file
        except (sqlite3.Error, OSError) as error:
            log.error("last_good.not_on_disk", file=str(self._path), error=str(error))

    def _flush(self) -> None:
        batch = dict(self._pending)
        if not batch or self._file is None:
            return
        rows = [
            (
                layer.value,
                provider or "",
                model_id,
                json.dumps(_price_document(kept.price)),
                kept.head.revision,
                kept.head.epoch,
            )
            for (layer, provider, model_id), kept in batch.items()
        ]
        try:
            with self._lock, self._file:
                self._file.executemany(_UPSERT, rows)
                self._file.execute(_PRUNE, (self._max_models,))
        except sqlite3.Error as error:
            log.error("last_good.not_on_disk", file=str(self._path), error=str(error))
            return
        for key, kept in batch.items():
            if self._pending.get(key) is kept:
                del self._pending[key]

    def _read(self, key: Key) -> LastGoodPrice | None:
        if self._file is None:
            return None
        layer, provider, model_id = key
        try:
            with self._lock:
                row = self._file.execute(
                    "SELECT price, revision, epoch FROM last_good "
                    "WHERE layer = ? AND provider = ? AND model_id = ?",
                    (layer.value, provider or "", model_id),
                ).fetchone()
            if row is None:
                return None
            return LastGoodPrice(_price(json.loads(row[0])), Head(row[1], row[2]))
        except (sqlite3.Error, ValueError, KeyError) as error:
            log.error("last_good.unreadable", model=model_id, error=str(error))
            return None


def _price_document(price: Price) -> dict[str, Any]:
    return {
        "provider": price.provider,
        "model_id": price.model_id,
        "card": price.card.to_document(),
        "layer": price.layer.value,
        "source": price.source,
        "obtained_at": price.obtained_at.isoformat(),
        "effective_time": price.effective_time.isoformat(),
        "is_listed": price.is_listed,
        "price_revision": price.price_revision,
        "hugging_face_id": price.hugging_face_id,
        "alias_target": price.alias_target,
        "delisted_at": price.delisted_at.isoformat() if price.delisted_at else None,
        "canonical_slug": price.canonical_slug,
        "detail": price.detail,
    }


def _price(document: dict[str, Any]) -> Price:
    delisted_at = document["delisted_at"]
    return Price(
        provider=document["provider"],
        model_id=document["model_id"],
        card=RateCard.from_document(document["card"]),
        layer=Layer(document["layer"]),
        source=document["source"],
        obtained_at=datetime.fromisoformat(document["obtained_at"]),
        effective_time=datetime.fromisoformat(document["effective_time"]),
        is_listed=document["is_listed"],
        price_revision=document["price_revision"],
        hugging_face_id=document["hugging_face_id"],
        alias_target=document["alias_target"],
        delisted_at=datetime.fromisoformat(delisted_at) if delisted_at else None,
        canonical_slug=document["canonical_slug"],
        detail=document["detail"],
    )
