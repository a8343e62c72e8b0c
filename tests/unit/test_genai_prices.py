"""The bundled catalogue against the package's own reading of it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices.data_units import unit_data
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpricing.meters import Meter
from llmpricing.rate_card import UNPRICED, PriceState, Rate, RateCard
from llmpricing.schedule import headline, last_change, next_change
from llmpricing.units import EXACT
from pricing_server.domain.source_listing import Listing, SourceError
from pricing_server.providers.genai_prices import (
    FIELDS,
    RELEASED,
    SOURCE,
    read,
    release,
)
from tests._genai_edges import NOW, Context, asked_at, contexts, instants, token_counts

PER_MILLION = Decimal("1E-6")
METERS = {
    raw.get("price_key", usage): (Meter(usage), raw["per"]) for usage, raw in unit_data.items()
}


@pytest.fixture(scope="module")
def catalogue() -> list[Provider]:
    assert SOURCE.release is not None
    providers = SOURCE.release.load()
    assert isinstance(providers, list)
    return providers


@pytest.fixture(scope="module")
def listing(catalogue: list[Provider]) -> Listing:
    return read(catalogue, NOW)


@pytest.fixture(scope="module")
def cards(listing: Listing) -> dict[tuple[str, str], RateCard]:
    return {model.key: model.card for model in listing.models}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# The oracle: what the package answers, and what a plain reading of a card answers.


def expected(prices: ModelPrice, input_tokens: int) -> dict[Meter, tuple[Decimal, int]]:
    """Price and its unit of each meter, as `calc_unit_price` chooses them."""
    found = {}
    for key, price in vars(prices).items():
        if isinstance(price, TieredPrices):
            reached = [tier.price for tier in price.tiers if input_tokens > tier.start]
            price = reached[-1] if reached else price.base
        if price is not None:
            meter, per = METERS[key]
            found[meter] = (price, per)
    return found


def charged(
    rates: Iterable[Rate], when: datetime, context: Context, input_tokens: int
) -> dict[Meter, tuple[Decimal, int]]:
    """Price and its unit of each meter: the first rate of the card whose conditions hold."""
    found: dict[Meter, tuple[Decimal, int]] = {}
    for rate in rates:
        conditions = rate.conditions
        threshold = conditions.threshold
        if (
            rate.meter not in found
            and conditions.in_effect(when)
            and set(conditions.context) <= set(context.items())
            and (threshold is None or threshold.reached_by(input_tokens))
        ):
            assert threshold is None or threshold.meter is Meter.INPUT_TOKENS
            found[rate.meter] = (rate.price, rate.per)
    return found


def disagreements(model: ModelInfo, card: RateCard) -> Iterator[str]:
    for when, context in itertools.product(instants(model), contexts(model)):
        prices = model.get_prices(asked_at(model, when), context)
        for tokens in token_counts(model):
            wanted, got = expected(prices, tokens), charged(card.rates, when, context, tokens)
            if any(rate.minimum for rate in card.rates):
                # The minimum is one of all audio together, so input is charged as that.
                of_input = wanted.pop(Meter.INPUT_AUDIO_SECONDS)
                assert of_input == wanted[Meter.AUDIO_SECONDS]
            for meter in wanted.keys() | got.keys():
                price, per = wanted.get(meter, (None, 1))
                ours, unit = got.get(meter, (None, 1))
                if (price is None or ours is None) or (
                    EXACT.multiply(price, unit) != EXACT.multiply(ours, per)
                ):
                    yield f"{model.id} {when} {context} {tokens} {meter}: {wanted} is not {got}"


def test_every_model_costs_what_the_package_says_at_every_edge(
    catalogue: list[Provider], cards: dict[tuple[str, str], RateCard]
) -> None:
    models = [(provider.id, model) for provider in catalogue for model in provider.models]
    assert len(models) == len(cards)
    wrong = [
        text for seller, model in models for text in disagreements(model, cards[seller, model.id])
    ]
    assert wrong == []


# Catalogues that this version of the data does not have, but that its rules allow.

amounts = st.integers(1, 10**6).map(lambda number: Decimal(number).scaleb(-4))
tiered = st.builds(
    TieredPrices,
    base=amounts,
    tiers=st.lists(
        st.builds(Tier, start=st.sampled_from((0, 128_000, 200_000)), price=amounts), max_size=3
    ),
)
price_sets = st.dictionaries(
    st.sampled_from(("input_mtok", "output_mtok", "audio_hours", "requests_kcount")),
    amounts | tiered,
    max_size=3,
).map(lambda prices: ModelPrice(**prices))
clocks = st.builds(
    time,
    hour=st.sampled_from((0, 1, 6, 12, 23)),
    minute=st.sampled_from((0, 30)),
    tzinfo=st.sampled_from((None, UTC, timezone(timedelta(hours=5, minutes=30)))),
)
start_dates = st.builds(StartDateConstraint, st.dates(date(2026, 10, 1), date(2026, 10, 4)))
windows = st.tuples(clocks, clocks).filter(
    lambda pair: minute_of_day(pair[0]) != minute_of_day(pair[1])
)
whens = st.none() | start_dates | st.builds(lambda pair: TimeOfDateConstraint(*pair), windows)
requests = st.dictionaries(
    st.sampled_from(("processing", "service_tier")), st.sampled_from("ab"), min_size=1
)


def minute_of_day(clock: time) -> time:
    return datetime.combine(date(2026, 1, 1), clock, clock.tzinfo or UTC).astimezone(UTC).time()


def catalogue_of(*models: ModelInfo) -> list[Provider]:
    return [Provider(id="seller", name="Seller", api_pattern="x", models=list(models))]


def model_of(
    prices: ModelPrice | list[ConditionalPrice], variants: list[PriceVariant] | None = None
) -> ModelInfo:
    return ModelInfo(id="m", match=ClauseEquals("m"), prices=prices, price_variants=variants)


def card_of(model: ModelInfo) -> RateCard:
    (listed,) = read(catalogue_of(model), NOW).models
    return listed.card


@settings(max_examples=150, deadline=None)
@given(
    prices=st.lists(
        st.builds(ConditionalPrice, constraint=whens, prices=price_sets), min_size=1, max_size=5
    ),
    variants=st.lists(
        st.builds(PriceVariant, when=requests, prices=price_sets, constraint=whens), max_size=4
    ),
)
def test_any_mix_of_dates_windows_tiers_and_variants_costs_what_the_package_says(
    prices: list[ConditionalPrice], variants: list[PriceVariant]
) -> None:
    model = model_of(prices, variants)
    card = card_of(model)
    assert list(disagreements(model, card)) == []
    assert RateCard.from_document(json.loads(json.dumps(card.to_document()))) == card


# By hand.


def test_peak_hours_of_deepseek_change_at_their_edges(
    cards: dict[tuple[str, str], RateCard],
) -> None:
    card = cards["deepseek", "deepseek-v4-flash"]
    peak, off = Decimal("0.3") * PER_MILLION, Decimal("0.15") * PER_MILLION
    for now, prompt, since, until in (
        ("2026-11-20 00:59", off, "2026-11-19 10:00", "2026-11-20 01:00"),
        ("2026-11-20 01:00", peak, "2026-11-20 01:00", "2026-11-20 04:00"),
        ("2026-11-20 04:00", off, "2026-11-20 04:00", "2026-11-20 06:00"),
        ("2026-11-20 09:59", peak, "2026-11-20 06:00", "2026-11-20 10:00"),
        ("2026-11-20 10:00", off, "2026-11-20 10:00", "2026-11-23 01:00"),
        ("2026-11-21 02:00", off, "2026-11-20 10:00", "2026-11-23 01:00"),
        ("2026-11-22 23:59", off, "2026-11-20 10:00", "2026-11-23 01:00"),
        # Two changes at one midnight are one change: the date, outside the windows.
        ("2026-09-09 23:59", Decimal("0.22") * PER_MILLION, "2026-09-09 10:00", "2026-09-10 00:00"),
        ("2026-09-10 00:00", off, "2026-09-10 00:00", "2026-09-10 01:00"),
    ):
        assert headline(card, at(now)).prompt == prompt, now
        assert last_change(card, at(now)) == at(since), now
        assert next_change(card, at(now)) == at(until), now


def test_an_announced_price_begins_at_midnight_utc_of_its_date(
    cards: dict[tuple[str, str], RateCard],
) -> None:
    card = cards["google", "gemini-4-argon"]
    change = at("2026-12-01 00:00")
    before = headline(card, change - timedelta(microseconds=1))
    assert (before.prompt, before.completion) == (2 * PER_MILLION, 10 * PER_MILLION)
    assert next_change(card, NOW) == change
    after = headline(card, change)
    assert (after.prompt, after.completion) == (4 * PER_MILLION, 20 * PER_MILLION)
    assert next_change(card, change) is None
    assert last_change(card, change) == change


def test_what_the_winning_set_lacks_is_unpriced_and_not_the_earlier_price() -> None:
    card = card_of(
        model_of(
            [
                ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(2))),
                ConditionalPrice(
                    TimeOfDateConstraint(time(22), time(2)),
                    prices=ModelPrice(input_mtok=Decimal(3)),
                ),
                ConditionalPrice(
                    TimeOfDateConstraint(time(6), time(8)), prices=ModelPrice(input_mtok=Decimal(4))
                ),
            ]
        )
    )
    documents = card.to_document()["rates"]
    assert documents == [
        {"meter": "input_tokens", "price": "0.000004", "utc_window": ["06:00", "08:00"]},
        {"meter": "input_tokens", "price": "0.000003", "utc_window": ["22:00", "02:00"]},
        {"meter": "input_tokens", "price": "0.000001"},
        {"meter": "output_tokens", "price": "0.000002", "utc_window": ["02:00", "06:00"]},
        {"meter": "output_tokens", "price": "0.000002", "utc_window": ["08:00", "22:00"]},
    ]


def test_a_variant_without_prices_makes_its_context_known_and_changes_nothing() -> None:
    variants = [
        PriceVariant(when={"service_tier": "default"}, prices=ModelPrice()),
        PriceVariant(when={"processing": "batch"}, prices=ModelPrice(input_mtok=Decimal(1))),
    ]
    card = card_of(model_of(ModelPrice(input_mtok=Decimal(2)), variants))
    assert [(rate.conditions.context, rate.price) for rate in card.rates] == [
        ((("processing", "batch"),), 1 * PER_MILLION),
        ((("service_tier", "default"),), 2 * PER_MILLION),
        ((), 2 * PER_MILLION),
    ]


def test_an_hour_of_audio_is_kept_as_3600_seconds() -> None:
    card = card_of(model_of(ModelPrice(audio_hours=Decimal("0.04"))))
    assert card.rates == (Rate(Meter.AUDIO_SECONDS, Decimal("0.04"), per=3600),)


def test_no_price_and_a_zero_are_unpriced_and_never_free() -> None:
    assert card_of(model_of(ModelPrice())) == UNPRICED
    assert card_of(model_of([])) == UNPRICED
    free_input = TieredPrices(base=Decimal(0), tiers=[Tier(start=10, price=Decimal(1))])
    model = model_of(ModelPrice(input_mtok=free_input, output_mtok=Decimal(0)))
    listing = read(catalogue_of(model), NOW)
    assert listing.models[0].card == UNPRICED
    assert [notice.code for notice in listing.notices] == ["zero:input_mtok", "zero:output_mtok"]


def test_an_unknown_price_key_is_named_and_costs_nothing_else() -> None:
    prices = ModelPrice(input_mtok=Decimal(1), smell_units=Decimal(2))
    listing = read(catalogue_of(model_of(prices)), NOW)
    assert [rate.meter for rate in listing.models[0].card.rates] == [Meter.INPUT_TOKENS]
    (notice,) = listing.notices
    assert (notice.code, notice.example) == ("unknown_key:smell_units", "m")


@pytest.mark.parametrize(
    ("prices", "variants", "message"),
    [
        (ModelPrice(input_mtok=Decimal("NaN")), None, "input_mtok is not a finite number: NaN"),
        (ModelPrice(input_mtok=Decimal("sNaN")), None, "input_mtok is not a finite number: sNaN"),
        (ModelPrice(input_mtok=Decimal(-1)), None, "input_mtok is negative: -1"),
        (
            [
                ConditionalPrice(
                    TimeOfDateConstraint(time(1, 0, 30), time(2)),
                    prices=ModelPrice(input_mtok=Decimal(1)),
                )
            ],
            None,
            "a time of day is not a whole minute",
        ),
        (
            ModelPrice(input_mtok=Decimal(1)),
            [PriceVariant(when={"tier": "x"}, prices=ModelPrice(input_mtok=Decimal(0)))],
            "a variant's input_mtok is zero without being declared free",
        ),
    ],
)
def test_a_fault_in_one_model_does_not_cost_the_others(
    prices: ModelPrice | list[ConditionalPrice],
    variants: list[PriceVariant] | None,
    message: str,
) -> None:
    sound = ModelInfo(
        id="sound", match=ClauseEquals("sound"), prices=ModelPrice(input_mtok=Decimal(1))
    )
    listing = read(catalogue_of(model_of(prices, variants), sound), NOW)
    assert [model.model_id for model in listing.models] == ["sound"]
    assert [(fault.model_id, fault.message) for fault in listing.faults] == [("m", message)]


@pytest.mark.parametrize("document", [None, {}, [], "providers"])
def test_what_is_no_catalogue_is_refused_as_a_whole(document: object) -> None:
    with pytest.raises(SourceError):
        read(document, NOW)


# The catalogue as it is.


def test_the_whole_catalogue_is_read_without_a_fault(listing: Listing) -> None:
    assert (listing.rows, listing.faults, listing.notices) == (2330, (), ())
    assert len({model.provider for model in listing.models}) == 47
    assert {model.card.state for model in listing.models} == {
        PriceState.PRICED,
        PriceState.UNPRICED,
    }
    assert listing.provider_names["aws"] == "AWS Bedrock"


def test_cards_survive_their_document_and_are_the_same_whenever_read(
    catalogue: list[Provider], listing: Listing
) -> None:
    again = read(catalogue, NOW + timedelta(days=400))
    for model, other in zip(listing.models, again.models, strict=True):
        document = json.loads(json.dumps(model.card.to_document()))
        assert RateCard.from_document(document) == model.card
        assert RateCard.from_document(document).card_id == model.card.card_id == other.card.card_id
    ids = {model.card.card_id: model.card for model in listing.models}
    assert all(ids[model.card.card_id] == model.card for model in listing.models)
    assert again.obtained_at == listing.obtained_at


def test_the_fragment_states_prices_as_the_catalogue_writes_them(listing: Listing) -> None:
    fragments = {model.key: json.loads(model.fragment) for model in listing.models}
    stated = fragments["google", "gemini-4-argon"]
    assert stated["prices"][1] == {
        "constraint": {"start_date": "2026-12-01"},
        "prices": {
            "input_mtok": "4",
            "cache_read_mtok": "0.2",
            "output_mtok": "20",
            "web_searches_kcount": "14",
        },
    }
    assert stated["price_variants"][0]["when"] == {"processing": "batch"}
    tiers = fragments["google", "gemini-2.5-pro"]["prices"]["input_mtok"]["tiers"]
    assert tiers == [{"start": 200000, "price": "2.5"}]


def test_declared_units_are_those_of_the_unit_registry() -> None:
    declared = {key: (unit.meter, unit.per) for key, unit in FIELDS.items()}
    assert declared == METERS


def test_the_pinned_version_has_a_known_date() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    (pinned,) = [
        requirement.removeprefix("genai-prices==")
        for requirement in project["project"]["dependencies"]
        if requirement.startswith("genai-prices")
    ]
    assert pinned in RELEASED
    assert SOURCE.release is not None
    assert (SOURCE.release.version, SOURCE.release.released_at) == (pinned, RELEASED[pinned])


def test_data_is_as_old_as_its_release_and_never_as_new_as_its_reading(listing: Listing) -> None:
    assert listing.obtained_at == datetime(2026, 11, 10, 21, 51, 41, tzinfo=UTC)


def test_a_version_without_a_known_date_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"genai-prices 9\.9\.9 is installed"):
        release("9.9.9")


def test_the_catalogue_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, pricing_server.providers.genai_prices; print('genai_prices' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
