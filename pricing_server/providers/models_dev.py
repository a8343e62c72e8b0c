"""models.dev's catalogue: models of many sellers, prices as JSON numbers in USD **per 1M tokens**.

Units: its README and schema. Tiers: `cost.tiers[].tier.size` is the exact threshold, and
`cost.context_over_200k` an older form of the lowest tier from 200,000 on, whatever its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Final

from llmpricing.meters import Meter
from llmpricing.names import name_fault
from llmpricing.rate_card import (
    ALWAYS,
    UNPRICED,
    Comparison,
    Conditions,
    PriceState,
    Rate,
    RateCard,
    Threshold,
)
from pricing_server.domain.json_document import RepeatedValue
from pricing_server.domain.names import printable
from pricing_server.domain.price_field import MILLION, Field
from pricing_server.domain.sellers import canonical
from pricing_server.domain.source import CATALOGUE_RANK, Source, SourceEvidence, ZeroMeans
from pricing_server.domain.source_listing import ListedModel, Listing, SourceError
from pricing_server.providers.catalogue_rows import StatedRow, add_rows, settled_reasoning
from pricing_server.providers.context_length import context_length
from pricing_server.providers.listing_builder import ListingBuilder, RowError, fragment_text

FIELDS: Final[Mapping[str, Field]] = {
    "input": Field(Meter.INPUT_TOKENS, MILLION),
    "output": Field(Meter.OUTPUT_TOKENS, MILLION),
    "cache_read": Field(Meter.CACHE_READ_TOKENS, MILLION),
    "cache_write": Field(Meter.CACHE_WRITE_TOKENS, MILLION),
    "reasoning": Field(Meter.OUTPUT_REASONING_TOKENS, MILLION),
    "input_audio": Field(Meter.INPUT_AUDIO_TOKENS, MILLION),
    "output_audio": Field(Meter.OUTPUT_AUDIO_TOKENS, MILLION),
}

_Priced = tuple[Conditions, Mapping[str, object]]
"""Prices by field, and the conditions under which they hold."""

_OVER_200K: Final = "context_over_200k"
_MODES: Final = "experimental.modes"
_MODE_KEYS: Final = frozenset({"service_tier", "speed"})
"""What a mode's request states in its body, and with it a context of ours."""
_EVIDENCE: Final = ("id", "name", "status", "last_updated", "cost")


def read(document: object, received_at: datetime) -> Listing:
    """Turn the catalogue into rate cards.

    Zero means free only for ids that end in ":free": subscriptions and models of unknown
    price are listed with zeros too.
    """
    if not isinstance(document, Mapping) or not document:
        raise SourceError("the payload is not an object of sellers by id")
    listing = ListingBuilder()
    names: dict[str, str] = {}
    add_rows(listing, _rows(document, listing, names))
    return listing.build(received_at, names)


def _rows(
    document: Mapping[str, object], listing: ListingBuilder, names: dict[str, str]
) -> Iterator[StatedRow]:
    for provider, stated in document.items():
        models = stated.get("models") if isinstance(stated, Mapping) else None
        if not isinstance(models, Mapping) or name_fault(provider):
            listing.read_row("", printable(provider), _without_models)
            continue
        seller = canonical(provider)
        name = stated.get("name") if isinstance(stated, Mapping) else None
        if isinstance(name, str) and not name_fault(name):
            names.setdefault(seller, name)
        # Of a seller that is there twice all models are in doubt.
        repeated = [each for each in (stated, models) if isinstance(each, RepeatedValue)]
        for model_id, row in models.items():
            fields = row if isinstance(row, Mapping) else {}
            read_row = partial(_listed_model, seller, fields, listing)
            yield seller, model_id, read_row, [repeated, fields]


def _without_models(provider: str) -> ListedModel:
    raise RowError("the seller has no usable id, or no object of models")


def _listed_model(
    seller: str, row: Mapping[str, object], listing: ListingBuilder, model_id: str
) -> ListedModel:
    if row.get("id") != model_id:
        raise RowError("the model has another id than the key that it stands under")
    cost = row.get("cost")
    if cost is not None and not isinstance(cost, Mapping):
        raise RowError("cost is not an object")
    limit = row.get("limit")
    stated = limit.get("context") if isinstance(limit, Mapping) else None
    modes = _modes(model_id, row, cost or {}, listing)
    evidence = {key: row[key] for key in _EVIDENCE if key in row}
    if modes:
        evidence["experimental"] = row["experimental"]
    return ListedModel(
        provider=seller,
        model_id=model_id,
        card=_card(model_id, cost or {}, modes, listing),
        fragment=fragment_text(evidence),
        context_length=context_length(stated, "limit.context", listing, model_id),
    )


def _card(
    model_id: str, cost: Mapping[str, object], modes: Iterable[_Priced], listing: ListingBuilder
) -> RateCard:
    base = list(_rates(cost, ALWAYS))
    # A mode that states no tiers costs above them what is standard there, as it does where
    # it does not state a meter.
    tiers = [
        rate
        for conditions, prices in (*_tiers(cost), *modes)
        for rate in _rates(prices, conditions)
    ]
    for key in cost:
        if key not in FIELDS and key not in ("tiers", _OVER_200K):
            listing.unknown_key(key, model_id)
    rates = [rate for rate in (*tiers, *base) if rate.price]
    if not rates and base and model_id.endswith(":free"):
        return RateCard.of(PriceState.FREE, base)
    standard = {rate.meter for rate in rates if rate.conditions is ALWAYS}
    for key, declared in FIELDS.items():
        if any(rate.meter is declared.meter and not rate.price for rate in base):
            listing.zero(f"cost.{key}", model_id)
        if any(rate.meter is declared.meter and not rate.price for rate in tiers):
            if declared.meter in standard:
                # Left out, it would be charged at the standard price.
                raise RowError(f"the {key} of a tier or mode is zero")
            listing.zero(f"cost.tiers.{key}", model_id)
    return RateCard.of(PriceState.PRICED, settled_reasoning(rates)) if rates else UNPRICED


def _rates(prices: Mapping[str, object], conditions: Conditions) -> Iterator[Rate]:
    for key, declared in FIELDS.items():
        if (value := prices.get(key)) is not None:
            try:
                yield declared.rate(value, conditions)
            except ValueError as error:
                raise RowError(f"cost.{key} is {error}") from None


def _modes(
    model_id: str,
    row: Mapping[str, object],
    cost: Mapping[str, object],
    listing: ListingBuilder,
) -> list[_Priced]:
    """The modes whose request is understood; the others are named.

    A mode that two names state at the same prices is one.
    """
    stated = row.get("experimental")
    stated = stated.get("modes") if isinstance(stated, Mapping) else None
    found: list[_Priced] = []
    for mode in stated.values() if isinstance(stated, Mapping) else ():
        fields = mode if isinstance(mode, Mapping) else {}
        prices = fields.get("cost")
        if prices is None:
            continue
        context = _context_of_mode(fields.get("provider"))
        known = isinstance(prices, Mapping) and prices.keys() <= FIELDS.keys()
        if context is None or not known or _leaves_reasoning_out(prices, cost):
            listing.notice(f"not_read:{_MODES}", "a mode that is not understood", model_id)
            continue
        priced = (Conditions(context=context), prices)
        if any(one[0] == priced[0] and one != priced for one in found):
            raise RowError("two modes of one request have different prices")
        if priced not in found:
            found.append(priced)
    return found


def _context_of_mode(provider: object) -> tuple[tuple[str, str], ...] | None:
    """What the request of a mode says of itself; None if that is nothing we know."""
    body = provider.get("body") if isinstance(provider, Mapping) else None
    if not isinstance(body, Mapping) or not body or not body.keys() <= _MODE_KEYS:
        return None
    if not all(isinstance(value, str) and not name_fault(value) for value in body.values()):
        return None
    return tuple(sorted(body.items()))


def _leaves_reasoning_out(prices: object, cost: Mapping[str, object]) -> bool:
    """Whether reasoning, which has a price of its own, would cost the standard in a mode."""
    in_mode = prices if isinstance(prices, Mapping) else {}
    return cost.get("reasoning") is not None and in_mode.get("reasoning") is None


def _tiers(cost: Mapping[str, object]) -> Iterator[_Priced]:
    """The tiers with their conditions, the highest first: that is the one that applies."""
    stated = cost.get("tiers")
    if stated is None and cost.get(_OVER_200K) is not None:
        raise RowError(f"{_OVER_200K} stands without the tier that has its exact threshold")
    if not isinstance(stated or [], list):
        raise RowError("cost.tiers is not a list")
    tiers: dict[int, Mapping[str, object]] = {}
    for tier in stated if isinstance(stated, list) else ():
        size = _size(tier)
        if size in tiers:
            raise RowError("two tiers have the same size")
        if unknown := next((key for key in tier if key not in FIELDS and key != "tier"), None):
            raise RowError(f"a tier has the unknown key {printable(unknown)}")
        tiers[size] = tier
    for size, tier in sorted(tiers.items(), reverse=True):
        yield Conditions(Threshold(Meter.INPUT_TOKENS, Comparison.ABOVE, size)), tier


def _size(tier: object) -> int:
    stated = tier.get("tier") if isinstance(tier, Mapping) else None
    size = stated.get("size") if isinstance(stated, Mapping) else None
    if not isinstance(stated, Mapping) or stated.get("type", "context") != "context":
        raise RowError("a tier is not one of context size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size < 10**9:
        raise RowError("a tier's size is not a count of tokens")
    return size


SOURCE: Final = Source(
    slug="models-dev",
    display_name="models.dev",
    rank=CATALOGUE_RANK + 100,
    read=read,
    evidence=SourceEvidence.RECORDED,
    endpoint="https://models.dev/api.json",
    fields={f"cost.{key}": declared for key, declared in FIELDS.items()},
    context_length_field="limit.context",
    zero_means=ZeroMeans.FREE_IF_DECLARED,
    free_where="the id ends in `:free` and every price is zero",
    facts="Its data of May 2026 with 4,803 models of 132 sellers, its README and its schema.",
    notes=(
        "Two names of one seller (`azure` and `azure-cognitive-services`, `google-vertex` and "
        "`google-vertex-anthropic`) may list a model: agreeing rows are one (`repeated_row`), at "
        "different prices they are a fault.",
        "`tiers[]`: above `tier.size` tokens of input, cached ones included, all tokens cost the "
        "tier's prices. `context_over_200k` is an older form of the lowest tier, also of one that "
        "begins at 272,000: it adds nothing, and without `tiers` the model is a fault.",
        "`experimental.modes.*.cost`: the prices of requests whose body is that of the mode "
        "(`service_tier: priority`, `speed: fast`). Above a tier a mode costs what is standard.",
        "Subscriptions (coding plans, GitHub Copilot) are listed with zeros: `UNPRICED`.",
        "Other keys, such as the misspelled `cache_input` and `cached_input`, are named "
        "(`unknown_key:...`), not guessed.",
        "A price of reasoning tokens that equals that of output tokens adds no rate.",
    ),
)
