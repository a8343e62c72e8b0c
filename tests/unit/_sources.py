"""Payloads of sources, and their prices as people write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llmpricing.meters import Meter
from llmpricing.rate_card import PriceState
from llmpricing.units import plain
from pricing_server.domain.json_document import decode_json
from pricing_server.domain.source_listing import ListedModel, Listing
from pricing_server.providers import SOURCES
from tests._recorded import recorded

FIXTURES = Path(__file__).parents[1] / "fixtures"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def read_fixture(slug: str, name: str | None = None) -> Listing:
    """What the source makes of its fixture."""
    return SOURCES[slug].read(decode_json((FIXTURES / f"{name or slug}.json").read_bytes()), NOW)


def read_recorded(slug: str, name: str | None = None) -> Listing:
    """What the source makes of its recorded payload; skips where that is not."""
    return SOURCES[slug].read(decode_json(recorded(f"{name or slug}.json").read_bytes()), NOW)


def raw_rows(name: str) -> list[dict[str, Any]]:
    """The rows of a recorded payload, numbers as they are written."""
    document = json.loads(recorded(f"{name}.json").read_bytes(), parse_float=str, parse_int=str)
    rows: list[dict[str, Any]] = document if isinstance(document, list) else document["data"]
    return rows


def by_id(listing: Listing) -> Mapping[str, ListedModel]:
    return {model.model_id: model for model in listing.models}


def per_million(listing: Listing) -> dict[str, dict[Meter, str] | PriceState]:
    """Per model its unconditional prices in USD per 1M of each meter, or why there is none."""
    return {
        model.model_id: {
            rate.meter: plain(rate.price * 1_000_000 / rate.per)
            for rate in model.card.rates
            if rate.conditions.threshold is None
        }
        or model.card.state
        for model in listing.models
    }


def notices(listing: Listing) -> dict[str, tuple[int, str]]:
    return {notice.code: (notice.models, notice.example) for notice in listing.notices}


def prices(prompt: str, completion: str, cache_read: str | None = None) -> dict[Meter, str]:
    """The usual prices, in USD per 1M tokens."""
    found = {Meter.INPUT_TOKENS: prompt, Meter.OUTPUT_TOKENS: completion}
    return found | ({Meter.CACHE_READ_TOKENS: cache_read} if cache_read else {})
