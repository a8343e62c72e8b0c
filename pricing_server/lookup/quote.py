"""A price evaluated at an instant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from llmpricing.matching import MatchRule as MatchRule
from llmpricing.rate_card import PriceState
from llmpricing.schedule import Headline, headline, last_change, next_change, rates_in_effect
from pricing_server.lookup.price import Layer, Price
from pricing_server.sellers import BY_NAME, answer_order, is_maker


@dataclass(frozen=True, slots=True)
class Quote:
    """A price evaluated at an instant; it holds from `effective_time` until `valid_until`."""

    price: Price
    rule: MatchRule
    headline: Headline
    effective_time: datetime
    valid_until: datetime | None
    stated: Quote | None = None
    """Set where an override answers: what answers without overrides."""

    @property
    def ends_at(self) -> datetime | None:
        """When the quote, or what answers without overrides, changes by itself."""
        ends = (self.valid_until, self.stated.valid_until if self.stated else None)
        return min((end for end in ends if end is not None), default=None)

    def is_backdated(self, at: datetime) -> bool:
        """Whether the quote, evaluated at an instant, is of before anything was stated, and
        the card itself does not say that its rates were in effect then."""
        return self.price.effective_time > at and not any(
            rate.conditions.effective_from is not None
            for rate in rates_in_effect(self.price.card, at)
        )

    @property
    def has_price(self) -> bool:
        """Whether a price is known: dynamic and free count, unpriced does not."""
        return self.headline.state is not PriceState.UNPRICED


def evaluate(prices: Sequence[Price], seller: str | None, now: datetime) -> Quote:
    """The price that answers, evaluated now: of a listed model before a delisted one, then
    by seller; of those that follow by name one with a price before one without.
    `prices` are those of one model id, of `seller` alone if one was asked for."""
    quote = _evaluated(prices, seller, now)
    if quote.price.layer is not Layer.OVERRIDE:
        return quote
    stated = _evaluated([price.without_override for price in prices], seller, now)
    return replace(quote, stated=stated)


def _evaluated(prices: Sequence[Price], seller: str | None, now: datetime) -> Quote:
    price = min(prices, key=_precedence)
    if seller is not None:
        rule = MatchRule.EXACT
    elif is_maker(price.provider, price.model_id):
        rule = MatchRule.EXACT_AT_MAKER
    else:
        rule = MatchRule.EXACT_AT_SELLER
    ends = (next_change(price.card, now), price.until, price.superseded_at)
    return Quote(
        price=price,
        rule=rule,
        headline=headline(price.card, now),
        effective_time=last_change(price.card, now) or price.effective_time,
        valid_until=min((end for end in ends if end is not None), default=None),
    )


def _precedence(price: Price) -> tuple[bool, int, bool, int, str]:
    group, place, provider = answer_order(price.provider, price.model_id)
    is_unpriced = group >= BY_NAME and price.card.state is PriceState.UNPRICED
    return price.delisted_at is not None, group, is_unpriced, place, provider
