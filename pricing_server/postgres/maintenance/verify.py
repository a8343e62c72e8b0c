"""Checks that a price table is whole: what is in force is what its history says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg.rows import DictRow, dict_row

from llmpricing.rate_card import RateCard
from pricing_server.postgres.connection import card_of, translated_errors
from pricing_server.postgres.statements import statements
from pricing_server.sync.completion import is_stated

_SQL = statements("verify")
_SETTLE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of the price table, how much of it was looked at, and what breaks it."""

    promise: str
    figures: str
    broken: tuple[str, ...]

    def __str__(self) -> str:
        if not self.broken:
            return f"ok    {self.promise}: {self.figures}"
        some = ", ".join(self.broken[:5]) + (", ..." if len(self.broken) > 5 else "")
        return f"FAIL  {self.promise}: {self.figures}; {len(self.broken)} wrong: {some}"


class NotAPriceTable(Exception):
    """The database does not have the schema of this build. The message is one line."""


def verify(conninfo: str) -> Iterator[Check]:
    """Check a price table, at one state of it. Raises DatabaseUnavailable, NotAPriceTable."""
    with translated_errors():
        try:
            with psycopg.connect(conninfo, autocommit=True, row_factory=dict_row) as connection:
                connection.read_only = True
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                with connection.transaction():
                    yield from _checks(connection)
                connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
                yield _abandoned(connection)
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            raise NotAPriceTable(
                f"not the price table of this build ({error.diag.message_primary}): "
                "run pricing-server migrate"
            ) from error


def _checks(connection: psycopg.Connection[DictRow]) -> Iterator[Check]:
    counts = connection.execute(_SQL["figures"]).fetchone()
    assert counts is not None, "the statement always returns a row"
    for promise, figures, statement in (
        (
            "prices in force are those of the history replayed",
            "{prices} prices, {changes} changes",
            "prices_unlike_history",
        ),
        (
            "each change begins where the one before ended",
            "{changes} changes",
            "broken_chains",
        ),
        (
            "models are listed or delisted as the history says",
            "{listed} listed, {delisted} delisted",
            "activity_unlike_history",
        ),
        (
            "revisions are dense and each has changes",
            "1 to {revision}",
            "revisions_without_changes",
        ),
        (
            "each price in force is stated by a quote",
            "{prices} prices",
            "quotes_unlike_prices",
        ),
        (
            "the log of syncs adds up and agrees with the history",
            "{runs} runs",
            "inconsistent_runs",
        ),
        (
            "models of a held feed are its source's and end with it",
            "{held} held changes, {held_open} open",
            "held_unlike_feeds",
        ),
        (
            "each held change was stated by syncs of its source",
            "{held} held changes",
            "held_by_no_run",
        ),
        (
            "no price is confirmed while its source's news is held",
            "{held_open} open",
            "confirmed_though_held",
        ),
    ):
        rows = connection.execute(_SQL[statement]).fetchall()
        yield Check(promise, figures.format(**counts), tuple(str(row["what"]) for row in rows))
    yield _completed_prices(connection)
    yield _cards(connection)


def _completed_prices(connection: psycopg.Connection[DictRow]) -> Check:
    whole: dict[int, RateCard] = {}
    at = datetime.now(UTC)
    stated: dict[int, set[int]] = {}
    """By model, the places of the rates that the sources named for them state."""
    for row in connection.execute(_SQL["read_completed_prices"]):
        key, source, card = row["model_key"], row["source"], card_of(row, "stated_")
        if key not in whole:
            whole[key] = card_of(row)
        named = zip(whole[key].rates, row["rate_sources"], strict=False)
        stated.setdefault(key, set()).update(
            place
            for place, (rate, name) in enumerate(named)
            if name == source and is_stated(rate, card, whole[key], at)
        )
    broken = tuple(str(key) for key, each in whole.items() if len(stated[key]) != len(each.rates))
    return Check(
        "each rate of a completed card is stated by the source it names",
        f"{len(whole)} completed cards",
        broken,
    )


def _cards(connection: psycopg.Connection[DictRow]) -> Check:
    looked_at = 0
    broken = []
    for row in connection.execute(_SQL["read_all_cards"]):
        looked_at += 1
        if not _is_own_address(row):
            broken.append(row["card_id"])
    return Check(
        "each rate card's id is the SHA-256 of its document", f"{looked_at} cards", tuple(broken)
    )


def _is_own_address(row: dict[str, Any]) -> bool:
    try:
        return bool(card_of(row).card_id == row["card_id"])
    except (ValueError, KeyError, TypeError):
        return False


def _abandoned(connection: psycopg.Connection[DictRow]) -> Check:
    """Runs in progress whose source no process has locked, twice in a row: one that ends between
    the look at its row and the look at its lock is not abandoned."""

    def look() -> set[str]:
        return {str(row["what"]) for row in connection.execute(_SQL["runs_without_process"])}

    broken = look()
    if broken:
        time.sleep(_SETTLE_SECONDS)
        broken &= look()
    counts = connection.execute(_SQL["figures"]).fetchone()
    assert counts is not None, "the statement always returns a row"
    return Check(
        "each run in progress has a process",
        f"{counts['in_progress']} in progress",
        tuple(sorted(broken, key=int)),
    )
