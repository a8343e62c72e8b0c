"""A price evaluated at an instant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from llmpricing.matching import MatchRule
from llmpricing.rate_card import PriceState
from llmpricing.schedule import Headline, headline, next_change, rates_in_effect
from pricing_server.domain.override import effective_since
from pricing_server.domain.price import Layer, Price
from pricing_server.domain.sellers import answer_order, is_maker


@dataclass(frozen=True, slots=True)
class EvaluatedPrice:
    """A price evaluated at an instant; it holds from `effective_time` until `valid_until`."""

    price: Price
    rule: MatchRule
    headline: Headline
    effective_time: datetime
    valid_until: datetime | None
    stated: EvaluatedPrice | None = None
    """Set where an override answers: what answers without overrides."""
    without_price: tuple[str, ...] = ()
    """The other sellers of the id that state no price, and answer before this one where a layer
    below has a price of theirs."""

    @property
    def ends_at(self) -> datetime | None:
        """When the price, or what answers without overrides, changes by itself."""
        ends = (self.valid_until, self.stated.valid_until if self.stated else None)
        return min((end for end in ends if end is not None), default=None)

    def is_backdated(self, at: datetime) -> bool:
        """Whether the price, evaluated at an instant, is of before anything was stated, and
        the card itself does not say that its rates were in effect then."""
        return self.price.effective_time > at and not any(
            rate.conditions.effective_from is not None
            for rate in rates_in_effect(self.price.card, at)
        )

    @property
    def has_price(self) -> bool:
        """Whether a price is known: dynamic and free count, unpriced does not."""
        return self.headline.state is not PriceState.UNPRICED


def evaluate(prices: Sequence[Price], seller: str | None, now: datetime) -> EvaluatedPrice:
    """The price that answers, evaluated now: of a listed model before a delisted one, then
    one that is known before none, then by seller.
    `prices` are those of one model id, of `seller` alone if one was asked for."""
    found = _evaluated(prices, seller, now)
    if found.price.layer is not Layer.OVERRIDE:
        return found
    stated = _evaluated([price.without_override for price in prices], seller, now)
    return replace(found, stated=stated)


def _evaluated(prices: Sequence[Price], seller: str | None, now: datetime) -> EvaluatedPrice:
    price, *others = (
        sorted(prices, key=lambda each: _precedence(each, now)) if len(prices) > 1 else prices
    )
    if seller is not None:
        rule = MatchRule.EXACT
    elif is_maker(price.provider, price.model_id):
        rule = MatchRule.EXACT_AT_MAKER
    else:
        rule = MatchRule.EXACT_AT_SELLER
    ends = (next_change(price.card, now), price.until, price.superseded_at)
    return EvaluatedPrice(
        price=price,
        rule=rule,
        headline=headline(price.card, now),
        effective_time=effective_since(price.source, price.card, price.effective_time, now),
        valid_until=min((end for end in ends if end is not None), default=None),
        without_price=tuple(
            other.provider for other in others if _gives_way_without_price(other, price, now)
        ),
    )


def _precedence(price: Price, now: datetime) -> tuple[bool, bool, tuple[int, int, str]]:
    order = answer_order(price.provider, price.model_id)
    return price.delisted_at is not None, _is_unpriced(price, now), order


def _gives_way_without_price(other: Price, price: Price, now: datetime) -> bool:
    """Whether `other` comes after the price that answers for want of a price alone."""
    delisted, is_unpriced, order = _precedence(other, now)
    with_price = delisted, False, order
    return is_unpriced and with_price < _precedence(price, now)


def _is_unpriced(price: Price, now: datetime) -> bool:
    return headline(price.card, now).state is PriceState.UNPRICED
