"""The index of models, made of what this service knows of sellers and names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from llmpricing.matching import ClauseIndex, ModelIndex, Name
from llmpricing.matching.listed import Order
from pricing_server.matching.aliases import OTHER_NAMES
from pricing_server.matching.prefixes import prefixes
from pricing_server.sellers import ALIASES, BY_NAME, MAKERS, answer_order, canonical

_KNOWN: Final = frozenset({*MAKERS, *ALIASES.values()})


def is_maker(provider: str, model_id: str) -> bool:
    """Whether a seller answers for an id as the model's maker.

    Not for an id with another seller in front: Perplexity lists anthropic/claude-sonnet-4-5.
    """
    head, slash, _ = model_id.partition("/")
    seller = canonical(head)
    return provider in MAKERS and (not slash or seller == provider or seller not in _KNOWN)


def by_seller(provider: str, model_id: str) -> tuple[int, int, str]:
    """The order in which sellers answer for an id: as `answer_order`, but a maker of other
    models than this one comes with those who follow by name."""
    if provider in MAKERS and not is_maker(provider, model_id):
        return BY_NAME, 0, provider
    return answer_order(provider)


def model_index(
    names: Iterable[Name], clauses: ClauseIndex, order: Order = by_seller
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
