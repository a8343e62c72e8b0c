"""Completing a rate card, rate by rate: what the source in force leaves out, from others.

The rules:

- Another source may complete the card if both state the same base prices: input and output
  tokens, or for a model without tokens every standard rate, within 1 %.
- Filled are groups: a meter or a context that the card lacks, a ladder of tiers, a set of windows.
  The first source in rank that states a group fills it. No rate that is stated changes.
- Where a source states all that it charges, the absence of a rate is a statement, and stays.
- Not filled: a meter on which the two differ, in whatever context; a second unit of what is
  priced already; a ladder where one stands; a zero, which may mean anything at a catalogue; and
  what breaks its kind, as a batch price above the standard one does.
- A filled rate holds in the period of the prices that were compared, and in no other. Where a base
  price depends on the time of day nothing is filled.
- A place multiplies the whole card, completed as it is, if a source states one number for it.
- Where nobody states two conditions together (a tier in batch), the dearer rate comes first: a
  card must not make a discount up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import Conditions, PriceState, Rate, RateCard
from pricing_server.domain.source import SAYS_NOTHING, Coverage
from pricing_server.domain.uplift import uplifted
from pricing_server.sync.agreement import TOLERANCE
from pricing_server.sync.compared_period import ComparedDates, is_within
from pricing_server.sync.places import PlaceUplift, at_all_places, multipliers, place_of
from pricing_server.sync.stated_prices import (
    BASE,
    STANDARD,
    Context,
    StatedPrices,
    is_same_price,
    is_special,
    standard_rate,
)

# Ways to count one and the same thing, of which a card prices one.
_UNITS_OF_ONE_THING: Final[tuple[frozenset[Meter], ...]] = (
    frozenset({Meter.AUDIO_SECONDS, Meter.INPUT_AUDIO_SECONDS, Meter.INPUT_AUDIO_TOKENS}),
    frozenset({Meter.AUDIO_SECONDS, Meter.OUTPUT_AUDIO_SECONDS, Meter.OUTPUT_AUDIO_TOKENS}),
    frozenset({Meter.INPUT_IMAGES, Meter.INPUT_PIXELS, Meter.INPUT_IMAGE_TOKENS}),
    frozenset({Meter.OUTPUT_IMAGES, Meter.OUTPUT_IMAGE_TOKENS}),
    frozenset({Meter.INPUT_TEXT_MESSAGES, Meter.INPUT_TEXT_TOKENS, Meter.INPUT_CHARACTERS}),
    frozenset({Meter.INPUT_DOCUMENT_PAGES, Meter.INPUT_ANNOTATED_DOCUMENT_PAGES}),
)
# Where tokens of this direction have a price, these would be charged a second time.
_COUNTED_AS_TOKENS: Final[Mapping[Meter, frozenset[Meter]]] = {
    Meter.INPUT_TOKENS: frozenset(
        {
            Meter.AUDIO_SECONDS,
            Meter.INPUT_AUDIO_SECONDS,
            Meter.INPUT_CHARACTERS,
            Meter.INPUT_DOCUMENT_PAGES,
            Meter.INPUT_IMAGES,
            Meter.INPUT_PIXELS,
            Meter.INPUT_TEXT_MESSAGES,
        }
    ),
    Meter.OUTPUT_TOKENS: frozenset({Meter.OUTPUT_AUDIO_SECONDS, Meter.OUTPUT_IMAGES}),
}

_DISCOUNTS: Final = frozenset({("processing", "batch"), ("service_tier", "flex")})
_SURCHARGES: Final = frozenset({("service_tier", "priority"), ("speed", "fast")})
_CACHE_READS: Final[Mapping[Meter, Meter]] = {
    Meter.CACHE_READ_TOKENS: Meter.INPUT_TOKENS,
    Meter.CACHE_TEXT_READ_TOKENS: Meter.INPUT_TEXT_TOKENS,
    Meter.CACHE_AUDIO_READ_TOKENS: Meter.INPUT_AUDIO_TOKENS,
    Meter.CACHE_IMAGE_READ_TOKENS: Meter.INPUT_IMAGE_TOKENS,
    Meter.CACHE_VIDEO_READ_TOKENS: Meter.INPUT_VIDEO_TOKENS,
}
# In the recorded data, of rates that two sources state, modes cost between a third and six times
# what is standard; a rate of 50 times its base is one source's slip.
_LEAST_OF_BASE: Final = Decimal("0.1")
_MOST_OF_BASE: Final = Decimal(10)


@dataclass(frozen=True, slots=True)
class StatedCard:
    """What one source states of a model; the first in rank is in force."""

    source: str
    card: RateCard
    coverage: Coverage = SAYS_NOTHING


class UnfilledReason(StrEnum):
    """Why a rate that another source states is not filled."""

    BASE_DIFFERS = "base differs"
    """The two do not state the same input and output price."""
    ALL_IS_STATED = "all is stated"
    """The source in force states all that it charges."""
    DIFFERS = "differs"
    """The two differ on the meter, or in the context."""
    TIERS_STAND = "tiers stand"
    """The card has tiers or windows of its own."""
    SECOND_UNIT = "second unit"
    """It would charge a second time what the card charges by another unit."""
    NO_STANDARD_RATE = "no standard rate"
    """It is a condition of what has no standard rate on the card."""
    ZERO = "zero"
    """A zero may mean anything."""
    BREAKS_ITS_KIND = "breaks its kind"
    """Such as a batch price above the standard one."""


@dataclass(frozen=True, slots=True)
class UnfilledRate:
    """A rate that a source states and that the card in force lacks."""

    source: str
    rate: Rate
    reason: UnfilledReason


@dataclass(frozen=True, slots=True)
class CompletedCard:
    """A card, and who states each of its rates, in their order."""

    card: RateCard
    sources: tuple[str, ...]
    unfilled: tuple[UnfilledRate, ...] = ()
    """What others state that the card lacks."""

    @classmethod
    def alone(cls, source: str, card: RateCard) -> CompletedCard:
        """The card as one source states it."""
        return cls(card, (source,) * len(card.rates))


def completed(winner: StatedCard, others: Iterable[StatedCard], at: datetime) -> CompletedCard:
    """The card of the source in force with what others, the first in rank first, add to it."""
    prices = StatedPrices(winner.card, at)
    if winner.card.state is not PriceState.PRICED or not prices.base or prices.is_windowed:
        return CompletedCard.alone(winner.source, winner.card)
    draft = _Draft(winner, at)
    places = {
        place: PlaceUplift(each, winner.source) for place, each in multipliers(prices).items()
    }
    for other in others:
        if other.card.state is not PriceState.PRICED:
            continue
        theirs = StatedPrices(other.card, at)
        if not theirs.has_base_of(prices):
            draft.leave_unfilled(other.card.rates, other.source, UnfilledReason.BASE_DIFFERS)
            continue
        draft.fill_from(other.source, theirs, ComparedDates(prices, theirs))
        for place, multiplier in multipliers(theirs).items():
            if not winner.coverage.excludes(place):
                places.setdefault(place, PlaceUplift(multiplier, other.source))
    return _with_places(draft.finished(), places)


def is_stated(rate: Rate, card: RateCard, whole: RateCard, at: datetime) -> bool:
    """Whether a card states a rate of a whole one, for its period or for longer: as it is, or by
    what it costs more at a place."""
    if any(
        one.meter is rate.meter
        and one.same_price_as(rate)
        and is_within(rate.conditions, one.conditions)
        for one in card.rates
    ):
        return True
    place = place_of(rate.conditions.context)
    multiplier = multipliers(StatedPrices(card, at)).get(place) if place else None
    return multiplier is not None and rate in uplifted(whole.rates, multiplier, dict(place))


def _with_places(found: CompletedCard, places: Mapping[Context, PlaceUplift]) -> CompletedCard:
    stating = {*found.sources, *(place.source for place in places.values())}
    if not places or len(stating) == 1:
        return found  # As the source in force states it.
    told = dict(zip(found.card.rates, found.sources, strict=True))
    rates = at_all_places(told, places)
    card = RateCard.of(PriceState.PRICED, rates)
    return CompletedCard(card, tuple(rates[rate] for rate in card.rates), found.unfilled)


class _Draft:
    """A card that is being completed."""

    def __init__(self, winner: StatedCard, at: datetime) -> None:
        self._at = at
        self._coverage = winner.coverage
        self._rates: dict[Meter, list[Rate]] = {}
        for rate in winner.card.rates:
            self._rates.setdefault(rate.meter, []).append(rate)
        self._source = winner.source
        self._filled: dict[tuple[Meter, Conditions], str] = {}
        self._unfilled: list[UnfilledRate] = []

    def fill_from(self, source: str, prices: StatedPrices, dates: ComparedDates) -> None:
        """Fill what the card lacks and a source with the same base prices states."""
        theirs, standard = prices.by_context, prices.standard
        for context in sorted(theirs, key=len):
            if place_of(context):
                continue  # A place multiplies the whole card, when it is complete.
            mine = self._in_context(context)
            refused = self._refused_context(context, mine, theirs[context])
            for meter, stated in theirs[context].items():
                # Where the card has the meter, its tiers and windows may still be lacking.
                group = [rate for rate in stated if meter not in mine or is_special(rate)]
                period = dates.period(meter)
                held = [one for rate in group if (one := period.of(rate)) is not None]
                # Of those that differ beyond the period alone, the first hides the others in it.
                rates = list({one.key: one for one in reversed(held)}.values())[::-1]
                if not rates:
                    continue
                reason = (
                    refused
                    or self._refused_meter(meter, context, mine, standard)
                    or self._refused_prices(meter, context, rates)
                )
                if reason is None:
                    self._add(rates, source)
                else:
                    self.leave_unfilled(rates, source, reason)

    def leave_unfilled(self, rates: Iterable[Rate], source: str, reason: UnfilledReason) -> None:
        """Note why rates of a source are not filled."""
        self._unfilled += [UnfilledRate(source, rate, reason) for rate in rates]

    def finished(self) -> CompletedCard:
        """The card as it is now. What another source filled in the end was not left out."""
        placed = [rate for rates in self._rates.values() for rate in rates]
        has = {(rate.meter, rate.conditions.context, is_special(rate)) for rate in placed}
        card = RateCard.of(PriceState.PRICED, placed)
        return CompletedCard(
            card,
            tuple(self._filled.get(rate.key, self._source) for rate in card.rates),
            tuple(
                one
                for one in self._unfilled
                if (one.rate.meter, one.rate.conditions.context, is_special(one.rate)) not in has
            ),
        )

    def _refused_context(
        self,
        context: Context,
        mine: Mapping[Meter, Sequence[Rate]],
        theirs: Mapping[Meter, Sequence[Rate]],
    ) -> UnfilledReason | None:
        """Why nothing of a context is filled."""
        if self._coverage.excludes(context):
            return UnfilledReason.ALL_IS_STATED
        if context == STANDARD:
            return None
        if not all(
            is_same_price(mine[meter], theirs[meter], self._at) for meter in theirs if meter in mine
        ):
            return UnfilledReason.DIFFERS
        # Output alone at the price of a mode would charge its input at the standard one.
        reasons = (
            self._refused_prices(meter, context, theirs[meter])
            for meter in BASE
            if meter in theirs and meter not in mine
        )
        return next((reason for reason in reasons if reason is not None), None)

    def _refused_meter(
        self,
        meter: Meter,
        context: Context,
        mine: Mapping[Meter, Sequence[Rate]],
        theirs: Mapping[Meter, Sequence[Rate]],
    ) -> UnfilledReason | None:
        """Why a meter is not filled. `mine` are the rates of the card in this context, `theirs`
        those of the other source in the standard one."""
        stands = self._standard(meter)
        if stands and meter in theirs and not is_same_price(stands, theirs[meter], self._at):
            return UnfilledReason.DIFFERS
        if meter in mine:
            if self._coverage.has_all_tiers:
                return UnfilledReason.ALL_IS_STATED
            has_conditions = any(is_special(rate) for rates in mine.values() for rate in rates)
            # A ladder and windows at once are one statement that no half of may be taken.
            return UnfilledReason.TIERS_STAND if has_conditions else None
        if context != STANDARD:
            # A condition of what the card prices at all.
            return None if stands else UnfilledReason.NO_STANDARD_RATE
        if meter in self._coverage.meters:
            return UnfilledReason.ALL_IS_STATED
        if meter in BASE:
            return UnfilledReason.BASE_DIFFERS
        return UnfilledReason.SECOND_UNIT if self._is_second_unit(meter) else None

    def _is_second_unit(self, meter: Meter) -> bool:
        priced = self._rates.keys()
        return any(meter in units and units & priced for units in _UNITS_OF_ONE_THING) or any(
            tokens in priced and meter in counted for tokens, counted in _COUNTED_AS_TOKENS.items()
        )

    def _refused_prices(
        self, meter: Meter, context: Context, rates: Sequence[Rate]
    ) -> UnfilledReason | None:
        if not all(rate.price for rate in rates):
            return UnfilledReason.ZERO
        if not self._keeps_kind(meter, context, rates):
            return UnfilledReason.BREAKS_ITS_KIND
        return None

    def _in_context(self, context: Context) -> Mapping[Meter, Sequence[Rate]]:
        found = {
            meter: [rate for rate in rates if rate.conditions.context == context]
            for meter, rates in self._rates.items()
        }
        return {meter: rates for meter, rates in found.items() if rates}

    def _keeps_kind(self, meter: Meter, context: Context, rates: Sequence[Rate]) -> bool:
        base_meter = _CACHE_READS.get(meter, meter) if not context else meter
        standard = standard_rate(self._standard(base_meter), self._at)
        if standard is None:
            return True
        pairs = set(context)
        for rate in rates:
            mine, base = rate.price * standard.per, standard.price * rate.per
            is_dearer, is_cheaper = mine > base * TOLERANCE, mine * TOLERANCE < base
            is_discount = pairs & _DISCOUNTS or (not context and meter in _CACHE_READS)
            if is_discount and is_dearer and rate.conditions.threshold is None:
                return False
            if pairs & _SURCHARGES and is_cheaper:
                return False
            if context and not base * _LEAST_OF_BASE <= mine <= base * _MOST_OF_BASE:
                return False
        return True

    def _standard(self, meter: Meter) -> Sequence[Rate]:
        rates = self._rates.get(meter, ())
        return [rate for rate in rates if rate.conditions.context == STANDARD]

    def _add(self, rates: Sequence[Rate], source: str) -> None:
        placed = self._rates.setdefault(rates[0].meter, [])
        has_ladder = any(is_special(rate) for rate in rates)
        start = 0
        for rate in rates:
            place = start
            while place < len(placed) and not _yields(placed[place], rate, has_ladder):
                place += 1
            placed.insert(place, rate)
            start = place + 1
            self._filled[rate.key] = source


def _yields(placed: Rate, new: Rate, has_ladder: bool) -> bool:
    """Whether a rate of a card comes behind a new one of the same meter.

    The one of the more specific context comes first. Where nobody states the conditions of the two
    together, the dearer one does. `has_ladder` says that what is new has tiers of its own.
    """
    before, after = set(placed.conditions.context), set(new.conditions.context)
    if before == after:
        return is_special(new) and not is_special(placed)
    if before < after and (not is_special(placed) or has_ladder):
        return True
    if after < before and (not is_special(new) or is_special(placed)):
        return False
    return _is_cheaper(placed, new)


def _is_cheaper(one: Rate, other: Rate) -> bool:
    return one.price * other.per < other.price * one.per
