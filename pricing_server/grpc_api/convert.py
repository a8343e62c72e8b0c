"""Domain objects as messages of the contract."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final, TypeVar, assert_never

from llmpricing.rate_card import (
    RateCard,
    differences,
)
from llmpricing.schedule import headline, last_change
from llmpricing.units import PricingFormat, format_price, plain
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.audit import ProviderCoverage
from pricing_server.grpc_api.convert_held import pending_change
from pricing_server.grpc_api.convert_rates import (
    METERS,
    STATES,
    conditions,
    rate_card,
    rate_message,
    timestamp,
)
from pricing_server.lookup.answer import Answer, Freshness
from pricing_server.lookup.evaluated_price import EvaluatedPrice, MatchRule
from pricing_server.lookup.price import Layer
from pricing_server.price_change import ChangeKind, OriginKind, PriceChange
from pricing_server.providers.source import Fault, Notice
from pricing_server.sync.run import SyncOutcome, SyncRun, SyncStatus

MAX_PART_BYTES: Final = 3 * 1024 * 1024
"""Of the changes or prices in one answer, which must stay below gRPC's limit of 4 MiB."""

MAX_ERROR_DETAILS: Final = 1_000

Part = TypeVar("Part", pb.PriceChange, pb.ModelPricing)

LAYERS: Final = {layer: pb.PricingSource.Value(f"PRICING_SOURCE_{layer.name}") for layer in Layer}
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
    head = answer.head
    return pb.GetPricingResponse(
        pricing=model_pricing(answer, unit),
        match=match(answer.evaluated),
        revision=head.revision if head else None,
        epoch=head.epoch if head else "",
    )


def match(evaluated: EvaluatedPrice) -> pb.Match:
    """Which model answered and why."""
    return pb.Match(
        provider=evaluated.price.provider,
        model_id=evaluated.price.model_id,
        rule=MATCH_RULES[evaluated.rule],
    )


def model_pricing(
    answer: Answer, unit: pb.PriceUnit.ValueType, *, with_rates: bool = True
) -> pb.ModelPricing:
    """What a model costs, with its headline in `unit`, which is a key of UNITS."""
    evaluated = answer.evaluated
    price, shown = evaluated.price, evaluated.headline
    per = UNITS[unit]
    pricing = pb.ModelPricing(
        provider=price.provider,
        model_id=price.model_id,
        unit=unit,
        rates=[rate_message(rate) for rate in price.card.rates] if with_rates else (),
        state=STATES[shown.state],
        pricing_source=LAYERS[price.layer],
        source_detail=answer.source_detail,
        currency="USD",
        effective_time=timestamp(evaluated.effective_time),
        verified_time=timestamp(price.obtained_at),
        freshness=FRESHNESS[answer.freshness],
        rate_card_id=price.card.card_id,
        alias_target=price.alias_target,
        hugging_face_id=price.hugging_face_id,
        context_length=price.context_length,
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
    if evaluated.valid_until is not None:
        pricing.valid_until.FromDatetime(evaluated.valid_until)
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


def fitting(parts: Iterable[Part]) -> list[Part]:
    """The first parts that fit in MAX_PART_BYTES together; at least one."""
    found: list[Part] = []
    size = 0
    for part in parts:
        size += part.ByteSize() + 8
        if found and size > MAX_PART_BYTES:
            break
        found.append(part)
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
        changed_by=_changed_by(change),
        sync_run_id=_run_id(change.origin.sync_run_id),
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


def _changed_by(change: PriceChange) -> str:
    origin = change.origin
    match origin.kind:
        case OriginKind.SYNC:
            return f"api_sync:{change.source}"
        case OriginKind.REVERT:
            return f"revert:{origin.reverted_run_id}:{origin.note}"
        case OriginKind.APPROVAL:
            return f"approve:{origin.held_change_id}:{origin.note}"
        case OriginKind.OVERRIDE_SET:
            return f"override:{origin.note}"
        case OriginKind.OVERRIDE_CLEARED:
            return f"clear_override:{origin.note}"
        case OriginKind.OVERRIDE_ENDED:
            return "override_ended"
    assert_never(origin.kind)


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
        models_held=coverage.models_held,
    )


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
