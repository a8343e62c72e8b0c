"""The last price that was read of each model, kept on disk for when the database is down."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from llmpricing.rate_card import RateCard
from pricing_server.domain.disagreement import Disagreement
from pricing_server.domain.head import Head
from pricing_server.domain.held_change import PendingChange
from pricing_server.domain.price import Key, Layer, Price

FLUSH_SECONDS: Final = 0.5
MAX_MODELS: Final = 100_000
BUSY_SECONDS: Final = 1

log = structlog.get_logger(__name__)

# `asked` is the seller that was asked for, '' for a question without one. Its price is that
# of `answered`, the seller that answered: one model is one price under all its questions.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS last_answers (
    layer TEXT NOT NULL,
    asked TEXT NOT NULL,
    model_id TEXT NOT NULL,
    answered TEXT NOT NULL,
    revision INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    PRIMARY KEY (layer, asked, model_id)
);
CREATE TABLE IF NOT EXISTS last_prices (
    layer TEXT NOT NULL,
    provider TEXT NOT NULL,
    model_id TEXT NOT NULL,
    price TEXT,  -- null: there is none, as of this revision
    revision INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    written_at REAL NOT NULL,
    PRIMARY KEY (layer, provider, model_id)
);
"""
# What is kept is replaced by what is of a later revision, or of another epoch: never by an
# older one that another process of this directory was late to write.
_KEEP_ANSWER = """
INSERT INTO last_answers (layer, asked, model_id, answered, revision, epoch)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (layer, asked, model_id) DO UPDATE
SET answered = excluded.answered, revision = excluded.revision, epoch = excluded.epoch
WHERE excluded.epoch <> last_answers.epoch OR excluded.revision >= last_answers.revision
"""
_KEEP_PRICE = """
INSERT INTO last_prices (layer, provider, model_id, price, revision, epoch, written_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (layer, provider, model_id) DO UPDATE
SET price = excluded.price, revision = excluded.revision, epoch = excluded.epoch,
    written_at = excluded.written_at
WHERE excluded.epoch <> last_prices.epoch OR excluded.revision >= last_prices.revision
"""
_PRUNE = (
    "DELETE FROM last_prices WHERE rowid IN "
    "(SELECT rowid FROM last_prices ORDER BY written_at DESC LIMIT -1 OFFSET ?)",
    "DELETE FROM last_answers WHERE rowid IN "
    "(SELECT rowid FROM last_answers ORDER BY rowid DESC LIMIT -1 OFFSET ?)",
)


@dataclass(frozen=True, slots=True)
class LastGoodPrice:
    """A price (None: there was none), and the state of the table that it was read at."""

    price: Price | None
    head: Head


@dataclass(frozen=True, slots=True)
class _Answered:
    """Which seller answered a question, as of a state of the table."""

    provider: str
    head: Head


T = TypeVar("T", LastGoodPrice, _Answered)


class LastGood:
    """Prices by the names they were asked by. Bounded, on disk, shared by the processes of a
    data directory. A disk that fails costs what it held, and no other answer."""

    def __init__(self, path: Path, *, max_models: int = MAX_MODELS) -> None:
        self._path = path
        self._max_models = max_models
        self._answers: dict[Key, _Answered] = {}
        self._prices: dict[Key, LastGoodPrice] = {}
        self._pending = threading.Lock()  # of the two above, which a thread writes out
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._is_failing = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LastGood:
        """Open the file and begin to write behind."""
        await asyncio.to_thread(self._flush)
        self._task = asyncio.create_task(self._write_behind(), name="last good prices")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what is left."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._flush)
        for connection in (self._writer, self._reader):
            if connection is not None:
                connection.close()

    def remember(self, key: Key, price: Price, head: Head) -> None:
        """Keep what the price table said: who answered a question, and with which price."""
        self._keep(key, price.provider, price, head)

    def remember_none(self, key: Key, provider: str, head: Head) -> None:
        """Keep that the price table had no price under these names."""
        self._keep(key, provider, None, head)

    def _keep(self, key: Key, provider: str, price: Price | None, head: Head) -> None:
        layer, _, model_id = key
        with self._pending:
            if len(self._prices) >= self._max_models and (layer, provider, model_id) not in (
                self._prices
            ):
                return
            answered = self._answers.get(key)
            if answered is None or _is_as_new(head, answered.head):
                self._answers[key] = _Answered(provider, head)
            model = (layer, provider, model_id)
            kept = self._prices.get(model)
            if kept is None or _is_as_new(head, kept.head):
                self._prices[model] = LastGoodPrice(price, head)

    async def recall(self, key: Key) -> LastGoodPrice | None:
        """The last that was read under these names, or None."""
        return await asyncio.to_thread(self._recall, key)

    def _recall(self, key: Key) -> LastGoodPrice | None:
        layer, _, model_id = key
        answered = _newer(self._answers.get(key), self._read_answer(key))
        if answered is None:
            return None
        model = (layer, answered.provider, model_id)
        return _newer(self._prices.get(model), self._read_price(model))

    async def _write_behind(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await asyncio.to_thread(self._flush)

    def _flush(self) -> None:
        with self._writing:
            try:
                writer = self._opened()
                self._write(writer)
            except (sqlite3.Error, OSError) as error:
                if not self._is_failing:
                    log.error("last_good.not_on_disk", file=str(self._path), error=str(error))
                self._is_failing = True
            else:
                self._is_failing = False

    def _opened(self) -> sqlite3.Connection:
        """The connection that writes; opened anew as long as that fails."""
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            writer = self._connect()
            try:
                writer.execute("PRAGMA journal_mode = WAL")
                writer.execute("PRAGMA synchronous = NORMAL")
                writer.executescript(_SCHEMA)
                # Another one to read by: in WAL mode a reader waits for no writer.
                self._reader = self._connect()
            except sqlite3.Error:
                writer.close()
                raise
            self._writer = writer
        return self._writer

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=BUSY_SECONDS, check_same_thread=False)

    def _write(self, writer: sqlite3.Connection) -> None:
        with self._pending:
            answers, prices = dict(self._answers), dict(self._prices)
        if not answers and not prices:
            return
        now = time.time()
        with writer:
            writer.executemany(
                _KEEP_PRICE,
                [
                    (
                        *_columns(key),
                        json.dumps(_price_document(kept.price)) if kept.price else None,
                        kept.head.revision,
                        kept.head.epoch,
                        now,
                    )
                    for key, kept in prices.items()
                ],
            )
            writer.executemany(
                _KEEP_ANSWER,
                [
                    (*_columns(key), kept.provider, kept.head.revision, kept.head.epoch)
                    for key, kept in answers.items()
                ],
            )
            for statement in _PRUNE:
                writer.execute(statement, (self._max_models,))
        with self._pending:
            for key, answered in answers.items():
                if self._answers.get(key) is answered:
                    del self._answers[key]
            for key, price in prices.items():
                if self._prices.get(key) is price:
                    del self._prices[key]

    def _read_answer(self, key: Key) -> _Answered | None:
        row = self._row(
            "SELECT answered, revision, epoch FROM last_answers "
            "WHERE layer = ? AND asked = ? AND model_id = ?",
            key,
        )
        return _Answered(row[0], Head(row[1], row[2])) if row else None

    def _read_price(self, key: Key) -> LastGoodPrice | None:
        row = self._row(
            "SELECT price, revision, epoch FROM last_prices "
            "WHERE layer = ? AND provider = ? AND model_id = ?",
            key,
        )
        if row is None:
            return None
        head = Head(row[1], row[2])
        if row[0] is None:
            return LastGoodPrice(None, head)
        try:
            return LastGoodPrice(_price(json.loads(row[0])), head)
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
            log.error("last_good.unreadable", model=key[2], error=repr(error))
            return None

    def _row(self, query: str, key: Key) -> Any:
        with self._reading:
            if self._reader is None:
                return None
            try:
                with closing(self._reader.execute(query, _columns(key))) as cursor:
                    return cursor.fetchone()
            except sqlite3.Error as error:
                log.error("last_good.unreadable", model=key[2], error=str(error))
                return None


def _columns(key: Key) -> tuple[str, str, str]:
    layer, provider, model_id = key
    return layer.value, provider or "", model_id


def _is_as_new(head: Head, other: Head) -> bool:
    return head.epoch != other.epoch or head.revision >= other.revision


def _newer(pending: T | None, on_disk: T | None) -> T | None:
    """The newer of what waits to be written and what is written; the former if epochs differ."""
    if pending is None or on_disk is None:
        return pending or on_disk
    return pending if _is_as_new(pending.head, on_disk.head) else on_disk


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
        "is_confirmed": price.is_confirmed,
        "price_revision": price.price_revision,
        "hugging_face_id": price.hugging_face_id,
        "alias_target": price.alias_target,
        "delisted_at": price.delisted_at.isoformat() if price.delisted_at else None,
        "canonical_slug": price.canonical_slug,
        "context_length": price.context_length,
        "retirement_time": price.retirement_time.isoformat() if price.retirement_time else None,
        "retirement_source": price.retirement_source,
        "successor": price.successor,
        "stated_as": price.stated_as,
        "rate_sources": list(price.rate_sources),
        "disagreements": [one.to_document() for one in price.disagreements],
        "detail": price.detail,
        "until": price.until.isoformat() if price.until else None,
        "stated": _price_document(price.stated) if price.stated else None,
        "referred": price.referred,
        "pending": price.pending.to_document() if price.pending else None,
        "rejected_id": price.rejected_id,
    }


def _price(document: dict[str, Any]) -> Price:
    delisted_at, until = document["delisted_at"], document.get("until")
    retirement = document.get("retirement_time")
    stated, referred = document.get("stated"), document.get("referred")
    pending = document.get("pending")
    return Price(
        provider=document["provider"],
        model_id=document["model_id"],
        card=RateCard.from_document(document["card"]),
        layer=Layer(document["layer"]),
        source=document["source"],
        obtained_at=datetime.fromisoformat(document["obtained_at"]),
        effective_time=datetime.fromisoformat(document["effective_time"]),
        is_listed=document["is_listed"],
        is_confirmed=document.get("is_confirmed", True),
        price_revision=document["price_revision"],
        hugging_face_id=document["hugging_face_id"],
        alias_target=document["alias_target"],
        delisted_at=datetime.fromisoformat(delisted_at) if delisted_at else None,
        canonical_slug=document["canonical_slug"],
        context_length=document.get("context_length"),
        retirement_time=datetime.fromisoformat(retirement) if retirement else None,
        retirement_source=document.get("retirement_source"),
        successor=document.get("successor"),
        stated_as=document.get("stated_as"),
        rate_sources=tuple(document.get("rate_sources", ())),
        disagreements=tuple(map(Disagreement.from_document, document.get("disagreements", ()))),
        detail=document["detail"],
        until=datetime.fromisoformat(until) if until else None,
        stated=_price(stated) if stated else None,
        referred=(referred[0], referred[1]) if referred else None,
        pending=PendingChange.from_document(pending) if pending else None,
        rejected_id=document.get("rejected_id"),
    )
