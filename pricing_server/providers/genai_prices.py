"""The bundled catalogue: the data of the package genai-prices (MIT), models of many sellers.

The meaning of its prices is that of `ModelInfo.get_prices`, `calc_unit_price` and the
constraints in its module `types`; units are those of its unit registry. Only its data
is used: its lookup functions remember every name that they were ever asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from importlib import metadata
from itertools import groupby, pairwise
from operator import or_
from typing import TYPE_CHECKING, Final

from llmpricing.meters import Meter
from llmpricing.rate_card import (
    UNPRICED,
    Comparison,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    Threshold,
    UtcWindow,
)
from llmpricing.units import parse_price
from pricing_server.domain.price_field import HOUR, MILLION, THOUSAND, Field
from pricing_server.domain.source import CATALOGUE_RANK, Release, Source, SourceEvidence
from pricing_server.domain.source_listing import ListedModel, Listing, SourceError
from pricing_server.providers.context_length import context_length
from pricing_server.providers.genai_prices_corrections import corrected
from pricing_server.providers.listing_builder import ListingBuilder, RowError, fragment_text

if TYPE_CHECKING:
    # At run time only where needed: importing the package loads all of its data.
    from genai_prices import types

RELEASED: Final[Mapping[str, datetime]] = {
    "0.2.3": datetime(2026, 11, 10, 21, 51, 41, tzinfo=UTC),
}
"""When a version of the package was published. Its data is as old as that."""

FIELDS: Final[Mapping[str, Field]] = {
    # Of every kind of token: "<kind>_mtok" is the price of a million "<kind>_tokens".
    **{
        f"{meter.removesuffix('_tokens')}_mtok": Field(meter, MILLION)
        for meter in Meter
        if meter.endswith("_tokens")
    },
    "input_mchars": Field(Meter.INPUT_CHARACTERS, MILLION),
    "input_text_messages_kcount": Field(Meter.INPUT_TEXT_MESSAGES, THOUSAND),
    "audio_hours": Field(Meter.AUDIO_SECONDS, HOUR),
    "input_audio_hours": Field(Meter.INPUT_AUDIO_SECONDS, HOUR),
    "output_audio_hours": Field(Meter.OUTPUT_AUDIO_SECONDS, HOUR),
    "input_gpixels": Field(Meter.INPUT_PIXELS, 1_000 * MILLION),
    "input_document_kpages": Field(Meter.INPUT_DOCUMENT_PAGES, THOUSAND),
    "input_annotated_document_kpages": Field(Meter.INPUT_ANNOTATED_DOCUMENT_PAGES, THOUSAND),
    "rerank_searches_kcount": Field(Meter.RERANK_SEARCHES, THOUSAND),
    "web_searches_kcount": Field(Meter.WEB_SEARCHES, THOUSAND),
    "social_searches_kcount": Field(Meter.SOCIAL_SEARCHES, THOUSAND),
    "storage_searches_kcount": Field(Meter.STORAGE_SEARCHES, THOUSAND),
    "code_executions_kcount": Field(Meter.CODE_EXECUTIONS, THOUSAND),
    "requests_kcount": Field(Meter.REQUESTS, THOUSAND),
}

_Steps = list[tuple[int | None, Decimal]]
"""A stated price: (start, price) of each tier, the highest first, and (None, price) of its base."""


@dataclass(frozen=True, slots=True)
class _PriceSet:
    """Prices that hold together, by price key, and when."""

    conditions: Conditions
    prices: Mapping[str, _Steps]

    def rates(self, key: str, conditions: Conditions) -> Iterator[Rate]:
        """The rates of one price key under conditions that may differ from the set's own."""
        for start, price in self.prices[key]:
            if start is None:
                yield FIELDS[key].rate(price, conditions)
            else:
                # All tokens cost the tier's price once more than `start` tokens are input.
                threshold = Threshold(Meter.INPUT_TOKENS, Comparison.ABOVE, start)
                yield FIELDS[key].rate(price, replace(conditions, threshold=threshold))


def read(document: object, received_at: datetime) -> Listing:
    """Turn the package's list of `Provider` objects into rate cards.

    The data was obtained when the package was published, whenever it is read.
    A model without any price is unpriced, and a zero is no price, since the
    catalogue has no way to declare that something is free.
    """
    if not isinstance(document, list) or not document:
        raise SourceError("the catalogue lists no sellers")
    providers: list[types.Provider] = document
    listing = ListingBuilder()
    for provider in providers:
        for model in provider.models:
            listing.read_row(provider.id, model.id, partial(_listed, provider.id, model, listing))
    names = {provider.id: provider.name for provider in providers}
    return listing.build(_RELEASE.released_at, names)


def release(version: str) -> Release:
    """The catalogue as the package of this version ships it.

    Raises RuntimeError for a version without a date in RELEASED.
    """
    if version not in RELEASED:
        raise RuntimeError(
            f"genai-prices {version} is installed, but it is not known when that version was "
            f"published; known are {', '.join(RELEASED)}"
        )
    return Release(version, RELEASED[version], _load)


def _load() -> object:
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot().providers


def _listed(
    provider: str, model: types.ModelInfo, listing: ListingBuilder, model_id: str
) -> ListedModel:
    stated = {"id": model.id, "prices": model.prices, "price_variants": model.price_variants}
    return ListedModel(
        provider=provider,
        model_id=model_id,
        card=_card(provider, model, listing),
        fragment=fragment_text({k: _jsonable(v) for k, v in stated.items() if v is not None}),
        context_length=context_length(model.context_window, "context_window", listing, model_id),
    )


def _card(provider: str, model: types.ModelInfo, listing: ListingBuilder) -> RateCard:
    stated = (
        [(each.constraint, each.prices) for each in model.prices]
        if isinstance(model.prices, list)
        else [(None, model.prices)]
    )
    sets = [
        _PriceSet(_conditions(constraint), _read_prices(prices, model.id, listing))
        for constraint, prices in stated
    ]
    variants = [
        _PriceSet(
            _conditions(variant.constraint, tuple(sorted(variant.when.items()))),
            _read_prices(variant.prices, model.id, listing, is_variant=True),
        )
        for variant in model.price_variants or ()
    ]
    standard = list(_standard_rates(sets))
    # A variant wins over the standard prices, key by key, and over the variants after it.
    overriding = [
        rate
        for variant in variants
        for key in variant.prices
        for rate in variant.rates(key, variant.conditions)
    ]
    # One without prices states that its context is known and costs what is standard,
    # which it does before the variant's date as well.
    confirming = [
        replace(rate, conditions=replace(rate.conditions, context=variant.conditions.context))
        for variant in variants
        if not variant.prices
        for rate in standard
    ]
    rates: dict[object, Rate] = {}
    for rate in (*overriding, *confirming, *standard):
        rates.setdefault(rate.key, rate)
    if not rates:
        return UNPRICED
    return RateCard.of(PriceState.PRICED, corrected((provider, model.id), rates.values()))


def _read_prices(
    stated: types.ModelPrice, model_id: str, listing: ListingBuilder, *, is_variant: bool = False
) -> dict[str, _Steps]:
    prices: dict[str, _Steps] = {}
    for key, value in vars(stated).items():
        if value is None:
            continue
        if key not in FIELDS:
            listing.unknown_key(key, model_id)
            continue
        steps = _read_steps(key, value)
        if all(price for _, price in steps):
            prices[key] = steps
        elif is_variant:
            # Left out, it would be charged at the standard price.
            raise RowError(f"a variant's {key} is zero without being declared free")
        else:
            listing.zero(key, model_id)
    return prices


def _read_steps(key: str, value: Decimal | types.TieredPrices) -> _Steps:
    tiers = [] if isinstance(value, Decimal) else [(t.start, t.price) for t in value.tiers]
    base = value if isinstance(value, Decimal) else value.base
    try:
        return [(start, parse_price(price)) for start, price in (*reversed(tiers), (None, base))]
    except ValueError as error:
        raise RowError(f"{key} is {error}") from None


def _conditions(
    constraint: types.StartDateConstraint | types.TimeOfDateConstraint | None,
    context: tuple[tuple[str, str], ...] = (),
) -> Conditions:
    from genai_prices.types import StartDateConstraint

    if constraint is None:
        return Conditions(context=context)
    if isinstance(constraint, StartDateConstraint):
        start = datetime.combine(constraint.start_date, time.min, UTC)
        return Conditions(context=context, effective_from=start)
    window = UtcWindow(_minute(constraint.start_time), _minute(constraint.end_time))
    return Conditions(context=context, utc_window=window)


def _minute(clock: time) -> int:
    """Minutes after 00:00 UTC. A time without zone is UTC."""
    at = datetime.combine(date(2000, 1, 1), clock)
    at = at.astimezone(UTC) if at.tzinfo else at
    if at.second or at.microsecond:
        raise RowError("a time of day is not a whole minute")
    return at.hour * 60 + at.minute


def _standard_rates(sets: Sequence[_PriceSet]) -> Iterator[Rate]:
    """The prices of conditional sets as rates.

    The last set whose condition holds is the price as a whole, and if none holds the
    first is: what the winning set lacks is unpriced then. So each rate gets the dates
    between which its set wins. By time of day a later set's rates are listed first
    and hide those of earlier sets; only where they would not, for want of a rate of
    that key, does the earlier set's rate get the windows in which its set wins.
    """
    windows = [each.conditions.utc_window for each in sets]
    minutes = sorted({0, *(edge for w in windows if w is not None for edge in (w.start, w.end))})
    dates = sorted({each.conditions.effective_from or _BEGINNING for each in sets} - {_BEGINNING})
    periods = [
        (begin, end, [_winner(sets, (begin or _BEGINNING) + timedelta(minutes=m)) for m in minutes])
        for begin, end in pairwise([None, *dates, None])
    ]
    for position, each in reversed(list(enumerate(sets))):
        for key in each.prices:
            listed = []
            for begin, end, winners in periods:
                wins = [winner == position for winner in winners]
                hidden = [winner > position and key in sets[winner].prices for winner in winners]
                listed.append((begin, end, _windows(minutes, wins, hidden)))
            for day, run in groupby(listed, key=lambda period: period[2]):
                spans = list(run)
                for window in day:
                    conditions = Conditions(
                        utc_window=window, effective_from=spans[0][0], effective_until=spans[-1][1]
                    )
                    yield from each.rates(key, conditions)


def _winner(sets: Sequence[_PriceSet], at: datetime) -> int:
    """The position of the last set whose condition holds, or of the first set."""
    holding = (position for position, each in enumerate(sets) if each.conditions.in_effect(at))
    return max(holding, default=0)


def _windows(
    minutes: Sequence[int], wins: Sequence[bool], hidden: Sequence[bool]
) -> list[UtcWindow | None]:
    """Times of day for the rates of a set that wins, or is hidden, from each minute to the next.

    None is the whole day: a set that is hidden whenever it does not win needs no window.
    """
    if not any(wins):
        return []
    if all(map(or_, wins, hidden)):
        return [None]
    turns = list(zip(minutes, [wins[-1], *wins[:-1]], wins, strict=True))
    starts = [minute for minute, before, now in turns if now and not before]
    ends = [minute for minute, before, now in turns if before and not now]
    # The day is a circle: a window without an end after its start ends on the next day.
    return [UtcWindow(at, next((end for end in ends if end > at), ends[0])) for at in starts]


def _jsonable(value: object) -> object:
    """The package's objects as JSON, as they are written in the catalogue."""
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    if hasattr(value, "__dict__"):
        return {key: _jsonable(item) for key, item in vars(value).items() if item is not None}
    return value


_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)

_RELEASE: Final = release(metadata.version("genai-prices"))

SOURCE: Final = Source(
    slug="genai-prices",
    display_name="genai-prices, the bundled catalogue",
    rank=CATALOGUE_RANK,
    read=read,
    evidence=SourceEvidence.RECORDED,
    release=_RELEASE,
    fresh_for=timedelta(days=30),
    fields=FIELDS,
    context_length_field="context_window",
    facts="The package's data, types and unit registry: 2,330 models of 47 sellers.",
    notes=(
        "Its dates, times of day, tiers (above N input tokens, all tokens at the rate) and "
        "variants become conditions.",
        "A model without prices is `UNPRICED`, not free.",
        "Prices per hour of audio stay per 3,600 seconds, since they do not divide exactly.",
        "Groq's Whisper models are charged for 10 seconds at least: so does the package's code.",
        "DeepSeek's peak hours hold from Monday to Friday, which the package's format cannot say: "
        "a table of corrections does.",
    ),
)
