"""What an admin may say of a price, and what is refused by the name of its field."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState
from llmpricing.units import EXACT, plain
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.errors import InvalidArgument
from pricing_server.domain.override import OverrideState
from pricing_server.domain.price_change import ADMIN, ChangeOrigin, OriginKind
from pricing_server.grpc_api.methods.price_overrides import (
    clear_request,
    override_filter,
    override_request,
)
from pricing_server.grpc_api.wire.prices import UNITS
from pricing_server.history.conversions import conversions_of
from tests.unit._strategies import many, prices

RATE = pb.Rate(meter=pb.METER_INPUT_TOKENS, price="0.000001")
FLEX = pb.Rate(
    meter=pb.METER_INPUT_TOKENS,
    price="0.0000005",
    conditions=pb.Conditions(context={"service_tier": "flex"}),
)
FREE = pb.Rate(meter=pb.METER_REQUESTS, price="0")
LATER = Timestamp(seconds=4_000_000_000)


def request(**fields: Any) -> pb.SetPriceOverrideRequest:
    stated: dict[str, Any] = {"provider": "acme", "model_id": "one", "reason": "a test"}
    return pb.SetPriceOverrideRequest(**(stated | fields))


@pytest.mark.parametrize(
    ("unit", "per"),
    [
        (pb.PRICE_UNIT_UNSPECIFIED, 1_000_000),
        (pb.PRICE_UNIT_PER_1M_TOKENS, 1_000_000),
        (pb.PRICE_UNIT_PER_1K_TOKENS, 1_000),
        (pb.PRICE_UNIT_PER_TOKEN, 1),
    ],
)
def test_a_price_is_of_the_unit_that_is_asked_for(unit: pb.PriceUnit.ValueType, per: int) -> None:
    read = override_request(request(unit=unit, prompt="2.5", completion="7"))
    assert read.card.state is PriceState.PRICED
    assert {rate.meter: rate.price * per for rate in read.card.rates} == {
        Meter.INPUT_TOKENS: Decimal("2.5"),
        Meter.OUTPUT_TOKENS: Decimal(7),
    }


@many
@given(prices())
def test_every_price_is_exact_and_its_evidence_says_how_it_was_read(price: Decimal) -> None:
    for unit, per in UNITS.items():
        text = plain(price)
        read = override_request(request(unit=unit, prompt=text))
        (rate,) = read.card.rates
        assert rate.price.scaleb(per.power_of_ten, context=EXACT) == price
        (conversion,) = conversions_of("override", None, read.statement, read.card)
        assert (conversion.path, conversion.stated) == ("prompt", text)
        assert conversion.price == rate.price


def test_the_statement_is_what_was_given() -> None:
    priced = override_request(request(prompt="2.50"))
    assert json.loads(priced.statement) == {"unit": "per_1m_tokens", "prompt": "2.50"}
    assert json.loads(override_request(request(free=True)).statement)["free"] is True
    hourly = pb.Rate(meter=pb.METER_AUDIO_SECONDS, price="0.5", per=7)
    read = override_request(request(rates=[hourly]))
    (conversion,) = conversions_of("override", None, read.statement, read.card)
    assert (conversion.path, conversion.unit) == ("rates[0].price", "USD per 7 seconds")
    assert conversion.price == Decimal("0.5")


def test_free_takes_zeros_or_no_price_at_all() -> None:
    for fields in (
        {},
        {"prompt": "0"},
        {"prompt": "0.00", "completion": "0"},
        {"rates": [FREE]},
    ):
        assert override_request(request(free=True, **fields)).card.state is PriceState.FREE


def test_names_are_canonical_and_defaults_are_filled_in() -> None:
    read = override_request(request(provider="XAI", prompt="1", until_time=LATER))
    assert (read.provider, read.set_by) == ("x-ai", "grpc")
    assert read.origin == ChangeOrigin(OriginKind.OVERRIDE_SET, ADMIN, "grpc")
    assert read.until is not None
    assert read.until.timestamp() == LATER.seconds
    cleared = clear_request(pb.ClearPriceOverrideRequest(provider="xAI", model_id="one"))
    assert cleared.provider == "x-ai"
    assert cleared.origin == ChangeOrigin(OriginKind.OVERRIDE_CLEARED, ADMIN, "grpc")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no provider": ({"provider": ""}, "provider"),
    "provider that grows in lower case": ({"provider": "\u0130" * 400}, "provider"),
    "no model": ({"model_id": " "}, "model_id"),
    "no price": ({"prompt": None}, "prompt"),
    "empty price": ({"prompt": ""}, "prompt"),
    "negative": ({"prompt": "-1"}, "prompt"),
    "exponent": ({"completion": "1e-6"}, "completion"),
    "zero": ({"prompt": "0"}, "prompt"),
    "zero beside a price": ({"completion": "0.00"}, "completion"),
    "zero rate": (
        {"prompt": None, "rates": [pb.Rate(meter=pb.METER_REQUESTS, price="0")]},
        "rates[0].price",
    ),
    "free at a price": ({"free": True}, "prompt"),
    "rates and prompt": ({"rates": [RATE]}, "prompt"),
    "rates in a unit": ({"prompt": None, "rates": [RATE], "unit": 3}, "unit"),
    "unknown unit": ({"unit": 9}, "unit"),
    "a rate that never applies": ({"prompt": None, "rates": [RATE, FLEX]}, "rates[1]"),
    "percent and prompt": ({"percent": "85"}, "prompt"),
    "percent and free": ({"prompt": None, "percent": "85", "free": True}, "free"),
    "percent of zero": ({"prompt": None, "percent": "0"}, "percent"),
    "no percent": ({"prompt": None, "percent": "15 %"}, "percent"),
    "no reason": ({"reason": ""}, "reason"),
    "long reason": ({"reason": "a" * 1_001}, "reason"),
    "line break": ({"reason": "a\nb"}, "reason"),
    "long name": ({"set_by": "a" * 201}, "set_by"),
    "past": ({"until_time": Timestamp(seconds=1)}, "until_time"),
    "no time": ({"until_time": Timestamp(seconds=2**62)}, "until_time"),
}


@pytest.mark.parametrize(("fields", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_what_makes_no_sense_is_refused_by_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        override_request(request(**({"prompt": "1"} | fields)))
    assert error.value.field == field


def test_a_list_is_of_the_overrides_in_force_unless_states_are_named() -> None:
    asked = override_filter(pb.ListPriceOverridesRequest(provider="xAI"))
    assert (set(asked.states), asked.provider) == ({OverrideState.IN_FORCE}, "x-ai")
    past = override_filter(pb.ListPriceOverridesRequest(states=[pb.PRICE_OVERRIDE_STATE_PAST]))
    assert past.states == {OverrideState.PAST}
    for number in (0, 9):
        with pytest.raises(InvalidArgument) as error:
            override_filter(pb.ListPriceOverridesRequest(states=[number]))  # type: ignore[list-item]
        assert error.value.field == "states[0]"


def test_conditions_before_the_rate_that_always_applies_are_taken() -> None:
    assert len(override_request(request(rates=[FLEX, RATE])).card.rates) == 2
