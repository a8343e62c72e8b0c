"""SetPriceOverride, ClearPriceOverride and ListPriceOverrides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from llmpricing.meters import Meter
from llmpricing.rate_card import ALWAYS, UNPRICED, PriceState, Rate, RateCard
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.enums import by_number
from pricing_server.domain.errors import InvalidArgument, ModelNotFound
from pricing_server.domain.override import ClearRequest, OverrideRequest, OverrideState
from pricing_server.domain.sellers import canonical
from pricing_server.grpc_api.wire.page_tokens import Pages
from pricing_server.grpc_api.wire.price_changes import check_view
from pricing_server.grpc_api.wire.price_overrides import (
    OVERRIDE_STATES,
    clear_response,
    price_override_message,
    set_response,
)
from pricing_server.grpc_api.wire.prices import format_of
from pricing_server.grpc_api.wire.requests import (
    MAX_WHO,
    WHO,
    check_enum,
    check_name,
    check_page_size,
    check_text,
    instant_of,
    known_value,
    optional_name,
    price_of,
    rates_of,
)
from pricing_server.grpc_api.wire.results import fitting
from pricing_server.history.evidence import EvidenceReader, OverrideFilter
from pricing_server.lookup.lookup import Lookup
from pricing_server.sync.override_runner import OverrideRunner

MAX_REASON: Final = 1_000

HEADLINE: Final = {"prompt": Meter.INPUT_TOKENS, "completion": Meter.OUTPUT_TOKENS}

_STATE_OF: Final[Mapping[int, OverrideState]] = by_number(OVERRIDE_STATES)


async def set_price_override(
    overrides: OverrideRunner, lookup: Lookup, request: pb.SetPriceOverrideRequest
) -> pb.SetPriceOverrideResponse:
    """Answer SetPriceOverride."""
    check_view(request.view)
    asked = override_request(request)
    try:
        outcome = await overrides.set(asked)
    except ModelNotFound:
        # The price table has no names that look like it at hand.
        raise await lookup.error_of(asked.provider, asked.model_id) from None
    return set_response(outcome, request.view)


async def clear_price_override(
    overrides: OverrideRunner, request: pb.ClearPriceOverrideRequest
) -> pb.ClearPriceOverrideResponse:
    """Answer ClearPriceOverride."""
    check_view(request.view)
    return clear_response(await overrides.clear(clear_request(request)), request.view)


async def list_price_overrides(
    reader: EvidenceReader, request: pb.ListPriceOverridesRequest
) -> pb.ListPriceOverridesResponse:
    """Answer ListPriceOverrides."""
    criteria = override_filter(request)
    limit = check_page_size(request.page_size)
    pages = Pages(
        "ListPriceOverrides", criteria.provider, criteria.model_id, sorted(criteria.states)
    )
    cursor = pages.cursor(request.page_token, int)
    found = await reader.overrides(criteria, int(cursor[0]) if cursor else None, limit + 1)
    listed = fitting(map(price_override_message, found[:limit]))
    last = found[len(listed) - 1] if len(found) > len(listed) else None
    return pb.ListPriceOverridesResponse(
        price_overrides=listed,
        next_page_token=pages.token(last.override_id) if last is not None else None,
    )


def override_filter(request: pb.ListPriceOverridesRequest) -> OverrideFilter:
    """What to list. Raises InvalidArgument."""
    name = optional_name(request, "provider")
    states = [
        known_value(number, _STATE_OF, f"states[{at}]") for at, number in enumerate(request.states)
    ]
    return OverrideFilter(
        states=frozenset(states or [OverrideState.IN_FORCE]),
        provider=canonical(name) if name is not None else None,
        model_id=optional_name(request, "model_id"),
    )


def override_request(request: pb.SetPriceOverrideRequest) -> OverrideRequest:
    """The checked request. Raises InvalidArgument."""
    provider, model_id = _names(request.provider, request.model_id)
    percent = _percent(request)
    return OverrideRequest(
        provider=provider,
        model_id=model_id,
        card=_card(request) if percent is None else UNPRICED,
        percent=percent,
        statement=_statement(request),
        reason=check_text("reason", request.reason, MAX_REASON),
        set_by=check_text("set_by", request.set_by, MAX_WHO, default=WHO),
        until=_until(request),
        # A model that is declared free is free of everything.
        replace_card=request.replace_card or request.free,
        register=request.register,
        confirm=request.confirm,
        dry_run=request.dry_run,
    )


def clear_request(request: pb.ClearPriceOverrideRequest) -> ClearRequest:
    """The checked request. Raises InvalidArgument."""
    provider, model_id = _names(request.provider, request.model_id)
    cleared_by = check_text("cleared_by", request.cleared_by, MAX_WHO, default=WHO)
    return ClearRequest(provider, model_id, cleared_by, dry_run=request.dry_run)


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
        unit = format_of(request.unit)
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


def _percent(request: pb.SetPriceOverrideRequest) -> Decimal | None:
    if not request.HasField("percent"):
        return None
    for field in ("rates", "unit", "free", "replace_card"):
        if getattr(request, field):
            raise InvalidArgument(field, "is given together with percent")
    if headline := _headline(request):
        raise InvalidArgument(next(iter(headline)), "is given together with percent")
    try:
        percent = price_of("percent", request.percent)
    except InvalidArgument:
        raise InvalidArgument(
            "percent", "is no percentage: digits with at most one point"
        ) from None
    if not percent:
        raise InvalidArgument("percent", "is not over 0")
    return percent


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
    if not request.HasField("until_time"):
        return None
    until = instant_of(request.until_time, "until_time")
    if until <= datetime.now(UTC):
        raise InvalidArgument("until_time", "is not in the future")
    return until


def _statement(request: pb.SetPriceOverrideRequest) -> str:
    """The prices as they were given, with their unit: what ExplainPrice shows as evidence."""
    if request.HasField("percent"):
        return json.dumps({"percent": request.percent})
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
