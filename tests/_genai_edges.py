"""Where the price of a model of genai-prices may change: instants, contexts, sizes of a request.

And where its price is known to be wrong: `asked_at`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta

from genai_prices.types import (
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
"""A Friday."""

WEEKEND = [NOW + timedelta(days=1), NOW + timedelta(days=2)]

OFF_ON_WEEKENDS = {"deepseek-flash", "deepseek-v4-flash", "deepseek-v4-pro"}
"""Models whose peak hours the package states for every day, all of them DeepSeek's. They are
Monday's to Friday's."""

Context = Mapping[str, str]
Constraint = StartDateConstraint | TimeOfDateConstraint | None


def asked_at(model: ModelInfo, at: datetime) -> datetime:
    """When the package says what a model costs at an instant: then, but for the peak hours of
    OFF_ON_WEEKENDS at a weekend. What they cost is what the same day's noon does."""
    at = at.astimezone(UTC)
    hours = [c for c in constraints(model) if isinstance(c, TimeOfDateConstraint)]
    if model.id in OFF_ON_WEEKENDS and hours and at.isoweekday() > 5 and _is_peak(at):
        return at.replace(hour=12, minute=0, second=0, microsecond=0)
    return at


def _is_peak(at: datetime) -> bool:
    return 1 <= at.hour < 4 or 6 <= at.hour < 10


def constraints(model: ModelInfo) -> list[Constraint]:
    conditional = model.prices if isinstance(model.prices, list) else []
    return [each.constraint for each in (*conditional, *(model.price_variants or ()))]


def instants(model: ModelInfo) -> set[datetime]:
    """Around each edge of the model's dates and times of day, and today.

    Times of day are those of a weekend too.
    """
    starts = [c.start_date for c in constraints(model) if isinstance(c, StartDateConstraint)]
    midnights = [datetime.combine(start, time.min, UTC) for start in starts]
    found = {NOW} | {m + s * timedelta(seconds=1) for m in midnights for s in (-1, 0, 1)}
    days = {day.date() for moment in (NOW, *midnights) for day in (moment, moment - timedelta(1))}
    days |= {moment.date() for moment in WEEKEND}
    for constraint in constraints(model):
        if isinstance(constraint, TimeOfDateConstraint):
            for day, edge in itertools.product(days, (constraint.start_time, constraint.end_time)):
                moment = datetime.combine(day, edge, edge.tzinfo or UTC).astimezone(UTC)
                found |= {moment + m * timedelta(minutes=1) for m in (-1, 0, 1)}
    return found


def contexts(model: ModelInfo) -> list[Context]:
    """None, each variant's, every two of them together, and one that nobody knows."""
    stated = [variant.when for variant in model.price_variants or ()]
    pairs = [{**one, **two} for one, two in itertools.combinations(stated, 2)]
    return [{}, {"unheard": "of"}, *stated, *({**when, "unheard": "of"} for when in stated), *pairs]


def token_counts(model: ModelInfo) -> set[int]:
    conditional = model.prices if isinstance(model.prices, list) else []
    plain = [model.prices] if isinstance(model.prices, ModelPrice) else []
    priced = (*plain, *(each.prices for each in (*conditional, *(model.price_variants or ()))))
    starts = {
        tier.start
        for prices in priced
        for price in vars(prices).values()
        if isinstance(price, TieredPrices)
        for tier in price.tiers
    }
    return {0, *(max(0, start + step) for start in starts for step in (-1, 0, 1))}
