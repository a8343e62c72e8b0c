"""litellm's price file: what its proxy charges calls at, as JSON floats, mostly **USD per token**.

Only the data is read; the package is not used. Units and rules: litellm's cost
calculation (module llm_cost_calc) and a recorded file of 2026-10-28 with 4,241 rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Final

from llmpricing.names import name_fault
from llmpricing.rate_card import UNPRICED, PriceState, RateCard
from pricing_server.domain.names import printable
from pricing_server.domain.sellers import canonical
from pricing_server.domain.source import CATALOGUE_RANK, Source, SourceEvidence
from pricing_server.domain.source_listing import ListedModel, Listing, SourceError
from pricing_server.providers.catalogue_rows import StatedRow, add_rows, settled_reasoning
from pricing_server.providers.lifecycle import retirement_time
from pricing_server.providers.listing_builder import (
    ListingBuilder,
    RowError,
    fragment_text,
    optional_name,
)
from pricing_server.providers.litellm_prices import (
    FIELDS_BY_MODE,
    SEARCH,
    SEARCH_SIZES,
    TOKEN_FIELDS,
    is_price_key,
    rates_of,
)

_RETIREMENT: Final = "deprecation_date"
_EVIDENCE: Final = (
    "litellm_provider",
    "mode",
    "source",
    "web_search_billing_unit",
    _RETIREMENT,
)
_NO_MODELS: Final = frozenset({"sample_spec", "fallback_generalizations"})
_SIZE_CLASS: Final = re.compile(r"(?:together|fireworks)-ai-[a-z0-9.-]+")
_FAMILY: Final = re.compile(r"vertex_ai-.+")
_COPIED_LISTS: Final = {"qwen_ai_platform": "alibaba-cn"}
"""Names with the rows of another region's seller, and the seller that each stands for."""


def read(document: object, received_at: datetime) -> Listing:
    """Turn the file into rate cards. Nothing in it declares a model free: zero is no price."""
    if not isinstance(document, Mapping) or not document:
        raise SourceError("the payload is not an object of models by name")
    listing = ListingBuilder()
    add_rows(listing, _rows(document, listing))
    return listing.build(received_at)


def _rows(document: Mapping[str, object], listing: ListingBuilder) -> Iterator[StatedRow]:
    for name, row in document.items():
        if name in _NO_MODELS:
            continue
        if _SIZE_CLASS.fullmatch(name) or "-commitment/" in name:
            message = "a class of sizes or a commitment, no model"
            listing.notice("not_a_model", message, printable(name))
            continue
        fields = row if isinstance(row, Mapping) else {}
        stated = fields.get("litellm_provider")
        if not isinstance(stated, str) or name_fault(stated):
            listing.read_row("", name, _without_seller)
            continue
        seller = seller_of(stated)
        read_row = partial(_listed_model, name, fields, seller, listing)
        yield seller, model_id_of(name, stated, seller), read_row, fields


def seller_of(provider: str) -> str:
    """The seller's slug for a `litellm_provider`; all families at Vertex AI are one seller."""
    name = provider.lower()
    return canonical("vertex_ai" if _FAMILY.fullmatch(name) else _COPIED_LISTS.get(name, name))


def model_id_of(name: str, provider: str, seller: str) -> str:
    """The id at the seller: the row's name without the seller's name, if it begins with that.

    All else stays: regions, sizes and qualities make rows of their own, with their own prices.
    """
    first, _, rest = name.partition("/")
    is_seller = first == provider or seller_of(first) == seller
    return rest if rest and is_seller else name


def _without_seller(model_id: str) -> ListedModel:
    raise RowError("the row names no seller under litellm_provider")


def _listed_model(
    name: str, row: Mapping[str, object], seller: str, listing: ListingBuilder, model_id: str
) -> ListedModel:
    evidence = {key: value for key, value in row.items() if key in _EVIDENCE or is_price_key(key)}
    if str(row["litellm_provider"]).lower() in _COPIED_LISTS:
        listing.notice("not_read:copied_list", "prices copied from another region's seller", name)
        card = UNPRICED
    else:
        rates = settled_reasoning(rates_of(name, row, seller, listing))
        card = RateCard.of(PriceState.PRICED, rates) if rates else UNPRICED
    return ListedModel(
        seller,
        model_id,
        card,
        fragment_text({name: evidence}),
        retirement_time=retirement_time(row.get(_RETIREMENT), _RETIREMENT, listing, name),
        successor=_successor(row, seller),
    )


def _successor(row: Mapping[str, object], seller: str) -> str | None:
    """The seller's id of the model to move to, where the row names one."""
    metadata = row.get("metadata")
    stated = metadata.get("successor") if isinstance(metadata, Mapping) else None
    named = optional_name(stated)
    return None if named is None else model_id_of(named, str(row["litellm_provider"]), seller)


SOURCE: Final = Source(
    slug="litellm",
    display_name="litellm's price file",
    rank=CATALOGUE_RANK + 300,
    read=read,
    evidence=SourceEvidence.RECORDED,
    endpoint=(
        "https://raw.githubusercontent.com/BerriAI/litellm/main/"
        "model_prices_and_context_window.json"
    ),
    fields={
        **TOKEN_FIELDS,
        **{f"{key} (mode {mode})": declared for (key, mode), declared in FIELDS_BY_MODE.items()},
        SEARCH_SIZES: SEARCH,
    },
    facts=(
        "The file of 2026-10-28 with 4,241 rows, and litellm's cost calculation. The last of "
        "the catalogues: it has rows that are wrong by factors of 1,000 and more."
    ),
    notes=(
        "The seller is `litellm_provider`; `vertex_ai-*` families are one seller. The model is "
        "the row's name without the seller's name in front; regions (`azure/eu/...`, "
        "`bedrock/us-east-1/...`), sizes and qualities stay in it, so that no row overwrites "
        "another.",
        "`sample_spec` and `fallback_generalizations` are no models. Classes of sizes "
        "(`together-ai-4.1b-8b`) and `-commitment/` rows are named (`not_a_model`).",
        "`_above_Nk_tokens`: once more than N thousand tokens are input (at xAI: that many or "
        "more), cached ones included, all tokens cost that price. `tiered_pricing` likewise: "
        "above the range's start; its first tier may repeat the price without tiers.",
        "`_batches` is `processing=batch`; `_flex`, `_priority`, `_balanced` and `_ultrafast` are "
        "that `service_tier`. What these do not state costs what is standard. `_decisions` is "
        "another seller's (`openai-decisions`), and is named.",
        "Multipliers become rates in their context, of everything but calls of tools: "
        "`regional_endpoint_uplift_multiplier` with `geography` `regional` or `data_zone`, "
        "`regional_processing_uplift_multiplier_eu` (`_us`) and Anthropic's "
        "`provider_specific_entry.us` with `geography=data_zone` and that `region`, its `fast` "
        "with `speed=fast`. A row whose name says the place (`us.anthropic...`) has none.",
        "A price of reasoning tokens that equals that of output tokens adds no rate.",
        "`search_context_cost_per_query` is per web search, by `search_context_size` where the "
        "sizes differ. At Google it is per prompt unless `web_search_billing_unit` is "
        "`per_query`; then it is named.",
        "Prices per image, character, second or page beside a price of tokens restate it, and "
        "those per image depend on the size where there are keys for sizes: named "
        "(`unit_in_doubt:...`), as is a key in a mode that is not declared here.",
        "`off_peak_pricing`: its prices hold in its `windows`, hours in UTC on days of the week "
        "(in `weekday_timezone`, which may be `Asia/Shanghai`). Beside tiers or modes it is a "
        "fault: nothing says which price holds.",
        "Several names of one seller may list a model: agreeing rows are one (`repeated_row`), "
        "at different prices they are a fault.",
        "`deprecation_date` is when the model retires, `metadata.successor` the model to move to.",
        "No context length is read: `max_input_tokens` is the limit of the input alone (272,000 "
        "of 400,000 tokens for `gpt-5`), in some rows and not in others, and `max_tokens` that of "
        "the output.",
        "Rows of `qwen_ai_platform` (Alibaba Cloud in China) repeat the international prices, "
        "which are not those in China: listed without a price.",
    ),
)
