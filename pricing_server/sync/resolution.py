"""Which of a model's quotes is in force, and what changes when the quotes do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from llmpricing.rate_card import PriceState, RateCard
from pricing_server.price_change import ChangeKind, ChangeOrigin, PriceChange
from pricing_server.sync.table_state import OVERRIDE, KnownModel, ModelName, Quote


class Resolver:
    """Collects the changes of prices in force. `cards` holds every card that quotes point to."""

    def __init__(
        self, cards: Mapping[str, RateCard], origin: ChangeOrigin, changed_at: datetime
    ) -> None:
        self.changes: list[PriceChange] = []
        self.source_changes: list[tuple[KnownModel, str, str]] = []
        """Models whose price stays and is told by another source: (model, source, card id)."""
        self._cards = cards
        self._origin = origin
        self._changed_at = changed_at

    def add(self, key: ModelName, quotes: Collection[Quote]) -> None:
        """Plan the first price of a model that is not known yet."""
        self._change(ChangeKind.ADDED, key, None, min(quotes, key=precedence))

    def resolve(
        self, model: KnownModel, quotes: Collection[Quote], stated: Collection[str] = ()
    ) -> bool:
        """Plan the price in force of a known model; whether it changes.

        `stated` are the sources that state their quote just now. The quote of another one,
        which comes into force as the one before it lapsed, does so now, however old it is.
        """
        is_active = _is_listed(quotes)
        if not is_active:
            if model.is_active and model.card_id is not None:
                kept = min(quotes, key=precedence)
                self._change(ChangeKind.DELISTED, model.key, model.card_id, kept, keep=True)
            return False
        winner = min(quotes, key=precedence)
        if winner.source not in stated and model.source != winner.source:
            winner = replace(winner, stated_since=self._changed_at)
        if not model.is_active:
            self._change(ChangeKind.RESTORED, model.key, model.card_id, winner)
        elif model.card_id is None:
            self._change(ChangeKind.ADDED, model.key, None, winner)
        elif not self.is_noise(model.card_id, winner.card_id):
            self._change(ChangeKind.CHANGED, model.key, model.card_id, winner)
        else:
            if model.source != winner.source:
                self.source_changes.append((model, winner.source, model.card_id))
            return False
        return True

    def is_noise(self, old_card_id: str, new_card_id: str) -> bool:
        """Whether two cards are the same prices, but for binary noise."""
        return old_card_id == new_card_id or self._cards[old_card_id].same_prices_as(
            self._cards[new_card_id]
        )

    def _change(
        self,
        kind: ChangeKind,
        key: ModelName,
        old_card_id: str | None,
        quote: Quote,
        *,
        keep: bool = False,
    ) -> None:
        new_card_id = old_card_id if keep and old_card_id is not None else quote.card_id
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


def _is_listed(quotes: Collection[Quote]) -> bool:
    stated = [quote for quote in quotes if quote.source != OVERRIDE]
    own = [quote for quote in stated if quote.is_own_api]
    return any(quote.is_listed for quote in own or stated)


def precedence(quote: Quote) -> tuple[bool, bool, bool, int, str]:
    """Sort key: of a model's quotes the smallest is in force."""
    return (
        quote.is_ended_override,
        quote.state is PriceState.UNPRICED,
        not quote.is_listed and not quote.is_own_api,
        quote.rank,
        quote.source,
    )
