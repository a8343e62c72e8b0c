"""The index of models, made of what this service knows of sellers and names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from llmpricing.matching import ClauseIndex, ListedModels, ModelIndex, Name, Standing
from llmpricing.matching.listed import Order
from pricing_server.domain.sellers import answer_order, is_maker
from pricing_server.lookup.matching.aliases import OTHER_NAMES
from pricing_server.lookup.matching.prefixes import prefixes


def model_index(
    names: Iterable[Name],
    clauses: ClauseIndex,
    order: Order = answer_order,
    standings: Mapping[Name, Standing] = MappingProxyType({}),
) -> ModelIndex:
    """An index of all listed (provider, model id), with the standings of those that have no
    price or are delisted. `clauses` are built once for all revisions."""
    names = list(names)
    return ModelIndex(
        ListedModels(names, order, standings),
        is_maker=is_maker,
        aliases=OTHER_NAMES,
        prefixes=prefixes({provider for provider, _ in names}),
        clauses=clauses,
    )
