"""The evidence of prices as messages of the contract."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Context
from typing import Final

from llmpricing.schedule import headline
from llmpricing.units import PricingFormat, format_price, plain
from llmpricing.v1 import pricing_pb2 as pb
from llmpricing.wire.enums import METERS
from llmpricing.wire.instants import timestamp
from llmpricing.wire.rates import rate_card_message, rate_message
from pricing_server.domain.held_change import HeldChange
from pricing_server.domain.price import Layer
from pricing_server.domain.source import Source
from pricing_server.grpc_api.wire.held_changes import held_change_message
from pricing_server.grpc_api.wire.price_changes import price_change
from pricing_server.grpc_api.wire.price_overrides import price_override_message
from pricing_server.grpc_api.wire.prices import match_message, model_pricing
from pricing_server.grpc_api.wire.reads import table_of
from pricing_server.history.conversions import Conversion, conversions_of
from pricing_server.history.evidence import Discrepancy, ExplainedPrice, StatedQuote, unfilled_rates
from pricing_server.sync.completion import UnfilledRate, UnfilledReason

MAX_FRAGMENT_BYTES: Final = 256 * 1024
"""Of a statement in an answer, of which there are a few; recorded ones have up to 20 kB."""

UNFILLED_REASONS: Final = {
    reason: pb.UnfilledReason.Value(f"UNFILLED_REASON_{reason.name}") for reason in UnfilledReason
}

_SIX_DIGITS: Final = Context(prec=6)


def explain_price_response(
    explained: ExplainedPrice, held: Sequence[HeldChange], sources: Mapping[str, Source]
) -> pb.ExplainPriceResponse:
    """An answer with all that stands behind it."""
    answer, evidence = explained.answer, explained.evidence
    is_of_table = answer.head is not None
    now = datetime.now(UTC)
    override = evidence.price_override
    is_overridden = override is not None and answer.evaluated.price.layer is Layer.OVERRIDE
    coverage = {slug: source.coverage for slug, source in sources.items()}
    unfilled = unfilled_rates(evidence.quotes, coverage, now) if is_of_table else {}
    quotes = []
    for one in evidence.quotes:
        quotes.append(_quote(one, sources, now, is_of_table))
        quotes[-1].unfilled_rates.extend(map(_unfilled_rate, unfilled.get(one.source, ())))
    return pb.ExplainPriceResponse(
        pricing=model_pricing(answer, pb.PRICE_UNIT_PER_1M_TOKENS),
        match=match_message(answer.evaluated),
        quotes=quotes,
        held_changes=map(_held_change, held),
        price_override=price_override_message(override) if override and is_overridden else None,
        last_change=price_change(evidence.last_change, pb.CHANGE_VIEW_FULL)
        if evidence.last_change and is_of_table
        else None,
        table=table_of(answer.head),
    )


def discrepancy_message(found: Discrepancy) -> pb.Discrepancy:
    """A model on which two sources disagree."""
    return pb.Discrepancy(
        provider=found.provider,
        model_id=found.model_id,
        meter=METERS[found.meter],
        source=found.source,
        price=plain(found.price),
        other_source=found.other_source,
        other_price=plain(found.other_price),
        ratio=plain(_SIX_DIGITS.plus(found.ratio)),
        since_time=timestamp(found.since),
    )


def _held_change(held: HeldChange) -> pb.HeldChange:
    fits = len(held.fragment) <= MAX_FRAGMENT_BYTES
    return held_change_message(held if fits else replace(held, fragment=""))


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
        rate_card=rate_card_message(quote.card),
        fragment=quote.fragment if fits else None,
        fragment_sha256=hashlib.sha256(quote.fragment.encode()).hexdigest(),
        verified_time=timestamp(quote.obtained_at),
        first_stated_time=timestamp(quote.stated_since),
        is_confirmed=quote.is_confirmed,
        sync_run_id=str(quote.sync_run_id) if quote.sync_run_id is not None else None,
        payload_url=quote.payload_url,
        payload_sha256=quote.payload_sha256,
        conversions=map(_conversion, conversions),
        stated_as=quote.stated_as,
        is_inferred=quote.is_inferred,
    )
    if shown.prompt is not None:
        message.prompt = format_price(shown.prompt, PricingFormat.PER_1M_TOKENS)
    if shown.completion is not None:
        message.completion = format_price(shown.completion, PricingFormat.PER_1M_TOKENS)
    return message


def _unfilled_rate(one: UnfilledRate) -> pb.UnfilledRate:
    return pb.UnfilledRate(rate=rate_message(one.rate), reason=UNFILLED_REASONS[one.reason])


def _conversion(conversion: Conversion) -> pb.Conversion:
    return pb.Conversion(
        field=conversion.path,
        stated=conversion.stated,
        unit=conversion.unit,
        meter=METERS[conversion.meter],
        price=None if conversion.price is None else plain(conversion.price),
    )
