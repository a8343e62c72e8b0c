"""`pricing-server verify` passes on a whole price table and names what is wrong in any other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.integration._postgres import scratch_directory
from tests.integration._runs import Bench, bench_on, clean_environment

pytestmark = pytest.mark.integration

A_CARD = "(SELECT min(card_id) FROM rate_cards)"
NEW_MODEL = f"'acme', 'new', {A_CARD}, '{{}}'"
KNOWN_MODEL = (
    "(SELECT provider FROM models WHERE model_key = 1), "
    f"(SELECT model_id FROM models WHERE model_key = 1), {A_CARD}, '{{}}'"
)
NO_MODEL = "NULL, NULL, NULL, NULL"
THE_FEED = "(SELECT max(held_change_id) FROM held_changes WHERE model_id IS NULL)"


def hold(model: str, reason: str, feed_id: str = "NULL", source: str = "genai-prices") -> str:
    """Holds a model, or a feed, by the only run, which is the bundled catalogue's."""
    return (
        "INSERT INTO held_changes (source, provider, model_id, card_id, fragment, feed_id, "
        "reason, evidence, obtained_at, last_obtained_at, first_run, last_run, held_since, "
        f"last_stated) SELECT '{source}', {model}, {feed_id}, '{reason}', '[]', now(), now(), "
        "min(sync_run_id), max(sync_run_id), now(), now() FROM pricing_sync_log"
    )


A_FEED = hold(NO_MODEL, "feed_shifted")
OF_THE_FEED = hold(NEW_MODEL, "feed_shifted", THE_FEED)

NOT_APPEND_ONLY = "ALTER TABLE {0} DISABLE TRIGGER append_only; {1}"


@pytest.fixture
def bench(cluster: str, catalogue_template: str) -> Iterator[Bench]:
    with bench_on(cluster, catalogue_template) as bench:
        yield bench


def test_a_whole_price_table_passes_with_figures(bench: Bench) -> None:
    code, output = bench.verify()
    assert code == 0
    lines = output.splitlines()
    assert len(lines) == 12
    assert all(line.startswith("ok    ") for line in lines)
    (prices,) = bench.rows("SELECT count(*) AS count FROM model_pricing")
    assert f"{prices['count']} prices, {prices['count']} changes" in lines[0]
    assert lines[-1].endswith("0 in progress")


def test_what_is_held_is_whole_and_counted(bench: Bench) -> None:
    for statement in (A_FEED, OF_THE_FEED):
        bench.rows(statement)
    code, output = bench.verify()
    assert code == 0, output
    assert "2 held changes, 2 open" in output


@pytest.mark.parametrize(
    ("damage", "promise"),
    [
        (
            "UPDATE model_pricing SET card_id = (SELECT max(card_id) FROM rate_cards) "
            "WHERE model_key = (SELECT min(model_key) FROM model_pricing)",
            "prices in force are those of the history replayed",
        ),
        (
            "DELETE FROM model_pricing WHERE model_key = (SELECT min(model_key) FROM models)",
            "prices in force are those of the history replayed",
        ),
        (
            "INSERT INTO model_pricing_history SELECT revision + 1, model_key, 'changed', "
            "(SELECT max(card_id) FROM rate_cards), card_id, 47, 11, input_price, output_price, "
            "source, effective_time, changed_at, 'revert', actor, note, "
            "NULL, NULL, NULL, sync_run_id "
            "FROM model_pricing_history LIMIT 1; "
            "UPDATE price_table_head SET revision = 2; "
            "UPDATE model_pricing SET revision = 2 WHERE model_key = (SELECT model_key "
            "FROM model_pricing_history WHERE revision = 2)",
            "each change begins where the one before ended",
        ),
        (
            "UPDATE models SET is_active = false, delisted_at = now() WHERE model_key = "
            "(SELECT max(model_key) FROM models)",
            "models are listed or delisted as the history says",
        ),
        (
            "UPDATE model_pricing SET rate_sources[1] = 'litellm' "
            "WHERE cardinality(rate_sources) > 0",
            "each rate of a completed card is stated by the source it names",
        ),
        (
            "UPDATE price_table_head SET revision = 3",
            "revisions are dense and each has changes",
        ),
        (
            "UPDATE price_table_head SET revision = 0",
            "revisions are dense and each has changes",
        ),
        (
            NOT_APPEND_ONLY.format(
                "rate_cards",
                "UPDATE rate_cards SET rates = jsonb_set(rates, '{0,price}', '\"47\"') "
                "WHERE card_id = (SELECT max(card_id) FROM rate_cards WHERE state = 'priced')",
            ),
            "each rate card's id is the SHA-256 of its document",
        ),
        (
            "ALTER TABLE pricing_sync_log DISABLE TRIGGER guard_sync_log; "
            "UPDATE pricing_sync_log SET models_registered = models_registered + 1, "
            "models_fetched = models_fetched + 1",
            "the log of syncs adds up and agrees with the history",
        ),
        (
            "ALTER TABLE pricing_sync_log DISABLE TRIGGER guard_sync_log; "
            "UPDATE pricing_sync_log SET status = 'failed', revision = NULL, error_message = 'no'",
            "the log of syncs adds up and agrees with the history",
        ),
        (
            f"{A_FEED}; {OF_THE_FEED}; UPDATE held_changes SET status = 'expired', "
            "resolved_at = now() WHERE model_id IS NULL",
            "models of a held feed are its source's and end with it",
        ),
        (
            f"{A_FEED}; {hold(NEW_MODEL, 'few_references', THE_FEED)}",
            "models of a held feed are its source's and end with it",
        ),
        (
            hold(NO_MODEL, "feed_shifted", source="openrouter"),
            "each held change was stated by syncs of its source",
        ),
        (
            hold(KNOWN_MODEL, "ratio_to_past"),
            "no price is confirmed while its source's news is held",
        ),
        (
            "INSERT INTO pricing_sync_log (source, triggered_by) VALUES ('openrouter', 'test')",
            "each run in progress has a process",
        ),
    ],
)
def test_damage_is_named(bench: Bench, damage: str, promise: str) -> None:
    for statement in damage.split("; "):
        bench.rows(statement)
    code, output = bench.verify()
    assert code == 1
    assert f"FAIL  {promise}: " in output


def test_a_database_without_the_schema_is_told_apart(cluster: str, bench: Bench) -> None:
    bench.rows("DROP TABLE model_pricing_history CASCADE")
    code, output = bench.verify()
    assert code == 1
    assert output.startswith("pricing-server: not the price table of this build (")
    assert output.count("\n") == 1


def test_the_embedded_database_can_be_verified() -> None:
    with scratch_directory() as scratch:
        environment = clean_environment() | {"PRICING_DATA_DIR": str(scratch / "data")}
        for command, expected in (("migrate", ""), ("verify", "ok    ")):
            done = subprocess.run(
                [sys.executable, "-m", "pricing_server.cli", command],
                cwd=scratch,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert done.stdout.startswith(expected)
