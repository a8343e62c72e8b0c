"""Receipts, computed again by a client alone."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given

from llmpricing.compiled_card import CompiledCard
from llmpricing.meters import Meter
from llmpricing.rate_card import (
    UNPRICED,
    Conditions,
    DayOfWeek,
    PriceState,
    Rate,
    RateCard,
    UtcWindow,
)
from llmpricing.receipts import ReceiptError, replay
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.rates import rate_card_message, rate_card_of
from tests.unit._strategies import cards

AT = datetime(2026, 11, 20, 12, 30, 0, 5, tzinfo=UTC)
CARD = RateCard.of(PriceState.PRICED, [Rate(Meter.INPUT_TOKENS, Decimal("0.000001"))])
USAGE = [pb.MeterQuantity(meter=pb.METER_INPUT_TOKENS, quantity="1000.5")]


def receipt(card: RateCard = CARD) -> pb.Receipt:
    message = pb.Receipt(
        rules=1,
        rate_card=rate_card_message(card),
        input_convention=pb.INPUT_CONVENTION_INCLUSIVE,
    )
    message.as_of.FromDatetime(AT)
    return message


@given(cards)
def test_every_rate_card_of_an_answer_is_the_card_itself(card: RateCard) -> None:
    message = pb.RateCard.FromString(rate_card_message(card).SerializeToString())
    read = rate_card_of(message, "rate_card")
    assert (read, read.card_id) == (card, message.rate_card_id)


def test_a_receipt_gives_the_cost_of_its_card_at_its_instant() -> None:
    again = replay(receipt(), USAGE)
    assert again == CompiledCard(CARD).evaluate({Meter.INPUT_TOKENS: Decimal("1000.5")}, at=AT)
    assert again.total == Decimal("0.0010005")


def test_a_receipt_that_was_altered_or_is_of_newer_rules_is_refused() -> None:
    altered = receipt()
    altered.rate_card.rates[0].price = "0.000002"
    with pytest.raises(ReceiptError, match="rate_card_id"):
        replay(altered, USAGE)
    newer = receipt()
    newer.rules = 2
    with pytest.raises(ReceiptError, match="rules 2"):
        replay(newer, USAGE)
    foreign = receipt()
    foreign.rate_card.currency = "EUR"
    with pytest.raises(ReceiptError, match="USD"):
        replay(foreign, USAGE)
    broken = receipt(UNPRICED)
    broken.rate_card.rates.append(pb.Rate(meter=pb.METER_INPUT_TOKENS, price="abc"))
    with pytest.raises(ReceiptError, match=r"receipt\.rate_card"):
        replay(broken, USAGE)


@pytest.mark.parametrize(("day", "total"), [(20, "0.002001"), (21, "0.0010005")])
def test_a_receipt_keeps_the_days_of_a_rate(day: int, total: str) -> None:
    friday = Conditions(utc_window=UtcWindow(12 * 60, 13 * 60, (DayOfWeek.FRIDAY,)))
    dear = Rate(Meter.INPUT_TOKENS, Decimal("0.000002"), friday)
    message = receipt(RateCard.of(PriceState.PRICED, [dear, *CARD.rates]))
    message.as_of.FromDatetime(AT.replace(day=day))
    assert replay(message, USAGE).total == Decimal(total)
    message.rate_card.rates[0].conditions.utc_window.days[:] = [pb.DAY_OF_WEEK_SATURDAY]
    with pytest.raises(ReceiptError, match="rate_card_id"):
        replay(message, USAGE)
    message.rate_card.rates[0].conditions.utc_window.days[:] = [pb.DAY_OF_WEEK_UNSPECIFIED]
    with pytest.raises(ReceiptError, match=r"days\[0\]"):
        replay(message, USAGE)


def test_a_receipt_that_lacks_what_decides_a_cost_is_refused() -> None:
    timeless = receipt()
    timeless.ClearField("as_of")
    with pytest.raises(ReceiptError, match=r"receipt\.as_of is missing"):
        replay(timeless, USAGE)
    unconventional = receipt()
    unconventional.input_convention = pb.InputConvention.ValueType(9)
    with pytest.raises(ReceiptError, match=r"receipt\.input_convention has the unknown value 9"):
        replay(unconventional, USAGE)


@pytest.mark.parametrize(
    "usage",
    [
        [pb.MeterQuantity(meter=pb.METER_INPUT_TOKENS, quantity="many")],
        [pb.MeterQuantity(quantity="1")],
        USAGE + USAGE,
    ],
)
def test_a_usage_that_is_none_is_refused(usage: list[pb.MeterQuantity]) -> None:
    with pytest.raises(ReceiptError):
        replay(receipt(), usage)
