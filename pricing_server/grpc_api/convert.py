"""Domain objects as messages of the contract."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    ALWAYS,
    Comparison,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    ThresholdScope,
    clock_time,
    differences,
)
from llmpricing.schedule import headline, last_change
from llmpricing.units import PricingFormat, format_price, plain
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.audit import ProviderCoverage, SourceHealth
from pricing_server.grpc_api.convert_held import pending_change
from pricing_server.lookup.answer import Answer, Freshness
from pricing_server.lookup.price import Layer
from pricing_server.lookup.quote import MatchRule
from pricing_server.price_change import ChangeKind, PriceChange
from pricing_server.providers.source import Fault, KeyUse, Notice, Source
from pricing_server.sync.run import SyncOutcome, SyncRun, SyncStatus

MAX_CHANGE_BYTES: Final = 3 * 1024 * 1024
"""Of the changes in one answer, which must stay below gRPC's limit of 4 MiB."""

MAX_ERROR_DETAILS: Final = 1_000

METERS: Final = {meter: pb.Meter.Value(f"METER_{meter.name}") for meter in Meter}
STATES: Final = {state: pb.PriceState.Value(f"PRICE_STATE_{state.name}") for state in PriceState}
LAYERS: Final = {layer: pb.PricingSource.Value(f"PRICING_SOURCE_{layer.name}") for layer in Layer}
COMPARISONS: Final = {one: pb.Comparison.Value(f"COMPARISON_{one.name}") for one in Comparison}
SCOPES: Final = {
    scope: pb.ThresholdScope.Value(f"THRESHOLD_SCOPE_{scope.name}") for scope in ThresholdScope
}
FRESHNESS: Final = {one: pb.Freshness.Value(f"FRESHNESS_{one.name}") for one in Freshness}
MATCH_RULES: Final = {rule: pb.MatchRule.Value(f"MATCH_RULE_{rule.name}") for rule in MatchRule}
CHANGE_KINDS: Final = {kind: pb.ChangeKind.Value(f"CHANGE_KIND_{kind.name}") for kind in ChangeKind}
SYNC_STATUSES: Final = {
    status: pb.SyncStatus.Value(f"SYNC_STATUS_{status.name}") for status in SyncStatus
}
UNITS: Final = {
    pb.PRICE_UNIT_PER_1M_TOKENS: PricingFormat.PER_1M_TOKENS,
    pb.PRICE_UNIT_PER_1K_TOKENS: PricingFormat.PER_1K_TOKENS,
    pb.PRICE_UNIT_PER_TOKEN: PricingFormat.PER_TOKEN,
}


def get_pricing_response(answer: Answer, unit: pb.PriceUnit.ValueType) -> pb.GetPricingResponse:
    """The answer with its headline in `unit`, which is a key of UNITS."""
    price, head = answer.quote.price, answer.head
    return pb.GetPricingResponse(
        pricing=model_pricing(answer, unit),
        match=pb.Match(
            provider=price.provider,
            model_id=price.model_id,
            rule=MATCH_RULES[answer.quote.rule],
        ),
        revision=head.revision if head else None,
        epoch=head.epoch if head else "",
    )


def model_pricing(answer: Answer, unit: pb.PriceUnit.ValueType) -> pb.ModelPricing:
    """What a model costs, with its headline in `unit`, which is a key of UNITS."""
    quote = answer.quote
    price, shown = quote.price, quote.headline
    per = UNITS[unit]
    pricing = pb.ModelPricing(
        provider=price.provider,
        model_id=price.model_id,
        unit=unit,
        rates=[rate_message(rate) for rate in price.card.rates],
        state=STATES[shown.state],
        pricing_source=LAYERS[price.layer],
        source_detail=answer.source_detail,
        currency="USD",
        effective_time=timestamp(quote.effective_time),
        verified_time=timestamp(price.obtained_at),
        freshness=FRESHNESS[answer.freshness],
        rate_card_id=price.card.card_id,
        alias_target=price.alias_target,
        hugging_face_id=price.hugging_face_id,
        price_revision=price.price_revision,
    )
    if shown.prompt is not None:
        pricing.prompt = format_price(shown.prompt, per)
    if shown.completion is not None:
        pricing.completion = format_price(shown.completion, per)
    if shown.request is not None:
        pricing.request = format_price(shown.request)
    if shown.image is not None:
        pricing.image = format_price(shown.image)
    if quote.valid_until is not None:
        pricing.valid_until.FromDatetime(quote.valid_until)
    if price.pending is not None:
        pricing.pending_change.CopyFrom(pending_change(price.pending, per))
    if price.delisted_at is not None:
        pricing.delisted_time.FromDatetime(price.delisted_at)
    return pricing


def sync_provider_response(outcome: SyncOutcome) -> pb.SyncProviderResponse:
    """The outcome of a run, with the changes that fit."""
    duration = outcome.completed_at - outcome.started_at
    response = pb.SyncProviderResponse(
        provider=outcome.source,
        status=SYNC_STATUSES[outcome.status],
        started_at=timestamp(outcome.started_at),
        completed_at=timestamp(outcome.completed_at),
        # Half a millisecond is rounded up, as the log does.
        duration_ms=max(0, (duration // timedelta(microseconds=1) + 500) // 1000),
        error_details=_error_details(outcome.faults),
        sync_run_id=_run_id(outcome.sync_run_id),
        dry_run=outcome.dry_run,
        revision=outcome.revision,
        error_message=outcome.error_message or "",
        notices=_notices(outcome.notices),
    )
    for name, count in outcome.counts.items():
        setattr(response, name, count)
    response.price_changes.extend(fitting(map(price_change, outcome.changes)))
    response.price_changes_truncated = len(response.price_changes) < len(outcome.changes)
    return response


def fitting(changes: Iterable[pb.PriceChange]) -> list[pb.PriceChange]:
    """The first changes that fit in MAX_CHANGE_BYTES together; at least one."""
    found: list[pb.PriceChange] = []
    size = 0
    for change in changes:
        size += change.ByteSize() + 8
        if found and size > MAX_CHANGE_BYTES:
            break
        found.append(change)
    return found


def sync_run(run: SyncRun, *, with_details: bool = True) -> pb.SyncRun:
    """A row of the sync log, with or without what it says of single models."""
    message = pb.SyncRun(
        sync_run_id=_run_id(run.sync_run_id),
        provider=run.source,
        status=SYNC_STATUSES[run.status],
        triggered_by=run.triggered_by,
        started_at=timestamp(run.started_at),
        duration_ms=run.duration_ms,
        error_details=_error_details(run.faults) if with_details else (),
        notices=_notices(run.notices) if with_details else (),
        error_message=run.error_message or "",
        revision=run.revision,
    )
    for name, count in run.counts.items():
        setattr(message, name, count)
    if run.completed_at is not None:
        message.completed_at.FromDatetime(run.completed_at)
    return message


def price_change(change: PriceChange) -> pb.PriceChange:
    """A change with both headlines as they were in effect when it was written."""
    at = change.changed_at
    after = headline(change.new, at)
    message = pb.PriceChange(
        status=CHANGE_KINDS[change.kind],
        provider=change.provider,
        model_id=change.model_id,
        new_state=STATES[after.state],
        revision=change.revision,
        changed_at=timestamp(at),
        changed_by=change.changed_by,
        sync_run_id=_run_id(change.sync_run_id),
        new_rate_card_id=change.new.card_id,
        effective_time=timestamp(last_change(change.new, at) or change.effective_time),
        rates=_rate_changes(change.old, change.new),
        old_rate_card=rate_card(change.old) if change.old is not None else None,
        new_rate_card=rate_card(change.new),
        source=change.source,
    )
    if after.prompt is not None:
        message.new_input = format_price(after.prompt, PricingFormat.PER_1M_TOKENS)
    if after.completion is not None:
        message.new_output = format_price(after.completion, PricingFormat.PER_1M_TOKENS)
    if change.old is not None:
        before = headline(change.old, at)
        message.old_state = STATES[before.state]
        message.old_rate_card_id = change.old.card_id
        if before.prompt is not None:
            message.old_input = format_price(before.prompt, PricingFormat.PER_1M_TOKENS)
        if before.completion is not None:
            message.old_output = format_price(before.completion, PricingFormat.PER_1M_TOKENS)
    return message


def provider(coverage: ProviderCoverage) -> pb.Provider:
    """A seller with its coverage."""
    return pb.Provider(
        provider=coverage.provider,
        display_name=coverage.display_name,
        aliases=coverage.aliases,
        models_listed=coverage.models_listed,
        models_priced=coverage.models_priced,
        models_free=coverage.models_free,
        models_dynamic=coverage.models_dynamic,
        models_unpriced=coverage.models_unpriced,
        models_delisted=coverage.models_delisted,
    )


def source(health: SourceHealth, declared: Source | None, url: str) -> pb.Source:
    """A source with its health, and its declaration if this server has it."""
    has_key = declared is not None and declared.key_use is not KeyUse.NONE
    message = pb.Source(
        source=health.source,
        display_name=health.display_name,
        provider=health.provider,
        rank=health.rank,
        url=url,
        key_variable=declared.key_variable if declared and has_key else "",
        key_required=declared is not None and declared.key_use is KeyUse.REQUIRED,
        last_run=sync_run(health.last_run, with_details=False) if health.last_run else None,
        models_quoted=health.models_quoted,
        models_held=health.models_held,
        evidence=declared.evidence.value if declared else "",
    )
    if health.last_success_time is not None:
        message.last_success_time.FromDatetime(health.last_success_time)
    if health.verified_time is not None:
        message.verified_time.FromDatetime(health.verified_time)
    return message


def rate_card(card: RateCard) -> pb.RateCard:
    """A whole card."""
    return pb.RateCard(
        rate_card_id=card.card_id,
        state=STATES[card.state],
        currency="USD",
        rates=[rate_message(rate) for rate in card.rates],
    )


def rate_message(rate: Rate) -> pb.Rate:
    """A rate of a card; without conditions if it always applies."""
    return pb.Rate(
        meter=METERS[rate.meter],
        price=plain(rate.price),
        per=rate.per,
        conditions=conditions(rate.conditions),
    )


def conditions(when: Conditions) -> pb.Conditions | None:
    """Conditions, or None for those that always hold."""
    if when == ALWAYS:
        return None
    message = pb.Conditions(context=dict(when.context))
    if when.threshold is not None:
        message.threshold.meter = METERS[when.threshold.meter]
        message.threshold.comparison = COMPARISONS[when.threshold.comparison]
        message.threshold.quantity = when.threshold.quantity
        message.threshold.scope = SCOPES[when.threshold.scope]
    if when.utc_window is not None:
        message.utc_window.start = clock_time(when.utc_window.start)
        message.utc_window.end = clock_time(when.utc_window.end)
    if when.effective_from is not None:
        message.effective_from.FromDatetime(when.effective_from)
    if when.effective_until is not None:
        message.effective_until.FromDatetime(when.effective_until)
    return message


def timestamp(instant: datetime) -> Timestamp:
    """An instant as a message."""
    message = Timestamp()
    message.FromDatetime(instant)
    return message


def _rate_changes(old: RateCard | None, new: RateCard) -> Iterable[pb.RateChange]:
    for difference in differences(old, new):
        before, after = difference.old, difference.new
        yield pb.RateChange(
            meter=METERS[difference.rate.meter],
            conditions=conditions(difference.rate.conditions),
            old_price=plain(before.price) if before else None,
            old_per=before.per if before else None,
            new_price=plain(after.price) if after else None,
            new_per=after.per if after else None,
        )


def _error_details(faults: Iterable[Fault]) -> list[pb.ErrorDetail]:
    return [
        pb.ErrorDetail(model_id=fault.model_id, message=fault.message)
        for fault in list(faults)[:MAX_ERROR_DETAILS]
    ]


def _notices(notices: Iterable[Notice]) -> list[pb.Notice]:
    return [
        pb.Notice(
            code=notice.code, message=notice.message, models=notice.models, example=notice.example
        )
        for notice in notices
    ]


def _run_id(sync_run_id: int | None) -> str:
    return "" if sync_run_id is None else str(sync_run_id)
