"""What is in force where overrides begin or end: a pure function of what the quotes then say.

The rules (`resolution.py` decides which quote is in force):

- An override is a quote of the source "override", which ranks before every other. A sync
  keeps the quotes beneath it up to date, and never touches it.
- It is taken as it was given: in force is its card, and no other within noise of it.
- It holds for the ids that its model covers (`coverage.py`), unless they have one of their own.
- It says nothing of whether its model is listed: a delisted one stays delisted.
- When it ends, the quote is in force that would be without it. Where no source states
  anything of the model, it stays registered, and its price is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from llmpricing.rate_card import RateCard
from pricing_server.domain.names import ModelName
from pricing_server.domain.override import OVERRIDE
from pricing_server.domain.price_change import ChangeOrigin, PriceChange
from pricing_server.domain.quote import Quote
from pricing_server.sync.resolution import InForce, Resolver, in_force
from pricing_server.sync.table_state import Attribution, KnownModel


@dataclass(frozen=True, slots=True)
class Turn:
    """When an override begins or ends, and where that comes from."""

    at: datetime
    origin: ChangeOrigin


@dataclass(frozen=True, slots=True)
class ConcernedModel:
    """A model whose override begins or ends, or that such a model covers."""

    model: KnownModel
    quotes: Sequence[Quote]
    """All of the model, at least one, as they are after the turn."""
    turned_key: int
    """The key of the model whose override begins or ends."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is in force of the models that overrides concern, and what that changes."""

    changes: tuple[PriceChange, ...]
    attributions: Mapping[ModelName, Attribution]
    """Whose the price in force is: of models whose price changes, or is attributed anew."""
    in_force: Mapping[ModelName, InForce]
    cards: Mapping[str, RateCard]
    """The cards that changes and attributions point to."""

    def change_of(self, key: ModelName) -> PriceChange | None:
        """The change of one model; None if its price is the same."""
        return next((one for one in self.changes if (one.provider, one.model_id) == key), None)

    def card_of(self, key: ModelName) -> RateCard:
        """The card in force of one model."""
        return self.in_force[key].card

    def card_beneath(self, key: ModelName) -> RateCard | None:
        """The card that would be in force without the override; None if none would."""
        beneath = self.in_force[key].beneath_completed
        return beneath.card if beneath is not None else None

    def covered_by(self, key: ModelName) -> tuple[str, ...]:
        """The other ids for which the override of a model holds."""
        return tuple(
            sorted(
                model_id
                for (provider, model_id), found in self.in_force.items()
                if (found.quote.source, provider, found.quote.stated_as) == (OVERRIDE, *key)
            )
        )


def plan_settlement(
    concerned: Sequence[ConcernedModel],
    cards: Mapping[str, RateCard],
    turns: Mapping[int, Turn],
    changed_at: datetime,
) -> Settlement:
    """Plan the prices of these models; `turns` are by key of the model whose override it is.

    `cards` are those that are in force or quoted.
    """
    changes: list[PriceChange] = []
    attributions: dict[ModelName, Attribution] = {}
    found: dict[ModelName, InForce] = {}
    known, kept = dict(cards), set[str]()
    for one in concerned:
        turn = turns[one.turned_key]
        resolver = Resolver(known, turn.origin, changed_at)
        found[one.model.key] = resolver.settle(one.model, one.quotes, turn.at)
        changes += resolver.changes
        attributions |= resolver.attributions
        kept |= resolver.cards_to_keep
    return Settlement(tuple(changes), attributions, found, {key: known[key] for key in kept})


def card_without_override(
    one: ConcernedModel, cards: Mapping[str, RateCard], at: datetime
) -> RateCard | None:
    """The card of a model as its sources state it; None if none states anything."""
    stated = [quote for quote in one.quotes if quote.source != OVERRIDE]
    known = one.model.attribution
    filling = known.filling if known is not None else ()
    return in_force(stated, cards, at, filling).card if stated else None


def cards_to_settle(concerned: Sequence[ConcernedModel]) -> set[str]:
    """The ids of the cards that `plan_settlement` needs."""
    quoted = {quote.card_id for one in concerned for quote in one.quotes}
    return quoted | {one.model.card_id for one in concerned if one.model.card_id is not None}
