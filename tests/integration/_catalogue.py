"""What the package genai-prices says of a model: the reference that answers are held against.

It asks the package itself (`ModelInfo.get_prices`) instead of the server's own reading of it,
at the instant whose prices hold (`asked_at`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

from genai_prices import types
from genai_prices.data_snapshot import get_snapshot

from tests._genai_edges import asked_at

_MINUTE = timedelta(minutes=1)


def sellers_of(name: str) -> list[tuple[str, types.ModelInfo]]:
    """(seller, model) of every model with this in its id."""
    return [
        (provider.id, model)
        for provider in get_snapshot().providers
        for model in provider.models
        if name in model.id
    ]


def model_of(provider: str, model_id: str) -> types.ModelInfo:
    (found,) = [
        model
        for seller, model in sellers_of(model_id)
        if (seller, model.id) == (provider, model_id)
    ]
    return found


def provider_of(slug: str) -> types.Provider:
    (found,) = [provider for provider in get_snapshot().providers if provider.id == slug]
    return found


def per_million(model: types.ModelInfo, at: datetime) -> tuple[str | None, str | None]:
    """Prompt and completion in USD per 1M tokens in the standard context and lowest band."""
    stated = vars(model.get_prices(asked_at(model, at)))
    return _written(stated.get("input_mtok"), 0), _written(stated.get("output_mtok"), 0)


def per_unit(model: types.ModelInfo, at: datetime, digits: int) -> tuple[str | None, str | None]:
    """The same per 10^(6 - digits) tokens."""
    stated = vars(model.get_prices(asked_at(model, at)))
    return _written(stated.get("input_mtok"), digits), _written(stated.get("output_mtok"), digits)


def next_change(model: types.ModelInfo, at: datetime) -> datetime | None:
    """The first instant after `at` with other prices, in any context."""
    now = _prices(model, at)
    return next(
        (
            when
            for when in sorted(_instants(model, at))
            if when > at and _prices(model, when) != now
        ),
        None,
    )


def last_change(model: types.ModelInfo, at: datetime) -> datetime | None:
    """The latest instant, not after `at`, at which prices changed."""
    now = _prices(model, at)
    earlier = (when for when in sorted(_instants(model, at), reverse=True) if when <= at)
    return next((when for when in earlier if _prices(model, when - _MINUTE) != now), None)


def _prices(model: types.ModelInfo, at: datetime) -> list[types.ModelPrice]:
    at = asked_at(model, at)
    contexts = [variant.when for variant in model.price_variants or ()]
    return [model.get_prices(at), *(model.get_prices(at, dict(context)) for context in contexts)]


def _instants(model: types.ModelInfo, at: datetime) -> Iterator[datetime]:
    """Every minute of the days around `at`, with a whole weekend on either side, and the
    beginning of every date that is stated."""
    conditional = model.prices if isinstance(model.prices, list) else []
    for stated in [*conditional, *(model.price_variants or ())]:
        if isinstance(stated.constraint, types.StartDateConstraint):
            yield datetime.combine(stated.constraint.start_date, time.min, UTC)
    midnight = datetime.combine(at.date(), time.min, UTC)
    for minute in range(-4 * 24 * 60, 5 * 24 * 60):
        yield midnight + minute * _MINUTE


def _written(price: object, digits: int) -> str | None:
    """A price as the contract writes it: two decimals at least, else exact, no exponent."""
    if price is None:
        return None
    base = price.base if isinstance(price, types.TieredPrices) else price
    assert isinstance(base, Decimal)
    whole, _, decimals = f"{base.scaleb(-digits):f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"
