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
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Context as DecimalContext
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeAlias

from llmpricing.meters import Meter
from llmpricing.place import GEOGRAPHY, REGION
from llmpricing.rate_card import Conditions, PriceState, Rate, RateCard
from pricing_server.domain.source import SAYS_NOTHING, Coverage
from pricing_server.domain.uplift import uplifted
from pricing_server.sync.agreement import TOLERANCE, agree

Context: TypeAlias = tuple[tuple[str, str], ...]
STANDARD: Final[Context] = ()

_BASE: Final = (Meter.INPUT_TOKENS, Meter.OUTPUT_TOKENS)

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
_QUOTIENT: Final = DecimalContext(prec=40)
_MAX_DIGITS: Final = 12
"""Of a multiplier: one with more is no number that anybody states."""
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
    base = _base(winner.card, at)
    if winner.card.state is not PriceState.PRICED or not base or _is_windowed(winner.card, base):
        return CompletedCard.alone(winner.source, winner.card)
    draft, places = _Draft(winner, at), dict(_places(winner, at))
    for other in others:
        if other.card.state is PriceState.PRICED:
            if _is_same_base(base, _base(other.card, at)):
                draft.fill_from(other, _ComparedDates(winner.card, other.card, base, at))
                for place, stated in _places(other, at).items():
                    if not winner.coverage.excludes(place):
                        places.setdefault(place, stated)
            else:
                draft.leave_unfilled(other.card.rates, other.source, UnfilledReason.BASE_DIFFERS)
    return _with_places(draft.finished(), places)


def is_stated(rate: Rate, card: RateCard, whole: RateCard, at: datetime) -> bool:
    """Whether a card states a rate of a whole one, for its period or for longer: as it is, or by
    what it costs more at a place."""
    place = _place_of(rate.conditions.context)
    multiplier = _multipliers(card, at).get(place)
    if multiplier is not None and any(
        rate in uplifted([one], multiplier, dict(place)) for one in whole.rates
    ):
        return True
    conditions = rate.conditions
    return any(
        one.meter is rate.meter
        and one.same_price_as(rate)
        and _undated(one.conditions) == _undated(conditions)
        and _is_within(conditions, one.conditions)
        for one in card.rates
    )


def _is_within(one: Conditions, other: Conditions) -> bool:
    """Whether the dates of the one lie within those of the other."""
    since, until = other.effective_from, other.effective_until
    return one.effective_from == _latest(one.effective_from, since) and (
        one.effective_until == _earliest(one.effective_until, until)
    )


def _undated(conditions: Conditions) -> Conditions:
    return replace(conditions, effective_from=None, effective_until=None)


@dataclass(frozen=True, slots=True)
class _Place:
    """By how much a source says that requests served at a place are dearer."""

    multiplier: Decimal
    source: str


def _place_of(context: Context) -> Context:
    return tuple(pair for pair in context if pair[0] in (GEOGRAPHY, REGION))


def _places(stated: StatedCard, at: datetime) -> Mapping[Context, _Place]:
    """The places for which a source states a multiplier of its whole card."""
    return {
        place: _Place(multiplier, stated.source)
        for place, multiplier in _multipliers(stated.card, at).items()
    }


def _multipliers(card: RateCard, at: datetime) -> Mapping[Context, Decimal]:
    """By place the one number by which all its base prices differ from the standard ones."""
    rates, base = _by_context(card), _base(card, at)
    found: dict[Context, Decimal] = {}
    for context, meters in rates.items():
        if not context or _place_of(context) != context:
            continue
        placed = [(_standard_rate(meters.get(meter, ()), at), one) for meter, one in base.items()]
        shares = {
            _QUOTIENT.divide(there.price, one.price) if there is not None and one.price else None
            for there, one in placed
        }
        share = shares.pop() if len(shares) == 1 else None
        if share is not None and len(share.as_tuple().digits) <= _MAX_DIGITS:
            found[context] = share
    return found


def _with_places(found: CompletedCard, places: Mapping[Context, _Place]) -> CompletedCard:
    """The card with every rate at every place. What is stated at a place stays as it is."""
    stating = {*found.sources, *(place.source for place in places.values())}
    if not places or len(stating) == 1:
        return found  # As the source in force states it.
    told = dict(zip(found.card.rates, found.sources, strict=True))
    everywhere = [rate for rate in told if not _place_of(rate.conditions.context)]
    stated = {rate.key: rate for rate in told if _place_of(rate.conditions.context)}
    placed: dict[Rate, str] = {}
    for context, place in places.items():
        for rate in uplifted(everywhere, place.multiplier, dict(context)):
            one = stated.pop(rate.key, rate)
            placed[one] = told.get(one, place.source)
    rest = {rate: told[rate] for rate in stated.values()}
    rates = {**rest, **placed, **{rate: told[rate] for rate in everywhere}}
    card = RateCard.of(PriceState.PRICED, rates)
    return CompletedCard(card, tuple(rates[rate] for rate in card.rates), found.unfilled)


@dataclass(frozen=True, slots=True)
class _ComparedPeriod:
    """From when until when base prices hold; None is without end."""

    since: datetime | None
    until: datetime | None

    def of(self, rate: Rate) -> Rate | None:
        """The rate, only within the period; None where it never holds in it."""
        conditions = rate.conditions
        since = _latest(self.since, conditions.effective_from)
        until = _earliest(self.until, conditions.effective_until)
        if since is not None and until is not None and since >= until:
            return None
        held = replace(conditions, effective_from=since, effective_until=until)
        return replace(rate, conditions=held)


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

    def fill_from(self, other: StatedCard, dates: _ComparedDates) -> None:
        """Fill what the card lacks and this one, of the same base prices, states."""
        theirs = _by_context(other.card)
        standard = theirs.get(STANDARD, {})
        for context in sorted(theirs, key=len):
            if _place_of(context):
                continue  # A place multiplies the whole card, when it is complete.
            mine = self._in_context(context)
            refused = self._refused_context(context, mine, theirs[context])
            for meter, stated in theirs[context].items():
                # Where the card has the meter, its tiers and windows may still be lacking.
                group = [rate for rate in stated if meter not in mine or _is_special(rate)]
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
                    self._add(rates, other.source)
                else:
                    self.leave_unfilled(rates, other.source, reason)

    def leave_unfilled(self, rates: Iterable[Rate], source: str, reason: UnfilledReason) -> None:
        """Note why rates of a source are not filled."""
        self._unfilled += [UnfilledRate(source, rate, reason) for rate in rates]

    def finished(self) -> CompletedCard:
        """The card as it is now. What another source filled in the end was not left out."""
        placed = [rate for rates in self._rates.values() for rate in rates]
        has = {(rate.meter, rate.conditions.context, _is_special(rate)) for rate in placed}
        card = RateCard.of(PriceState.PRICED, placed)
        return CompletedCard(
            card,
            tuple(self._filled.get(rate.key, self._source) for rate in card.rates),
            tuple(
                one
                for one in self._unfilled
                if (one.rate.meter, one.rate.conditions.context, _is_special(one.rate)) not in has
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
            _is_same(mine[meter], theirs[meter], self._at) for meter in theirs if meter in mine
        ):
            return UnfilledReason.DIFFERS
        # Output alone at the price of a mode would charge its input at the standard one.
        reasons = (
            self._refused_prices(meter, context, theirs[meter])
            for meter in _BASE
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
        standard = self._rates.get(meter, ())
        stands = [rate for rate in standard if rate.conditions.context == STANDARD]
        if stands and meter in theirs and not _is_same(stands, theirs[meter], self._at):
            return UnfilledReason.DIFFERS
        if meter in mine:
            if self._coverage.has_all_tiers:
                return UnfilledReason.ALL_IS_STATED
            has_conditions = any(_is_special(rate) for rates in mine.values() for rate in rates)
            # A ladder and windows at once are one statement that no half of may be taken.
            return UnfilledReason.TIERS_STAND if has_conditions else None
        if context != STANDARD:
            # A condition of what the card prices at all.
            return None if stands else UnfilledReason.NO_STANDARD_RATE
        if meter in self._coverage.meters:
            return UnfilledReason.ALL_IS_STATED
        if meter in _BASE:
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
        standard = self._standard(_CACHE_READS.get(meter, meter) if not context else meter)
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

    def _standard(self, meter: Meter) -> Rate | None:
        return _standard_rate(self._in_context(STANDARD).get(meter, ()), self._at)

    def _add(self, rates: Sequence[Rate], source: str) -> None:
        placed = self._rates.setdefault(rates[0].meter, [])
        has_ladder = any(_is_special(rate) for rate in rates)
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
        return _is_special(new) and not _is_special(placed)
    if before < after and (not _is_special(placed) or has_ladder):
        return True
    if after < before and (not _is_special(new) or _is_special(placed)):
        return False
    return _is_cheaper(placed, new)


def _is_cheaper(one: Rate, other: Rate) -> bool:
    return one.price * other.per < other.price * one.per


def _by_context(card: RateCard) -> Mapping[Context, Mapping[Meter, Sequence[Rate]]]:
    found: dict[Context, dict[Meter, list[Rate]]] = {}
    for rate in card.rates:
        meters = found.setdefault(rate.conditions.context, {})
        meters.setdefault(rate.meter, []).append(rate)
    return found


def _base(card: RateCard, at: datetime) -> Mapping[Meter, Rate]:
    """The standard prices by which two cards are compared, of the first rate at the date."""
    standard = _by_context(card).get(STANDARD, {})
    rates = {
        meter: rate
        for meter, found in standard.items()
        if (rate := _standard_rate(found, at)) is not None
    }
    tokens: Mapping[Meter, Rate] = {
        meter: rate for meter, rate in rates.items() if meter in _BASE and rate.price
    }
    return tokens or rates


def _standard_rate(rates: Iterable[Rate], at: datetime) -> Rate | None:
    """The rate in the lowest band at a date, outside of all windows if there is one."""
    at_date = [
        rate for rate in rates if not _is_of_size(rate) and rate.conditions.holds_by_date(at)
    ]
    flat = (rate for rate in at_date if not _is_of_time(rate))
    return next(flat, at_date[0] if at_date else None)


def _is_same_base(mine: Mapping[Meter, Rate], theirs: Mapping[Meter, Rate]) -> bool:
    """Whether both state the same base prices. Of a model without tokens, the other may state
    more than the one in force."""
    if not mine.keys() <= theirs.keys() or (
        mine.keys() & set(_BASE) and mine.keys() != theirs.keys()
    ):
        return False
    return all(agree(mine[meter], theirs[meter]) for meter in mine)


def _is_same(mine: Sequence[Rate], theirs: Sequence[Rate], at: datetime) -> bool:
    one, other = _standard_rate(mine, at), _standard_rate(theirs, at)
    return one is not None and other is not None and agree(one, other)


class _ComparedDates:
    """The dates at which what was compared of two cards begins or ends."""

    def __init__(
        self, winner: RateCard, other: RateCard, base: Mapping[Meter, Rate], at: datetime
    ) -> None:
        self._at = at
        self._base = base.keys()
        self._dates = [
            (rate.meter, date)
            for card in (winner, other)
            for rate in card.rates
            if not rate.conditions.context and not _is_of_size(rate)
            for date in (rate.conditions.effective_from, rate.conditions.effective_until)
            if date is not None
        ]
        # A meter that only the other one states is compared with nothing.
        self._compared = {rate.meter for rate in winner.rates} if self._dates else set()

    def period(self, meter: Meter) -> _ComparedPeriod:
        """Around the instant, in which no base price and no standard price of a meter changes."""
        if not self._dates:
            return _ComparedPeriod(None, None)
        meters = {*self._base, meter} if meter in self._compared else self._base
        dates = [date for each, date in self._dates if each in meters]
        return _ComparedPeriod(
            max((date for date in dates if date <= self._at), default=None),
            min((date for date in dates if date > self._at), default=None),
        )


def _is_of_size(rate: Rate) -> bool:
    threshold = rate.conditions.threshold
    return threshold is not None and not threshold.reached_by(0)


def _is_of_time(rate: Rate) -> bool:
    return rate.conditions.utc_window is not None


def _is_special(rate: Rate) -> bool:
    return _is_of_size(rate) or _is_of_time(rate)


def _is_windowed(card: RateCard, base: Mapping[Meter, Rate]) -> bool:
    """Whether a base price depends on the time of day: no other source is known to follow it."""
    return any(
        _is_of_time(rate) and rate.meter in base and not rate.conditions.context
        for rate in card.rates
    )


def _latest(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(one, other) if one is not None and other is not None else one or other


def _earliest(one: datetime | None, other: datetime | None) -> datetime | None:
    return min(one, other) if one is not None and other is not None else one or other
