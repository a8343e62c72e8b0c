"""The database compares headline prices as the service evaluates them, and quickly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from llmpricing.meters import Meter
from llmpricing.rate_card import ALWAYS, Conditions, PriceState, Rate, RateCard, ThresholdScope
from llmpricing.schedule import headline
from llmpricing.units import EXACT
from pricing_server.history.evidence import Discrepancy, DiscrepancyCursor, DiscrepancyFilter
from pricing_server.postgres.connection import read_pool
from pricing_server.postgres.readers.evidence_reader import PostgresEvidenceReader
from pricing_server.postgres.readers.price_reader import head_of
from pricing_server.runtime.breaker import Breaker
from tests.integration._database import connected
from tests.unit._strategies import EPOCH, conditions, few, priced_cards, prices, unique_rates

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
REFERENCE = RateCard.of(
    PriceState.PRICED,
    [
        Rate(Meter.INPUT_TOKENS, Decimal("0.000001")),
        Rate(Meter.OUTPUT_TOKENS, Decimal("0.000002")),
    ],
)


def is_graduated(when: Conditions) -> bool:
    """Whether the rate is of the threshold's meter alone."""
    return when.threshold is not None and when.threshold.scope is ThresholdScope.EXCESS


CARDS = 12
"""Of one example."""

headline_rates = st.builds(
    Rate,
    st.sampled_from([Meter.INPUT_TOKENS, Meter.OUTPUT_TOKENS, Meter.CACHE_READ_TOKENS]),
    prices(zero=True),
    st.just(ALWAYS) | conditions().filter(lambda when: not is_graduated(when)),
    st.sampled_from([1, 1, 1, 3600]),
)
card_lists = st.lists(
    priced_cards(unique_rates(headline_rates, max_size=6)), min_size=1, max_size=CARDS
)
instants = st.builds(lambda seconds: EPOCH + timedelta(seconds=seconds), st.integers(0, 10**7))


def store(conninfo: str, quotes: Iterable[tuple[str, str, RateCard]]) -> None:
    """Replace what is stated: (model id, source, card)."""
    listed = list(quotes)
    cards = {card.card_id: card for _, _, card in listed}
    with connected(conninfo) as connection, connection.transaction(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM price_quotes")
        cursor.execute("DELETE FROM models")
        cursor.execute("INSERT INTO providers VALUES ('maker', 'Maker') ON CONFLICT DO NOTHING")
        for at, source in enumerate(sorted({source for _, source, _ in listed})):
            cursor.execute(
                "INSERT INTO sources VALUES (%s, 'A source', NULL, %s) ON CONFLICT DO NOTHING",
                (source, 100 + at),
            )
            cursor.execute(
                "INSERT INTO pricing_sync_log (source, triggered_by) VALUES (%s, 'test')", (source,)
            )
        cursor.executemany(
            "INSERT INTO rate_cards VALUES (%s, %s, 'USD', %s) ON CONFLICT DO NOTHING",
            [
                (card_id, card.state.value, Jsonb(card.to_document()["rates"]))
                for card_id, card in cards.items()
            ],
        )
        cursor.executemany(
            "INSERT INTO models (provider, model_id) VALUES ('maker', %s)",
            [(model_id,) for model_id in dict.fromkeys(model_id for model_id, _, _ in listed)],
        )
        cursor.executemany(
            "INSERT INTO price_quotes (model_key, source, card_id, fragment, obtained_at,"
            " sync_run_id) SELECT model_key, %(source)s, %(card)s, '{}', now(),"
            " (SELECT max(sync_run_id) FROM pricing_sync_log WHERE source = %(source)s)"
            " FROM models WHERE model_id = %(model)s",
            [
                {"model": model_id, "source": source, "card": card.card_id}
                for model_id, source, card in listed
            ],
        )
        cursor.execute("ANALYZE")


async def read(
    conninfo: str, at: datetime, *, limit: int = 1_000, pages: bool = False
) -> Sequence[Discrepancy]:
    found: list[Discrepancy] = []
    after: DiscrepancyCursor | None = None
    async with read_pool(conninfo, size=1) as pool:
        breaker = Breaker(partial(head_of, pool))
        reader = PostgresEvidenceReader(pool, breaker)
        while True:
            page = await reader.discrepancies(DiscrepancyFilter(at, Decimal("1.01")), after, limit)
            found += page
            if not pages or len(page) < limit:
                return found
            after = DiscrepancyCursor(page[-1].ratio, page[-1].provider, page[-1].model_id)


def expected(cards: Sequence[RateCard], at: datetime) -> dict[str, tuple[Meter, Decimal]]:
    """By model: the meter that differs most from the reference, and the price that is stated."""
    standard, found = headline(REFERENCE, at), {}
    for number, card in enumerate(cards):
        stated = headline(card, at)
        ratios = []
        for meter, one, other in (
            (Meter.INPUT_TOKENS, standard.prompt, stated.prompt),
            (Meter.OUTPUT_TOKENS, standard.completion, stated.completion),
        ):
            assert one is not None
            if other and max(one, other) >= EXACT.multiply(min(one, other), Decimal("1.01")):
                # As fractions: the quotient of two prices may not end.
                ratios.append((max(one, other) / min(one, other), meter, other))
        if ratios:
            _, meter, price = max(ratios, key=lambda each: each[0])
            found[f"model-{number}"] = (meter, price)
    return found


@settings(few, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(card_lists, instants)
def test_prices_are_compared_as_they_are_in_effect_at_the_instant(
    empty_database: str, cards: list[RateCard], at: datetime
) -> None:
    store(
        empty_database,
        [
            quote
            for number, card in enumerate(cards)
            for quote in (
                (f"model-{number}", "first", REFERENCE),
                (f"model-{number}", "second", card),
            )
        ],
    )
    found = asyncio.run(read(empty_database, at))
    assert {one.model_id: (one.meter, one.other_price) for one in found} == expected(cards, at)


def card_at(price: int) -> RateCard:
    return RateCard.of(
        PriceState.PRICED,
        [
            Rate(Meter.INPUT_TOKENS, Decimal(price).scaleb(-9)),
            Rate(Meter.OUTPUT_TOKENS, Decimal(3 * price).scaleb(-9)),
            Rate(Meter.CACHE_READ_TOKENS, Decimal(price).scaleb(-10)),
        ],
    )


async def test_ten_thousand_models_of_three_sources_are_all_listed_once_in_order(
    empty_database: str,
) -> None:
    models = 10_000
    store(
        empty_database,
        (
            (f"model-{number}", source, card_at(factor * (number % 997 + 1)))
            for number in range(models)
            for source, factor in (("first", 1), ("second", 2), ("third", 1 + number % 5))
        ),
    )
    began = time.monotonic()
    first = await read(empty_database, AT, limit=51)
    seconds = time.monotonic() - began
    whole = await read(empty_database, AT, limit=1_000, pages=True)
    print(f"a page of the discrepancies of {models} models: {seconds:.3f} s")
    assert list(whole[:51]) == list(first)
    assert len({one.model_id for one in whole}) == len(whole) == models
    order = [(-one.ratio, one.provider, one.model_id) for one in whole]
    assert order == sorted(order)
