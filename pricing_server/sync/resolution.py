"""Which of a model's quotes is in force, and what changes when the quotes do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from llmpricing.rate_card import PriceState, RateCard
from pricing_server.domain.disagreement import Disagreement
from pricing_server.domain.names import ModelName
from pricing_server.domain.override import OVERRIDE
from pricing_server.domain.price_change import ChangeKind, ChangeOrigin, PriceChange
from pricing_server.domain.quote import Quote, precedence
from pricing_server.sync.agreement import differences
from pricing_server.sync.completion import CompletedCard, StatedCard, completed
from pricing_server.sync.patching import patched, scaled
from pricing_server.sync.table_state import Attribution, KnownModel


@dataclass(frozen=True, slots=True)
class InForce:
    """The quote in force among those of a model, and its card with what others add to it."""

    quote: Quote
    completed: CompletedCard
    since: datetime
    """When its card was first stated; of one that others complete, when the last of them did."""
    beneath: Quote | None = None
    """What would be in force without the override; None without one, or if nothing would."""
    beneath_completed: CompletedCard | None = None
    """The card of that."""
    disagreements: tuple[Disagreement, ...] = ()
    """Where other sources state another price."""

    @property
    def card(self) -> RateCard:
        """The card in force."""
        return self.completed.card

    @property
    def attribution(self) -> Attribution:
        """Whose price it is, as it is stored beside the price."""
        beneath, without = self.beneath, self.beneath_completed
        return Attribution(
            source=self.quote.source,
            stated_as=self.quote.stated_as,
            rate_sources=self.completed.sources,
            beneath=(beneath.source, beneath.stated_as) if beneath is not None else None,
            beneath_card_id=without.card.card_id if without is not None else None,
            beneath_rate_sources=without.sources if without is not None else None,
            disagreements=self.disagreements,
        )


def in_force(
    quotes: Iterable[Quote],
    cards: Mapping[str, RateCard],
    at: datetime,
    filling: Collection[str] = (),
) -> InForce:
    """The quote in force among all quotes of a model, at least one.

    - What a source states under another id counts as its statement. Where we only infer that
      the ids are one model, it counts if nobody lists the id, or if who lists it states the same
      price of all that both price.
    - The override of a model holds for an id that it covers where the price of that id is the
      covering model's without the override.
    - An override that is a patch is in force with the card beneath, of which it replaces rates
      (`patching.py`); any other with its own card alone. Nothing completes an override itself.
    - A source's card is completed by the other listed quotes (`completion.py`), and by those of the
      sources in `filling`, which have done so before and do not list the model any more.
    """
    standing = _standing(list(quotes), cards, at)
    sources = [quote for quote in standing if quote.source != OVERRIDE]
    overrides = [quote for quote in standing if quote.source == OVERRIDE]
    stated = None
    if sources:
        stated = _completed(min(sources, key=precedence), sources, cards, at, filling)
    for override in overrides:
        if override.percent is not None and not (stated is not None and _is_priced(stated)):
            continue  # There is nothing to take a percent of.
        is_own = override.stated_as is None
        if not override.is_ended_override and (
            is_own or (stated is not None and stated.quote.stated_as == override.stated_as)
        ):
            found = _alone(override, cards)
            if stated is None:
                return found
            if override.percent is not None:
                card = scaled(stated.card, override.percent)
                found = replace(found, completed=CompletedCard.alone(override.source, card))
            elif override.is_patch:
                found = replace(found, completed=_patched(found, stated.completed))
            return replace(found, beneath=stated.quote, beneath_completed=stated.completed)
    return stated if stated is not None else _alone(min(overrides, key=precedence), cards)


def _alone(quote: Quote, cards: Mapping[str, RateCard]) -> InForce:
    card = CompletedCard.alone(quote.source, cards[quote.card_id])
    return InForce(quote, card, quote.since)


def _is_priced(found: InForce) -> bool:
    return found.card.state is PriceState.PRICED


def _patched(override: InForce, beneath: CompletedCard) -> CompletedCard:
    """The card beneath with the rates of an override, and who states each."""
    card = patched(beneath.card, override.card)
    sources = dict(zip((rate.key for rate in beneath.card.rates), beneath.sources, strict=True))
    sources |= dict.fromkeys((rate.key for rate in override.card.rates), override.quote.source)
    return CompletedCard(card, tuple(sources[rate.key] for rate in card.rates))


def _completed(
    winner: Quote,
    quotes: Collection[Quote],
    cards: Mapping[str, RateCard],
    at: datetime,
    filling: Collection[str],
) -> InForce:
    others = [
        quote
        # By rank alone: what completes the card keeps its place when it lists the model no more.
        for quote in sorted(quotes, key=lambda quote: (quote.rank, quote.source))
        if quote is not winner
        and quote.card_id != winner.card_id
        and (quote.is_listed or quote.source in filling)
    ]
    if not others:
        return _alone(winner, cards)
    stated = StatedCard(winner.source, cards[winner.card_id], winner.coverage)
    card = completed(
        stated, [StatedCard(other.source, cards[other.card_id]) for other in others], at
    )
    adding = [quote for quote in others if quote.source in card.sources]
    return InForce(
        winner,
        card,
        since=max(quote.since for quote in (winner, *adding)),
        disagreements=_disagreements(card.card, others, cards, at),
    )


def _standing(
    quotes: Sequence[Quote], cards: Mapping[str, RateCard], at: datetime
) -> Sequence[Quote]:
    """The quotes without inferences that the one who lists the id contradicts."""
    if not any(quote.is_inferred for quote in quotes):
        return quotes
    listing = [
        quote
        for quote in quotes
        if quote.stated_as is None and quote.source != OVERRIDE and quote.is_listed
    ]
    if not listing:
        return quotes
    own = min(listing, key=precedence)
    return [
        quote
        for quote in quotes
        if not quote.is_inferred or _is_same_price(cards, quote.card_id, own.card_id, at)
    ]


def _is_same_price(cards: Mapping[str, RateCard], one: str, other: str, at: datetime) -> bool:
    if one == other:
        return True
    found = differences(cards[one], cards[other], at)
    return found is not None and not found


def _disagreements(
    card: RateCard, others: Iterable[Quote], cards: Mapping[str, RateCard], at: datetime
) -> tuple[Disagreement, ...]:
    """Where other listed quotes of a model state another price than the card in force."""
    return tuple(
        Disagreement(other.source, found.meter, found.price, found.other_price)
        for other in others
        if other.is_listed
        for found in differences(card, cards[other.card_id], at) or ()
    )


class Resolver:
    """Collects the changes of prices in force.

    `cards` holds every card that quotes point to; those that are completed are added to it.
    """

    def __init__(
        self, cards: MutableMapping[str, RateCard], origin: ChangeOrigin, changed_at: datetime
    ) -> None:
        self.changes: list[PriceChange] = []
        self.attributions: dict[ModelName, Attribution] = {}
        """Whose the price in force is: of models whose price changes, or is attributed anew."""
        self._cards: Final = cards
        self._origin = origin
        self._changed_at = changed_at

    @property
    def cards_to_keep(self) -> set[str]:
        """The ids of the cards that changes and attributions point to."""
        kept = {change.new.card_id for change in self.changes}
        beneath = (found.beneath_card_id for found in self.attributions.values())
        return kept | {card_id for card_id in beneath if card_id is not None}

    def add(self, key: ModelName, quotes: Collection[Quote]) -> None:
        """Plan the first price of a model that is not known yet."""
        self._change(ChangeKind.ADDED, key, None, self._in_force(quotes))

    def resolve(
        self, model: KnownModel, quotes: Collection[Quote], stated: Collection[str] = ()
    ) -> bool:
        """Plan the price in force of a known model; whether it changes.

        `stated` are the sources that state their quote just now. The quote of another one,
        which comes into force as the one before it lapsed, does so now, however old it is.
        """
        found = self._in_force(quotes, model)
        if not _is_listed(quotes):
            if model.is_active and model.card_id is not None:
                self._change(ChangeKind.DELISTED, model.key, model, found)
            return False
        winner = found.quote
        if winner.source not in stated and not model.is_quoted_by(winner):
            found = replace(found, since=self._changed_at)
        elif model.is_completed or found.attribution.is_completed or winner.percent is not None:
            # What completes it, or does so no more, is news of now.
            news = [quote.since for quote in quotes if quote.source in stated]
            found = replace(found, since=max(found.since, *(news or [self._changed_at])))
        if not model.is_active:
            self._change(ChangeKind.RESTORED, model.key, model, found)
        elif model.card_id is None:
            self._change(ChangeKind.ADDED, model.key, None, found)
        elif not self.is_noise(model.card_id, found.card.card_id):
            self._change(ChangeKind.CHANGED, model.key, model, found)
        else:
            if model.attribution != found.attribution:
                self.attributions[model.key] = found.attribution
            return False
        return True

    def settle(self, model: KnownModel, quotes: Collection[Quote], since: datetime) -> InForce:
        """Plan the price in force where an override began or ended; what that is.

        It holds since then, whenever its source stated it. An override says nothing of whether
        its model is listed: a delisted one stays delisted. It is taken as it was given: no other
        card is in force, even one within noise of it.
        """
        found = replace(self._in_force(quotes, model), since=since)
        new = found.card.card_id
        is_exact = found.quote.source == OVERRIDE
        if model.card_id is None:
            self._change(ChangeKind.ADDED, model.key, None, found)
        elif new != model.card_id if is_exact else not self.is_noise(model.card_id, new):
            self._change(ChangeKind.CHANGED, model.key, model, found)
        elif model.attribution != found.attribution:
            self.attributions[model.key] = found.attribution
        return found

    def is_noise(self, old_card_id: str, new_card_id: str) -> bool:
        """Whether two cards are the same prices, but for binary noise."""
        return old_card_id == new_card_id or self._cards[old_card_id].same_prices_as(
            self._cards[new_card_id]
        )

    def _in_force(self, quotes: Collection[Quote], model: KnownModel | None = None) -> InForce:
        known = model.attribution if model is not None else None
        filling = known.filling if known is not None else frozenset()
        found = in_force(quotes, self._cards, self._changed_at, filling)
        for made in (found.completed, found.beneath_completed):
            if made is not None:
                self._cards.setdefault(made.card.card_id, made.card)
        return found

    def _change(
        self, kind: ChangeKind, key: ModelName, before: KnownModel | None, found: InForce
    ) -> None:
        """Plan a change from the price in force before, None if there is none. A model that is
        delisted keeps it."""
        old = self._cards[before.card_id] if before is not None and before.card_id else None
        known = before.attribution if before is not None else None
        attribution = found.attribution
        card, old_sources = found.card, known.rate_sources if known is not None else ()
        if kind is ChangeKind.DELISTED and old is not None:
            card = old
            attribution = replace(attribution, rate_sources=old_sources)
        self.attributions[key] = attribution
        self.changes.append(
            PriceChange(
                kind=kind,
                provider=key[0],
                model_id=key[1],
                old=old,
                new=card,
                source=found.quote.source,
                effective_time=found.since,
                changed_at=self._changed_at,
                origin=self._origin,
                old_sources=old_sources,
                new_sources=attribution.rate_sources,
                stated_card_id=found.quote.card_id,
            )
        )


def _is_listed(quotes: Collection[Quote]) -> bool:
    stated = [quote for quote in quotes if quote.source != OVERRIDE]
    own = [quote for quote in stated if quote.is_own_api]
    return any(quote.is_listed for quote in own or stated)
