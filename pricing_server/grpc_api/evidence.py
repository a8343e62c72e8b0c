"""ExplainPrice and ListDiscrepancies: their requests and answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import Final

from llmpricing.schedule import headline
from llmpricing.units import PriceError, PricingFormat, format_price, parse_price, plain
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.conversions import Conversion, conversions_of
from pricing_server.errors import InvalidArgument
from pricing_server.evidence import (
    Discrepancy,
    DiscrepancyCursor,
    DiscrepancyFilter,
    EvidenceReader,
    ExplainedPrice,
    Explainer,
    StatedQuote,
)
from pricing_server.grpc_api import convert, convert_rates
from pricing_server.grpc_api.held_changes import held_change
from pricing_server.grpc_api.overrides import price_override
from pricing_server.grpc_api.read_rates import DECIMAL
from pricing_server.grpc_api.requests import Pages, check_name, check_page_size
from pricing_server.held_changes import HeldFilter, HeldReader
from pricing_server.lookup.price import Layer
from pricing_server.providers.source import Source
from pricing_server.sellers import canonical
from pricing_server.sync.held import HeldChange

MIN_RATIO: Final = Decimal("1.01")

MAX_FRAGMENT_BYTES: Final = 256 * 1024
"""Of a statement in an answer, of which there are a few; recorded ones have up to 20 kB."""

MAX_HELD_CHANGES: Final = 100
"""Open ones of a model in an answer; each source has one at most."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SIX_DIGITS: Final = Context(prec=6)


async def explain_price(
    request: pb.ExplainPriceRequest,
    explainer: Explainer,
    held: HeldReader,
    sources: Mapping[str, Source],
) -> pb.ExplainPriceResponse:
    """Answer ExplainPrice."""
    model_id = check_name("model_id", request.model_id)
    provider = check_name("provider", request.provider) if request.HasField("provider") else None
    explained = await explainer.explain(model_id, provider)
    price = explained.answer.quote.price
    narrow = HeldFilter(provider=price.provider, model_id=price.model_id)
    found = await held.held_changes(narrow, None, MAX_HELD_CHANGES)
    return _explain_price_response(explained, found, sources)


async def list_discrepancies(
    request: pb.ListDiscrepanciesRequest, reader: EvidenceReader
) -> pb.ListDiscrepanciesResponse:
    """Answer ListDiscrepancies. All pages are of the prices in effect when the first was read."""
    provider = None
    if request.HasField("provider"):
        provider = canonical(check_name("provider", request.provider))
    min_ratio = _min_ratio(request.min_ratio)
    limit = check_page_size(request.page_size)
    pages = Pages("ListDiscrepancies", provider, str(min_ratio))
    cursor = pages.cursor(request.page_token, int, str, str, str)
    at, after = datetime.now(UTC), None
    if cursor is not None:
        at, ratio, seller, model = _instant(int(cursor[0])), str(cursor[1]), *cursor[2:]
        after = DiscrepancyCursor(_ratio(ratio), str(seller), str(model))
    narrow = DiscrepancyFilter(at, min_ratio, provider)
    found = await reader.discrepancies(narrow, after, limit + 1)
    token = ""
    if len(found) > limit:
        last = found[limit - 1]
        micros = (at - _EPOCH) // _MICROSECOND
        token = pages.token(micros, str(last.ratio), last.provider, last.model_id)
    return pb.ListDiscrepanciesResponse(
        discrepancies=[_discrepancy(one) for one in found[:limit]], next_page_token=token
    )


def _explain_price_response(
    explained: ExplainedPrice, held: Sequence[HeldChange], sources: Mapping[str, Source]
) -> pb.ExplainPriceResponse:
    answer, evidence = explained.answer, explained.evidence
    answered = convert.get_pricing_response(answer, pb.PRICE_UNIT_PER_1M_TOKENS)
    is_of_table = answer.head is not None
    now = datetime.now(UTC)
    return pb.ExplainPriceResponse(
        pricing=answered.pricing,
        match=answered.match,
        quotes=[_quote(one, sources, now, is_of_table) for one in evidence.quotes],
        held_changes=map(_held_change, held),
        price_override=price_override(evidence.price_override)
        if evidence.price_override and answer.quote.price.layer is Layer.OVERRIDE
        else None,
        last_change=convert.price_change(evidence.last_change)
        if evidence.last_change and is_of_table
        else None,
        revision=answer.head.revision if answer.head else None,
        epoch=answered.epoch,
    )


def _held_change(held: HeldChange) -> pb.HeldChange:
    fits = len(held.fragment) <= MAX_FRAGMENT_BYTES
    return held_change(held if fits else replace(held, fragment=""))


def _quote(
    quote: StatedQuote, sources: Mapping[str, Source], now: datetime, is_of_table: bool
) -> pb.SourceQuote:
    shown = headline(quote.card, now)
    conversions = conversions_of(
        quote.source, sources.get(quote.source), quote.fragment, quote.card
    )
    fits = len(quote.fragment) <= MAX_FRAGMENT_BYTES  # It is ASCII.
    message = pb.SourceQuote(
        source=quote.source,
        rank=quote.rank,
        # A price of another layer is in force before that of any source.
        is_in_force=quote.is_in_force and is_of_table,
        rate_card=convert_rates.rate_card(quote.card),
        fragment=quote.fragment if fits else "",
        fragment_sha256=hashlib.sha256(quote.fragment.encode()).hexdigest(),
        verified_time=convert_rates.timestamp(quote.obtained_at),
        stated_since=convert_rates.timestamp(quote.stated_since),
        is_confirmed=quote.is_confirmed,
        sync_run_id=str(quote.sync_run_id) if quote.sync_run_id is not None else "",
        payload_url=quote.payload_url or "",
        payload_sha256=quote.payload_sha256 or "",
        conversions=map(_conversion, conversions),
    )
    if shown.prompt is not None:
        message.prompt = format_price(shown.prompt, PricingFormat.PER_1M_TOKENS)
    if shown.completion is not None:
        message.completion = format_price(shown.completion, PricingFormat.PER_1M_TOKENS)
    return message


def _conversion(conversion: Conversion) -> pb.Conversion:
    return pb.Conversion(
        field=conversion.path,
        stated=conversion.stated,
        unit=conversion.unit,
        meter=convert_rates.METERS[conversion.meter],
        price="" if conversion.price is None else plain(conversion.price),
    )


def _discrepancy(found: Discrepancy) -> pb.Discrepancy:
    return pb.Discrepancy(
        provider=found.provider,
        model_id=found.model_id,
        meter=convert_rates.METERS[found.meter],
        source=found.source,
        price=plain(found.price),
        other_source=found.other_source,
        other_price=plain(found.other_price),
        ratio=plain(_SIX_DIGITS.plus(found.ratio)),
        since=convert_rates.timestamp(found.since),
    )


def _min_ratio(text: str) -> Decimal:
    if not text:
        return MIN_RATIO
    if not DECIMAL.fullmatch(text):
        raise InvalidArgument("min_ratio", "is not a ratio: digits with at most one point")
    try:
        ratio = parse_price(text)
    except PriceError:
        raise InvalidArgument("min_ratio", "has too many digits for a ratio") from None
    if ratio <= 1:
        raise InvalidArgument("min_ratio", "is not over 1")
    return ratio


def _instant(micros: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise _foreign() from None


def _ratio(text: str) -> Decimal:
    try:
        ratio = Decimal(text)
    except InvalidOperation:
        raise _foreign() from None
    if not ratio.is_finite() or len(text) > 200 or abs(ratio.adjusted()) > 100:
        raise _foreign()
    return ratio


def _foreign() -> InvalidArgument:
    return InvalidArgument("page_token", "is not a token of this method; begin with an empty one")
