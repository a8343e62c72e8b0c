"""No statement of the service reads a big table from end to end, however it is called.

Each is prepared as it stands in its file and planned for any values at all, which is what
Postgres does with a statement that a connection runs often, against a table of some years:
20,000 models, 60,000 quotes, 100,000 changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, LiteralString

import psycopg
import pytest
from psycopg.rows import DictRow

from pricing_server.postgres.connection import WRITER
from pricing_server.postgres.statements import statements
from tests.integration._database import connected, copied_database

FILES: Final = Path(__file__).parents[2] / "pricing_server/postgres/sql"

STAGING: Final = "staging"
"""The file of statements that make temporary tables and fill them: there is nothing to plan."""

STATEMENTS: Final = [
    (file.stem, name)
    for file in sorted(FILES.glob("*.sql"))
    for name in statements(file.stem)
    if file.stem != STAGING
]

BIG: Final = {
    "models",
    "rate_cards",
    "price_quotes",
    "model_pricing",
    "model_pricing_history",
    "pricing_sync_log",
    "held_changes",
}

A_FEED: Final = "a feed states as many models as there are at its sellers"
A_CHECK: Final = "a check of the whole table, which an operator asks for"

WHOLE_TABLE_READERS: Final[Mapping[tuple[str, str], str]] = {
    ("holds", "read_other_sellers"): A_FEED,
    ("holds", "read_usual_prices"): "what all models cost, once a sync that changes any price",
    ("sync", "read_models"): A_FEED,
    ("sync", "apply_models"): A_FEED,
    ("sync", "apply_quotes"): A_FEED,
    ("sync", "apply_covered"): A_FEED,
    ("sync", "apply_history"): A_FEED,
    ("sync", "apply_prices"): A_FEED,
    ("sync", "apply_attributions"): A_FEED,
    ("lookup", "list_names"): "matching knows the name of every model",
    ("evidence", "discrepancies"): "compares all quotes, within a time limit of its own",
    ("holds", "list_held_changes"): "people read and decide what is held, so there is little",
    ("schedule", "prune_runs"): "looks at every run once an hour, in the background",
    ("verify", "figures"): A_CHECK,
    ("verify", "prices_unlike_history"): A_CHECK,
    ("verify", "activity_unlike_history"): A_CHECK,
    ("verify", "quotes_unlike_prices"): A_CHECK,
    ("verify", "read_completed_prices"): A_CHECK,
    ("verify", "inconsistent_runs"): A_CHECK,
    ("verify", "held_unlike_feeds"): A_CHECK,
    ("verify", "held_by_no_run"): A_CHECK,
    ("verify", "confirmed_though_held"): A_CHECK,
}
"""Statements that read a big table as a whole, each with the reason."""

FILL: Final[LiteralString] = """
SET session_replication_role = replica;
INSERT INTO providers (provider, display_name)
SELECT 'provider-' || n, 'Provider' FROM generate_series(0, 59) AS n;
INSERT INTO provider_aliases (alias, provider)
SELECT 'alias-' || n, 'provider-' || n FROM generate_series(0, 59) AS n;
INSERT INTO sources (source, display_name, provider, rank)
SELECT 'source-' || n, 'Source', CASE WHEN n < 5 THEN 'provider-' || n END, 10 + n
FROM generate_series(0, 7) AS n;
INSERT INTO pricing_sync_log (sync_run_id, source, status, triggered_by, started_at, completed_at,
                              revision, obtained_at)
OVERRIDING SYSTEM VALUE
SELECT n, 'source-' || n % 8, 'success', 'scheduler', now() - interval '1 hour' * (20001 - n),
       now() - interval '1 hour' * (20000 - n), 1 + n / 4, now() - interval '1 hour' * (20001 - n)
FROM generate_series(1, 20000) AS n;
INSERT INTO models (model_key, provider, model_id, hugging_face_id, canonical_slug)
OVERRIDING SYSTEM VALUE
SELECT n, 'provider-' || (n - 1) / 5000 * 15 + n % 15, 'model-' || n % 5000,
       'Maker/Model-' || n % 5000, 'maker/model-' || n % 5000
FROM generate_series(1, 20000) AS n;
INSERT INTO rate_cards (card_id, state, currency, rates)
SELECT md5(n::text) || md5(n::text), 'priced', 'USD',
       jsonb_build_array(
           jsonb_build_object('meter', 'input_tokens', 'price', (n * 1e-9)::text),
           jsonb_build_object('meter', 'output_tokens', 'price', (n * 4e-9)::text))
FROM generate_series(1, 30000) AS n;
INSERT INTO price_quotes (model_key, source, card_id, fragment, obtained_at, sync_run_id)
SELECT n, 'source-' || (n + k) % 8, md5((n + k)::text) || md5((n + k)::text), '{}', now(),
       20000 - (n + k) % 8
FROM generate_series(1, 20000) AS n, generate_series(0, 2) AS k
ORDER BY (n + k) % 8, n;
INSERT INTO covered_ids (model_key, source, covering_model_key, is_inferred)
SELECT n, 'source-' || (n + 15) % 8, n + 15, false FROM generate_series(1, 600) AS n;
INSERT INTO model_pricing (model_key, card_id, source, quoted_model_key, price_per_input_token,
                           price_per_output_token, effective_time, revision)
SELECT n, md5(n::text) || md5(n::text), 'source-' || n % 8, n, n * 1e-9, n * 4e-9, now(),
       1 + (4 * 20000 + n) / 20
FROM generate_series(1, 20000) AS n;
INSERT INTO covered_ids (model_key, source, covering_model_key, is_inferred)
SELECT n, 'source-' || (n + 10000) % 8, n + 10000, true FROM generate_series(1, 2000) AS n;
INSERT INTO model_pricing_history (
    revision, model_key, kind, previous_card_id, card_id, source, effective_time, changed_at,
    origin_kind, actor, note, sync_run_id)
SELECT 1 + (k * 20000 + n) / 20, n, CASE WHEN k = 0 THEN 'added' ELSE 'changed' END,
       CASE WHEN k > 0 THEN md5((n + k - 1)::text) || md5((n + k - 1)::text) END,
       md5((n + k)::text) || md5((n + k)::text), 'source-' || n % 8,
       now() - interval '1 hour' * (5001 - (k * 20000 + n) / 20),
       now() - interval '1 hour' * (5001 - (k * 20000 + n) / 20), 'sync', 'scheduler', '',
       1 + (k * 20000 + n) / 20
FROM generate_series(1, 20000) AS n, generate_series(0, 4) AS k;
UPDATE price_table_head SET revision = (SELECT max(revision) FROM model_pricing_history);
INSERT INTO held_changes (held_change_id, source, provider, model_id, reason, evidence, card_id,
                          fragment, obtained_at, last_obtained_at, status, first_run, last_run,
                          held_since, last_stated, resolved_at)
OVERRIDING SYSTEM VALUE
SELECT n, 'source-' || n % 8, 'provider-' || (n - 1) / 5000 * 15 + n % 15, 'model-' || n % 5000,
       'ratio_to_past', '[]', md5(n::text) || md5(n::text), '{}', now(), now(),
       CASE WHEN n % 100 = 0 THEN 'open' ELSE 'expired' END, n, n, now(), now(),
       CASE WHEN n % 100 > 0 THEN now() END
FROM generate_series(1, 20000) AS n;
INSERT INTO price_overrides (model_key, card_id, replace_card, reason, set_by, set_at,
                             cleared_at, cleared_kind, cleared_actor, cleared_by)
SELECT n, md5(n::text) || md5(n::text), false, 'test', 'test', now() - interval '1 day', now(),
       'override_cleared', 'admin', 'test'
FROM generate_series(1, 2000) AS n;
INSERT INTO price_overrides (model_key, card_id, replace_card, reason, set_by, set_at)
SELECT n, md5(n::text) || md5(n::text), false, 'test', 'test', now()
FROM generate_series(1, 100) AS n;
SET session_replication_role = origin;
"""


@pytest.fixture(scope="module")
def planner(cluster: str, empty_template: str) -> Iterator[psycopg.Connection[DictRow]]:
    """A connection to the large table that plans as the service's writer, for any values."""
    with copied_database(cluster, empty_template) as conninfo, connected(conninfo) as connection:
        connection.execute(FILL)
        connection.execute("VACUUM ANALYZE")
        connection.execute("SET plan_cache_mode = force_generic_plan")
        connection.execute(f"SET ROLE {WRITER}".encode())
        with connection.transaction(force_rollback=True):
            for name, statement in statements(STAGING).items():
                if name.startswith("stage"):
                    connection.execute(statement)
            yield connection


def parameters(statement: str) -> tuple[str, list[str]]:
    """A statement with the parameters that Postgres numbers, and their names in that order."""
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    return re.sub(r"%%|%\((\w+)\)s", number, statement), names


def plan_of(connection: psycopg.Connection[DictRow], file: str, name: str) -> str:
    statement, names = parameters(statements(file)[name])
    values = f"({', '.join(['NULL'] * len(names))})" if names else ""
    with connection.transaction(force_rollback=True):
        connection.execute(f"PREPARE planned AS {statement}".encode())
        try:
            lines = connection.execute(f"EXPLAIN EXECUTE planned{values}".encode()).fetchall()
        finally:
            connection.execute("DEALLOCATE planned")
    return "\n".join(line["QUERY PLAN"] for line in lines)


@pytest.mark.parametrize(
    ("file", "name"), STATEMENTS, ids=[f"{file}.{name}" for file, name in STATEMENTS]
)
def test_a_statement_reads_no_big_table_as_a_whole(
    planner: psycopg.Connection[DictRow], file: str, name: str
) -> None:
    plan = plan_of(planner, file, name)
    read = BIG.intersection(re.findall(r"Seq Scan on (\w+)", plan))
    if (file, name) in WHOLE_TABLE_READERS:
        assert read, f"it is no exception any more:\n{plan}"
    else:
        assert not read, plan
