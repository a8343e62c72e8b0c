"""What row-level security costs a look-up in the database, of 10,000 models.

python benchmarks/rls.py [seconds]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from pricing_server.cli import migrations_directory
from pricing_server.postgres.connection import READER
from pricing_server.postgres.embedded.embedded_postgres import embedded_postgres
from pricing_server.postgres.maintenance.migrations import apply_migrations
from pricing_server.postgres.statements import statements

MODELS = 10_000
ROUNDS = 20

FILL = """
INSERT INTO providers VALUES ('maker', 'Maker');
INSERT INTO sources VALUES ('feed', 'Feed', NULL, 9);
INSERT INTO pricing_sync_log (source, triggered_by) VALUES ('feed', 'benchmark');
INSERT INTO models (provider, model_id)
SELECT 'maker', 'model-' || number FROM generate_series(1, %d) AS number;
INSERT INTO rate_cards
SELECT encode(sha256(model_id::bytea), 'hex'), 'priced', 'USD',
       '[{"meter": "input_tokens", "price": "0.1"}, {"meter": "output_tokens", "price": "0.2"}]'
FROM models;
INSERT INTO price_quotes
SELECT model_key, 'feed', encode(sha256(model_id::bytea), 'hex'), '{}', now(), 1 FROM models;
INSERT INTO model_pricing
SELECT model_key, card_id, 'feed', 0.1, 0.2, now(), 1 FROM price_quotes;
ANALYZE;
"""

SWITCH = """
DO $$
DECLARE
    name regclass;
BEGIN
    FOR name IN SELECT oid FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
        EXECUTE format('ALTER TABLE %%s %s ROW LEVEL SECURITY', name);
    END LOOP;
END
$$
"""


def microseconds(reader: psycopg.Connection, prepare: bool, seconds: float) -> float:
    """The median of single look-ups."""
    find = statements("lookup")["find_pricing"]
    times = []
    end = time.perf_counter() + seconds
    number = 0
    while time.perf_counter() < end:
        number = number % MODELS + 1
        values = {"model_id": f"model-{number}", "provider": "maker"}
        start = time.perf_counter()
        found = reader.execute(find, values, prepare=prepare).fetchall()
        times.append((time.perf_counter() - start) * 1e6)
        assert len(found) == 1
    return statistics.median(times)


def measure(conninfo: str, seconds: float) -> None:
    """Rounds with and without, in turn, so that drift of the machine hits both."""
    apply_migrations(conninfo, migrations_directory())
    as_reader = make_conninfo(conninfo, options=f"-c role={READER}")
    with (
        psycopg.connect(conninfo, autocommit=True) as owner,
        psycopg.connect(as_reader, autocommit=True) as reader,
    ):
        owner.execute((FILL % MODELS).encode())
        for prepare in (True, False):
            found: dict[str, list[float]] = {"DISABLE": [], "ENABLE": []}
            for _ in range(ROUNDS):
                for state, times in found.items():
                    owner.execute((SWITCH % state).encode())
                    microseconds(reader, prepare, 0.05)
                    times.append(microseconds(reader, prepare, seconds / ROUNDS))
            without, with_ = (statistics.median(times) for times in found.values())
            print(
                f"{'prepared' if prepare else 'planned each time':17} without {without:5.0f} µs, "
                f"with {with_:5.0f} µs: {with_ / without - 1:+.1%}"
            )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="llmpricing-bench-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        with embedded_postgres(Path(directory)) as embedded:
            measure(embedded, float(sys.argv[1]) if sys.argv[1:] else 4)
