"""What holds for every table, whichever statement made it."""

from __future__ import annotations

import re

from pricing_server.postgres.statements import statements
from tests.integration._database import rows


def test_every_constraint_has_a_name_that_says_what_it_is(empty_database: str) -> None:
    named = rows(
        empty_database,
        "SELECT conname AS name, contype::text AS type, conrelid::regclass::text AS of_table"
        " FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
        " AND contype IN ('c', 'f', 'p', 'u') AND conrelid <> 'schema_migrations'::regclass",
    )
    assert len(named) > 100
    for each in named:
        assert each["name"].startswith(f"{each['of_table']}_")
        # As Postgres calls what has no name; it also cuts off what is too long.
        assert not re.search(r"_check\d*$|_f?key\d+$", each["name"])
        assert len(each["name"]) < 63


def test_pruning_keeps_runs_that_any_column_refers_to(empty_database: str) -> None:
    prune = " ".join(statements("schedule")["prune_runs"].split())
    referring = rows(
        empty_database,
        "SELECT conrelid::regclass::text AS of_table, attname AS column"
        " FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY(conkey)"
        " WHERE contype = 'f' AND confrelid = 'pricing_sync_log'::regclass",
    )
    assert len(referring) >= 6
    for each in referring:
        assert (
            f"NOT EXISTS (SELECT FROM {each['of_table']} AS other"
            f" WHERE other.{each['column']} = runs.sync_run_id)"
        ) in prune
