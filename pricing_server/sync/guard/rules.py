"""Which stated prices are suspicious: a pure function of what is stated and what is known.

Rules, all of ratios, so that no unit and no magnitude is guessed:

- Row rule: a rate over ROW_RATIO times (of cache reads CACHE_ROW_RATIO times) above or below
  the source's own quote before, or, if that has none, what any other source states of the
  same seller's model. Other sellers are no reference of a row: true prices are ten times
  off theirs.
- Size rule: a feed that lists less than half as many models as before, which were MIN_FEED at
  least, is held as a whole, since what it does not list would be delisted.
- Feed rule: for any one meter, the median ratio of all rows that have a reference is over
  FEED_RATIO times above or below 1. Here the median of other sellers serves too, where nothing
  nearer is known: single sellers differ, a whole feed does not.
- Of a row that is new at its source, a standard rate is over CONFIRMING_RATIO times off that of
  all its siblings, which agree: the same seller's ids of the same model in other areas.
- A rate that none of these can judge is implausible by what all models cost (`usual_prices.py`).
  What other sellers charge for the same model can confirm it.

A zero is no reference. A price that turns to a declared FREE is not suspicious in a single
row, since the source says it in words; as part of a feed it counts as a ratio of zero.
A rate that an independent source of the same seller states alike is not suspicious.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Context, Decimal
from typing import Final

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState, Rate, RateCard
from llmpricing.schedule import standard_rates
from llmpricing.units import EXACT
from pricing_server.domain.held_change import HoldEvidence, HoldReason, Suspicion
from pricing_server.sync.usual_prices import UsualPrices

ROW_RATIO: Final = Decimal(30)
"""The largest genuine change between two recordings of OpenRouter, two months apart, is 23x;
the smallest error of unit that occurs (cents for dollars) is 100x."""

CACHE_ROW_RATIO: Final = Decimal(90)
"""For what is read from a cache: sellers begin and end deep discounts there. Recorded are 37x
within two months at one seller, 33x and 56x between sources of one seller, all of them true."""

FEED_RATIO: Final = Decimal(10)
"""Medians of genuine feeds lie between 0.22x and 1.5x; an error of unit is 100x at least."""

MIN_REFERENCES: Final = 5
"""Fewer rows with a reference say nothing of a feed."""

MIN_FEED: Final = 10
"""Fewer models come and go: of a smaller feed half is a handful."""

CONFIRMING_RATIO: Final = Decimal("1.5")
"""How far two sources of one seller may be apart that confirm each other. Of 5,700 recorded
pairs 93 % are within it (discounts, rounding, prices of another day); an error of unit is far
beyond."""

_CACHE_READS: Final = frozenset(
    meter for meter in Meter if meter.name.startswith("CACHE_") and "_READ_" in meter.name
)
_RATIO: Final = Context(prec=6)
_SHOWN: Final = Context(prec=28)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What another source states of the same seller's model."""

    source: str
    card: RateCard


@dataclass(frozen=True, slots=True)
class Row:
    """One listed model with everything that its price can be compared with."""

    card: RateCard
    """That its quote is to have."""
    before: RateCard | None = None
    """Of the source's own quote before; None if there is none."""
    opinions: tuple[Opinion, ...] = ()
    """Of the same seller's model, the source with the lowest rank first."""
    witnesses: tuple[RateCard, ...] = ()
    """More that independent sources state of it, though the guard holds it: they confirm."""
    other_sellers: Mapping[Meter, Decimal] = field(default_factory=dict)
    """The median of what other sellers charge for the same model, in USD per one."""
    siblings: tuple[Opinion, ...] = ()
    """What is in force of the same seller's ids of the same model; of a new row alone."""
    usual_prices: Mapping[Meter, UsualPrices] = field(default_factory=dict)
    """What models cost."""
    is_unchanged: bool = False
    """Whether the quote before has this card already; then nothing else is set."""


@dataclass(frozen=True, slots=True)
class _Reference:
    rate: Rate
    source: str | None
    """None for the source's own past."""


def judge_row(row: Row, source: str, at: datetime) -> Suspicion | None:
    """What is suspicious in a row of `source` at an instant; None if nothing is."""
    if row.is_unchanged or row.card.state is not PriceState.PRICED:
        return None
    return (
        _judge_by_references(row, source, at)
        or _judge_by_siblings(row, at)
        or _judge_by_usual_prices(row, at)
    )


def _judge_by_references(row: Row, source: str, at: datetime) -> Suspicion | None:
    if row.before is None and not row.opinions:
        return None
    found = [
        (rate, reference)
        for rate in row.card.rates
        for reference in _references(rate, row, at)
        if _is_beyond(
            rate,
            reference.rate,
            CACHE_ROW_RATIO if rate.meter in _CACHE_READS else ROW_RATIO,
        )
    ]
    if not found or _is_confirmed([rate for rate, _ in found], row, at):
        return None
    of_past = any(reference.source is None for _, reference in found)
    return Suspicion(
        HoldReason.RATIO_TO_PAST if of_past else HoldReason.RATIO_TO_OTHER_SOURCE,
        tuple(_evidence(rate, reference, source) for rate, reference in found),
    )


def judge_feed(
    rows: Collection[Row], *, is_first: bool, is_recorded: bool, is_proven: bool, at: datetime
) -> Suspicion | None:
    """What is suspicious in a whole feed; None if nothing is.

    The first sync of a source is held if its units are not recorded, or, unless they were
    proven, if fewer than MIN_REFERENCES of its models have a reference.
    """
    if all(row.card.state is PriceState.UNPRICED for row in rows):
        return None  # It says who sells what, and no price.
    medians, referenced = _compare(rows, at)
    enough = {meter: one for meter, one in medians.items() if one.references >= MIN_REFERENCES}
    shifted = {meter: one for meter, one in enough.items() if one.is_beyond(FEED_RATIO)}
    if shifted:
        return _feed_suspicion(HoldReason.FEED_SHIFTED, shifted)
    if is_first and not is_recorded:
        return _feed_suspicion(HoldReason.UNPROVEN_SOURCE, medians)
    if is_first and not is_proven and referenced < MIN_REFERENCES:
        return _feed_suspicion(HoldReason.FEW_REFERENCES, medians)
    return None


def judge_size(before: int, now: int) -> Suspicion | None:
    """What is suspicious in how many models a feed listed before and lists now; None if nothing
    is. A row that could not be read is listed."""
    if before < MIN_FEED or 2 * now >= before:
        return None
    share = _RATIO.divide(Decimal(now), Decimal(before))
    return Suspicion(HoldReason.FEED_SHRUNK, (HoldEvidence(None, share, before),))


def are_near(card: RateCard, other: RateCard, at: datetime) -> bool:
    """Whether each rate of either card is within CONFIRMING_RATIO of the other's, at an instant.

    What was decided on one may then be taken for a decision on the other.
    """
    if card.card_id == other.card_id:
        return True
    return card.state is other.state and all(
        (counterpart := _counterpart(rate, theirs, at)) is not None
        and not _is_beyond(rate, counterpart, CONFIRMING_RATIO)
        for ours, theirs in ((card, other), (other, card))
        for rate in ours.rates
    )


def feed_medians(rows: Collection[Row], at: datetime) -> Mapping[Meter, HoldEvidence]:
    """By meter the median ratio of the rows that have a reference, however few."""
    medians, _ = _compare(rows, at)
    return {meter: _median_evidence(meter, one) for meter, one in medians.items()}


# Rows ---------------------------------------------------------------------------------------


def _judge_by_siblings(row: Row, at: datetime) -> Suspicion | None:
    if row.before is not None or not row.siblings:
        return None
    found = []
    standards = [(one.source, standard_rates(one.card, at)) for one in row.siblings]
    for meter, rate in standard_rates(row.card, at).items():
        known = [
            _Reference(other, told_by)
            for told_by, rates in standards
            if (other := rates.get(meter)) is not None and other.price
        ]
        if known and _is_off_all(rate, [each.rate for each in known]):
            found.append((rate, known))
    if not found or _is_confirmed([rate for rate, _ in found], row, at):
        return None
    evidence = (
        replace(_evidence(rate, known[0], known[0].source or ""), references=len(known))
        for rate, known in found
    )
    return Suspicion(HoldReason.IMPLAUSIBLE, tuple(evidence))


def _is_off_all(rate: Rate, siblings: Sequence[Rate]) -> bool:
    """Whether siblings that are near to each other are all far off a rate."""
    return all(_is_beyond(rate, sibling, CONFIRMING_RATIO) for sibling in siblings) and not any(
        _is_beyond(one, other, CONFIRMING_RATIO) for one in siblings for other in siblings
    )


def _judge_by_usual_prices(row: Row, at: datetime) -> Suspicion | None:
    found = [
        rate
        for rate in row.card.rates
        if rate.price
        and rate.meter in row.usual_prices
        and row.usual_prices[rate.meter].excludes(rate, ROW_RATIO)
        and not any(True for _ in _references(rate, row, at))
        and not _is_as_elsewhere(rate, row)
    ]
    if not found or _is_confirmed(found, row, at):
        return None
    evidence = (
        HoldEvidence(
            meter=rate.meter,
            ratio=_RATIO.divide(_per_one(rate), bound),
            references=row.usual_prices[rate.meter].models,
            stated=_per_one(rate),
            reference=bound,
        )
        for rate in found
        for bound in row.usual_prices[rate.meter].bounds(ROW_RATIO)
    )
    return Suspicion(HoldReason.IMPLAUSIBLE, tuple(evidence))


def _is_as_elsewhere(rate: Rate, row: Row) -> bool:
    median = row.other_sellers.get(rate.meter)
    return median is not None and not _is_beyond(rate, Rate(rate.meter, median), ROW_RATIO)


def _references(rate: Rate, row: Row, at: datetime) -> Iterator[_Reference]:
    """What a rate is compared with: what is stated under the same conditions, else the
    standard rate of the meter; by the source's past, else by every other source."""
    if row.before is not None and (past := _counterpart(rate, row.before, at)):
        yield _Reference(past, None)
        return
    for opinion in row.opinions:
        if other := _counterpart(rate, opinion.card, at):
            yield _Reference(other, opinion.source)


def _counterpart(rate: Rate, card: RateCard, at: datetime) -> Rate | None:
    same = next((one for one in card.rates if one.key == rate.key), None)
    found = same or standard_rates(card, at).get(rate.meter)
    return found if found is not None and found.price else None


def _is_confirmed(rates: Sequence[Rate], row: Row, at: datetime) -> bool:
    """Whether one independent source states all of these rates alike."""
    cards = [*(opinion.card for opinion in row.opinions), *row.witnesses]
    return any(
        all(
            (other := _counterpart(rate, card, at)) is not None
            and not _is_beyond(rate, other, CONFIRMING_RATIO)
            for rate in rates
        )
        for card in cards
    )


def _is_beyond(rate: Rate, reference: Rate, ratio: Decimal) -> bool:
    one = EXACT.multiply(rate.price, Decimal(reference.per))
    two = EXACT.multiply(reference.price, Decimal(rate.per))
    return one > EXACT.multiply(ratio, two) or EXACT.multiply(one, ratio) < two


def _evidence(rate: Rate, reference: _Reference, source: str) -> HoldEvidence:
    stated, known = _per_one(rate), _per_one(reference.rate)
    return HoldEvidence(
        meter=rate.meter,
        ratio=_RATIO.divide(stated, known),
        stated=stated,
        reference=known,
        reference_source=reference.source or source,
    )


def _per_one(rate: Rate) -> Decimal:
    return rate.price if rate.per == 1 else _SHOWN.divide(rate.price, Decimal(rate.per))


# Feeds --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ratio:
    """stated / reference, as the two numbers; `log` serves to order them."""

    stated: Decimal
    reference: Decimal
    log: float


_SAME: Final = _Ratio(Decimal(1), Decimal(1), 0.0)


@dataclass(frozen=True, slots=True)
class _Median:
    """The geometric median: that of the two ratios in the middle, which may be one."""

    low: _Ratio
    high: _Ratio
    references: int

    @classmethod
    def of(cls, ratios: Sequence[_Ratio], unchanged: int) -> _Median:
        ordered = sorted([*ratios, *[_SAME] * unchanged], key=lambda ratio: ratio.log)
        last = len(ordered) - 1
        return cls(ordered[last // 2], ordered[(last + 1) // 2], len(ordered))

    def is_beyond(self, ratio: Decimal) -> bool:
        """Whether it is this far above or below 1; exact at the border."""
        stated = EXACT.multiply(self.low.stated, self.high.stated)
        reference = EXACT.multiply(self.low.reference, self.high.reference)
        square = EXACT.multiply(ratio, ratio)
        return stated > EXACT.multiply(square, reference) or (
            EXACT.multiply(stated, square) < reference
        )

    @property
    def ratio(self) -> Decimal:
        """To show; the median is decided by `is_beyond`."""
        if self.low is self.high:
            return _RATIO.divide(self.low.stated, self.low.reference)
        return _RATIO.sqrt(
            _SHOWN.multiply(
                _SHOWN.divide(self.low.stated, self.low.reference),
                _SHOWN.divide(self.high.stated, self.high.reference),
            )
        )


def _compare(rows: Collection[Row], at: datetime) -> tuple[Mapping[Meter, _Median], int]:
    """The median of each meter with a change, and how many rows have any reference."""
    compared: dict[Meter, list[_Ratio]] = {}
    unchanged: Counter[Meter] = Counter()
    referenced = 0
    for row in rows:
        if row.is_unchanged:
            referenced += 1
            unchanged.update({rate.meter for rate in row.card.rates if rate.price})
            continue
        ratios = list(_ratios(row, at))
        referenced += bool(ratios)
        for meter, ratio in ratios:
            compared.setdefault(meter, []).append(ratio)
    return {
        meter: _Median.of(ratios, unchanged[meter]) for meter, ratios in compared.items()
    }, referenced


def _ratios(row: Row, at: datetime) -> Iterator[tuple[Meter, _Ratio]]:
    if row.before is None and not row.opinions and not row.other_sellers:
        return
    for meter, rate in standard_rates(row.card, at).items():
        reference = _feed_reference(rate, row, at)
        if reference is not None:
            stated = _per_one(rate)
            log = _log10(stated) - _log10(reference)
            yield meter, _Ratio(stated, reference, log)


def _feed_reference(rate: Rate, row: Row, at: datetime) -> Decimal | None:
    cards = [row.before] if row.before is not None else []
    for card in [*cards, *(opinion.card for opinion in row.opinions)]:
        known = standard_rates(card, at).get(rate.meter)
        if known is not None and known.price:
            return _per_one(known)
    if not rate.price:
        return None  # What one seller gives away is often sold by others.
    return row.other_sellers.get(rate.meter) or None


def _log10(price: Decimal) -> float:
    # Prices have up to 40 digits, and lie within what a float can hold.
    return math.log10(price) if price else -math.inf


def _feed_suspicion(reason: HoldReason, medians: Mapping[Meter, _Median]) -> Suspicion:
    return Suspicion(
        reason, tuple(_median_evidence(meter, one) for meter, one in sorted(medians.items()))
    )


def _median_evidence(meter: Meter, median: _Median) -> HoldEvidence:
    return HoldEvidence(meter=meter, ratio=median.ratio, references=median.references)
