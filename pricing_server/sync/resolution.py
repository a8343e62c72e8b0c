"""Which of a model's quotes is in force, and what changes when the quotes do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from llmpricing.rate_card import RateCard
from pricing_server.domain.disagreement import Disagreement
from pricing_server.domain.names import ModelName
from pricing_server.domain.override import OVERRIDE
from pricing_server.domain.price_change import ChangeKind, ChangeOrigin, PriceChange
from pricing_server.domain.quote import Quote, precedence
from pricing_server.sync.agreement import differences
from pricing_server.sync.table_state import Attribution, KnownModel


@dataclass(frozen=True, slots=True)
class InForce:
    """The quote in force among those of a model."""

    quote: Quote
    beneath: Quote | None = None
    """What would be in force without the override; None without one, or if nothing would."""
    disagreements: tuple[Disagreement, ...] = ()
    """Where other sources state another price."""

    @property
    def attribution(self) -> Attribution:
        """Whose price it is, as it is stored beside the price."""
        beneath = self.beneath
        return Attribution(
            source=self.quote.source,
            stated_as=self.quote.stated_as,
            beneath=(beneath.source, beneath.stated_as) if beneath is not None else None,
            disagreements=self.disagreements,
        )


def in_force(quotes: Iterable[Quote], cards: Mapping[str, RateCard], at: datetime) -> InForce:
    """The quote in force among all quotes of a model, at least one.

    - What a source states under another id counts as its statement. Where we only infer that
      the ids are one model, it counts if nobody lists the id, or if who lists it states the same
      price of all that both price.
    - The override of a model holds for an id that it covers where the price of that id is the
      covering model's without the override.
    """
    standing = _standing(list(quotes), cards, at)
    sources = [quote for quote in standing if quote.source != OVERRIDE]
    overrides = [quote for quote in standing if quote.source == OVERRIDE]
    stated = min(sources, key=precedence, default=None)
    for override in overrides:
        is_own = override.stated_as is None
        if not override.is_ended_override and (
            is_own or (stated is not None and stated.stated_as == override.stated_as)
        ):
            return InForce(override, beneath=stated)
    if stated is None:
        return InForce(min(overrides, key=precedence))
    return InForce(stated, disagreements=_disagreements(stated, sources, cards, at))


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
    winner: Quote, quotes: Iterable[Quote], cards: Mapping[str, RateCard], at: datetime
) -> tuple[Disagreement, ...]:
    """Where the other listed quotes of a model state another price than the winner."""
    others = [quote for quote in quotes if quote.is_listed and quote.card_id != winner.card_id]
    return tuple(
        Disagreement(other.source, found.meter, found.price, found.other_price)
        for other in sorted(others, key=precedence)
        for found in differences(cards[winner.card_id], cards[other.card_id], at) or ()
    )


class Resolver:
    """Collects the changes of prices in force. `cards` holds every card that quotes point to."""

    def __init__(
        self, cards: Mapping[str, RateCard], origin: ChangeOrigin, changed_at: datetime
    ) -> None:
        self.changes: list[PriceChange] = []
        self.attributions: dict[ModelName, Attribution] = {}
        """Whose the price in force is: of models whose price changes, or is attributed anew."""
        self._cards: Final = cards
        self._origin = origin
        self._changed_at = changed_at

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
        found = self._in_force(quotes)
        if not _is_listed(quotes):
            if model.is_active and model.card_id is not None:
                self._change(ChangeKind.DELISTED, model.key, model.card_id, found, keep=True)
            return False
        winner = found.quote
        if winner.source not in stated and not model.is_quoted_by(winner):
            found = _since(found, self._changed_at)
        if not model.is_active:
            self._change(ChangeKind.RESTORED, model.key, model.card_id, found)
        elif model.card_id is None:
            self._change(ChangeKind.ADDED, model.key, None, found)
        elif not self.is_noise(model.card_id, winner.card_id):
            self._change(ChangeKind.CHANGED, model.key, model.card_id, found)
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
        found = self._in_force(quotes)
        new = found.quote.card_id
        is_exact = found.quote.source == OVERRIDE
        if model.card_id is None:
            self._change(ChangeKind.ADDED, model.key, None, _since(found, since))
        elif new != model.card_id if is_exact else not self.is_noise(model.card_id, new):
            self._change(ChangeKind.CHANGED, model.key, model.card_id, _since(found, since))
        elif model.attribution != found.attribution:
            self.attributions[model.key] = found.attribution
        return found

    def is_noise(self, old_card_id: str, new_card_id: str) -> bool:
        """Whether two cards are the same prices, but for binary noise."""
        return old_card_id == new_card_id or self._cards[old_card_id].same_prices_as(
            self._cards[new_card_id]
        )

    def _in_force(self, quotes: Collection[Quote]) -> InForce:
        return in_force(quotes, self._cards, self._changed_at)

    def _change(
        self,
        kind: ChangeKind,
        key: ModelName,
        old_card_id: str | None,
        found: InForce,
        *,
        keep: bool = False,
    ) -> None:
        quote = found.quote
        new_card_id = old_card_id if keep and old_card_id is not None else quote.card_id
        self.attributions[key] = found.attribution
        self.changes.append(
            PriceChange(
                kind=kind,
                provider=key[0],
                model_id=key[1],
                old=self._cards[old_card_id] if old_card_id is not None else None,
                new=self._cards[new_card_id],
                source=quote.source,
                effective_time=quote.stated_since or quote.obtained_at,
                changed_at=self._changed_at,
                origin=self._origin,
            )
        )


def _since(found: InForce, instant: datetime) -> InForce:
    """The same, in force since an instant."""
    return replace(found, quote=replace(found.quote, stated_since=instant))


def _is_listed(quotes: Collection[Quote]) -> bool:
    stated = [quote for quote in quotes if quote.source != OVERRIDE]
    own = [quote for quote in stated if quote.is_own_api]
    return any(quote.is_listed for quote in own or stated)
