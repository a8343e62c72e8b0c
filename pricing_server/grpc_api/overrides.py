"""SetPriceOverride and ClearPriceOverride: their requests and answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from llmpricing.meters import Meter
from llmpricing.rate_card import ALWAYS, PriceState, Rate, RateCard
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.errors import InvalidArgument
from pricing_server.grpc_api import convert, convert_rates
from pricing_server.grpc_api.read_rates import instant_of, price_of, rates_of
from pricing_server.grpc_api.requests import check_enum, check_name, check_text
from pricing_server.sellers import canonical
from pricing_server.sync.override import (
    ClearRequest,
    OverrideOutcome,
    OverrideRequest,
    PriceOverride,
)

MAX_REASON: Final = 1_000
MAX_ADMIN: Final = 200

HEADLINE: Final = {"prompt": Meter.INPUT_TOKENS, "completion": Meter.OUTPUT_TOKENS}


def override_request(request: pb.SetPriceOverrideRequest) -> OverrideRequest:
    """The checked request. Raises InvalidArgument."""
    provider, model_id = _names(request.provider, request.model_id)
    return OverrideRequest(
        provider=provider,
        model_id=model_id,
        card=_card(request),
        statement=_statement(request),
        reason=check_text("reason", request.reason, MAX_REASON),
        set_by=check_text("set_by", request.set_by, MAX_ADMIN, default="grpc"),
        until=_until(request),
    )


def clear_request(request: pb.ClearPriceOverrideRequest) -> ClearRequest:
    """The checked request. Raises InvalidArgument."""
    provider, model_id = _names(request.provider, request.model_id)
    cleared_by = check_text("cleared_by", request.cleared_by, MAX_ADMIN, default="grpc")
    return ClearRequest(provider, model_id, cleared_by)


def set_response(outcome: OverrideOutcome) -> pb.SetPriceOverrideResponse:
    """What an override changed."""
    assert outcome.price_override is not None, "one was set"
    return pb.SetPriceOverrideResponse(
        price_override=price_override(outcome.price_override),
        revision=outcome.revision,
        price_change=convert.price_change(outcome.change) if outcome.change else None,
    )


def clear_response(outcome: OverrideOutcome) -> pb.ClearPriceOverrideResponse:
    """What the end of an override changed."""
    return pb.ClearPriceOverrideResponse(
        revision=outcome.revision,
        price_change=convert.price_change(outcome.change) if outcome.change else None,
    )


def price_override(override: PriceOverride) -> pb.PriceOverride:
    """An override that is in force."""
    return pb.PriceOverride(
        provider=override.provider,
        model_id=override.model_id,
        rate_card=convert_rates.rate_card(override.card),
        reason=override.reason,
        set_by=override.set_by,
        set_time=convert_rates.timestamp(override.set_at),
        until=convert_rates.timestamp(override.until) if override.until else None,
    )


def _names(provider: str, model_id: str) -> tuple[str, str]:
    # Checked once more: in lower case some names are longer.
    seller = check_name("provider", canonical(check_name("provider", provider)))
    return seller, check_name("model_id", model_id)


def _card(request: pb.SetPriceOverrideRequest) -> RateCard:
    check_enum("unit", pb.PriceUnit, request.unit)
    headline = _headline(request)
    if request.rates:
        if headline:
            raise InvalidArgument(next(iter(headline)), "is given together with rates")
        if request.unit:
            raise InvalidArgument("unit", "is that of prompt and completion, and not of rates")
        rates = rates_of(request.rates)
        _refuse_unreachable(rates)
        named = [(f"rates[{at}].price", rate) for at, rate in enumerate(rates)]
    else:
        unit = convert.UNITS[request.unit or pb.PRICE_UNIT_PER_1M_TOKENS]
        named = [
            (field, Rate(HEADLINE[field], price_of(field, text, unit)))
            for field, text in headline.items()
        ]
    for field, rate in named:
        if request.free and rate.price:
            raise InvalidArgument(field, "is above zero, and the model is declared free")
        if not request.free and not rate.price:
            raise InvalidArgument(field, "is zero, and the model is not declared free")
    rates = [rate for _, rate in named]
    if request.free:
        zeros = [Rate(meter, Decimal(0)) for meter in HEADLINE.values()]
        return RateCard.of(PriceState.FREE, rates or zeros)
    if not rates:
        raise InvalidArgument("prompt", "is missing, and so is every other price")
    return RateCard.of(PriceState.PRICED, rates)


def _headline(request: pb.SetPriceOverrideRequest) -> Mapping[str, str]:
    """The headline prices that are given, by field."""
    stated = {}
    if request.HasField("prompt"):
        stated["prompt"] = request.prompt
    if request.HasField("completion"):
        stated["completion"] = request.completion
    return stated


def _refuse_unreachable(rates: Sequence[Rate]) -> None:
    """A rate behind one of its meter that always applies is an order that nobody meant."""
    always: set[Meter] = set()
    for at, rate in enumerate(rates):
        if rate.meter in always:
            raise InvalidArgument(
                f"rates[{at}]", "never applies: a rate before it has no conditions"
            )
        if rate.conditions == ALWAYS:
            always.add(rate.meter)


def _until(request: pb.SetPriceOverrideRequest) -> datetime | None:
    if not request.HasField("until"):
        return None
    until = instant_of(request.until, "until")
    if until <= datetime.now(UTC):
        raise InvalidArgument("until", "is not in the future")
    return until


def _statement(request: pb.SetPriceOverrideRequest) -> str:
    """The prices as they were given, with their unit: what ExplainPrice shows as evidence."""
    stated: dict[str, Any] = {"free": True} if request.free else {}
    if request.rates:
        stated["rates"] = [
            {
                "meter": pb.Meter.Name(rate.meter).removeprefix("METER_").lower(),
                "price": rate.price,
                "per": rate.per or 1,
            }
            for rate in request.rates
        ]
    else:
        unit = request.unit or pb.PRICE_UNIT_PER_1M_TOKENS
        stated["unit"] = pb.PriceUnit.Name(unit).removeprefix("PRICE_UNIT_").lower()
        stated.update(_headline(request))
    return json.dumps(stated)
