"""What the schema itself holds to, whoever writes, and what revisions and history promise."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState, Rate, RateCard
from pricing_server.cli import migrations_directory
from pricing_server.domain.price_change import ADMIN, ChangeOrigin, OriginKind
from pricing_server.domain.source import CATALOGUE_RANK, OWN_API_RANK, Source, SourceEvidence
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.postgres.maintenance.migrations import MigrationError, apply_migrations
from pricing_server.postgres.writers.sync_store import PostgresSyncStore
from tests.integration._database import (
    connected,
    contents,
    copied_database,
    rows,
    tables_only,
    value,
)
from tests.integration._feed import Feed, payload, recording, row
from tests.integration._server import Server, in_process_server


@pytest.fixture(scope="module")
def untouched(cluster: str, catalogue_template: str) -> Iterator[str]:
    """A database with the catalogue for tests that change nothing; its conninfo."""
    with copied_database(cluster, catalogue_template) as conninfo:
        yield conninfo


def assert_refused(conninfo: str, statement: LiteralString, reason: str) -> None:
    before = tables_only(contents(conninfo))
    with connected(conninfo) as connection, pytest.raises(psycopg.Error, match=reason):
        connection.execute(statement)
    assert tables_only(contents(conninfo)) == before


# Append-only, also for the superuser that tests are ---------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE model_pricing_history SET note = 'me'",
        "UPDATE model_pricing_history SET note = 'me' WHERE false",
        "DELETE FROM model_pricing_history",
        "DELETE FROM model_pricing_history WHERE revision = 1",
        "TRUNCATE model_pricing_history",
        "UPDATE rate_cards SET rates = '[]'",
        "DELETE FROM rate_cards",
        "TRUNCATE rate_cards CASCADE",
        "TRUNCATE models CASCADE",
        "TRUNCATE providers CASCADE",
        "TRUNCATE pricing_sync_log CASCADE",
        "TRUNCATE sources CASCADE",
        "MERGE INTO model_pricing_history USING (SELECT) AS all_ ON true WHEN MATCHED THEN DELETE",
        "INSERT INTO rate_cards SELECT * FROM rate_cards"
        " ON CONFLICT (card_id) DO UPDATE SET state = 'free'",
    ],
)
def test_history_and_cards_refuse_to_be_rewritten(untouched: str, statement: LiteralString) -> None:
    assert_refused(untouched, statement, "append-only")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM models",
        "DELETE FROM models WHERE model_id = 'gpt-4o'",
        "DELETE FROM providers",
        "DELETE FROM sources",
        "DELETE FROM pricing_sync_log",
        "UPDATE models SET model_key = DEFAULT",
        "UPDATE providers SET provider = provider || '-old'",
    ],
)
def test_what_history_refers_to_cannot_be_removed_or_renumbered(
    untouched: str, statement: LiteralString
) -> None:
    assert_refused(untouched, statement, "violates|identity|append-only")


# The log of syncs --------------------------------------------------------------------------------


@pytest.fixture
def run_in_progress(database: str) -> int:
    started: int = value(
        database,
        "INSERT INTO pricing_sync_log (source, triggered_by) VALUES ('openrouter', 'test')"
        " RETURNING sync_run_id",
    )
    return started


FINISH: LiteralString = (
    "UPDATE pricing_sync_log SET status = %(status)s, completed_at = clock_timestamp(),"
    " revision = %(revision)s, error_message = %(message)s WHERE sync_run_id = %(run)s"
)


@pytest.mark.parametrize("first", ["success", "failed"])
@pytest.mark.parametrize("second", ["success", "failed", "in_progress"])
def test_a_run_moves_to_its_final_status_exactly_once(
    database: str, run_in_progress: int, first: str, second: str
) -> None:
    def finish(status: str) -> None:
        with connected(database) as connection:
            connection.execute(
                FINISH,
                {
                    "run": run_in_progress,
                    "status": status,
                    "revision": 1 if status == "success" else None,
                    "message": "it broke" if status == "failed" else None,
                },
            )

    finish(first)
    with pytest.raises(psycopg.IntegrityError):
        finish(second)
    assert rows(
        database,
        "SELECT status FROM pricing_sync_log WHERE sync_run_id = %(run)s",
        run=run_in_progress,
    ) == [{"status": first}]


def test_a_run_begins_in_progress_and_its_duration_is_real_milliseconds(database: str) -> None:
    assert_refused(
        database,
        "INSERT INTO pricing_sync_log (source, triggered_by, status, completed_at, revision)"
        " VALUES ('openrouter', 'test', 'success', now(), 1)",
        "begins in progress",
    )
    assert_refused(
        database,
        "INSERT INTO pricing_sync_log (source, triggered_by, duration_ms)"
        " VALUES ('openrouter', 'test', 5)",
        "duration_ms",
    )
    (found,) = rows(
        database,
        "INSERT INTO pricing_sync_log (source, triggered_by, started_at)"
        " VALUES ('openrouter', 'test', '2026-01-01 00:00:00') RETURNING sync_run_id, duration_ms",
    )
    assert found["duration_ms"] is None
    duration = value(
        database,
        "UPDATE pricing_sync_log SET status = 'failed', error_message = 'it broke',"
        " completed_at = '2026-01-01 00:01:01.2345' WHERE sync_run_id = %(run)s"
        " RETURNING duration_ms",
        run=found["sync_run_id"],
    )
    assert duration in (61_234, 61_235)


def test_a_successful_run_counts_every_model_once(database: str, run_in_progress: int) -> None:
    with connected(database) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(
            "UPDATE pricing_sync_log SET status = 'success', completed_at = clock_timestamp(),"
            " revision = 1, models_fetched = 2, models_updated = 1 WHERE sync_run_id = %s",
            [run_in_progress],
        )


# Prices ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("price", ["NaN", "Infinity", "-Infinity", "-0.0000001"])
def test_a_price_is_finite_and_not_negative(untouched: str, price: str) -> None:
    with connected(untouched) as connection:
        for column in ("price_per_input_token", "price_per_output_token"):
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute(f"UPDATE model_pricing SET {column} = '{price}'".encode())
        for column in (
            "previous_input_price", "previous_output_price", "input_price", "output_price"
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute(
                    "INSERT INTO model_pricing_history (revision, model_key, kind, card_id,"
                    f" source, effective_time, changed_at, origin_kind, actor, note, sync_run_id,"
                    f" {column})"
                    " SELECT 0, model_key, 'added', card_id, source, effective_time, now(),"
                    " 'sync', 'test', '', (SELECT max(sync_run_id) FROM pricing_sync_log),"
                    f" '{price}'"
                    " FROM model_pricing LIMIT 1".encode()
                )
        rates = json.dumps([{"meter": "input_tokens", "price": price}])
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(
                "INSERT INTO rate_cards (card_id, state, currency, rates)"
                " VALUES (repeat('a', 64), 'priced', 'USD', %s)",
                [rates],
            )


@pytest.mark.parametrize(
    "rates",
    ['{"meter": "input_tokens"}', '[{"price": "1"}]', '[{"meter": "input_tokens"}]',
     '[{"meter": "input_tokens", "price": 0.1}]'],
)  # fmt: skip
def test_a_card_is_a_list_of_rates_with_meter_and_exact_price(untouched: str, rates: str) -> None:
    with connected(untouched) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(
            "INSERT INTO rate_cards (card_id, state, currency, rates)"
            " VALUES (repeat('a', 64), 'priced', 'USD', %s)",
            [rates],
        )


def test_prices_are_dollars_and_of_any_scale(database: str) -> None:
    insert: LiteralString = (
        "INSERT INTO rate_cards (card_id, state, currency, rates)"
        " VALUES (%(card_id)s, 'priced', %(currency)s, %(rates)s)"
    )
    tiny = "0." + "0" * 38 + "12"
    rates = json.dumps([{"meter": "input_tokens", "price": tiny}])
    with connected(database) as connection:
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(insert, {"card_id": "a" * 64, "currency": "EUR", "rates": rates})
        connection.execute(insert, {"card_id": "b" * 64, "currency": "USD", "rates": rates})
    assert value(
        database, "SELECT price FROM rates WHERE card_id = %(card_id)s", card_id="b" * 64
    ) == Decimal(tiny)


def test_a_card_id_is_the_sha256_of_its_canonical_document(untouched: str) -> None:
    cards = rows(untouched, "SELECT card_id, state, currency, rates FROM rate_cards")
    assert len(cards) > 500
    for card in cards:
        document = {key: card[key] for key in ("currency", "rates", "state")}
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(text.encode()).hexdigest() == card["card_id"]


def test_equal_prices_share_a_card(untouched: str) -> None:
    models = value(untouched, "SELECT count(*) FROM model_pricing")
    cards = value(untouched, "SELECT count(*) FROM rate_cards")
    assert cards < models
    assert cards == value(
        untouched,
        "SELECT count(*) FROM (SELECT DISTINCT state, currency, rates FROM rate_cards) AS _",
    )


def test_a_sellers_aliases_are_kept_in_lower_case_and_lead_to_sellers(untouched: str) -> None:
    found = {
        each["alias"]: each["provider"]
        for each in rows(untouched, "SELECT * FROM provider_aliases")
    }
    assert found["bedrock"] == "aws"
    assert found["xai"] == "x-ai"
    known = {each["provider"] for each in rows(untouched, "SELECT provider FROM providers")}
    assert not found.keys() & known, "an alias is no seller's name"
    assert_refused(untouched, "INSERT INTO provider_aliases VALUES ('Azure', 'azure')", "violates")


def test_a_model_is_known_by_its_seller_and_the_sellers_id(untouched: str) -> None:
    assert_refused(
        untouched,
        "INSERT INTO models (provider, model_id) SELECT provider, model_id FROM models LIMIT 1",
        "unique",
    )
    sellers = value(untouched, "SELECT count(*) FROM models WHERE model_id = 'openai/gpt-oss-120b'")
    assert sellers >= 5


# History and revisions ---------------------------------------------------------------------------


def assert_history_is_sound(conninfo: str) -> None:
    """Every price begins with "added", each row continues the one before, the last is in force."""
    newest: dict[int, dict[str, Any]] = {}
    for entry in rows(conninfo, "SELECT * FROM model_pricing_history ORDER BY revision"):
        before = newest.get(entry["model_key"])
        assert (entry["kind"] == "added") == (before is None)
        for name, previous in (
            ("card_id", "previous_card_id"),
            ("input_price", "previous_input_price"),
            ("output_price", "previous_output_price"),
        ):
            assert entry[previous] == (before[name] if before else None)
        assert before is None or entry["changed_at"] >= before["changed_at"]
        newest[entry["model_key"]] = entry
    in_force = rows(conninfo, "SELECT * FROM model_pricing")
    assert {each["model_key"] for each in in_force} == newest.keys()
    for price in in_force:
        last = newest[price["model_key"]]
        assert price["card_id"] == last["card_id"]
        assert price["revision"] == last["revision"]
        assert price["effective_time"] == last["effective_time"]
        assert price["price_per_input_token"] == last["input_price"]
        assert price["price_per_output_token"] == last["output_price"]


def assert_revisions_are_dense(conninfo: str) -> None:
    """From 1 to the head without a gap, in the order of the commits."""
    head = value(conninfo, "SELECT revision FROM price_table_head")
    found = rows(
        conninfo,
        "SELECT revision, min(changed_at) AS first, max(changed_at) AS last,"
        " count(DISTINCT (origin_kind, actor, note, sync_run_id, held_change_id,"
        " reverted_run_id)) AS writers"
        " FROM model_pricing_history GROUP BY revision ORDER BY revision",
    )
    assert [each["revision"] for each in found] == list(range(1, head + 1))
    assert {each["writers"] for each in found} == {1}
    for earlier, later in pairwise(found):
        assert earlier["last"] < later["first"]


async def test_history_continues_from_the_first_price_to_the_one_in_force(
    server: Server, feed: Feed
) -> None:
    stated = (("1e-6", "1e-6"), ("2e-6", "1e-6"), ("2e-6", "1e-6"), ("-1", "-1"), ("3e-6", "4e-6"))
    for day, prices in enumerate(stated, 1):
        feed.answer(recording(f"2026-01-{day:02}T00:00:00Z", row("acme/one", *prices)))
        await server.synced()
    for day in (6, 7):
        feed.answer(recording(f"2026-01-{day:02}T00:00:00Z", row("acme/two")))
        await server.synced()
    assert_history_is_sound(server.conninfo)
    assert_revisions_are_dense(server.conninfo)
    found = rows(
        server.conninfo,
        "SELECT kind, previous_input_price, input_price, origin_kind, history.source, sync_run_id"
        " FROM model_pricing_history AS history JOIN models USING (model_key)"
        " WHERE model_id = 'acme/one' ORDER BY revision",
    )
    one, two, three = Decimal("0.000001"), Decimal("0.000002"), Decimal("0.000003")
    assert [
        (each["kind"], each["previous_input_price"], each["input_price"]) for each in found
    ] == [
        ("added", None, one),
        ("changed", one, two),
        ("changed", two, None),
        ("changed", None, three),
        ("delisted", three, three),
    ]
    assert {(each["origin_kind"], each["source"]) for each in found} == {("sync", "openrouter")}
    assert len({each["sync_run_id"] for each in found}) == len(found)


def _source(slug: str, seller: str, rank: int) -> Source:
    def unread(_document: object, _received_at: datetime) -> Listing:
        raise AssertionError("the listings of this test are made by hand")

    own = seller if rank == OWN_API_RANK else None
    return Source(
        slug=slug,
        display_name=slug,
        rank=rank,
        read=unread,
        evidence=SourceEvidence.RECORDED,
        proven_units=True,
        provider=own,
    )


def _listing(seller: str, prices: dict[str, int]) -> Listing:
    models = tuple(
        ListedModel(
            seller,
            model_id,
            RateCard.of(PriceState.PRICED, [Rate(Meter.INPUT_TOKENS, Decimal(price))]),
            fragment="{}",
        )
        for model_id, price in prices.items()
    )
    return Listing(models, (), (), datetime.now(UTC))


async def _apply(store: PostgresSyncStore, source: Source, listing: Listing) -> int:
    async with store.session(source) as session:
        run = await session.start(ChangeOrigin(OriginKind.SYNC, ADMIN, "test"))
        return (await session.apply(run, listing, register_unknown=True)).revision


async def test_revisions_are_dense_and_in_order_however_many_sources_sync_at_once(
    empty_database: str,
) -> None:
    store = PostgresSyncStore(empty_database)
    sources = [_source(f"api-{n}", f"seller-{n}", OWN_API_RANK) for n in range(5)]
    await store.prepare(sources, {})
    changes, models = 6, 20

    async def sync_often(source: Source) -> list[int]:
        assert source.provider
        return [
            await _apply(
                store,
                source,
                _listing(source.provider, {f"model-{n}": price for n in range(models)}),
            )
            for price in range(1, changes + 1)
        ]

    revisions = await asyncio.gather(*map(sync_often, sources))
    assert sorted(chain.from_iterable(revisions)) == list(range(1, len(sources) * changes + 1))
    assert all(each == sorted(each) for each in revisions)
    assert_revisions_are_dense(empty_database)
    assert_history_is_sound(empty_database)


async def test_the_higher_source_wins_however_two_sync_the_same_models_at_once(
    empty_database: str,
) -> None:
    store = PostgresSyncStore(empty_database)
    own = _source("own-api", "seller", OWN_API_RANK)
    catalogue = _source("catalogue", "seller", CATALOGUE_RANK)
    await store.prepare([own, catalogue], {})

    for attempt in range(1, 9):
        names = [f"model-{attempt}-{n}" for n in range(20)]
        await asyncio.gather(
            _apply(store, catalogue, _listing("seller", dict.fromkeys(names, 1))),
            _apply(store, own, _listing("seller", dict.fromkeys(names, 2))),
        )
        told = rows(
            empty_database,
            "SELECT DISTINCT source, price_per_input_token AS price FROM model_pricing"
            " JOIN models USING (model_key) WHERE model_id = ANY(%(names)s)",
            names=names,
        )
        assert told == [{"source": "own-api", "price": 2}]
    assert_history_is_sound(empty_database)
    assert_revisions_are_dense(empty_database)


# The epoch ---------------------------------------------------------------------------------------


async def test_the_epoch_lasts_as_long_as_the_database_and_a_restored_one_gets_a_new_one(
    cluster: str, database: str, feed: Feed
) -> None:
    async def head(conninfo: str) -> tuple[str, int]:
        async with in_process_server(conninfo, feed) as server:
            answer = await server.get("gpt-oss-120b", "openai")
            return answer.table.epoch, answer.table.revision

    first = await head(database)
    assert await head(database) == first
    name = str(conninfo_to_dict(database)["dbname"])
    with copied_database(cluster, name) as restored:
        epoch, revision = await head(restored)
        assert epoch != first[0]
        assert revision == first[1]
        assert await head(restored) == (epoch, revision)
    assert await head(database) == first


# Migrations with psql ----------------------------------------------------------------------------


@pytest.fixture
def psql(cluster: str) -> str:
    """The psql of the server, else one on PATH; without one the test is skipped, in CI failed."""
    beside = Path(value(cluster, "SELECT setting FROM pg_config WHERE name = 'BINDIR'"), "psql")
    found = str(beside) if beside.exists() else shutil.which("psql")
    if found is None:
        reason = "no psql beside the server or on PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture
def bare_database(cluster: str, psql: str) -> Iterator[str]:
    """A database that psql has given its schema; its conninfo."""
    with copied_database(cluster, "template0") as conninfo:
        for file in sorted(migrations_directory().glob("*.sql")):
            subprocess.run(
                [psql, "-X1q", "-v", "ON_ERROR_STOP=1", "-d", conninfo, "-f", file],
                check=True,
                env={"PATH": os.defpath},
            )
        yield conninfo


def schema(conninfo: str) -> list[dict[str, object]]:
    """Columns, constraints, indexes and triggers, as Postgres describes them."""
    return rows(
        conninfo,
        """
        SELECT kind, of, name, described FROM (
            SELECT 'column' AS kind, table_name::text AS of, column_name::text AS name,
                   concat_ws(' ', data_type, is_nullable, column_default, generation_expression)
                       AS described
            FROM information_schema.columns WHERE table_schema = 'public'
            UNION ALL
            SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace
            UNION ALL
            SELECT 'index', tablename::text, indexname::text, indexdef
            FROM pg_indexes WHERE schemaname = 'public'
            UNION ALL
            SELECT 'trigger', tgrelid::regclass::text, tgname::text, pg_get_triggerdef(oid)
            FROM pg_trigger WHERE NOT tgisinternal
        ) AS all_ WHERE of <> 'schema_migrations' ORDER BY kind, of, name
        """,
    )


def test_migrations_can_be_applied_with_psql(bare_database: str, empty_database: str) -> None:
    assert schema(bare_database) == schema(empty_database)
    assert len(schema(bare_database)) > 100


async def test_a_server_works_on_what_psql_applied_once_that_is_recorded(
    bare_database: str, feed: Feed
) -> None:
    with pytest.raises(MigrationError, match="no record"):
        apply_migrations(bare_database, migrations_directory())
    with connected(bare_database) as connection:
        for version, file in enumerate(sorted(migrations_directory().glob("*.sql")), start=1):
            connection.execute(
                "INSERT INTO schema_migrations (version, name, sha256) VALUES (%s, %s, %s)",
                [version, file.name, hashlib.sha256(file.read_bytes()).hexdigest()],
            )
        # A file that psql applied before this table was there could not see to its rights.
        connection.execute("GRANT SELECT ON schema_migrations TO pricing_reader, pricing_writer")
    feed.answer(payload(row("acme/one")))
    async with in_process_server(bare_database, feed) as server:
        await server.synced()
        assert (await server.price("acme/one")).prompt == "1.00"
