"""What is asked of a look-up."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pricing_server.domain.price import Layer, Name, When
from pricing_server.domain.sellers import canonical

ALL_LAYERS: Final = frozenset(Layer)

_REMEMBERING_LAYERS: Final = frozenset({Layer.OVERRIDE, Layer.DATABASE})
_TABLE_LAYERS: Final = _REMEMBERING_LAYERS | {Layer.CROSS_REFERENCE}


@dataclass(frozen=True, slots=True)
class PriceQuery:
    """One look-up."""

    model_id: str
    """As the caller writes it; if exact ids alone are asked for, the seller's own id."""
    provider: str | None = None
    """By any spelling; None for whoever answers for the model."""
    accept: Set[Layer] = ALL_LAYERS
    """The layers that may answer."""
    min_revision: int | None = None
    """The price table is to be at this revision or a later one."""
    when: When | None = None
    """None for the price in effect now."""
    exact_only: bool = False
    """Whether no rule but the exact ones may lead to a model."""

    @property
    def seller(self) -> str | None:
        """The provider's slug."""
        return canonical(self.provider) if self.provider is not None else None

    @property
    def name(self) -> Name:
        """(seller or None for any, model id)."""
        return self.seller, self.model_id

    @property
    def layers(self) -> Set[Layer]:
        """The accepted layers that can answer: only the price table remembers what was known."""
        if self.when is not None and self.when.known_at is not None:
            return self.accept & _REMEMBERING_LAYERS
        return self.accept

    @property
    def reads_table(self) -> bool:
        """Whether the price table is to be asked."""
        return not self.layers.isdisjoint(_TABLE_LAYERS)

    @property
    def least_revision(self) -> int:
        """`min_revision`, 0 for none."""
        return self.min_revision or 0

    def instant(self, now: datetime) -> datetime:
        """For which instant the price is asked."""
        return self.when.as_of if self.when is not None else now

    def of_model(self, provider: str, model_id: str) -> PriceQuery:
        """The same of a model as its seller lists it."""
        return replace(self, provider=provider, model_id=model_id, exact_only=True)
