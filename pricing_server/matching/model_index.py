"""The index of models, made of what this service knows of sellers and names."""

from __future__ import annotations

from collections.abc import Iterable

from llmpricing.matching import ClauseIndex, ModelIndex, Name
from llmpricing.matching.listed import Order
from pricing_server.matching.aliases import OTHER_NAMES
from pricing_server.matching.prefixes import prefixes
from pricing_server.sellers import answer_order, is_maker


def model_index(
    names: Iterable[Name], clauses: ClauseIndex, order: Order = answer_order
) -> ModelIndex:
    """An index of all listed (provider, model id). `clauses` are built once for all revisions."""
    names = list(names)
    return ModelIndex(
        names,
        order=order,
        is_maker=is_maker,
        aliases=OTHER_NAMES,
        prefixes=prefixes({provider for provider, _ in names}),
        clauses=clauses,
    )
