"""Rate cards: one content, one id; nothing on them contradicts; the contract has a word for all."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.matching.outcome import MatchRule
from llmpricing.meters import Meter
from llmpricing.rate_card import (
    ALWAYS,
    DYNAMIC,
    UNPRICED,
    Comparison,
    Conditions,
    DayOfWeek,
    PriceState,
    Rate,
    RateCard,
    Threshold,
    ThresholdScope,
    UtcWindow,
    differences,
)
from llmpricing.units import PricingFormat
from llmpricing.usage import InputConvention
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire import enums
from llmpricing.wire.rates import rate_message
from pricing_server.costs.costs import PriceProof
from pricing_server.costs.model_identity import Identity, LeftOutReason
from pricing_server.domain.held_change import HoldReason, HoldStatus
from pricing_server.domain.price import Layer
from pricing_server.domain.price_change import ChangeKind, OriginKind
from pricing_server.domain.revert import RefusalReason
from pricing_server.domain.source import SourceEvidence
from pricing_server.domain.sync_run import SyncStatus
from pricing_server.grpc_api.wire import (
    comparisons,
    costs,
    held_changes,
    price_changes,
    prices,
    reads,
    sources,
    sync_runs,
)
from pricing_server.lookup.answer import Freshness
from tests.unit._strategies import cards, few

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WORKDAYS = tuple(DayOfWeek)[:5]
INPUT = Rate(Meter.INPUT_TOKENS, Decimal("0.000003"))
OUTPUT = Rate(Meter.OUTPUT_TOKENS, Decimal("0.000015"))
NOISE = Decimal("1.000000000000001")


def priced(*rates: Rate) -> RateCard:
    return RateCard.of(PriceState.PRICED, rates)


def written_otherwise(price: Decimal, zeros: int) -> Decimal:
    sign, digits, exponent = price.as_tuple()
    assert isinstance(exponent, int)
    return Decimal((sign, (*digits, *[0] * zeros), exponent - zeros))


@given(cards, st.integers(0, 20), st.randoms(use_true_random=False))
@few
def test_the_id_depends_on_what_is_charged_and_not_on_how_it_was_written(
    card: RateCard, zeros: int, shuffler: random.Random
) -> None:
    order = list(Meter)
    shuffler.shuffle(order)
    rates = [
        replace(rate, price=written_otherwise(rate.price, zeros))
        for meter in order
        for rate in card.rates
        if rate.meter is meter
    ]
    again = RateCard.of(card.state, rates)
    assert again == card
    assert again.card_id == card.card_id
    assert len(card.card_id) == 64


def test_the_id_of_a_known_card_never_changes() -> None:
    # An id is stored for ever: if this fails, every stored card would be written anew.
    card = priced(
        INPUT,
        Rate(
            Meter.INPUT_TOKENS,
            Decimal("0.0000010"),
            Conditions(
                Threshold(Meter.INPUT_TOKENS, Comparison.AT_LEAST, 128_000),
                (("service_tier", "flex"),),
                UtcWindow(22 * 60, 90),
                NOON,
                NOON + timedelta(days=1),
            ),
        ),
        Rate(Meter.AUDIO_SECONDS, Decimal("0.04"), per=3600),
    )
    assert card.to_document() == {
        "currency": "USD",
        "state": "priced",
        "rates": [
            {"meter": "input_tokens", "price": "0.000003"},
            {
                "meter": "input_tokens",
                "price": "0.000001",
                "threshold": {
                    "meter": "input_tokens",
                    "comparison": "at_least",
                    "quantity": 128000,
                    "scope": "all",
                },
                "context": {"service_tier": "flex"},
                "utc_window": ["22:00", "01:30"],
                "effective_from": "2026-11-20T12:00:00Z",
                "effective_until": "2026-11-21T12:00:00Z",
            },
            {"meter": "audio_seconds", "price": "0.04", "per": 3600},
        ],
    }
    assert card.card_id == "eaee1515c54cb791307af136ff05504b41793dcf5d23af98a1dc217922d31b04"


def test_a_window_of_days_is_written_with_their_names() -> None:
    card = priced(replace(INPUT, conditions=Conditions(utc_window=UtcWindow(60, 240, WORKDAYS))))
    (document,) = card.to_document()["rates"]
    assert document == {
        "meter": "input_tokens",
        "price": "0.000003",
        "utc_window": ["01:00", "04:00"],
        "utc_days": ["monday", "tuesday", "wednesday", "thursday", "friday"],
    }
    assert card.card_id == "75074efde9c8d55f2a99fcff3c2707aa2b75f8ff440c4593d9f8fd60ec58fe7d"


def test_the_same_days_are_one_window_and_one_card() -> None:
    backwards = UtcWindow(60, 240, (*reversed(WORKDAYS), DayOfWeek.MONDAY))
    assert backwards == UtcWindow(60, 240, WORKDAYS)
    assert backwards.days == WORKDAYS
    assert UtcWindow(60, 240, tuple(DayOfWeek)) == UtcWindow(60, 240)
    one, other, always = (
        priced(replace(INPUT, conditions=Conditions(utc_window=window)))
        for window in (backwards, UtcWindow(60, 240, WORKDAYS), UtcWindow(60, 240))
    )
    assert one.card_id == other.card_id != always.card_id
    assert not one.same_prices_as(always)
    assert len(differences(one, always)) == 2


def test_one_instant_in_two_time_zones_is_one_card() -> None:
    abroad = NOON.astimezone(timezone(timedelta(hours=9)))
    one, other = (
        priced(replace(INPUT, conditions=Conditions(effective_from=instant)))
        for instant in (NOON, abroad)
    )
    assert one == other
    assert one.card_id == other.card_id


@given(cards)
@few
def test_a_card_survives_its_document_as_json(card: RateCard) -> None:
    again = RateCard.from_document(json.loads(json.dumps(card.to_document())))
    assert again == card
    assert again.card_id == card.card_id


@given(cards, cards)
@few
def test_different_cards_have_different_ids(one: RateCard, other: RateCard) -> None:
    assert (one == other) is (one.card_id == other.card_id)


def test_the_order_within_a_meter_is_precedence_and_kept() -> None:
    night = replace(INPUT, price=Decimal(1), conditions=Conditions(utc_window=UtcWindow(0, 60)))
    assert priced(OUTPUT, night, INPUT).rates == (night, INPUT, OUTPUT)
    assert priced(INPUT, OUTPUT, night).rates == (INPUT, night, OUTPUT)
    assert priced(night, INPUT).card_id != priced(INPUT, night).card_id


# Contradictions.


@pytest.mark.parametrize(
    ("state", "rates"),
    [
        (PriceState.PRICED, ()),
        (PriceState.PRICED, (replace(INPUT, price=Decimal(0)),)),
        (PriceState.PRICED, (INPUT, replace(INPUT, price=Decimal(5)))),
        (PriceState.PRICED, (INPUT, OUTPUT, INPUT)),
        (PriceState.FREE, ()),
        (PriceState.FREE, (INPUT,)),
        (PriceState.FREE, (replace(INPUT, price=Decimal(0)), OUTPUT)),
        (PriceState.DYNAMIC, (INPUT,)),
        (PriceState.UNPRICED, (INPUT,)),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(
    state: PriceState, rates: tuple[Rate, ...]
) -> None:
    with pytest.raises(ValueError, match="card"):
        RateCard.of(state, rates)
    with pytest.raises(ValueError, match="card"):
        RateCard(state, rates)


@pytest.mark.parametrize("price", ["NaN", "sNaN", "Infinity", "-Infinity", "-1", "-0"])
def test_a_rate_without_a_finite_price_of_at_least_zero_is_refused(price: str) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        Rate(Meter.INPUT_TOKENS, Decimal(price))


@pytest.mark.parametrize("per", [0, -1])
def test_a_rate_for_less_than_one_unit_is_refused(per: int) -> None:
    with pytest.raises(ValueError, match="per one or more"):
        Rate(Meter.INPUT_TOKENS, Decimal(1), per=per)


@pytest.mark.parametrize("window", [(60, 60), (0, 0), (-1, 5), (5, -1), (0, 1440), (1440, 0)])
def test_a_window_is_never_empty_and_lies_within_the_day(window: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="window"):
        UtcWindow(*window)


@pytest.mark.parametrize("days", [(), tuple(DayOfWeek)])
def test_a_whole_day_is_a_window_on_some_days_alone(days: tuple[DayOfWeek, ...]) -> None:
    with pytest.raises(ValueError, match="window"):
        UtcWindow(60, 60, days)
    assert UtcWindow(60, 60, WORKDAYS).contains(NOON)


@pytest.mark.parametrize("day", [0, 8])
def test_a_week_has_seven_days(day: int) -> None:
    with pytest.raises(ValueError, match="DayOfWeek"):
        UtcWindow(60, 240, (day,))  # type: ignore[arg-type]


def test_a_threshold_is_not_negative() -> None:
    with pytest.raises(ValueError, match="not negative"):
        Threshold(Meter.INPUT_TOKENS, Comparison.ABOVE, -1)


@pytest.mark.parametrize(
    "conditions",
    [
        {"context": (("b", "1"), ("a", "1"))},
        {"context": (("a", "1"), ("a", "2"))},
        {"effective_from": datetime(2026, 1, 1)},
        {"effective_until": datetime(2026, 1, 1)},
        {"effective_from": NOON, "effective_until": NOON},
        {"effective_from": NOON, "effective_until": NOON - timedelta(microseconds=1)},
        {"effective_from": datetime(1, 1, 1, tzinfo=UTC)},
        {"effective_until": datetime.max.replace(tzinfo=UTC)},
    ],
)
def test_conditions_that_cannot_hold_or_have_no_one_form_are_refused(
    conditions: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match=r"sorted|time zone|ends after|lie between"):
        Conditions(**conditions)


@pytest.mark.parametrize(
    "change",
    [
        {"currency": "EUR"},
        {"currency": None},
        {"state": "cheap"},
        {"rates": [{"meter": "smells", "price": "1"}]},
        {"rates": [{"meter": "input_tokens", "price": "-1"}]},
        {"rates": [{"meter": "input_tokens", "price": "NaN"}]},
        {"rates": []},
        {"rates": [{"price": "1"}]},
        {"rates": [{"meter": "input_tokens", "price": "1", "utc_window": ["24:00", "01:00"]}]},
        {"rates": [{"meter": "input_tokens", "price": "1", "utc_days": ["monday"]}]},
        {
            "rates": [
                {
                    "meter": "input_tokens",
                    "price": "1",
                    "utc_window": ["01:00", "04:00"],
                    "utc_days": ["someday"],
                }
            ]
        },
        {"rates": [{"meter": "input_tokens", "price": "1", "effective_from": "2026-01-01"}]},
    ],
)
def test_a_document_that_is_no_card_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError)):
        RateCard.from_document(priced(INPUT).to_document() | change)


# Comparing two cards.


@st.composite
def card_pairs(draw: st.DrawFn) -> tuple[RateCard, RateCard]:
    """A card and one that is the same, the same but for noise, changed, or another altogether."""
    one = draw(cards)
    if one.state is not PriceState.PRICED or draw(st.integers(0, 4)) == 0:
        return one, draw(cards)
    rates = list(one.rates)
    at = draw(st.integers(0, len(rates) - 1))
    factor = draw(st.sampled_from([Decimal(1), NOISE, Decimal("1.0000000000001"), Decimal(2)]))
    match draw(st.integers(0, 4)):
        case 0 if len(rates) > 1:
            rates.pop(at)
        case 1:
            rates[at] = replace(rates[at], per=rates[at].per + 1)
        case 2:
            rates.reverse()
        case _:
            rates[at] = replace(rates[at], price=rates[at].price * factor)
    if not any(rate.price for rate in rates):
        return one, one
    return one, RateCard.of(PriceState.PRICED, rates)


@given(card_pairs())
@few
def test_cards_have_the_same_prices_exactly_if_state_order_and_every_rate_agree(
    pair: tuple[RateCard, RateCard],
) -> None:
    one, other = pair
    same_order = [rate.key for rate in one.rates] == [rate.key for rate in other.rates]
    expected = one.state is other.state and same_order and not differences(one, other)
    assert one.same_prices_as(other) is expected
    assert other.same_prices_as(one) is expected
    assert one.same_prices_as(one)
    assert differences(one, one) == ()


@given(card_pairs())
@few
def test_differences_tell_the_way_from_the_old_card_to_the_new(
    pair: tuple[RateCard, RateCard],
) -> None:
    old, new = pair
    rates = {rate.key: rate for rate in old.rates}
    for difference in differences(old, new):
        assert difference.old == rates.get(difference.rate.key)
        if difference.new is None:
            del rates[difference.rate.key]
        else:
            assert difference.new.key == difference.rate.key
            rates[difference.new.key] = difference.new
    stated = {rate.key: rate for rate in new.rates}
    assert rates.keys() == stated.keys()
    assert all(rate.same_price_as(stated[key]) for key, rate in rates.items())
    back = {(difference.new, difference.old) for difference in differences(new, old)}
    assert back == {(difference.old, difference.new) for difference in differences(old, new)}


@given(cards)
@few
def test_against_no_card_every_rate_is_new(card: RateCard) -> None:
    assert [(one.old, one.new) for one in differences(None, card)] == [
        (None, rate) for rate in card.rates
    ]


def test_binary_noise_is_no_difference_and_anything_else_is() -> None:
    before = priced(INPUT, OUTPUT)
    noisy = priced(replace(INPUT, price=INPUT.price * NOISE), OUTPUT)
    assert noisy.same_prices_as(before)
    assert differences(before, noisy) == ()
    for other in (
        priced(replace(INPUT, price=INPUT.price * 2), OUTPUT),
        priced(replace(INPUT, per=2), OUTPUT),
        priced(INPUT),
        priced(INPUT, OUTPUT, Rate(Meter.REQUESTS, Decimal("0.01"))),
    ):
        assert not other.same_prices_as(before)
        assert len(differences(before, other)) == 1
    night = Conditions(utc_window=UtcWindow(0, 60))
    for other in (
        priced(replace(INPUT, meter=Meter.INPUT_TEXT_TOKENS), OUTPUT),
        priced(replace(INPUT, conditions=night), OUTPUT),
    ):
        assert not other.same_prices_as(before)
        gone, new = sorted(differences(before, other), key=lambda one: one.new is not None)
        assert (gone.old, gone.new, new.old) == (INPUT, None, None)
    assert not DYNAMIC.same_prices_as(UNPRICED)


# The contract has a word for everything on a card.


class ProtoEnum(Protocol):
    def items(self) -> Sequence[tuple[str, int]]: ...


MAPPED: list[tuple[type[Enum], str, ProtoEnum, Mapping[Any, int]]] = [
    (Meter, "METER", pb.Meter, enums.METERS),
    (PriceState, "PRICE_STATE", pb.PriceState, enums.STATES),
    (Comparison, "COMPARISON", pb.Comparison, enums.COMPARISONS),
    (ThresholdScope, "THRESHOLD_SCOPE", pb.ThresholdScope, enums.SCOPES),
    (DayOfWeek, "DAY_OF_WEEK", pb.DayOfWeek, enums.DAYS),
    (Layer, "PRICING_SOURCE", pb.PricingSource, reads.LAYERS),
    (Freshness, "FRESHNESS", pb.Freshness, reads.FRESHNESS),
    (MatchRule, "MATCH_RULE", pb.MatchRule, prices.MATCH_RULES),
    (ChangeKind, "CHANGE_KIND", pb.ChangeKind, price_changes.CHANGE_KINDS),
    (SyncStatus, "SYNC_STATUS", pb.SyncStatus, sync_runs.SYNC_STATUSES),
    (RefusalReason, "REFUSED_REVERT_REASON", pb.RefusedRevertReason, sync_runs.REFUSAL_REASONS),
    (OriginKind, "ORIGIN_KIND", pb.OriginKind, price_changes.ORIGIN_KINDS),
    (HoldReason, "HOLD_REASON", pb.HoldReason, prices.HOLD_REASONS),
    (HoldStatus, "HOLD_STATUS", pb.HoldStatus, held_changes.STATUSES),
    (Identity, "MODEL_IDENTITY", pb.ModelIdentity, comparisons.IDENTITIES),
    (LeftOutReason, "LEFT_OUT_REASON", pb.LeftOutReason, comparisons.LEFT_OUT_REASONS),
    (SourceEvidence, "SOURCE_EVIDENCE", pb.SourceEvidence, sources.EVIDENCE),
    (InputConvention, "INPUT_CONVENTION", pb.InputConvention, enums.CONVENTIONS),
    (PriceProof, "PRICE_PROOF", pb.PriceProof, costs.PROOFS),
]


@pytest.mark.parametrize(("ours", "prefix", "theirs", "mapping"), MAPPED, ids=lambda v: str(v)[:20])
def test_the_contract_and_the_domain_name_the_same_things(
    ours: type[Enum], prefix: str, theirs: ProtoEnum, mapping: Mapping[Any, int]
) -> None:
    numbers = dict(theirs.items())
    assert numbers.pop(f"{prefix}_UNSPECIFIED") == 0
    assert {f"{prefix}_{member.name}": mapping[member] for member in ours} == numbers
    assert mapping.keys() == set(ours)


def test_every_price_unit_of_the_contract_is_a_format_of_the_domain() -> None:
    numbers: Collection[int] = set(pb.PriceUnit.values()) - {pb.PRICE_UNIT_UNSPECIFIED}
    assert prices.UNITS.keys() == numbers
    assert sorted(prices.UNITS.values(), key=lambda unit: unit.value) == list(PricingFormat)
    for number, unit in prices.UNITS.items():
        assert pb.PriceUnit.Name(number) == f"PRICE_UNIT_{unit.name}"


@given(cards)
@few
def test_every_rate_can_be_sent(card: RateCard) -> None:
    for rate in card.rates:
        message = rate_message(rate)
        assert (Decimal(message.price), message.per) == (rate.price, rate.per)
        assert message.meter == enums.METERS[rate.meter]
        assert message.HasField("conditions") is (rate.conditions != ALWAYS)
        sent, meant = message.conditions, rate.conditions
        assert dict(sent.context) == dict(meant.context)
        if meant.threshold is not None:
            assert sent.threshold.quantity == meant.threshold.quantity
        if meant.utc_window is not None:
            start = sent.utc_window.start
            assert int(start[:2]) * 60 + int(start[3:]) == meant.utc_window.start
            assert [int(day) for day in sent.utc_window.days] == list(meant.utc_window.days)
        if meant.effective_from is not None:
            assert sent.effective_from_time.ToDatetime(tzinfo=UTC) == meant.effective_from


def test_a_card_holds_no_quantity_that_the_contract_cannot_carry() -> None:
    # A quantity is an int64 there: one row with more would break every answer that has it.
    with pytest.raises(ValueError, match="threshold"):
        Threshold(Meter.INPUT_TOKENS, Comparison.ABOVE, 2**63)
    with pytest.raises(ValueError, match="per"):
        Rate(Meter.INPUT_TOKENS, Decimal(1), per=2**63)
