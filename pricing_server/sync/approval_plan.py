"""What approving held changes changes in the price table: a pure function of the two.

The rules:

- What was held becomes the quote of its source, stated since its data first stated it. Which
  quote is then in force is decided as for any other (`resolution.py`).
- A model that was not known is registered, with what other sources state of it under other ids.
- An id that the source stated under another id until now has a quote of its own from now on.
- What the source states of an approved model holds for the ids that this one covers, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from llmpricing.rate_card import RateCard
from pricing_server.domain.names import ModelName
from pricing_server.domain.price_change import ChangeOrigin, PriceChange
from pricing_server.domain.quote import Covered, Quote
from pricing_server.sync.quoted_model import QuotedModel
from pricing_server.sync.resolution import Resolver
from pricing_server.sync.table_state import Attribution, StatedHold, TableState


@dataclass(frozen=True, slots=True)
class DecidedHold:
    """A held change of one model that somebody decides on."""

    key: ModelName
    provider_name: str
    hold: StatedHold


@dataclass(frozen=True, slots=True)
class ApprovalPlan:
    """Everything that an approval writes beside the decision itself."""

    source: str
    """Of all that is approved: a feed is of one source, as a model is."""
    changed_at: datetime
    quoted: tuple[QuotedModel, ...]
    changes: tuple[PriceChange, ...]
    attributions: Mapping[ModelName, Attribution]
    """Whose the price in force is: of models whose price changes, or is attributed anew."""
    cards: Mapping[str, RateCard]
    """The approved cards, and those in force that these make."""
    provider_names: Mapping[str, str]
    covered: tuple[tuple[ModelName, Covered], ...] = ()
    """Ids that are found to be covered, and how."""
    uncovered: tuple[int, ...] = ()
    """Model keys of ids that the source does not state under another id any more."""


def plan_approval(
    decided: Sequence[DecidedHold],
    state: TableState,
    stored_cards: Mapping[str, RateCard],
    origin: ChangeOrigin,
    changed_at: datetime,
) -> ApprovalPlan:
    """Plan the approval of held changes of one source, at least one.

    `state` has the decided models, those that they cover, and those that cover them;
    `stored_cards` at least `cards_of` it.
    """
    source = decided[0].hold.source
    approved = {one.key: one.hold.quote for one in decided}
    cards = {one.hold.card.card_id: one.hold.card for one in decided}
    known = {**stored_cards, **cards}
    resolver = Resolver(known, origin, changed_at)
    uncovered = []
    for key, quote in approved.items():
        before = {each.source: each for each in state.quotes_for(key)}
        quotes = {**before, source: quote}
        model = state.models.get(key)
        if model is None:
            resolver.add(key, quotes.values())
            continue
        if source in before and before[source].stated_as is not None:
            uncovered.append(model.model_key)
        resolver.resolve(model, quotes.values(), {source})
    _resolve_covered(resolver, state, approved, source)
    return ApprovalPlan(
        source=source,
        changed_at=changed_at,
        quoted=tuple(QuotedModel.released(one.key, one.hold) for one in decided),
        changes=tuple(resolver.changes),
        attributions=resolver.attributions,
        cards=cards
        | {key: known[key] for key in resolver.cards_to_keep if key not in stored_cards},
        provider_names={one.key[0]: one.provider_name for one in decided},
        covered=tuple((key, one) for key in approved for one in state.covered.get(key, ())),
        uncovered=tuple(uncovered),
    )


def cards_of(state: TableState) -> set[str]:
    """The ids of the cards that are in force or quoted in this state."""
    in_force = {model.card_id for model in state.models.values() if model.card_id is not None}
    return in_force | {quote.card_id for each in state.quotes.values() for quote in each}


def _resolve_covered(
    resolver: Resolver, state: TableState, approved: Mapping[ModelName, Quote], source: str
) -> None:
    """Plan the prices of the ids that an approved model covers, and that are not approved."""
    for key, model in state.models.items():
        quotes = {quote.source: quote for quote in state.quotes_of(model)}
        own = quotes.get(source)
        if own is None or own.stated_as is None or key in approved:
            continue
        covering = approved.get((key[0], own.stated_as))
        if covering is not None:
            quotes[source] = covering.covering(Covered(source, own.stated_as, own.is_inferred))
            resolver.resolve(model, quotes.values(), {source})
