"""Another seller's price of the same model, for a model whose own seller states none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from llmpricing.rate_card import PriceState
from llmpricing.schedule import headline
from pricing_server.domain.price import Layer, Price

REFERENCE_PROVIDER: Final = "openrouter"
"""Whose prices serve: it names models by Hugging Face id and by canonical slug."""

_REFERENCE_NAME: Final = "OpenRouter"


def cross_reference(asked: Price, candidates: Sequence[Price], at: datetime) -> Price | None:
    """The price of `asked` by that of the same model among `candidates`, or None.

    Only a listed model without a price of its own is given one. The same model is the one
    with the same Hugging Face id in any case, or whose canonical slug is that of the asked
    one (its id, if it has no slug) unless their Hugging Face ids differ. Variants such as
    ":free" or ":batch" and aliases are charged apart and never serve. If several models
    are left, or one that is not listed and priced at the instant, there is no answer.
    Overrides never serve: what an admin says of one model says nothing of another.
    """
    asked = asked.without_override
    candidates = [candidate.without_override for candidate in candidates]
    if (
        asked.provider == REFERENCE_PROVIDER
        or asked.delisted_at is not None
        or _is_variant(asked)
        or headline(asked.card, at).state is not PriceState.UNPRICED
    ):
        return None
    same = {
        candidate.model_id: (candidate, shared)
        for candidate in candidates
        if candidate.provider == REFERENCE_PROVIDER
        and candidate.delisted_at is None
        and not _is_variant(candidate)
        and (shared := _shared_name(asked, candidate)) is not None
    }
    if len(same) != 1:
        return None
    [(reference, shared)] = same.values()
    if not reference.is_listed or headline(reference.card, at).state is not PriceState.PRICED:
        return None
    detail = f"{_REFERENCE_NAME}'s price of {reference.model_id}, same {shared}"
    return referring(replace(asked, detail=detail), reference)


def referring(asked: Price, reference: Price) -> Price:
    """The price of `asked` by that of `reference`, with what is known of `asked` itself."""
    return replace(
        reference,
        provider=asked.provider,
        model_id=asked.model_id,
        layer=Layer.CROSS_REFERENCE,
        hugging_face_id=asked.hugging_face_id,
        alias_target=asked.alias_target,
        context_length=asked.context_length,
        retirement_time=asked.retirement_time,
        retirement_source=asked.retirement_source,
        successor=asked.successor,
        canonical_slug=asked.canonical_slug,
        pending=asked.pending,
        detail=asked.detail,
        referred=(reference.provider, reference.model_id),
    )


def _shared_name(asked: Price, candidate: Price) -> str | None:
    """By which name the two are the same model, None if by none."""
    one, two = asked.hugging_face_id, candidate.hugging_face_id
    if one is not None and two is not None:
        # Two repositories are two models, whatever their slugs say.
        return "Hugging Face id" if one.lower() == two.lower() else None
    slug = asked.canonical_slug or asked.model_id
    return "canonical slug" if candidate.canonical_slug == slug else None


def _is_variant(price: Price) -> bool:
    return ":" in price.model_id or price.model_id.startswith("~") or price.alias_target is not None
