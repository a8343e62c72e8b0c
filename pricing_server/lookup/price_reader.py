"""What look-ups need of the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from llmpricing.matching import Standing
from pricing_server.domain.head import Head
from pricing_server.domain.price import Name, Price, When


class PriceReader(Protocol):
    """The price table. Every method raises DatabaseUnavailable when it cannot be asked."""

    async def find(self, model_id: str, provider: str | None) -> tuple[Head, Sequence[Price]]:
        """The prices of exactly this id, at one seller or at all, and the head they hold at."""

    async def find_many(
        self,
        names: Sequence[Name],
        reference_provider: str,
        needs_reference: Callable[[Sequence[Price]], Price | None],
    ) -> tuple[Head, Sequence[Sequence[Price]], Mapping[Name, Sequence[Price]]]:
        """As `find` for each name, and as `find_references` for the one price of each that
        `needs_reference` picks; all of it at one head."""

    async def find_at(
        self, asked: Sequence[tuple[Name, When]], revision: int | None = None
    ) -> Sequence[tuple[Head, Sequence[Price]]]:
        """As `find` for each name, of another time, with the last revision that was known then.

        A price of a time before the first one known is that first one. `revision` leaves
        out what was committed later.
        """

    async def head(self) -> Head:
        """The state of the whole price table."""

    async def names(self) -> Mapping[tuple[str, str], Standing]:
        """(provider, model id) of every model, and what its listing is worth."""

    async def find_references(
        self, model_id: str, provider: str, reference_provider: str
    ) -> tuple[Head, Price | None, Sequence[Price]]:
        """A seller's model, and those of another seller that may be the same; with the head.

        Those of the other seller share its Hugging Face id in any case, or their canonical
        slug is its own or, if it has none, its id.
        """
