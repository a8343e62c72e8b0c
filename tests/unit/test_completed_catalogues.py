"""What the recorded payloads of all sources say together: no card lacks what another states.

The recordings are not part of this repository.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import pytest

from llmpricing.compiled_card import CompiledCard
from llmpricing.meters import Meter
from llmpricing.place import GEOGRAPHY, REGION
from llmpricing.rate_card import PriceState, RateCard
from pricing_server.domain.names import ModelName
from pricing_server.providers import SOURCES
from pricing_server.sync.agreement import differences
from pricing_server.sync.completion import CompletedCard, StatedCard, UnfilledReason, completed
from tests._coverage import NOW
from tests._guard_rates import feeds

pytestmark = pytest.mark.recorded

BREAKS_ITS_KIND = {
    # Ultrafast is stated by one source alone, at more than ten times the base.
    ("aws", "global.openai.gpt-6-astra"),
    ("aws", "global.openai.gpt-6.1-sol"),
    ("openai", "gpt-6-astra"),
    ("openai", "gpt-6.1-sol"),
    # Cache reads above the price of input.
    ("openai", "gpt-3.5-turbo"),
    # Priority at 50 times the base.
    ("openai", "gpt-5-nano"),
}
DIFFERS = {
    # A batch price of cache reads whose standard prices differ by more than 1 %.
    ("azure", "gpt-5"),
    ("azure", "gpt-5-mini"),
    ("azure", "gpt-5-nano"),
    ("azure", "gpt-5.2"),
    # The same of priority, and of audio.
    ("google-vertex", "gemini-2.5-flash"),
    ("google-vertex", "gemini-2.5-flash-lite"),
    ("google-vertex", "gemini-2.5-flash-lite-preview-06-17"),
    ("google-vertex", "gemini-2.5-flash-preview-09-2025"),
}
HAS_NO_STANDARD_RATE = {
    # A price per search that depends on a context, on a card without one for searches.
    ("perplexity", "sonar"),
    ("perplexity", "sonar-pro"),
    ("perplexity", "sonar-reasoning"),
    ("perplexity", "sonar-reasoning-pro"),
}


@cache
def quoted() -> Mapping[ModelName, Sequence[StatedCard]]:
    """By model what each source states that prices it, the first in rank first."""
    found: dict[ModelName, list[StatedCard]] = {}
    for slug, listing in feeds().items():
        for model in listing.models:
            if model.card.state is PriceState.PRICED:
                stated = StatedCard(slug, model.card, SOURCES[slug].coverage)
                found.setdefault(model.key, []).append(stated)
    for each in found.values():
        each.sort(key=lambda one: SOURCES[one.source].rank)
    return found


def in_force() -> Iterator[tuple[ModelName, CompletedCard, Sequence[StatedCard]]]:
    """Each model that several sources price: the card, and what the others state."""
    for key, (winner, *others) in quoted().items():
        if others:
            yield key, completed(winner, others, NOW), others


def lacks(card: RateCard, other: RateCard) -> bool:
    """Whether a card lacks a meter, a context or the tiers of one that has the same base prices."""
    base = {Meter.INPUT_TOKENS, Meter.OUTPUT_TOKENS}
    mine = {rate.meter for rate in card.rates} & base
    theirs = {rate.meter for rate in other.rates if rate.price} & base
    differing = differences(card, other, NOW)
    if mine != theirs or differing is None or any(one.meter in base for one in differing):
        return False
    held = {(rate.meter, rate.conditions.context) for rate in card.rates}
    stated = {(rate.meter, rate.conditions.context) for rate in other.rates if rate.price}
    return bool(stated - held) or (has_tiers(other) and not has_tiers(card))


def has_tiers(card: RateCard) -> bool:
    return any(rate.threshold_of_all or rate.charged_after for rate in card.rates)


def test_no_card_of_a_catalogue_lacks_what_another_states_at_the_same_prices() -> None:
    found: dict[UnfilledReason, set[ModelName]] = {}
    for key, card, others in in_force():
        lacking = {other.source for other in others if lacks(card.card, other.card)}
        if card.sources[0] in CATALOGUES and lacking:
            (reason,) = {one.reason for one in card.unfilled if one.source in lacking}
            found.setdefault(reason, set()).add(key)
    assert found == {
        UnfilledReason.BREAKS_ITS_KIND: BREAKS_ITS_KIND,
        UnfilledReason.DIFFERS: DIFFERS,
        UnfilledReason.NO_STANDARD_RATE: HAS_NO_STANDARD_RATE,
    }
    poor = {
        key
        for key, (winner, *others) in quoted().items()
        if winner.source in CATALOGUES and any(lacks(winner.card, one.card) for one in others)
    }
    assert len(poor) > 250, "what completing is for"


PLACE = {GEOGRAPHY, REGION}
CATALOGUES = {slug for slug, source in SOURCES.items() if source.provider is None}


def test_a_sellers_own_api_that_states_all_it_charges_is_not_added_to() -> None:
    of_openrouter = [card for _, card, _ in in_force() if card.sources[0] == "openrouter"]
    assert len(of_openrouter) > 50
    assert {source for card in of_openrouter for source in card.sources} == {"openrouter"}


def test_at_a_place_every_request_to_a_completed_card_costs_what_is_stated_times_more() -> None:
    usage = {
        Meter.INPUT_TOKENS: 300_000,
        Meter.CACHE_READ_TOKENS: 100_000,
        Meter.CACHE_WRITE_TOKENS: 10_000,
        Meter.OUTPUT_TOKENS: 10_000,
    }
    looked_at = 0
    for key, card, _ in in_force():
        contexts = {rate.conditions.context for rate in card.card.rates}
        places = {one for one in contexts if one and {name for name, _ in one} <= PLACE}
        modes = {one for one in contexts if not {name for name, _ in one} & PLACE}
        if len(set(card.sources)) == 1 or not places:
            continue
        compiled = CompiledCard(card.card)
        for place in places:
            shares = {
                compiled.evaluate(usage, at=NOW, context=dict((*mode, *place))).total
                / compiled.evaluate(usage, at=NOW, context=dict(mode)).total
                for mode in modes
            }
            assert len(shares) == 1, (key, place, shares)
            looked_at += len(modes)
    assert looked_at > 50
