"""The history of prices as it stands in the database: what every log is measured by."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import psycopg
from psycopg.rows import dict_row

from llmpricing.units import PricingFormat, format_price
from tests.integration.torture.log import Change, Held, Model, Narrow


class History:
    """Every change in the order in which it was committed, up to `head`."""

    def __init__(self, changes: Sequence[Change], epoch: str = "", head: int | None = None) -> None:
        self.changes = changes
        self.epoch = epoch
        self.head = head if head is not None else max((one.revision for one in changes), default=0)
        self._narrowed: dict[Narrow, tuple[list[int], list[Change]]] = {}

    def between(self, after: int, upto: int, criteria: Narrow) -> Sequence[Change]:
        """The changes of the revisions behind one and up to another that pass."""
        revisions, passing = self._passing(criteria)
        return passing[bisect_right(revisions, after) : bisect_right(revisions, upto)]

    def count(self, after: int, upto: int, criteria: Narrow) -> int:
        """How many those are."""
        revisions, _ = self._passing(criteria)
        return bisect_right(revisions, upto) - bisect_right(revisions, after)

    def table_at(self, revision: int, criteria: Narrow) -> dict[Model, Held]:
        """The prices in force at a revision: the changes up to it, replayed."""
        return {change.model: Held.after(change) for change in self.between(0, revision, criteria)}

    @cached_property
    def known(self) -> frozenset[Change]:
        """Every change, to look one up."""
        return frozenset(self.changes)

    @cached_property
    def kinds(self) -> Counter[str]:
        """How often each kind of change came after the first revision."""
        return Counter(change.kind for change in self.changes if change.revision > 1)

    @cached_property
    def inversions(self) -> int:
        """Revisions of a sync that began before one that was committed earlier."""
        newest = found = 0
        runs = {one.revision: int(one.sync_run_id) for one in self.changes if one.sync_run_id}
        for _, run in sorted(runs.items()):
            found += run < newest
            newest = max(newest, run)
        return found

    def _passing(self, criteria: Narrow) -> tuple[list[int], list[Change]]:
        if criteria not in self._narrowed:
            passing = [change for change in self.changes if criteria.passes(change.model)]
            self._narrowed[criteria] = [change.revision for change in passing], passing
        return self._narrowed[criteria]


COLUMNS = """
    revision, provider, model_id, kind, history.source,
    concat_ws('|', origin_kind, actor, coalesce(note, ''), coalesce(held_change_id::text, ''),
              coalesce(override_id::text, ''), coalesce(reverted_run_id::text, '')) AS origin,
    coalesce(sync_run_id::text, '') AS sync_run_id,
    coalesce(previous_card_id, '') AS old_card, card_id AS new_card,
    previous_input_price, input_price
"""


def change_of(row: dict[str, object]) -> Change:
    """A change from a row of COLUMNS."""
    prices = [row.pop(name) for name in ("previous_input_price", "input_price")]
    old, new = (
        "" if price is None else format_price(price, PricingFormat.PER_1M_TOKENS)  # type: ignore[arg-type]  # numeric
        for price in prices
    )
    return Change(**row, old_input=old, new_input=new)  # type: ignore[arg-type]  # as selected


def read_history(conninfo: str) -> History:
    """All of it, past the service."""
    with psycopg.connect(conninfo, row_factory=dict_row) as connection:
        head = connection.execute(
            "SELECT revision, epoch::text AS epoch FROM price_table_head"
        ).fetchone()
        assert head is not None
        rows = connection.execute(
            f"SELECT {COLUMNS} FROM model_pricing_history AS history "
            "JOIN models USING (model_key) ORDER BY revision, model_key".encode()
        ).fetchall()
    return History([change_of(row) for row in rows], head["epoch"], head["revision"])
