"""Vertex AI's SKUs in Google's Cloud Billing catalogue.

The words of descriptions are those of price lists, invoices and the catalogue as others published
them in 2026. A description is read only if every word of it is known; see `google_skus`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pricing_server.domain.api_key import KeySent
from pricing_server.domain.source import OWN_API_RANK, KeyUse, Source, SourceEvidence
from pricing_server.domain.source_listing import Listing
from pricing_server.providers.google_skus import (
    CACHED_METERS,
    FIELDS,
    INPUT_METERS,
    OUTPUT_METERS,
    PAGING,
    Meaning,
    Unread,
    read_skus,
)

MODELS: Final[Mapping[str, str]] = {
    # Without "GA" it is the price of the preview, which was half as much.
    "gemini 2.5 flash ga": "gemini-2.5-flash",
    "gemini 2.5 flash lite": "gemini-2.5-flash-lite",
    "gemini 2.5 pro": "gemini-2.5-pro",
    "gemini 3.0 pro": "gemini-3-pro-preview",
    "gemini 3.5 flash global": "gemini-3.5-flash",
    "gemini 3.7 flash global": "gemini-3.7-flash",
    "gemini 3.8 flash global": "gemini-3.8-flash",
}
"""By how descriptions name them; one that is not here is named in the run."""

LONG_ABOVE: Final[Mapping[str, int]] = {
    "gemini-2.5-pro": 200_000,
    "gemini-3-pro-preview": 200_000,
}
"""Input tokens above which a request is long, from Google's price pages."""

_KIND = "(?P<kind>text|image|audio|video)"
_PREDICTIONS: Final = re.compile(
    rf"(?P<name>gemini .+?)(?P<thinking> thinking)? {_KIND} (?P<way>input|output)"
    r"(?: (?P<tier>priority|flex))?(?P<thinking2> \(thinking on\))?(?P<long> \(long\))?"
    r" - (?P<batch>batch )?predictions"
)
_CACHING: Final = re.compile(
    rf"(?P<name>gemini .+?) (?:input {_KIND}|{_KIND.replace('kind', 'kind2')} input) caching"
    r"(?P<long> \(long\))?"
)


def read(document: object, received_at: datetime) -> Listing:
    """Turn the catalogue's SKUs into rate cards of Vertex AI."""
    return read_skus(
        document, received_at, "google-vertex", "Google Vertex AI", meaning_of, LONG_ABOVE
    )


def meaning_of(description: str) -> Meaning | Unread:
    """What a description means, in lower case and with single blanks."""
    if found := _CACHING.fullmatch(description):
        meters, kind, tier = CACHED_METERS, found["kind"] or found["kind2"], None
    elif found := _PREDICTIONS.fullmatch(description):
        is_output = found["way"] == "output"
        meters, kind = (OUTPUT_METERS if is_output else INPUT_METERS), found["kind"]
        tier = found["tier"]
        if (found["batch"] and tier) or (
            (found["thinking"] or found["thinking2"]) and not is_output
        ):
            return Unread(f"words:{description}")
        tier = "batch" if found["batch"] else tier
    else:
        return Unread(f"words:{description}" if "gemini" in description else "other product")
    model, meter = MODELS.get(found["name"]), meters.get(kind)
    if model is None:
        return Unread(f"model:{found['name']}")
    if meter is None:
        return Unread(f"words:{description}")
    # What the description does not call long is for the others, where there are long ones.
    return Meaning(model, meter, tier, True if found["long"] else None)


SOURCE: Final = Source(
    slug="google-vertex",
    display_name="Google Cloud Billing catalogue, Vertex AI",
    rank=OWN_API_RANK,
    read=read,
    evidence=SourceEvidence.DOCUMENTED,
    provider="google-vertex",
    endpoint="https://cloudbilling.googleapis.com/v1/services/C7E2-9256-1C43/skus"
    "?currencyCode=USD&pageSize=5000",
    key_use=KeyUse.REQUIRED,
    key_sent=KeySent(parameter="key"),
    fields=FIELDS,
    paging=PAGING,
    facts="The reference of services.skus, and descriptions and prices of SKUs in a price list, "
    "invoices and code that others published in 2026.",
    notes=(
        "Read as [google](#google): every word of a description must be known, and the model must "
        "be in the adapter's table.",
        "From Gemini 3.5 on there are prices for the global endpoint and for regional ones. The "
        "global one is read; `Regional` is named in the run.",
        "`Gemini 2.5 Flash GA` is the model; without `GA` it is its preview, at another price.",
        "Models of other makers (`Model as a Service`, marketplace) are not read.",
    ),
)
