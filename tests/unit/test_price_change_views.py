"""How much of a change of price is answered."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpricing.meters import Meter
from llmpricing.rate_card import Conditions, PriceState, Rate, RateCard
from llmpricing.v1 import pricing_pb2 as pb
from pricing_server.domain.errors import InvalidArgument
from pricing_server.domain.price_change import ChangeKind, ChangeOrigin, OriginKind, PriceChange
from pricing_server.grpc_api.wire.price_changes import check_view, price_change
from tests.unit._strategies import cards, many

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def change(old: RateCard | None, new: RateCard, sync_run_id: int | None = None) -> PriceChange:
    return PriceChange(
        kind=ChangeKind.CHANGED,
        provider="acme",
        model_id="one",
        old=old,
        new=new,
        source="api",
        effective_time=NOON,
        changed_at=NOON,
        origin=ChangeOrigin(OriginKind.SYNC, "admin", sync_run_id=sync_run_id),
    )


def test_a_headline_has_the_state_the_prices_and_the_meters_that_changed() -> None:
    flex = Conditions(context=(("service_tier", "flex"),))
    before = RateCard.of(
        PriceState.PRICED,
        [
            Rate(Meter.INPUT_TOKENS, Decimal("0.000001")),
            Rate(Meter.OUTPUT_TOKENS, Decimal("0.000002")),
            Rate(Meter.CACHE_READ_TOKENS, Decimal("0.0000001")),
        ],
    )
    after = RateCard.of(
        PriceState.PRICED,
        [
            Rate(Meter.INPUT_TOKENS, Decimal("0.0000005"), flex),
            Rate(Meter.INPUT_TOKENS, Decimal("0.000003")),
            Rate(Meter.OUTPUT_TOKENS, Decimal("0.000002")),
        ],
    )
    message = price_change(change(before, after), pb.CHANGE_VIEW_HEADLINE)
    assert (message.old_input, message.new_input) == ("1.00", "3.00")
    assert (message.old_output, message.new_output) == ("2.00", "2.00")
    assert (message.old_state, message.new_state) == (
        pb.PRICE_STATE_PRICED,
        pb.PRICE_STATE_PRICED,
    )
    assert list(message.meters) == [pb.METER_INPUT_TOKENS, pb.METER_CACHE_READ_TOKENS]


@given(st.none() | cards, cards)
@many
def test_a_headline_is_the_full_change_without_its_rates_and_cards(
    old: RateCard | None, new: RateCard
) -> None:
    one = change(old, new)
    full = price_change(one, pb.CHANGE_VIEW_FULL)
    assert full.new_rate_card.rate_card_id == new.card_id
    assert full.HasField("old_rate_card") == (old is not None)
    assert {each.meter for each in full.rates} == {*full.meters}
    for field in ("rates", "old_rate_card", "new_rate_card"):
        full.ClearField(field)
    assert price_change(one, pb.CHANGE_VIEW_HEADLINE) == full
    assert price_change(one, pb.CHANGE_VIEW_UNSPECIFIED) == full


def test_what_an_origin_does_not_have_is_absent() -> None:
    card = RateCard.of(PriceState.PRICED, [Rate(Meter.INPUT_TOKENS, Decimal(1))])
    message = price_change(change(None, card, sync_run_id=7), pb.CHANGE_VIEW_HEADLINE).origin
    assert message == pb.ChangeOrigin(kind=pb.ORIGIN_KIND_SYNC, actor="admin", sync_run_id="7")
    assert not message.HasField("note")


def test_a_view_that_the_contract_does_not_know_is_refused() -> None:
    with pytest.raises(InvalidArgument) as raised:
        check_view(9)  # type: ignore[arg-type]
    assert raised.value.field == "view"


def test_an_override_is_in_effect_since_it_was_set_whatever_dates_its_rates_have() -> None:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    dated = Rate(Meter.INPUT_TOKENS, Decimal(1), Conditions(effective_from=begun))
    card = RateCard.of(PriceState.PRICED, [dated])
    stated = change(None, card)
    overridden = replace(stated, source="override")
    view = pb.CHANGE_VIEW_HEADLINE
    assert price_change(stated, view).effective_time.ToDatetime(UTC) == begun
    since = price_change(overridden, view).effective_time.ToDatetime(UTC)
    assert since == stated.effective_time > begun
